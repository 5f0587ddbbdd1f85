//! Sums of a partition's entries: equal sums, equal contents, but for a chance of one in 2^100 or so.
//!
//! Two levels: the root is the sum of the leaves, a leaf the sum of the digests of the entries whose keys hash to it. Sums don't depend on order, and one entry that changes is taken out and put in again,
//! so they are kept as changes happen; no entry is read for that.

use crate::entry::{Rank, digest, key_hash};

/// Bits of a key's hash that say its leaf.
const LEAF_BITS: u32 = 8;
/// Leaves of a tree.
const LEAVES: usize = 1 << LEAF_BITS;

#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) root: u128,
    pub(crate) leaves: Vec<u128>,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree {
            root: 0,
            leaves: vec![0; LEAVES],
        }
    }
}

pub(crate) fn leaf_of(key: &[u8], partition_bits: u8) -> u16 {
    ((key_hash(key) << partition_bits) >> (64 - LEAF_BITS)) as u16
}

impl Tree {
    pub(crate) fn change(&mut self, key: &[u8], partition_bits: u8, before: Rank, after: Rank) {
        if before == after {
            return;
        }
        let sum = |rank| {
            if rank == Rank::ABSENT {
                0
            } else {
                digest(key, rank)
            }
        };
        let difference = sum(after).wrapping_sub(sum(before));
        let leaf = &mut self.leaves[usize::from(leaf_of(key, partition_bits))];
        *leaf = leaf.wrapping_add(difference);
        self.root = self.root.wrapping_add(difference);
    }

    /// The leaves that differ from those of another tree, and by how much: the same difference at another time is that of the same entries.
    pub(crate) fn differing(&self, theirs: &[u128]) -> Vec<(u16, u128)> {
        let pairs = self.leaves.iter().zip(theirs).enumerate();
        pairs
            .filter(|(_, (ours, theirs))| ours != theirs)
            .map(|(leaf, (ours, theirs))| (leaf as u16, ours.wrapping_sub(*theirs)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Version;
    use crate::id::NodeId;

    fn rank(stamp: u64) -> Rank {
        let version = Version {
            stamp,
            node: NodeId(1),
        };
        Rank {
            version,
            ..Rank::ABSENT
        }
    }

    #[test]
    fn the_order_of_changes_does_not_show() {
        let (mut a, mut b) = (Tree::default(), Tree::default());
        a.change(b"x", 4, Rank::ABSENT, rank(1));
        a.change(b"y", 4, Rank::ABSENT, rank(2));
        a.change(b"x", 4, rank(1), rank(3));
        b.change(b"y", 4, Rank::ABSENT, rank(2));
        b.change(b"x", 4, Rank::ABSENT, rank(3));
        assert_eq!((a.root, &a.leaves), (b.root, &b.leaves));
        b.change(b"y", 4, rank(2), Rank::ABSENT);
        let leaf = leaf_of(b"y", 4);
        let differing = a.differing(&b.leaves);
        assert!(matches!(differing[..], [(at, _)] if at == leaf), "{differing:?}");
        // What both do since doesn't change by how much they differ.
        for tree in [&mut a, &mut b] {
            tree.change(b"x", 4, rank(3), rank(9));
        }
        assert_eq!(a.differing(&b.leaves), differing);
        b.change(b"y", 4, Rank::ABSENT, rank(4));
        assert_ne!(a.differing(&b.leaves), differing);
    }
}
