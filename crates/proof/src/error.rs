//! Why a proof is refused.

use alloc::vec::Vec;

use crate::codec::{Fault, Malformed};
use crate::query::QueryError;

/// Why a proof is refused. Nothing was learnt from it then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The query has no answer, whatever the proof.
    Query(QueryError),
    /// The bytes are no proof.
    Malformed(Malformed),
    /// The proof is longer than [`PROOF_LEN_MAX`](crate::PROOF_LEN_MAX).
    TooLong {
        /// Its bytes.
        len: usize,
    },
    /// A part of the proof, which ends there, does not lead to the hash that it must.
    Root {
        /// Offset in the proof.
        at: usize,
    },
    /// A subtree's count or sum is not what the entry that holds it says, or a sum overflows.
    Totals {
        /// Offset in the proof.
        at: usize,
    },
    /// Something that the query asks for is left out next to this key, or on either side of it.
    Incomplete {
        /// The key; `None` where the proof shows none.
        key: Option<Vec<u8>>,
    },
    /// The proof shows more of this key than the query asks for.
    Unneeded {
        /// The key.
        key: Vec<u8>,
    },
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Error::Query(error) => error.fmt(f),
            Error::Malformed(error) => error.fmt(f),
            Error::TooLong { len } => write!(f, "the proof has {len} bytes, more than are read"),
            Error::Root { at } => write!(f, "the part of the proof before byte {at} is not of this tree"),
            Error::Totals { at } => write!(f, "counts or sums of the proof before byte {at} don't add up"),
            Error::Incomplete { key: Some(key) } => {
                write!(
                    f,
                    "the proof leaves out what was asked for near the key {:?}",
                    key.escape_ascii()
                )
            }
            Error::Incomplete { key: None } => f.write_str("the proof leaves out what was asked for"),
            Error::Unneeded { key } => {
                write!(
                    f,
                    "the proof shows the key {:?} for no reason",
                    key.escape_ascii()
                )
            }
        }
    }
}

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let what = match self.what {
            Fault::Truncated => "the bytes end too early",
            Fault::Trailing => "bytes after the end",
            Fault::Number => "a number that is not in its shortest form, or too large",
            Fault::Unknown => "an unknown version, token or tag",
            Fault::Bounds => "a number out of its bounds",
            Fault::Order => "keys out of order",
        };
        write!(f, "{what}, at byte {}", self.at)
    }
}

impl core::fmt::Display for QueryError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            QueryError::Ranges => "the ranges of a query must be ascending, apart and not empty",
            QueryError::Limit => "the limit of a query must not be 0",
            QueryError::Offset => "the offset of a query needs a single range",
            QueryError::Nesting => "the query is too deep",
        })
    }
}

impl core::error::Error for Error {}
impl core::error::Error for Malformed {}
impl core::error::Error for QueryError {}

impl From<Malformed> for Error {
    fn from(error: Malformed) -> Error {
        Error::Malformed(error)
    }
}

impl From<QueryError> for Error {
    fn from(error: QueryError) -> Error {
        Error::Query(error)
    }
}
