//! What can go wrong, with the place where it did.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Every variant says what state it leaves behind.
///
/// The type is two words wide, so that a `Result` on the read path costs nothing; what a failure needs is boxed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A call to the file system failed. Reads may be tried again; after a failed flush the database is
    /// [`Poisoned`](Error::Poisoned).
    #[error(transparent)]
    Io(#[from] Box<IoError>),

    /// Bytes in a file are not what was written there. Nothing was changed; `check()` tells the extent, `repair()` copies what is readable.
    #[error(transparent)]
    Corrupt(#[from] Box<Corruption>),

    /// A write or a flush failed earlier, so what is on disk is not known for sure any more. Nothing further is written or
    /// acknowledged until the database is opened again; the source is the first failure.
    #[error("nothing is written any more, since an earlier failure: {0}")]
    Poisoned(#[source] Arc<Error>),

    /// The database was opened for reading only. Nothing was changed.
    #[error("the database was opened for reading only")]
    ReadOnly,

    /// More was asked for than the format can hold. Nothing was changed.
    #[error(transparent)]
    TooLarge(#[from] Box<TooLarge>),
}

/// Something that exceeds a limit of the format.
#[derive(Debug, thiserror::Error)]
#[error("{what} of {size} bytes is larger than {limit}")]
pub struct TooLarge {
    /// What it is: "a commit".
    pub what: &'static str,
    /// Its size in bytes.
    pub size: u64,
    /// The most that is possible.
    pub limit: u64,
}

/// A failed call to the file system.
#[derive(Debug, thiserror::Error)]
#[error("can't {operation} {}{}: {source}", path.display(), at(*offset))]
pub struct IoError {
    /// What was tried: "read", "flush", "rename".
    pub operation: &'static str,
    /// On which file.
    pub path: PathBuf,
    /// Where in it.
    pub offset: Option<u64>,
    /// What the system said.
    pub source: io::Error,
}

/// Bytes that can't be right.
#[derive(Debug, thiserror::Error)]
#[error("{} is damaged{}{}: {what}", path.display(), page.map(|p| format!(", page {p}")).unwrap_or_default(), at(*offset))]
pub struct Corruption {
    /// The file.
    pub path: PathBuf,
    /// The page, where it is one.
    pub page: Option<u64>,
    /// The place in the file.
    pub offset: Option<u64>,
    /// What is wrong.
    pub what: String,
}

fn at(offset: Option<u64>) -> String {
    offset.map(|o| format!(" at byte {o}")).unwrap_or_default()
}

impl Error {
    pub(crate) fn io(operation: &'static str, path: &Path, offset: Option<u64>, source: io::Error) -> Error {
        Error::Io(Box::new(IoError {
            operation,
            path: path.to_owned(),
            offset,
            source,
        }))
    }

    pub(crate) fn corrupt(path: &Path, offset: Option<u64>, what: impl Into<String>) -> Error {
        Error::Corrupt(Box::new(Corruption {
            path: path.to_owned(),
            page: None,
            offset,
            what: what.into(),
        }))
    }

    pub(crate) fn too_large(what: &'static str, size: u64, limit: u64) -> Error {
        Error::TooLarge(Box::new(TooLarge { what, size, limit }))
    }

    pub(crate) fn corrupt_page(path: &Path, page: u64, what: impl Into<String>) -> Error {
        Error::Corrupt(Box::new(Corruption {
            path: path.to_owned(),
            page: Some(page),
            offset: None,
            what: what.into(),
        }))
    }
}
