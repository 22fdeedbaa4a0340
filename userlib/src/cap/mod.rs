//! Capabilities by kind: what can be asked of one is decided by its type.
//!
//! * [`Cap<K>`] is a handle of kind `K`. It is `Copy` and owns nothing: it may be stale, and the kernel then says so.
//! * [`Owned<K>`] owns its slot in the capability table and empties it when dropped. Deleting a capability hands what
//!   was made from it to its parent, so that dropping takes nothing away from others; the object dies with its last
//!   capability.
//!
//! Every system call on an object is a method of `Cap` of its kind, and every `Owned<K>` is used as a `Cap<K>` by
//! dereference. Methods return [`abi::Error`] as the kernel reports it.

mod device;
mod ipc;
mod memory;
mod process;

pub use device::{LOG_READ_MAX, PortWidth};
pub use memory::{MapFailure, MappingId, MemoryInfo};
pub use process::{CapDescription, QuotaUse};

use crate::sys::{self, Results};
use abi::rights::{self, Kind, RawRights};
use abi::{Error, Handle, Syscall};
use bitflags::Flags;
use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::Deref;

/// A kind of object, as a type.
pub trait ObjectKind: 'static {
    /// The kind as the kernel numbers it.
    const KIND: Kind;
    /// Rights on objects of the kind.
    type Rights: Flags<Bits = RawRights> + Copy + fmt::Debug;
}

macro_rules! kinds {
    ($($(#[doc = $doc:expr])* $name:ident: $rights:ident;)*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Clone, Copy, Debug)]
            pub enum $name {}

            impl ObjectKind for $name {
                const KIND: Kind = Kind::$name;
                type Rights = rights::$rights;
            }
        )*
    };
}

kinds! {
    /// A limit on kernel objects, and the authority to create them within it.
    Account: AccountRights;
    /// An extent of physical memory: RAM or device registers.
    Memory: MemoryRights;
    /// An address space.
    Space: SpaceRights;
    /// A protection domain.
    Domain: DomainRights;
    /// A thread.
    Thread: ThreadRights;
    /// A scheduling context.
    Budget: BudgetRights;
    /// A typed rendezvous for calls.
    Endpoint: EndpointRights;
    /// A word of sticky event bits.
    Notification: NotificationRights;
    /// Authority over one interrupt.
    Interrupt: InterruptRights;
    /// Authority over a range of I/O ports.
    Ports: PortsRights;
    /// Authority to create interrupts.
    InterruptControl: InterruptControlRights;
    /// Authority to read the kernel's log and statistics.
    System: SystemRights;
    /// Authority over what devices can reach by themselves.
    DeviceControl: DeviceControlRights;
}

/// A handle of a capability for an object of kind `K`.
#[repr(transparent)]
pub struct Cap<K: ObjectKind> {
    handle: Handle,
    kind: PhantomData<fn() -> K>,
}

impl<K: ObjectKind> Clone for Cap<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K: ObjectKind> Copy for Cap<K> {}
impl<K: ObjectKind> PartialEq for Cap<K> {
    fn eq(&self, other: &Self) -> bool {
        self.handle == other.handle
    }
}
impl<K: ObjectKind> Eq for Cap<K> {}
impl<K: ObjectKind> fmt::Debug for Cap<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{:?}", K::KIND, self.handle)
    }
}

/// What [`Cap::info`] tells of a capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapInfo<R> {
    /// What it lets its holder do.
    pub rights: R,
    /// Its badge; 0 if it has none.
    pub badge: u64,
}

/// The kind, rights and badge behind a handle whose kind is not known.
///
/// # Errors
/// `BadHandle` or `StaleHandle` if it names nothing.
pub fn describe(handle: Handle) -> Result<(Kind, CapInfo<RawRights>), Error> {
    // SAFETY: `CapInfo` touches no memory.
    let results = unsafe { sys::plain(Syscall::CapInfo, [handle.0, 0, 0, 0, 0, 0]) };
    let kind = Kind::from_number(results.value()? as u8).ok_or(Error::WrongKind)?;
    Ok((kind, CapInfo { rights: results.rdi as RawRights, badge: results.rsi }))
}

impl<K: ObjectKind> Cap<K> {
    /// Every right on the kind.
    pub fn all_rights() -> K::Rights {
        K::Rights::all()
    }

    /// Takes a handle for one of kind `K`. If it is not, the kernel refuses its use with `WrongKind`.
    pub const fn from_handle(handle: Handle) -> Self {
        Self { handle, kind: PhantomData }
    }

    /// The handle.
    pub const fn handle(self) -> Handle {
        self.handle
    }

    /// Whether it names nothing at all.
    pub const fn is_none(self) -> bool {
        self.handle.is_none()
    }

    /// Takes ownership of the slot: it is emptied when the result is dropped. Two owners of one slot do no harm but
    /// that the second finds it stale.
    pub const fn into_owned(self) -> Owned<K> {
        Owned { cap: self }
    }

    /// Copies the capability within the own table, with a subset of its rights and the same badge.
    ///
    /// # Errors
    /// `TableFull`; `MissingRight` if the original lacks one of the rights.
    pub fn copy(self, rights: K::Rights) -> Result<Owned<K>, Error> {
        self.mint(rights, 0)
    }

    /// Copies the capability with a badge. Needs the right to mint and an original without badge; badge 0 is a plain
    /// copy.
    ///
    /// # Errors
    /// As for [`Cap::copy`].
    pub fn mint(self, rights: K::Rights, badge: u64) -> Result<Owned<K>, Error> {
        let handle = self.invoke(Syscall::CapCopy, [rights.bits().into(), badge, 0, 0, 0])?;
        Ok(Cap::from_handle(Handle(handle)).into_owned())
    }

    /// Copies the capability into the table of another domain; the result is the handle there.
    ///
    /// # Errors
    /// As for [`Cap::copy`]; `MissingRight` also without the right to grant to `domain`.
    pub fn grant(self, domain: Cap<Domain>, rights: K::Rights, badge: u64) -> Result<Handle, Error> {
        let arguments = [self.handle.0, rights.bits().into(), badge, 0, 0];
        domain.invoke(Syscall::CapGrant, arguments).map(Handle)
    }

    /// Kind-checked rights and badge.
    ///
    /// # Errors
    /// `StaleHandle` if nothing is there, `WrongKind` if it is of another kind.
    pub fn info(self) -> Result<CapInfo<K::Rights>, Error> {
        let (kind, info) = describe(self.handle)?;
        if kind != K::KIND {
            return Err(Error::WrongKind);
        }
        Ok(CapInfo { rights: K::Rights::from_bits_truncate(info.rights), badge: info.badge })
    }

    /// Empties the slot. What was made from the capability becomes its parent's.
    ///
    /// # Errors
    /// `StaleHandle` if it is empty already.
    pub fn delete(self) -> Result<(), Error> {
        self.invoke(Syscall::CapDelete, [0; 5]).map(drop)
    }

    /// Removes every capability and mapping that was made from this one.
    ///
    /// # Errors
    /// `StaleHandle`.
    pub fn revoke(self) -> Result<(), Error> {
        self.invoke(Syscall::CapRevoke, [0; 5]).map(drop)
    }

    /// Destroys the object, whoever else has capabilities for it.
    ///
    /// # Errors
    /// `MissingRight`; `WrongState` if the object cannot be destroyed as it is.
    pub fn destroy(self) -> Result<(), Error> {
        self.invoke(Syscall::Destroy, [0; 5]).map(drop)
    }

    /// A call whose first argument is this capability and that touches no memory of the caller.
    #[inline(always)]
    pub(crate) fn invoke(self, call: Syscall, rest: [u64; 5]) -> Result<u64, Error> {
        // SAFETY: this crate uses it only for calls without addresses (`invoke_with_memory` serves the others).
        unsafe { self.invoke_with_memory(call, rest) }.value()
    }

    /// A call whose first argument is this capability.
    ///
    /// # Safety
    /// As for [`sys::plain`].
    #[inline(always)]
    pub(crate) unsafe fn invoke_with_memory(self, call: Syscall, rest: [u64; 5]) -> Results {
        let [a, b, c, d, e] = rest;
        // SAFETY: passed on to the caller.
        unsafe { sys::plain(call, [self.handle.0, a, b, c, d, e]) }
    }
}

/// A capability that is deleted when this value is dropped.
pub struct Owned<K: ObjectKind> {
    cap: Cap<K>,
}

impl<K: ObjectKind> Owned<K> {
    /// The capability, to be used as long as this value lives.
    pub const fn cap(&self) -> Cap<K> {
        self.cap
    }

    /// Gives the slot up without emptying it.
    pub fn leak(self) -> Cap<K> {
        ManuallyDrop::new(self).cap
    }

    /// Moves the capability into the table of another domain; its place among its relatives stays. The result is the
    /// handle there.
    ///
    /// # Errors
    /// The capability comes back with the error: `MissingRight` without the right to grant to `domain`, `TableFull`.
    pub fn move_to(self, domain: Cap<Domain>) -> Result<Handle, (Self, Error)> {
        match domain.invoke(Syscall::CapMove, [self.cap.handle.0, 0, 0, 0, 0]) {
            Ok(handle) => {
                self.leak();
                Ok(Handle(handle))
            }
            Err(error) => Err((self, error)),
        }
    }
}

impl<K: ObjectKind> Deref for Owned<K> {
    type Target = Cap<K>;
    fn deref(&self) -> &Cap<K> {
        &self.cap
    }
}

impl<K: ObjectKind> Drop for Owned<K> {
    fn drop(&mut self) {
        // A slot that is empty already is what was wanted.
        let _ = self.cap.delete();
    }
}

impl<K: ObjectKind> fmt::Debug for Owned<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "owned {:?}", self.cap)
    }
}

/// The handle that a call which creates a capability has returned.
fn created<K: ObjectKind>(result: Result<u64, Error>) -> Result<Owned<K>, Error> {
    result.map(|handle| Cap::from_handle(Handle(handle)).into_owned())
}
