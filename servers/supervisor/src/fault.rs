//! Faults of domains arrive here as messages. They are not answered: the domain is taken apart
//! instead. Only whoever stops at a change of its code that is armed goes on, with the change in place.

use crate::death::Death;
use crate::state::Supervisor;
use crate::{code, lifecycle};
use alloc::rc::Rc;
use manifest::DomainIndex;
use spawn::FAULT_BADGE_BASE;
use userlib::abi::fault::FAULT_INTERFACE;
use userlib::abi::message::REGISTER_WORDS;
use userlib::ipc::server::Work;
use userlib::ipc::{Incoming, Service};
use userlib::log;

/// Hears of faults.
pub(crate) struct FaultService {
    supervisor: Rc<Supervisor>,
}

impl FaultService {
    pub(crate) fn new(supervisor: Rc<Supervisor>) -> Self {
        FaultService { supervisor }
    }
}

impl Service for FaultService {
    fn interface(&self) -> u64 {
        FAULT_INTERFACE
    }

    fn accepts_caps(&self) -> u8 {
        0
    }

    fn dispatch(&self, call: &mut Incoming<'_>) -> Option<Work> {
        let badge = call.caller().badge();
        let words = call.arguments(0, |input| {
            let mut words = [0; REGISTER_WORDS];
            for word in &mut words {
                *word = input.word()?;
            }
            Ok(words)
        });
        let index = badge.checked_sub(FAULT_BADGE_BASE).and_then(|index| u16::try_from(index).ok()).map(DomainIndex);
        let (Some(index), Ok(words)) = (index, words) else {
            log::error!("a fault message that makes no sense, badge {badge}");
            return None;
        };
        if index.position() >= self.supervisor.system.domains.len() {
            log::error!("a fault of a domain that does not exist, badge {badge}");
            return None;
        }
        if code::goes_on(&self.supervisor, index, call.label(), &words) {
            call.caller().answer(&Ok::<(), ()>(()));
            return None;
        }
        let panic = self.supervisor.watched_domain(index).status().and_then(|status| status.panic_message());
        let death = Death::of_fault(call.label(), &words, panic);
        lifecycle::bury(&self.supervisor, index, death);
        None
    }
}
