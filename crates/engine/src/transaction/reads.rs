//! What an optimistic transaction has read, and whether it is still so.
//!
//! At commit every read is made again on the newest state. Where the tree shares a page with the snapshot nothing under it can have changed, so this
//! costs what has changed, not what was read; it needs no memory of past commits, and a transaction can't become too
//! old. A key that was changed and changed back is no conflict: the transaction would do the same again.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{Mutex, MutexGuard};

use crate::error::{Error, Result};
use crate::ids::TreeId;
use crate::merge::record;
use crate::roots::Roots;
use crate::store::Snapshot;
use crate::transaction::iter::KeyRange;
use crate::tree;

/// Beyond this many bytes of keys, the points of a tree are taken together as one range.
const BYTES_MAX: usize = 4 << 20;

#[derive(Default)]
pub(crate) struct Reads(Mutex<Log>);

#[derive(Default)]
struct Log {
    points: BTreeMap<TreeId, Vec<Vec<u8>>>,
    ranges: Vec<(TreeId, KeyRange)>,
    /// The ranges of iterators that have not been dropped.
    observed: Vec<Option<(TreeId, KeyRange)>>,
    bytes: usize,
}

/// What an iterator has seen of its range so far. While it lives all of the range counts as read, so that one that is never dropped
/// does no harm; when it is dropped, only what it passed does.
pub(crate) struct Observed<'t> {
    reads: &'t Reads,
    index: usize,
    /// The last key that was given from the front, and whether the front came to the end.
    front: Option<&'t [u8]>,
    back: Option<&'t [u8]>,
    whole: bool,
}

impl Reads {
    /// Notes that `key` was looked up.
    pub(crate) fn point(&self, tree: TreeId, key: &[u8]) {
        let mut log = self.log();
        log.bytes += key.len() + size_of::<Vec<u8>>();
        let points = log.points.entry(tree).or_default();
        if points.last().is_none_or(|last| last != key) {
            points.push(key.to_vec());
        }
        if log.bytes > BYTES_MAX {
            log.widen();
        }
    }

    /// Notes that a range was read.
    pub(crate) fn range(&self, tree: TreeId, range: &KeyRange) {
        self.log().range(tree, range.clone());
    }

    /// Begins to note what is read of a range.
    pub(crate) fn observe(&self, tree: TreeId, range: &KeyRange) -> Observed<'_> {
        let mut log = self.log();
        log.observed.push(Some((tree, range.clone())));
        Observed {
            reads: self,
            index: log.observed.len() - 1,
            front: None,
            back: None,
            whole: false,
        }
    }

    /// What of this was read to find buckets.
    pub(crate) fn of_names(&self) -> Reads {
        let log = self.log();
        let ranges = log.ranges.iter().chain(log.observed.iter().flatten());
        Reads(Mutex::new(Log {
            points: log
                .points
                .get_key_value(&TreeId::NAMES)
                .map(|(tree, keys)| (*tree, keys.clone()))
                .into_iter()
                .collect(),
            ranges: ranges
                .filter(|(tree, _)| *tree == TreeId::NAMES)
                .cloned()
                .collect(),
            ..Log::default()
        }))
    }

    /// Fails with a conflict if a read gives another answer in `new` than it did in `old`.
    pub(crate) fn validate(&self, pages: Snapshot<'_>, old: &Roots, new: &Roots) -> Result<()> {
        if old.txid == new.txid {
            return Ok(());
        }
        let log = self.log();
        for (tree, keys) in &log.points {
            let (was, is) = (record(&pages, old, *tree)?.root, record(&pages, new, *tree)?.root);
            if was == is {
                continue;
            }
            for key in keys {
                if !tree::is_same(&pages, was, is, key)? {
                    return Err(Error::Conflict);
                }
            }
        }
        for (tree, range) in log.ranges.iter().chain(log.observed.iter().flatten()) {
            let (was, is) = (record(&pages, old, *tree)?.root, record(&pages, new, *tree)?.root);
            let (start, end) = range.half_open();
            if was != is && differs(pages, was, is, &start, end.as_deref())? {
                return Err(Error::Conflict);
            }
        }
        Ok(())
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().expect("no panic while a read is noted")
    }
}

fn differs(
    pages: Snapshot<'_>,
    was: tree::Root,
    is: tree::Root,
    start: &[u8],
    end: Option<&[u8]>,
) -> Result<bool> {
    Ok(tree::diff(&pages, was, is, start, end, |_, _, _| ControlFlow::Break(()))?.is_break())
}

impl Log {
    fn range(&mut self, tree: TreeId, range: KeyRange) {
        if self.ranges.last().is_some_and(|(t, r)| *t == tree && *r == range) {
            return;
        }
        self.bytes += range.bytes() + size_of::<KeyRange>();
        self.ranges.push((tree, range));
        if self.bytes > BYTES_MAX {
            self.widen();
        }
    }

    /// Trades exactness for memory: what was read of a tree is taken together as one range.
    fn widen(&mut self) {
        let mut wide: BTreeMap<TreeId, (Vec<u8>, Option<Vec<u8>>)> = BTreeMap::new();
        let points = std::mem::take(&mut self.points);
        let points = points.into_iter().flat_map(|(tree, keys)| {
            keys.into_iter().map(move |key| {
                let end = Bound::Included(key.clone());
                let start = Bound::Included(key);
                (tree, KeyRange { start, end })
            })
        });
        for (tree, range) in points.chain(std::mem::take(&mut self.ranges)) {
            let (start, end) = range.half_open();
            wide.entry(tree)
                .and_modify(|(first, last)| {
                    if start < *first {
                        first.clone_from(&start);
                    }
                    *last = match (last.take(), &end) {
                        (Some(last), Some(end)) => Some(last.max(end.clone())),
                        _ => None,
                    };
                })
                .or_insert((start, end));
        }
        let wide = wide.into_iter();
        self.ranges = wide
            .map(|(tree, (start, end))| (tree, KeyRange::from_half_open(&start, end.as_deref())))
            .collect();
        self.bytes = 0;
    }
}

impl<'t> Observed<'t> {
    pub(crate) fn forward(&mut self, key: Option<&'t [u8]>) {
        match key {
            Some(key) => self.front = Some(key),
            None => self.whole = true,
        }
    }

    pub(crate) fn backward(&mut self, key: Option<&'t [u8]>) {
        match key {
            Some(key) => self.back = Some(key),
            None => self.whole = true,
        }
    }
}

impl Drop for Observed<'_> {
    fn drop(&mut self) {
        let mut log = self.reads.log();
        let (tree, range) = log.observed[self.index]
            .take()
            .expect("each iterator has a place of its own");
        while log.observed.pop_if(|last| last.is_none()).is_some() {}
        if self.whole {
            return log.range(tree, range);
        }
        let included = |key: &[u8]| Bound::Included(key.to_vec());
        if let Some(key) = self.front {
            let end = included(key);
            let start = range.start.clone();
            log.range(tree, KeyRange { start, end });
        }
        if let Some(key) = self.back {
            let (start, end) = (included(key), range.end);
            log.range(tree, KeyRange { start, end });
        }
    }
}
