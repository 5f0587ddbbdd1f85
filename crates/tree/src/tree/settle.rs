//! From changed entries to changed pages, tops and the root hash.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weald_engine::{Writable, WriteTx};
use weald_proof::{Changes, Page, PageEntry, UpdateError, update};

use super::pages::TreePages;
use super::reader::Reader;
use super::record::{Located, Top};
use super::{ALL, Path, TREES};
use crate::cost::OperationCost;
use crate::error::{Error, Result};
use crate::family::PREFIX_LEN;

/// The keys that a transaction may have changed, by the path of their tree.
pub(crate) type Touched = BTreeMap<Path, BTreeSet<Vec<u8>>>;

/// What follows from changed entries.
#[derive(Default)]
pub(crate) struct Settled {
    /// Records to write, or to delete where there is `None`.
    records: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    tops: BTreeMap<[u8; PREFIX_LEN], Option<Top>>,
}

/// A tree that is to be brought up to date: found by its path, or from a subtree of it.
#[derive(Default)]
struct Due {
    tree: Option<Located>,
    keys: BTreeSet<Vec<u8>>,
}

/// What becomes of the pages and tops in the state that `reader` sees when the touched entries are looked at anew: of all trees
/// concerned, from the innermost outwards, down to paths of `depth` segments. A key that was touched and did not
/// change does no harm, nor does one whose tree is gone.
pub(crate) fn settle(reader: &Reader<'_>, touched: &Touched, depth: usize) -> Result<Settled> {
    let mut settled = Settled::default();
    let mut rest: BTreeMap<(Reverse<usize>, Path), Due> = touched
        .iter()
        .map(|(path, keys)| {
            let keys = keys.clone();
            ((Reverse(path.len()), path.clone()), Due { tree: None, keys })
        })
        .collect();
    while let Some(((_, mut path), due)) = rest.pop_first() {
        let tree = match due.tree.map_or_else(|| reader.locate(&path), Ok) {
            Ok(tree) => tree,
            Err(Error::NoSubtree { .. }) => continue,
            Err(error) => return Err(error),
        };
        let changed = settled.update(reader, &tree, &due.keys)?;
        if changed
            && path.len() > depth
            && let Some(key) = path.pop()
        {
            let holder = rest.entry((Reverse(path.len()), path)).or_default();
            holder.keys.insert(key);
            if holder.tree.is_none() {
                reader.meter.hashes(1);
                holder.tree = Some(tree.holder());
            }
        }
    }
    Ok(settled)
}

impl Settled {
    /// Brings one tree up to date; whether its top has changed.
    fn update(&mut self, reader: &Reader<'_>, tree: &Located, keys: &BTreeSet<Vec<u8>>) -> Result<bool> {
        let mut edits = BTreeMap::new();
        for key in keys {
            let element = reader.element(tree, key, |subtree| self.top(reader, subtree))?;
            edits.insert(key.clone(), element);
        }
        let pages = TreePages::new(*reader, tree.clone())?;
        let changes = update(&pages, &edits).map_err(|error| match error {
            UpdateError::Storage(error) => error,
            UpdateError::Overflow => Error::Overflow,
            UpdateError::Damaged => Error::damaged("a tree lacks a page or has one too many"),
        })?;
        reader.meter.hashes(changes.hashes);
        for page in changes.pages.values().flatten() {
            reader.cache.insert(page);
        }
        self.set_entries(reader, tree, &changes);
        let top = match (changes.top_level, changes.top) {
            (Some(level), Some(node)) => Some(Top { level, node }),
            _ => None,
        };
        let changed = top != pages.top;
        if changed {
            let encode = |top: Top| top.encode();
            self.set(reader, tree.top_key(), pages.top.map(encode), top.map(encode));
        }
        self.tops.insert(tree.prefix, top);
        Ok(changed)
    }

    /// Notes which entries of pages are to be written.
    fn set_entries(&mut self, reader: &Reader<'_>, tree: &Located, changes: &Changes) {
        // Most pages only had entries changed; the others, between which entries may have moved, are compared together.
        let mut before = changes.before.clone();
        let mut others = Vec::new();
        for (at, page) in &changes.pages {
            let Some(page) = page else { continue };
            match before.get(at) {
                Some(old) if old.has_keys_of(page) => {
                    for (old, new) in old.entries().zip(page.entries()) {
                        if old != new {
                            let begins = new.key == at.1;
                            self.set_entry(
                                reader,
                                tree,
                                at.0,
                                new.key,
                                Some((old, begins)),
                                Some((new, begins)),
                            );
                        }
                    }
                    before.remove(at);
                }
                _ => others.push(page),
            }
        }
        self.set_moved(reader, tree, before.values(), &others);
    }

    /// The same of pages between which entries may have moved. Both lists are in order, so one pass tells.
    fn set_moved<'p>(
        &mut self,
        reader: &Reader<'_>,
        tree: &Located,
        before: impl Iterator<Item = &'p Arc<Page>>,
        after: &[&'p Arc<Page>],
    ) {
        let mut before = entries(before).peekable();
        let mut after = entries(after.iter().copied()).peekable();
        loop {
            let (at, order) = match (before.peek(), after.peek()) {
                (None, None) => break,
                (Some(old), None) => ((old.0, old.1.key), Ordering::Less),
                (None, Some(new)) => ((new.0, new.1.key), Ordering::Greater),
                (Some(old), Some(new)) => {
                    let (old, new) = ((old.0, old.1.key), (new.0, new.1.key));
                    (old.min(new), old.cmp(&new))
                }
            };
            let old = if order.is_le() { before.next() } else { None };
            let new = if order.is_ge() { after.next() } else { None };
            if old != new {
                let entry = |(_, entry, begins): Held<'p>| (entry, begins);
                self.set_entry(reader, tree, at.0, at.1, old.map(entry), new.map(entry));
            }
        }
    }

    /// Notes an entry of a page that becomes another. What it was counts only for the cost.
    fn set_entry(
        &mut self,
        reader: &Reader<'_>,
        tree: &Located,
        level: u8,
        key: &[u8],
        old: Option<(PageEntry<'_>, bool)>,
        new: Option<(PageEntry<'_>, bool)>,
    ) {
        let record = |(entry, begins): (PageEntry<'_>, bool)| entry.record(level, begins);
        let old = old.filter(|_| reader.meter.counts_writes()).map(record);
        self.set(reader, tree.node_key(level, key), old, new.map(record));
    }

    /// Notes a record that becomes another. What it was counts only for the cost.
    fn set(&mut self, reader: &Reader<'_>, key: Vec<u8>, old: Option<Vec<u8>>, new: Option<Vec<u8>>) {
        if reader.meter.counts_writes() {
            let (old, new) = (old.map(|old| old.len()), new.as_ref().map(Vec::len));
            reader.meter.add(OperationCost::write(key.len(), old, new));
        }
        self.records.push((key, new));
    }

    /// The top of a tree after the changes.
    pub(crate) fn top(&self, reader: &Reader<'_>, tree: &Located) -> Result<Option<Top>> {
        match self.tops.get(&tree.prefix) {
            Some(top) => Ok(*top),
            None => reader.top(tree),
        }
    }

    /// Writes pages and tops.
    pub(crate) fn write(self, tx: &mut WriteTx<'_>) -> Result<()> {
        let mut trees = TREES.bucket_mut(tx.root_mut(), ALL)?;
        for (key, record) in self.records {
            match record {
                Some(record) => trees.put(&key, &record)?,
                None => trees.discard(&key)?,
            }
        }
        Ok(())
    }
}

/// An entry of a page: its level, and whether it is the first.
type Held<'p> = (u8, PageEntry<'p>, bool);

/// The entries of pages that are in order, in order.
fn entries<'p>(pages: impl Iterator<Item = &'p Arc<Page>>) -> impl Iterator<Item = Held<'p>> {
    pages.flat_map(|page| {
        let entries = page.entries().enumerate();
        entries.map(|(index, entry)| (page.level(), entry, index == 0))
    })
}
