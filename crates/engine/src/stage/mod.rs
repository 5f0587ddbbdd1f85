//! What a transaction has written and not yet committed.
//!
//! Every write is copied to the end of an arena and noted at the end of a log; that is all that a pure load pays until it commits.
//! The first look-up of a key makes a table of the keys, which each write keeps up to date from then on. The first ordered access, range delete or drop sorts the log
//! into an index, which takes the place of the table. The log is never rewritten: an index entry is the number of the last operation on its key, and each operation knows the one before
//! it, so going back to a savepoint takes operations back one by one, in reverse.
//!
//! ```text
//! Stage ─ Log ─ Arena ─ chunks, from an ArenaPool
//!   ├──── Table
//!   └──── Index ─ TreeIndex ─ points and ranges: Slots
//!           └──── Presort     where a long log is sorted while it grows
//! ```

mod arena;
mod cursor;
mod index;
mod log;
mod presort;
mod slots;
mod sorted;
mod table;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

pub(crate) use arena::ArenaPool;
pub(crate) use cursor::StageCursor;
pub(crate) use presort::Presort;
pub(crate) use sorted::{Sorted, SortedTree};

use crate::ids::TreeId;
use crate::op::{Entry, LargeRef};
use index::{Index, TreeIndex};
use log::{Change, Kind, Log, LogMark, OpNumber};
use table::Table;

/// The writes of one transaction.
///
/// Keys and values are bounded by the caller, to less than 2 GiB each; the number of operations is bounded by memory.
pub(crate) struct Stage {
    log: Log,
    /// Up to date as long as there is no index.
    table: OnceLock<Table>,
    index: OnceLock<Index>,
    /// The operations that put a large value, in order.
    large: Vec<OpNumber>,
    /// Whether any operand was ever staged.
    any_merges: bool,
}

/// What is staged for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Staged<'a> {
    /// Nothing: what the base has counts.
    Nothing,
    /// Whatever the base has is gone.
    Hidden,
    /// A new entry.
    Put(Entry<'a>),
    /// Merges over a base.
    Merged {
        base: MergeBase<'a>,
        /// Operators and operands in the order in which they were staged.
        operands: Vec<(u32, &'a [u8])>,
    },
}

/// What staged merges stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MergeBase<'a> {
    /// On what the base has.
    Nothing,
    /// On no entry.
    Hidden,
    /// On a staged entry.
    Put(Entry<'a>),
}

/// A state of a stage to go back to. It holds good until the stage goes back beyond it or is cleared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Savepoint {
    log: LogMark,
    large: usize,
}

impl Stage {
    pub(crate) fn new(pool: &Arc<ArenaPool>) -> Stage {
        Stage {
            log: Log::new(pool),
            table: OnceLock::new(),
            index: OnceLock::new(),
            large: Vec::new(),
            any_merges: false,
        }
    }

    #[inline]
    pub(crate) fn put(&mut self, tree: TreeId, key: &[u8], value: &[u8], expires: Option<u64>) {
        self.push(&Change {
            kind: Kind::Put,
            tree,
            key,
            value,
            expires,
            operator: 0,
        });
    }

    pub(crate) fn put_large(&mut self, tree: TreeId, key: &[u8], large: LargeRef, expires: Option<u64>) {
        let op = self.push(&Change {
            kind: Kind::PutLarge,
            tree,
            key,
            value: &large.encode(),
            expires,
            operator: 0,
        });
        self.large.push(op);
    }

    pub(crate) fn delete(&mut self, tree: TreeId, key: &[u8]) {
        self.push(&Change {
            kind: Kind::Delete,
            tree,
            key,
            value: &[],
            expires: None,
            operator: 0,
        });
    }

    /// Stages an operand for `operator` without looking at what it will be merged with.
    pub(crate) fn merge(&mut self, tree: TreeId, key: &[u8], operator: u32, operand: &[u8]) {
        self.any_merges = true;
        self.push(&Change {
            kind: Kind::Merge,
            tree,
            key,
            value: operand,
            expires: None,
            operator,
        });
    }

    /// Deletes the keys from `start` up to but without `end`, or without end: staged ones are forgotten, those of the base are
    /// hidden. An empty range does nothing.
    pub(crate) fn delete_range(&mut self, tree: TreeId, start: &[u8], end: Option<&[u8]>) {
        if end.is_some_and(|end| end <= start) {
            return;
        }
        self.index();
        let kind = if end.is_some() {
            Kind::DeleteRange
        } else {
            Kind::DeleteFrom
        };
        self.push(&Change {
            kind,
            tree,
            key: start,
            value: end.unwrap_or_default(),
            expires: None,
            operator: 0,
        });
    }

    /// Forgets what was staged for a tree and hides all of its base. Nothing may be staged for it afterwards.
    pub(crate) fn drop_tree(&mut self, tree: TreeId) {
        self.index();
        self.push(&Change {
            kind: Kind::DropTree,
            tree,
            key: &[],
            value: &[],
            expires: None,
            operator: 0,
        });
    }

    #[inline]
    fn push(&mut self, change: &Change<'_>) -> OpNumber {
        let op = self.log.push(change);
        if let Some(index) = self.index.get_mut() {
            debug_assert!(
                !index.tree(change.tree).is_some_and(|tree| tree.dropped),
                "nothing is staged for a dropped tree"
            );
            index.apply(&self.log, op);
        } else if let Some(table) = self.table.get_mut() {
            table.insert(&self.log, op);
        }
        op
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| Index::of_points(&self.log))
    }

    /// The table of keys; `None` where there is an index, or nothing, or where no trace of keys may stay outside of the arena.
    fn table(&self) -> Option<&Table> {
        if self.is_empty() || self.index.get().is_some() || self.log.is_secure() {
            return None;
        }
        Some(self.table.get_or_init(|| Table::of(&self.log)))
    }

    /// The index of one tree; `None` when nothing was ever staged for it.
    fn tree(&self, tree: TreeId) -> Option<&TreeIndex> {
        if self.is_empty() {
            return None;
        }
        self.index().tree(tree)
    }

    pub(crate) fn get(&self, tree: TreeId, key: &[u8]) -> Staged<'_> {
        if let Some(table) = self.table() {
            let Some(op) = table.find(&self.log, tree, key) else {
                return Staged::Nothing;
            };
            match self.log.kind(op) {
                Kind::Put | Kind::PutLarge => return Staged::Put(self.log.entry(op)),
                Kind::Delete => return Staged::Hidden,
                // What is below a merge only the index knows.
                _ => {}
            }
        }
        let Some(index) = self.tree(tree) else {
            return Staged::Nothing;
        };
        match index.point(&self.log, key) {
            Some(op) => self.staged(index, op),
            None if index.hides(&self.log, key) => Staged::Hidden,
            None => Staged::Nothing,
        }
    }

    /// Whether a staged range delete or drop covers what the base has under `key`.
    pub(crate) fn hides(&self, tree: TreeId, key: &[u8]) -> bool {
        self.tree(tree).is_some_and(|index| index.hides(&self.log, key))
    }

    /// Whether a staged range delete or drop covers anything of a tree.
    pub(crate) fn hides_any(&self, tree: TreeId) -> bool {
        self.tree(tree)
            .is_some_and(|index| index.dropped || !index.ranges.is_empty())
    }

    /// The keys that operands were merged into, and their trees.
    pub(crate) fn merged(&self) -> Vec<(TreeId, Vec<u8>)> {
        if !self.any_merges {
            return Vec::new();
        }
        let points = self.index().trees().flat_map(|(tree, _)| {
            let mut cursor = self.cursor(tree);
            let mut next = cursor.first();
            std::iter::from_fn(move || {
                let point = next.take()?;
                next = cursor.next();
                Some((tree, point))
            })
        });
        let merged = points.filter(|(_, (_, staged))| matches!(staged, Staged::Merged { .. }));
        merged.map(|(tree, (key, _))| (tree, key.to_vec())).collect()
    }

    /// A cursor over the staged points of a tree: puts, deletes and merges. Whether a key of the base between them counts,
    /// [`hides`](Stage::hides) says.
    pub(crate) fn cursor(&self, tree: TreeId) -> StageCursor<'_> {
        StageCursor::new(self, self.tree(tree))
    }

    /// What `op`, the last operation on its key, and those below it come to.
    fn staged<'a>(&'a self, index: &'a TreeIndex, op: OpNumber) -> Staged<'a> {
        match self.log.kind(op) {
            Kind::Put | Kind::PutLarge => return Staged::Put(self.log.entry(op)),
            Kind::Merge => {}
            _ => return Staged::Hidden,
        }
        let mut operands = Vec::new();
        let mut at = Some(op);
        let base = loop {
            match at.map(|op| (op, self.log.kind(op))) {
                Some((op, Kind::Merge)) => {
                    operands.push((self.log.operator(op), self.log.value(op)));
                    at = self.index().previous(op);
                }
                Some((op, Kind::Put | Kind::PutLarge)) => break MergeBase::Put(self.log.entry(op)),
                Some(_) => break MergeBase::Hidden,
                None if index.hides(&self.log, self.log.key(op)) => break MergeBase::Hidden,
                None => break MergeBase::Nothing,
            }
        };
        operands.reverse();
        Staged::Merged { base, operands }
    }

    pub(crate) fn savepoint(&self) -> Savepoint {
        Savepoint {
            log: self.log.mark(),
            large: self.large.len(),
        }
    }

    /// Goes back to a savepoint of this stage, and gives the large values that were staged since, which nothing refers to any longer.
    pub(crate) fn rollback_to(&mut self, savepoint: &Savepoint) -> Vec<LargeRef> {
        assert!(
            savepoint.log.len <= self.log.len(),
            "a savepoint is not used after one before it"
        );
        let large = self.large.split_off(savepoint.large);
        let large = large.into_iter().map(|op| self.log.large(op)).collect();
        let had_table = self.table.take().is_some();
        if savepoint.log.len == 0 {
            self.index.take();
        } else if had_table {
            // The table does not know what was there before. The index does, and stays.
            self.index();
        }
        if let Some(index) = self.index.get_mut() {
            for op in (savepoint.log.len..self.log.len()).rev() {
                index.undo(&self.log, op as OpNumber);
            }
        }
        self.log.rollback_to(savepoint.log);
        large
    }

    /// Puts what is staged in order, if it is not: best done before others wait for it.
    pub(crate) fn order(&self) {
        if !self.is_empty() {
            self.index();
        }
    }

    /// Everything that is staged, in order. Sorts, if nothing has needed the order before.
    pub(crate) fn finish(&self) -> Sorted<'_> {
        Sorted::new(self, (!self.is_empty()).then(|| self.index()))
    }

    /// Puts everything in order, as [`finish`](Stage::finish) does, with what was noted of it as it came.
    pub(crate) fn order_with(&self, presort: Presort) {
        self.index.get_or_init(|| match presort.finish(&self.log) {
            Some(slots) => Index::of_slots(&self.log, slots),
            None => Index::of_points(&self.log),
        });
    }

    /// Every large value that was staged and not rolled back, also those that nothing staged refers to any longer.
    pub(crate) fn large_values(&self) -> impl Iterator<Item = LargeRef> {
        self.large.iter().map(|op| self.log.large(*op))
    }

    /// The large values that were staged and then overwritten, deleted or dropped: a commit does not refer to them. The value that
    /// staged merges stand on is not among them.
    pub(crate) fn superseded_large_values(&self) -> impl Iterator<Item = LargeRef> {
        let superseded = self.large.iter().filter(|op| !self.is_live(**op));
        superseded.map(|op| self.log.large(*op))
    }

    /// The large values that are staged and not superseded.
    pub(crate) fn live_large_values(&self) -> impl Iterator<Item = LargeRef> {
        let live = self.large.iter().filter(|op| self.is_live(**op));
        live.map(|op| self.log.large(*op))
    }

    /// Whether a put still counts: it is the last operation on its key but for merges.
    fn is_live(&self, put: OpNumber) -> bool {
        let Some(tree) = self.tree(self.log.tree(put)) else {
            return false;
        };
        let mut at = tree.point(&self.log, self.log.key(put));
        while let Some(op) = at
            && self.log.kind(op) == Kind::Merge
        {
            at = self.index().previous(op);
        }
        at == Some(put)
    }

    /// Bytes of memory that the stage fills.
    pub(crate) fn bytes(&self) -> usize {
        self.log.bytes() + self.index.get().map_or(0, Index::bytes) + self.table.get().map_or(0, Table::bytes)
    }

    /// Whether nothing was staged, or all of it was rolled back.
    pub(crate) fn is_empty(&self) -> bool {
        self.log.len() == 0
    }

    /// Forgets everything and hands the memory back.
    pub(crate) fn clear(&mut self) {
        self.table.take();
        self.index.take();
        self.large.clear();
        self.any_merges = false;
        self.log.clear();
    }
}
