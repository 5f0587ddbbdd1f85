//! From changed entries to changed pages, tops and the root hash.

use std::cell::Cell;
use std::cmp::{Ordering, Reverse};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use weald_engine::{BucketId, Writable, WriteTx};
use weald_proof::{Hash, Page, PageChange, PageEntry, UpdateError, update};

use super::Path;
use super::cache::PageCache;
use super::pages::TreePages;
use super::planted::{Planted, is_planted};
use super::reader::Reader;
use super::record::{Located, Top};
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
    // In boxes: a map makes room for eleven of what it holds with the first.
    trees: BTreeMap<Path, Box<Updated>>,
    /// The tops of those trees afterwards.
    tops: BTreeMap<[u8; PREFIX_LEN], Box<Option<Top>>>,
}

/// A tree that was brought up to date.
struct Updated {
    tree: Arc<Located>,
    /// The top that it had, from which all else follows, and the one that it gets.
    was: Option<Top>,
    is: Option<Top>,
    /// Entries of pages to write or to delete.
    entries: Records,
    /// Whether they are staged.
    staged: bool,
    /// Pages that are no more, and those that were made, by level and topmost hash.
    superseded: Vec<(u8, Hash)>,
    made: Vec<(u8, Hash)>,
    cost: OperationCost,
}

/// A tree that is to be brought up to date: found by its path, or from a subtree of it.
#[derive(Default)]
struct Due {
    tree: Option<Arc<Located>>,
    /// Subtrees that changed.
    below: BTreeSet<Vec<u8>>,
    /// Hashes that it took to find it.
    hashes: u64,
}

/// What is to be settled.
#[derive(Clone, Copy)]
pub(crate) struct Work<'w> {
    pub(crate) touched: &'w Touched,
    pub(crate) places: &'w Places,
    /// Trees at paths that are shorter stay as they are.
    pub(crate) depth: usize,
}

/// What becomes of the pages and tops in the state that `reader` sees when the touched entries are looked at anew: of all trees
/// concerned, from the innermost outwards. A key that was touched and did not change does no harm, nor does one whose tree is gone.
pub(crate) fn settle(reader: &Reader<'_>, work: Work<'_>) -> Result<Settled> {
    let mut settled = Settled::default();
    settled.go_on(reader, work, |_| false)?;
    reader.meter.add(settled.cost());
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
    /// Settles what is left of the work, but for trees that are to be left out, and those that hold them.
    pub(crate) fn go_on(
        &mut self,
        reader: &Reader<'_>,
        work: Work<'_>,
        leave_out: impl Fn(&Located) -> bool,
    ) -> Result<()> {
        let mut dues: BTreeMap<(Reverse<usize>, Path), Due> = BTreeMap::new();
        for path in work.touched.keys().filter(|path| !self.trees.contains_key(*path)) {
            dues.insert((Reverse(path.len()), path.clone()), Due::default());
        }
        for (path, updated) in &self.trees {
            if updated.was != updated.is && path.len() > work.depth {
                self.due_above(&mut dues, path.clone(), &updated.tree);
            }
        }
        let mut left_out: Vec<Path> = Vec::new();
        while let Some(((_, path), mut due)) = dues.pop_first() {
            if left_out.iter().any(|other| other.starts_with(&path)) {
                continue;
            }
            let (cost, all) = (Cell::new(OperationCost::default()), reader.meter);
            let reader = Reader {
                meter: reader.meter.onto(&cost),
                ..*reader
            };
            reader.meter.hashes(due.hashes);
            let tree = match due
                .tree
                .take()
                .map_or_else(|| find(&reader, work.places, &path), Ok)
            {
                Ok(tree) => tree,
                Err(Error::NoSubtree { .. }) => {
                    all.add(cost.get());
                    continue;
                }
                Err(error) => return Err(error),
            };
            if leave_out(&tree) {
                left_out.push(path);
                continue;
            }
            let touched = work.touched.get(&path).into_iter().flatten();
            let mut updated = self.update(&reader, &tree, touched.chain(&due.below))?;
            updated.cost = cost.get();
            if updated.was != updated.is && path.len() > work.depth {
                self.due_above(&mut dues, path.clone(), &tree);
            }
            self.tops.insert(tree.prefix, Box::new(updated.is));
            self.trees.insert(path, Box::new(updated));
        }
        Ok(())
    }

    /// Notes that a tree has changed in the one that holds it, unless that is settled with it.
    fn due_above(&self, dues: &mut BTreeMap<(Reverse<usize>, Path), Due>, mut path: Path, tree: &Located) {
        let Some(key) = path.pop() else { return };
        if self.trees.contains_key(&path) {
            return;
        }
        let holder = dues.entry((Reverse(path.len()), path)).or_default();
        holder.below.insert(key);
        if holder.tree.is_none() {
            holder.hashes += 1;
            holder.tree = Some(Arc::new(tree.holder()));
        }
    }

    /// Forgets what does not follow from the state that `reader` sees: trees that have another top there than the one that they were settled from, and
    /// those that hold them. The top binds all that is in a tree. Returns those whose top is another.
    pub(crate) fn forget_changed(&mut self, reader: &Reader<'_>) -> Result<Vec<Arc<Located>>> {
        let mut changed: Vec<Path> = Vec::new();
        for (path, updated) in &self.trees {
            if reader.top(&updated.tree)? != updated.was && !is_planted(Planted::TakesOverChanged) {
                changed.push(path.clone());
            }
        }
        let trees: Vec<_> = changed.iter().map(|path| self.trees[path].tree.clone()).collect();
        let (tops, cache) = (&mut self.tops, reader.cache);
        self.trees.retain(|path, updated| {
            let stays = !changed.iter().any(|changed| changed.starts_with(path));
            if !stays {
                tops.remove(&updated.tree.prefix);
                updated.forget_made(cache);
            }
            stays
        });
        Ok(trees)
    }

    /// How many trees there are.
    pub(crate) fn len(&self) -> usize {
        self.trees.len()
    }

    /// What it took.
    pub(crate) fn cost(&self) -> OperationCost {
        let mut cost = OperationCost::default();
        self.trees.values().for_each(|updated| cost += updated.cost);
        cost
    }

    /// Brings one tree up to date.
    fn update<'k>(
        &self,
        reader: &Reader<'_>,
        tree: &Arc<Located>,
        keys: impl Iterator<Item = &'k Vec<u8>>,
    ) -> Result<Updated> {
        let mut edits: BTreeMap<&[u8], _> = BTreeMap::new();
        for key in keys {
            if let Entry::Vacant(edit) = edits.entry(key) {
                edit.insert(reader.element(tree, key, |subtree| self.top(reader, &subtree))?);
            }
        }
        let pages = TreePages::new(*reader, tree.clone())?;
        let changes = update(&pages, &edits).map_err(|error| match error {
            UpdateError::Storage(error) => error,
            UpdateError::Overflow => Error::Overflow,
            UpdateError::Damaged => Error::damaged("a tree lacks a page or has one too many"),
        })?;
        reader.meter.hashes(changes.hashes);
        let mut updated = Updated {
            tree: tree.clone(),
            was: pages.top,
            is: match (changes.top_level, changes.top) {
                (Some(level), Some(node)) => Some(Top { level, node }),
                _ => None,
            },
            entries: Records::default(),
            staged: false,
            superseded: Vec::new(),
            made: Vec::new(),
            cost: OperationCost::default(),
        };
        for page in changes.pages.iter().filter_map(PageChange::after) {
            reader.cache.insert(page);
            updated.made.push((page.level(), page.top().hash));
        }
        updated.entries.reserve(changes.pages.len());
        updated.set_entries(reader, &changes.pages);
        if updated.was != updated.is {
            let len = |top: Option<Top>| top.map(|_| Top::LEN);
            updated.count_write(reader, tree.top_key().len(), len(updated.was), len(updated.is));
        }
        Ok(updated)
    }

    /// The top of a tree after the changes.
    pub(crate) fn top(&self, reader: &Reader<'_>, tree: &Located) -> Result<Option<Top>> {
        match self.tops.get(&tree.prefix) {
            Some(top) => Ok(**top),
            None => reader.top(tree),
        }
    }

    /// Stages the entries of pages that are not staged. Those that were say nothing of the tops, which are still those that there were.
    pub(crate) fn stage<'db>(&mut self, tx: &mut impl Writable<'db>, all: BucketId) -> Result<()> {
        let mut trees = tx.bucket_mut_by_id(all);
        for updated in self.trees.values_mut().filter(|updated| !updated.staged) {
            for (key, record) in updated.entries.iter() {
                match record {
                    Some(record) => trees.put(key, record)?,
                    None => trees.discard(key)?,
                }
            }
            updated.staged = true;
        }
        Ok(())
    }

    /// Takes note that what was staged is not any longer.
    pub(crate) fn unstage(&mut self) {
        self.trees.values_mut().for_each(|updated| updated.staged = false);
    }

    /// Stages all that is not staged, the tops included.
    pub(crate) fn stage_all(&mut self, tx: &mut WriteTx<'_>, all: BucketId) -> Result<()> {
        self.stage(tx, all)?;
        let mut trees = tx.bucket_mut_by_id(all);
        for updated in self.trees.values().filter(|updated| updated.was != updated.is) {
            match updated.is {
                Some(top) => trees.put(&updated.tree.top_key(), &top.encode())?,
                None => trees.discard(&updated.tree.top_key())?,
            }
        }
        Ok(())
    }

    /// Makes room for pages that can still be asked for, once this is committed. Snapshots of before are not held up much: they put a page
    /// together again if need be.
    pub(crate) fn forget_superseded(&self, cache: &PageCache) {
        for (level, hash) in self.trees.values().flat_map(|updated| &updated.superseded) {
            cache.remove(*level, hash);
        }
    }

    /// The same, where this is not committed.
    pub(crate) fn forget_made(&self, cache: &PageCache) {
        self.trees.values().for_each(|updated| updated.forget_made(cache));
    }
}

impl Updated {
    fn forget_made(&self, cache: &PageCache) {
        for (level, hash) in &self.made {
            cache.remove(*level, hash);
        }
    }

    /// Notes which entries of pages are to be written.
    fn set_entries(&mut self, reader: &Reader<'_>, pages: &[PageChange]) {
        // Most pages only had entries changed; the others, between which entries may have moved, are compared together.
        let (mut gone, mut come) = (Entries::default(), Entries::default());
        for page in pages {
            self.superseded
                .extend(page.before().map(|old| (old.level(), old.top().hash)));
            let (old, new) = match page {
                PageChange::Replaced { before, after, .. } => (before, after),
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
                let (first, last) = page.shared();
                gone.push(old, first..old.len() - last);
                come.push(new, first..new.len() - last);
                continue;
            };
            for (old, new) in pairs {
                let (level, first) = page.place();
                let begins = new.key == first;
                self.set_entry(reader, level, new.key, Some((old, begins)), Some((new, begins)));
            }
        }
        self.set_moved(reader, gone, come);
    }

    /// The same of pages between which entries may have moved. Both lists are in order, so one pass tells.
    fn set_moved(&mut self, reader: &Reader<'_>, mut before: Entries<'_>, mut after: Entries<'_>) {
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
                self.set_entry(reader, at.0, at.1, old, new);
            }
        }
    }

    /// Notes an entry of a page that becomes another. What it was counts only for the cost.
    fn set_entry(
        &mut self,
        reader: &Reader<'_>,
        level: u8,
        key: &[u8],
        old: Option<(PageEntry<'_>, bool)>,
        new: Option<(PageEntry<'_>, bool)>,
    ) {
        let (key, new) = self.entries.push(
            |out| self.tree.put_node_key(level, key, out),
            new.map(|(entry, begins)| move |out: &mut Vec<u8>| entry.put_record(level, begins, out)),
        );
        if reader.meter.counts_writes() {
            let old = old.map(|(entry, begins)| entry.record(level, begins).len());
            self.count_write(reader, key, old, new);
        }
    }

    /// Counts the cost of a record that becomes another.
    fn count_write(&self, reader: &Reader<'_>, key: usize, old: Option<usize>, new: Option<usize>) {
        if reader.meter.counts_writes() {
            reader.meter.add(OperationCost::write(key, old, new));
        }
    }
}

/// Keys and what they are set to, which is nothing for those that are deleted.
#[derive(Default)]
struct Records {
    /// One after the other: an allocation for each would take longer than to write them.
    bytes: Vec<u8>,
    /// Where each key and its record end there.
    ends: Vec<(usize, Option<usize>)>,
}

impl Records {
    /// Makes room for so many, of keys and records of the usual length.
    fn reserve(&mut self, records: usize) {
        self.bytes.reserve(records * 112);
        self.ends.reserve(records);
    }

    /// Adds a key and its record, as they are written; returns their lengths.
    fn push(
        &mut self,
        key: impl FnOnce(&mut Vec<u8>),
        record: Option<impl FnOnce(&mut Vec<u8>)>,
    ) -> (usize, Option<usize>) {
        let start = self.bytes.len();
        key(&mut self.bytes);
        let key_end = self.bytes.len();
        let end = record.map(|record| {
            record(&mut self.bytes);
            self.bytes.len()
        });
        self.ends.push((key_end, end));
        (key_end - start, end.map(|end| end - key_end))
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        let mut start = 0;
        self.ends.iter().map(move |&(key_end, end)| {
            let key = &self.bytes[start..key_end];
            start = end.unwrap_or(key_end);
            (key, end.map(|end| &self.bytes[key_end..end]))
        })
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
