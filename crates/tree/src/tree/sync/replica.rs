//! The side that fetches.

use weald_proof::{Answer, Element, Entry, Hash, Node, Query};

use super::chunk::{ChunkId, ProvenChunk, verify_chunk};
use super::progress::{Progress, ProgressMut, Run};
use crate::error::{Error, Result};
use crate::tree::{TreeKind, TreeStore, TreeTx};

/// At most so many entries are asked for at once; a source gives fewer where they are large.
const ENTRIES_ASKED: u64 = 1_024;

/// A store of trees that is being filled with those of one root hash, chunk by chunk, from anywhere.
///
/// Chunks may come in any order, more than once, and from several threads. What is there, and what is left to fetch, is
/// committed with each; so after a crash [`begin`](Self::begin) goes on where it was. Memory holds one chunk, and the ids that are asked for.
///
/// Until it is [finished](Self::finish) the store holds a part of the trees, under a root hash of no meaning. Nothing else may write to it.
pub struct TreeSync<'s> {
    store: &'s TreeStore,
    root: Hash,
}

/// What a chunk did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Entries of it were wanted, and are there now.
    New {
        /// How many, with those in subtrees that came along.
        entries: u64,
    },
    /// It is right, but all of it is there already, or the chunk that holds its subtree has not come yet.
    NotWanted,
}

impl<'s> TreeSync<'s> {
    /// Begins to fetch the trees of a root hash that someone trusted has given, or goes on with it. The store must be empty, or
    /// have been begun with the same root hash.
    pub fn begin(store: &'s TreeStore, root: Hash) -> Result<TreeSync<'s>> {
        store.transact(|tx| {
            match Progress::of(tx.tx()?)?.root()? {
                Some(other) if other != root => return Err(Error::SyncOfAnother { root: other }),
                Some(_) => return Ok(()),
                None => {}
            }
            let empty = Node::root(None);
            if tx.root()? != empty {
                return Err(Error::NotEmpty);
            }
            let mut progress = ProgressMut::of(tx.tx_mut()?)?;
            progress.begin(&root)?;
            if root != empty {
                let whole = Run { offset: 0, len: None };
                progress.add(&[], &whole)?;
            }
            Ok(())
        })?;
        Ok(TreeSync { store, root })
    }

    /// Forgets a sync that was begun in the store and is not wanted any more, with all that it fetched. Afterwards another may be begun.
    /// What is dropped takes space until it is [reclaimed](TreeStore::reclaim). Stopped half-way, it is to be called again.
    pub fn abandon(store: &TreeStore) -> Result<()> {
        // First nothing is wanted any more, so that nobody goes on.
        store.transact(|tx| {
            begun(tx)?;
            ProgressMut::of(tx.tx_mut()?)?.want_nothing()
        })?;
        while store.transact(drop_some)? {}
        Ok(())
    }

    /// The root hash that it fetches.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root
    }

    /// Chunks to ask for, at most `max` of those that are wanted; none when all is there. What is asked for is not noted, so until it is
    /// [applied](Self::apply) it is among them again.
    pub fn wanted(&self, max: usize) -> Result<Vec<ChunkId>> {
        let tx = self.store.db.read()?;
        let progress = Progress::of(&tx)?;
        self.check(&progress)?;
        progress.wanted(max, ENTRIES_ASKED)
    }

    /// Takes a chunk from a source that need not be trusted: it is checked against the root hash first. One that is wrong is refused with
    /// [`Error::Chunk`] and changes nothing.
    pub fn apply(&self, chunk: &[u8]) -> Result<Applied> {
        let chunk = verify_chunk(chunk, &self.root)?;
        self.store.transact(|tx| self.take(tx, &chunk))
    }

    fn take(&self, tx: &mut TreeTx<'_>, chunk: &ProvenChunk) -> Result<Applied> {
        let (from, taken) = (chunk.offset, chunk.entries.len() as u64);
        let to = from.checked_add(taken).ok_or(Error::Overflow)?;
        let progress = Progress::of(tx.tx()?)?;
        self.check(&progress)?;
        let mut runs = progress.overlapping(&chunk.path, from, to.max(1))?;
        let whole = Run { offset: 0, len: None };
        if let Some(unknown) = runs.iter_mut().find(|run| **run == whole) {
            // Without its count nothing is known of the tree, and only its first chunk tells.
            let Some(count) = chunk.count else {
                return Ok(Applied::NotWanted);
            };
            ProgressMut::of(tx.tx_mut()?)?.remove(&chunk.path, unknown)?;
            unknown.len = Some(count);
        }
        let mut entries = 0;
        for run in &runs {
            let (first, last) = (run.offset.max(from), run.end_before(to));
            for entry in &chunk.entries[(first - from) as usize..(last - from) as usize] {
                entries += put(tx, &chunk.path, entry)?;
            }
            ProgressMut::of(tx.tx_mut()?)?.cut(&chunk.path, run, first, last)?;
        }
        Ok(if runs.is_empty() {
            Applied::NotWanted
        } else {
            Applied::New { entries }
        })
    }

    /// Whether all is there.
    pub fn is_complete(&self) -> Result<bool> {
        let tx = self.store.db.read()?;
        let progress = Progress::of(&tx)?;
        self.check(&progress)?;
        progress.is_complete()
    }

    /// Ends it: all is there, and the store's root hash is the one that was asked for. Otherwise nothing changes, and it says why not.
    pub fn finish(self) -> Result<()> {
        self.store.transact(|tx| {
            let progress = Progress::of(tx.tx()?)?;
            self.check(&progress)?;
            if !progress.is_complete()? {
                return Err(Error::Incomplete);
            }
            let root = tx.root()?;
            if root != self.root {
                return Err(Error::OtherRoot { root });
            }
            ProgressMut::of(tx.tx_mut()?)?.clear()
        })
    }

    /// Somebody may have abandoned it, or finished it.
    fn check(&self, progress: &Progress<'_>) -> Result<()> {
        match progress.root()? {
            Some(root) if root == self.root => Ok(()),
            Some(root) => Err(Error::SyncOfAnother { root }),
            None => Err(Error::NoSync),
        }
    }
}

/// Fails if nothing is being fetched.
fn begun(tx: &TreeTx<'_>) -> Result<()> {
    match Progress::of(tx.tx()?)?.root()? {
        Some(_) => Ok(()),
        None => Err(Error::NoSync),
    }
}

/// Entries that a commit drops.
const DROPPED_AT_ONCE: u64 = 1_000;

/// Drops the first entries of the outermost tree; when there are none any more, the sync is over. Whether there is more to do.
fn drop_some(tx: &mut TreeTx<'_>) -> Result<bool> {
    begun(tx)?;
    let first = tx.query(&Query::all().limit(DROPPED_AT_ONCE))?;
    for entry in first.entries() {
        let gone = if entry.element.subtree().is_some() {
            tx.drop_tree(&[], &entry.key)?
        } else {
            tx.delete(&[], &entry.key)?
        };
        // It would be the first for ever.
        if !gone {
            return Err(Error::damaged("an entry is a subtree that has no place"));
        }
    }
    let more = !first.entries().is_empty();
    if !more {
        ProgressMut::of(tx.tx_mut()?)?.clear()?;
    }
    Ok(more)
}

/// Puts an entry; a subtree with what came along, or else empty at first, and what is in it is wanted from now on. Returns how many entries that was.
fn put(tx: &mut TreeTx<'_>, path: &[Vec<u8>], entry: &Entry) -> Result<u64> {
    let segments: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
    let kind = match &entry.element {
        Element::Tree(_) => TreeKind::Plain,
        Element::SumTree { .. } => TreeKind::Sum,
        Element::CountTree { .. } => TreeKind::Count,
        other => {
            tx.put(&segments, &entry.key, other.clone())?;
            return Ok(1);
        }
    };
    tx.create_tree(&segments, &entry.key, kind)?;
    let subtree: Vec<Vec<u8>> = path.iter().cloned().chain([entry.key.clone()]).collect();
    let mut entries = 1;
    if let Some(Answer::Entries(within)) = entry.below.as_deref() {
        for entry in within {
            entries += put(tx, &subtree, entry)?;
        }
    } else if entry.element.subtree() != Some(&Node::root(None)) {
        let whole = Run { offset: 0, len: None };
        ProgressMut::of(tx.tx_mut()?)?.add(&subtree, &whole)?;
    }
    Ok(entries)
}
