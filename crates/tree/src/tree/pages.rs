//! Merkle pages in the engine, as updates and proofs read them.
//!
//! What is stored are entries, each by itself: the tree of hashes changes in one entry on each level, and writing whole pages would cost
//! twenty times the bytes. A page is what lies between two entries that are marked as the first of theirs. It is put together, hashed
//! and compared with what the page above says of it; then it is kept in the cache.

use std::cell::RefCell;
use std::ops::Bound;
use std::sync::Arc;

use weald_engine::Iter;
use weald_proof::{Element, Node, PAGE_LEN_MAX, Page, PageEntry, Pages};

use super::planted::{Planted, is_planted};
use super::reader::Reader;
use super::record::{Located, Stored, Top};
use crate::error::{Error, Result};

/// The pages of one tree in one state of the store.
pub struct TreePages<'t> {
    pub(crate) reader: Reader<'t>,
    pub(crate) tree: Arc<Located>,
    pub(crate) top: Option<Top>,
    below: Option<&'t Below>,
    ahead: RefCell<Ahead<'t>>,
}

/// The entries after the value that was looked at last: who proves a range looks at one after the other, and to search each takes longer than to go on.
struct Ahead<'t> {
    entries: Option<Box<Iter<'t>>>,
    /// Values that were searched since the last time that it was tried, and how many it takes to try it: ever more where it was in vain.
    searched: u32,
    patience: u32,
}

impl Default for Ahead<'_> {
    fn default() -> Self {
        Ahead {
            entries: None,
            searched: 0,
            // So not for a single key, with or without its neighbour.
            patience: 2,
        }
    }
}

/// The subtree that was looked at last, which is the one that a proof goes on to as a rule.
#[derive(Default)]
pub(crate) struct Below(RefCell<Option<(Arc<Located>, Option<Top>)>>);

/// A stored entry of a page, and whether it is the first one.
type Record<'t> = (PageEntry<'t>, bool);

impl<'t> TreePages<'t> {
    pub(crate) fn new(reader: Reader<'t>, tree: Arc<Located>) -> Result<TreePages<'t>> {
        let top = reader.top(&tree)?;
        Ok(TreePages {
            reader,
            tree,
            top,
            below: None,
            ahead: RefCell::default(),
        })
    }

    /// As [`find`](Self::find), where all trees are of one state: the tree need not be looked for if its element was looked at last.
    pub(crate) fn find_below(
        reader: Reader<'t>,
        path: &[Vec<u8>],
        below: &'t Below,
    ) -> Result<Option<TreePages<'t>>> {
        let known = below.0.take();
        let is_it = |tree: &Located| tree.is_at(path) || is_planted(Planted::TakesLastSubtree);
        let pages = match known.filter(|(tree, _)| !path.is_empty() && is_it(tree)) {
            Some((tree, top)) => Some(TreePages {
                reader,
                tree,
                top,
                below: None,
                ahead: RefCell::default(),
            }),
            None => TreePages::find(reader, path)?,
        };
        Ok(pages.map(|pages| TreePages {
            below: Some(below),
            ..pages
        }))
    }

    /// The pages of the tree at `path`, if there is one.
    pub(crate) fn find<S: AsRef<[u8]>>(reader: Reader<'t>, path: &[S]) -> Result<Option<TreePages<'t>>> {
        match reader.locate(path) {
            Ok(tree) => TreePages::new(reader, Arc::new(tree)).map(Some),
            Err(Error::NoSubtree { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The stored entries of a level, from the key on or from after it, or all.
    fn records(&self, level: u8, start: Bound<&[u8]>, end: Option<&[u8]>) -> Iter<'t> {
        let start = match start {
            Bound::Unbounded => Bound::Included(self.tree.node_key(level, b"")),
            bound => bound.map(|key| self.tree.node_key(level, key)),
        };
        let end = end.map_or_else(
            || self.tree.level_end(level),
            |end| self.tree.node_key(level, end),
        );
        self.reader.trees.range((start, Bound::Excluded(end)))
    }

    fn record(&self, level: u8, (key, record): (&'t [u8], &'t [u8])) -> Result<Record<'t>> {
        let key = &key[self.tree.node_key_len()..];
        PageEntry::of_record(level, key, record).map_err(|_| damaged())
    }

    /// The page that begins with the first of those records that begins one; with `key` that must be the first of all.
    fn read(&self, level: u8, records: Iter<'t>, key: Option<&[u8]>) -> Result<Option<Arc<Page>>> {
        let mut entries: Vec<PageEntry<'_>> = Vec::with_capacity(32);
        for pair in records {
            let (entry, begins) = self.record(level, pair?)?;
            if entries.is_empty() {
                if key.is_some_and(|key| key != entry.key) {
                    return Ok(None);
                }
                if begins {
                    entries.push(entry);
                } else if key.is_some() {
                    return Ok(None);
                }
                continue;
            }
            if begins {
                break;
            }
            if entries.len() == PAGE_LEN_MAX {
                return Err(damaged());
            }
            entries.push(entry);
        }
        if entries.is_empty() {
            return Ok(None);
        }
        let page = Page::from_entries(level, entries).ok_or_else(damaged)?;
        Ok(Some(Arc::new(page)))
    }

    /// What is stored under `key`.
    fn stored_bytes(&self, key: &[u8]) -> Result<Option<&'t [u8]>> {
        let mut ahead = self.ahead.borrow_mut();
        if let Some(entries) = &mut ahead.entries {
            if let Some((next, stored)) = entries.next().transpose()?
                && (Located::entry_of(next) == key || is_planted(Planted::TakesNextValue))
            {
                self.reader.meter.seek();
                return Ok(Some(stored));
            }
            ahead.entries = None;
            ahead.patience = ahead.patience.saturating_mul(2);
        }
        let stored = self.reader.stored_bytes(&self.tree, key)?;
        ahead.searched += 1;
        if ahead.searched >= ahead.patience {
            ahead.searched = 0;
            let after = (
                Bound::Excluded(self.tree.key(key)),
                Bound::Excluded(self.tree.entries_end()),
            );
            ahead.entries = Some(Box::new(self.reader.trees.range(after)));
        }
        Ok(stored)
    }

    /// The page with that topmost node from the cache, or else what `read` gives, which must be that page.
    fn known(
        &self,
        level: u8,
        node: &Node,
        read: impl FnOnce() -> Result<Option<Arc<Page>>>,
    ) -> Result<Option<Arc<Page>>> {
        self.reader.meter.seek();
        if let Some(page) = self.reader.cache.get(level, &node.hash) {
            return Ok(Some(page).filter(|page| page.top() == *node));
        }
        let Some(page) = read()? else {
            return Ok(None);
        };
        if page.top() != *node {
            return Err(damaged());
        }
        self.reader.cache.insert(&page);
        Ok(Some(page))
    }
}

fn damaged() -> Error {
    Error::damaged("a Merkle page is not what the one above says")
}

impl Pages for TreePages<'_> {
    type Error = Error;

    fn top_level(&self) -> Result<Option<u8>> {
        Ok(self.top.map(|top| top.level))
    }

    fn topmost(&self) -> Result<Option<Arc<Page>>> {
        let Some(top) = &self.top else {
            return Ok(None);
        };
        let read = || self.read(top.level, self.records(top.level, Bound::Unbounded, None), None);
        self.known(top.level, &top.node, read)?
            .ok_or_else(damaged)
            .map(Some)
    }

    fn child(&self, level: u8, key: &[u8], node: &Node) -> Result<Option<Arc<Page>>> {
        let read = || self.read(level, self.records(level, Bound::Included(key), None), Some(key));
        let page = self.known(level, node, read)?;
        Ok(page.filter(|page| page.first_key() == key))
    }

    fn page(&self, level: u8, key: &[u8]) -> Result<Option<Arc<Page>>> {
        self.reader.meter.seek();
        self.read(level, self.records(level, Bound::Included(key), None), Some(key))
    }

    fn before(&self, level: u8, key: Option<&[u8]>) -> Result<Option<Arc<Page>>> {
        let mut records = self.records(level, Bound::Unbounded, key);
        while let Some(pair) = records.next_back() {
            let (entry, begins) = self.record(level, pair?)?;
            if begins {
                return self.page(level, entry.key);
            }
        }
        Ok(None)
    }

    fn after(&self, level: u8, key: Option<&[u8]>) -> Result<Option<Arc<Page>>> {
        self.reader.meter.seek();
        let start = key.map_or(Bound::Unbounded, Bound::Excluded);
        self.read(level, self.records(level, start, None), None)
    }

    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.look_at_value(key, <[u8]>::to_vec)
    }

    fn look_at_value<T>(&self, key: &[u8], look: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        let Some(stored) = self.stored_bytes(key)? else {
            return Ok(None);
        };
        if Element::is_item(stored) {
            return Ok(Some(look(stored)));
        }
        let element = self
            .reader
            .complete(Stored::decode(stored)?, &self.tree, key, |subtree| {
                let top = self.reader.top(&subtree)?;
                if let Some(below) = self.below {
                    below.0.replace(Some((Arc::new(subtree), top)));
                }
                Ok(top)
            })?;
        Ok(Some(look(&element.encode())))
    }
}
