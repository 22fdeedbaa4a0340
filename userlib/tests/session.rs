//! What a server keeps for its clients, and what becomes of it when they die.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use userlib::abi::PAGE_SIZE;
use userlib::abi::message::CallerToken;
use userlib::executor;
use userlib::host::{self, Loopback};
use userlib::ipc::Caller;
use userlib::memory::SharedMemory;
use userlib::session::{
    CLIENTS_MAX, ClientGone, ClientId, Clients, OpenError, Register, RegisterWriter, SessionId, Sessions,
    UnknownSession,
};
use userlib::status::CLIENTS_BIT;

const LIMIT: usize = 3;

/// A page as supervisor and server share it.
fn page() -> (Register<'static>, RegisterWriter<'static>) {
    let words: &'static [AtomicU64] = Vec::leak((0..CLIENTS_MAX).map(|_| AtomicU64::new(0)).collect());
    (Register::new(words), RegisterWriter::new(SharedMemory::new(words)).expect("a page"))
}

fn caller(domain: u32, instance: u32) -> Caller {
    Caller::new(ClientId::new(domain, instance).badge(), CallerToken::new(1, 1))
}

#[test]
fn a_badge_names_a_domain_and_its_life() {
    for (domain, instance) in [(1, 0), (47, 3), (u32::MAX, u32::MAX)] {
        let client = ClientId::new(domain, instance);
        assert_eq!(ClientId::from_badge(client.badge()), client);
        assert_eq!(Caller::new(client.badge(), CallerToken::new(1, 1)).badge(), u64::from(domain));
    }
    assert_eq!(ClientId::from_badge(5), ClientId::new(5, 0));
}

#[test]
fn a_register_tells_of_all_lives_before_one() {
    let (register, writer) = page();
    assert!(!register.is_gone(ClientId::new(4, 0)));
    writer.end_before(4, 2);
    assert!(register.is_gone(ClientId::new(4, 0)) && register.is_gone(ClientId::new(4, 1)));
    assert!(!register.is_gone(ClientId::new(4, 2)));
    assert!(!register.is_gone(ClientId::new(3, 0)) && !register.is_gone(ClientId::new(5, 0)));
    // Numbers beyond the page neither are told of nor do any harm.
    writer.end_before(u32::MAX, 9);
    assert!(!register.is_gone(ClientId::new(u32::MAX, 0)));
    let short = [const { AtomicU64::new(0) }; PAGE_SIZE as usize / 8 - 1];
    assert!(RegisterWriter::new(SharedMemory::new(&short)).is_none());
}

#[test]
fn each_client_has_a_value_of_its_own_until_it_dies() {
    let (register, writer) = page();
    let made = Rc::new(Cell::new(0));
    let count = made.clone();
    let clients = Clients::with_register(Some(register), move |_| {
        count.set(count.get() + 1);
        Cell::new(0)
    });
    clients.of(&caller(4, 0)).unwrap().set(10);
    clients.of(&caller(5, 0)).unwrap().set(20);
    assert_eq!(clients.of(&caller(4, 0)).unwrap().get(), 10);
    assert_eq!((made.get(), clients.count()), (2, 2));
    writer.end_before(4, 1);
    assert_eq!(clients.of(&caller(4, 0)).map(drop), Err(ClientGone), "a late call brings nothing back");
    let gone = clients.take_departed();
    assert_eq!(
        gone.iter().map(|(client, value)| (*client, value.get())).collect::<Vec<_>>(),
        [(ClientId::new(4, 0), 10)]
    );
    assert_eq!(clients.of(&caller(4, 1)).unwrap().get(), 0, "the next life begins anew");
    assert_eq!(clients.count(), 2);
}

#[test]
fn a_life_is_over_when_the_next_one_calls_whatever_the_register_says() {
    let clients: Clients<Cell<u32>> = Clients::with_register(None, |_| Cell::new(0));
    clients.of(&caller(4, 0)).unwrap();
    clients.of(&caller(5, 0)).unwrap();
    clients.of(&caller(4, 2)).unwrap();
    assert_eq!(clients.of(&caller(4, 0)).map(drop), Err(ClientGone));
    let gone: Vec<ClientId> = clients.take_departed().into_iter().map(|(client, _)| client).collect();
    assert_eq!(gone, [ClientId::new(4, 0)]);
}

#[test]
fn what_a_client_has_opened_only_that_client_finds() {
    let sessions = Sessions::of_instance(7, LIMIT, None);
    let id = sessions.open(&caller(4, 0), "file").unwrap();
    assert_eq!(*sessions.find(&caller(4, 0), id).unwrap(), "file");
    assert_eq!(sessions.find(&caller(5, 0), id), Err(UnknownSession));
    assert_eq!(sessions.find(&caller(4, 1), id), Err(UnknownSession), "nor does its next life");
    assert_eq!(sessions.close(&caller(5, 0), id), Err(UnknownSession));
    assert_eq!(*sessions.close(&caller(4, 0), id).unwrap(), "file");
    assert_eq!(sessions.close(&caller(4, 0), id), Err(UnknownSession));
}

#[test]
fn a_number_of_a_former_instance_means_nothing() {
    let former = Sessions::of_instance(1, LIMIT, None);
    let present = Sessions::of_instance(2, LIMIT, None);
    let old = former.open(&caller(4, 0), 'a').unwrap();
    let new = present.open(&caller(4, 0), 'b').unwrap();
    assert_eq!(old.to_number() as u32, new.to_number() as u32, "they would be the same but for the instance");
    assert_eq!(present.find(&caller(4, 0), old), Err(UnknownSession));
    for number in [0, 1, u64::MAX, new.to_number() ^ 1 << 63, new.to_number() + 1] {
        assert_eq!(present.find(&caller(4, 0), SessionId::from_number(number)), Err(UnknownSession));
    }
}

#[test]
fn a_client_that_floods_is_refused_and_others_are_not() {
    let sessions = Sessions::of_instance(1, LIMIT, None);
    let flood = caller(4, 0);
    let first = sessions.open(&flood, 0).unwrap();
    let place = sessions.reserve(&flood).unwrap();
    sessions.open(&flood, 1).unwrap();
    assert_eq!(sessions.open(&flood, 2), Err(OpenError::TooMany), "what is about to be opened counts");
    assert!(sessions.open(&caller(5, 0), 3).is_ok());
    drop(place);
    sessions.open(&flood, 4).unwrap();
    assert_eq!(sessions.open(&flood, 5), Err(OpenError::TooMany));
    sessions.close(&flood, first).unwrap();
    let place = sessions.reserve(&flood).unwrap();
    assert!(place.open(6).is_ok());
    assert_eq!((sessions.count(&flood), sessions.count(&caller(5, 0))), (LIMIT, 1));
}

#[test]
fn a_server_learns_of_the_death_of_a_client_and_gets_what_it_had_open() {
    let (register, writer) = page();
    let kernel = Loopback::new();
    host::with(kernel.clone(), || {
        let sessions = Rc::new(Sessions::of_instance(1, LIMIT, Some(register)));
        let closed = Rc::new(RefCell::new(Vec::new()));
        let (held, told) = (sessions.clone(), closed.clone());
        executor::run(async {
            executor::spawn(async move {
                loop {
                    for thing in held.departed().await {
                        told.borrow_mut().push(*thing);
                    }
                }
            });
            sessions.open(&caller(4, 0), 10).unwrap();
            sessions.open(&caller(4, 0), 11).unwrap();
            sessions.open(&caller(5, 0), 20).unwrap();
            let late = sessions.reserve(&caller(4, 0)).unwrap();
            executor::yield_now().await;
            kernel.post(1 << CLIENTS_BIT);
            executor::yield_now().await;
            assert!(closed.borrow().is_empty(), "nobody is dead");
            writer.end_before(4, 1);
            kernel.post(1 << CLIENTS_BIT);
            executor::yield_now().await;
            executor::yield_now().await;
            assert_eq!(*closed.borrow(), [10, 11]);
            assert_eq!(late.open(12), Err(12), "what is opened too late is whoever's who opened it");
            assert_eq!(sessions.open(&caller(4, 0), 13), Err(OpenError::ClientGone));
            assert_eq!((sessions.count(&caller(4, 0)), sessions.count(&caller(5, 0))), (0, 1));
        });
    });
}
