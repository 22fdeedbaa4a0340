//! What the host has the injector do: lines of text, each with a number first, which the answer has as well.
//!
//! `batch TARGET MILLISECONDS ADDRESS:BYTES… ADDRESS=BYTES… !DOMAIN…` makes changes to the code of a domain, those with a colon
//! when they are reached and those with an equals sign at once, starts others anew that use it when they start, and lets the
//! workload use it for so long; `look` changes nothing; `log` has the end of everybody's log told. Addresses and bytes are
//! hexadecimal.

use alloc::string::String;
use alloc::vec::Vec;
use interfaces::mutation::{Mutation, When};
use userlib::time::Duration;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Change code, and see what comes of it.
    Batch {
        /// The domain.
        target: String,
        /// How long the workload uses it, if nothing happens.
        time: Duration,
        /// The changes.
        mutations: Vec<Mutation>,
        /// Who is to be started anew meanwhile.
        clients: Vec<String>,
    },
    /// Say how everybody is.
    Look,
    /// Say what everybody has said last.
    Log,
}

impl Order {
    /// Reads a line: the order's number, and the order; `None` if it is none.
    pub fn parse(line: &str) -> Option<(u64, Self)> {
        let mut words = line.split_whitespace();
        let number = words.next()?.parse().ok()?;
        let order = match words.next()? {
            "look" => words.next().is_none().then_some(Order::Look),
            "log" => words.next().is_none().then_some(Order::Log),
            "batch" => {
                let target = String::from(words.next()?);
                let time = Duration::from_millis(words.next()?.parse().ok()?);
                let (mut mutations, mut clients) = (Vec::new(), Vec::new());
                for word in words {
                    match word.strip_prefix('!') {
                        Some(client) => clients.push(String::from(client)),
                        None => mutations.push(mutation(word)?),
                    }
                }
                Some(Order::Batch { target, time, mutations, clients })
            }
            _ => None,
        };
        Some((number, order?))
    }
}

fn mutation(word: &str) -> Option<Mutation> {
    let sign = word.find([':', '='])?;
    let (address, when, digits) = match word.split_at(sign) {
        (address, rest) if rest.starts_with(':') => (address, When::Reached, &rest[1..]),
        (address, rest) => (address, When::AtOnce, &rest[1..]),
    };
    let pairs = digits.as_bytes().chunks(2).map(|pair| core::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2));
    let bytes = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect::<Option<_>>()?;
    Some(Mutation { address: u64::from_str_radix(address, 16).ok()?, bytes, when })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn orders_are_read_as_they_are_written() {
        let order = Order::Batch {
            target: "fat".into(),
            time: Duration::from_millis(600),
            mutations: vec![
                Mutation { address: 0x20_1000, bytes: vec![0x90, 0x0f], when: When::Reached },
                Mutation { address: 0x20_2000, bytes: vec![0xff], when: When::AtOnce },
            ],
            clients: vec!["shell".into()],
        };
        assert_eq!(Order::parse("7 batch fat 600 201000:900f 202000=ff !shell\n"), Some((7, order)));
        assert_eq!(Order::parse("1 look"), Some((1, Order::Look)));
        assert_eq!(Order::parse("2 log\n"), Some((2, Order::Log)));
    }

    #[test]
    fn what_is_no_order_is_none() {
        for line in [
            "",
            "look",
            "1",
            "1 look here",
            "1 batch",
            "1 batch fat",
            "1 batch fat x",
            "1 batch fat 6 2010",
            "1 batch fat 6 z:90",
            "1 batch fat 6 z=90",
            "1 batch fat 6 2010=9",
        ] {
            assert_eq!(Order::parse(line), None, "{line}");
        }
        assert_eq!(Order::parse("1 batch fat 6 201000:900"), None);
    }
}
