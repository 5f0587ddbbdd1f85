//! The side that has the trees.

use weald_proof::{Answer, Query, Range};

use super::chunk::{CHUNK_LEN_MAX, ChunkId, encode};
use crate::error::{Error, Result};
use crate::tree::TreeSnapshot;
use crate::tree::answer::Ground;
use crate::tree::meter::Meter;
use crate::tree::reader::Reader;
use crate::tree::record::{Located, Stored};

/// So many bytes of entries go into a chunk, or the one entry that is larger.
const CHUNK_LEN: usize = 256 << 10;

/// So many bytes of entries may be in a subtree that comes with the entry that holds it: little beside a chunk, and more than the way to a
/// chunk of its own takes.
const SUBTREE_LEN: usize = 8 << 10;

/// Beyond so many entries a chunk gains little.
const CHUNK_ENTRIES: u64 = 4_096;

impl TreeSnapshot<'_> {
    /// A chunk for a replica that knows this snapshot's [root hash](Self::root): entries of the tree at `id.path` from
    /// `id.offset` on, with their proof; some 256 KiB of them, or one, and at most `id.limit`. Subtrees of a few KiB come along if `id.within`.
    ///
    /// Keep the snapshot for as long as a replica fetches from it: a chunk of a later state is refused by it. That costs the space of what is
    /// changed meanwhile. An entry of some 64 MiB or more is beyond proofs, and an error.
    ///
    /// ```
    /// use weald_engine::Database;
    /// use weald_tree::{Element, TreeStore, TreeSync};
    ///
    /// let source = TreeStore::open(Database::in_memory()?)?;
    /// source.transact(|tx| tx.put(&[], b"key", Element::SumItem(5)))?;
    /// let snapshot = source.snapshot()?;
    ///
    /// let replica = TreeStore::open(Database::in_memory()?)?;
    /// let sync = TreeSync::begin(&replica, snapshot.root()?)?;
    /// while let Some(id) = sync.wanted(1)?.pop() {
    ///     sync.apply(&snapshot.chunk(&id)?)?; // it could have come from anywhere
    /// }
    /// sync.finish()?;
    /// assert_eq!(replica.root()?, source.root()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn chunk(&self, id: &ChunkId) -> Result<Vec<u8>> {
        let path: Vec<&[u8]> = id.path.iter().map(Vec::as_slice).collect();
        // Before anything is read: a path from elsewhere may be wrong in any way.
        self.reader(Meter::OFF)?.locate(&path)?;
        let (taken, within) = self.fit(id)?;
        let extent = if id.offset == 0 {
            Some(self.prove(&ChunkId::extent(&id.path))?)
        } else {
            None
        };
        let proof = match taken {
            0 if id.offset > 0 => return Err(Error::NoSuchChunk),
            0 => Vec::new(),
            taken => self.prove(&ChunkId::query(&id.path, id.offset, taken, within))?,
        };
        let chunk = encode(&id.path, id.offset, (taken, within), extent.as_deref(), &proof);
        if chunk.len() > CHUNK_LEN_MAX {
            return Err(Error::EntryTooLarge {
                len: chunk.len(),
                max: CHUNK_LEN_MAX,
            });
        }
        Ok(chunk)
    }

    /// How many entries from there on go into a chunk, and whether with what is in their subtrees: it ends between a small one and a large one.
    fn fit(&self, id: &ChunkId) -> Result<(u64, bool)> {
        let Some(first) = self.key_at(id)? else {
            return Ok((0, false));
        };
        let reader = self.reader(Meter::OFF)?;
        let tree = reader.locate(&id.path)?;
        let (mut taken, mut len) = (0, 0);
        let mut within = None;
        for pair in crate::tree::answer::within(&reader, &tree, &Range::of(&first[..]..)) {
            let (key, stored) = pair?;
            let mut bytes = key.len() + stored.len();
            let mut next = within;
            if id.within
                && let Stored::Subtree { generation, .. } = Stored::decode(stored)?
            {
                let subtree = tree.child(Located::entry_of(key), generation);
                let small = small(&reader, &subtree)?;
                next = Some(small.is_some());
                if within.is_some() && within != next {
                    break;
                }
                bytes += small.unwrap_or(0);
            }
            len += bytes;
            if taken > 0 && len > CHUNK_LEN {
                break;
            }
            (taken, within) = (taken + 1, next);
            if taken == id.limit.clamp(1, CHUNK_ENTRIES) {
                break;
            }
        }
        Ok((taken, within == Some(true)))
    }

    /// The key of the entry at the chunk's offset, found by the counts in pages: a proof of it passes by what comes before.
    fn key_at(&self, id: &ChunkId) -> Result<Option<Vec<u8>>> {
        if id.offset == 0 {
            let query = Query::all().at(&id.path).limit(1);
            return Ok(first_key(self.query(&query)?));
        }
        let query = ChunkId::query(&id.path, id.offset, 1, false);
        let proof = self.prove(&query)?;
        let answer = weald_proof::verify(&proof, &self.root()?, &query);
        Ok(first_key(answer.map_err(|_| {
            Error::damaged("a tree does not lead to its root hash")
        })?))
    }
}

/// How many bytes the entries of a tree have, if that is little.
fn small(reader: &Reader<'_>, tree: &Located) -> Result<Option<usize>> {
    let mut len = 0;
    for pair in crate::tree::answer::within(reader, tree, &Range::all()) {
        let (key, stored) = pair?;
        len += key.len() + stored.len();
        if len > SUBTREE_LEN {
            return Ok(None);
        }
    }
    Ok(Some(len))
}

fn first_key(answer: Answer) -> Option<Vec<u8>> {
    match answer {
        Answer::Entries(entries) => entries.into_iter().next().map(|entry| entry.key),
        _ => None,
    }
}
