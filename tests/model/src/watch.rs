//! Panics of the core are violations too: they are told with the way that leads to them.
//!
//! Where panics unwind (in tests) they become counterexamples like others. Where they abort, a hook prints the way.

use crate::event::Event;
use crate::machine::Machine;
use crate::sizes::Tiny;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a worker is about to do.
struct Watched {
    start: fn() -> Machine<Tiny>,
    path: Vec<Event>,
    next: Option<Event>,
    /// The words of the last panic.
    words: String,
}

thread_local! {
    static WATCHED: RefCell<Option<Watched>> = const { RefCell::new(None) };
}

/// Remembers in which state this thread is.
pub(crate) fn path(start: fn() -> Machine<Tiny>, path: impl FnOnce() -> Vec<Event>) {
    WATCHED.with_borrow_mut(|watched| {
        *watched = Some(Watched { start, path: path(), next: None, words: String::new() });
    });
}

/// Does something, in which a panic is a violation: returns what it says.
pub(crate) fn attempt(event: Event, step: impl FnOnce()) -> Option<String> {
    WATCHED.with_borrow_mut(|watched| {
        if let Some(watched) = watched {
            watched.next = Some(event);
        }
    });
    let panicked = catch_unwind(AssertUnwindSafe(step)).is_err();
    let words = WATCHED.with_borrow_mut(|watched| {
        let watched = watched.as_mut()?;
        watched.next = None;
        panicked.then(|| std::mem::take(&mut watched.words))
    });
    panicked.then(|| words.filter(|words| !words.is_empty()).unwrap_or_else(|| "a panic".to_owned()))
}

/// Makes a panic during a step be remembered for its counterexample, or, where panics abort, be told with its way.
pub fn explain_panics() {
    let earlier = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let watched = WATCHED.with(|watched| watched.try_borrow_mut().ok().and_then(|mut watched| watched.take()));
        let Some(mut watched) = watched else { return earlier(info) };
        let Some(next) = watched.next else { return earlier(info) };
        if cfg!(panic = "unwind") {
            watched.words = format!("panic: {}", info.to_string().replace('\n', " "));
            WATCHED.with(|place| *place.borrow_mut() = Some(watched));
        } else {
            earlier(info);
            watched.path.push(next);
            // The last line is printed before its event happens again.
            let mut machine = (watched.start)();
            for (index, event) in watched.path.iter().enumerate() {
                eprintln!("{:4}. {}", index + 1, event.describe(&machine));
                if index + 1 < watched.path.len() {
                    event.apply(&mut machine);
                }
            }
        }
    }));
}
