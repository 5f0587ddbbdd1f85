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
        let mut log = self.log();
        if !log.ranges.iter().any(|(t, r)| *t == tree && r == range) {
            log.ranges.push((tree, range.clone()));
        }
    }

    /// Begins to note what is read of a range.
    pub(crate) fn observe(&self, tree: TreeId, range: &KeyRange) -> Observed<'_> {
        let mut log = self.log();
        log.ranges.push((tree, range.clone()));
        Observed {
            reads: self,
            index: log.ranges.len() - 1,
            front: None,
            back: None,
            whole: false,
        }
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
                if tree::get(&pages, was, key)? != tree::get(&pages, is, key)? {
                    return Err(Error::Conflict);
                }
            }
        }
        for (tree, range) in &log.ranges {
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
    /// Trades exactness for memory.
    fn widen(&mut self) {
        for (tree, keys) in std::mem::take(&mut self.points) {
            let bound = |key: Option<Vec<u8>>| key.map_or(Bound::Unbounded, Bound::Included);
            let (start, end) = (keys.iter().min().cloned(), keys.into_iter().max());
            self.ranges.push((
                tree,
                KeyRange {
                    start: bound(start),
                    end: bound(end),
                },
            ));
        }
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
        if self.whole {
            return;
        }
        let mut log = self.reads.log();
        let (tree, range) = log.ranges[self.index].clone();
        let included = |key: &[u8]| Bound::Included(key.to_vec());
        // Nothing was read where neither end moved: an empty range stands for that.
        let nothing = KeyRange {
            start: Bound::Included(Vec::new()),
            end: Bound::Excluded(Vec::new()),
        };
        let front = self.front.map(|key| KeyRange {
            start: range.start.clone(),
            end: included(key),
        });
        let back = self.back.map(|key| KeyRange {
            start: included(key),
            end: range.end.clone(),
        });
        let (first, second) = match (front, back) {
            (Some(front), back) => (front, back),
            (None, Some(back)) => (back, None),
            (None, None) => (nothing, None),
        };
        log.ranges[self.index].1 = first;
        log.ranges.extend(second.map(|range| (tree, range)));
    }
}
