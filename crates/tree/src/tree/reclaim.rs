//! Giving back the space of dropped trees.

use std::ops::Bound;

use weald_engine::{Readable, Writable, WriteTx};

use super::reader::Reader;
use super::record::{Located, Stored};
use super::store::TreeStore;
use super::{DROPPED, ENTRIES, PAGES, ROOTS, TAILS, TREES};
use crate::context::after_prefix;
use crate::error::Result;

/// What a call of [`TreeStore::reclaim`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// Entries of dropped trees that are gone now.
    pub entries: u64,
    /// Dropped trees of which nothing is left.
    pub trees: u64,
    /// Whether nothing is left to reclaim.
    pub complete: bool,
}

/// Entries that one commit looks at, so that others wait but a moment.
const STEP: u64 = 10_000;

impl TreeStore {
    /// Gives back the space of dropped trees, up to `entries_max` of their entries or a little more. Others may go on meanwhile; the root hash
    /// stays as it is.
    pub fn reclaim(&self, entries_max: u64) -> Result<Reclaimed> {
        let mut reclaimed = Reclaimed::default();
        while reclaimed.entries < entries_max {
            let mut tx = self.db.write()?;
            let first = {
                let first = TREES.bucket(&tx.root(), DROPPED)?.first()?;
                first.map(|(_, path)| Located::decode(path)).transpose()?
            };
            let Some(tree) = first else {
                reclaimed.complete = true;
                break;
            };
            let step = STEP.min(entries_max - reclaimed.entries);
            let (entries, whole) = reclaim_some(&mut tx, &tree, step)?;
            tx.commit()?;
            reclaimed.entries += entries;
            reclaimed.trees += u64::from(whole);
        }
        Ok(reclaimed)
    }
}

/// Deletes up to `step` entries of a dropped tree; if those were the last, all else that it had. Its subtrees are dropped by
/// then, and come up by themselves.
fn reclaim_some(tx: &mut WriteTx<'_>, tree: &Located, step: u64) -> Result<(u64, bool)> {
    let start = tree.prefix.to_vec();
    let end = after_prefix(&tree.prefix).map_or(Bound::Unbounded, Bound::Excluded);
    let all = (Bound::Included(start.clone()), end);
    let mut count = 0;
    let mut subtrees = Vec::new();
    let mut stop = None;
    {
        let reader = Reader::new(&tx.root())?;
        for pair in reader.entries.range(all.clone()) {
            let (key, stored) = pair?;
            if count == step {
                stop = Some(key.to_vec());
                break;
            }
            count += 1;
            if let Stored::Subtree { generation, .. } = Stored::decode(stored)? {
                subtrees.push(tree.child(&key[tree.prefix.len()..], generation));
            }
        }
    }
    let mut dropped = TREES.bucket_mut(tx.root_mut(), DROPPED)?;
    for subtree in subtrees {
        dropped.put(&subtree.prefix, &subtree.encode())?;
    }
    let whole = stop.is_none();
    if whole {
        dropped.discard(&tree.prefix)?;
        for bucket in [PAGES, TAILS, ROOTS] {
            TREES
                .bucket_mut(tx.root_mut(), bucket)?
                .delete_range(all.clone())?;
        }
    }
    let gone = stop.map_or(all, |stop| (Bound::Included(start), Bound::Excluded(stop)));
    TREES.bucket_mut(tx.root_mut(), ENTRIES)?.delete_range(gone)?;
    Ok((count, whole))
}
