//! A page: a run of entries at one level of a tree, and the binary tree of hashes over them.
//!
//! The binary tree halves: a node over n entries has the first ⌊n/2⌋ on its left and the others on its right.
//! Each inner node falls between two entries, so those that split before entry 1, 2 and so on are kept in that
//! order, after the nodes of the entries:
//!
//! ```text
//! entries    0   1   2   3   4
//! inner        5   6   7   8         6 splits before entry 2: it is the top
//! ```

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;

use super::nodes::Nodes;
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
    /// Shared with the pages that differ in nothing but nodes.
    keys: Arc<Keys>,
    /// Those of the entries, and then the inner ones.
    nodes: Nodes,
}

/// The keys of a page's entries, and what depends on nothing else.
#[derive(Debug, Default, PartialEq, Eq)]
struct Keys {
    /// All keys, one after the other: an allocation for each would cost more than its hash.
    bytes: Vec<u8>,
    ends: Vec<End>,
}

/// Where a key ends, and its height in the lowest byte: together they take half of what they would side by side.
#[derive(Debug, PartialEq, Eq)]
struct End(u64);

impl End {
    fn new(at: usize, height: u8) -> End {
        End((at as u64) << 8 | u64::from(height))
    }

    #[inline]
    fn at(&self) -> usize {
        (self.0 >> 8) as usize
    }

    #[inline]
    fn height(&self) -> u8 {
        self.0 as u8
    }
}

/// A page whose entries are being gathered.
struct Draft {
    level: u8,
    keys: Keys,
    nodes: Nodes,
}

impl Draft {
    fn new(level: u8, len: usize) -> Draft {
        Draft {
            level,
            keys: Keys {
                bytes: Vec::with_capacity(len * 32),
                ends: Vec::with_capacity(len),
            },
            nodes: Nodes::new(level, len),
        }
    }

    fn of(level: u8, entries: &[PageEntry<'_>]) -> Draft {
        let mut draft = Draft::new(level, entries.len());
        entries.iter().for_each(|entry| draft.push(*entry));
        draft
    }

    fn push(&mut self, entry: PageEntry<'_>) {
        self.keys.bytes.extend_from_slice(entry.key);
        self.keys.ends.push(End::new(self.keys.bytes.len(), entry.height));
        self.nodes.push(self.level, &entry.node);
    }

    /// Adds an entry that has to come after the others, if it does and there is room.
    fn push_next(&mut self, entry: PageEntry<'_>) -> Option<()> {
        let last = self.keys.ends.len().checked_sub(1);
        let follows = last.is_none_or(|last| self.keys.get(last) < entry.key);
        let counts = self.level > 0 || entry.node.count == 1;
        (follows && counts && self.nodes.len() < PAGE_LEN_MAX).then(|| self.push(entry))
    }

    /// The page, whose inner nodes are yet to be told; `None` without entries.
    fn page(mut self) -> Option<Page> {
        let inner = self.nodes.len().checked_sub(1)?;
        self.nodes.add_unknown(inner);
        self.keys.bytes.shrink_to_fit();
        Some(Page {
            level: self.level,
            keys: Arc::new(self.keys),
            nodes: self.nodes,
        })
    }
}

impl Keys {
    #[inline]
    fn get(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before].at());
        &self.bytes[start..self.ends[index].at()]
    }
}

/// A page of which another one has some entries at the beginning and at the end.
struct Kept<'p> {
    page: &'p Page,
    first: usize,
    last: usize,
}

impl Kept<'_> {
    /// Where the kept page has those entries of the other one, which has `len`, if it has a node over just them.
    fn place(&self, (from, to): (usize, usize), len: usize) -> Option<usize> {
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
        Some(from)
    }
}

/// How many entries at the beginning, and how many of the others at the end, two pages both have.
type Shared = (usize, usize);

/// The counts or sums of a page are too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

impl Page {
    /// A page of those entries, hashed; returns how many hashes that took.
    pub(crate) fn new(level: u8, entries: &[PageEntry<'_>]) -> Result<(Page, u64), Overflow> {
        let mut page = Page::unhashed(level, entries);
        page.rehash()?;
        Ok((page, entries.len() as u64 - 1))
    }

    /// A page with other entries, how many of them at the beginning and of the others at the end are here too, and how many hashes it took: only of
    /// what is not over the same entries. `None` where they are those that it has.
    pub(crate) fn with_entries(
        &self,
        entries: &[PageEntry<'_>],
    ) -> Result<Option<(Page, Shared, u64)>, Overflow> {
        let (here, there) = (self.len(), entries.len());
        let both = here.min(there);
        let first = (0..both).take_while(|at| self.has(*at, &entries[*at])).count();
        if first == here && first == there {
            return Ok(None);
        }
        let last = (1..=both).take_while(|back| self.has(here - back, &entries[there - back]));
        let kept = Kept {
            page: self,
            first,
            last: last.count(),
        };
        let mut page = Page::unhashed(self.level, entries);
        let mut hashes = 0;
        page.join_changed((0, entries.len()), &kept, &mut hashes)?;
        page.nodes.trim();
        let last = kept.last.min(both - first.max(1));
        Ok(Some((page, (first, last), hashes)))
    }

    /// The same page with other nodes at those indices, which ascend; hashes only what is above them.
    pub(crate) fn with_nodes(&self, nodes: &[(usize, Node)]) -> Result<(Page, u64), Overflow> {
        let mut page = self.clone();
        let mut hashes = 0;
        page.replace((0, self.len()), nodes, &mut hashes)?;
        page.nodes.trim();
        Ok((page, hashes))
    }

    fn unhashed(level: u8, entries: &[PageEntry<'_>]) -> Page {
        Draft::of(level, entries).page().expect("no page is empty")
    }

    /// Where the node that splits before the entry `at` is kept.
    fn inner(&self, at: usize) -> usize {
        self.len() + at - 1
    }

    /// Hashes all inner nodes.
    fn rehash(&mut self) -> Result<(), Overflow> {
        self.join_all((0, self.len())).map(drop)
    }

    fn join_all(&mut self, (from, to): (usize, usize)) -> Result<Node, Overflow> {
        if to - from == 1 {
            return Ok(self.node_of(from));
        }
        let middle = middle(from, to);
        let left = self.join_all((from, middle))?;
        let right = self.join_all((middle, to))?;
        let node = Node::join(self.level, &left, &right).ok_or(Overflow)?;
        let at = self.inner(middle);
        self.nodes.set(at, &node);
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
            return Ok(self.node_of(from));
        }
        if let Some(place) = kept.place((from, to), self.len()) {
            // Splits depend on the number of entries alone, so what is below is kept as well.
            let here = self.inner(from + 1)..self.inner(to);
            self.nodes
                .copy(here, &kept.page.nodes, kept.page.inner(place + 1));
            return Ok(kept.page.node(place, place + to - from));
        }
        let middle = middle(from, to);
        let left = self.join_changed((from, middle), kept, hashes)?;
        let right = self.join_changed((middle, to), kept, hashes)?;
        *hashes += 1;
        let node = Node::join(self.level, &left, &right).ok_or(Overflow)?;
        let at = self.inner(middle);
        self.nodes.set(at, &node);
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
            self.nodes.set(from, first);
            return Ok(*first);
        }
        let middle = middle(from, to);
        let (left, right) = nodes.split_at(nodes.partition_point(|(index, _)| *index < middle));
        let left = self.replace((from, middle), left, hashes)?;
        let right = self.replace((middle, to), right, hashes)?;
        let node = Node::join(self.level, &left, &right).ok_or(Overflow)?;
        let at = self.inner(middle);
        self.nodes.set(at, &node);
        *hashes += 1;
        Ok(node)
    }

    /// Counts and sums of inner nodes, whose hashes are there.
    fn add_up(&mut self, (from, to): (usize, usize)) -> Option<Node> {
        if to - from == 1 {
            return Some(self.node_of(from));
        }
        let middle = middle(from, to);
        let left = self.add_up((from, middle))?;
        let right = self.add_up((middle, to))?;
        let at = self.inner(middle);
        let node = Node {
            hash: self.nodes.get(at, to - from).hash,
            count: left.count.checked_add(right.count)?,
            sum: left.sum.checked_add(right.sum)?,
        };
        self.nodes.set(at, &node);
        Some(node)
    }

    /// The level: 0 where the leaves are.
    #[must_use]
    pub fn level(&self) -> u8 {
        self.level
    }

    /// How many entries it has: at least one.
    #[inline]
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no page is empty")]
    pub fn len(&self) -> usize {
        self.keys.ends.len()
    }

    /// The key of the entry at `index`, which is below [`len`](Page::len).
    #[inline]
    #[must_use]
    pub fn key(&self, index: usize) -> &[u8] {
        self.keys.get(index)
    }

    /// The entry at `index`, which is below [`len`](Page::len).
    #[inline(always)]
    #[must_use]
    pub fn entry(&self, index: usize) -> PageEntry<'_> {
        PageEntry {
            key: self.keys.get(index),
            height: self.keys.ends[index].height(),
            node: self.node_of(index),
        }
    }

    /// Its entries, ascending.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = PageEntry<'_>> + DoubleEndedIterator {
        (0..self.len()).map(|index| self.entry(index))
    }

    /// About as many bytes of memory as it takes, keys that it shares with others included.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Page>()
            + size_of::<Keys>()
            + self.keys.bytes.capacity()
            + self.keys.ends.capacity() * size_of::<End>()
            + self.nodes.memory_bytes()
    }

    /// The first key, by which it is found.
    #[must_use]
    pub fn first_key(&self) -> &[u8] {
        self.keys.get(0)
    }

    /// The entries in which it differs from `before`, with what they were; `None` if they don't have the same keys.
    pub fn changed_since<'p>(
        &'p self,
        before: &'p Page,
    ) -> Option<impl Iterator<Item = (PageEntry<'p>, PageEntry<'p>)>> {
        let pairs = move || (0..self.len()).filter(|index| self.node_of(*index) != before.node_of(*index));
        (self.keys == before.keys).then(|| pairs().map(move |index| (before.entry(index), self.entry(index))))
    }

    /// Whether its entry `at` is that one.
    fn has(&self, at: usize, entry: &PageEntry<'_>) -> bool {
        self.nodes.is(at, &entry.node)
            && self.keys.get(at) == entry.key
            && self.keys.ends[at].height() == entry.height
    }

    /// How many leaves are below the entry at `index`.
    #[inline]
    pub(crate) fn count(&self, index: usize) -> u64 {
        self.nodes.count(index)
    }

    /// How many keys come before `key`, and whether it is there too.
    pub(crate) fn find(&self, key: &[u8]) -> (usize, bool) {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = middle(from, to);
            match self.keys.get(middle).cmp(key) {
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
            return self.node_of(from);
        }
        self.nodes.get(self.inner(middle(from, to)), to - from)
    }

    /// The node of an entry.
    #[inline(always)]
    fn node_of(&self, index: usize) -> Node {
        self.nodes.get(index, 1)
    }

    /// The bytes to store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 + self.keys.bytes.len() + 72 * self.len());
        out.push(self.level);
        out.push(self.len() as u8);
        for entry in self.entries() {
            codec::put_bytes(&mut out, entry.key);
            out.push(entry.height);
            entry.put_node(self.level, &mut out);
        }
        self.nodes
            .hashes(self.len()..self.nodes.len())
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
        let mut draft = Draft::new(level, len);
        let mut count = 0u64;
        for _ in 0..len {
            let at = reader.at();
            let entry = page_entry(&mut reader, level)?;
            count = count
                .checked_add(entry.node.count)
                .ok_or(reader.fault(at, Fault::Bounds))?;
            draft.push_next(entry).ok_or(reader.fault(at, Fault::Order))?;
        }
        let mut page = draft.page().ok_or(reader.fault(0, Fault::Bounds))?;
        for at in 1..len {
            let at = page.inner(at);
            let hash = Hash(reader.array()?);
            page.nodes.set_hash(at, hash);
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
        let mut draft = Draft::new(0, 16);
        for (key, value) in leaves {
            let (key, value) = (key.as_ref(), value.as_ref());
            let node = Node::leaf(key, &value_hash(value), Element::decode(value).ok()?.sum());
            draft.push_next(PageEntry {
                key,
                height: height(key),
                node,
            })?;
        }
        let mut page = draft.page()?;
        page.rehash().ok()?;
        Some(page)
    }

    /// The page that has those entries; `None` if they can't be a page. Its [`top`](Page::top) tells whether it is the one
    /// that was wanted: that binds every entry.
    #[must_use]
    pub fn from_entries<'a>(level: u8, entries: impl IntoIterator<Item = PageEntry<'a>>) -> Option<Page> {
        let entries = entries.into_iter();
        let mut draft = Draft::new(level, entries.size_hint().0.clamp(1, PAGE_LEN_MAX));
        for entry in entries {
            draft.push_next(entry)?;
        }
        let mut page = draft.page().filter(|_| level < LEVELS_MAX)?;
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
        self.put_record(level, begins, &mut out);
        out
    }

    /// Appends the same bytes to others.
    pub fn put_record(&self, level: u8, begins: bool, out: &mut Vec<u8>) {
        out.push(self.height | if begins { BEGINS } else { 0 });
        self.put_node(level, out);
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
