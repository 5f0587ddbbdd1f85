//! Transactions that write beside others, and are refused if that made a difference.

use crate::commit::Committed;
use crate::core::Core;
use crate::error::Result;
use crate::gate::GateGuard;
use crate::ids::TxId;
use crate::options::SyncPolicy;
use crate::roots::Roots;
use crate::store::Snapshot;
use crate::transaction::bucket::{Bucket, View};
use crate::transaction::bucket_mut::BucketMut;
use crate::transaction::draft::Draft;
use crate::transaction::iter::KeyRange;
use crate::transaction::reads::Reads;
use crate::transaction::traits::{Readable, Writable};
use crate::transaction::write::WriteTx;

/// What an optimistic transaction is protected from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// It commits only if everything that it read, keys and ranges, present or absent, is still so: as if it had run alone.
    #[default]
    Serializable,
    /// It commits only if nobody else has changed the keys that it writes, and the buckets that it went into are still there. What it merely
    /// read may have changed, which allows write skew.
    Snapshot,
}

/// A transaction that writes while others do, on a snapshot of its own.
///
/// Its commit fails with [`Error::Conflict`](crate::Error::Conflict) if a commit since its beginning changed what it read; run it again then, as
/// [`Database::transact`](crate::Database::transact) does. Writes that are not preceded by a read never conflict, nor does a transaction that only
/// reads.
#[must_use = "a transaction that is dropped is rolled back"]
pub struct OptimisticTx<'db> {
    draft: Draft<'db>,
    isolation: Isolation,
    /// Held from the beginning by one that has lost too often.
    gate: Option<GateGuard<'db>>,
}

impl<'db> OptimisticTx<'db> {
    pub(crate) fn begin(core: &'db Core, isolation: Isolation) -> Result<OptimisticTx<'db>> {
        core.check_writable()?;
        core.catch_up()?;
        let (pin, roots) = core.pin();
        Ok(OptimisticTx {
            draft: Draft::new(core, pin, roots, Some(Reads::default())),
            isolation,
            gate: None,
        })
    }

    /// Begins one that nothing can conflict with, since nobody else commits meanwhile.
    pub(crate) fn begin_alone(core: &'db Core) -> Result<OptimisticTx<'db>> {
        core.check_writable()?;
        core.catch_up()?;
        let gate = core.gate.enter();
        let (pin, roots) = core.pin_head();
        let draft = Draft::new(core, pin, roots, Some(Reads::default()));
        Ok(OptimisticTx {
            draft,
            isolation: Isolation::Serializable,
            gate: Some(gate),
        })
    }

    /// The root bucket for reads that don't count: what they give may have changed by the commit.
    pub fn untracked(&self) -> Bucket<'_> {
        Bucket::root(View {
            reads: None,
            ..self.draft.view()
        })
    }

    /// Makes the transaction depend on a key of the root bucket as if it had been read.
    pub fn depend_on(&self, key: &[u8]) {
        if let Some(reads) = &self.draft.reads {
            reads.point(crate::ids::TreeId::ROOT, key);
        }
    }

    /// The commit whose state the transaction began with, or was [refreshed](Self::refresh) to.
    pub fn txid(&self) -> TxId {
        self.draft.base_txid()
    }

    /// Goes on from the newest state that readers see, with what was written so far on top, as if the transaction had begun only now. It is refused with
    /// [`Error::Conflict`](crate::Error::Conflict) if something that it read is not so any more, as the commit would be; then it stays where it was.
    ///
    /// A long transaction that is refreshed before its commit has less to validate while others wait, and what it works out last follows from a state
    /// that is likely to be the newest still. Under [`Isolation::Snapshot`] it does nothing, as the snapshot there is what was asked for.
    ///
    /// ```
    /// use weald_engine::{Database, Readable, Writable};
    ///
    /// let db = Database::in_memory()?;
    /// let mut tx = db.optimistic()?;
    /// tx.put(b"mine", b"1")?;
    /// db.put(b"theirs", b"2")?; // someone else, meanwhile
    ///
    /// assert_eq!(tx.get(b"theirs")?, None);
    /// assert!(tx.refresh().is_err()); // that read counts
    ///
    /// let mut tx = db.optimistic()?;
    /// tx.put(b"mine", b"1")?;
    /// db.put(b"theirs", b"3")?;
    /// tx.refresh()?;
    /// assert_eq!(tx.get(b"theirs")?.as_deref(), Some(&b"3"[..]));
    /// tx.commit()?;
    /// # Ok::<(), weald_engine::Error>(())
    /// ```
    pub fn refresh(&mut self) -> Result<()> {
        let core = self.draft.core;
        let stays = self.gate.is_some() || self.isolation == Isolation::Snapshot;
        if stays || core.published.txid() == self.draft.roots.txid {
            return Ok(());
        }
        let (pin, roots) = core.pin();
        validate(&mut self.draft, self.isolation, core.store.snapshot(&pin), &roots)?;
        self.draft.stand_on(pin, roots);
        Ok(())
    }

    /// Commits with the durability that the database was opened with.
    pub fn commit(self) -> Result<Committed> {
        let policy = self.draft.core.options.sync;
        self.commit_with(policy)
    }

    /// Commits with a durability of its own.
    pub fn commit_with(self, policy: SyncPolicy) -> Result<Committed> {
        let OptimisticTx {
            draft,
            isolation,
            gate,
        } = self;
        // In this order, so that a failed commit is rolled back while nobody else writes.
        let mut gate = gate;
        let mut draft = draft;
        let core = draft.core;
        if draft.stage.is_empty() {
            return Ok(Committed {
                txid: draft.roots.txid,
                lsn: draft.roots.lsn,
            });
        }
        if gate.is_none() {
            draft.stage.order();
            gate = Some(core.gate.enter());
        }
        // A second pin: the newest state is read too.
        let (newest, head) = core.pin_head();
        validate(&mut draft, isolation, core.store.snapshot(&newest), &head)?;
        draft.resolve_merges(&head)?;
        core.commit(&mut gate, &mut draft, head, policy)
    }

    /// Validates now instead of at the commit, and goes on as the only one that writes, on the newest state with this
    /// transaction's writes on top. What is written from then on may follow from what others have committed, and can't conflict.
    ///
    /// ```
    /// use weald_engine::{Database, Readable, Writable};
    ///
    /// let db = Database::in_memory()?;
    /// let mut tx = db.optimistic()?;
    /// tx.put(b"mine", b"1")?;
    /// db.put(b"total", b"7")?; // someone else, meanwhile
    ///
    /// let mut tx = tx.into_exclusive()?;
    /// assert_eq!(tx.get(b"total")?.as_deref(), Some(&b"7"[..]));
    /// tx.put(b"total", b"8")?;
    /// tx.commit()?;
    /// # Ok::<(), weald_engine::Error>(())
    /// ```
    pub fn into_exclusive(self) -> Result<WriteTx<'db>> {
        let OptimisticTx {
            mut draft,
            isolation,
            gate,
        } = self;
        let core = draft.core;
        let gate = gate.unwrap_or_else(|| {
            draft.stage.order();
            core.gate.enter()
        });
        let (newest, head) = core.pin_head();
        if let Err(error) = validate(&mut draft, isolation, core.store.snapshot(&newest), &head) {
            // In this order, so that it is rolled back while nobody else writes.
            drop(draft);
            drop(gate);
            return Err(error);
        }
        draft.rebase(newest, head);
        Ok(WriteTx::resumed(draft, gate))
    }

    /// Forgets all that was written. Dropping the transaction does the same.
    pub fn rollback(self) {}
}

/// Whether what the transaction depends on is in `head`, the newest state, as it was in its own.
fn validate(draft: &mut Draft<'_>, isolation: Isolation, newest: Snapshot<'_>, head: &Roots) -> Result<()> {
    let (core, old) = (draft.core, draft.roots);
    let valid = match isolation {
        Isolation::Serializable => draft
            .reads
            .as_ref()
            .map_or(Ok(()), |reads| reads.validate(newest, &old, head)),
        Isolation::Snapshot => {
            let names = draft.reads.as_ref().map(Reads::of_names).unwrap_or_default();
            let buckets = names.validate(newest, &old, head);
            buckets.and_then(|()| written(draft).validate(newest, &old, head))
        }
    };
    valid.inspect_err(|e| core.counters.conflicts.add(u64::from(e.is_retryable())))
}

/// What the transaction writes, as if it had read it.
fn written(draft: &mut Draft<'_>) -> Reads {
    let writes = Reads::default();
    for tree in draft.stage.finish().trees() {
        if tree.dropped {
            writes.range(tree.tree, &KeyRange::all());
        }
        for (start, end) in tree.ranges() {
            writes.range(tree.tree, &KeyRange::from_half_open(start, end));
        }
        tree.points().for_each(|(key, _)| writes.point(tree.tree, key));
    }
    writes
}

impl Readable for OptimisticTx<'_> {
    fn root(&self) -> Bucket<'_> {
        Bucket::root(self.draft.view())
    }
}

impl<'db> Writable<'db> for OptimisticTx<'db> {
    fn root_mut(&mut self) -> BucketMut<'_, 'db> {
        BucketMut::root(&mut self.draft)
    }
}
