//! Reading trees in any transaction.

use weald_engine::Bucket;
use weald_proof::{Element, NESTING_MAX};

use super::record::{Located, Slot, Stored, Top};
use super::{ENTRIES, PAGES, ROOTS, TAILS, TREES};
use crate::error::{Error, Result};

/// The buckets of a store as a transaction sees them.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'t> {
    pub(crate) entries: Bucket<'t>,
    pub(crate) roots: Bucket<'t>,
    pub(crate) pages: Bucket<'t>,
    pub(crate) tails: Bucket<'t>,
}

impl<'t> Reader<'t> {
    pub(crate) fn new(root: &Bucket<'t>) -> Result<Reader<'t>> {
        Ok(Reader {
            entries: TREES.bucket(root, ENTRIES)?,
            roots: TREES.bucket(root, ROOTS)?,
            pages: TREES.bucket(root, PAGES)?,
            tails: TREES.bucket(root, TAILS)?,
        })
    }

    /// The tree at `path`.
    pub(crate) fn locate<S: AsRef<[u8]>>(&self, path: &[S]) -> Result<Located> {
        check_path(path.len())?;
        let mut located = Located::new(Vec::new());
        for (depth, segment) in path.iter().enumerate() {
            match self.slot(&located, segment.as_ref())? {
                Some(Slot {
                    generation,
                    kind: Some(_),
                }) => located = located.child(segment.as_ref(), generation),
                _ => return Err(Error::NoSubtree { depth }),
            }
        }
        Ok(located)
    }

    pub(crate) fn slot(&self, tree: &Located, key: &[u8]) -> Result<Option<Slot>> {
        let slot = self.roots.get_ref(&tree.slot_key(key))?;
        slot.map(Slot::decode).transpose()
    }

    pub(crate) fn top(&self, tree: &Located) -> Result<Option<Top>> {
        self.roots.get_ref(&tree.top_key())?.map(Top::decode).transpose()
    }

    pub(crate) fn stored(&self, tree: &Located, key: &[u8]) -> Result<Option<Stored>> {
        let stored = self.entries.get_ref(&tree.key(key))?;
        stored.map(Stored::decode).transpose()
    }

    /// What `key` holds, given how to find the top of a subtree.
    pub(crate) fn element(
        &self,
        tree: &Located,
        key: &[u8],
        top: impl FnOnce(&Located) -> Result<Option<Top>>,
    ) -> Result<Option<Element>> {
        let stored = self.stored(tree, key)?;
        stored.map(|stored| complete(stored, tree, key, top)).transpose()
    }
}

/// The element that is stored, with what a subtree's depends on.
pub(crate) fn complete(
    stored: Stored,
    tree: &Located,
    key: &[u8],
    top: impl FnOnce(&Located) -> Result<Option<Top>>,
) -> Result<Element> {
    match stored {
        Stored::Element(element) => Ok(element),
        Stored::Subtree { kind, generation } => {
            let top = top(&tree.child(key, generation))?;
            Ok(kind.element(top.as_ref()))
        }
    }
}

pub(crate) fn check_path(len: usize) -> Result<()> {
    if len > NESTING_MAX {
        return Err(Error::PathTooLong {
            len,
            max: NESTING_MAX,
        });
    }
    Ok(())
}
