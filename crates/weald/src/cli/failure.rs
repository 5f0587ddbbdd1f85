//! What a command could not do: one line that says what to do about it, and the exit code.

use std::io;
use std::path::{Path, PathBuf};

use weald::{Error, hot};

/// The result of a command or a part of one.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line asks for something that can't be.
    Usage(String),
    /// The answer is no, and it takes a sentence to say why.
    Refused(String),
    /// The engine failed on the database at this path.
    Database(PathBuf, Box<Error>),
    /// What is stored in the database can't be right.
    Damaged(String),
    /// Something went wrong with the region at this path.
    Region(PathBuf, Box<hot::Error>),
    /// A file, or standard input or output, failed.
    Io(String, io::Error),
    /// A value could not be read to its end.
    Value(io::Error),
    /// Whoever reads our output has closed it.
    Closed,
}

impl Failure {
    /// Documented in the help of the program; keep them the same.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failure::Refused(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Database(_, e) => of_engine(e),
            Failure::Damaged(_) => 4,
            Failure::Region(_, e) => of_region(e),
            // The engine gives damage within a value as invalid data.
            Failure::Value(e) if e.kind() == io::ErrorKind::InvalidData => 4,
            Failure::Value(_) | Failure::Io(..) | Failure::Closed => 5,
        }
    }

    /// Whether somebody pressed Ctrl-C.
    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(self, Failure::Database(_, e) if matches!(**e, Error::Cancelled))
    }

    /// A failed write to standard output.
    pub(crate) fn output(e: io::Error) -> Failure {
        if e.kind() == io::ErrorKind::BrokenPipe {
            Failure::Closed
        } else {
            Failure::Io("write the output".to_owned(), e)
        }
    }

    /// A failed call on a file.
    pub(crate) fn file(operation: &str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
        let what = format!("{operation} {}", path.display());
        move |e| Failure::Io(what, e)
    }
}

fn of_engine(e: &Error) -> u8 {
    match e {
        Error::BucketNotFound { .. } | Error::BucketExists { .. } | Error::Exists { .. } => 1,
        Error::InvalidOptions { .. }
        | Error::InvalidBucketName { .. }
        | Error::TooLarge(_)
        | Error::PageSizeMismatch { .. } => 2,
        Error::Locked { .. } => 3,
        Error::Corrupt(_)
        | Error::NotADatabase { .. }
        | Error::UnsupportedFormat { .. }
        | Error::BadStream { .. } => 4,
        _ => 5,
    }
}

fn of_region(e: &hot::Error) -> u8 {
    match e {
        hot::Error::Empty(_) => 1,
        hot::Error::Invalid("the file is not a region") | hot::Error::Corrupt(_) => 4,
        hot::Error::Invalid(_) => 2,
        hot::Error::Again(_) => 3,
        _ => 5,
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Usage(why) | Failure::Refused(why) | Failure::Damaged(why) => f.write_str(why),
            Failure::Io(what, e) => write!(f, "can't {what}: {e}"),
            Failure::Region(path, e) => write!(f, "{}: {e}", path.display()),
            Failure::Value(e) => write!(f, "can't read the value to its end: {e}"),
            Failure::Closed => f.write_str("the output was closed"),
            Failure::Database(path, e) => {
                write!(f, "{}", Engine(e, path))?;
                match advice(e) {
                    Some(advice) => write!(f, ": {advice}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// An engine's error with the path, unless it says that itself.
struct Engine<'a>(&'a Error, &'a Path);

impl std::fmt::Display for Engine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Engine(e, path) = self;
        let says_where = matches!(
            e,
            Error::Io(_)
                | Error::Corrupt(_)
                | Error::NotADatabase { .. }
                | Error::DiskFull { .. }
                | Error::Exists { .. }
        );
        if says_where {
            write!(f, "{e}")
        } else {
            write!(f, "{}: {e}", path.display())
        }
    }
}

/// What to do about it, where the engine's own words don't say.
fn advice(e: &Error) -> Option<&'static str> {
    match e {
        Error::Locked { .. } => Some("end that process, or wait for it"),
        Error::Corrupt(_) => Some("'weald check' tells the extent, 'weald repair' saves what is readable"),
        Error::Exists { .. } => Some("name another file, or remove it first"),
        Error::NotADatabase { .. } => Some("name another file with --db"),
        Error::BucketNotFound { .. } => {
            Some("'weald bucket list' shows what there is, 'weald bucket create' makes one")
        }
        _ => None,
    }
}
