//! What a case found.

use abi::Error;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::panic::Location;

/// What a case expected and did not find, and where.
pub(crate) struct Failure {
    place: &'static Location<'static>,
    what: String,
}

/// What a case found.
pub(crate) type Outcome = Result<(), Failure>;

impl Failure {
    /// A failure at the caller's line.
    #[track_caller]
    pub(crate) fn new(what: String) -> Self {
        Failure { place: Location::caller(), what }
    }
}

impl From<Error> for Failure {
    #[track_caller]
    fn from(error: Error) -> Self {
        Failure::new(format!("refused: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{})", self.what, self.place.file(), self.place.line())
    }
}

/// Something must be so.
#[track_caller]
pub(crate) fn holds(condition: bool, what: &str) -> Outcome {
    if condition { Ok(()) } else { Err(Failure::new(format!("not so: {what}"))) }
}

/// Two values must be the same.
#[track_caller]
pub(crate) fn same<T: PartialEq + fmt::Debug>(found: T, wanted: T) -> Outcome {
    if found == wanted { Ok(()) } else { Err(Failure::new(format!("found {found:x?}, wanted {wanted:x?}"))) }
}

/// A call must have been refused, or have ended, with this error.
#[track_caller]
pub(crate) fn refused<T: fmt::Debug>(result: Result<T, Error>, wanted: Error) -> Outcome {
    match result {
        Err(error) if error == wanted => Ok(()),
        Err(error) => Err(Failure::new(format!("refused with {error:?}, wanted {wanted:?}"))),
        Ok(value) => Err(Failure::new(format!("allowed with {value:x?}, wanted {wanted:?}"))),
    }
}
