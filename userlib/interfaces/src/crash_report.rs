//! Records of deaths as text for people.

use alloc::format;
use alloc::string::String;
use core::fmt::Write;
use userlib::ipc::verdict;
use userlib::message_log::{Direction, Message, Outcome};

use crate::ALL;
use crate::crash::{CrashRecord, REGISTER_NAMES};

/// Registers in a line.
const COLUMNS: usize = 4;

/// Who died, when, and why, in one line.
pub fn headline(record: &CrashRecord) -> String {
    let CrashRecord { number, time, instance, domain, cause, .. } = record;
    let (seconds, micros) = (time / 1_000_000_000, time / 1_000 % 1_000_000);
    // A file may have been written by anybody.
    let [domain, cause] = [domain, cause].map(|text| text.replace(char::is_control, " "));
    format!("{number}: {domain}, life {instance}, {seconds}.{micros:06} s after boot: {cause}")
}

/// All that is known of a death, in lines. `place` says what is at an address of the domain's program, if it knows that; of a
/// return address it is told the byte before, which belongs to the call.
pub fn report(record: &CrashRecord, place: &dyn Fn(u64) -> Option<String>) -> String {
    let mut text = headline(record);
    // Writing to a string cannot fail.
    let _ = write_details(&mut text, record, place);
    text
}

fn write_details(text: &mut String, record: &CrashRecord, place: &dyn Fn(u64) -> Option<String>) -> core::fmt::Result {
    writeln!(text)?;
    if let Some(registers) = &record.registers {
        for (names, values) in REGISTER_NAMES.chunks(COLUMNS).zip(registers.chunks(COLUMNS)) {
            for (name, value) in names.iter().zip(values) {
                write!(text, "  {name:>5} {value:016x}")?;
            }
            writeln!(text)?;
        }
    }
    for (number, address) in record.frames.iter().enumerate() {
        let within = if number == 0 { *address } else { address.saturating_sub(1) };
        let place = place(within).map_or_else(String::new, |place| format!("  {place}"));
        writeln!(text, "  {}{address:#x}{place}", if number == 0 { "at   " } else { "from " })?;
    }
    if !record.messages.is_empty() {
        writeln!(text, "  last messages:")?;
    }
    for message in &record.messages {
        writeln!(text, "    {}", described(message))?;
    }
    Ok(())
}

/// A method by its name, if it is one of a standard interface.
fn method(label: u32) -> String {
    let methods = ALL.iter().flat_map(|interface| interface.methods.iter().map(move |method| (interface, method)));
    let found = methods.into_iter().find(|(_, method)| method.label == label);
    found.map_or_else(
        || format!("method {label:#010x}"),
        |(interface, method)| format!("{}.{}", interface.name, method.name),
    )
}

fn described(message: &Message) -> String {
    let method = method(message.label);
    match message.direction {
        Direction::Called => {
            let outcome = match message.outcome {
                Outcome::Pending => "not answered".into(),
                Outcome::Verdict(verdict) => match u32::from(verdict) {
                    verdict::OK => "answered".into(),
                    verdict::ERROR => "answered with an error".into(),
                    verdict::UNKNOWN_METHOD => "the server has no such method".into(),
                    verdict::MALFORMED => "the server did not understand it".into(),
                    verdict::BUSY => "the server was busy".into(),
                    other => format!("answered with verdict {other}"),
                },
                Outcome::Error(error) => format!("{error}"),
            };
            format!("called {method} by handle {:#x}: {outcome}", message.peer)
        }
        Direction::Received => {
            let (client, life) = (message.peer as u32, message.peer >> 32);
            format!("received {method} from domain {client}, life {life}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::echo::EchoClient;
    use alloc::string::ToString;
    use alloc::vec;
    use userlib::abi::Error;

    #[test]
    fn a_headline_is_one_line_whoever_has_written_the_record() {
        let text = |text: &str| text.to_string();
        let record = CrashRecord {
            domain: text("fat\n2: uart\u{1b}[2J"),
            cause: text("a\u{9b}\r\nb"),
            ..CrashRecord::default()
        };
        assert_eq!(headline(&record), "0: fat 2: uart [2J, life 0, 0.000000 s after boot: a   b");
    }

    #[test]
    fn a_report_says_who_died_where_and_what_it_had_called() {
        let label = EchoClient::INTERFACE.methods[0].label;
        let called = |outcome| Message { direction: Direction::Called, label, peer: 9, outcome };
        let record = CrashRecord {
            number: 3,
            time: 1_500_000_000,
            instance: 2,
            domain: "fat".to_string(),
            cause: "panicked:\nwhy".to_string(),
            registers: Some([1; 18]),
            frames: vec![0x20_0010, 0x20_0020],
            messages: vec![
                called(Outcome::Pending),
                called(Outcome::Error(Error::PeerDied)),
                Message { direction: Direction::Received, label: 1, peer: 5 | 7 << 32, outcome: Outcome::Pending },
            ],
        };
        let text = report(&record, &|address| (address == 0x20_001f).then(|| "in f at f.rs:3".to_string()));
        assert!(
            text.starts_with("3: fat, life 2, 1.500000 s after boot: panicked: why\n    rax 0000000000000001"),
            "{text}"
        );
        assert!(text.contains("\n  at   0x200010\n  from 0x200020  in f at f.rs:3\n  last messages:\n"), "{text}");
        assert!(text.contains("    called echo.ping by handle 0x9: not answered\n"), "{text}");
        assert!(text.contains("0x9: the server died"), "{text}");
        assert!(text.ends_with("    received method 0x00000001 from domain 5, life 7\n"), "{text}");
    }
}
