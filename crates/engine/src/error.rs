//! What can go wrong, with the place where it did.

use std::io;
use std::path::{Path, PathBuf};

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

    pub(crate) fn corrupt_page(path: &Path, page: u64, what: impl Into<String>) -> Error {
        Error::Corrupt(Box::new(Corruption {
            path: path.to_owned(),
            page: Some(page),
            offset: None,
            what: what.into(),
        }))
    }
}
