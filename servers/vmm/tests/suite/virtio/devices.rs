use super::driver::{Bench, DATA, WRITE};
use super::transport::Sevens;
use std::collections::VecDeque;
use vmm::virtio::{CONSOLE_CHAIN_BYTES, Console, Entropy, FRAME_BYTES, Link, LinkBusy, Network, QueueError};

/// A link with room for so many frames.
#[derive(Debug, Default)]
pub(super) struct Wire {
    pub(super) room: usize,
    pub(super) sent: Vec<Vec<u8>>,
    pub(super) coming: VecDeque<Vec<u8>>,
}

impl Link for Wire {
    fn send(&mut self, frame: &[u8]) -> Result<(), LinkBusy> {
        if self.sent.len() >= self.room {
            return Err(LinkBusy);
        }
        self.sent.push(frame.to_vec());
        Ok(())
    }

    fn has_frame(&mut self) -> bool {
        !self.coming.is_empty()
    }

    fn receive(&mut self, into: &mut [u8]) -> usize {
        let frame = self.coming.pop_front().unwrap();
        into[..frame.len()].copy_from_slice(&frame);
        frame.len()
    }
}

fn network(room: usize) -> Bench<Network<Wire>> {
    Bench::started(Network::new(Wire { room, ..Wire::default() }, [2, 0, 0, 0, 0, 1]))
}

#[test]
fn random_bytes_fill_what_the_driver_offers() {
    let mut bench = Bench::started(Entropy::new(Sevens));
    bench.offer(0, 0, &[(DATA, 3, WRITE), (DATA + 100, 5, WRITE)]);
    bench.notify(0);
    assert_eq!(bench.used(0), Some((0, 8)));
    assert_eq!((bench.bytes(DATA, 4), bench.bytes(DATA + 100, 6)), (vec![7, 7, 7, 0], vec![7, 7, 7, 7, 7, 0]));
}

#[test]
fn a_chain_without_room_gets_nothing_and_comes_back() {
    let mut bench = Bench::started(Entropy::new(Sevens));
    bench.offer(0, 0, &[(DATA, 3, 0)]);
    bench.notify(0);
    assert_eq!(bench.used(0), Some((0, 0)));
}

#[test]
fn a_terminal_carries_bytes_both_ways() {
    let mut bench = Bench::started(Console::new(80, 25));
    bench.memory_write(DATA, b"hello");
    bench.offer(1, 0, &[(DATA, 2, 0), (DATA + 2, 3, 0)]);
    bench.notify(1);
    assert_eq!(bench.used(1), Some((0, 0)));
    assert_eq!(bench.function.device().take_output(), b"hello");

    bench.offer(0, 0, &[(DATA + 0x100, 4, WRITE)]);
    bench.notify(0);
    assert_eq!(bench.used(0), None, "nobody has typed");
    assert_eq!(bench.function.device().receive(b"uname"), 5);
    bench.process();
    assert_eq!(bench.used(0), Some((0, 4)));
    assert_eq!(bench.bytes(DATA + 0x100, 4), b"unam");
    bench.offer(0, 0, &[(DATA + 0x100, 4, WRITE)]);
    bench.process();
    assert_eq!(bench.used(0), Some((0, 1)));
}

#[test]
fn what_a_terminal_is_sent_waits_in_the_queue_while_nobody_takes_it() {
    let mut bench = Bench::started(Console::new(80, 25));
    bench.offer(1, 0, &[(DATA, 5000, 0)]);
    bench.notify(1);
    assert_eq!(bench.used(1), None);
    assert_eq!(bench.function.device().take_output().len(), 4096);
    bench.process();
    assert_eq!(bench.used(1), Some((0, 0)));
    assert_eq!(bench.function.device().take_output().len(), 904);
}

#[test]
fn a_terminal_is_sent_no_more_in_one_chain_than_others_can_wait_for() {
    let half = (CONSOLE_CHAIN_BYTES / 2) as u32;
    let mut bench = Bench::started(Console::new(80, 25));
    bench.offer(1, 0, &[(DATA, half, 0), (DATA, half + 1, 0)]);
    bench.notify(1);
    assert_eq!(bench.function.error(), Some(QueueError::Malformed { head: 0 }));
    assert!(bench.function.device().take_output().is_empty());
}

#[test]
fn frames_go_out_without_their_header_and_wait_for_room() {
    let mut bench = network(1);
    bench.memory_write(DATA + 12, b"first frame");
    bench.memory_write(DATA + 0x100, b"second frame");
    bench.offer(1, 0, &[(DATA, 23, 0)]);
    bench.offer(1, 4, &[(DATA, 12, 0), (DATA + 0x100, 12, 0)]);
    bench.notify(1);
    assert_eq!((bench.used(1), bench.used(1)), (Some((0, 0)), None));
    bench.function.device().link().room = 2;
    bench.process();
    assert_eq!(bench.used(1), Some((4, 0)));
    assert_eq!(bench.function.device().link().sent, [b"first frame".to_vec(), b"second frame".to_vec()]);
}

#[test]
fn frames_come_in_with_a_header_of_one_buffer() {
    let mut bench = network(0);
    bench.offer(0, 0, &[(DATA, 12, WRITE), (DATA + 0x100, 1514, WRITE)]);
    bench.notify(0);
    bench.function.device().link().coming.push_back(vec![0xab; 60]);
    bench.process();
    assert_eq!(bench.used(0), Some((0, 72)));
    assert_eq!(bench.bytes(DATA, 12), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!(bench.bytes(DATA + 0x100, 61), [vec![0xab; 60], vec![0]].concat());
}

#[test]
fn a_frame_that_is_none_is_dropped() {
    let mut bench = network(9);
    bench.offer(1, 0, &[(DATA, 12 + FRAME_BYTES as u32 + 1, 0)]);
    bench.offer(1, 1, &[(DATA, 12, 0)]);
    bench.notify(1);
    assert_eq!((bench.used(1), bench.used(1)), (Some((0, 0)), Some((1, 0))));
    bench.offer(0, 0, &[(DATA, 20, WRITE)]);
    bench.function.device().link().coming.push_back(vec![0xab; 60]);
    bench.process();
    assert_eq!(bench.used(0), Some((0, 0)), "it had no room");
    assert_eq!(bench.function.device().dropped(), 3);
    assert!(bench.function.device().link().sent.is_empty());
}

#[test]
fn a_frame_without_a_header_breaks_the_rules() {
    let mut bench = network(9);
    bench.offer(1, 0, &[(DATA, 11, 0)]);
    bench.notify(1);
    assert_eq!(bench.status() & 64, 64);
}
