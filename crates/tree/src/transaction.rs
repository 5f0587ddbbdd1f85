//! Transactions over the contexts of any number of subtrees.

use weald_engine::{Committed, SyncPolicy};

use crate::backend::Transactional;
use crate::batch::StorageBatch;
use crate::context::Context;
use crate::cost::{CostResult, Metering, OperationCost};
use crate::error::Result;
use crate::family::{PREFIX_LEN, path_prefix};
use crate::source::Transacted;

/// A transaction: what its contexts read is a snapshot with their own writes on top, and what they write is committed all at once or not
/// at all.
///
/// Its contexts share it; they need not be dropped before the commit, and what they wrote is in it whether they were dropped or
/// not. Dropping the transaction rolls it back, and says so in the log (at the level `debug`) if it had writes.
#[must_use = "a transaction that is dropped is rolled back"]
pub struct Transaction<T: Transactional> {
    source: T,
}

/// A state of a [`Transaction`] to go back to.
#[derive(Clone, Copy, Debug)]
pub struct Savepoint<S>(S);

impl<T: Transactional> Transaction<T> {
    pub(crate) fn new(source: T) -> Transaction<T> {
        Transaction { source }
    }

    /// A context of the subtree at `path`.
    pub fn context(&self, path: &[&[u8]]) -> Context<T> {
        self.context_by_prefix(path_prefix(path))
    }

    /// A context of the subtree whose keys have that prefix.
    pub fn context_by_prefix(&self, prefix: [u8; PREFIX_LEN]) -> Context<T> {
        Context::new(self.source.clone(), prefix)
    }

    /// Makes the writes of a batch part of the transaction, all or none, and says what they cost.
    pub fn apply(&self, batch: &StorageBatch) -> CostResult<()> {
        Metering::On.run(|cost| batch.apply(&self.source, Some(cost)))
    }

    /// What [`apply`](Self::apply) would cost. It does not count as read.
    pub fn estimate(&self, batch: &StorageBatch) -> Result<OperationCost> {
        batch.estimate(&self.source)
    }

    /// A state to go back to.
    pub fn savepoint(&self) -> Result<Savepoint<T::Savepoint>> {
        self.source.savepoint().map(Savepoint)
    }

    /// Forgets what was written since `savepoint`, which stays good. What was read since still counts as read.
    pub fn rollback_to(&self, savepoint: &Savepoint<T::Savepoint>) -> Result<()> {
        self.source.rollback_to(&savepoint.0)
    }

    /// Commits with the durability that the database was opened with.
    pub fn commit(self) -> Result<T::Committed> {
        self.source.commit()
    }

    /// Forgets all that was written.
    pub fn rollback(self) {
        self.source.end();
    }
}

impl Transaction<Transacted<'_>> {
    /// Commits with a durability of its own.
    pub fn commit_with(self, policy: SyncPolicy) -> Result<Committed> {
        self.source.commit_with(policy)
    }
}

impl<T: Transactional> Drop for Transaction<T> {
    fn drop(&mut self) {
        if let Some(writes) = self.source.end()
            && writes > 0
        {
            log::debug!(
                "a transaction with {writes} writes was dropped without a commit, and is rolled back"
            );
        }
    }
}
