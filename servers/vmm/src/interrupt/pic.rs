//! The two 8259A interrupt controllers of a PC (Intel 8259A data sheet), the second behind line 2 of the first.

/// The line of the first controller that carries the second.
const CASCADE: u8 = 2;

/// Which register a read gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Request,
    InService,
}

/// How far the initialisation has come: which command word is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setup {
    Done,
    Vector { fourth: bool, single: bool },
    Cascade { fourth: bool },
    Mode,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pic {
    lines: u8,
    request: u8,
    in_service: u8,
    mask: u8,
    /// Lines that are states (the chip set's edge/level register).
    level: u8,
    base: u8,
    /// The line with the lowest priority.
    lowest: u8,
    shown: Shown,
    setup: Setup,
    automatic_end: bool,
    rotate_on_automatic_end: bool,
    special_mask: bool,
    polled: bool,
    /// The work on a line goes on while a more urgent one of the same controller behind it is taken.
    fully_nested: bool,
}

impl Pic {
    fn new() -> Self {
        Self {
            lines: 0,
            request: 0,
            in_service: 0,
            mask: 0xff,
            level: 0,
            base: 0,
            lowest: 7,
            shown: Shown::Request,
            setup: Setup::Done,
            automatic_end: false,
            rotate_on_automatic_end: false,
            special_mask: false,
            polled: false,
            fully_nested: false,
        }
    }

    fn set(&mut self, line: u8, asserted: bool) {
        let bit = 1 << line;
        let rises = asserted && self.lines & bit == 0;
        if asserted {
            self.lines |= bit;
        } else {
            self.lines &= !bit;
            // A request whose line falls before it is taken is gone (section "Interrupt triggering").
            self.request &= !bit;
        }
        if rises || asserted && self.level & bit != 0 {
            self.request |= bit;
        }
    }

    /// Steps of priority below the most urgent line.
    fn rank(&self, line: u8) -> u8 {
        line.wrapping_sub(self.lowest + 1) & 7
    }

    fn most_urgent(&self, lines: u8) -> Option<u8> {
        (0..8).filter(|line| lines & 1 << line != 0).min_by_key(|line| self.rank(*line))
    }

    /// The line that interrupts now.
    fn next(&self, cascade: bool) -> Option<u8> {
        let line = self.most_urgent(self.request & !self.mask)?;
        let serving = if self.special_mask { self.in_service & !self.mask } else { self.in_service };
        let above = self.most_urgent(serving).is_none_or(|busy| {
            let nested = cascade && self.fully_nested && busy == CASCADE && line == CASCADE;
            nested || self.rank(line) < self.rank(busy)
        });
        above.then_some(line)
    }

    fn accept(&mut self, line: u8) {
        let bit = 1 << line;
        if self.level & bit == 0 {
            self.request &= !bit;
        }
        if !self.automatic_end {
            self.in_service |= bit;
        } else if self.rotate_on_automatic_end {
            self.lowest = line;
        }
    }

    fn read(&mut self, data: bool) -> u8 {
        if core::mem::take(&mut self.polled) {
            let Some(line) = self.next(false) else { return 0 };
            self.accept(line);
            return 0x80 | line;
        }
        match (data, self.shown) {
            (true, _) => self.mask,
            (false, Shown::Request) => self.request,
            (false, Shown::InService) => self.in_service,
        }
    }

    fn write_command(&mut self, value: u8) {
        if value & 0x10 != 0 {
            // ICW1.
            let (lines, level) = (self.lines, self.level);
            *self = Self { lines, level, mask: 0, ..Self::new() };
            self.setup = Setup::Vector { fourth: value & 1 != 0, single: value & 2 != 0 };
        } else if value & 0x08 != 0 {
            // OCW3.
            self.polled = value & 4 != 0;
            match value & 3 {
                2 => self.shown = Shown::Request,
                3 => self.shown = Shown::InService,
                _ => {}
            }
            match value >> 5 & 3 {
                2 => self.special_mask = false,
                3 => self.special_mask = true,
                _ => {}
            }
        } else {
            // OCW2.
            let named = value & 7;
            let rotate = value & 0x80 != 0;
            match value >> 5 & 3 {
                // The end of the most urgent work, or of that on a named line.
                end @ (1 | 3) => {
                    let line = if end == 3 { Some(named) } else { self.most_urgent(self.in_service) };
                    if let Some(line) = line {
                        self.in_service &= !(1 << line);
                        if rotate {
                            self.lowest = line;
                        }
                    }
                }
                2 if rotate => self.lowest = named,
                0 => self.rotate_on_automatic_end = rotate,
                _ => {}
            }
        }
    }

    fn write_data(&mut self, value: u8) {
        self.setup = match self.setup {
            Setup::Done => {
                self.mask = value;
                Setup::Done
            }
            Setup::Vector { fourth, single } => {
                self.base = value & 0xf8;
                match (single, fourth) {
                    (false, _) => Setup::Cascade { fourth },
                    (true, true) => Setup::Mode,
                    (true, false) => Setup::Done,
                }
            }
            Setup::Cascade { fourth: true } => Setup::Mode,
            Setup::Cascade { fourth: false } => Setup::Done,
            Setup::Mode => {
                self.automatic_end = value & 2 != 0;
                self.fully_nested = value & 0x10 != 0;
                Setup::Done
            }
        };
    }
}

/// Both controllers: ports 0x20, 0x21, 0xa0, 0xa1, and 0x4d0, 0x4d1 for edge or level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PicPair {
    first: Pic,
    second: Pic,
}

impl Default for PicPair {
    fn default() -> Self {
        Self::new()
    }
}

impl PicPair {
    /// Everything masked: no firmware has initialised them.
    #[must_use]
    pub fn new() -> Self {
        Self { first: Pic::new(), second: Pic::new() }
    }

    /// What the guest reads from a port, if it is one of these.
    pub fn read(&mut self, port: u16) -> Option<u8> {
        let value = match port {
            0x20 | 0x21 => self.first.read(port & 1 != 0),
            0xa0 | 0xa1 => self.second.read(port & 1 != 0),
            0x4d0 => self.first.level,
            0x4d1 => self.second.level,
            _ => return None,
        };
        self.connect();
        Some(value)
    }

    /// The guest writes to a port. Returns whether it is one of these.
    pub fn write(&mut self, port: u16, value: u8) -> bool {
        match port {
            0x20 => self.first.write_command(value),
            0x21 => self.first.write_data(value),
            0xa0 => self.second.write_command(value),
            0xa1 => self.second.write_data(value),
            // Timer, keyboard, cascade, clock and coprocessor are events for ever.
            0x4d0 => self.first.level = value & 0xf8,
            0x4d1 => self.second.level = value & 0xde,
            _ => return false,
        }
        self.connect();
        true
    }

    /// A device changes the state of a line: 0 to 15 without 2. Others have no device.
    pub fn set(&mut self, line: u8, asserted: bool) {
        match line {
            CASCADE => {}
            0..8 => self.first.set(line, asserted),
            8..16 => self.second.set(line - 8, asserted),
            _ => {}
        }
        self.connect();
    }

    /// The vector that the processor would get now.
    #[must_use]
    pub fn next_interrupt(&self) -> Option<u8> {
        let line = self.first.next(true)?;
        if line != CASCADE {
            return Some(self.first.base + line);
        }
        // A request that is gone by now is answered as the last line: spurious.
        Some(self.second.base + self.second.next(false).unwrap_or(7))
    }

    /// The processor takes the interrupt and gets its vector.
    pub fn accept(&mut self) -> Option<u8> {
        let vector = self.next_interrupt()?;
        let line = self.first.next(true)?;
        self.first.accept(line);
        if line == CASCADE
            && let Some(line) = self.second.next(false)
        {
            self.second.accept(line);
        }
        self.connect();
        Some(vector)
    }

    /// The second controller's output is the first one's line.
    fn connect(&mut self) {
        let asserted = self.second.next(false).is_some();
        self.first.set(CASCADE, asserted);
        // It stays a request while the second has more: its output falls between two of them.
        if asserted {
            self.first.request |= 1 << CASCADE;
        }
    }
}
