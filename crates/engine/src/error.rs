//! What can go wrong, with the place where it did.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Every variant says what state it leaves behind.
///
/// The type is small, so that a `Result` on the read path costs little; what most failures carry is boxed.
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

    /// Options that can't hold together, or that this database was not created with. Nothing was opened.
    #[error("the options can't be used: {why}")]
    InvalidOptions {
        /// Which, and what would do.
        why: String,
    },

    /// The database was created with pages of another size than was asked for. Nothing was opened.
    #[error(
        "the database has pages of {found} bytes, not {asked}: leave the page size out of the options, or copy the database with compact_to"
    )]
    PageSizeMismatch {
        /// What the database has.
        found: u64,
        /// What the options ask for.
        asked: u64,
    },

    /// The file is no Weald database. Nothing was changed.
    #[error("{} is not a Weald database", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },

    /// The file has a format that this version can't read. Nothing was changed.
    #[error(
        "the database has format {found}, and this version of Weald reads {supported}: open it with a later version"
    )]
    UnsupportedFormat {
        /// What the file has.
        found: u32,
        /// What can be read.
        supported: u32,
    },

    /// Another process, or this one, has the database open for writing. Nothing was opened.
    #[error("the database is in use by {}", pid.map_or("another process".to_owned(), |pid| format!("process {pid}")))]
    Locked {
        /// Who has it, where that is known.
        pid: Option<u32>,
    },

    /// A write or a flush failed earlier, so what is on the disk is not known for sure any more. What was acknowledged is safe; nothing
    /// further is accepted until the database is opened again. The source is the first failure.
    #[error("the database takes no more writes since an earlier failure, open it again: {0}")]
    Poisoned(#[source] Arc<Error>),

    /// The database was opened for reading only.
    #[error("the database is open for reading only")]
    ReadOnly,

    /// A key, value or transaction is larger than the format or the options allow. Nothing was changed.
    #[error(transparent)]
    TooLarge(#[from] Box<TooLarge>),

    /// Something that the transaction read was changed by a later commit. Nothing was committed: run the transaction again, as
    /// [`transact`](crate::Database::transact) does.
    #[error("the transaction read what another has changed since: run it again")]
    Conflict,

    /// No bucket has this name.
    #[error("there is no bucket {}", show(name))]
    BucketNotFound {
        /// The name.
        name: Vec<u8>,
    },

    /// A bucket has this name already.
    #[error("there is a bucket {} already", show(name))]
    BucketExists {
        /// The name.
        name: Vec<u8>,
    },

    /// A bucket's name has 1 to 255 bytes.
    #[error("a bucket's name has 1 to 255 bytes, not {len}")]
    InvalidBucketName {
        /// The name's length.
        len: usize,
    },

    /// The savepoint belongs to another transaction, or the transaction went back to before it. Nothing was changed.
    #[error(
        "the savepoint is gone: the transaction went back to an earlier one, or it is another transaction's"
    )]
    SavepointGone,

    /// No merge operator of this name was given to the options.
    #[error("there is no merge operator {name:?}: name it in DatabaseOptions::merge_operator")]
    UnknownMergeOperator {
        /// The name.
        name: String,
    },

    /// Whoever was shown the progress of a long piece of work asked for its end. What that leaves behind is said by each method.
    #[error("cancelled")]
    Cancelled,

    /// A file of this name exists, and the call does not overwrite any. Nothing was changed.
    #[error("{} exists already", path.display())]
    Exists {
        /// The name.
        path: PathBuf,
    },

    /// A dump or a backup is damaged, cut, or of another database than it would have to be.
    #[error("{what}")]
    BadStream {
        /// What is wrong with it.
        what: String,
    },

    /// The disk is full. Nothing was committed; go on when there is room.
    #[error("there is no room for this on the disk: {source}")]
    DiskFull {
        /// The failed call.
        source: Box<IoError>,
    },
}

impl Error {
    /// Whether running the same transaction again may succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Conflict)
    }
}

/// A name as a person reads it.
fn show(name: &[u8]) -> String {
    format!("\"{}\"", name.escape_ascii())
}

/// Something that exceeds a limit.
#[derive(Debug, thiserror::Error)]
#[error("{what} of {size} bytes is larger than the {limit} that are possible")]
pub struct TooLarge {
    /// What it is: "a key".
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
        let full = matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        );
        let source = Box::new(IoError {
            operation,
            path: path.to_owned(),
            offset,
            source,
        });
        if full {
            Error::DiskFull { source }
        } else {
            Error::Io(source)
        }
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

    pub(crate) fn bad_stream(what: impl Into<String>) -> Error {
        Error::BadStream { what: what.into() }
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
