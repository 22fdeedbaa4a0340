use super::driver::{Bench, DATA, REGISTERS, WRITE};
use vmm::virtio::{Block, Disk, DiskBusy, DiskError, Operation, Request, SECTOR_BYTES, Stale, Tag};

/// A disk that notes what it is asked for.
#[derive(Debug)]
pub(super) struct Notebook {
    pub(super) sectors: u64,
    pub(super) read_only: bool,
    pub(super) room: usize,
    pub(super) requests: Vec<(Tag, Operation, u64, u64)>,
    pub(super) written: Vec<u8>,
}

impl Notebook {
    pub(super) fn new() -> Self {
        Self { sectors: 1000, read_only: false, room: 99, requests: Vec::new(), written: Vec::new() }
    }
}

impl Disk for Notebook {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn submit(&mut self, request: &Request<'_>) -> Result<(), DiskBusy> {
        if self.requests.len() >= self.room {
            return Err(DiskBusy);
        }
        if request.operation == Operation::Write {
            self.written = vec![0; request.length as usize];
            request.data(0, &mut self.written).unwrap();
            assert_eq!(request.data(1, &mut self.written.clone()), Err(DiskError), "behind the end there is nothing");
        }
        self.requests.push((request.tag, request.operation, request.sector, request.length));
        Ok(())
    }
}

const HEADER: u64 = DATA;
const BODY: u64 = DATA + 0x1000;
const STATUS: u64 = DATA + 0x800;

fn bench() -> Bench<Block<Notebook>> {
    Bench::started(Block::new(Notebook::new(), "bulkhead"))
}

fn ask(bench: &mut Bench<Block<Notebook>>, first: u16, kind: u32, sector: u64, body: (u32, u16)) {
    let header = HEADER + 16 * u64::from(first);
    bench.memory_write(header, &kind.to_le_bytes());
    bench.memory_write(header + 8, &sector.to_le_bytes());
    bench.memory_write(STATUS + u64::from(first), &[0xee]);
    let mut pieces = vec![(header, 16, 0)];
    if body.0 > 0 {
        pieces.push((BODY, body.0, body.1));
    }
    pieces.push((STATUS + u64::from(first), 1, WRITE));
    bench.offer(0, first, &pieces);
    bench.notify(0);
}

fn status(bench: &Bench<Block<Notebook>>, first: u16) -> u8 {
    bench.bytes(STATUS + u64::from(first), 1)[0]
}

#[test]
fn the_configuration_tells_the_size() {
    let mut bench = bench();
    assert_eq!(bench.get(REGISTERS + 0x2000, 8), 1000);
    assert_eq!(bench.get(REGISTERS + 0x2000 + 12, 4), 32);
    assert!(bench.function.device().has_flushes());
}

#[test]
fn what_the_disk_has_read_arrives_with_its_completion() {
    let mut bench = bench();
    ask(&mut bench, 0, 0, 7, (1024, WRITE));
    let (tag, operation, sector, length) = bench.function.device().disk().requests[0];
    assert_eq!((operation, sector, length), (Operation::Read, 7, 1024));
    assert_eq!(bench.used(0), None);
    let Bench { function, memory, .. } = &mut bench;
    assert_eq!(function.device().fill(tag, 512, &[5; 512], memory), Ok(()));
    assert_eq!(function.device().fill(tag, 1000, &[5; 512], memory), Err(Stale), "behind the end");
    assert_eq!(function.device().complete(tag, Ok(())), Ok(()));
    assert_eq!(function.device().complete(tag, Ok(())), Err(Stale), "it is over");
    bench.process();
    assert_eq!(bench.used(0), Some((0, 1025)));
    assert_eq!(status(&bench, 0), 0);
    assert_eq!(bench.bytes(BODY + 511, 2), [0, 5]);
}

#[test]
fn what_is_written_reaches_the_disk() {
    let mut bench = bench();
    bench.memory_write(BODY, &[9; 512]);
    ask(&mut bench, 0, 1, 999, (512, 0));
    assert_eq!(bench.function.device().disk().written, [9; 512]);
    let tag = bench.function.device().disk().requests[0].0;
    bench.function.device().complete(tag, Err(DiskError)).unwrap();
    bench.process();
    assert_eq!((bench.used(0), status(&bench, 0)), (Some((0, 1)), 1), "the failure is told");
}

#[test]
fn requests_complete_in_any_order() {
    let mut bench = bench();
    for first in [0, 4, 8] {
        ask(&mut bench, first, 0, u64::from(first), (512, WRITE));
    }
    assert_eq!(bench.function.device().outstanding(), 3);
    let tags: Vec<Tag> = bench.function.device().disk().requests.iter().map(|request| request.0).collect();
    for (index, head) in [(2, 8), (0, 0), (1, 4)] {
        bench.function.device().complete(tags[index], Ok(())).unwrap();
        bench.process();
        assert_eq!(bench.used(0), Some((head, 513)));
    }
}

#[test]
fn a_busy_disk_is_asked_again() {
    let mut bench = bench();
    bench.function.device().disk().room = 1;
    ask(&mut bench, 0, 0, 0, (512, WRITE));
    ask(&mut bench, 4, 4, 0, (0, 0));
    assert_eq!(bench.function.device().disk().requests.len(), 1);
    bench.function.device().disk().room = 2;
    bench.process();
    assert_eq!(bench.function.device().disk().requests[1].1, Operation::Flush);
}

#[test]
fn the_disk_has_a_name() {
    let mut bench = bench();
    ask(&mut bench, 0, 8, 0, (20, WRITE));
    assert_eq!((bench.used(0), status(&bench, 0)), (Some((0, 21)), 0));
    assert_eq!(bench.bytes(BODY, 9), b"bulkhead\0");
}

#[test]
fn what_lies_beyond_the_disk_or_is_no_sector_fails() {
    for (kind, sector, body) in [
        (0, 1000, (512, WRITE)),
        (0, 999, (1024, WRITE)),
        (0, u64::MAX, (512, WRITE)),
        (0, 0, (511, WRITE)),
        (1, 1000, (512, 0)),
        (0, 0, (0, WRITE)),
    ] {
        let mut bench = bench();
        ask(&mut bench, 0, kind, sector, body);
        assert_eq!((bench.used(0), status(&bench, 0)), (Some((0, 1)), 1), "{kind} {sector} {body:?}");
        assert!(bench.function.device().disk().requests.is_empty());
    }
}

#[test]
fn a_type_that_nobody_knows_is_unsupported() {
    let mut bench = bench();
    ask(&mut bench, 0, 77, 0, (512, WRITE));
    assert_eq!((bench.used(0), status(&bench, 0)), (Some((0, 1)), 2));
}

#[test]
fn a_disk_for_reading_is_not_written() {
    let mut bench = Bench::started(Block::new(Notebook { read_only: true, ..Notebook::new() }, ""));
    assert_ne!(bench.features() & 1 << 5, 0);
    ask(&mut bench, 0, 1, 0, (512, 0));
    assert_eq!((bench.used(0), status(&bench, 0)), (Some((0, 1)), 1));
}

#[test]
fn a_request_without_header_or_status_breaks_the_rules() {
    for pieces in [&[(HEADER, 15, 0), (STATUS, 1, WRITE)][..], &[(HEADER, 16, 0)], &[(STATUS, 100, WRITE)]] {
        let mut bench = bench();
        bench.offer(0, 0, pieces);
        bench.notify(0);
        assert_eq!(bench.status() & 64, 64, "{pieces:?}");
    }
}

#[test]
fn after_a_reset_old_requests_reach_the_guests_memory_no_more() {
    let mut bench = bench();
    ask(&mut bench, 0, 0, 7, (512, WRITE));
    let tag = bench.function.device().disk().requests[0].0;
    bench.start();
    ask(&mut bench, 0, 0, 7, (512, WRITE));
    let Bench { function, memory, .. } = &mut bench;
    assert_eq!(function.device().fill(tag, 0, &[5; SECTOR_BYTES as usize], memory), Err(Stale));
    assert_eq!(function.device().complete(tag, Ok(())), Err(Stale));
    bench.process();
    assert_eq!(bench.used(0), None, "the new one is not complete");
}
