//! What can go wrong in a store.

use std::error::Error as StdError;

/// The result of an operation on a store.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation on a store failed. Unless a variant says otherwise, nothing of the call was done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no backend of that name in this build.
    #[error("no storage backend is called '{name}'; this build has: {known}")]
    UnknownBackend {
        /// What was asked for.
        name: String,
        /// What there is, separated by commas.
        known: String,
    },
    /// An option that the backend needs is missing, or one that it doesn't know is set.
    #[error("option '{option}' of the backend '{backend}': {problem}")]
    Option {
        /// The backend.
        backend: &'static str,
        /// The option.
        option: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A key or value is larger than the backend takes.
    #[error("a {what} of {size} bytes is over the backend's limit of {limit}")]
    TooLarge {
        /// `key` or `value`.
        what: &'static str,
        /// Its size.
        size: u64,
        /// The most that would do.
        limit: u64,
    },
    /// What is stored under a key isn't an item.
    #[error("what is stored under the key {key:02x?} is no item: {problem}")]
    Corrupt {
        /// The key.
        key: Vec<u8>,
        /// What is wrong.
        problem: &'static str,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The store itself failed. Of a batch, any part may have been applied; applying it again does no harm.
    #[error("{backend}: {source}")]
    Backend {
        /// The backend.
        backend: &'static str,
        /// Its answer.
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl Error {
    /// An error of the backend's own.
    pub fn backend(backend: &'static str, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        Error::Backend {
            backend,
            source: source.into(),
        }
    }
}
