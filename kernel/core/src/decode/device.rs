//! What devices may reach.

use super::{Caller, narrow};
use crate::command::{Command, Refusal, Request};
use crate::kernel::{Kernel, Tables};
use crate::world::World;
use abi::device::{SourceId, SourceRange};
use abi::rights::{DeviceControlRights, InterruptRights, Kind};
use abi::syscall::{Charge, InterruptSource};
use abi::{Error, Handle};

impl<T: Tables> Kernel<T> {
    /// Checks that the caller has authority over devices.
    pub(super) fn device_control(&self, caller: Caller, handle: u64, rights: DeviceControlRights) -> Result<(), Error> {
        self.lookup_kind(caller.domain, Handle(handle), Kind::DeviceControl, rights.bits()).map(|_| ())
    }

    pub(super) fn decode_device_space(
        &self,
        world: &impl World,
        caller: Caller,
        request: &Request,
    ) -> Result<Command, Refusal> {
        let [account, memory, page, control, sources, _] = request.arguments;
        let account = self.new_object(caller, account, Charge::Spaces, self.spaces.has_room())?;
        self.device_control(caller, control, DeviceControlRights::CREATE)?;
        let sources = SourceRange::from_register(sources).ok_or(Error::BadArgument)?;
        if world.iommu().is_none() {
            return Err(Error::NoHardware.into());
        }
        if !world.has_sources(sources) {
            return Err(Error::KernelTableFull.into());
        }
        if self.has_device_space(sources) && !seeded!(DeviceSharedByTwo) {
            return Err(Error::InUse.into());
        }
        let (root, _) = self.donation(caller, memory, page, 1)?;
        Ok(Command::CreateDeviceSpace { account, root, sources })
    }

    pub(super) fn decode_route(
        &self,
        world: &impl World,
        caller: Caller,
        control: u64,
        interrupt: u64,
        source: u64,
    ) -> Result<Command, Refusal> {
        self.device_control(caller, control, DeviceControlRights::CREATE)?;
        let interrupt = self.interrupt_cap(caller, interrupt, InterruptRights::MESSAGE)?;
        let source = SourceId(narrow(source)?);
        if self.source_of(interrupt) != InterruptSource::Message {
            return Err(Error::WrongState.into());
        }
        if !world.iommu().is_some_and(|iommu| iommu.remaps_interrupts) {
            return Err(Error::NoHardware.into());
        }
        if !world.can_route(source) {
            return Err(Error::KernelTableFull.into());
        }
        Ok(Command::Route { interrupt, source })
    }
}
