//! Registers full of anything: the kernel refuses or obeys, and never panics.

use crate::scene::{ALL, M, Stage, grant, notification, stage};
use abi::message::{Lease, MessageInfo, offset};
use abi::syscall::Charge;
use abi::{Syscall, USER_END, root};
use kernel_core::InterruptId;
use model::machine::{BUFFER, DATA, own};

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        if choices.is_empty() { None } else { Some(choices[self.below(choices.len() as u64) as usize]) }
    }

    /// A register: a handle that is held, a token, an address, an edge, or noise.
    fn register(&mut self, m: &M) -> u64 {
        let Some(thread) = m.current() else { return 0 };
        let edges = [
            0,
            1,
            2,
            16,
            250,
            255,
            256,
            1 << 16,
            (1 << 16) | 1,
            u64::from(u32::MAX),
            1 << 32,
            1 << 48,
            1 << 62,
            1 << 63,
            u64::MAX,
            u64::MAX - 4095,
            USER_END,
            USER_END - 4096,
            DATA,
            DATA + 4090,
            BUFFER,
            0x41_0000,
            m.now + 1000,
            10_000_000,
            abi::fault::FAULT_INTERFACE,
            crate::scene::INTERFACE,
        ];
        let noise = self.next();
        match self.below(10) {
            0..=4 => {
                let held: Vec<u64> = m.kernel.held_by(thread).map(|(handle, ..)| handle.0).collect();
                self.one_of(&held).unwrap_or(noise)
            }
            5 => {
                let tokens: Vec<u64> = m.kernel.living_threads().map(|thread| m.kernel.latest_call(thread).0).collect();
                self.one_of(&tokens).unwrap_or(noise)
            }
            6 => {
                let ids: Vec<u64> = m.kernel.mapping_ids().collect();
                self.one_of(&ids).unwrap_or(noise)
            }
            7..=8 => self.one_of(&edges).unwrap_or(noise),
            _ => noise >> self.below(64),
        }
    }
}

/// A stage on which everybody has much to play with.
fn playground() -> Stage {
    let mut s = stage();
    s.m.switch_to(s.root);
    let bits = notification(&mut s.m);
    let limits = [16u64 | (16 << 32); Charge::COUNT / 2];
    s.m.store_words(DATA, &limits);
    for peer in [s.client, s.server] {
        for capability in [bits, own::ACCOUNT, own::SPACE, own::PORTS, root::INTERRUPTS, own::SYSTEM] {
            grant(&mut s.m, &peer, capability, ALL as u16, 0);
        }
        grant(&mut s.m, &peer, peer.domain, ALL as u16, 0);
        grant(&mut s.m, &peer, peer.thread, ALL as u16, 0);
    }
    s
}

/// Fills the running thread's message buffer with something.
fn scribble(m: &mut M, random: &mut Random) {
    let Some(buffer) = m.frame_behind(BUFFER) else { return };
    for index in 0..4 {
        let word = random.register(m);
        m.world.set_word(buffer.address() + (offset::CAPS_OUT + 8 * index) as u64, word);
        let (address, length) = (random.register(m), random.register(m));
        let place = buffer.address() + (offset::LEASES + 16 * index) as u64;
        m.world.set_word(place, address);
        m.world.set_word(place + 8, (length & 0xffff) | Lease::READ | Lease::WRITE);
    }
}

fn play(seed: u64, steps: usize) -> (usize, usize) {
    let mut random = Random(seed);
    let mut s = playground();
    let (mut obeyed, mut refused) = (0, 0);
    for _ in 0..steps {
        match random.below(40) {
            0 => s.m.tick(model::machine::SLICE),
            1 => s.m.pass(2_000),
            2 => s.m.interrupt(InterruptId::from_index(1 + random.below(7) as usize).expect("not 0")),
            _ => {}
        }
        if s.m.current().is_none() {
            // Everybody waits for ever: begin again.
            s = playground();
        }
        if s.m.repeat() {
            continue;
        }
        let Some(syscall) = random.one_of(Syscall::ALL) else { continue };
        let seldom = matches!(syscall, Syscall::ThreadExit | Syscall::ThreadPanic | Syscall::Destroy);
        if seldom && random.below(10) != 0 {
            continue;
        }
        let mut arguments = [0; 6].map(|_: u64| random.register(&s.m));
        if random.below(2) == 0 {
            let info = MessageInfo::new(7, random.below(8) as u8)
                .with_caps(random.below(5) as u8)
                .with_leases(random.below(5) as u8);
            arguments[1] = info.0;
        }
        scribble(&mut s.m, &mut random);
        match s.m.enter(syscall as u64, arguments) {
            Ok(()) => obeyed += 1,
            Err(_) => refused += 1,
        }
    }
    (obeyed, refused)
}

#[test]
fn whatever_the_registers_hold_the_kernel_neither_panics_nor_breaks_an_invariant() {
    let (mut obeyed, mut refused) = (0, 0);
    for seed in 0..40 {
        let (more_obeyed, more_refused) = play(seed, 1_000);
        obeyed += more_obeyed;
        refused += more_refused;
    }
    assert!(obeyed > 2_000, "{obeyed} calls were obeyed, {refused} refused");
    assert!(refused > 10_000, "{obeyed} calls were obeyed, {refused} refused");
}

#[test]
fn every_system_call_refuses_noise_in_all_registers() {
    let mut random = Random(99);
    let mut s = playground();
    for _ in 0..200 {
        for syscall in Syscall::ALL {
            let ends = [Syscall::ThreadExit, Syscall::ThreadPanic, Syscall::Yield, Syscall::Clock];
            if ends.contains(syscall) {
                continue;
            }
            s.m.switch_to(s.root);
            let arguments = [0; 6].map(|_: u64| random.next() | 1 << 63);
            assert!(s.m.enter(*syscall as u64, arguments).is_err(), "{syscall:?} {arguments:x?}");
        }
    }
}
