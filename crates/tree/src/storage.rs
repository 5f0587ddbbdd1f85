//! The storage of subtrees' keys, without a root hash over them.

use std::sync::Arc;

use weald_engine::Database;

use crate::backend::Backend;
use crate::batch::StorageBatch;
use crate::context::Context;
use crate::cost::{CostResult, Metering, OperationCost};
use crate::error::{Error, Result};
use crate::family::{PREFIX_LEN, STORAGE, path_prefix};
use crate::transaction::Transaction;

/// Families of keys divided among subtrees, in a [`Database`] that may hold other things as well, or in another [`Backend`].
///
/// ```
/// use weald_engine::Database;
/// use weald_tree::{Storage, StorageContext};
///
/// let storage = Storage::open(Database::in_memory()?)?;
/// let tx = storage.begin()?;
/// let alice = tx.context(&[b"identities", b"alice"]);
/// alice.put(b"name", b"Alice").value?;
/// tx.commit()?; // `alice` is still about, and nothing is lost
///
/// let context = storage.context(&[b"identities", b"alice"]).metered();
/// let read = context.get(b"name");
/// assert_eq!((read.value?.as_deref(), read.cost.loaded_bytes), (Some(&b"Alice"[..]), 5));
/// # Ok::<(), weald_tree::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Storage<B = Arc<Database>> {
    backend: B,
}

impl Storage {
    /// The storage in `db`, begun there if it is not.
    pub fn open(db: impl Into<Arc<Database>>) -> Result<Storage> {
        let db = db.into();
        STORAGE.create(&db)?;
        Ok(Storage { backend: db })
    }

    /// The database that it is in.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.backend
    }
}

impl<B: Backend> Storage<B> {
    /// The storage in a backend that is open.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn on(backend: B) -> Storage<B> {
        Storage { backend }
    }

    /// A context of the subtree at `path` that reads the newest state, and commits each write by itself.
    #[must_use]
    pub fn context(&self, path: &[&[u8]]) -> Context<B::Immediate<'_>> {
        self.context_by_prefix(path_prefix(path))
    }

    /// The same of the subtree whose keys have that prefix.
    #[must_use]
    pub fn context_by_prefix(&self, prefix: [u8; PREFIX_LEN]) -> Context<B::Immediate<'_>> {
        Context::new(self.backend.immediate(), prefix)
    }

    /// Begins a transaction.
    pub fn begin(&self) -> Result<Transaction<B::Transacted<'_>>> {
        Ok(Transaction::new(self.backend.begin()?))
    }

    /// Runs `body` in a transaction and commits it; again, after a short wait, as often as it conflicts (up to a thousand
    /// times). `body` must have no effects of its own.
    pub fn transact<T>(
        &self,
        mut body: impl FnMut(&Transaction<B::Transacted<'_>>) -> Result<T>,
    ) -> Result<T> {
        retry(|| {
            let tx = self.begin()?;
            let value = body(&tx)?;
            tx.commit()?;
            Ok(value)
        })
    }

    /// Commits the writes of a batch, and says what they cost.
    pub fn apply(&self, batch: &StorageBatch) -> CostResult<()> {
        Metering::On.run(|cost| batch.apply(&self.backend.immediate(), Some(cost)))
    }

    /// What [`apply`](Self::apply) would cost now.
    pub fn estimate(&self, batch: &StorageBatch) -> Result<OperationCost> {
        batch.estimate(&self.backend.immediate())
    }

    /// The longest key that it takes, with the prefix of its subtree.
    #[must_use]
    pub fn key_len_max(&self) -> usize {
        self.backend.key_len_max()
    }
}

/// How often a transaction is run again before its conflict is reported.
const ATTEMPTS: u32 = 1_000;

/// Runs `attempt` until it does not conflict. Of those that conflict with each other one always commits, so somebody gets on;
/// longer and longer waits give each its turn.
pub(crate) fn retry<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let mut wait_us = 10;
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(Error::Conflict) => {
                std::thread::sleep(std::time::Duration::from_micros(wait_us));
                wait_us = (wait_us * 2).min(2_000);
            }
            other => return other,
        }
    }
    attempt()
}
