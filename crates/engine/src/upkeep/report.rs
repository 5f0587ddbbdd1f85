//! What a check found.

use std::fmt;

use crate::ids::TxId;

/// Where something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The file as a whole: it could not be opened in the ordinary way.
    File,
    /// One of the two meta pages.
    Meta {
        /// 0 or 1.
        index: u8,
    },
    /// A run of pages.
    Pages {
        /// The number of the first one.
        first: u64,
        /// How many they are.
        count: u64,
    },
    /// What a tree says of itself, or holds.
    Tree {
        /// Which one, as a person reads it.
        name: String,
    },
    /// The write-ahead log.
    Log,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File => f.write_str("the file"),
            Place::Meta { index } => write!(f, "meta page {index}"),
            Place::Pages { first, count: 1 } => write!(f, "page {first}"),
            Place::Pages { first, count } => write!(f, "pages {first} to {}", first + count - 1),
            Place::Tree { name } => f.write_str(name),
            Place::Log => f.write_str("the log"),
        }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// What a check found; see [`Database::check`](crate::Database::check).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// What is wrong; empty for a sound database. At most 1000 of them.
    pub problems: Vec<Problem>,
    /// Problems beyond those.
    pub problems_left_out: u64,
    /// The commit whose state was checked.
    pub txid: TxId,
    /// Pages in use, those of large values included.
    pub pages: u64,
    /// Leaves among them.
    pub leaves: u64,
    /// Branches among them.
    pub branches: u64,
    /// Pages that are free, at once or once nobody needs them.
    pub free_pages: u64,
    /// Buckets, the root bucket included.
    pub buckets: u64,
    /// Keys in all of them.
    pub keys: u64,
    /// Bytes of these keys and their values.
    pub bytes: u64,
    /// Values that are stored in pages of their own.
    pub large_values: u64,
    /// Commits in the part of the log that is still needed.
    pub log_commits: u64,
}

/// Problems that are named; the others are counted.
const PROBLEMS_MAX: usize = 1000;

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    pub(crate) fn problem(&mut self, place: Place, what: impl Into<String>) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem {
                place,
                what: what.into(),
            });
        } else {
            self.problems_left_out += 1;
        }
    }
}
