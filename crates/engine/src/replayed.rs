//! What the log had when the database was opened: read over the trees at first, then merged into them.
//!
//! ```text
//!  open       Replay     the log's operations in a stage, as those of one transaction
//!             Replayed   the same, in order; readers that begin now see it over the trees, as a transaction sees its own writes
//!  catch_up              merges it into the trees; readers that begin from then on see those alone
//! ```
//!
//! Merging builds every leaf anew that the log touches, which takes several times as long as reading the log does. So a database is open
//! before that, and a thread of it merges; whoever writes, or looks at the trees as such, waits for that or does it himself. To
//! readers the merge is a commit like any other: they keep the pages that they began with.

use std::collections::{BTreeMap, btree_map};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwapOption;

use crate::commit::restage;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{Lsn, TxId};
use crate::large::format::run_len;
use crate::merge::merge;
use crate::op::{Entry, LargeRef, Op, Value};
use crate::options::DatabaseOptions;
use crate::stage::{ArenaPool, Presort, Stage};
use crate::store::{Apply, Extent, PageFile, PageStore, merge_adjacent, run_of};
use crate::wal::Record;

/// The log's operations as they come.
pub(crate) struct Replay {
    stage: Stage,
    presort: Presort,
    large: Vec<LargeRef>,
    /// The runs that the log has, by the place of their first page; of several the last.
    runs: BTreeMap<u64, (LargeRef, Vec<u8>)>,
    page_size: usize,
    /// Pages of the file: where the log does not have a run, it is in these.
    pages: u64,
    /// The checkpoint's commit.
    base: TxId,
    last: Option<(TxId, Lsn)>,
    commits: u64,
    hides: bool,
}

impl Replay {
    /// For what follows on commit `base` of `file`.
    pub(crate) fn new(options: &DatabaseOptions, file: &PageFile, base: TxId) -> Replay {
        let arenas = ArenaPool::new(0, options.secure_memory);
        Replay {
            stage: Stage::new(&arenas),
            presort: Presort::new(),
            large: Vec::new(),
            runs: BTreeMap::new(),
            page_size: file.page_size(),
            pages: file.pages(),
            base,
            last: None,
            commits: 0,
            hides: false,
        }
    }

    /// How many commits there were.
    pub(crate) fn commits(&self) -> u64 {
        self.commits
    }

    pub(crate) fn take(&mut self, dir: &Path, record: &Record<'_>) -> Result<()> {
        match *record {
            Record::Commit {
                lsn,
                end,
                txid,
                batch,
            } => {
                if txid <= self.last.map_or(self.base, |(last, _)| last) {
                    let what = format!("commit {} comes after a later one", txid.0);
                    return Err(Error::corrupt(dir, Some(lsn.0), what));
                }
                if txid > TxId::MAX {
                    return Err(Error::corrupt(dir, Some(lsn.0), "a commit's number is too great"));
                }
                for op in batch.ops() {
                    let op = op?;
                    match op {
                        Op::Put {
                            entry:
                                Entry {
                                    value: Value::Large(large),
                                    ..
                                },
                            ..
                        } => self
                            .refer(large)
                            .map_err(|what| Error::corrupt(dir, Some(lsn.0), what))?,
                        Op::Run { large, bytes } => {
                            self.runs.insert(large.first.id().0, (large, bytes.to_vec()));
                        }
                        Op::DeleteRange { .. } | Op::DropTree { .. } => self.hides = true,
                        _ => {}
                    }
                    restage(&mut self.stage, &op);
                    if !matches!(op, Op::Run { .. }) {
                        self.presort.note(&self.stage);
                    }
                }
                self.last = Some((txid, end));
                self.commits += 1;
            }
            Record::Checkpoint { lsn, txid, upto } => {
                if upto > lsn || self.last.is_some_and(|(last, _)| txid < last && upto == lsn) {
                    let what = format!(
                        "a checkpoint of commit {} is said to have what came later",
                        txid.0
                    );
                    return Err(Error::corrupt(dir, Some(lsn.0), what));
                }
            }
        }
        Ok(())
    }

    /// Notes a value that a commit refers to. Its length is only what the log says, so that it must fit what there is.
    fn refer(&mut self, large: LargeRef) -> std::result::Result<(), &'static str> {
        let extent = run_of(large, self.page_size);
        let is_there = || match self.runs.get(&extent.start) {
            Some((logged, bytes)) if *logged == large => bytes.len() as u64 == run_len(large.len),
            _ => extent.start + extent.len <= self.pages,
        };
        // One of an impossible length has no pages.
        if extent.len == 0 || !PageStore::has_places(extent) || !is_there() {
            return Err("it refers to a large value that neither the log nor the file has");
        }
        self.large.push(large);
        Ok(())
    }

    /// Puts the operations in order, for which they need not be complete.
    pub(crate) fn sort(&mut self) {
        let presort = std::mem::replace(&mut self.presort, Presort::new());
        self.stage.order_with(presort);
    }

    /// What there is to merge into the trees; `None` where the log had nothing. Takes the pages of large values out of
    /// the free ones.
    pub(crate) fn finish(mut self, store: &PageStore) -> Result<Option<Replayed>> {
        let Some((txid, end)) = self.last else {
            return Ok(None);
        };
        // Later commits of the log may have reused the runs of earlier ones, so first all are taken; those that are gone are given back
        // when the rest is in the trees.
        let mut space = store.space();
        for extent in merge_adjacent(runs_of(self.large.iter().copied(), store.page_size())) {
            if !space.reserve(extent) {
                let what = "the log says that a large value is in pages that belong to something else";
                return Err(Error::corrupt_page(store.file.path(), extent.start, what));
            }
        }
        drop(space);
        self.sort();
        // Readers over the state of the checkpoint reach these values too.
        store.note_replayed(txid);
        let replayed = Replayed {
            stage: self.stage,
            large: self.large,
            hides: self.hides,
            base: self.base,
            txid,
            end,
        };
        let live = || replayed.stage.live_large_values();
        let mut live_runs = runs_of(live(), store.page_size());
        live_runs.sort_unstable();
        if live_runs.array_windows().any(|[a, b]| a.start + a.len > b.start) {
            let what = "the log says that two large values are in the same pages";
            return Err(Error::corrupt(store.file.path(), None, what));
        }
        let mut runs = self.runs;
        for large in live() {
            // Of the others the file has the run.
            if let btree_map::Entry::Occupied(run) = runs.entry(large.first.id().0)
                && run.get().0 == large
            {
                store.hold_logged(large, run.remove().1)?;
            }
        }
        Ok(Some(replayed))
    }
}

/// What the log has after the checkpoint.
pub(crate) struct Replayed {
    stage: Stage,
    large: Vec<LargeRef>,
    hides: bool,
    /// The commit whose trees it goes over.
    pub(crate) base: TxId,
    /// The last commit in it.
    pub(crate) txid: TxId,
    /// Where the log ends after that.
    end: Lsn,
}

impl Replayed {
    /// What reads go through.
    pub(crate) fn stage(&self) -> &Stage {
        &self.stage
    }

    /// Whether it deletes ranges or trees: then the number of keys can't be had without looking at each.
    pub(crate) fn hides(&self) -> bool {
        self.hides
    }

    /// The pages of large values that nothing refers to any more.
    fn unused(&self, page_size: usize) -> Vec<Extent> {
        let all = merge_adjacent(runs_of(self.large.iter().copied(), page_size));
        let live = merge_adjacent(runs_of(self.stage.live_large_values(), page_size));
        without(&all, &live)
    }
}

/// What was replayed and is not in the trees yet.
pub(crate) struct Backlog {
    /// A look at this costs readers next to nothing.
    exists: AtomicBool,
    replayed: ArcSwapOption<Replayed>,
    /// Held by whoever merges.
    merging: Mutex<()>,
}

impl Backlog {
    pub(crate) fn new(replayed: Option<Replayed>) -> Backlog {
        Backlog {
            exists: AtomicBool::new(replayed.is_some()),
            replayed: ArcSwapOption::from_pointee(replayed),
            merging: Mutex::new(()),
        }
    }

    pub(crate) fn exists(&self) -> bool {
        // Pairs with the store in `clear`: whoever sees none sees the trees that it went into.
        self.exists.load(Ordering::Acquire)
    }

    /// What there is. Only over the state of [`Replayed::base`] does it count: by the time that a reader has pinned one, it may have been merged.
    pub(crate) fn load(&self) -> Option<Arc<Replayed>> {
        if self.exists() {
            self.replayed.load_full()
        } else {
            None
        }
    }

    fn clear(&self) {
        self.replayed.store(None);
        self.exists.store(false, Ordering::Release);
    }
}

impl Core {
    /// Merges what was replayed into the trees, if that was not done yet. After an error it can be tried again, and readers go on.
    pub(crate) fn catch_up(&self) -> Result<()> {
        if !self.backlog.exists() {
            return Ok(());
        }
        let _merging = self.backlog.merging.lock().expect("no panic during a merge");
        let Some(replayed) = self.backlog.load() else {
            return Ok(());
        };
        let mut state = self.state();
        let base = state.head;
        let (pin, _) = self.store.readers.pin(|| (base.txid, ()));
        // All pages are born in the last commit of the log.
        let mut pages = Apply::begin(self.store.snapshot(&pin), replayed.txid, false);
        let mut roots = merge(&mut pages, &self.filters, &base, &replayed.stage.finish())?;
        pages.finish(&mut state.dirty, &mut Vec::new())?;
        roots.txid = replayed.txid;
        roots.lsn = replayed.end;
        state.head = roots;
        self.raise_next_tree(roots.next_tree);
        self.show(roots);
        drop(state);
        self.backlog.clear();
        let mut space = self.store.space();
        let unused = replayed.unused(self.store.page_size());
        unused.into_iter().for_each(|extent| space.give_back(extent));
        Ok(())
    }
}

/// The runs of large values.
fn runs_of(large: impl Iterator<Item = LargeRef>, page_size: usize) -> Vec<Extent> {
    large.map(|large| run_of(large, page_size)).collect()
}

/// What of `all` is in none of `some`. Both ascend, and neither has extents that overlap.
fn without(all: &[Extent], some: &[Extent]) -> Vec<Extent> {
    let mut rest = Vec::new();
    for extent in all {
        let (mut from, stop) = (extent.start, extent.start + extent.len);
        let first = some.partition_point(|s| s.start + s.len <= from);
        for taken in some[first..].iter().take_while(|s| s.start < stop) {
            if taken.start > from {
                let len = taken.start - from;
                rest.push(Extent { start: from, len });
            }
            from = taken.start + taken.len;
        }
        if from < stop {
            let len = stop - from;
            rest.push(Extent { start: from, len });
        }
    }
    rest
}

#[cfg(test)]
mod tests;
