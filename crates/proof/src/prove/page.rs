//! A page: a run of entries at one level of a tree, and the binary tree of hashes over them.
//!
//! The binary tree halves: a node over n entries has the first ⌊n/2⌋ on its left and the others on its right.
//! Each inner node falls between two entries, so the one that splits before entry `i` is kept at `inner[i -
//! 1]`:
//!
//! ```text
//! entries    0   1   2   3   4
//! inner        0   1   2   3         inner[1] splits before entry 2: it is the top
//! ```

use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::codec::{self, Fault, Malformed, Reader};
use crate::element::Element;
use crate::hash::{self, Hash};
use crate::node::{LEVELS_MAX, Node, value_hash};

/// A page has at most as many entries.
pub const PAGE_LEN_MAX: usize = 64;

/// The greatest height of a key.
pub const HEIGHT_MAX: u8 = 8;

/// On how many levels a key begins a page: how many hexadecimal zeros its hash begins with, eight at most.
#[must_use]
pub fn height(key: &[u8]) -> u8 {
    let [a, b, c, d, ..] = hash::hash(hash::HEIGHT, key).0;
    let zero_bits = u32::from_be_bytes([a, b, c, d]).leading_zeros();
    (zero_bits / 4) as u8
}

/// What a page holds: on level 0 a leaf, above it a page of the level below, by its first key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageEntry<'a> {
    /// The key of the leaf, or the first of the page.
    pub key: &'a [u8],
    /// The key's [`height`].
    pub height: u8,
    /// What it is to its parent.
    pub node: Node,
}

/// A page of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    level: u8,
    /// All keys, one after the other: an allocation for each would cost more than its hash.
    keys: Vec<u8>,
    slots: Vec<Slot>,
    inner: Vec<Hash>,
}

/// An entry but for its key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slot {
    /// Where its key ends among the keys.
    key_end: usize,
    height: u8,
    node: Node,
}

/// The counts or sums of a page are too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

impl Page {
    /// A page of those entries, hashed; returns how many hashes that took.
    pub(crate) fn new(level: u8, entries: &[PageEntry<'_>]) -> Result<(Page, u64), Overflow> {
        let len = entries.len();
        let mut page = Page::with_capacity(level, len);
        entries.iter().for_each(|entry| page.push(*entry));
        page.inner.resize(len - 1, Hash([0; 32]));
        let mut hashes = 0;
        page.rehash(0, len, &mut |_| true, &mut hashes)?;
        Ok((page, hashes))
    }

    /// The same page with other nodes under the same keys; hashes only above what changed.
    pub(crate) fn with_nodes(&self, entries: &[PageEntry<'_>]) -> Result<(Page, u64), Overflow> {
        let mut page = self.clone();
        for (slot, entry) in page.slots.iter_mut().zip(entries) {
            slot.node = entry.node;
        }
        let mut hashes = 0;
        let changed = |index: usize| self.slots[index].node != entries[index].node;
        page.rehash(0, entries.len(), &mut { changed }, &mut hashes)?;
        Ok((page, hashes))
    }

    fn with_capacity(level: u8, len: usize) -> Page {
        let (slots, inner) = (Vec::with_capacity(len), Vec::with_capacity(len - 1));
        Page {
            level,
            keys: Vec::with_capacity(len * 32),
            slots,
            inner,
        }
    }

    fn push(&mut self, entry: PageEntry<'_>) {
        self.keys.extend_from_slice(entry.key);
        self.slots.push(Slot {
            key_end: self.keys.len(),
            height: entry.height,
            node: entry.node,
        });
    }

    /// Hashes what is above changed entries from `from` to `to`; says whether there were any.
    fn rehash(
        &mut self,
        from: usize,
        to: usize,
        changed: &mut impl FnMut(usize) -> bool,
        hashes: &mut u64,
    ) -> Result<bool, Overflow> {
        if to - from == 1 {
            return Ok(changed(from));
        }
        let middle = middle(from, to);
        let left = self.rehash(from, middle, changed, hashes)?;
        let right = self.rehash(middle, to, changed, hashes)?;
        if left || right {
            let node =
                Node::join(self.level, &self.node(from, middle), &self.node(middle, to)).ok_or(Overflow)?;
            self.inner[middle - 1] = node.hash;
            *hashes += 1;
        }
        Ok(left || right)
    }

    /// The level: 0 where the leaves are.
    #[must_use]
    pub fn level(&self) -> u8 {
        self.level
    }

    /// How many entries it has: at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no page is empty")]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// The entry at `index`, which is below [`len`](Page::len).
    #[must_use]
    pub fn entry(&self, index: usize) -> PageEntry<'_> {
        let start = if index > 0 {
            self.slots[index - 1].key_end
        } else {
            0
        };
        let Slot {
            key_end,
            height,
            node,
        } = self.slots[index];
        PageEntry {
            key: &self.keys[start..key_end],
            height,
            node,
        }
    }

    /// Its entries, ascending.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = PageEntry<'_>> {
        (0..self.len()).map(|index| self.entry(index))
    }

    /// The first key, by which it is found.
    #[must_use]
    pub fn first_key(&self) -> &[u8] {
        self.entry(0).key
    }

    /// How many keys come before `key`, and whether it is there too.
    pub(crate) fn find(&self, key: &[u8]) -> (usize, bool) {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = middle(from, to);
            match self.entry(middle).key.cmp(key) {
                Ordering::Less => from = middle + 1,
                Ordering::Equal => return (middle, true),
                Ordering::Greater => to = middle,
            }
        }
        (from, false)
    }

    /// What it is to the page above.
    #[must_use]
    pub fn top(&self) -> Node {
        self.node(0, self.len())
    }

    /// The node over the entries from `from` to before `to`, which must be one of the page's nodes.
    pub(crate) fn node(&self, from: usize, to: usize) -> Node {
        if to - from == 1 {
            return self.slots[from].node;
        }
        let mut node = Node {
            hash: self.inner[middle(from, to) - 1],
            count: 0,
            sum: 0,
        };
        for slot in &self.slots[from..to] {
            // Whole nodes were joined without overflow; on the way there, in another order, there may be one.
            node.count = node.count.wrapping_add(slot.node.count);
            node.sum = node.sum.wrapping_add(slot.node.sum);
        }
        node
    }

    /// The bytes to store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 + self.keys.len() + 40 * self.len() + 32 * self.inner.len());
        out.push(self.level);
        out.push(self.len() as u8);
        for entry in self.entries() {
            codec::put_bytes(&mut out, entry.key);
            out.push(entry.height);
            out.extend_from_slice(entry.node.hash.as_bytes());
            if self.level > 0 {
                codec::put_u128(&mut out, u128::from(entry.node.count));
            }
            codec::put_i128(&mut out, entry.node.sum);
        }
        self.inner
            .iter()
            .for_each(|hash| out.extend_from_slice(hash.as_bytes()));
        out
    }

    /// Reads what [`encode`](Page::encode) wrote. The hashes inside are taken as they are, the store having
    /// checked the bytes; for pages from someone else there are [`from_leaves`](Page::from_leaves) and
    /// [`decode_untrusted`](Page::decode_untrusted).
    pub fn decode(bytes: &[u8]) -> Result<Page, Malformed> {
        let mut reader = Reader::new(bytes);
        let (level, len) = (reader.byte()?, usize::from(reader.byte()?));
        if level >= LEVELS_MAX || len == 0 || len > PAGE_LEN_MAX {
            return Err(reader.fault(0, Fault::Bounds));
        }
        let mut page = Page::with_capacity(level, len);
        let (mut last, mut count) = (None, 0u64);
        for _ in 0..len {
            let at = reader.at();
            let entry = page_entry(&mut reader, level)?;
            if last.is_some_and(|last| last >= entry.key) {
                return Err(reader.fault(at, Fault::Order));
            }
            count = count
                .checked_add(entry.node.count)
                .ok_or(reader.fault(at, Fault::Bounds))?;
            last = Some(entry.key);
            page.push(entry);
        }
        for _ in 1..len {
            page.inner.push(Hash(reader.array()?));
        }
        reader.end()?;
        Ok(page)
    }

    /// The page on level 0 that has those keys and values, hashed anew; `None` if they can't be a page. Its
    /// [`top`](Page::top) tells whether it is the one that was wanted: that binds every key and value.
    #[must_use]
    pub fn from_leaves<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        leaves: impl IntoIterator<Item = (K, V)>,
    ) -> Option<Page> {
        let mut page = Page::with_capacity(0, PAGE_LEN_MAX);
        for (key, value) in leaves {
            let (key, value) = (key.as_ref(), value.as_ref());
            let follows = page.slots.is_empty() || page.entry(page.len() - 1).key < key;
            if !follows || page.len() == PAGE_LEN_MAX {
                return None;
            }
            let node = Node::leaf(key, &value_hash(value), Element::decode(value).ok()?.sum());
            page.push(PageEntry {
                key,
                height: height(key),
                node,
            });
        }
        if page.slots.is_empty() {
            return None;
        }
        page.rehashed()
    }

    /// The page with all its hashes made anew.
    fn rehashed(&self) -> Option<Page> {
        Page::new(self.level, &self.entries().collect::<Vec<_>>())
            .ok()
            .map(|(page, _)| page)
    }

    /// Reads a page above level 0 that must be the one of that node, from a source that is not trusted: for a
    /// replica that fetches a tree page by page, each named by the one above. `None` if it is another page or
    /// none at all.
    ///
    /// What is bound are the nodes of the pages below. Keys are for finding the way: once the pages below
    /// have come, their first keys tell whether they were right. A page of one entry has the hash of that
    /// entry, so only the page below tells whether there is such a page at all. Where pages are cut is not
    /// checked: an update over all leaves, made anew, gives the right pages.
    #[must_use]
    pub fn decode_untrusted(bytes: &[u8], level: u8, node: &Node) -> Option<Page> {
        let page = Page::decode(bytes).ok()?;
        let heights = page.entries().all(|entry| entry.height == height(entry.key));
        let right = level > 0 && page.level == level && heights && page.top() == *node;
        (right && page.rehashed()? == page).then_some(page)
    }
}

fn page_entry<'a>(reader: &mut Reader<'a>, level: u8) -> Result<PageEntry<'a>, Malformed> {
    let key = reader.bytes()?;
    let at = reader.at();
    let height = reader.byte()?;
    let hash = Hash(reader.array()?);
    let count = if level > 0 { reader.u64()? } else { 1 };
    let sum = reader.i128()?;
    if height > HEIGHT_MAX || count == 0 {
        return Err(reader.fault(at, Fault::Bounds));
    }
    Ok(PageEntry {
        key,
        height,
        node: Node { hash, count, sum },
    })
}

/// Where a node over the entries from `from` to before `to` is split.
pub(crate) fn middle(from: usize, to: usize) -> usize {
    from + (to - from) / 2
}
