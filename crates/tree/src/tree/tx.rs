//! Transactions over trees.

use std::sync::{Arc, OnceLock};

use weald_engine::{Committed, Opened, OptimisticTx, Readable, SyncPolicy, Writable};
use weald_proof::{Answer, Element, Hash, Query, Reference};

use super::answer::Ground;
use super::cache::PageCache;
use super::meter::Meter;
use super::prepared::Prepared;
use super::reader::{Reader, check_path};
use super::record::{Located, Slot, Stored, Top, TreeKind};
use super::settle::{Places, Touched, Work, settle};
use super::turns::Turns;
use super::{ALL, DROPPED, Path, TREES};
use crate::cost::OperationCost;
use crate::error::{Error, Result};

/// A transaction over the trees of a store: a snapshot with its own writes on top. It is committed as if it had run alone, or
/// refused with [`Error::Conflict`].
///
/// It conflicts with commits that changed what it read, or created or dropped a subtree that it wrote to. Writing the same key
/// without having read it is no conflict, nor is writing to the same tree. Reading an element that is a subtree, or the
/// [root](Self::root), reads all that is in it.
#[must_use = "a transaction that is dropped is rolled back"]
pub struct TreeTx<'s> {
    /// `None` only when it is over.
    tx: Option<OptimisticTx<'s>>,
    touched: Touched,
    places: Places,
    /// The one of them that was asked for last.
    last: Option<(Path, Arc<Located>)>,
    /// The bucket of all trees, once it was found.
    all: OnceLock<Opened>,
    cache: &'s PageCache,
    turns: &'s Turns,
    /// The longest key that the engine takes.
    key_max: usize,
}

/// A state of a [`TreeTx`] to go back to.
#[derive(Clone, Copy, Debug)]
pub struct TreeSavepoint(weald_engine::Savepoint);

impl<'s> TreeTx<'s> {
    pub(crate) fn new(
        tx: OptimisticTx<'s>,
        cache: &'s PageCache,
        turns: &'s Turns,
        key_max: usize,
    ) -> TreeTx<'s> {
        TreeTx {
            tx: Some(tx),
            touched: Touched::new(),
            places: Places::new(),
            last: None,
            all: OnceLock::new(),
            cache,
            turns,
            key_max,
        }
    }

    /// What a key of the tree at `path` holds.
    pub fn get(&self, path: &[&[u8]], key: &[u8]) -> Result<Option<Element>> {
        self.element(Meter::OFF, path, key)
    }

    /// What a key holds or, if that is a reference, what it leads to.
    pub fn follow(&self, path: &[&[u8]], key: &[u8]) -> Result<Option<Element>> {
        self.followed(Meter::OFF, path, key)
    }

    /// The answer to a query. What is counted or left out counts as read too.
    pub fn query(&self, query: &Query) -> Result<Answer> {
        self.answer(Meter::OFF, query)
    }

    /// The root hash that a commit would give if there were no others.
    pub fn root(&self) -> Result<Hash> {
        self.root_hash(Meter::OFF)
    }

    /// Sets a key to an item, a sum item or a reference. Subtrees are [created](Self::create_tree), and not replaced by
    /// anything before they are [dropped](Self::drop_tree).
    pub fn put(&mut self, path: &[&[u8]], key: &[u8], element: Element) -> Result<()> {
        self.put_as(Meter::OFF, path, key, element)
    }

    pub(crate) fn put_as(
        &mut self,
        meter: Meter<'_>,
        path: &[&[u8]],
        key: &[u8],
        element: Element,
    ) -> Result<()> {
        check_element(&element)?;
        let tree = self.locate(meter, path)?;
        self.refuse_subtree(meter, &tree, key)?;
        self.set(meter, &tree, key, Some(&Stored::Element(element)))
    }

    /// Deletes a key that is no subtree; whether it was there.
    pub fn delete(&mut self, path: &[&[u8]], key: &[u8]) -> Result<bool> {
        self.delete_as(Meter::OFF, path, key)
    }

    pub(crate) fn delete_as(&mut self, meter: Meter<'_>, path: &[&[u8]], key: &[u8]) -> Result<bool> {
        let tree = self.locate(meter, path)?;
        self.refuse_subtree(meter, &tree, key)?;
        let present = self.reader(meter)?.stored(&tree, key)?.is_some();
        if present {
            self.set(meter, &tree, key, None)?;
        }
        Ok(present)
    }

    /// Creates an empty subtree under a key; whether it did, or there was one of that kind, which stays as it is. A key that holds
    /// something else is not touched.
    pub fn create_tree(&mut self, path: &[&[u8]], key: &[u8], kind: TreeKind) -> Result<bool> {
        self.create_tree_as(Meter::OFF, path, key, kind)
    }

    pub(crate) fn create_tree_as(
        &mut self,
        meter: Meter<'_>,
        path: &[&[u8]],
        key: &[u8],
        kind: TreeKind,
    ) -> Result<bool> {
        check_path(path.len() + 1)?;
        let tree = self.locate(meter, path)?;
        let reader = self.reader(meter)?;
        let generation = match reader.slot(&tree, key)? {
            Some(slot) if slot.kind == Some(kind) => return Ok(false),
            Some(slot) if slot.kind.is_some() => {
                return Err(Error::Occupied {
                    what: "a subtree of another kind",
                });
            }
            Some(slot) => slot.generation,
            None => 0,
        };
        if reader.stored(&tree, key)?.is_some() {
            return Err(Error::Occupied { what: "an element" });
        }
        let slot = Slot {
            generation,
            kind: Some(kind),
        };
        self.put_slot(meter, &tree, key, slot)?;
        self.set(meter, &tree, key, Some(&Stored::Subtree { kind, generation }))?;
        Ok(true)
    }

    /// Drops the subtree under a key, with all that is in it; whether there was one. It takes the same time however much
    /// that is, and nothing of it comes back, whatever is created there later; the space is given back by
    /// [`TreeStore::reclaim`](crate::TreeStore::reclaim).
    pub fn drop_tree(&mut self, path: &[&[u8]], key: &[u8]) -> Result<bool> {
        self.drop_tree_as(Meter::OFF, path, key)
    }

    pub(crate) fn drop_tree_as(&mut self, meter: Meter<'_>, path: &[&[u8]], key: &[u8]) -> Result<bool> {
        let tree = self.locate(meter, path)?;
        let reader = self.reader(meter)?;
        let generation = match reader.slot(&tree, key)? {
            Some(slot) if slot.kind.is_some() => slot.generation,
            _ => return Ok(false),
        };
        let next = generation.checked_add(1).ok_or(Error::Overflow)?;
        let slot = Slot {
            generation: next,
            kind: None,
        };
        let dropped = reader.child(&tree, key, generation);
        let path = dropped.encode();
        meter.add(OperationCost::write(dropped.prefix.len(), None, Some(path.len())));
        self.put_slot(meter, &tree, key, slot)?;
        TREES
            .bucket_mut(self.tx_mut()?.root_mut(), DROPPED)?
            .put(&dropped.prefix, &path)?;
        self.set(meter, &tree, key, None)?;
        self.forget_places();
        Ok(true)
    }

    /// A state to go back to.
    pub fn savepoint(&mut self) -> Result<TreeSavepoint> {
        Ok(TreeSavepoint(self.tx_mut()?.savepoint()))
    }

    /// Forgets what was written since `savepoint`, which stays good. What was read since still counts as read.
    pub fn rollback_to(&mut self, savepoint: &TreeSavepoint) -> Result<()> {
        self.tx_mut()?.rollback_to(&savepoint.0)?;
        // What was touched since is looked at in vain, which does no harm; but trees may be gone, or back.
        self.forget_places();
        Ok(())
    }

    /// Commits with the durability that the database was opened with: entries, pages and root hash together.
    pub fn commit(self) -> Result<Committed> {
        self.commit_as(Meter::OFF, None)
    }

    /// Commits with a durability of its own.
    pub fn commit_with(self, policy: SyncPolicy) -> Result<Committed> {
        self.commit_as(Meter::OFF, Some(policy))
    }

    pub(crate) fn commit_as(mut self, meter: Meter<'_>, policy: Option<SyncPolicy>) -> Result<Committed> {
        if self.touched.is_empty() {
            return Ok(self.tx.take().ok_or(Error::Finished)?.commit()?);
        }
        self.prepare(meter)?.commit(meter, policy)
    }

    /// Does what can be done of the commit before it is its turn.
    pub(crate) fn prepare(mut self, meter: Meter<'_>) -> Result<Prepared<'s>> {
        let tx = self.tx.take().ok_or(Error::Finished)?;
        let touched = std::mem::take(&mut self.touched);
        let places = std::mem::take(&mut self.places);
        let all = std::mem::take(&mut self.all);
        Prepared::new(tx, touched, places, all, self.cache, self.turns, meter)
    }

    /// Forgets all that was written.
    pub fn rollback(mut self) {
        self.tx = None;
    }

    /// What the commit would do in the state that the transaction began with.
    pub(crate) fn settle_as_it_is(&self, meter: Meter<'_>) -> Result<()> {
        let reader = Reader::new(&self.tx()?.untracked(), &self.all, self.cache, meter)?;
        let work = Work {
            touched: &self.touched,
            places: &self.places,
            depth: 0,
        };
        settle(&reader, work).map(drop)
    }

    fn locate(&mut self, meter: Meter<'_>, path: &[&[u8]]) -> Result<Arc<Located>> {
        if let Some((_, last)) = self.last.as_ref().filter(|(_, last)| last.is_at(path)) {
            return Ok(last.clone());
        }
        let path: Path = path.iter().map(|segment| segment.to_vec()).collect();
        let located = match self.places.get(&path) {
            Some(located) => located.clone(),
            None => {
                let located = Arc::new(self.reader(meter)?.locate(&path)?);
                self.places.insert(path.clone(), located.clone());
                located
            }
        };
        self.last = Some((path, located.clone()));
        Ok(located)
    }

    fn forget_places(&mut self) {
        self.places.clear();
        self.last = None;
    }

    /// Fails if there is a subtree under the key. That is a read of the place, not of the key: others may write the key, but not
    /// make it a subtree.
    fn refuse_subtree(&self, meter: Meter<'_>, tree: &Located, key: &[u8]) -> Result<()> {
        let slot = self.reader(meter)?.slot(tree, key)?;
        if slot.is_some_and(|slot| slot.kind.is_some()) {
            return Err(Error::Occupied { what: "a subtree" });
        }
        Ok(())
    }

    fn set(&mut self, meter: Meter<'_>, tree: &Located, key: &[u8], stored: Option<&Stored>) -> Result<()> {
        // Of all that is stored under a key, an entry of a page has the longest.
        let max = self.key_max.saturating_sub(tree.node_key_len());
        if key.len() > max {
            return Err(Error::KeyTooLong { len: key.len(), max });
        }
        self.write(meter, &tree.key(key), stored.map(Stored::encode).as_deref())?;
        // Mostly many keys of one tree follow each other.
        let last = self.last.as_ref().filter(|(_, last)| last.prefix == tree.prefix);
        let known = last.and_then(|(path, _)| self.touched.get_mut(path));
        let keys = match known {
            Some(keys) => keys,
            None => {
                let path = tree.steps.iter().map(|(segment, _)| segment.clone()).collect();
                self.touched.entry(path).or_default()
            }
        };
        keys.insert(key.to_vec());
        Ok(())
    }

    fn put_slot(&mut self, meter: Meter<'_>, tree: &Located, key: &[u8], slot: Slot) -> Result<()> {
        self.write(meter, &tree.slot_key(key), Some(&slot.encode()))
    }

    fn write(&mut self, meter: Meter<'_>, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        if meter.is_on() {
            let trees = TREES.bucket(&self.tx()?.untracked(), ALL)?;
            let old = trees.get_ref(key)?.map(<[u8]>::len);
            meter.add(OperationCost::write(key.len(), old, value.map(<[u8]>::len)));
        }
        let all = self.reader(Meter::OFF)?.trees.id();
        let mut trees = self.tx_mut()?.bucket_mut_by_id(all);
        match value {
            Some(value) => Ok(trees.put(key, value)?),
            None => Ok(trees.discard(key)?),
        }
    }

    pub(super) fn tx(&self) -> Result<&OptimisticTx<'s>> {
        self.tx.as_ref().ok_or(Error::Finished)
    }

    pub(super) fn tx_mut(&mut self) -> Result<&mut OptimisticTx<'s>> {
        self.tx.as_mut().ok_or(Error::Finished)
    }
}

impl Ground for TreeTx<'_> {
    fn reader<'a>(&'a self, meter: Meter<'a>) -> Result<Reader<'a>> {
        Reader::new(&self.tx()?.root(), &self.all, self.cache, meter)
    }

    fn top(&self, reader: &Reader<'_>, tree: &Located) -> Result<Option<Top>> {
        // This read stands for all that is in the tree: whatever changes there changes its top.
        let top = reader.top(tree)?;
        let path: Path = tree.steps.iter().map(|(segment, _)| segment.clone()).collect();
        let within: Touched = self
            .touched
            .range(path.clone()..)
            .take_while(|(touched, _)| touched.starts_with(&path))
            .map(|(touched, keys)| (touched.clone(), keys.clone()))
            .collect();
        if within.is_empty() {
            return Ok(top);
        }
        let untracked = Reader::new(
            &self.tx()?.untracked(),
            &self.all,
            self.cache,
            reader.meter.of_reads(),
        )?;
        let work = Work {
            touched: &within,
            places: &self.places,
            depth: path.len(),
        };
        settle(&untracked, work)?.top(&untracked, tree)
    }
}

impl Drop for TreeTx<'_> {
    fn drop(&mut self) {
        let writes: usize = self.touched.values().map(|keys| keys.len()).sum();
        if self.tx.is_some() && writes > 0 {
            log::debug!(
                "a transaction with {writes} writes was dropped without a commit, and is rolled back"
            );
        }
    }
}

fn check_element(element: &Element) -> Result<()> {
    let why = match element {
        Element::Tree(_) | Element::SumTree { .. } | Element::CountTree { .. } => {
            "subtrees are made by create_tree"
        }
        Element::Reference(Reference::Absolute(segments)) if segments.is_empty() => "a reference names a key",
        Element::Reference(Reference::Relative { down, .. }) if down.is_empty() => "a reference names a key",
        _ => return Ok(()),
    };
    Err(Error::InvalidElement { why })
}
