//! Memory, mappings, message buffers, and ranges of I/O ports.

use super::{Caller, MAP_WINDOW, narrow, user_range};
use crate::capability::{Capability, Extent};
use crate::command::{Command, Refusal, Request};
use crate::kernel::{Kernel, Tables};
use crate::memory::MapOrder;
use crate::space::Flavour;
use crate::world::World;
use abi::rights::{Kind, MemoryRights, PortsRights, SpaceRights, ThreadRights};
use abi::syscall::{Charge, DEVICE_INTERRUPTS, DONATION_MAX, MapAccess};
use abi::{Error, Handle, PAGE_SIZE};

impl<T: Tables> Kernel<T> {
    // ---- memory ----

    pub(super) fn decode_split(
        &self,
        caller: Caller,
        handle: u64,
        first: u64,
        pages: u64,
        rights: u64,
    ) -> Result<Command, Refusal> {
        let needed = MemoryRights::SPLIT.bits();
        let (id, memory) = self.lookup_kind(caller.domain, Handle(handle), Kind::Memory, needed)?;
        let part = Extent::from_badge(memory.badge).part(first, pages).ok_or(Error::BadArgument)?;
        let mut capability = self.derive(&memory, narrow(rights)?, 0)?;
        capability.badge = part.to_badge();
        self.free_slot(caller.domain)?;
        Ok(Command::InsertCap { domain: caller.domain, capability, parent: Some(id) })
    }

    pub(super) fn decode_map(&self, world: &impl World, caller: Caller, request: &Request) -> Result<Command, Refusal> {
        let [space, handle, address, first, pages, access] = request.arguments;
        let space = self.space(caller, space, SpaceRights::MAP)?;
        let access = MapAccess::from_number(access).ok_or(Error::BadArgument)?;
        let mut needed = MemoryRights::READ;
        let flavour = self.spaces.at(space.index()).flavour;
        if flavour == Flavour::Device && !seeded!(DmaRightIgnored) {
            needed |= MemoryRights::DMA;
        }
        if access.writes() {
            needed |= MemoryRights::WRITE;
        }
        if access.executes() {
            if access.writes() && flavour != Flavour::Guest {
                return Err(Error::BadArgument.into());
            }
            needed |= MemoryRights::EXECUTE;
        }
        let (memory, found) = self.lookup_kind(caller.domain, Handle(handle), Kind::Memory, needed.bits())?;
        let part = Extent::from_badge(found.badge).part(first, pages).ok_or(Error::BadArgument)?;
        let length = u64::from(part.pages) * PAGE_SIZE;
        if flavour == Flavour::Device {
            check_device_map(world, address, length, access)?;
        }
        if !address.is_multiple_of(PAGE_SIZE)
            || (address < PAGE_SIZE && flavour != Flavour::Guest)
            || length > MAP_WINDOW
        {
            return Err(Error::BadAddress.into());
        }
        user_range(address, length)?;
        if address / MAP_WINDOW != (address + length - 1) / MAP_WINDOW {
            return Err(Error::BadAddress.into());
        }
        let frame = crate::Frame(part.frame);
        self.check_frames(frame, u64::from(part.pages))?;
        let entry = self.spaces.at(space.index());
        if let Some(account) = entry.account {
            self.check_charge(account, Charge::Mappings, 1)?;
        }
        if !self.mappings.has_room() {
            return Err(Error::KernelTableFull.into());
        }
        let probe = world.probe(self.tree_of(space), address, frame, u64::from(part.pages));
        if probe.occupied {
            return Err(Error::AlreadyMapped.into());
        }
        let missing = u32::from(probe.missing_tables);
        if missing > entry.pool_count {
            return Err(Refusal { error: Error::NeedTables, detail: u64::from(missing - entry.pool_count) });
        }
        Ok(Command::Map(MapOrder {
            space,
            memory,
            address,
            frame,
            pages: narrow(part.pages.into())?,
            access,
            missing_tables: probe.missing_tables,
        }))
    }

    /// Pages that the caller may give to the kernel: RAM that nobody maps or pins.
    pub(super) fn donation(
        &self,
        caller: Caller,
        handle: u64,
        first: u64,
        pages: u64,
    ) -> Result<(crate::Frame, u8), Error> {
        let needed = MemoryRights::DONATE.bits();
        let (_, memory) = self.lookup_kind(caller.domain, Handle(handle), Kind::Memory, needed)?;
        let part = Extent::from_badge(memory.badge).part(first, pages).ok_or(Error::BadArgument)?;
        if pages > DONATION_MAX {
            return Err(Error::BadArgument);
        }
        let frame = crate::Frame(part.frame);
        if self.check_frames(frame, pages)? {
            return Err(Error::BadArgument);
        }
        for index in 0..part.pages {
            if !self.frames.is_donatable(frame.offset(index)) {
                return Err(Error::NotSoleOwner);
            }
        }
        Ok((frame, narrow(pages)?))
    }

    pub(super) fn decode_buffer(
        &self,
        caller: Caller,
        thread: u64,
        handle: u64,
        page: u64,
        address: u64,
    ) -> Result<Command, Refusal> {
        let thread = self.thread_cap(caller, thread, ThreadRights::CONTROL)?;
        let needed = MemoryRights::READ | MemoryRights::WRITE;
        let (memory, found) = self.lookup_kind(caller.domain, Handle(handle), Kind::Memory, needed.bits())?;
        let part = Extent::from_badge(found.badge).part(page, 1).ok_or(Error::BadArgument)?;
        let frame = crate::Frame(part.frame);
        if self.check_frames(frame, 1)? {
            return Err(Error::BadArgument.into());
        }
        user_range(address, PAGE_SIZE)?;
        if !self.mappings.has_room() {
            return Err(Error::KernelTableFull.into());
        }
        Ok(Command::GiveBuffer { thread, memory, frame, address })
    }

    // ---- ports ----

    pub(super) fn decode_ports_split(
        &self,
        caller: Caller,
        handle: u64,
        first: u64,
        count: u64,
        rights: u64,
    ) -> Result<Command, Refusal> {
        let needed = PortsRights::SPLIT.bits();
        let (id, ports) = self.lookup_kind(caller.domain, Handle(handle), Kind::Ports, needed)?;
        check_ports(&ports, first, count)?;
        let mut capability = self.derive(&ports, narrow(rights)?, 0)?;
        capability.badge = ports_badge(first, count);
        self.free_slot(caller.domain)?;
        Ok(Command::InsertCap { domain: caller.domain, capability, parent: Some(id) })
    }

    pub(super) fn decode_port(
        &self,
        caller: Caller,
        handle: u64,
        port: u64,
        width: u64,
        rights: PortsRights,
    ) -> Result<(u16, u8), Error> {
        let (_, ports) = self.lookup_kind(caller.domain, Handle(handle), Kind::Ports, rights.bits())?;
        if !matches!(width, 1 | 2 | 4) {
            return Err(Error::BadArgument);
        }
        check_ports(&ports, port, width)?;
        Ok((narrow(port)?, narrow(width)?))
    }
}

/// Whether a device can use a range of addresses so.
fn check_device_map(world: &impl World, address: u64, length: u64, access: MapAccess) -> Result<(), Error> {
    if access.executes() {
        return Err(Error::BadArgument);
    }
    let bits = world.iommu().map_or(0, |iommu| iommu.address_bits);
    let end = address.checked_add(length).ok_or(Error::BadAddress)?;
    let within = (end - 1).checked_shr(bits.into()).unwrap_or(0) == 0;
    let apart = end <= DEVICE_INTERRUPTS.start || address >= DEVICE_INTERRUPTS.end;
    if within && apart { Ok(()) } else { Err(Error::BadAddress) }
}

/// The badge of a ports capability.
pub(crate) const fn ports_badge(first: u64, count: u64) -> u64 {
    (count << 32) | first
}

fn check_ports(ports: &Capability, first: u64, count: u64) -> Result<(), Error> {
    let (base, length) = (ports.badge & 0xffff_ffff, ports.badge >> 32);
    match first.checked_add(count) {
        Some(end) if count > 0 && first >= base && end <= base + length => Ok(()),
        _ => Err(Error::BadArgument),
    }
}
