//! What has to be there before a device is: modules of the kernel and the folder of devices.

use core::ffi::CStr;

use crate::kernel::{self, Outcome};

/// The modules that every virtio device needs, in the order in which they need each other.
const VIRTIO: [&CStr; 5] =
    [c"/virtio_ring.ko", c"/virtio.ko", c"/virtio_pci_modern_dev.ko", c"/virtio_pci_legacy_dev.ko", c"/virtio_pci.ko"];
/// That of a disk.
const DISK_DRIVER: &CStr = c"/virtio_blk.ko";

/// The disk: a virtio block device.
const DISK: &CStr = c"/devices/vda";

/// Flags of `open`.
const DIRECT: u64 = 0o40000;

/// How the disk is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cache {
    /// Past the kernel's cache (`O_DIRECT`).
    Direct,
    /// Through it.
    Cached,
}

/// Opens the disk, for which the first caller loads its driver.
pub(crate) fn open_disk(cache: Cache) -> Outcome<i32> {
    let flags = if cache == Cache::Direct { DIRECT } else { 0 };
    open_device(DISK, flags, DISK_DRIVER)
}

/// Opens a virtio device, for which the first caller loads its driver.
pub(crate) fn open_device(device: &CStr, flags: u64, driver: &CStr) -> Outcome<i32> {
    if let Ok(file) = kernel::open(device, flags) {
        return Ok(file);
    }
    for module in VIRTIO.into_iter().chain([driver]) {
        let file = kernel::open(module, 0)?;
        kernel::load_module(file)?;
        kernel::close(file)?;
    }
    kernel::make_folder(c"/devices")?;
    kernel::mount(c"devtmpfs", c"/devices")?;
    kernel::open(device, flags)
}
