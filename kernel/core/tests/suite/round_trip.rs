//! The shortest way through everything: a second domain, an endpoint, a call and its answer.

use abi::message::MessageInfo;
use abi::rights::EndpointRights;
use abi::time::NEVER;
use abi::{Handle, Syscall};
use model::Outcome;
use model::machine::{Machine, PeerPlan, Plan, own};
use model::sizes::Small;

#[test]
fn a_call_travels_to_a_server_in_another_domain_and_its_answer_comes_back() {
    let mut machine = Machine::<Small>::boot(Plan { frames: 128, tables: 16, table_length: 64 });
    let root = machine.root.thread;
    assert_eq!(machine.current(), Some(root));

    let endpoint = machine.make(Syscall::EndpointCreate, &[own::ACCOUNT.0, 77, 3, 0]);
    let server = machine.make_peer(PeerPlan {
        account: own::ACCOUNT,
        level: 3,
        priority: abi::root::PRIORITY,
        cpu: kernel_core::CpuId::BOOT,
        handler: (Handle::NONE, 0),
        page: 2,
    });
    let rights = u64::from(EndpointRights::RECEIVE.bits());
    let served = machine.make(Syscall::CapGrant, &[server.domain.0, endpoint.0, rights, 0]);

    machine.switch_to(server.id);
    assert_eq!(machine.call(Syscall::Receive, &[served.0, 0, NEVER]), Outcome::Away);

    assert_eq!(machine.current(), Some(root));
    machine.context_mut(root).words = [11, 22, 33, 0, 0, 0];
    let asked = MessageInfo::new(5, 3);
    assert_eq!(machine.call(Syscall::Call, &[endpoint.0, asked.0, NEVER, 77]), Outcome::Away);

    let [_, badge, info, token] = machine.result_of(server.id).expect("a call arrives");
    assert_eq!((badge, info), (0, asked.0));
    assert_eq!(machine.context(server.id).words, [11, 22, 33, 0, 0, 0]);
    machine.context_mut(server.id).words = [66, 0, 0, 0, 0, 0];
    let said = MessageInfo::new(0, 1);
    machine.sys(Syscall::Reply, &[token, said.0]).expect("the caller waits");

    assert_eq!(machine.result_of(root), Ok([0, 0, said.0, 0]));
    assert_eq!(machine.context(root).words, [66, 0, 0, 0, 0, 0]);
}
