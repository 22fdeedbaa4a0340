//! Every kind of value that travels, through a client and a server that `#[interface]` has written.

use proptest::prelude::*;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use userlib::abi::Handle;
use userlib::abi::rights::Kind;
use userlib::cap::{Cap, Endpoint, Memory, Notification, Owned};
use userlib::host::{self, Loopback};
use userlib::ipc::value::{Decoder, Encoder};
use userlib::ipc::{CallError, Caller, List, ReceivedCaps, Text, Value};
use userlib::{Value, interface};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
enum Colour {
    Red,
    Grey { level: u8 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
struct Point {
    x: i16,
    y: i16,
}

#[derive(Clone, Debug, PartialEq, Eq, Value)]
struct Drawing {
    points: List<Point, 5>,
    colours: [Colour; 3],
    name: List<u8, 20>,
    last: Result<Point, Text<9>>,
}

/// What two capabilities among other things look like.
#[derive(Debug, Value)]
struct Delivery {
    before: Option<Owned<Memory>>,
    number: u64,
    after: Owned<Notification>,
}

/// A number of every size.
type Numbers = (i8, i16, i32, i64, isize, u128, i128);

#[interface(name = "values", version = 1)]
trait Values {
    fn numbers(all: Numbers) -> Numbers;
    fn drawing(drawing: Drawing) -> Drawing;
    fn result(value: Result<u8, Colour>) -> Result<Result<Colour, u8>, u64>;
    fn pause(length: Duration) -> Duration;
    fn deliver(
        first: Option<Cap<Memory>>,
        second: Cap<Notification>,
        third: Option<Cap<Memory>>,
    ) -> Option<Cap<Memory>>;
    fn pick(delivery: Delivery) -> Delivery;
    fn several(all: List<Cap<Memory>, 3>) -> usize;
}

/// What `deliver` was given, as handles.
type Delivered = (Option<u64>, u64, Option<u64>);

#[derive(Default)]
struct Mirror {
    delivered: Rc<RefCell<Vec<Delivered>>>,
    kept: RefCell<Vec<Owned<Memory>>>,
}

impl ValuesServer for Mirror {
    async fn numbers(&self, _: &Caller, all: Numbers) -> Numbers {
        all
    }
    async fn drawing(&self, _: &Caller, drawing: Drawing) -> Drawing {
        drawing
    }
    async fn result(&self, _: &Caller, value: Result<u8, Colour>) -> Result<Result<Colour, u8>, u64> {
        match value {
            Ok(0) => Err(77),
            Ok(value) => Ok(Err(value)),
            Err(colour) => Ok(Ok(colour)),
        }
    }
    async fn pause(&self, _: &Caller, length: Duration) -> Duration {
        length
    }
    async fn deliver(
        &self,
        _: &Caller,
        first: Option<Owned<Memory>>,
        second: Owned<Notification>,
        third: Option<Owned<Memory>>,
    ) -> Option<Cap<Memory>> {
        let handle = |cap: &Option<Owned<Memory>>| cap.as_ref().map(|cap| cap.handle().0);
        self.delivered.borrow_mut().push((handle(&first), second.handle().0, handle(&third)));
        let sent = third.as_ref().map(|third| third.cap());
        self.kept.borrow_mut().extend(third);
        sent
    }
    async fn pick(&self, _: &Caller, delivery: Delivery) -> Delivery {
        delivery
    }
    async fn several(&self, _: &Caller, all: List<Owned<Memory>, 3>) -> usize {
        all.len()
    }
}

const ENDPOINT: Cap<Endpoint> = Cap::from_handle(Handle::new(3, 1));
const MEMORY: Handle = Handle::new(20, 1);
const OTHER_MEMORY: Handle = Handle::new(21, 1);
const NOTIFICATION: Handle = Handle::new(22, 1);

fn connected<R>(body: impl FnOnce(&Loopback, ValuesClient, &RefCell<Vec<Delivered>>) -> R) -> R {
    let kernel = Loopback::new();
    kernel.add_cap(MEMORY, Kind::Memory);
    kernel.add_cap(OTHER_MEMORY, Kind::Memory);
    kernel.add_cap(NOTIFICATION, Kind::Notification);
    let mirror = Mirror::default();
    let delivered = mirror.delivered.clone();
    kernel.serve(ENDPOINT.handle(), ValuesService::new(mirror));
    host::with(kernel.clone(), || body(&kernel, ValuesClient::new(ENDPOINT), &delivered))
}

fn round_trip<T: Value>(value: &T) -> T {
    let mut words = vec![0; T::WORDS];
    let mut out = Encoder::new(&mut words);
    value.encode(&mut out);
    assert_eq!(out.len(), T::WORDS);
    let mut caps = ReceivedCaps::default();
    let mut input = Decoder::new(&words, &mut caps);
    let back = T::decode(&mut input).expect("what was encoded is understood");
    input.finish().expect("nothing is left over");
    back
}

#[test]
fn numbers_keep_their_signs_and_their_ends() {
    connected(|_, client, _| {
        let least = (i8::MIN, i16::MIN, i32::MIN, i64::MIN, isize::MIN, 0, i128::MIN);
        let most = (i8::MAX, i16::MAX, i32::MAX, i64::MAX, isize::MAX, u128::MAX, i128::MAX);
        for numbers in [least, most, (-1, -2, -3, -4, -5, 1 << 64, -6)] {
            assert_eq!(client.numbers(numbers), Ok(numbers));
        }
    });
}

#[test]
fn lists_arrays_and_results_come_back_as_they_went() {
    connected(|_, client, _| {
        for count in 0..=5_i16 {
            let mut points = List::new();
            for x in 0..count {
                points.push(Point { x, y: -x }).expect("there is room");
            }
            let name = List::try_from(&b"12345678901234567890"[..usize::try_from(count * 4).unwrap()]).unwrap();
            let last = if count % 2 == 0 { Ok(Point { x: 1, y: 2 }) } else { Err(Text::new("none")) };
            let colours = [Colour::Red, Colour::Grey { level: 9 }, Colour::Red];
            let drawing = Drawing { points, colours, name, last };
            assert_eq!(client.drawing(drawing.clone()), Ok(drawing));
        }
        assert_eq!(client.result(Ok(3)), Ok(Err(3)));
        assert_eq!(client.result(Err(Colour::Red)), Ok(Ok(Colour::Red)));
        assert_eq!(client.result(Ok(0)), Err(CallError::Failed(77)));
        assert_eq!(client.pause(Duration::MAX), Ok(Duration::MAX));
    });
}

#[test]
fn a_full_list_takes_no_more_and_gives_the_value_back() {
    let mut list: List<u64, 2> = List::new();
    assert_eq!((list.push(1), list.push(2), list.push(3)), (Ok(()), Ok(()), Err(3)));
    assert_eq!(&list[..], [1, 2]);
    assert!(List::<u64, 2>::try_from(&[1, 2, 3][..]).is_err());
}

#[test]
fn a_capability_that_is_not_there_does_not_shift_the_others() {
    connected(|_, client, delivered| {
        let (memory, other, notification) =
            (Cap::from_handle(MEMORY), Cap::from_handle(OTHER_MEMORY), Cap::from_handle(NOTIFICATION));
        let back = client.deliver(None, notification, Some(memory)).unwrap();
        assert_eq!(back.unwrap().leak(), memory);
        client.deliver(Some(memory), notification, None).unwrap();
        client.deliver(Some(other), notification, Some(memory)).unwrap();
        client.deliver(None, notification, None).unwrap();
        let (m, o, n) = (MEMORY.0, OTHER_MEMORY.0, NOTIFICATION.0);
        let expected = [(None, n, Some(m)), (Some(m), n, None), (Some(o), n, Some(m)), (None, n, None)];
        assert_eq!(*delivered.borrow(), expected);
    });
}

#[test]
fn capabilities_of_other_kinds_are_refused_wherever_they_are() {
    connected(|_, client, delivered| {
        let (wrong_memory, wrong_notification) = (Cap::from_handle(NOTIFICATION), Cap::from_handle(MEMORY));
        let notification = Cap::from_handle(NOTIFICATION);
        let outcomes = [
            client.deliver(Some(wrong_memory), notification, None),
            client.deliver(None, wrong_notification, None),
            client.deliver(None, notification, Some(wrong_memory)),
        ];
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(CallError::NotUnderstood))), "{outcomes:?}");
        assert!(delivered.borrow().is_empty());
    });
}

#[test]
fn capabilities_travel_in_structures_and_lists_too() {
    connected(|kernel, client, _| {
        let owned = |handle| Cap::from_handle(handle).into_owned();
        let sent = Delivery { before: None, number: 5, after: Cap::from_handle(NOTIFICATION).into_owned() };
        let back = client.pick(sent).unwrap();
        assert!(back.before.is_none() && back.number == 5 && back.after.handle() == NOTIFICATION);
        let sent = Delivery { before: Some(owned(MEMORY)), number: 6, after: back.after };
        assert_eq!(client.pick(sent).unwrap().before.map(|memory| memory.handle()), Some(MEMORY));
        let mut all = List::new();
        for handle in [MEMORY, OTHER_MEMORY] {
            all.push(Cap::from_handle(handle)).expect("there is room");
        }
        let before = kernel.deleted().len();
        assert_eq!(client.several(all), Ok(2));
        assert_eq!(kernel.deleted()[before..], [MEMORY.0, OTHER_MEMORY.0], "the server drops its copies, once each");
    });
}

/// The same methods as [`Values`] has, where something about a type is different.
mod changed {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Value)]
    pub(super) struct Point {
        pub(super) y: i16,
        pub(super) x: i16,
    }

    #[interface(name = "points", version = 1)]
    pub(super) trait Points {
        fn here(point: Point) -> u64;
        fn there(point: super::Point) -> u64;
        fn cap(memory: Cap<Notification>);
        fn bytes(all: &mut [u8]);
        fn bound(all: List<u64, 8>);
        fn error() -> Result<u64, u64>;
    }
}

#[interface(name = "points", version = 1)]
trait Points {
    fn here(point: Point) -> u64;
    fn there(place: crate::Point) -> u64;
    fn cap(memory: Cap<Memory>);
    fn bytes(all: &[u8]);
    fn bound(all: List<u64, 9>);
    fn error() -> Result<u64, u32>;
}

struct Square;

impl PointsServer for Square {
    async fn here(&self, _: &Caller, point: Point) -> u64 {
        u64::from(point.x.unsigned_abs())
    }
    async fn there(&self, caller: &Caller, place: Point) -> u64 {
        self.here(caller, place).await
    }
    async fn cap(&self, _: &Caller, _: Owned<Memory>) {}
    async fn bytes(&self, _: &Caller, _: userlib::ipc::ReadLease) {}
    async fn bound(&self, _: &Caller, _: List<u64, 9>) {}
    async fn error(&self, _: &Caller) -> Result<u64, u32> {
        Ok(0)
    }
}

#[test]
fn a_structure_that_has_changed_is_an_unknown_method_and_not_misread() {
    let kernel = Loopback::new();
    kernel.serve(ENDPOINT.handle(), PointsService::new(Square));
    host::with(kernel, || {
        let client = changed::PointsClient::new(ENDPOINT);
        assert_eq!(client.there(Point { x: 5, y: 1 }), Ok(5));
        assert_eq!(client.here(changed::Point { x: 5, y: 1 }), Err(CallError::NotUnderstood));
    });
}

#[test]
fn labels_change_with_shapes_and_not_with_paths_or_names_of_arguments() {
    let [old, new] = [PointsClient::INTERFACE, changed::PointsClient::INTERFACE];
    let same: Vec<&str> = old
        .methods
        .iter()
        .zip(new.methods)
        .filter(|(old, new)| {
            assert_eq!(old.name, new.name);
            old.label == new.label
        })
        .map(|(old, _)| old.name)
        .collect();
    assert_eq!(same, ["there"]);
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        numbers in proptest::collection::vec(any::<i16>(), 0..7),
        bytes in proptest::collection::vec(any::<u8>(), 0..18),
        wide: u128,
        array: [u8; 11],
    ) {
        let list: List<i16, 7> = List::try_from(&numbers[..]).expect("it has room");
        prop_assert_eq!(&round_trip(&list)[..], &numbers[..]);
        let packed: List<u8, 17> = List::try_from(&bytes[..]).expect("it has room");
        prop_assert_eq!(&round_trip(&packed)[..], &bytes[..]);
        let all = (Some(wide), [array; 2], Err::<u8, _>(wide), List::<u8, 17>::WORDS);
        prop_assert_eq!(&round_trip(&all), &all);
    }

    #[test]
    fn no_words_make_a_decoder_panic(words in proptest::collection::vec(prop_oneof![0..9_u64, any::<u64>()], 0..40)) {
        let mut caps = ReceivedCaps::default();
        let _ = Drawing::decode(&mut Decoder::new(&words, &mut caps));
        let _ = Delivery::decode(&mut Decoder::new(&words, &mut caps));
        let _ = <[Result<Colour, Text<3>>; 4]>::decode(&mut Decoder::new(&words, &mut caps));
    }
}
