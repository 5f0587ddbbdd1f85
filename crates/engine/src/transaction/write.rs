//! Transactions that write while no other does.

use crate::commit::Committed;
use crate::core::Core;
use crate::error::Result;
use crate::gate::GateGuard;
use crate::ids::{TreeId, TxId};
use crate::options::SyncPolicy;
use crate::transaction::bucket::Bucket;
use crate::transaction::bucket_mut::BucketMut;
use crate::transaction::draft::Draft;
use crate::transaction::traits::{Readable, Writable};

/// A transaction that writes. There is one at a time: the next one begins when this one is committed, or dropped, which rolls it back.
///
/// It reads the newest state and its own writes. Its commit can't conflict with anything.
///
/// ```
/// use weald_engine::{Database, Readable, Writable};
///
/// let db = Database::in_memory()?;
/// let mut tx = db.write()?;
/// tx.put(b"answer", b"42")?;
/// assert_eq!(tx.get(b"answer")?.as_deref(), Some(&b"42"[..]));
/// tx.commit()?;
/// # Ok::<(), weald_engine::Error>(())
/// ```
#[must_use = "a transaction that is dropped is rolled back"]
pub struct WriteTx<'db> {
    // Before the gate, so that what it gives back on drop is given back while nobody else writes.
    draft: Draft<'db>,
    gate: GateGuard<'db>,
}

impl<'db> WriteTx<'db> {
    pub(crate) fn begin(core: &'db Core) -> Result<WriteTx<'db>> {
        core.check_writable()?;
        core.catch_up()?;
        let gate = core.gate.enter();
        let (pin, roots) = core.pin_head();
        Ok(WriteTx {
            draft: Draft::new(core, pin, roots, None),
            gate,
        })
    }

    /// Goes on with what another transaction has staged on the newest state.
    pub(crate) fn resumed(draft: Draft<'db>, gate: GateGuard<'db>) -> WriteTx<'db> {
        WriteTx { draft, gate }
    }

    /// Commits with the durability that the database was opened with.
    pub fn commit(self) -> Result<Committed> {
        let policy = self.draft.core.options.sync;
        self.commit_with(policy)
    }

    /// Commits with a durability of its own. One that waits for less still becomes visible only after those before it.
    pub fn commit_with(self, policy: SyncPolicy) -> Result<Committed> {
        // In this order, so that a failed commit is rolled back while nobody else writes.
        let mut gate = Some(self.gate);
        let mut draft = self.draft;
        let core = draft.core;
        if draft.stage.is_empty() && !draft.has_spilled() {
            return Ok(Committed {
                txid: draft.roots.txid,
                lsn: draft.roots.lsn,
            });
        }
        let roots = draft.roots;
        draft.resolve_merges(&roots)?;
        let committed = core.commit(&mut gate, &mut draft, roots, policy)?;
        Ok(committed)
    }

    /// The commit whose state the transaction began with, or goes on from.
    pub fn txid(&self) -> TxId {
        self.draft.base_txid()
    }

    /// How much memory what it has written fills, with the large values that go to the log.
    pub fn staged_bytes(&self) -> u64 {
        self.draft.stage.bytes() as u64 + self.draft.held_bytes()
    }

    /// Deletes an expired key, and what the index of expiry times has of it.
    pub(crate) fn collect(
        &mut self,
        index_key: &[u8],
        tree: TreeId,
        key: &[u8],
        expired: bool,
    ) -> Result<()> {
        self.draft.stage.delete(TreeId::EXPIRY, index_key);
        if expired {
            self.draft.delete(tree, key)
        } else {
            Ok(())
        }
    }

    /// What the transaction is made of, for those who know trees by their ids.
    pub(crate) fn draft_mut(&mut self) -> &mut Draft<'db> {
        &mut self.draft
    }

    /// Forgets all that was written. Dropping the transaction does the same.
    pub fn rollback(self) {}
}

impl Readable for WriteTx<'_> {
    fn root(&self) -> Bucket<'_> {
        Bucket::root(self.draft.view())
    }
}

impl<'db> Writable<'db> for WriteTx<'db> {
    fn root_mut(&mut self) -> BucketMut<'_, 'db> {
        BucketMut::root(&mut self.draft)
    }
}
