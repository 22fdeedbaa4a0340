//! How a guest switches its machine off or resets it, and how it is asked to: the fixed hardware of ACPI (specification
//! 6.5, section 4.8.3) and the keyboard controller's reset, which is all that is there of one.

/// The sleep type that the tables name for "off" (`\_S5`).
pub const SLEEP_TYPE_OFF: u8 = 5;
/// The line of the system control interrupt, by which ACPI speaks up.
pub const CONTROL_INTERRUPT: u8 = 9;
/// The first port of status and enable, of 16 bits each.
pub const EVENT_PORT: u16 = 0x600;
/// The port of the control register, of 16 bits.
pub const CONTROL_PORT: u16 = 0x604;
/// The port of the power-management timer, of 32 bits.
pub const TIMER_PORT: u16 = 0x608;
/// The keyboard controller's command port, by which the machine is reset as well.
pub const KEYBOARD_PORT: u16 = 0x64;
/// The command that resets.
pub const KEYBOARD_RESET: u8 = 0xfe;

const POWER_BUTTON: u16 = 1 << 8;
const SCI_ENABLED: u16 = 1;
const SLEEP_ENABLE: u16 = 1 << 13;

/// What the guest wants to happen to its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerRequest {
    /// It is to be off.
    Off,
    /// It is to start again.
    Reset,
}

/// The registers for power.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Power {
    status: u16,
    enabled: u16,
    control: u16,
    request: Option<PowerRequest>,
}

impl Power {
    /// A machine that is on.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What the guest reads from a byte-wide port, if it is one of these. Wider accesses are several of these.
    #[must_use]
    pub fn read(&self, port: u16) -> Option<u8> {
        let (register, base) = match port {
            0x600 | 0x601 => (self.status, EVENT_PORT),
            0x602 | 0x603 => (self.enabled, EVENT_PORT + 2),
            0x604 | 0x605 => (self.control | SCI_ENABLED, CONTROL_PORT),
            // Neither input nor output waits.
            KEYBOARD_PORT => return Some(0),
            _ => return None,
        };
        Some(register.to_le_bytes()[usize::from(port - base)])
    }

    /// The guest writes to a byte-wide port. Returns whether it is one of these.
    pub fn write(&mut self, port: u16, value: u8) -> bool {
        let shift = (port & 1) * 8;
        let half = 0xff << shift;
        let written = u16::from(value) << shift;
        match port {
            // Ones clear.
            0x600 | 0x601 => self.status &= !written,
            0x602 | 0x603 => self.enabled = self.enabled & !half | written,
            0x604 | 0x605 => {
                self.control = (self.control & !half | written) & !SLEEP_ENABLE;
                if written & SLEEP_ENABLE != 0 && (self.control >> 10 & 7) as u8 == SLEEP_TYPE_OFF {
                    self.request = Some(PowerRequest::Off);
                }
            }
            KEYBOARD_PORT if value == KEYBOARD_RESET => self.request = Some(PowerRequest::Reset),
            KEYBOARD_PORT => {}
            _ => return false,
        }
        true
    }

    /// Somebody presses the power button: the guest is asked to switch off.
    pub fn press_button(&mut self) {
        self.status |= POWER_BUTTON;
    }

    /// Whether [`CONTROL_INTERRUPT`] is asserted.
    #[must_use]
    pub fn interrupt_level(&self) -> bool {
        self.status & self.enabled != 0
    }

    /// What the guest has asked for since this was last called.
    pub fn take_request(&mut self) -> Option<PowerRequest> {
        self.request.take()
    }
}
