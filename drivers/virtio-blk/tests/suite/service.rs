//! The interface `Block` as clients see it.

use crate::device::FakeDisk;
use crate::rig::Rig;
use interfaces::block::{BlockDouble, BlockInfo};
use std::rc::Rc;
use userlib::ipc::Text;
use virtio_blk::service::{Disks, Server};

#[test]
fn any_messages_to_block() {
    let info = BlockInfo {
        name: Text::new("virtio"),
        sectors: 1,
        sector_size: 512,
        request_sectors: 256,
        read_only: false,
        has_cache: true,
    };
    let Rig { driver, .. } = Rig::new(FakeDisk::new(2048));
    let disks = Rc::new(Disks::new(Some(driver), Ok(info), Vec::new(), Vec::new()));
    let double = BlockDouble::new(Server(disks));
    let tally = double.fuzz(&[], |client| {
        assert_eq!(client.info(), Ok(BlockInfo { sectors: 2048, ..info }));
        assert_eq!(client.statistics().expect("there is a driver").instances, 1);
    });
    assert_eq!(tally.answered.len(), 2, "{tally}");
}
