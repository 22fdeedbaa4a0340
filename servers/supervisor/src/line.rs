//! Lines of the log, made of what domains have written, of whom any may lie.

use alloc::format;
use alloc::string::String;
use userlib::log;
use userlib::status::Record;
use userlib::time::Instant;

/// A line of the log. Lines of one moment keep the order of their text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// When, in nanoseconds since boot.
    pub time: u64,
    /// The line, with its end.
    pub text: String,
}

impl Line {
    /// What a domain has written, read at `now`. A time that has not come yet counts as none at all, and such a line is the first:
    /// whoever asks for the lines behind it would otherwise never come to an end, or miss those of everybody else.
    pub fn of(name: &str, record: &Record, now: Instant) -> Self {
        let level = match record.level {
            log::Level::Error => "error: ",
            log::Level::Warn => "warning: ",
            log::Level::Info => "",
            log::Level::Debug | log::Level::Trace => "debug: ",
        };
        let time = if record.time > now { 0 } else { record.time.nanoseconds() };
        let (seconds, micros) = (time / 1_000_000_000, time / 1_000 % 1_000_000);
        // A domain's text could otherwise pass for another's line.
        let text = record.text.replace(char::is_control, " ");
        Line { time, text: format!("[{seconds:5}.{micros:06}] {name}: {level}{text}\n") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(time: u64, text: &str) -> Record {
        Record { time: Instant(time), level: log::Level::Warn, text: text.into() }
    }

    #[test]
    fn a_line_says_when_who_and_how_important() {
        let line = Line::of("fat", &record(1_500_000_000, "slow"), Instant(2_000_000_000));
        assert_eq!((line.time, line.text.as_str()), (1_500_000_000, "[    1.500000] fat: warning: slow\n"));
    }

    #[test]
    fn a_time_that_has_not_come_yet_is_not_believed() {
        for time in [2_000_000_001, u64::MAX] {
            let line = Line::of("liar", &record(time, "last word"), Instant(2_000_000_000));
            assert_eq!((line.time, line.text.as_str()), (0, "[    0.000000] liar: warning: last word\n"));
        }
    }

    #[test]
    fn a_text_is_one_line_whatever_is_in_it() {
        let line = Line::of("liar", &record(0, "a\r\n[    0.000000] fat: b\u{9b}2J\u{8}"), Instant(0));
        assert_eq!(line.text, "[    0.000000] liar: warning: a  [    0.000000] fat: b 2J \n");
    }
}
