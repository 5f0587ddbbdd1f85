//! What a [`Storage`](crate::Storage) stands on.

use std::fmt;

use crate::error::Result;
use crate::source::Source;

/// A database that keeps the families: Weald's engine or, with the feature `rocksdb`, RocksDB.
///
/// All of them give the same answers, the same costs, and transactions that are serializable.
pub trait Backend: Send + Sync {
    /// The newest committed state.
    type Immediate<'s>: Source
    where
        Self: 's;
    /// A transaction.
    type Transacted<'s>: Transactional
    where
        Self: 's;

    /// The newest committed state, where each write is a commit.
    fn immediate(&self) -> Self::Immediate<'_>;

    /// Begins a transaction.
    fn begin(&self) -> Result<Self::Transacted<'_>>;

    /// The longest key that it takes, with the prefix of its subtree.
    fn key_len_max(&self) -> usize;
}

/// A transaction that contexts share. It may end while they are about: whatever they do then fails with
/// [`Error::Finished`](crate::Error::Finished).
pub trait Transactional: Source + Clone {
    /// A state to go back to.
    type Savepoint: Copy + fmt::Debug;
    /// What is known of a commit.
    type Committed: fmt::Debug;

    /// A state to go back to.
    fn savepoint(&self) -> Result<Self::Savepoint>;

    /// Forgets what was written since, but not that it was read.
    fn rollback_to(&self, savepoint: &Self::Savepoint) -> Result<()>;

    /// Commits all or nothing, and ends the transaction in either case.
    fn commit(&self) -> Result<Self::Committed>;

    /// Ends it without a commit: how many writes are lost with it, or `None` if it was over.
    fn end(&self) -> Option<u64>;
}
