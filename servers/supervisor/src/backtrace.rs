//! Where a thread was, and from where that was called, by the frame pointers on its stack.

use alloc::vec::Vec;
use interfaces::crash::FRAMES_MAX;

/// Registers of a thread that has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its instruction pointer.
    pub instruction: u64,
    /// Its frame pointer. In a system call with a message it is a word of that message.
    pub frame: u64,
    /// Its stack pointer.
    pub stack: u64,
}

/// The addresses, the innermost first, at most [`FRAMES_MAX`] of them. `word` gives the word at an address of the stack, and
/// nothing if that is no part of it: whatever a broken domain has left there, following it comes to an end.
pub fn backtrace(place: Place, word: impl Fn(u64) -> Option<u64>) -> Vec<u64> {
    let mut addresses = Vec::new();
    addresses.push(place.instruction);
    // While a message is sent, the frame pointer lies on top of the stack.
    let mut frame = if word(place.frame).is_some() { place.frame } else { word(place.stack).unwrap_or(0) };
    while addresses.len() < FRAMES_MAX
        && let Some(next) = word(frame)
        && let Some(address) = frame.checked_add(8).and_then(&word)
        && address != 0
    {
        addresses.push(address);
        if next <= frame {
            break;
        }
        frame = next;
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const BASE: u64 = 0x1000;

    fn stack(words: &[u64]) -> impl Fn(u64) -> Option<u64> {
        move |address| {
            let offset = address.checked_sub(BASE).filter(|offset| offset.is_multiple_of(8))?;
            words.get(offset as usize / 8).copied()
        }
    }

    fn place(frame: u64, stack: u64) -> Place {
        Place { instruction: 0x20_0000, frame, stack }
    }

    #[test]
    fn frames_are_followed_to_the_one_that_begins_with_zero() {
        let words = [BASE + 16, 0x20_0001, BASE + 32, 0x20_0002, 0, 0x20_0003, 0];
        assert_eq!(backtrace(place(BASE, 0), stack(&words)), [0x20_0000, 0x20_0001, 0x20_0002, 0x20_0003]);
    }

    #[test]
    fn a_thread_that_sends_a_message_has_its_frame_pointer_on_its_stack() {
        let words = [BASE + 16, 7, 0, 0x20_0001];
        assert_eq!(backtrace(place(0xdead, BASE), stack(&words)), [0x20_0000, 0x20_0001]);
    }

    #[test]
    fn a_stack_that_leads_nowhere_or_in_circles_comes_to_an_end() {
        assert_eq!(backtrace(place(1, 2), stack(&[])), [0x20_0000]);
        assert_eq!(backtrace(place(u64::MAX, u64::MAX - 7), stack(&[1, 2])), [0x20_0000]);
        assert_eq!(backtrace(place(BASE, 0), stack(&[BASE, 0x20_0001])), [0x20_0000, 0x20_0001]);
        let long: alloc::vec::Vec<u64> = (0..200).flat_map(|number| vec![BASE + 16 * (number + 1), 5]).collect();
        assert_eq!(backtrace(place(BASE, 0), stack(&long)).len(), FRAMES_MAX);
    }
}
