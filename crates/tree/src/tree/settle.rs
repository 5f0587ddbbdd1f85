//! From changed entries to changed pages, tops and the root hash.
//!
//! While another transaction commits, one that has to wait for it settles its trees ahead, on the state that it has read. Once it is its
//! turn it takes over what came out for every tree that nobody changed since, and settles the others: so transactions in different
//! subtrees do most of their work side by side. That a tree did not change is told by its top, which binds all that is in it.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use weald_engine::{Writable, WriteTx};
use weald_proof::{Hash, Page, PageChange, PageEntry, UpdateError, update};

use super::cache::PageCache;
use super::pages::TreePages;
use super::reader::Reader;
use super::record::{Located, Top};
use super::{ALL, Path, TREES};
use crate::cost::OperationCost;
use crate::error::{Error, Result};
use crate::family::PREFIX_LEN;

/// The keys that a transaction may have changed, by the path of their tree.
pub(crate) type Touched = BTreeMap<Path, BTreeSet<Vec<u8>>>;

/// Trees whose place is known in the state that is settled.
pub(crate) type Places = BTreeMap<Path, Arc<Located>>;

/// What follows from changed entries.
#[derive(Default)]
pub(crate) struct Settled {
    trees: BTreeMap<Path, Brought>,
    tops: BTreeMap<[u8; PREFIX_LEN], Option<Top>>,
}

/// A tree that was brought up to date.
struct Brought {
    prefix: [u8; PREFIX_LEN],
    /// Which keys were looked at.
    keys: BTreeSet<Vec<u8>>,
    before: Option<Top>,
    after: Option<Top>,
    /// Records to write, or to delete where there is `None`.
    records: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Pages that are no more, by level and topmost hash.
    superseded: Vec<(u8, Hash)>,
}

/// A tree that is to be brought up to date: found by its path, or from a subtree of it.
#[derive(Default)]
struct Due {
    tree: Option<Arc<Located>>,
    keys: BTreeSet<Vec<u8>>,
    /// Whether a subtree of it came out otherwise than it did ahead.
    is_other: bool,
}

/// What becomes of the pages and tops in the state that `reader` sees when the touched entries are looked at anew: of all trees
/// concerned, from the innermost outwards, down to paths of `depth` segments. A key that was touched and did not
/// change does no harm, nor does one whose tree is gone. What was settled `ahead` is taken over where it is so still.
pub(crate) fn settle(
    reader: &Reader<'_>,
    touched: Touched,
    places: &Places,
    depth: usize,
    mut ahead: Settled,
) -> Result<Settled> {
    let mut settled = Settled::default();
    let mut rest: BTreeMap<(Reverse<usize>, Path), Due> = touched
        .into_iter()
        .map(|(path, keys)| {
            let due = Due {
                keys,
                ..Due::default()
            };
            ((Reverse(path.len()), path), due)
        })
        .collect();
    while let Some(((_, mut path), due)) = rest.pop_first() {
        let tree = match due.tree.map_or_else(|| find(reader, places, &path), Ok) {
            Ok(tree) => tree,
            Err(Error::NoSubtree { .. }) => continue,
            Err(error) => return Err(error),
        };
        let pages = TreePages::new(*reader, tree.clone())?;
        let same = |brought: &Brought| {
            !due.is_other
                && brought.prefix == tree.prefix
                && brought.before == pages.top
                && brought.keys == due.keys
        };
        let taken = ahead.trees.remove(&path).filter(same);
        let is_other = taken.is_none();
        let brought = match taken {
            Some(brought) => brought,
            None => settled.bring(reader, &pages, due.keys)?,
        };
        let changed = brought.after != brought.before;
        settled.tops.insert(tree.prefix, brought.after);
        settled.trees.insert(path.clone(), brought);
        if changed
            && path.len() > depth
            && let Some(key) = path.pop()
        {
            let holder = rest.entry((Reverse(path.len()), path)).or_default();
            holder.keys.insert(key);
            holder.is_other |= is_other;
            if holder.tree.is_none() {
                reader.meter.hashes(1);
                holder.tree = Some(Arc::new(tree.holder()));
            }
        }
    }
    Ok(settled)
}

/// The tree at `path`, at the same cost whether its place is known or not.
fn find(reader: &Reader<'_>, places: &Places, path: &Path) -> Result<Arc<Located>> {
    match places.get(path) {
        Some(tree) => {
            reader.meter.seeks(path.len() as u64);
            reader.meter.hashes(path.len() as u64);
            Ok(tree.clone())
        }
        None => reader.locate(path).map(Arc::new),
    }
}

impl Settled {
    /// Brings one tree up to date.
    fn bring(&self, reader: &Reader<'_>, pages: &TreePages<'_>, keys: BTreeSet<Vec<u8>>) -> Result<Brought> {
        let tree = &pages.tree;
        let mut edits = BTreeMap::new();
        for key in &keys {
            let element = reader.element(tree, key, |subtree| self.top(reader, subtree))?;
            edits.insert(key.clone(), element);
        }
        let changes = update(pages, &edits).map_err(|error| match error {
            UpdateError::Storage(error) => error,
            UpdateError::Overflow => Error::Overflow,
            UpdateError::Damaged => Error::damaged("a tree lacks a page or has one too many"),
        })?;
        reader.meter.hashes(changes.hashes);
        for page in changes.pages.iter().filter_map(PageChange::after) {
            reader.cache.insert(page);
        }
        let after = match (changes.top_level, changes.top) {
            (Some(level), Some(node)) => Some(Top { level, node }),
            _ => None,
        };
        let mut brought = Brought {
            prefix: tree.prefix,
            keys,
            before: pages.top,
            after,
            records: Vec::new(),
            superseded: Vec::new(),
        };
        brought.set_entries(reader, tree, &changes.pages);
        if brought.after != brought.before {
            let encode = |top: Top| top.encode();
            let (before, after) = (brought.before.map(encode), after.map(encode));
            brought.set(reader, tree.top_key(), before, after);
        }
        Ok(brought)
    }

    /// The top of a tree after the changes.
    pub(crate) fn top(&self, reader: &Reader<'_>, tree: &Located) -> Result<Option<Top>> {
        match self.tops.get(&tree.prefix) {
            Some(top) => Ok(*top),
            None => reader.top(tree),
        }
    }

    /// Writes pages and tops.
    pub(crate) fn write(&self, tx: &mut WriteTx<'_>) -> Result<()> {
        let mut trees = TREES.bucket_mut(tx.root_mut(), ALL)?;
        for (key, record) in self.trees.values().flat_map(|tree| &tree.records) {
            match record {
                Some(record) => trees.put(key, record)?,
                None => trees.discard(key)?,
            }
        }
        Ok(())
    }

    /// Makes room for pages that can still be asked for, once this is committed. Snapshots of before are not held up much: they put a page
    /// together again if need be.
    pub(crate) fn forget_superseded(&self, cache: &PageCache) {
        for (level, hash) in self.trees.values().flat_map(|tree| &tree.superseded) {
            cache.remove(*level, hash);
        }
    }
}

impl Brought {
    /// Notes which entries of pages are to be written.
    fn set_entries(&mut self, reader: &Reader<'_>, tree: &Located, pages: &[PageChange]) {
        // Most pages only had entries changed; the others, between which entries may have moved, are compared together.
        let (mut gone, mut come) = (Entries::default(), Entries::default());
        for page in pages {
            self.superseded
                .extend(page.before().map(|old| (old.level(), old.top().hash)));
            let (old, new) = match page {
                PageChange::Replaced { before, after } => (before, after),
                PageChange::New(page) => {
                    come.push(page, 0..page.len());
                    continue;
                }
                PageChange::Gone(page) => {
                    gone.push(page, 0..page.len());
                    continue;
                }
            };
            let Some(pairs) = new.changed_since(old) else {
                // What both have at their ends has not moved.
                let (first, last) = new.shared_with(old);
                gone.push(old, first..old.len() - last);
                come.push(new, first..new.len() - last);
                continue;
            };
            for (old, new) in pairs {
                let (level, first) = page.place();
                let begins = new.key == first;
                self.set_entry(
                    reader,
                    tree,
                    level,
                    new.key,
                    Some((old, begins)),
                    Some((new, begins)),
                );
            }
        }
        self.set_moved(reader, tree, gone, come);
    }

    /// The same of pages between which entries may have moved. Both lists are in order, so one pass tells.
    fn set_moved(
        &mut self,
        reader: &Reader<'_>,
        tree: &Located,
        mut before: Entries<'_>,
        mut after: Entries<'_>,
    ) {
        loop {
            let (at, order) = match (before.place(), after.place()) {
                (None, None) => break,
                (Some(old), None) => (old, Ordering::Less),
                (None, Some(new)) => (new, Ordering::Greater),
                (Some(old), Some(new)) => (old.min(new), old.cmp(&new)),
            };
            let old = if order.is_le() { before.next() } else { None };
            let new = if order.is_ge() { after.next() } else { None };
            if old != new {
                self.set_entry(reader, tree, at.0, at.1, old, new);
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
}

/// Entries of pages that are in order, in order.
#[derive(Default)]
struct Entries<'p> {
    /// Pages, and which of their entries.
    parts: Vec<(&'p Page, Range<usize>)>,
    /// The one that the next entry is of.
    part: usize,
}

impl<'p> Entries<'p> {
    fn push(&mut self, page: &'p Page, entries: Range<usize>) {
        if !entries.is_empty() {
            self.parts.push((page, entries));
        }
    }

    /// Level and key of the next one.
    fn place(&self) -> Option<(u8, &'p [u8])> {
        let (page, entries) = self.parts.get(self.part)?;
        Some((page.level(), page.key(entries.start)))
    }

    /// The next one, and whether it is the first of its page.
    fn next(&mut self) -> Option<(PageEntry<'p>, bool)> {
        let (page, entries) = self.parts.get_mut(self.part)?;
        let index = entries.next()?;
        if entries.start == entries.end {
            self.part += 1;
        }
        Some((page.entry(index), index == 0))
    }
}
