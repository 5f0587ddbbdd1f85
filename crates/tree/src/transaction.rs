//! Transactions over the contexts of any number of subtrees.

use weald_engine::{Committed, OptimisticTx, SyncPolicy, Writable};

use crate::batch::StorageBatch;
use crate::context::Context;
use crate::cost::{CostResult, Metering, OperationCost};
use crate::error::{Error, Result};
use crate::family::{PREFIX_LEN, path_prefix};
use crate::source::Transacted;

/// A transaction: what its contexts read is a snapshot with their own writes on top, and what they write is committed all at once or not
/// at all.
///
/// Its contexts share it; they need not be dropped before the commit, and what they wrote is in it whether they were dropped or
/// not. Dropping the transaction rolls it back, and says so in the log (at the level `debug`) if it had writes.
#[must_use = "a transaction that is dropped is rolled back"]
pub struct Transaction<'s> {
    source: Transacted<'s>,
}

/// A state of a [`Transaction`] to go back to.
#[derive(Clone, Copy, Debug)]
pub struct Savepoint(weald_engine::Savepoint);

impl<'s> Transaction<'s> {
    pub(crate) fn new(tx: OptimisticTx<'s>) -> Transaction<'s> {
        Transaction {
            source: Transacted::new(tx),
        }
    }

    /// A context of the subtree at `path`.
    pub fn context(&self, path: &[&[u8]]) -> Context<Transacted<'s>> {
        self.context_by_prefix(path_prefix(path))
    }

    /// A context of the subtree whose keys have that prefix.
    pub fn context_by_prefix(&self, prefix: [u8; PREFIX_LEN]) -> Context<Transacted<'s>> {
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
    pub fn savepoint(&self) -> Result<Savepoint> {
        self.source.with(|tx| Ok(Savepoint(tx.savepoint())))
    }

    /// Forgets what was written since `savepoint`, which stays good. What was read since still counts as read.
    pub fn rollback_to(&self, savepoint: &Savepoint) -> Result<()> {
        self.source.with(|tx| Ok(tx.rollback_to(&savepoint.0)?))
    }

    /// Commits with the durability that the database was opened with.
    pub fn commit(self) -> Result<Committed> {
        let (tx, _) = self.source.take().ok_or(Error::Finished)?;
        Ok(tx.commit()?)
    }

    /// Commits with a durability of its own.
    pub fn commit_with(self, policy: SyncPolicy) -> Result<Committed> {
        let (tx, _) = self.source.take().ok_or(Error::Finished)?;
        Ok(tx.commit_with(policy)?)
    }

    /// Forgets all that was written.
    pub fn rollback(self) {
        drop(self.source.take());
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if let Some((_, writes)) = self.source.take()
            && writes > 0
        {
            log::debug!(
                "a transaction with {writes} writes was dropped without a commit, and is rolled back"
            );
        }
    }
}
