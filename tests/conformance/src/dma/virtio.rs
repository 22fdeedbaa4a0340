//! Attacks by a virtio device whose driver gives it addresses that are not its own: of data, and of the queue itself.

use super::Reached;
use super::disk::{Disk, ONE_ORDER, Queue, Request};
use super::lab::{BYTES, LENGTH, Lab, OTHER, OWN, SHOWN, forget_strays, place_of};
use crate::bench::Bench;
use crate::outcome::{Failure, Outcome, holds};
use abi::PAGE_SIZE;
use abi::syscall::MapAccess;

type Attack = Result<Reached, Failure>;

/// Where devices find the page of the queue.
const RINGS: u64 = SHOWN + 2 * PAGE_SIZE;
/// A sector that the suite writes, and one that is all zeros.
const SECTOR: u64 = 8;
const ZEROS: u64 = 64;
const BLOCK: u32 = BYTES as u32;

/// The page of the queue as the device finds it, and a page of somebody else's, which the processor sees at [`OTHER`].
fn prepare(bench: &mut Bench, lab: &Lab<Disk>) -> Result<(u64, u64), Failure> {
    let rings = Disk::rings(bench)?;
    let shown = if lab.has_iommu {
        lab.show(rings, RINGS, MapAccess::ReadWrite)?;
        RINGS
    } else {
        place_of(rings)?
    };
    let other = bench.memory(1)?;
    bench.map(other, OTHER.0, 1)?;
    lab.device.start(Queue::at(shown))?;
    Ok((shown, place_of(other)?))
}

/// Whether the disk does what it is for, after whatever was tried.
fn still_works(lab: &Lab<Disk>, rings: u64) -> Outcome {
    lab.device.start(Queue::at(rings))?;
    OWN.fill(0, LENGTH, 0x21);
    holds(lab.device.ask(rings, Request::Write, SECTOR, lab.shown, BLOCK)?, "the disk writes")?;
    OWN.fill(0, LENGTH, 0);
    holds(lab.device.ask(rings, Request::Read, SECTOR, lab.shown, BLOCK)?, "the disk reads")?;
    holds(OWN.holds(0, LENGTH, 0x21), "what was written is read")
}

pub(super) fn read_another_domain_through_the_disk(bench: &mut Bench, lab: &mut Lab<Disk>) -> Attack {
    let (rings, other) = prepare(bench, lab)?;
    still_works(lab, rings)?;
    OTHER.fill(0, LENGTH, 0x61);
    lab.device.ask(rings, Request::Write, SECTOR, other, BLOCK)?;
    lab.device.start(Queue::at(rings))?;
    OWN.fill(0, LENGTH, 0);
    holds(lab.device.ask(rings, Request::Read, SECTOR, lab.shown, BLOCK)?, "the disk reads")?;
    Ok(OWN.holds(0, LENGTH, 0x61).into())
}

pub(super) fn overwrite_another_domain_through_the_disk(bench: &mut Bench, lab: &mut Lab<Disk>) -> Attack {
    let (rings, other) = prepare(bench, lab)?;
    OTHER.fill(0, LENGTH, 0x17);
    lab.device.ask(rings, Request::Read, ZEROS, other, BLOCK)?;
    let reached = !OTHER.holds(0, LENGTH, 0x17);
    still_works(lab, rings)?;
    Ok(reached.into())
}

pub(super) fn put_the_disks_answers_into_another_domain(bench: &mut Bench, lab: &mut Lab<Disk>) -> Attack {
    let (rings, other) = prepare(bench, lab)?;
    OTHER.fill(0, LENGTH, 0x17);
    lab.device.start(Queue { answers: other, ..Queue::at(rings) })?;
    lab.device.order(rings, Request::Read, ZEROS, lab.shown, BLOCK);
    lab.device.ring_unheard();
    let reached = !OTHER.holds(0, LENGTH, 0x17);
    still_works(lab, rings)?;
    Ok(reached.into())
}

pub(super) fn take_the_disks_orders_from_another_domain(bench: &mut Bench, lab: &mut Lab<Disk>) -> Attack {
    let (rings, other) = prepare(bench, lab)?;
    (0..LENGTH).for_each(|place| OTHER.set_byte(place, 0));
    lab.device.start(Queue { orders: other, ..Queue::at(rings) })?;
    OWN.fill(0, LENGTH, 0x44);
    lab.device.order(rings, Request::Read, ZEROS, lab.shown, BLOCK);
    ONE_ORDER.iter().enumerate().for_each(|(place, byte)| OTHER.set_byte(place, *byte));
    lab.device.ring_unheard();
    let reached = !OWN.holds(0, LENGTH, 0x44);
    still_works(lab, rings)?;
    Ok(reached.into())
}

pub(super) fn overwrite_the_kernel_and_the_tables_of_the_iommu(bench: &mut Bench, lab: &mut Lab<Disk>) -> Attack {
    if !lab.has_iommu {
        return Ok(Reached::NotTried);
    }
    let (rings, _) = prepare(bench, lab)?;
    let image = bench.boot_info().kernel_image;
    forget_strays();
    // All of it, page by page: among them are the IOMMU's tables and its queue. Were one reached, the devices of this
    // machine would see nothing any more, or everything.
    for page in (image.start..image.start + image.len).step_by(PAGE_SIZE as usize) {
        lab.device.ask(rings, Request::Read, ZEROS, page, BLOCK)?;
        lab.device.start(Queue::at(rings))?;
    }
    still_works(lab, rings)?;
    Ok(Reached::No)
}
