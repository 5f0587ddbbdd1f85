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
    inner: Vec<Node>,
}

/// An entry but for its key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slot {
    /// Where its key ends among the keys.
    key_end: usize,
    height: u8,
    node: Node,
}

/// A page of which another one has some entries at the beginning and at the end.
struct Kept<'p> {
    page: &'p Page,
    first: usize,
    last: usize,
}

impl Kept<'_> {
    /// The node over those entries of the other page, which has `len`, if the kept page has one over the same.
    fn node(&self, (from, to): (usize, usize), len: usize) -> Option<Node> {
        let (from, to) = if to <= self.first {
            (from, to)
        } else if from + self.last >= len {
            let kept = self.page.len();
            (from + kept - len, to + kept - len)
        } else {
            return None;
        };
        let (mut start, mut end) = (0, self.page.len());
        while (start, end) != (from, to) {
            let middle = middle(start, end);
            if to <= middle {
                end = middle;
            } else if from >= middle {
                start = middle;
            } else {
                return None;
            }
        }
        Some(self.page.node(from, to))
    }
}

/// What an inner node is before it is told.
const UNKNOWN: Node = Node {
    hash: Hash([0; 32]),
    count: 0,
    sum: 0,
};

/// The counts or sums of a page are too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

impl Page {
    /// A page of those entries, hashed; returns how many hashes that took.
    pub(crate) fn new(level: u8, entries: &[PageEntry<'_>]) -> Result<(Page, u64), Overflow> {
        let mut page = Page::with_capacity(level, entries.len());
        entries.iter().for_each(|entry| page.push(*entry));
        let hashes = page.inner_len() as u64;
        page.rehash()?;
        Ok((page, hashes))
    }

    /// A page with other entries: hashes only what is not over the same entries here too.
    pub(crate) fn with_entries(&self, entries: &[PageEntry<'_>]) -> Result<(Page, u64), Overflow> {
        let mut page = Page::with_capacity(self.level, entries.len());
        entries.iter().for_each(|entry| page.push(*entry));
        page.inner.resize(page.inner_len(), UNKNOWN);
        let len = self.len().min(entries.len());
        let same = |pair: &(PageEntry<'_>, &PageEntry<'_>)| pair.0 == *pair.1;
        let kept = Kept {
            page: self,
            first: self.entries().zip(entries).take_while(same).count(),
            last: self
                .entries()
                .rev()
                .zip(entries.iter().rev())
                .take(len)
                .take_while(same)
                .count(),
        };
        let mut hashes = 0;
        page.join_changed((0, entries.len()), &kept, &mut hashes)?;
        Ok((page, hashes))
    }

    /// The same page with other nodes at those indices, which ascend; hashes only what is above them.
    pub(crate) fn with_nodes(&self, nodes: &[(usize, Node)]) -> Result<(Page, u64), Overflow> {
        let mut page = self.clone();
        let mut hashes = 0;
        page.replace((0, self.len()), nodes, &mut hashes)?;
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

    fn inner_len(&self) -> usize {
        self.slots.len() - 1
    }

    /// Hashes all inner nodes.
    fn rehash(&mut self) -> Result<(), Overflow> {
        self.inner.resize(self.inner_len(), UNKNOWN);
        self.join_all((0, self.len())).map(drop)
    }

    fn join_all(&mut self, (from, to): (usize, usize)) -> Result<Node, Overflow> {
        if to - from == 1 {
            return Ok(self.slots[from].node);
        }
        let middle = middle(from, to);
        let left = self.join_all((from, middle))?;
        let right = self.join_all((middle, to))?;
        let node = Node::join(self.level, &left, &right).ok_or(Overflow)?;
        self.inner[middle - 1] = node;
        Ok(node)
    }

    /// As [`join_all`](Page::join_all), but takes nodes of the kept page where it can.
    fn join_changed(
        &mut self,
        (from, to): (usize, usize),
        kept: &Kept<'_>,
        hashes: &mut u64,
    ) -> Result<Node, Overflow> {
        if to - from == 1 {
            return Ok(self.slots[from].node);
        }
        let middle = middle(from, to);
        let node = match kept.node((from, to), self.len()) {
            Some(node) => {
                // What is below has to be filled in, and is kept as well.
                self.join_changed((from, middle), kept, hashes)?;
                self.join_changed((middle, to), kept, hashes)?;
                node
            }
            None => {
                let left = self.join_changed((from, middle), kept, hashes)?;
                let right = self.join_changed((middle, to), kept, hashes)?;
                *hashes += 1;
                Node::join(self.level, &left, &right).ok_or(Overflow)?
            }
        };
        self.inner[middle - 1] = node;
        Ok(node)
    }

    /// Sets the nodes of entries from `from` to before `to`, and hashes what is above.
    fn replace(
        &mut self,
        (from, to): (usize, usize),
        nodes: &[(usize, Node)],
        hashes: &mut u64,
    ) -> Result<Node, Overflow> {
        let [(_, first), ..] = nodes else {
            return Ok(self.node(from, to));
        };
        if to - from == 1 {
            self.slots[from].node = *first;
            return Ok(*first);
        }
        let middle = middle(from, to);
        let (left, right) = nodes.split_at(nodes.partition_point(|(index, _)| *index < middle));
        let left = self.replace((from, middle), left, hashes)?;
        let right = self.replace((middle, to), right, hashes)?;
        let node = Node::join(self.level, &left, &right).ok_or(Overflow)?;
        self.inner[middle - 1] = node;
        *hashes += 1;
        Ok(node)
    }

    /// Counts and sums of inner nodes, whose hashes are there.
    fn add_up(&mut self, (from, to): (usize, usize)) -> Option<Node> {
        if to - from == 1 {
            return Some(self.slots[from].node);
        }
        let middle = middle(from, to);
        let left = self.add_up((from, middle))?;
        let right = self.add_up((middle, to))?;
        let inner = &mut self.inner[middle - 1];
        inner.count = left.count.checked_add(right.count)?;
        inner.sum = left.sum.checked_add(right.sum)?;
        Some(*inner)
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
    pub fn entries(&self) -> impl ExactSizeIterator<Item = PageEntry<'_>> + DoubleEndedIterator {
        (0..self.len()).map(|index| self.entry(index))
    }

    /// About as many bytes of memory as it takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Page>()
            + self.keys.capacity()
            + self.slots.capacity() * size_of::<Slot>()
            + self.inner.capacity() * size_of::<Node>()
    }

    /// The first key, by which it is found.
    #[must_use]
    pub fn first_key(&self) -> &[u8] {
        self.entry(0).key
    }

    /// Whether it has the same keys as another.
    #[must_use]
    pub fn has_keys_of(&self, other: &Page) -> bool {
        let ends = |page: &Page| page.slots.last().map(|slot| slot.key_end);
        self.len() == other.len()
            && ends(self) == ends(other)
            && self.keys == other.keys
            && self
                .slots
                .iter()
                .zip(&other.slots)
                .all(|(a, b)| a.key_end == b.key_end)
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
        self.inner[middle(from, to) - 1]
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
            entry.put_node(self.level, &mut out);
        }
        self.inner
            .iter()
            .for_each(|node| out.extend_from_slice(node.hash.as_bytes()));
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
            let hash = Hash(reader.array()?);
            page.inner.push(Node { hash, ..UNKNOWN });
        }
        reader.end()?;
        page.add_up((0, len)).ok_or(reader.fault(0, Fault::Bounds))?;
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
        page.rehash().ok()?;
        Some(page)
    }

    /// The page that has those entries; `None` if they can't be a page. Its [`top`](Page::top) tells whether it is the one
    /// that was wanted: that binds every entry.
    #[must_use]
    pub fn from_entries<'a>(level: u8, entries: impl IntoIterator<Item = PageEntry<'a>>) -> Option<Page> {
        let mut page = Page::with_capacity(level, 16);
        for entry in entries {
            let follows = page.slots.is_empty() || page.entry(page.len() - 1).key < entry.key;
            if !follows || page.len() == PAGE_LEN_MAX {
                return None;
            }
            page.push(entry);
        }
        if page.slots.is_empty() || level >= LEVELS_MAX {
            return None;
        }
        page.rehash().ok()?;
        Some(page)
    }

    /// The page with all its hashes made anew.
    fn rehashed(&self) -> Option<Page> {
        let mut page = self.clone();
        page.rehash().ok()?;
        Some(page)
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

/// The top bit of a record's height says that a page begins there.
const BEGINS: u8 = 0x80;

impl<'a> PageEntry<'a> {
    /// The bytes to store under its key, for storage that keeps entries and not pages; `begins` says whether it is the first of
    /// its page.
    #[must_use]
    pub fn record(&self, level: u8, begins: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(48);
        out.push(self.height | if begins { BEGINS } else { 0 });
        self.put_node(level, &mut out);
        out
    }

    /// Reads what [`record`](PageEntry::record) wrote: the entry, and whether it is the first of its page.
    pub fn of_record(level: u8, key: &'a [u8], record: &[u8]) -> Result<(PageEntry<'a>, bool), Malformed> {
        let mut reader = Reader::new(record);
        let first = reader.byte()?;
        let entry = rest_of_entry(&mut reader, level, key, first & !BEGINS)?;
        reader.end()?;
        Ok((entry, first & BEGINS != 0))
    }

    fn put_node(&self, level: u8, out: &mut Vec<u8>) {
        out.extend_from_slice(self.node.hash.as_bytes());
        if level > 0 {
            codec::put_u128(out, u128::from(self.node.count));
        }
        codec::put_i128(out, self.node.sum);
    }
}

fn page_entry<'a>(reader: &mut Reader<'a>, level: u8) -> Result<PageEntry<'a>, Malformed> {
    let key = reader.bytes()?;
    let height = reader.byte()?;
    rest_of_entry(reader, level, key, height)
}

fn rest_of_entry<'a>(
    reader: &mut Reader<'_>,
    level: u8,
    key: &'a [u8],
    height: u8,
) -> Result<PageEntry<'a>, Malformed> {
    let at = reader.at();
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
