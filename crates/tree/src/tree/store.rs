//! The handle of a store of trees.

use std::sync::Arc;

use weald_engine::Database;
use weald_proof::Hash;

use super::TREES;
use super::snapshot::TreeSnapshot;
use super::tx::TreeTx;
use crate::error::Result;
use crate::storage::retry;

/// Trees within trees in a [`Database`], which may hold other things as well; under one root hash.
#[derive(Clone, Debug)]
pub struct TreeStore {
    pub(crate) db: Arc<Database>,
}

impl TreeStore {
    /// The trees in `db`; at first there is the outermost, and it is empty.
    pub fn open(db: impl Into<Arc<Database>>) -> Result<TreeStore> {
        let db = db.into();
        TREES.create(&db)?;
        Ok(TreeStore { db })
    }

    /// Whether there are trees in `db`, which is not changed; so that a database opened for reading can be asked.
    pub fn is_in(db: &Database) -> Result<bool> {
        TREES.is_complete(db)
    }

    /// Begins a transaction.
    pub fn begin(&self) -> Result<TreeTx<'_>> {
        Ok(TreeTx::new(self.db.optimistic()?, self.db.key_len_max()))
    }

    /// Runs `body` in a transaction and commits it; again, after a short wait, as often as it conflicts (up to a thousand
    /// times). `body` must have no effects of its own.
    pub fn transact<T>(&self, mut body: impl FnMut(&mut TreeTx<'_>) -> Result<T>) -> Result<T> {
        retry(|| {
            let mut tx = self.begin()?;
            let value = body(&mut tx)?;
            tx.commit()?;
            Ok(value)
        })
    }

    /// What is committed now.
    pub fn snapshot(&self) -> Result<TreeSnapshot<'_>> {
        Ok(TreeSnapshot::new(self.db.read()?))
    }

    /// The root hash of what is committed now.
    pub fn root(&self) -> Result<Hash> {
        self.snapshot()?.root()
    }

    /// The database that it is in.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.db
    }
}
