//! The interval timer: an Intel 8254 at ports 0x40 to 0x43, and port 0x61 of the chip set, by which the speaker's channel
//! is started and seen.
//!
//! Counts are computed from the time that is over since a channel was loaded. Counting in decimals is not modelled: the
//! bit is kept and the count taken as binary.

use super::{nanoseconds, ticks};

/// Frequency of all channels.
const HERTZ: u64 = 1_193_182;
/// Channel 0 interrupts no more often: a guest must not keep its monitor busy by that alone.
pub const MIN_PERIOD_NS: u64 = 100_000;
/// Half a period of the signal that refreshed memory once, and that some software measures time by.
const REFRESH_NS: u64 = 15_085;

/// Which byte of the count is accessed (control word, bits 4 and 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Low,
    High,
    Both,
}

/// How a channel counts (8254 data sheet, "Mode definitions").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// 0: the output rises at the end.
    TerminalCount,
    /// 1: the same, started by the gate.
    OneShot,
    /// 2: a short pulse each period.
    Rate,
    /// 3: high for half of each period.
    Square,
    /// 4: a short pulse at the end.
    SoftwareStrobe,
    /// 5: the same, started by the gate.
    HardwareStrobe,
}

impl Mode {
    fn from_bits(bits: u8) -> Self {
        match bits & 7 {
            0 => Mode::TerminalCount,
            1 => Mode::OneShot,
            2 | 6 => Mode::Rate,
            3 | 7 => Mode::Square,
            4 => Mode::SoftwareStrobe,
            _ => Mode::HardwareStrobe,
        }
    }

    fn is_periodic(self) -> bool {
        matches!(self, Mode::Rate | Mode::Square)
    }

    fn waits_for_gate(self) -> bool {
        matches!(self, Mode::OneShot | Mode::HardwareStrobe)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Channel {
    /// Bits 0 to 5 of the control word.
    control: u8,
    access: Access,
    mode: Mode,
    /// 1 to 0x10000.
    reload: u32,
    /// When counting began, if it did.
    loaded_at: Option<u64>,
    gate: bool,
    /// The low byte, when both are written and the high one is missing.
    low_written: Option<u8>,
    /// Both are read, and the low one was.
    high_is_next: bool,
    latched_count: Option<u16>,
    latched_status: Option<u8>,
    /// When it interrupts next, and whether that is over.
    due: Option<u64>,
}

impl Channel {
    fn new() -> Self {
        Self {
            control: 0x30,
            access: Access::Both,
            mode: Mode::TerminalCount,
            reload: 0x10000,
            loaded_at: None,
            gate: true,
            low_written: None,
            high_is_next: false,
            latched_count: None,
            latched_status: None,
            due: None,
        }
    }

    fn set_control(&mut self, word: u8) {
        let access = match word >> 4 & 3 {
            1 => Access::Low,
            2 => Access::High,
            _ => Access::Both,
        };
        let mode = Mode::from_bits(word >> 1);
        *self = Self { control: word & 0x3f, access, mode, gate: self.gate, ..Self::new() };
    }

    fn elapsed(&self, now: u64) -> Option<u64> {
        Some(ticks(now.saturating_sub(self.loaded_at?), HERTZ))
    }

    fn count(&self, now: u64) -> u16 {
        let reload = u64::from(self.reload);
        let Some(elapsed) = self.elapsed(now) else { return self.reload as u16 };
        match self.mode {
            Mode::Rate => (reload - elapsed % reload) as u16,
            // It counts by two, twice a period.
            Mode::Square => (reload - elapsed * 2 % reload) as u16 & !1,
            // It goes on below 0.
            _ => reload.wrapping_sub(elapsed) as u16,
        }
    }

    fn output(&self, now: u64) -> bool {
        let reload = u64::from(self.reload);
        match (self.mode, self.elapsed(now)) {
            (Mode::TerminalCount, None) => false,
            (_, None) => true,
            (Mode::TerminalCount | Mode::OneShot, Some(elapsed)) => elapsed >= reload,
            (Mode::Rate, Some(elapsed)) => elapsed % reload != reload - 1,
            (Mode::Square, Some(elapsed)) => elapsed % reload < reload.div_ceil(2),
            (Mode::SoftwareStrobe | Mode::HardwareStrobe, Some(elapsed)) => elapsed != reload,
        }
    }

    fn start(&mut self, now: u64) {
        self.loaded_at = Some(now);
        self.due = Some(now.saturating_add(nanoseconds(u64::from(self.reload), HERTZ)));
    }

    fn write(&mut self, value: u8, now: u64) {
        let count = match (self.access, self.low_written.take()) {
            (Access::Low, _) => u16::from(value),
            (Access::High, _) => u16::from(value) << 8,
            (Access::Both, None) => {
                self.low_written = Some(value);
                // In mode 0 the first byte stops the count.
                if self.mode == Mode::TerminalCount {
                    self.loaded_at = None;
                    self.due = None;
                }
                return;
            }
            (Access::Both, Some(low)) => u16::from_le_bytes([low, value]),
        };
        self.reload = if count == 0 { 0x10000 } else { u32::from(count) };
        if !self.mode.waits_for_gate() && self.gate {
            self.start(now);
        }
    }

    fn read(&mut self, now: u64) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let [low, high] = self.latched_count.unwrap_or_else(|| self.count(now)).to_le_bytes();
        let (byte, last) = match self.access {
            Access::Low => (low, true),
            Access::High => (high, true),
            Access::Both => {
                let high_now = self.high_is_next;
                self.high_is_next = !high_now;
                (if high_now { high } else { low }, high_now)
            }
        };
        if last {
            self.latched_count = None;
        }
        byte
    }

    fn latch_count(&mut self, now: u64) {
        // A second latch before the first is read is ignored.
        if self.latched_count.is_none() {
            self.latched_count = Some(self.count(now));
        }
    }

    fn latch_status(&mut self, now: u64) {
        if self.latched_status.is_none() {
            let not_loaded = self.loaded_at.is_none();
            self.latched_status = Some(u8::from(self.output(now)) << 7 | u8::from(not_loaded) << 6 | self.control);
        }
    }

    /// The speaker's gate changes: rising it starts the count again where the mode says so.
    fn set_gate(&mut self, gate: bool, now: u64) {
        let rises = gate && !self.gate;
        self.gate = gate;
        if rises {
            self.start(now);
        } else if !gate && !self.mode.waits_for_gate() {
            // Counting is suspended; nobody reads the count while it is.
            self.loaded_at = None;
            self.due = None;
        }
    }
}

/// The interval timer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntervalTimer {
    channels: [Channel; 3],
    speaker: bool,
}

impl Default for IntervalTimer {
    fn default() -> Self {
        Self::new()
    }
}

impl IntervalTimer {
    /// One whose channels wait for being set up.
    #[must_use]
    pub fn new() -> Self {
        let mut channels = [Channel::new(); 3];
        channels[2].gate = false;
        Self { channels, speaker: false }
    }

    /// What the guest reads from a port, if it is one of these.
    pub fn read(&mut self, port: u16, now: u64) -> Option<u8> {
        Some(match port {
            0x40..=0x42 => self.channels[usize::from(port - 0x40)].read(now),
            // The control word cannot be read.
            0x43 => 0xff,
            0x61 => {
                let channel = &self.channels[2];
                u8::from(channel.gate)
                    | u8::from(self.speaker) << 1
                    | u8::from(!(now / REFRESH_NS).is_multiple_of(2)) << 4
                    | u8::from(channel.output(now)) << 5
            }
            _ => return None,
        })
    }

    /// The guest writes to a port. Returns whether it is one of these.
    pub fn write(&mut self, port: u16, value: u8, now: u64) -> bool {
        match port {
            0x40..=0x42 => self.channels[usize::from(port - 0x40)].write(value, now),
            0x43 => self.control(value, now),
            0x61 => {
                self.channels[2].set_gate(value & 1 != 0, now);
                self.speaker = value & 2 != 0;
            }
            _ => return false,
        }
        true
    }

    /// When channel 0 interrupts next, in nanoseconds.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.channels[0].due
    }

    /// Time has passed. Returns whether channel 0's output has risen since: line 0 of the interrupt controllers is to rise
    /// and fall, once even if it was due several times.
    #[must_use]
    pub fn advance(&mut self, now: u64) -> bool {
        let channel = &mut self.channels[0];
        let Some(due) = channel.due.filter(|due| *due <= now) else { return false };
        channel.due = channel.mode.is_periodic().then(|| {
            let period = nanoseconds(u64::from(channel.reload), HERTZ).max(MIN_PERIOD_NS);
            let missed = (now - due) / period;
            due.saturating_add(period.saturating_mul(missed + 1))
        });
        true
    }

    fn control(&mut self, word: u8, now: u64) {
        let channel = usize::from(word >> 6);
        if channel < 3 && word & 0x30 != 0 {
            self.channels[channel].set_control(word);
        } else if channel < 3 {
            self.channels[channel].latch_count(now);
        } else {
            // Read back: the bits mean "not".
            for (index, channel) in self.channels.iter_mut().enumerate() {
                if word & 2 << index != 0 {
                    if word & 0x20 == 0 {
                        channel.latch_count(now);
                    }
                    if word & 0x10 == 0 {
                        channel.latch_status(now);
                    }
                }
            }
        }
    }
}
