//! The driver of virtio disks.
#![cfg_attr(target_os = "none", no_std, no_main)]

use driver::{AttachError, PciDevice, Running, driver};

/// Without its device it serves too: each request is answered with the reason.
#[driver]
async fn disk(device: Result<PciDevice, AttachError>) -> Result<Running, AttachError> {
    virtio_blk::service::start(device)
}
