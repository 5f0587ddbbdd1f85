//! Reading trees in any transaction.

use std::sync::OnceLock;

use weald_engine::{Bucket, Opened};
use weald_proof::{Element, NESTING_MAX};

use super::cache::PageCache;
use super::meter::Meter;
use super::record::{Located, Slot, Stored, Top};
use super::{ALL, TREES};
use crate::error::{Error, Result};

/// A store as a transaction sees it.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'t> {
    pub(crate) trees: Bucket<'t>,
    pub(crate) cache: &'t PageCache,
    pub(crate) meter: Meter<'t>,
}

impl<'t> Reader<'t> {
    /// Where `all` has the bucket as it was found before in the same state, it need not be searched.
    pub(crate) fn new(
        root: &Bucket<'t>,
        all: &OnceLock<Opened>,
        cache: &'t PageCache,
        meter: Meter<'t>,
    ) -> Result<Reader<'t>> {
        let trees = match all.get().and_then(|opened| root.reopen(opened)) {
            Some(trees) => trees,
            None => {
                let trees = TREES.bucket(root, ALL)?;
                all.get_or_init(|| trees.opened());
                trees
            }
        };
        Ok(Reader { trees, cache, meter })
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
                }) => located = self.child(&located, segment.as_ref(), generation),
                _ => return Err(Error::NoSubtree { depth }),
            }
        }
        Ok(located)
    }

    /// The tree under a key of another.
    pub(crate) fn child(&self, tree: &Located, key: &[u8], generation: u64) -> Located {
        self.meter.hashes(1);
        tree.child(key, generation)
    }

    pub(crate) fn slot(&self, tree: &Located, key: &[u8]) -> Result<Option<Slot>> {
        self.meter.seek();
        let slot = self.trees.get_ref(&tree.slot_key(key))?;
        slot.map(Slot::decode).transpose()
    }

    pub(crate) fn top(&self, tree: &Located) -> Result<Option<Top>> {
        self.meter.seek();
        self.trees.get_ref(&tree.top_key())?.map(Top::decode).transpose()
    }

    pub(crate) fn stored(&self, tree: &Located, key: &[u8]) -> Result<Option<Stored>> {
        self.stored_bytes(tree, key)?.map(Stored::decode).transpose()
    }

    /// The same as it is stored.
    pub(crate) fn stored_bytes(&self, tree: &Located, key: &[u8]) -> Result<Option<&'t [u8]>> {
        self.meter.seek();
        Ok(self.trees.get_ref(&tree.key(key))?)
    }

    /// What `key` holds, given how to find the top of a subtree.
    pub(crate) fn element(
        &self,
        tree: &Located,
        key: &[u8],
        top: impl FnOnce(Located) -> Result<Option<Top>>,
    ) -> Result<Option<Element>> {
        let stored = self.stored(tree, key)?;
        stored
            .map(|stored| self.complete(stored, tree, key, top))
            .transpose()
    }

    /// The element that is stored, with what a subtree's depends on.
    pub(crate) fn complete(
        &self,
        stored: Stored,
        tree: &Located,
        key: &[u8],
        top: impl FnOnce(Located) -> Result<Option<Top>>,
    ) -> Result<Element> {
        match stored {
            Stored::Element(element) => Ok(element),
            Stored::Subtree { kind, generation } => {
                let top = top(self.child(tree, key, generation))?;
                // The root hash over the topmost node.
                self.meter.hashes(1);
                Ok(kind.element(top.as_ref()))
            }
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
