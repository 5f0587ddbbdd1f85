//! How staged writes become a commit.
//!
//! Whoever commits holds the gate, merges its writes into new pages, appends them to the log, and lets the next one
//! in; then it waits for a flush, which it shares with all whose records are in by then. Readers see the commit when it is as durable as its policy asks.
//! Until the log has the commit everything can be taken back, so an error before that leaves the database as it was.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::core::{Core, State};
use crate::error::{Error, Result};
use crate::gate::GateGuard;
use crate::ids::{Lsn, PageId, TxId};
use crate::merge::merge;
use crate::op::{Entry, LargeRef, Op};
use crate::options::SyncPolicy;
use crate::roots::Roots;
use crate::stage::{Sorted, Stage, Staged};
use crate::store::{Apply, run_of};
use crate::wal::{BatchEncoder, EncodedBatch, Wal};

/// What a commit says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The number of the commit; that of the last one where nothing was written.
    pub txid: TxId,
    /// Where the log ends with it.
    pub lsn: Lsn,
}

impl Core {
    /// Commits what is staged, on top of `base`, which is the newest state: that of the last commit, or one that the transaction itself
    /// spilled to. The gate opens as soon as the next writer can begin.
    pub(crate) fn commit(
        &self,
        gate: GateGuard<'_>,
        base: Base<'_>,
        stage: &mut Stage,
        policy: SyncPolicy,
    ) -> Result<Committed> {
        self.check_writable()?;
        self.throttle()?;
        let small = base.spilled.is_none() && (stage.bytes() as u64) < self.options.bulk_bytes;
        match &self.wal {
            Some(wal) if small => {
                let batch = encode(&stage.finish())?;
                let committed = self.commit_logged(wal, base.roots, stage, batch, policy)?;
                drop(gate);
                self.settle(wal, committed, policy)?;
                Ok(committed)
            }
            None if small && policy == SyncPolicy::None => self.commit_deferred(base.roots, stage),
            _ => self.commit_directly(base, stage),
        }
    }

    fn commit_logged(
        &self,
        wal: &Wal,
        base: Roots,
        stage: &mut Stage,
        mut batch: EncodedBatch,
        policy: SyncPolicy,
    ) -> Result<Committed> {
        let mut state = self.state();
        self.reclaim(&state);
        let (pin, _) = self.store.readers.pin(|| (base.txid, ()));
        let txid = TxId(base.txid.0 + 1);
        let mut pages = Apply::begin(self.store.snapshot(&pin), txid, false);
        let mut roots = merge(&mut pages, &base, &stage.finish())?;
        if stage.large_values().next().is_some() {
            // The log only says where large values are: they must be on the disk before it is.
            self.store.file.sync().map_err(|e| self.poison.set(e))?;
        }
        let lsn = wal.append(txid, &mut batch).map_err(|e| self.log_failure(e))?;
        self.open_log(wal, lsn).map_err(|e| self.poison.set(e))?;
        roots.txid = txid;
        roots.lsn = lsn;
        pages.finish(&mut state.dirty)?;
        self.settle_large(stage);
        state.head = roots;
        let until = matches!(policy, SyncPolicy::Immediate).then_some(lsn);
        self.enqueue(roots, until);
        drop(state);
        self.counters.commits.add(1);
        self.wake_if_due();
        Ok(Committed { txid, lsn })
    }

    /// Commits in memory: without a log and without a flush the next checkpoint makes it durable.
    fn commit_deferred(&self, base: Roots, stage: &mut Stage) -> Result<Committed> {
        let mut state = self.state();
        self.reclaim(&state);
        let txid = TxId(base.txid.0 + 1);
        let (mut roots, _) = self.merge_stage(&mut state, base, txid, stage, false)?;
        roots.txid = txid;
        self.settle_large(stage);
        state.head = roots;
        self.enqueue(roots, None);
        drop(state);
        self.publish();
        self.counters.commits.add(1);
        self.wake_if_due();
        Ok(Committed { txid, lsn: roots.lsn })
    }

    /// Notes in the file that there is a log from now on, once for each opening. The log comes first, since what is noted must be there.
    fn open_log(&self, wal: &Wal, lsn: Lsn) -> Result<()> {
        if self.log_noted.load(Ordering::Acquire) {
            return Ok(());
        }
        wal.flush(lsn)?;
        self.note_log(true)?;
        self.log_noted.store(true, Ordering::Release);
        Ok(())
    }

    /// Commits by a checkpoint: the pages go to the file at once, and the log does not know of it.
    fn commit_directly(&self, base: Base<'_>, stage: &mut Stage) -> Result<Committed> {
        let bulk = stage.bytes() as u64 >= self.options.bulk_bytes;
        let mut state = self.state();
        let before = state.head;
        self.reclaim(&state);
        let txid = TxId(before.txid.0 + 1);
        let (mut roots, created) = self.merge_stage(&mut state, base.roots, txid, stage, bulk)?;
        roots.txid = txid;
        roots.lsn = before.lsn;
        state.head = roots;
        // Before the checkpoint, which would count as free what belongs to nobody.
        self.settle_large(stage);
        self.own_spilled(base.spilled);
        self.enqueue(roots, None);
        drop(state);
        let done = self.checkpoint();
        if let Err(e) = done {
            // Nobody has seen the commit and nobody has built on it: the gate is held.
            self.withdraw(txid);
            let mut state = self.state();
            state.head = before;
            self.store.take_back(txid, &created);
            self.unsettle_large(stage, base.spilled);
            return Err(e);
        }
        self.publish();
        // What the commit freed is not needed by the last checkpoint any more, as it is that checkpoint.
        self.reclaim_all();
        self.counters.commits.add(1);
        self.counters.direct_commits.add(1);
        Ok(Committed { txid, lsn: roots.lsn })
    }

    /// Takes trees that hold what the newest state holds, but in other pages, for the next commit. The log need not know of it: what it has
    /// comes to the same on top of the pages before.
    pub(crate) fn commit_moved(&self, state: &mut State, pages: Apply<'_>, mut roots: Roots) -> Result<()> {
        roots.txid = pages.txid();
        pages.finish(&mut state.dirty)?;
        state.head = roots;
        self.enqueue(roots, None);
        Ok(())
    }

    /// Waits until all commits so far are visible.
    pub(crate) fn settle_all(&self) -> Result<()> {
        while let (Some(until), Some(wal)) = (self.publish(), &self.wal) {
            wal.flush(until).map_err(|e| self.log_failure(e))?;
        }
        Ok(())
    }

    /// Merges what is staged into pages of commit `txid`, which nobody sees yet.
    pub(crate) fn merge_stage(
        &self,
        state: &mut State,
        base: Roots,
        txid: TxId,
        stage: &mut Stage,
        bulk: bool,
    ) -> Result<(Roots, Vec<PageId>)> {
        let (pin, _) = self.store.readers.pin(|| (base.txid, ()));
        let mut pages = Apply::begin(self.store.snapshot(&pin), txid, bulk);
        let roots = merge(&mut pages, &base, &stage.finish())?;
        Ok((roots, pages.finish(&mut state.dirty)?))
    }

    /// The runs of large values belong to the commit now, but for those that it did not keep.
    pub(crate) fn settle_large(&self, stage: &Stage) {
        if stage.large_values().next().is_none() {
            return;
        }
        for large in stage.superseded_large_values() {
            self.store.disown(run_of(large, self.store.page_size()));
        }
        let mut space = self.store.space();
        for large in stage.large_values() {
            space.own(run_of(large, self.store.page_size()));
        }
    }

    /// What a transaction spilled belongs to the commit now.
    fn own_spilled(&self, large: Option<&[LargeRef]>) {
        let Some(large) = large else { return };
        let mut space = self.store.space();
        for large in large {
            space.own(run_of(*large, self.store.page_size()));
        }
        space.own_spilled();
    }

    /// The commit did not come about: the runs belong to the transaction again, which gives them back.
    fn unsettle_large(&self, stage: &Stage, spilled: Option<&[LargeRef]>) {
        let superseded: Vec<LargeRef> = stage.superseded_large_values().collect();
        let mut space = self.store.space();
        let kept = stage.large_values().filter(|large| !superseded.contains(large));
        for large in kept.chain(spilled.unwrap_or_default().iter().copied()) {
            space.unown(run_of(large, self.store.page_size()));
        }
    }

    /// Waits until the commit is as durable as its policy asks, and readers see it.
    fn settle(&self, wal: &Wal, committed: Committed, policy: SyncPolicy) -> Result<()> {
        if policy == SyncPolicy::Immediate {
            wal.flush(committed.lsn).map_err(|e| self.log_failure(e))?;
        }
        // A commit that waits for nothing still stands behind earlier ones that do.
        while let Some(until) = self.publish() {
            if until > committed.lsn {
                break;
            }
            wal.flush(until).map_err(|e| self.log_failure(e))?;
        }
        Ok(())
    }

    /// A log that failed for good takes the database with it; one that had no room, or refused what is too large, is as it was.
    fn log_failure(&self, error: Error) -> Error {
        if matches!(error, Error::Poisoned(_)) {
            self.poison.set(error)
        } else {
            error
        }
    }

    /// Slows a writer down as changed pages pile up faster than they are written, and does the checkpoint itself where no
    /// thread does.
    fn throttle(&self) -> Result<()> {
        let max = self.options.dirty_bytes_max;
        let dirty = || self.store.dirty_pages() * self.store.page_size() as u64;
        if !self.options.background {
            return if self.is_checkpoint_due() {
                self.checkpoint().map(drop)
            } else {
                Ok(())
            };
        }
        if dirty() <= max / 8 * 7 {
            return Ok(());
        }
        self.wake.checkpoint();
        let began = Instant::now();
        while dirty() > max / 8 * 7 {
            self.check_writable()?;
            if let Some(e) = self.wake.take_failure() {
                return Err(e);
            }
            // The nearer to the limit, the longer; past it a commit waits until there is room.
            let over = (dirty().saturating_sub(max / 8 * 7)).min(max / 8) as f64 / (max / 8) as f64;
            if over < 1.0 && began.elapsed() >= Duration::from_micros((over * 2000.0) as u64) {
                break;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        self.counters.throttled_us.add(began.elapsed().as_micros() as u64);
        Ok(())
    }

    fn wake_if_due(&self) {
        if self.options.background && self.is_checkpoint_due() {
            self.wake.checkpoint();
        }
    }

    /// Bytes of the log that opening would have to replay.
    pub(crate) fn logged_bytes(&self) -> u64 {
        self.wal.as_ref().map_or(0, |wal| {
            wal.end().0.saturating_sub(self.counters.checkpoint_lsn.get())
        })
    }

    /// Whether memory or the log has enough for a checkpoint.
    pub(crate) fn is_checkpoint_due(&self) -> bool {
        let dirty = self.store.dirty_pages() * self.store.page_size() as u64;
        let logged = self.wal.as_ref().map_or(0, |wal| {
            wal.end().0.saturating_sub(self.counters.checkpoint_lsn.get())
        });
        logged >= self.options.checkpoint_wal_bytes || dirty > self.options.dirty_bytes_max / 4 * 3
    }
}

/// What a commit stands on.
#[derive(Clone, Copy)]
pub(crate) struct Base<'s> {
    pub(crate) roots: Roots,
    /// The large values among what the transaction has put into pages of its own already, which the log knows nothing of; `None` where it
    /// has no such pages.
    pub(crate) spilled: Option<&'s [LargeRef]>,
}

/// The log's form of what is staged: drops and ranges of a tree before its points, as they are applied.
fn encode(staged: &Sorted<'_>) -> Result<EncodedBatch> {
    let mut batch = BatchEncoder::new();
    for tree in staged.trees() {
        let id = tree.tree;
        if tree.dropped {
            batch.push(&Op::DropTree { tree: id });
            continue;
        }
        tree.ranges()
            .for_each(|(start, end)| batch.push(&Op::DeleteRange { tree: id, start, end }));
        for (key, staged) in tree.points() {
            match staged {
                Staged::Put(entry) => batch.push(&Op::Put { tree: id, key, entry }),
                _ => batch.push(&Op::Delete { tree: id, key }),
            }
        }
    }
    batch.finish()
}

/// Stages an operation that was read from the log.
pub(crate) fn restage(stage: &mut Stage, op: &Op<'_>) {
    use crate::op::Value::{Inline, Large};
    match *op {
        Op::Put {
            tree,
            key,
            entry: Entry {
                value: Inline(value),
                expires,
            },
        } => stage.put(tree, key, value, expires),
        Op::Put {
            tree,
            key,
            entry: Entry {
                value: Large(large),
                expires,
            },
        } => {
            stage.put_large(tree, key, large, expires);
        }
        Op::Delete { tree, key } => stage.delete(tree, key),
        Op::DeleteRange { tree, start, end } => stage.delete_range(tree, start, end),
        Op::DropTree { tree } => stage.drop_tree(tree),
    }
}
