//! Why the kernel refused a call.

macro_rules! errors {
    ($($(#[doc = $doc:expr])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Why the kernel refused a call, or why a call that had begun did not come to its end.
        ///
        /// A refused call changed nothing. In registers an error is the negative of its code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        #[non_exhaustive]
        pub enum Error {
            $($(#[doc = $doc])* $name = $code,)*
        }

        impl Error {
            /// Every error, in the order of the codes.
            pub const ALL: &'static [Error] = &[$(Error::$name),*];

            /// The error with this code.
            pub const fn from_code(code: u16) -> Option<Error> {
                match code { $($code => Some(Error::$name),)* _ => None }
            }

            /// A short sentence for people.
            pub const fn as_str(self) -> &'static str {
                match self { $(Error::$name => $text,)* }
            }
        }
    };
}

errors! {
    /// The system call's number is not one that the kernel knows.
    UnknownSyscall = 1, "no such system call";
    /// The handle's index lies outside the caller's capability table.
    BadHandle = 2, "the handle is outside the capability table";
    /// The slot is empty or holds another generation, or the object it named is gone.
    StaleHandle = 3, "the capability or its object no longer exists";
    /// The capability names another kind of object than the call needs.
    WrongKind = 4, "the capability is of another kind";
    /// The capability lacks a right that the call needs.
    MissingRight = 5, "the capability lacks the right for this";
    /// An argument is outside the range that the call's documentation gives.
    BadArgument = 6, "an argument is out of range";
    /// An address is not in user space, not aligned, or not mapped as the operation needs.
    BadAddress = 7, "an address is not mapped as the operation needs";
    /// The capability table has no free slot.
    TableFull = 8, "the capability table is full";
    /// The account's limit for this kind of object is reached.
    QuotaExceeded = 9, "the account's quota is used up";
    /// The kernel's table for this kind of object is full. Sum of quotas above the table's length: a mistake of whoever
    /// handed out the quotas.
    KernelTableFull = 10, "the kernel's table for this kind of object is full";
    /// The endpoint speaks another interface than the caller.
    WrongInterface = 11, "the endpoint serves another interface";
    /// The call would not go strictly down in level; it could become part of a cycle of waiting.
    WrongDirection = 12, "a call must go strictly down in level";
    /// The server died after it had taken the call: whether it was carried out is not known.
    PeerDied = 13, "the server died while it was working on the call";
    /// The call that this reply or lease names has ended: its caller died, timed out or was answered.
    CallerGone = 14, "the caller is no longer waiting for this call";
    /// The deadline passed.
    TimedOut = 15, "the deadline passed";
    /// Nothing was there at once and the deadline was "now".
    WouldBlock = 16, "nothing is there and the call was not to wait";
    /// The range overlaps an existing mapping.
    AlreadyMapped = 17, "the range is already mapped";
    /// The space's pool has too few donated page-table pages; the second result tells how many are missing.
    NeedTables = 18, "the space needs more donated page-table pages";
    /// A page of the range belongs to the kernel.
    KernelPage = 19, "a page of the range is owned by the kernel";
    /// A page of the range is mapped, pinned or derived from, so it has no sole owner.
    NotSoleOwner = 20, "the memory is mapped, pinned or shared";
    /// The object is in a state in which the operation has no meaning.
    WrongState = 21, "the object is in the wrong state for this";
    /// The lease's index, range or direction is not what the caller lent.
    BadLease = 22, "the lease does not cover this access";
    /// The message names more words, capabilities or leases than a message can have.
    BadMessage = 23, "the message is malformed";
    /// The thread has no message buffer and the call needs one.
    NoBuffer = 24, "the thread has no message buffer";
    /// The receiver did not offer enough slots for the message's capabilities.
    NoReceiveSlots = 25, "the receiver accepts no more capabilities";
    /// The endpoint's object was destroyed: there will be no server.
    EndpointGone = 26, "the endpoint was destroyed";
    /// The server found that this client broke the protocol.
    ProtocolFault = 27, "the server says this client broke the protocol";
    /// The hardware cannot do this (no such interrupt line, no vector left).
    NoHardware = 28, "the hardware cannot do this";
    /// The range is already held by another object (interrupt line claimed twice).
    InUse = 29, "somebody else holds it already";
}

impl Error {
    /// The value that stands for this error in a result register.
    pub const fn to_register(self) -> u64 {
        (-(self as u16 as i64)) as u64
    }

    /// Splits a result register into a value or an error. Unknown codes read as [`Error::UnknownSyscall`].
    pub const fn from_register(value: u64) -> Result<u64, Error> {
        if (value as i64) < 0 && (value as i64) >= -4095 {
            match Error::from_code((-(value as i64)) as u16) {
                Some(error) => Err(error),
                None => Err(Error::UnknownSyscall),
            }
        } else {
            Ok(value)
        }
    }
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for Error {}
