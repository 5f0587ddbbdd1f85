//! Leaves: entries in key order.
//!
//! ```text
//!  header │ heads: [u32; n] │ offsets: [u16; n] │ cells, contiguous, in key order │ zeros
//! ```
//!
//! A cell is a tag (key length, whether the value is large, whether it expires), the whole key, eight bytes of expiry if it has one, and
//! the value, or the reference to a large one. Keys are whole, not cut to what follows the shared prefix, so that they can be lent.

use std::cmp::Ordering;

use super::max_key_len;
use super::page::{self, Fault, HEADER, Header, u16_at};
use super::search::{Heads, head, partition};
use super::separator::common;
use crate::op::{Entry, LargeRef, Value};

const IS_LARGE: u16 = 1 << 14;
const EXPIRES: u16 = 1 << 15;
const KEY_LEN: u16 = IS_LARGE - 1;

/// Bytes that an entry takes beside its cell: head and offset.
pub(super) const SLOT: usize = 6;
const TAG: usize = 2;

/// A view of a leaf that passed [`page::check_structure`].
///
/// A page of a mapping can still turn into zeros when the device fails. Whoever gives an answer out looks for that; here it only must not
/// lead outside, so what the bytes say is checked wherever it is followed.
#[derive(Clone, Copy, Default)]
pub(crate) struct Leaf<'p> {
    page: &'p [u8],
    count: usize,
}

impl<'p> Leaf<'p> {
    #[inline]
    pub(crate) fn new(page: &'p [u8]) -> Leaf<'p> {
        Leaf {
            page,
            count: page::count(page),
        }
    }

    #[inline]
    pub(crate) fn count(self) -> usize {
        self.count
    }

    /// How many of its values are large.
    #[inline]
    pub(crate) fn large_count(self) -> usize {
        page::large(self.page)
    }

    #[inline]
    fn heads(self) -> Heads<'p> {
        Heads::new(&self.page[HEADER..HEADER + 4 * self.count])
    }

    #[inline]
    fn offset(self, index: usize) -> usize {
        if index < self.count {
            u16_at(self.page, HEADER + 4 * self.count + 2 * index)
        } else {
            page::used(self.page)
        }
    }

    /// The bytes of the cells from `from` up to `to`.
    #[inline]
    fn cells(self, from: usize, to: usize) -> &'p [u8] {
        self.page
            .get(self.offset(from)..self.offset(to))
            .unwrap_or_default()
    }

    /// Bytes that the entries from `from` up to `to` take in a leaf, slots included.
    #[inline]
    pub(super) fn bytes(self, from: usize, to: usize) -> usize {
        self.offset(to) - self.offset(from) + (to - from) * SLOT
    }

    /// Where the cell begins, for prefetching.
    #[inline]
    pub(super) fn cell_start(self, index: usize) -> &'p [u8] {
        self.page.get(self.offset(index)..).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn key(self, index: usize) -> &'p [u8] {
        let at = self.offset(index);
        let tag = self.page.get(at..).and_then(|cell| cell.first_chunk());
        let len = tag.map_or(0, |tag| u16::from_le_bytes(*tag) & KEY_LEN) as usize;
        self.page.get(at + TAG..at + TAG + len).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn entry(self, index: usize) -> Entry<'p> {
        split(self.cells(index, index + 1)).1
    }

    #[inline]
    pub(crate) fn key_and_entry(self, index: usize) -> (&'p [u8], Entry<'p>) {
        split(self.cells(index, index + 1))
    }

    /// Whether all values are in the leaf and none expires, so that [`pair`](Self::pair) has all there is.
    #[inline]
    pub(crate) fn is_plain(self) -> bool {
        self.large_count() == 0 && page::expiring(self.page) == 0
    }

    /// The key and the value of an entry of a leaf that is plain.
    #[inline]
    pub(crate) fn pair(self, index: usize) -> (&'p [u8], &'p [u8]) {
        let cell = self.cells(index, index + 1);
        let Some((tag, rest)) = cell.split_first_chunk() else {
            return Default::default();
        };
        let key_len = usize::from(u16::from_le_bytes(*tag));
        rest.split_at_checked(key_len).unwrap_or_default()
    }

    /// The large values among the entries from `from` up to `to`.
    pub(crate) fn large_values(self, from: usize, to: usize) -> impl Iterator<Item = LargeRef> + use<'p> {
        let range = if self.large_count() > 0 { from..to } else { 0..0 };
        range.filter_map(move |i| match self.entry(i).value {
            Value::Large(large) => Some(large),
            Value::Inline(_) => None,
        })
    }

    /// The index of `key`, or the one where it would go.
    #[inline]
    pub(crate) fn search(self, key: &[u8]) -> Result<usize, usize> {
        let skip = page::prefix_len(self.page);
        if skip > 0 {
            let prefix = self.key(0).get(..skip).unwrap_or_default();
            match prefix.cmp(&key[..skip.min(key.len())]) {
                Ordering::Equal => {}
                Ordering::Greater => return Err(0),
                Ordering::Less => return Err(self.count),
            }
        }
        let head = head(key, skip);
        let heads = self.heads();
        let low = heads.below(head);
        if heads.get(low) != Some(head) {
            return Err(low);
        }
        let high = heads.end_of_run(head, low);
        let at = partition(low, high, |i| self.key(i) < key);
        if at < high && self.key(at) == key {
            Ok(at)
        } else {
            Err(at)
        }
    }

    /// The index of a candidate for `key`, chosen by its head alone where that is enough to tell.
    #[inline]
    pub(super) fn candidate(self, key: &[u8]) -> Option<usize> {
        let head = head(key, page::prefix_len(self.page));
        let heads = self.heads();
        let low = heads.below(head);
        if heads.get(low) != Some(head) {
            return None;
        }
        if heads.get(low + 1) != Some(head) {
            return Some(low);
        }
        let high = heads.end_of_run(head, low);
        Some(partition(low, high - 1, |i| self.key(i) < key))
    }

    /// What `key` is set to. No need to look at the prefix: the whole key is compared in the end.
    #[inline]
    pub(crate) fn get(self, key: &[u8]) -> Option<Entry<'p>> {
        self.get_at(self.candidate(key)?, key)
    }

    #[inline]
    pub(super) fn get_at(self, candidate: usize, key: &[u8]) -> Option<Entry<'p>> {
        let (found, entry) = self.key_and_entry(candidate);
        (found == key).then_some(entry)
    }

    pub(super) fn check_structure(page: &[u8]) -> Result<(), Fault> {
        let leaf = Leaf::new(page);
        let mut at = HEADER + SLOT * leaf.count;
        if at > page::used(page) || leaf.offset(0) != at {
            return Err("the entries overlap the header");
        }
        let (mut large, mut expiring) = (0, 0);
        let prefix = page::prefix_len(page);
        for i in 0..leaf.count {
            let end = leaf.offset(i + 1);
            if end > page::used(page) || end < at + TAG {
                return Err("an entry lies outside");
            }
            let tag = u16_at(page, at) as u16;
            let key_len = (tag & KEY_LEN) as usize;
            let fixed = TAG + key_len + if tag & EXPIRES != 0 { 8 } else { 0 };
            let is_large = tag & IS_LARGE != 0;
            let is_long = key_len > max_key_len(page.len()) || SLOT + end - at > (page.len() - HEADER) / 2;
            if is_long || fixed > end - at || (is_large && end - at != fixed + LargeRef::LEN) {
                return Err("an entry has an impossible length");
            }
            // Only the first key is ever cut to the prefix.
            if i == 0 && key_len < prefix {
                return Err("a key is shorter than the shared prefix");
            }
            large += usize::from(is_large);
            expiring += usize::from(tag & EXPIRES != 0);
            at = end;
        }
        if large != page::large(page) || expiring != page::expiring(page) {
            return Err("the counts in the header are wrong");
        }
        Ok(())
    }

    /// What [`check_structure`](Self::check_structure) leaves out: the order of the keys, their heads, and the shared prefix.
    pub(super) fn check_order(self) -> Result<(), Fault> {
        let skip = page::prefix_len(self.page);
        let prefix = &self.key(0)[..skip];
        for i in 0..self.count {
            let key = self.key(i);
            if i > 0 && self.key(i - 1) >= key {
                return Err("the keys are out of order");
            }
            if !key.starts_with(prefix) || self.heads().get(i) != Some(head(key, skip)) {
                return Err("a head does not match its key");
            }
        }
        Ok(())
    }
}

/// A cell's key and entry.
#[inline]
fn split(cell: &[u8]) -> (&[u8], Entry<'_>) {
    let Some((tag, rest)) = cell.split_first_chunk() else {
        let value = Value::Inline(cell);
        return (&[], Entry { value, expires: None });
    };
    let tag = u16::from_le_bytes(*tag);
    let (key, mut rest) = rest
        .split_at_checked((tag & KEY_LEN) as usize)
        .unwrap_or_default();
    let mut expires = None;
    if tag & EXPIRES != 0
        && let Some((at, after)) = rest.split_first_chunk()
    {
        expires = Some(u64::from_le_bytes(*at));
        rest = after;
    }
    let value = match rest.first_chunk() {
        Some(large) if tag & IS_LARGE != 0 => Value::Large(LargeRef::decode(large)),
        _ => Value::Inline(rest),
    };
    (key, Entry { value, expires })
}

/// Consecutive entries of a leaf to be.
#[derive(Clone, Copy)]
pub(super) enum Part<'t> {
    /// Entries of another leaf, as they are.
    Run { leaf: Leaf<'t>, from: usize, to: usize },
    /// One more.
    Put { key: &'t [u8], entry: Entry<'t> },
}

impl<'t> Part<'t> {
    pub(super) fn count(&self) -> usize {
        match self {
            Part::Run { from, to, .. } => to - from,
            Part::Put { .. } => 1,
        }
    }

    /// Bytes in a leaf, slots included.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        match self {
            Part::Run { leaf, from, to } => leaf.bytes(*from, *to),
            Part::Put { key, entry } => put_bytes(key, entry),
        }
    }

    pub(super) fn first_key(&self) -> &'t [u8] {
        match self {
            Part::Run { leaf, from, .. } => leaf.key(*from),
            Part::Put { key, .. } => key,
        }
    }

    pub(super) fn last_key(&self) -> &'t [u8] {
        match self {
            Part::Run { leaf, to, .. } => leaf.key(*to - 1),
            Part::Put { key, .. } => key,
        }
    }
}

/// Bytes that an entry takes in a leaf, its slot included.
#[inline]
pub(super) fn put_bytes(key: &[u8], entry: &Entry<'_>) -> usize {
    let value = match entry.value {
        Value::Inline(bytes) => bytes.len(),
        Value::Large(_) => LargeRef::LEN,
    };
    SLOT + TAG + key.len() + value + if entry.expires.is_some() { 8 } else { 0 }
}

/// Builds a leaf from parts, none of them empty, that fit into it.
pub(super) fn fill(page: &mut [u8], parts: &[Part<'_>]) {
    let count: usize = parts.iter().map(Part::count).sum();
    let skip = match parts {
        [] => 0,
        [first, .., last] => common(first.first_key(), last.last_key()),
        [only] => common(only.first_key(), only.last_key()),
    };
    let cells_at = HEADER + SLOT * count;
    let mut used = cells_at;
    {
        let (slots, cells) = page.split_at_mut(cells_at);
        let (heads, offsets) = slots[HEADER..].split_at_mut(4 * count);
        let mut filling = Filling {
            heads: heads.as_chunks_mut().0,
            offsets: offsets.as_chunks_mut().0,
            cells,
            at: 0,
            cells_at,
            skip,
            large: 0,
            expiring: 0,
        };
        for part in parts {
            match part {
                Part::Run { leaf, from, to } => filling.run(*leaf, *from, *to),
                Part::Put { key, entry } => filling.put(key, entry),
            }
        }
        used += filling.at;
        filling.cells[filling.at..].fill(0);
        let (large, expiring) = (filling.large, filling.expiring);
        Header {
            level: 0,
            count,
            prefix: skip,
            large,
            expiring,
            used,
        }
    }
    .write(page);
}

/// Builds a leaf of the entries of `old`, some of them put with other values, of the same kind and as long as they were.
pub(super) fn fill_replacing(page: &mut [u8], old: Leaf<'_>, parts: &[Part<'_>]) {
    page[page::GENERIC..].copy_from_slice(&old.page[page::GENERIC..]);
    let mut index = 0;
    for part in parts {
        if let Part::Put { key, entry } = part {
            let cell = &mut page[old.offset(index) + TAG + key.len()..old.offset(index + 1)];
            let (expires, value) = cell.split_at_mut(entry.expires.map_or(0, |_| 8));
            if let Some(at) = entry.expires {
                expires.copy_from_slice(&at.to_le_bytes());
            }
            match entry.value {
                Value::Inline(bytes) => value.copy_from_slice(bytes),
                Value::Large(large) => value.copy_from_slice(&large.encode()),
            }
        }
        index += part.count();
    }
}

struct Filling<'b> {
    /// What is still to be written of each array.
    heads: &'b mut [[u8; 4]],
    offsets: &'b mut [[u8; 2]],
    cells: &'b mut [u8],
    /// Where the next cell goes within `cells`.
    at: usize,
    /// Where `cells` begins in the page.
    cells_at: usize,
    skip: usize,
    large: usize,
    expiring: usize,
}

impl<'b> Filling<'b> {
    fn slots(&mut self, count: usize) -> (&'b mut [[u8; 4]], &'b mut [[u8; 2]]) {
        let (heads, later) = std::mem::take(&mut self.heads).split_at_mut(count);
        self.heads = later;
        let (offsets, later) = std::mem::take(&mut self.offsets).split_at_mut(count);
        self.offsets = later;
        (heads, offsets)
    }

    fn run(&mut self, leaf: Leaf<'_>, from: usize, to: usize) {
        let cells = leaf.cells(from, to);
        let (heads, offsets) = self.slots(to - from);
        self.cells[self.at..self.at + cells.len()].copy_from_slice(cells);

        // Wrapping, because the cells move either way; the sums are right modulo 2^16 and lie below it.
        let moved = (self.cells_at + self.at).wrapping_sub(leaf.offset(from)) as u16;
        let old = HEADER + 4 * leaf.count;
        let old = leaf.page[old + 2 * from..old + 2 * to].as_chunks::<2>().0;
        for (offset, old) in offsets.iter_mut().zip(old) {
            *offset = u16::from_le_bytes(*old).wrapping_add(moved).to_le_bytes();
        }

        if page::prefix_len(leaf.page) == self.skip {
            let old = &leaf.page[HEADER + 4 * from..HEADER + 4 * to];
            heads.as_flattened_mut().copy_from_slice(old);
        } else {
            for (i, slot) in (from..to).zip(heads) {
                *slot = head(leaf.key(i), self.skip).to_le_bytes();
            }
        }
        if leaf.large_count() > 0 || page::expiring(leaf.page) > 0 {
            for i in from..to {
                let tag = u16_at(leaf.page, leaf.offset(i)) as u16;
                self.large += usize::from(tag & IS_LARGE != 0);
                self.expiring += usize::from(tag & EXPIRES != 0);
            }
        }
        self.at += cells.len();
    }

    #[inline]
    fn put(&mut self, key: &[u8], entry: &Entry<'_>) {
        let (heads, offsets) = self.slots(1);
        heads[0] = head(key, self.skip).to_le_bytes();
        offsets[0] = ((self.cells_at + self.at) as u16).to_le_bytes();

        let encoded;
        let (value, mut tag) = match entry.value {
            Value::Inline(bytes) => (bytes, key.len() as u16),
            Value::Large(large) => {
                encoded = large.encode();
                self.large += 1;
                (&encoded[..], key.len() as u16 | IS_LARGE)
            }
        };
        if let Some(expires) = entry.expires {
            tag |= EXPIRES;
            self.expiring += 1;
            self.append(&tag.to_le_bytes());
            self.append(key);
            self.append(&expires.to_le_bytes());
        } else {
            self.append(&tag.to_le_bytes());
            self.append(key);
        }
        self.append(value);
    }

    #[inline]
    fn append(&mut self, bytes: &[u8]) {
        self.cells[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }
}
