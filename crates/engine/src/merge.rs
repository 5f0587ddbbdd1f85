//! Merges what a transaction has staged into the trees.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::bloom::Bloom;
use crate::error::Result;
use crate::filters::{Filters, Keeper};
use crate::ids::{TreeId, TxId};
use crate::op::{Entry, Value};
use crate::roots::{Roots, TreeRecord};
use crate::stage::{Sorted, SortedTree, Staged};
use crate::store::Apply;
use crate::tree::{self, PageRead, Room};

/// Bytes of an expiry key before the key itself: the time and the tree.
pub(crate) const EXPIRY_PREFIX: usize = 16;

/// The key under which the expiry of `key` in `tree` is kept: those that expire first come first.
pub(crate) fn expiry_key(expires: u64, tree: TreeId, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(EXPIRY_PREFIX + key.len());
    out.extend_from_slice(&expires.to_be_bytes());
    out.extend_from_slice(&tree.0.to_be_bytes());
    out.extend_from_slice(key);
    out
}

/// The record of a tree in the state of `roots`; that of an empty tree where there is none.
pub(crate) fn record<'p>(pages: &impl PageRead<'p>, roots: &Roots, tree: TreeId) -> Result<TreeRecord> {
    if let Some(record) = roots.fixed(tree) {
        return Ok(*record);
    }
    let catalog = roots.catalog.root;
    let Some(entry) = tree::get(pages, catalog, &tree.0.to_be_bytes())? else {
        return Ok(TreeRecord::EMPTY);
    };
    let record = match entry.value {
        Value::Inline(bytes) => TreeRecord::decode(bytes),
        Value::Large(_) => None,
    };
    record.ok_or_else(|| pages.corrupt(catalog.ptr, "the catalog has an entry that is no tree's"))
}

/// Merges `staged` into the trees of `roots`, and gives the roots that follow, but for their commit and log position.
///
/// Merge operands must have been resolved before: see `transaction`.
pub(crate) fn merge(
    pages: &mut Apply<'_>,
    filters: &Filters,
    roots: &Roots,
    staged: &Sorted<'_>,
) -> Result<Roots> {
    let mut merger = Merger::new(filters, roots);
    for tree in staged.trees() {
        merger.tree(pages, &tree)?;
    }
    merger.finish(pages)
}

/// The same for all of a transaction at once, and the filters of the trees that it fills from nothing: they count when it has committed.
pub(crate) fn merge_and_filter(
    pages: &mut Apply<'_>,
    filters: &Filters,
    roots: &Roots,
    staged: &Sorted<'_>,
) -> Result<(Roots, MadeFilters)> {
    let mut merger = Merger::new(filters, roots);
    merger.made = Some(Vec::new());
    for tree in staged.trees() {
        merger.tree(pages, &tree)?;
    }
    let made = merger.made.take().unwrap_or_default();
    Ok((merger.finish(pages)?, made))
}

/// Gives trees that hold what they held other pages to begin with.
pub(crate) fn replace_roots(
    pages: &mut Apply<'_>,
    filters: &Filters,
    roots: &Roots,
    records: BTreeMap<TreeId, TreeRecord>,
) -> Result<Roots> {
    let mut merger = Merger::new(filters, roots);
    for (tree, record) in records {
        match merger.roots.fixed_mut(tree) {
            Some(fixed) => *fixed = record,
            None => drop(merger.records.insert(tree.0.to_be_bytes(), Some(record))),
        }
    }
    merger.finish(pages)
}

/// Filters that have all keys of trees which did not have any before.
pub(crate) type MadeFilters = Vec<(TreeId, Arc<Bloom>)>;

struct Merger<'f> {
    filters: &'f Filters,
    /// Where filters are to be made.
    made: Option<MadeFilters>,
    roots: Roots,
    /// The trees whose record in the catalog changes; `None` for one that goes.
    records: BTreeMap<[u8; 8], Option<TreeRecord>>,
    /// Expiry keys that come (`true`) and go.
    expiry: BTreeMap<Vec<u8>, bool>,
}

impl<'f> Merger<'f> {
    fn new(filters: &'f Filters, roots: &Roots) -> Merger<'f> {
        Merger {
            filters,
            made: None,
            roots: *roots,
            records: BTreeMap::new(),
            expiry: BTreeMap::new(),
        }
    }

    /// The filters that the keys put into `tree` go to: those that it has, or one that is made for it.
    fn keeper(&mut self, staged: &SortedTree<'_>, was: &TreeRecord, txid: TxId) -> Option<Keeper> {
        let kept = self.filters.keeper(staged.tree);
        let Some(made) = self
            .made
            .as_mut()
            .filter(|_| kept.is_none() && was.root.is_empty())
        else {
            return kept;
        };
        let filter = self.filters.make(staged.tree, staged.points_len() as u64, txid)?;
        made.push((staged.tree, Arc::clone(&filter)));
        Some(Keeper::of(filter))
    }

    fn tree(&mut self, pages: &mut Apply<'_>, staged: &SortedTree<'_>) -> Result<()> {
        let tree = staged.tree;
        let mut record = record(pages, &self.roots, tree)?;
        if staged.dropped {
            tree::drop_tree(pages, record.root, record.large > 0)?;
            self.records.insert(tree.0.to_be_bytes(), None);
            self.filters.forget(tree);
            return Ok(());
        }
        for (start, end) in staged.ranges() {
            let applied = tree::delete_range(pages, record.root, start, end)?;
            record.take(&applied);
        }
        let keeper = self.keeper(staged, &record, pages.txid());
        let expiry = &mut self.expiry;
        let next_tree = &mut self.roots.next_tree;
        let points = staged.points().map(|(key, staged)| (key, change(&staged)));
        let room = if staged.is_mixed() {
            Room::InEachLeaf
        } else {
            Room::AtTheEnd
        };
        let applied = tree::apply_with(pages, record.root, points, room, |(key, entry), old| {
            if let Some(keeper) = &keeper {
                match (old, entry) {
                    (None, Some(_)) => keeper.insert(key),
                    (Some(_), None) => keeper.delete(),
                    _ => {}
                }
            }
            if let Some(expires) = old.and_then(|old| old.expires) {
                expiry.entry(expiry_key(expires, tree, key)).or_insert(false);
            }
            if let Some(expires) = entry.and_then(|entry| entry.expires) {
                expiry.insert(expiry_key(expires, tree, key), true);
            }
            if tree == TreeId::NAMES
                && let Some(Entry {
                    value: Value::Inline(id),
                    ..
                }) = entry
                && let Ok(id) = (*id).try_into()
            {
                let next = u64::from_le_bytes(id).saturating_add(1);
                *next_tree = (*next_tree).max(next.min(TreeId::MAX.0));
            }
        })?;
        record.take(&applied);
        let has_made = self.made.iter().flatten().any(|(other, _)| *other == tree);
        if !has_made {
            self.filters.note_len(tree, record.len);
        }
        match self.roots.fixed_mut(tree) {
            Some(fixed) => *fixed = record,
            None => {
                self.records
                    .insert(tree.0.to_be_bytes(), (record.len > 0).then_some(record));
            }
        }
        Ok(())
    }

    /// What follows from the changes to the trees: the index of expiry times, and the catalog.
    fn finish(mut self, pages: &mut Apply<'_>) -> Result<Roots> {
        if !self.expiry.is_empty() {
            let record = &mut self.roots.fixed[TreeId::EXPIRY.0 as usize];
            let empty = Entry {
                value: Value::Inline(b""),
                expires: None,
            };
            let changes = self
                .expiry
                .iter()
                .map(|(key, comes)| (key.as_slice(), comes.then_some(empty)));
            let applied = tree::apply(pages, record.root, changes, |_, _| ())?;
            record.take(&applied);
        }
        if !self.records.is_empty() {
            let encoded: Vec<_> = self
                .records
                .iter()
                .map(|(key, record)| (key, record.map(TreeRecord::encode)))
                .collect();
            let changes = encoded.iter().map(|(key, record)| {
                let entry = record.as_ref().map(|r| Entry {
                    value: Value::Inline(r),
                    expires: None,
                });
                (key.as_slice(), entry)
            });
            let applied = tree::apply(pages, self.roots.catalog.root, changes, |_, _| ())?;
            self.roots.catalog.take(&applied);
        }
        Ok(self.roots)
    }
}

impl TreeRecord {
    fn take(&mut self, applied: &tree::Applied) {
        self.root = applied.root;
        self.len = self.len.saturating_add_signed(applied.len_delta);
        self.large = self.large.saturating_add_signed(applied.large_delta);
    }
}

fn change<'a>(staged: &Staged<'a>) -> Option<Entry<'a>> {
    match staged {
        Staged::Put(entry) => Some(*entry),
        Staged::Hidden | Staged::Nothing => None,
        Staged::Merged { .. } => unreachable!("operands are resolved before a stage is merged"),
    }
}
