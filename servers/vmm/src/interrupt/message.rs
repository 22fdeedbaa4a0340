//! What travels between interrupt controllers.

/// How the receiver is to take it (Intel SDM 3A, table 11-19; 82093AA, section 3.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// To all processors that are named.
    Fixed,
    /// To the one of them that does the least urgent work.
    LowestPriority,
    /// As a non-maskable interrupt.
    NonMaskable,
    /// The processor waits for a start-up message.
    Init,
    /// The processor starts at the page whose number is the vector.
    StartUp,
    /// The vector comes from the PICs.
    External,
    /// A system-management interrupt or a reserved mode: nobody takes it.
    Unsupported,
}

impl Delivery {
    /// From the three bits that APICs use.
    #[must_use]
    pub fn from_bits(bits: u32) -> Self {
        match bits & 7 {
            0 => Delivery::Fixed,
            1 => Delivery::LowestPriority,
            4 => Delivery::NonMaskable,
            5 => Delivery::Init,
            6 => Delivery::StartUp,
            7 => Delivery::External,
            _ => Delivery::Unsupported,
        }
    }
}

/// Whether an interrupt is an event or a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// An event.
    Edge,
    /// A state that holds until its device is satisfied; its end is told to the I/O APIC.
    Level,
}

/// Who is to get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The processor with this APIC id; 0xff are all.
    Physical(u8),
    /// Processors whose logical destination register matches.
    Logical(u8),
    /// The sender.
    Oneself,
    /// All, the sender included.
    All,
    /// All but the sender.
    Others,
}

/// One interrupt on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Which.
    pub vector: u8,
    /// How it is taken.
    pub delivery: Delivery,
    /// Event or state.
    pub trigger: Trigger,
    /// Who gets it.
    pub destination: Destination,
}

impl Message {
    /// What a device's write of `data` to `address` means, if the address is one for interrupts (Intel SDM 3A,
    /// section 11.11).
    #[must_use]
    pub fn signalled(address: u64, data: u32) -> Option<Self> {
        if address >> 20 != 0xfee {
            return None;
        }
        let id = (address >> 12) as u8;
        // By the manual the mode counts only with the redirection hint. Chip sets and KVM look at the mode alone, and Linux names
        // processors by it without the hint.
        let logical = address & 0b100 != 0;
        Some(Self {
            vector: data as u8,
            delivery: Delivery::from_bits(data >> 8),
            trigger: if data & (1 << 15) == 0 { Trigger::Edge } else { Trigger::Level },
            destination: if logical { Destination::Logical(id) } else { Destination::Physical(id) },
        })
    }
}
