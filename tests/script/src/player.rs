//! Carrying a script out, wherever that is.

use crate::{LIMIT, Line, Outcome};
use abi::syscall::Charge;
use abi::{Error, Syscall, root};
use alloc::string::String;
use alloc::vec::Vec;

/// What is given to every script: the root's own capabilities, [`crate::MEMORY_PAGES`] pages of free `memory`, an
/// address `window` of the root's space, in whose 2 MiB page tables are there, a `buffer` that calls may write to, and
/// `limits` for a new account.
pub const NAMES: [&str; 13] = [
    "domain",
    "space",
    "thread",
    "account",
    "interrupts",
    "ports",
    "system",
    "budget",
    "devices",
    "memory",
    "window",
    "buffer",
    "limits",
];

/// Where a script is carried out: a thread of a root domain.
pub trait Stage {
    /// The capability for the script's memory.
    fn memory(&self) -> u64;
    /// The address at which it may map.
    fn window(&self) -> u64;
    /// The address of words that calls may write to.
    fn buffer(&self) -> u64;
    /// The address of an account's limits, each of which is [`crate::LIMIT`].
    fn limits(&self) -> u64;
    /// Makes a system call, as often as it wants to be repeated. Returns `rax`, `rdi`, `rsi` and `rdx`.
    fn call(&mut self, syscall: Syscall, arguments: [u64; 6]) -> [u64; 4];
    /// A word of the buffer.
    fn word(&self, index: usize) -> u64;
}

/// Carries scripts out, line by line.
pub struct Player<S> {
    stage: S,
    results: Vec<(String, u64)>,
}

impl<S: Stage> Player<S> {
    /// At the beginning of a script.
    pub fn new(stage: S) -> Self {
        Player { stage, results: Vec::new() }
    }

    /// The stage.
    pub fn stage(&self) -> &S {
        &self.stage
    }

    fn value(&self, name: &str) -> u64 {
        match name {
            "domain" => root::DOMAIN.0,
            "space" => root::SPACE.0,
            "thread" => root::THREAD.0,
            "account" => root::ACCOUNT.0,
            "interrupts" => root::INTERRUPTS.0,
            "ports" => root::PORTS.0,
            "system" => root::SYSTEM.0,
            "budget" => root::BUDGET.0,
            "devices" => root::DEVICES.0,
            "memory" => self.stage.memory(),
            "window" => self.stage.window(),
            "buffer" => self.stage.buffer(),
            "limits" => self.stage.limits(),
            // What was refused has left nothing.
            _ => self.results.iter().find(|(label, _)| label == name).map_or(0, |(_, value)| *value),
        }
    }

    /// Reads a line of a script whose lines before it were carried out. An empty one or a comment is none.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&self, text: &str) -> Result<Option<Line>, String> {
        Line::parse(text, |name| NAMES.contains(&name) || self.results.iter().any(|(label, _)| label == name))
    }

    /// Whether the root still holds the capability of this name.
    pub fn holds(&mut self, name: &str) -> bool {
        let handle = self.value(name);
        Error::from_register(self.stage.call(Syscall::CapInfo, [handle, 0, 0, 0, 0, 0])[0]).is_ok()
    }

    /// Makes the call of a line.
    pub fn play(&mut self, line: &Line) -> Outcome {
        let mut registers = [0; 6];
        for (register, argument) in registers.iter_mut().zip(&line.arguments) {
            let value = argument.name.as_deref().map_or(0, |name| self.value(name));
            let next_generation = if argument.stale { 1 << 16 } else { 0 };
            *register = value.wrapping_add(next_generation).wrapping_add(argument.plus);
        }
        let mut outcome = Outcome { results: self.stage.call(line.syscall, registers), written: 0 };
        if line.syscall == Syscall::AccountInfo && outcome.error().is_none() {
            let words = (0..Charge::COUNT).map(|index| self.stage.word(index));
            // What the root's own account has, which has other limits than those that scripts give, depends on the machine.
            if words.clone().all(|word| word as u32 == LIMIT) {
                // FNV-1a, word by word.
                outcome.written =
                    words.fold(0xcbf2_9ce4_8422_2325, |sum, word| (sum ^ word).wrapping_mul(0x100_0000_01b3));
            }
        }
        if let Some(label) = &line.label {
            let value = if outcome.error().is_none() { outcome.results[0] } else { 0 };
            self.results.push((label.clone(), value));
        }
        outcome
    }
}
