//! The nodes of a page, without what the page itself tells of them.
//!
//! Hashes are most of what a page takes, and most pages are on level 0, of trees that hold no sums. So counts are kept only above that
//! level, where they are not the numbers of leaves, and sums only of pages that have one.

use alloc::vec::Vec;
use core::ops::Range;

use crate::hash::Hash;
use crate::node::Node;

/// Nodes by their index: those of entries, and then inner ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nodes {
    hashes: Vec<Hash>,
    /// Empty on level 0, where a node counts as many as there are entries below it.
    counts: Vec<u64>,
    /// Empty if all are zero.
    sums: Vec<i128>,
}

impl Nodes {
    /// None yet, with room for those of a page of `len` entries.
    pub(crate) fn new(level: u8, len: usize) -> Nodes {
        let all = (2 * len).saturating_sub(1);
        Nodes {
            hashes: Vec::with_capacity(all),
            counts: Vec::with_capacity(if level == 0 { 0 } else { all }),
            sums: Vec::new(),
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Adds the node of an entry of a page on that level.
    pub(crate) fn push(&mut self, level: u8, node: &Node) {
        let at = self.hashes.len();
        self.hashes.push(node.hash);
        if level > 0 {
            self.counts.push(node.count);
        }
        if !self.sums.is_empty() {
            self.sums.push(node.sum);
        } else if node.sum != 0 {
            self.sums.reserve_exact(self.hashes.capacity());
            self.sums.resize(at, 0);
            self.sums.push(node.sum);
        }
    }

    /// Adds so many inner nodes, about which nothing is known yet.
    pub(crate) fn add_unknown(&mut self, inner: usize) {
        let all = self.hashes.len() + inner;
        self.hashes.resize(all, Hash([0; 32]));
        if !self.counts.is_empty() {
            self.counts.resize(all, 0);
        }
        if !self.sums.is_empty() {
            self.sums.resize(all, 0);
        }
    }

    /// The one at that index, which is over so many entries.
    #[inline(always)]
    pub(crate) fn get(&self, at: usize, entries: usize) -> Node {
        Node {
            hash: self.hashes[at],
            count: self.counts.get(at).copied().unwrap_or(entries as u64),
            sum: self.sums.get(at).copied().unwrap_or(0),
        }
    }

    /// What the one of an entry counts.
    #[inline]
    pub(crate) fn count(&self, at: usize) -> u64 {
        self.counts.get(at).copied().unwrap_or(1)
    }

    #[inline]
    fn sum(&self, at: usize) -> i128 {
        self.sums.get(at).copied().unwrap_or(0)
    }

    /// Whether the one of an entry is that one.
    #[inline]
    pub(crate) fn is(&self, at: usize, node: &Node) -> bool {
        self.hashes[at] == node.hash && self.count(at) == node.count && self.sum(at) == node.sum
    }

    #[inline]
    pub(crate) fn set(&mut self, at: usize, node: &Node) {
        self.hashes[at] = node.hash;
        if let Some(count) = self.counts.get_mut(at) {
            *count = node.count;
        }
        if self.sums.is_empty() && node.sum != 0 {
            self.sums.resize(self.hashes.len(), 0);
        }
        if let Some(sum) = self.sums.get_mut(at) {
            *sum = node.sum;
        }
    }

    pub(crate) fn set_hash(&mut self, at: usize, hash: Hash) {
        self.hashes[at] = hash;
    }

    /// Those hashes.
    pub(crate) fn hashes(&self, range: Range<usize>) -> &[Hash] {
        &self.hashes[range]
    }

    /// Takes nodes of another page of the same level, as many from `there` on.
    pub(crate) fn copy(&mut self, here: Range<usize>, other: &Nodes, there: usize) {
        let from = there..there + here.len();
        self.hashes[here.clone()].copy_from_slice(&other.hashes[from.clone()]);
        if let (Some(to), Some(from)) = (self.counts.get_mut(here.clone()), other.counts.get(from.clone())) {
            to.copy_from_slice(from);
        }
        match other.sums.get(from) {
            // Nodes with a sum are over entries with one, which this page has as well.
            Some(from) if !self.sums.is_empty() => self.sums[here].copy_from_slice(from),
            _ if !self.sums.is_empty() => self.sums[here].fill(0),
            _ => {}
        }
    }

    /// Forgets sums if all are zero: so what is the same looks the same.
    pub(crate) fn trim(&mut self) {
        if self.sums.iter().all(|sum| *sum == 0) {
            self.sums = Vec::new();
        }
    }

    /// About as many bytes of memory as they take.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.hashes.capacity() * size_of::<Hash>()
            + self.counts.capacity() * size_of::<u64>()
            + self.sums.capacity() * size_of::<i128>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u8, count: u64, sum: i128) -> Node {
        Node {
            hash: Hash([n; 32]),
            count,
            sum,
        }
    }

    #[test]
    fn what_is_put_in_comes_out_whether_it_is_kept_or_told() {
        for level in [0, 1] {
            let count = |n: u64| if level == 0 { 1 } else { n };
            let mut nodes = Nodes::new(level, 3);
            let given = [node(1, count(7), 0), node(2, count(8), -4), node(3, count(9), 0)];
            given.iter().for_each(|node| nodes.push(level, node));
            nodes.add_unknown(2);
            assert_eq!(nodes.len(), 5);
            nodes.set(4, &node(9, 2 * count(8), -4));
            for (at, given) in given.iter().enumerate() {
                assert_eq!(nodes.get(at, 1), *given);
            }
            assert_eq!(nodes.get(4, 2), node(9, 2 * count(8), -4));
        }
    }

    #[test]
    fn sums_that_went_take_no_memory_and_make_no_difference() {
        let mut nodes = Nodes::new(0, 2);
        nodes.push(0, &node(1, 1, 0));
        nodes.push(0, &node(2, 1, 0));
        nodes.add_unknown(1);
        let before = nodes.clone();
        let bytes = before.memory_bytes();
        nodes.set(1, &node(2, 1, 5));
        nodes.trim();
        assert_eq!(nodes.get(1, 1).sum, 5);
        assert!(nodes.memory_bytes() > bytes && nodes != before);
        nodes.set(1, &node(2, 1, 0));
        nodes.trim();
        assert!(nodes == before && nodes.memory_bytes() == bytes);
    }

    #[test]
    fn a_page_of_plain_items_takes_little_more_than_its_keys_and_hashes() {
        let bytes_of = |value: &[u8]| {
            let leaves = (0..16u8).map(|n| ([n; 32], value));
            let page = crate::Page::from_leaves(leaves).expect("they are in order");
            page.memory_bytes()
        };
        let least = 16 * 32 + 31 * 32;
        let (plain, sums) = (bytes_of(&[0, b'x']), bytes_of(&[1, 9]));
        assert!((least..least + 400).contains(&plain), "{plain}");
        assert_eq!(sums, plain + 31 * 16);
    }
}
