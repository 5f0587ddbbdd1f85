//! What can go wrong, and what each case leaves behind.

use std::fmt;
use std::io;

/// The result of an operation on a region.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation on a region failed.
///
/// None of them leaves anything half done: the store is as it was before the call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument that can't be right, an object that isn't allocated (a double free, for one), or a region of another kind.
    #[error("invalid: {0}")]
    Invalid(&'static str),
    /// Others were in the way for longer than the bound on retries, or a region is still being created. Try again.
    #[error("busy, try again: {0}")]
    Again(&'static str),
    /// The region holds something that no correct process writes.
    #[error("{0}")]
    Corrupt(Corruption),
    /// There is nothing there: no region, or a region whose creator died before it was done.
    #[error("empty: {0}")]
    Empty(&'static str),
    /// No space: in the region, in the file system under it, or in the table of sessions.
    #[error("full: {0}")]
    Full(&'static str),
    /// The operating system refused.
    #[error("{operation}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(operation: &'static str, source: io::Error) -> Error {
        match source.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => Error::Full("the file system under the region"),
            _ => Error::Io { operation, source },
        }
    }

    pub(crate) fn last_os(operation: &'static str) -> Error {
        Error::io(operation, io::Error::last_os_error())
    }

    /// Whether trying again may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Again(_))
    }
}

/// What is wrong in a region, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corruption {
    /// What was expected there.
    pub what: &'static str,
    /// The place, in bytes from the region's start.
    pub offset: u64,
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "corrupt at offset {:#x}: {}", self.offset, self.what)
    }
}

/// Shorthand for [`Error::Corrupt`]. Out of the way of those who find nothing wrong.
#[cold]
#[inline(never)]
pub(crate) fn corrupt<T>(what: &'static str, offset: u64) -> Result<T> {
    Err(Error::Corrupt(Corruption { what, offset }))
}

/// The error itself.
pub(crate) fn corruption(what: &'static str, offset: u64) -> Error {
    Error::Corrupt(Corruption { what, offset })
}
