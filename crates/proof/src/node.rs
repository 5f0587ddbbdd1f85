//! What a node of a tree is to its parent: a hash, a count and a sum.

use alloc::vec::Vec;

use crate::hash::{self, HASH_LEN, Hash};

/// Page levels of a tree are below this. The rule that cuts pages keeps every tree of fewer than 2^64 entries
/// within it.
pub const LEVELS_MAX: u8 = 32;

/// Inner nodes between the root of a tree and a leaf: six in a page of at most 64 entries.
pub const DEPTH_MAX: usize = 6 * LEVELS_MAX as usize;

/// A leaf, a node inside a page, or a page (which is its topmost node).
///
/// The three together bind everything below: the hash of an inner node binds what its left child counts and
/// sums up to, and the difference is the right child's. A root hash binds all three of the topmost node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Of the key and value of a leaf, or of two nodes.
    pub hash: Hash,
    /// Entries below, itself included if it is a leaf.
    pub count: u64,
    /// Sum of what they contribute.
    pub sum: i128,
}

impl Node {
    /// The leaf that holds `key` and a value of that hash.
    #[must_use]
    pub fn leaf(key: &[u8], value: &Hash, sum: i128) -> Node {
        const SHORT: usize = 96;
        let len = HASH_LEN + key.len();
        let hash = if len <= SHORT {
            let mut bytes = [0; SHORT];
            bytes[..HASH_LEN].copy_from_slice(value.as_bytes());
            bytes[HASH_LEN..len].copy_from_slice(key);
            hash::hash(hash::LEAF, &bytes[..len])
        } else {
            hash::hash_parts(hash::LEAF, [&value.0[..], key])
        };
        Node { hash, count: 1, sum }
    }

    /// The node over `left` and `right` in a page of that level, or `None` if their count or sum overflows.
    #[must_use]
    pub fn join(level: u8, left: &Node, right: &Node) -> Option<Node> {
        let count = left.count.checked_add(right.count)?;
        let sum = left.sum.checked_add(right.sum)?;
        let (mut key, mut bytes) = ([0; 32], [0; 2 * HASH_LEN]);
        key[..7].copy_from_slice(hash::NODE);
        key[7] = level;
        key[8..16].copy_from_slice(&left.count.to_le_bytes());
        key[16..].copy_from_slice(&left.sum.to_le_bytes());
        bytes[..HASH_LEN].copy_from_slice(left.hash.as_bytes());
        bytes[HASH_LEN..].copy_from_slice(right.hash.as_bytes());
        let hash = hash::hash(&key, &bytes);
        Some(Node { hash, count, sum })
    }

    /// The root hash of a tree whose topmost node is `top`, or of the empty tree.
    #[must_use]
    pub fn root(top: Option<&Node>) -> Hash {
        hash::hash(hash::ROOT, &top.copied().map_or([0; Node::LEN], Node::to_bytes))
    }

    const LEN: usize = HASH_LEN + 8 + 16;

    fn to_bytes(self) -> [u8; Node::LEN] {
        let mut bytes = [0; Node::LEN];
        bytes[..HASH_LEN].copy_from_slice(self.hash.as_bytes());
        bytes[HASH_LEN..][..8].copy_from_slice(&self.count.to_le_bytes());
        bytes[HASH_LEN + 8..].copy_from_slice(&self.sum.to_le_bytes());
        bytes
    }
}

/// The hash of a value, that is of an encoded element.
#[must_use]
pub fn value_hash(value: &[u8]) -> Hash {
    hash::hash(hash::VALUE, value)
}

/// The 32 bytes that a subtree's keys are prefixed by: the hash of its path.
///
/// Each segment is written as its length, its bytes and its generation, so no two paths meet. A generation is
/// 0 until the subtree is dropped, and one more each time: what an earlier one held, at any depth, is then
/// out of reach.
///
/// ```
/// use weald_proof::prefix;
///
/// assert_ne!(prefix([(&b"ab"[..], 0), (b"c", 0)]), prefix([(&b"a"[..], 0), (b"bc", 0)]));
/// assert_ne!(prefix([(&b"a"[..], 0), (b"b", 0)]), prefix([(&b"a"[..], 1), (b"b", 0)]));
/// ```
#[must_use]
pub fn prefix<'a>(path: impl IntoIterator<Item = (&'a [u8], u64)>) -> Hash {
    let mut bytes = Vec::with_capacity(64);
    for (segment, generation) in path {
        bytes.extend_from_slice(&(segment.len() as u64).to_le_bytes());
        bytes.extend_from_slice(segment);
        bytes.extend_from_slice(&generation.to_le_bytes());
    }
    hash::hash(hash::PREFIX, &bytes)
}
