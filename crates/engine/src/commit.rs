//! How staged writes become a commit.
//!
//! Whoever commits holds the gate, merges its writes into new pages, appends them to the log, and lets the next one
//! in; then it waits for a flush, which it shares with all whose records are in by then. Readers see the commit when it is as durable as its policy asks.
//! Until the log has the commit everything can be taken back, so an error before that leaves the database as it was.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::core::{Core, State};
use crate::error::{Error, Result};
use crate::gate::GateGuard;
use crate::ids::{Lsn, PageId, TxId};
use crate::large::format::run_len;
use crate::merge::{merge, merge_and_filter};
use crate::op::{Entry, LargeRef, Op, Value};
use crate::options::SyncPolicy;
use crate::roots::Roots;
use crate::stage::{Sorted, Stage, Staged};
use crate::store::{Apply, Owned, run_of};
use crate::transaction::Draft;
use crate::wal::{BatchEncoder, EncodedBatch, Wal, Way};

/// After this many bytes the log is looked after: less than it has prepared beyond its end.
const LOG_TEND_BYTES: u64 = 128 << 10;

/// No larger buffer is kept for the next commit.
const SPARE_BYTES_MAX: usize = 2 << 20;

/// What a commit says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The number of the commit; that of the last one where nothing was written.
    pub txid: TxId,
    /// Where the log ends with it.
    pub lsn: Lsn,
}

impl Core {
    /// Commits what a transaction has staged, on top of `roots`, which is the newest state: that of the last commit, or one that the
    /// transaction itself spilled to. The gate opens as soon as the next writer can begin; after a failure it is still held.
    pub(crate) fn commit(
        &self,
        gate: &mut Option<GateGuard<'_>>,
        draft: &mut Draft<'_>,
        roots: Roots,
        policy: SyncPolicy,
    ) -> Result<Committed> {
        self.check_writable()?;
        self.throttle()?;
        let small = !draft.has_spilled() && (draft.stage.bytes() as u64) < self.options.bulk_bytes;
        match &self.wal {
            Some(wal) if small => {
                let batch = self.encode(&draft.stage.finish())?;
                let committed = self.commit_logged(wal, roots, &mut draft.stage, batch, policy)?;
                // It is the log's now: if the flush fails it may be there after all, and what it refers to stays.
                draft.settle();
                drop(gate.take());
                self.settle(wal, committed, policy)?;
                Ok(committed)
            }
            None if small && policy == SyncPolicy::None => {
                let committed = self.commit_deferred(roots, &mut draft.stage)?;
                draft.settle();
                Ok(committed)
            }
            _ => self.commit_directly(roots, draft),
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
        let mut roots = merge(&mut pages, &self.filters, &base, &stage.finish())?;
        if stage
            .large_values()
            .any(|large| self.store.held_run(large).is_none())
        {
            // The log only says where these values are: they must be on the disk before it is.
            self.store.file.sync().map_err(|e| self.poison.set(e))?;
        }
        let way = match policy {
            SyncPolicy::Immediate => Way::Call,
            SyncPolicy::Batched(_) | SyncPolicy::None => Way::Mapped,
        };
        let lsn = wal
            .append(txid, &mut batch, way)
            .map_err(|e| self.log_failure(e))?;
        self.open_log(wal, lsn).map_err(|e| self.poison.set(e))?;
        roots.txid = txid;
        roots.lsn = lsn;
        pages.finish(&mut state.dirty, &mut Vec::new())?;
        if matches!(policy, SyncPolicy::Batched(_)) {
            // Commits append one after the other, so this only ever grows.
            self.batched.store(lsn.0, Ordering::Release);
        }
        self.own(stage, &[]);
        self.settle_superseded(stage);
        state.head = roots;
        let until = matches!(policy, SyncPolicy::Immediate).then_some(lsn);
        self.enqueue(roots, until);
        drop(state);
        self.keep_encoder(batch);
        self.counters.commits.add(1);
        self.wake_if_due();
        Ok(Committed { txid, lsn })
    }

    /// The log's form of what is staged: drops and ranges of a tree before its points, as they are applied, and runs that are in memory alone before
    /// what refers to them.
    fn encode(&self, staged: &Sorted<'_>) -> Result<EncodedBatch> {
        let mut batch = self.encoder();
        for tree in staged.trees() {
            let id = tree.tree;
            if tree.dropped {
                batch.push(&Op::DropTree { tree: id });
                continue;
            }
            tree.ranges()
                .for_each(|(start, end)| batch.push(&Op::DeleteRange { tree: id, start, end }));
            for (key, staged) in tree.points() {
                let Staged::Put(entry) = staged else {
                    batch.push(&Op::Delete { tree: id, key });
                    continue;
                };
                if let Value::Large(large) = entry.value
                    && let Some(held) = self.store.held_run(large)
                {
                    let bytes = &held.bytes[..run_len(large.len) as usize];
                    batch.push(&Op::Run { large, bytes });
                }
                batch.push(&Op::Put { tree: id, key, entry });
            }
        }
        batch.finish()
    }

    /// A buffer for the log's form of a commit, used before if there is one.
    fn encoder(&self) -> BatchEncoder {
        let mut spare = self
            .spare_encoder
            .lock()
            .expect("no panic while a buffer is taken");
        spare.take().unwrap_or_else(BatchEncoder::new)
    }

    fn keep_encoder(&self, batch: EncodedBatch) {
        if batch.len() <= SPARE_BYTES_MAX {
            *self
                .spare_encoder
                .lock()
                .expect("no panic while a buffer is kept") = Some(batch.into_encoder());
        }
    }

    /// Commits in memory: without a log and without a flush the next checkpoint makes it durable.
    fn commit_deferred(&self, base: Roots, stage: &mut Stage) -> Result<Committed> {
        let mut state = self.state();
        self.reclaim(&state);
        let txid = TxId(base.txid.0 + 1);
        let (mut roots, _) = self.merge_stage(&mut state, base, txid, stage, None)?;
        roots.txid = txid;
        self.own(stage, &[]);
        self.settle_superseded(stage);
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
    fn commit_directly(&self, base: Roots, draft: &mut Draft<'_>) -> Result<Committed> {
        let bulk = draft.stage.bytes() as u64 >= self.options.bulk_bytes;
        // Held to the end, so that no other checkpoint has the commit before it is known whether it stays.
        let mut checkpoints = self.checkpoints.lock().expect("no panic during a checkpoint");
        let mut state = self.state();
        let before = state.head;
        self.reclaim(&state);
        let txid = TxId(before.txid.0 + 1);
        let (pin, _) = self.store.readers.pin(|| (base.txid, ()));
        let mut pages = Apply::begin(self.store.snapshot(&pin), txid, bulk);
        let (mut roots, filters) = merge_and_filter(&mut pages, &self.filters, &base, &draft.stage.finish())?;
        let created = pages.finish(&mut state.dirty, draft.spilled_pages())?;
        drop(pin);
        roots.txid = txid;
        roots.lsn = before.lsn;
        let owned = self.own(&draft.stage, draft.spilled_large());
        state.head = roots;
        drop(state);
        if let Err(e) = self.checkpoint_as(&mut checkpoints, false)
            && checkpoints.durable_txid() < txid
        {
            // Nobody has seen the commit and nobody has built on it: the gate is held.
            let mut state = self.state();
            state.head = before;
            let mut space = self.store.space();
            self.store.take_back(&mut space, txid, &created);
            space.unown(owned);
            return Err(e);
        }
        drop(checkpoints);
        self.settle_superseded(&draft.stage);
        draft.settle();
        self.filters.adopt(filters);
        self.enqueue(roots, None);
        self.publish();
        // What the commit freed is not needed by the last checkpoint any more, as it is that checkpoint.
        self.reclaim_all();
        self.counters.commits.add(1);
        self.counters.direct_commits.add(1);
        Ok(Committed { txid, lsn: roots.lsn })
    }

    /// The commit refers to these runs and pages from now on, so that a checkpoint of it does not list them as free.
    fn own(&self, stage: &Stage, spilled: &[LargeRef]) -> Owned {
        let size = self.store.page_size();
        let superseded: BTreeSet<u64> = stage
            .superseded_large_values()
            .map(|large| large.first.to_bits())
            .collect();
        let staged = stage
            .large_values()
            .filter(|large| !superseded.contains(&large.first.to_bits()));
        let runs = staged.chain(spilled.iter().copied());
        self.store.space().own(runs.map(|large| run_of(large, size)))
    }

    /// Takes trees that hold what the newest state holds, but in other pages, for the next commit. The log need not know of it: what it has
    /// comes to the same on top of the pages before.
    pub(crate) fn commit_moved(&self, state: &mut State, pages: Apply<'_>, mut roots: Roots) -> Result<()> {
        roots.txid = pages.txid();
        pages.finish(&mut state.dirty, &mut Vec::new())?;
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

    /// Merges what is staged into pages of commit `txid`, which nobody sees yet. They go to the file at once if the transaction spills, whose pages
    /// so far are `spilled`.
    pub(crate) fn merge_stage(
        &self,
        state: &mut State,
        base: Roots,
        txid: TxId,
        stage: &mut Stage,
        spilled: Option<&mut Vec<PageId>>,
    ) -> Result<(Roots, Vec<PageId>)> {
        let (pin, _) = self.store.readers.pin(|| (base.txid, ()));
        let mut pages = Apply::begin(self.store.snapshot(&pin), txid, spilled.is_some());
        let roots = merge(&mut pages, &self.filters, &base, &stage.finish())?;
        let created = pages.finish(&mut state.dirty, spilled.unwrap_or(&mut Vec::new()))?;
        Ok((roots, created))
    }

    /// Gives the runs of large values back that the commit did not keep.
    fn settle_superseded(&self, stage: &Stage) {
        for large in stage.superseded_large_values() {
            self.store.disown(run_of(large, self.store.page_size()));
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
        if !self.options.background {
            return;
        }
        if self.is_checkpoint_due() {
            self.wake.checkpoint();
        }
        let end = self.wal.as_ref().map_or(0, |wal| wal.end().0);
        if end >= self.counters.log_tended.get() + LOG_TEND_BYTES {
            self.counters.log_tended.set(end);
            self.wake.log();
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

/// Stages an operation that was read from the log; a run is the caller's to keep.
pub(crate) fn restage(stage: &mut Stage, op: &Op<'_>) {
    use crate::op::Value::{Inline, Large};
    match *op {
        Op::Run { .. } => {}
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
