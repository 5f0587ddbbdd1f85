//! The handle of a store of trees.

use std::sync::Arc;

use weald_engine::Database;
use weald_proof::Hash;

use super::cache::PageCache;
use super::found::Found;
use super::snapshot::TreeSnapshot;
use super::turns::{TreeTurns, Turns};
use super::tx::TreeTx;
use super::{TREES, format};
use crate::error::Result;
use crate::storage::retry;

/// Trees within trees in a [`Database`], which may hold other things as well; under one root hash.
#[derive(Clone, Debug)]
pub struct TreeStore {
    pub(crate) db: Arc<Database>,
    cache: Arc<PageCache>,
    turns: Arc<Turns>,
    pub(super) found: Arc<Found>,
}

/// Bytes of decoded pages that a store keeps where nothing else is said.
const CACHE_BYTES: usize = 32 << 20;

impl TreeStore {
    /// The trees in `db`; at first there is the outermost, and it is empty.
    pub fn open(db: impl Into<Arc<Database>>) -> Result<TreeStore> {
        TreeStore::with_cache(db, CACHE_BYTES)
    }

    /// The same, with so many bytes (32 MiB otherwise) for Merkle pages that were read or made. Clones of the store share them. Where too few
    /// fit, a page that is needed is put together again from what is stored, for some 20 look-ups and as many hashes.
    pub fn with_cache(db: impl Into<Arc<Database>>, cache_bytes: usize) -> Result<TreeStore> {
        let db = db.into();
        TREES.create(&db)?;
        format::check(&db)?;
        let cache = Arc::new(PageCache::new(cache_bytes));
        let turns = Arc::new(Turns::new());
        let found = Arc::new(Found::default());
        Ok(TreeStore {
            db,
            cache,
            turns,
            found,
        })
    }

    /// Whether there are trees in `db`, which is not changed; so that a database opened for reading can be asked.
    pub fn is_in(db: &Database) -> Result<bool> {
        TREES.is_complete(db)
    }

    /// Begins a transaction.
    pub fn begin(&self) -> Result<TreeTx<'_>> {
        Ok(TreeTx::new(
            self.db.optimistic()?,
            &self.cache,
            &self.turns,
            self.db.key_len_max(),
        ))
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
        Ok(TreeSnapshot::new(self.db.read()?, &self.cache, &self.found))
    }

    /// The root hash of what is committed now.
    pub fn root(&self) -> Result<Hash> {
        self.snapshot()?.root()
    }

    /// How the trees of this store's commits were brought up to date since it was opened: beside other commits, or while those waited.
    #[must_use]
    pub fn turns(&self) -> TreeTurns {
        self.turns.counts()
    }

    /// The database that it is in.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.db
    }
}
