//! Nodes of the skip list.
//!
//! ```text
//!   0  header   8  size and tag   16  key length, height   24  stamp
//!  32  a link for each level, then the key, filled up to 8 bytes
//! ```

use std::cmp::Ordering as Order;

use crate::actor::Actor;
use crate::error::{Result, corrupt};
use crate::heap::TAG_NODE;
use crate::layout::at;
use crate::map::entry::KEY_LEN_MAX;
use crate::protocol::header::{Header, State};
pub(crate) use crate::protocol::watch::MARK;
use crate::raw::mapping::{load_bytes, partial_word, store_bytes};
use crate::region::Shared;
use crate::sync::{AtomicU64, Ordering};

pub(crate) const LEVELS: usize = 16;
/// In a stamp: the node has been killed.
pub(crate) const DEAD: u64 = 1 << 63;
const PREFIX: u64 = 32;

/// Where a tower of links starts: that of a node, or the list's own.
pub(crate) const HEAD: u64 = at::INDEX_HEAD;

#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    pub(crate) offset: u64,
    words: &'a [AtomicU64],
    links: &'a [AtomicU64],
    key: &'a [AtomicU64],
    key_len: usize,
}

impl<'a> Node<'a> {
    /// The node at `offset`, its lengths read once and checked.
    pub(crate) fn load(shared: &'a Shared, offset: u64) -> Result<Node<'a>> {
        if !shared.is_backed(offset)? {
            return corrupt("a node in a volume with memory", offset);
        }
        let words = shared.map.words(offset, PREFIX / 8)?;
        let shape = words[2].load(Ordering::Relaxed);
        let (key_len, height) = ((shape & 0xffff_ffff) as usize, (shape >> 32) as usize);
        if key_len > KEY_LEN_MAX || height == 0 || height > LEVELS {
            return corrupt("a node with a possible shape", offset);
        }
        let rest = shared
            .map
            .words(offset + PREFIX, height as u64 + key_len.div_ceil(8) as u64)?;
        let (links, key) = rest.split_at(height);
        Ok(Node {
            offset,
            words,
            links,
            key,
            key_len,
        })
    }

    pub(crate) fn header(&self) -> Header {
        Header::load(&self.words[0])
    }

    pub(crate) fn stamp(&self) -> &'a AtomicU64 {
        &self.words[3]
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.stamp().load(Ordering::SeqCst) & DEAD != 0
    }

    /// Whether it can be killed: its links are all made.
    pub(crate) fn is_complete(&self) -> bool {
        self.header().state() == State::Live
    }

    pub(crate) fn links(&self) -> &'a [AtomicU64] {
        self.links
    }

    pub(crate) fn link(&self, level: usize) -> Result<&'a AtomicU64> {
        match self.links.get(level) {
            Some(link) => Ok(link),
            None => corrupt("a node that is as high as it is linked", self.offset),
        }
    }

    /// The place of the tower.
    pub(crate) fn tower(&self) -> u64 {
        self.offset + PREFIX
    }

    pub(crate) fn key(&self) -> Vec<u8> {
        let mut key = Vec::new();
        load_bytes(self.key, self.key_len, &mut key);
        key
    }

    /// How the node's key compares to `other`, byte by byte.
    pub(crate) fn compare(&self, other: &[u8]) -> Order {
        for (word, chunk) in self.key.iter().zip(other.chunks(8)) {
            let mine = u64::from_be(word.load(Ordering::Relaxed));
            let theirs = u64::from_be(partial_word(chunk));
            if mine != theirs {
                return mine.cmp(&theirs);
            }
        }
        // Missing bytes counted as zeros so far.
        self.key_len.cmp(&other.len())
    }
}

impl<'a> Actor<'a> {
    /// A node that is ours and not linked yet.
    pub(crate) fn create_node(&mut self, key: &[u8]) -> Result<Node<'a>> {
        // One node in four reaches the next level. The number's bits are mixed, for they come in order.
        let dice = self.number().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let height = 1 + (dice.trailing_zeros() as usize / 2).min(LEVELS - 1);
        let body = height + key.len().div_ceil(8);
        let offset = self.allocate(PREFIX - 16 + body as u64 * 8, TAG_NODE)?;
        let words = self.shared.map.words(offset, PREFIX / 8 + body as u64)?;
        words[2].store(key.len() as u64 | (height as u64) << 32, Ordering::Relaxed);
        words[3].store(0, Ordering::Relaxed);
        words[4..4 + height]
            .iter()
            .for_each(|link| link.store(0, Ordering::Relaxed));
        store_bytes(&words[4 + height..], key);
        Node::load(self.shared, offset)
    }
}
