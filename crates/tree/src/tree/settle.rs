//! From changed entries to changed pages, tops and the root hash.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use weald_engine::{Writable, WriteTx};
use weald_proof::{Page, UpdateError, update};

use super::pages::{TreePages, pieces, tail_key};
use super::reader::Reader;
use super::record::{Located, Top};
use super::{PAGES, Path, ROOTS, TAILS, TREES};
use crate::error::{Error, Result};
use crate::family::PREFIX_LEN;

/// The keys that a transaction may have changed, by the path of their tree.
pub(crate) type Touched = BTreeMap<Path, BTreeSet<Vec<u8>>>;

/// What follows from changed entries.
#[derive(Default)]
pub(crate) struct Settled {
    pages: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    tails: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    tops: BTreeMap<[u8; PREFIX_LEN], (Located, Option<Top>)>,
}

/// What becomes of the pages and tops in the state that `reader` sees when the touched entries are looked at anew: of all trees
/// concerned, from the innermost outwards, down to paths of `depth` segments. A key that was touched and did not
/// change does no harm, nor does one whose tree is gone.
pub(crate) fn settle(reader: &Reader<'_>, touched: &Touched, depth: usize) -> Result<Settled> {
    let mut settled = Settled::default();
    let mut rest: BTreeMap<(Reverse<usize>, Path), BTreeSet<Vec<u8>>> = touched
        .iter()
        .map(|(path, keys)| ((Reverse(path.len()), path.clone()), keys.clone()))
        .collect();
    while let Some(((_, mut path), keys)) = rest.pop_first() {
        let tree = match reader.locate(&path) {
            Ok(tree) => tree,
            Err(Error::NoSubtree { .. }) => continue,
            Err(error) => return Err(error),
        };
        settled.update(reader, tree, keys)?;
        if path.len() > depth
            && let Some(key) = path.pop()
        {
            rest.entry((Reverse(path.len()), path)).or_default().insert(key);
        }
    }
    Ok(settled)
}

impl Settled {
    fn update(&mut self, reader: &Reader<'_>, tree: Located, keys: BTreeSet<Vec<u8>>) -> Result<()> {
        let mut edits = BTreeMap::new();
        for key in keys {
            let element = reader.element(&tree, &key, |subtree| self.top(reader, subtree))?;
            edits.insert(key, element);
        }
        let pages = TreePages {
            reader: *reader,
            tree,
        };
        let changes = update(&pages, &edits).map_err(|error| match error {
            UpdateError::Storage(error) => error,
            UpdateError::Overflow => Error::Overflow,
            UpdateError::Damaged => Error::damaged("a tree lacks a page or has one too many"),
        })?;
        let tree = pages.tree;
        for ((level, key), page) in &changes.pages {
            self.set_page(reader, tree.page_key(*level, key), page.as_deref())?;
        }
        let top = match (changes.top_level, changes.top) {
            (Some(level), Some(node)) => Some(Top { level, node }),
            _ => None,
        };
        self.tops.insert(tree.prefix, (tree, top));
        Ok(())
    }

    fn set_page(&mut self, reader: &Reader<'_>, key: Vec<u8>, page: Option<&Page>) -> Result<()> {
        let mut pieces = page
            .map_or(Vec::new(), |page| pieces(&key, &page.encode()))
            .into_iter();
        let first = pieces.next();
        let mut number = 0;
        for piece in pieces {
            number += 1;
            self.tails.insert(tail_key(&key, number), Some(piece));
        }
        for gone in number..reader.tails_of(&key)? {
            self.tails.insert(tail_key(&key, gone + 1), None);
        }
        self.pages.insert(key, first);
        Ok(())
    }

    /// The top of a tree after the changes.
    pub(crate) fn top(&self, reader: &Reader<'_>, tree: &Located) -> Result<Option<Top>> {
        match self.tops.get(&tree.prefix) {
            Some((_, top)) => Ok(*top),
            None => reader.top(tree),
        }
    }

    /// Writes pages and tops.
    pub(crate) fn write(self, tx: &mut WriteTx<'_>) -> Result<()> {
        for (name, pieces) in [(PAGES, self.pages), (TAILS, self.tails)] {
            let mut bucket = TREES.bucket_mut(tx.root_mut(), name)?;
            for (key, piece) in pieces {
                match piece {
                    Some(piece) => bucket.put(&key, &piece)?,
                    None => bucket.discard(&key)?,
                }
            }
        }
        let mut roots = TREES.bucket_mut(tx.root_mut(), ROOTS)?;
        for (tree, top) in self.tops.into_values() {
            match top {
                Some(top) => roots.put(&tree.top_key(), &top.encode())?,
                None => roots.discard(&tree.top_key())?,
            }
        }
        Ok(())
    }
}
