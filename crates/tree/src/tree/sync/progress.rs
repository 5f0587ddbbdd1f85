//! What a replica has yet to fetch, kept in its database beside the entries.
//!
//! ```text
//!  sync   'r'                        the root hash that it fetches
//!         'w' prefix offset (8, BE)  a run of entries that is wanted: its length (8), and the path of the tree;
//!                                    a length of 0 says that the tree's count is not known yet
//! ```
//!
//! The prefix is that of the path, so however long a path is, its key is short. Runs are apart, and together all that is wanted and known.

use std::ops::Bound;

use weald_engine::{Bucket, BucketMut, Readable, Writable};
use weald_proof::{Hash, NESTING_MAX};

use super::chunk::ChunkId;
use crate::error::{Error, Result};
use crate::family::{PREFIX_LEN, path_prefix};
use crate::tree::{SYNC, TREES};

/// A run of entries of one tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) offset: u64,
    /// `None` if the tree's count is not known.
    pub(super) len: Option<u64>,
}

impl Run {
    /// Where it ends, but not after `to`.
    pub(super) fn end_before(&self, to: u64) -> u64 {
        self.end().min(to)
    }

    fn end(&self) -> u64 {
        self.len.map_or(u64::MAX, |len| self.offset.saturating_add(len))
    }
}

const ROOT: &[u8] = b"r";
const WANTED: u8 = b'w';
const WANTED_KEY_LEN: usize = 1 + PREFIX_LEN + 8;

/// The records, for reading.
pub(super) struct Progress<'t>(Bucket<'t>);

impl<'t> Progress<'t> {
    pub(super) fn of(tx: &'t impl Readable) -> Result<Progress<'t>> {
        Ok(Progress(TREES.bucket(&tx.root(), SYNC)?))
    }

    /// The root hash that is being fetched, if any is.
    pub(super) fn root(&self) -> Result<Option<Hash>> {
        let root = self.0.get_ref(ROOT)?;
        let hash = |bytes: &[u8]| bytes.try_into().map(Hash).map_err(|_| damaged());
        root.map(hash).transpose()
    }

    /// The first chunks of what is wanted, at most `max`; each of at most `limit` entries.
    pub(super) fn wanted(&self, max: usize, limit: u64) -> Result<Vec<ChunkId>> {
        let mut ids = Vec::new();
        for pair in self
            .0
            .range((Bound::Included(vec![WANTED]), Bound::Excluded(vec![WANTED + 1])))
        {
            let (key, value) = pair?;
            let (run, path) = decode(key, value)?;
            let mut offset = run.offset;
            while ids.len() < max && (offset < run.end()) {
                let limit = run.len.map_or(limit, |_| limit.min(run.end() - offset));
                ids.push(ChunkId {
                    path: path.clone(),
                    offset,
                    limit,
                    within: true,
                });
                if run.len.is_none() {
                    break;
                }
                offset += limit;
            }
            if ids.len() >= max {
                break;
            }
        }
        Ok(ids)
    }

    /// Whether nothing is wanted any more.
    pub(super) fn is_complete(&self) -> Result<bool> {
        Ok(self.wanted(1, 1)?.is_empty())
    }

    /// The runs of the tree at `path` that have something between the two positions.
    pub(super) fn overlapping(&self, path: &[Vec<u8>], from: u64, to: u64) -> Result<Vec<Run>> {
        let all = prefix_of(path);
        let mut runs = Vec::new();
        // The one that begins before, if it reaches so far, and those that begin within.
        let before = self
            .0
            .range((Bound::Included(all.clone()), Bound::Excluded(key(path, from))))
            .next_back();
        let within_end = key(path, to);
        let within = self
            .0
            .range((Bound::Included(key(path, from)), Bound::Excluded(within_end)));
        for pair in before.into_iter().chain(within) {
            let (key, value) = pair?;
            let (run, _) = decode(key, value)?;
            if run.offset < to && run.end() > from {
                runs.push(run);
            }
        }
        Ok(runs)
    }
}

/// The records, for writing.
pub(super) struct ProgressMut<'t, 'db>(BucketMut<'t, 'db>);

impl<'t, 'db> ProgressMut<'t, 'db> {
    pub(super) fn of(tx: &'t mut impl Writable<'db>) -> Result<ProgressMut<'t, 'db>> {
        Ok(ProgressMut(TREES.bucket_mut(tx.root_mut(), SYNC)?))
    }

    pub(super) fn begin(&mut self, root: &Hash) -> Result<()> {
        Ok(self.0.put(ROOT, root.as_bytes())?)
    }

    /// Nothing is left to fetch, though the sync is not over.
    pub(super) fn want_nothing(&mut self) -> Result<()> {
        self.0
            .delete_range((Bound::Included(vec![WANTED]), Bound::Excluded(vec![WANTED + 1])))?;
        Ok(())
    }

    /// Nothing is being fetched any more.
    pub(super) fn clear(&mut self) -> Result<()> {
        self.0
            .delete_range((Bound::<Vec<u8>>::Unbounded, Bound::Unbounded))?;
        Ok(())
    }

    pub(super) fn add(&mut self, path: &[Vec<u8>], run: &Run) -> Result<()> {
        let mut value = run.len.unwrap_or(0).to_le_bytes().to_vec();
        for segment in path {
            value.extend_from_slice(&(segment.len() as u64).to_le_bytes());
            value.extend_from_slice(segment);
        }
        Ok(self.0.put(&key(path, run.offset), &value)?)
    }

    pub(super) fn remove(&mut self, path: &[Vec<u8>], run: &Run) -> Result<()> {
        Ok(self.0.discard(&key(path, run.offset))?)
    }

    /// Takes from a run what lies between the two positions. What is left of it stays wanted.
    pub(super) fn cut(&mut self, path: &[Vec<u8>], run: &Run, from: u64, to: u64) -> Result<()> {
        self.remove(path, run)?;
        let mut left = |offset: u64, end: u64| {
            let len = Some(end - offset);
            self.add(path, &Run { offset, len })
        };
        if run.offset < from {
            left(run.offset, from)?;
        }
        if run.end() > to {
            left(to, run.end())?;
        }
        Ok(())
    }
}

fn prefix_of(path: &[Vec<u8>]) -> Vec<u8> {
    let segments: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
    [&[WANTED], &path_prefix(&segments)[..]].concat()
}

fn key(path: &[Vec<u8>], offset: u64) -> Vec<u8> {
    [&prefix_of(path)[..], &offset.to_be_bytes()].concat()
}

fn damaged() -> Error {
    Error::damaged("the progress of a sync can't be read")
}

fn decode(key: &[u8], value: &[u8]) -> Result<(Run, Vec<Vec<u8>>)> {
    let read = || {
        let offset = key.get(WANTED_KEY_LEN - 8..)?.try_into().ok()?;
        let (len, mut rest) = value.split_first_chunk()?;
        let mut path = Vec::new();
        while !rest.is_empty() {
            let (len, after) = rest.split_first_chunk()?;
            let (segment, after) = after.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
            path.push(segment.to_vec());
            rest = after;
        }
        let len = u64::from_le_bytes(*len);
        let run = Run {
            offset: u64::from_be_bytes(offset),
            len: (len > 0).then_some(len),
        };
        (path.len() <= NESTING_MAX).then_some((run, path))
    };
    read().ok_or_else(damaged)
}
