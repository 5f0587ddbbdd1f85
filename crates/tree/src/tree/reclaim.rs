//! Giving back the space of dropped trees.

use std::ops::Bound;

use weald_engine::{Readable, Writable, WriteTx};

use super::meter::Meter;
use super::record::{Located, Stored};
use super::store::TreeStore;
use super::{ALL, DROPPED, TREES};
use crate::context::after_prefix;
use crate::cost::OperationCost;
use crate::error::{Error, Result};

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
        self.reclaim_as(Meter::OFF, entries_max)
    }

    pub(crate) fn reclaim_as(&self, meter: Meter<'_>, entries_max: u64) -> Result<Reclaimed> {
        let mut reclaimed = Reclaimed::default();
        while reclaimed.entries < entries_max {
            let mut tx = self.db.write()?;
            let first = {
                let first = TREES.bucket(&tx.root(), DROPPED)?.first()?;
                first.map(|(prefix, path)| dropped(prefix, path)).transpose()?
            };
            let Some(tree) = first else {
                reclaimed.complete = true;
                break;
            };
            let step = STEP.min(entries_max - reclaimed.entries);
            let (entries, whole) = reclaim_some(&mut tx, &tree, step, meter)?;
            tx.commit()?;
            reclaimed.entries += entries;
            reclaimed.trees += u64::from(whole);
        }
        Ok(reclaimed)
    }
}

/// The dropped tree of a record. One under another's prefix would never be done with.
fn dropped(prefix: &[u8], path: &[u8]) -> Result<Located> {
    let tree = Located::decode(path)?;
    if tree.prefix != *prefix {
        return Err(Error::damaged("a dropped tree is noted under another's prefix"));
    }
    Ok(tree)
}

/// Deletes up to `step` entries of a dropped tree; if those were the last, all else that it had. Its subtrees are dropped by
/// then, and come up by themselves.
fn reclaim_some(tx: &mut WriteTx<'_>, tree: &Located, step: u64, meter: Meter<'_>) -> Result<(u64, bool)> {
    let start = tree.key(b"");
    let mut count = 0;
    let mut subtrees = Vec::new();
    let mut stop = None;
    {
        let trees = TREES.bucket(&tx.root(), ALL)?;
        let entries = (
            Bound::Included(start.clone()),
            Bound::Excluded(tree.entries_end()),
        );
        for pair in trees.range(entries) {
            let (key, stored) = pair?;
            if count == step {
                stop = Some(key.to_vec());
                break;
            }
            count += 1;
            meter.add(OperationCost::write(key.len(), Some(stored.len()), None));
            if let Stored::Subtree { generation, .. } = Stored::decode(stored)? {
                meter.hashes(1);
                subtrees.push(tree.child(Located::entry_of(key), generation));
            }
        }
    }
    let mut dropped = TREES.bucket_mut(tx.root_mut(), DROPPED)?;
    for subtree in subtrees {
        let path = subtree.encode();
        meter.add(OperationCost::write(subtree.prefix.len(), None, Some(path.len())));
        dropped.put(&subtree.prefix, &path)?;
    }
    let whole = stop.is_none();
    let gone = match stop {
        Some(stop) => (Bound::Included(start), Bound::Excluded(stop)),
        None => {
            dropped.discard(&tree.prefix)?;
            // All that is under its prefix, beside the entries.
            let end = after_prefix(&tree.prefix).map_or(Bound::Unbounded, Bound::Excluded);
            let all = (Bound::Included(tree.prefix.to_vec()), end);
            if meter.is_on() {
                let path = tree.encode().len();
                meter.add(OperationCost::write(tree.prefix.len(), Some(path), None));
                let others = (Bound::Included(tree.entries_end()), all.1.clone());
                for pair in TREES.bucket(&tx.root(), ALL)?.range(others) {
                    let (key, record) = pair?;
                    meter.add(OperationCost::write(key.len(), Some(record.len()), None));
                }
            }
            all
        }
    };
    TREES.bucket_mut(tx.root_mut(), ALL)?.delete_range(gone)?;
    Ok((count, whole))
}
