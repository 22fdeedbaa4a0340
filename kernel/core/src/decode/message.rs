//! Calls, receptions, replies, signals and leases.

use super::{Caller, narrow, user_range};
use crate::command::{Answer, Command, Refusal, Request};
use crate::domain::Notification;
use crate::effect::LeaseCopy;
use crate::identity::{DomainId, NotificationId};
use crate::ipc::{CopyFault, Outgoing, Reception, late};
use crate::kernel::{Kernel, Tables};
use crate::queue::Queue;
use crate::world::{BUFFER_BYTES, World};
use abi::message::{Lease, MAX_CAPS, MAX_LEASE_COPY, MAX_LEASES, MessageInfo, offset};
use abi::rights::{EndpointRights, Kind, NotificationRights};
use abi::time::moment;
use abi::{Error, Handle};

impl<T: Tables> Kernel<T> {
    pub(super) fn decode_call(
        &self,
        world: &impl World,
        caller: Caller,
        request: &Request,
    ) -> Result<Command, Refusal> {
        let [handle, info, deadline, interface, ..] = request.arguments;
        let deadline = moment(deadline, request.now);
        let (endpoint, capability) = self.endpoint(caller, handle, EndpointRights::CALL)?;
        let entry = self.endpoints.at(endpoint.index());
        if entry.interface != interface {
            return Err(Error::WrongInterface.into());
        }
        if self.domains.at(caller.domain.index()).level <= entry.level && !seeded!(LevelUnchecked) {
            return Err(Error::WrongDirection.into());
        }
        let info = MessageInfo(info);
        let (handles, leases) = self.decode_message(world, caller, info, MAX_LEASES)?;
        if info.caps() > 0 && capability.rights & EndpointRights::GRANT.bits() == 0 {
            return Err(Error::MissingRight.into());
        }
        if deadline <= request.now && self.queue_head(Queue::Receivers(endpoint)).is_none() {
            return Err(late(deadline).into());
        }
        let outgoing = Outgoing { info, handles, leases };
        Ok(Command::Call { endpoint, badge: capability.badge, outgoing, deadline })
    }

    /// Checks the message that a thread sends and reads what its buffer says of capabilities and leases.
    pub(super) fn decode_message(
        &self,
        world: &impl World,
        caller: Caller,
        info: MessageInfo,
        max_leases: usize,
    ) -> Result<([u64; MAX_CAPS], [Lease; MAX_LEASES]), Error> {
        if !info.is_valid() || info.leases() > max_leases {
            return Err(Error::BadMessage);
        }
        let mut handles = [0; MAX_CAPS];
        let mut leases = [Lease::default(); MAX_LEASES];
        if !info.needs_buffer() {
            return Ok((handles, leases));
        }
        let buffer = self.thread(caller.thread).buffer.ok_or(Error::NoBuffer)?;
        for (index, handle) in handles.iter_mut().enumerate().take(info.caps()) {
            *handle = world.buffer_word(buffer, offset::CAPS_OUT + index * 8);
            self.lookup(caller.domain, Handle(*handle))?;
        }
        for (index, lease) in leases.iter_mut().enumerate().take(info.leases()) {
            let place = offset::LEASES + index * size_of::<Lease>();
            lease.address = world.buffer_word(buffer, place);
            lease.length_and_access = world.buffer_word(buffer, place + 8);
            user_range(lease.address, lease.length())?;
        }
        Ok((handles, leases))
    }

    pub(super) fn decode_reception(
        &self,
        caller: Caller,
        [handle, accepts, deadline]: [u64; 3],
        now: u64,
    ) -> Result<Reception, Error> {
        let endpoint = if handle == 0 { None } else { Some(self.endpoint(caller, handle, EndpointRights::RECEIVE)?.0) };
        // Calls go down to an endpoint's level; they would not if a domain above it served it. The root is above
        // everybody and may serve all the same: it hears of the supervisor's faults.
        let level = self.domains.at(caller.domain.index()).level;
        if level != abi::root::LEVEL
            && endpoint.is_some_and(|endpoint| self.endpoints.at(endpoint.index()).level < level)
        {
            return Err(Error::WrongDirection);
        }
        if accepts > MAX_CAPS as u64 {
            return Err(Error::BadArgument);
        }
        Ok(Reception { endpoint, accepts: narrow(accepts)?, deadline: moment(deadline, now) })
    }

    pub(super) fn decode_answer(
        &self,
        world: &impl World,
        caller: Caller,
        token: u64,
        info: u64,
    ) -> Result<Answer, Error> {
        let info = MessageInfo(info);
        let (handles, _) = self.decode_message(world, caller, info, 0)?;
        let pending = self.pending_caller(caller.thread, token)?;
        Ok(Answer { caller: pending, info, handles })
    }

    /// The call is not a fault, is for the interface that the endpoint serves, and goes down from here as well.
    pub(super) fn decode_forward(&self, caller: Caller, token: u64, handle: u64) -> Result<Command, Refusal> {
        let pending = self.pending_caller(caller.thread, token)?;
        let (endpoint, capability) = self.endpoint(caller, handle, EndpointRights::CALL)?;
        let entry = self.endpoints.at(endpoint.index());
        if self.thread(pending).fault.is_some() {
            return Err(Error::WrongState.into());
        }
        if entry.interface != self.thread(pending).interface {
            return Err(Error::WrongInterface.into());
        }
        // The root may have taken the call from above its caller: what it forwards goes down from both all the same.
        let goes_down = |domain: DomainId| self.domains.at(domain.index()).level > entry.level;
        if !goes_down(caller.domain) || !self.thread(pending).domain.is_some_and(goes_down) {
            return Err(Error::WrongDirection.into());
        }
        Ok(Command::Forward { caller: pending, endpoint, badge: capability.badge })
    }

    pub(super) fn decode_notify(&self, caller: Caller, handle: u64, bits: u64) -> Result<Command, Refusal> {
        let (notification, bits) = self.signal(caller, handle, bits)?;
        Ok(Command::Notify { notification, bits })
    }

    /// A notification and the bits of it that the caller may set.
    pub(super) fn signal(&self, caller: Caller, handle: u64, bits: u64) -> Result<(NotificationId, u64), Error> {
        let rights = NotificationRights::NOTIFY.bits();
        let (_, found) = self.lookup_kind(caller.domain, Handle(handle), Kind::Notification, rights)?;
        let bits = allowed_bits(found.badge, bits)?;
        Ok((NotificationId::from_index(found.object as usize).ok_or(Error::StaleHandle)?, bits))
    }

    pub(super) fn decode_lease_copy(&self, caller: Caller, request: &Request, access: u64) -> Result<Command, Refusal> {
        let [token, index, from, address, length, _] = request.arguments;
        let lender = match self.pending_caller(caller.thread, token) {
            Err(error) if seeded!(LeaseAfterCall) => self.any_caller(token).ok_or(error)?,
            found => found?,
        };
        let lease = self.lease(lender, index)?;
        if lease.length_and_access & access == 0 {
            return Err(Error::BadLease.into());
        }
        match from.checked_add(length) {
            Some(end) if end <= lease.length() => {}
            _ => return Err(Error::BadLease.into()),
        }
        user_range(address, length)?;
        let length = length.min(MAX_LEASE_COPY);
        let (own_root, lender_root) = (self.root_of(caller.thread), self.root_of(lender));
        let lent = lease.address + from;
        Ok(Command::Copy(if access == Lease::READ {
            LeaseCopy {
                source_root: lender_root,
                source: lent,
                target_root: own_root,
                target: address,
                length,
                lender: CopyFault::Source,
            }
        } else {
            LeaseCopy {
                source_root: own_root,
                source: address,
                target_root: lender_root,
                target: lent,
                length,
                lender: CopyFault::Target,
            }
        }))
    }
}

/// The bits that the holder of a capability for a notification with this badge may set, of those asked for.
#[inline(always)]
pub(crate) const fn allowed_bits(badge: u64, bits: u64) -> Result<u64, Error> {
    let allowed = if badge == 0 { Notification::USABLE } else { badge & Notification::USABLE };
    if bits == 0 || bits & !allowed != 0 { Err(Error::BadArgument) } else { Ok(bits) }
}

// Every lease that a message can have lies in its buffer.
static_assertions::const_assert!(offset::LEASES + abi::message::MAX_LEASES * size_of::<Lease>() <= BUFFER_BYTES);
