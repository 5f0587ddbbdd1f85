//! Branches: children, parted by separators.
//!
//! ```text
//!  header │ heads: [u32; n - 1] │ children: [u64; n] │ offsets: [u16; n - 1] │ prefix │ suffixes │ zeros
//! ```
//!
//! Child `i` has the keys from separator `i - 1` (included) up to separator `i`. A separator is the prefix that all of the page share,
//! followed by its own suffix.

use std::cmp::Ordering;

use super::max_key_len;
use super::page::{self, Fault, HEADER, Header, u16_at, u64_at};
use super::search::{Heads, head, partition};
use super::separator::Separator;
use crate::ids::PagePtr;

/// Bytes that a child takes beside its separator's suffix: head, pointer, offset.
pub(super) const SLOT: usize = 14;
/// What the first child takes less, having no separator.
const FIRST_LESS: usize = 6;

/// A view of a branch that passed [`page::check_structure`].
///
/// A page of a mapping can still turn into zeros when the device fails. Whoever gives an answer out looks for that; here it only must not
/// lead outside.
#[derive(Clone, Copy)]
pub(super) struct Branch<'p> {
    page: &'p [u8],
    count: usize,
}

impl<'p> Branch<'p> {
    #[inline]
    pub(super) fn new(page: &'p [u8]) -> Branch<'p> {
        Branch {
            page,
            // Zeros read as a branch whose only child is missing.
            count: page::count(page).max(1),
        }
    }

    /// How many children it has: at least one.
    #[inline]
    pub(super) fn count(self) -> usize {
        self.count
    }

    #[inline]
    fn heads(self) -> Heads<'p> {
        Heads::new(&self.page[HEADER..HEADER + 4 * (self.count - 1)])
    }

    #[inline]
    fn child_at(self, index: usize) -> usize {
        HEADER + 4 * (self.count - 1) + 8 * index
    }

    #[inline]
    pub(super) fn child(self, index: usize) -> PagePtr {
        PagePtr::from_bits(u64_at(self.page, self.child_at(index)))
    }

    fn offset(self, index: usize) -> usize {
        if index + 1 < self.count {
            u16_at(self.page, self.child_at(self.count) + 2 * index)
        } else {
            page::used(self.page)
        }
    }

    fn prefix(self) -> &'p [u8] {
        let at = HEADER + SLOT * self.count - FIRST_LESS;
        &self.page[at..at + page::prefix_len(self.page)]
    }

    fn suffix(self, index: usize) -> &'p [u8] {
        self.page
            .get(self.offset(index)..self.offset(index + 1))
            .unwrap_or_default()
    }

    /// The separator before child `index`, which is not the first.
    pub(super) fn separator(self, index: usize) -> Separator<'p> {
        Separator::new(self.prefix(), self.suffix(index - 1))
    }

    /// Bytes of the separators before the children from `from`, which is not the first, up to `to`.
    #[inline]
    fn separators(self, from: usize, to: usize) -> usize {
        self.offset(to - 1) - self.offset(from - 1) + (to - from) * page::prefix_len(self.page)
    }

    /// The children from `from` up to `to`, none of them the first.
    pub(super) fn part(self, from: usize, to: usize) -> Part<'p> {
        Part::Run {
            branch: self,
            from,
            to,
        }
    }

    /// Child `index`, which is not the first.
    pub(super) fn one(self, index: usize) -> Child<'p> {
        Child {
            separator: self.separator(index),
            ptr: self.child(index),
        }
    }

    /// The index of the child that `key` belongs to.
    #[inline]
    pub(super) fn search(self, key: &[u8]) -> usize {
        let skip = page::prefix_len(self.page);
        if skip > 0 {
            match self.prefix().cmp(&key[..skip.min(key.len())]) {
                Ordering::Equal => {}
                Ordering::Greater => return 0,
                Ordering::Less => return self.count - 1,
            }
        }
        let head = head(key, skip);
        let heads = self.heads();
        let low = heads.below(head);
        if heads.get(low) != Some(head) {
            return low;
        }
        let high = heads.end_of_run(head, low);
        partition(low, high, |i| self.suffix(i) <= &key[skip..])
    }

    pub(super) fn check_structure(page: &[u8]) -> Result<(), Fault> {
        let branch = Branch::new(page);
        let slots_end = HEADER + SLOT * branch.count - FIRST_LESS;
        let mut at = slots_end + page::prefix_len(page);
        let used = page::used(page);
        let Some(suffix_max) = max_key_len(page.len()).checked_sub(page::prefix_len(page)) else {
            return Err("a separator is too long");
        };
        if at > used {
            return Err("the separators overlap the header");
        }
        if branch.offset(0) != at {
            return Err("the separators begin elsewhere");
        }
        for i in 0..branch.count - 1 {
            let end = branch.offset(i + 1);
            if end < at || end > used {
                return Err("a separator lies outside");
            }
            if end - at > suffix_max {
                return Err("a separator is too long");
            }
            at = end;
        }
        if (0..branch.count).any(|i| branch.child(i).is_null()) {
            return Err("a child is missing");
        }
        branch.check_order()
    }

    /// The order of the separators is part of the structure: what copies them relies on all of them sharing the prefix.
    fn check_order(self) -> Result<(), Fault> {
        for i in 0..self.count - 1 {
            if i > 0 && self.suffix(i - 1) >= self.suffix(i) {
                return Err("the separators are out of order");
            }
            if self.heads().get(i) != Some(head(self.suffix(i), 0)) {
                return Err("a head does not match its separator");
            }
        }
        Ok(())
    }
}

/// A child of a branch to be, with the separator before it.
#[derive(Clone, Copy)]
pub(super) struct Child<'t> {
    pub(super) separator: Separator<'t>,
    pub(super) ptr: PagePtr,
}

/// Consecutive children of a branch to be. The first one of a branch is always a `One`.
#[derive(Clone, Copy)]
pub(super) enum Part<'t> {
    /// Children of another branch, as they are; not its first, whose separator is elsewhere.
    Run {
        branch: Branch<'t>,
        from: usize,
        to: usize,
    },
    /// One more.
    One(Child<'t>),
}

impl<'t> Part<'t> {
    #[inline]
    pub(super) fn count(&self) -> usize {
        match self {
            Part::Run { from, to, .. } => to - from,
            Part::One(_) => 1,
        }
    }

    /// Bytes of all the separators.
    #[inline]
    pub(super) fn separators(&self) -> usize {
        match self {
            Part::Run { branch, from, to } => branch.separators(*from, *to),
            Part::One(child) => child.separator.len(),
        }
    }

    pub(super) fn first(&self) -> Separator<'t> {
        match self {
            Part::Run { branch, from, .. } => branch.separator(*from),
            Part::One(child) => child.separator,
        }
    }

    pub(super) fn last(&self) -> Separator<'t> {
        match self {
            Part::Run { branch, to, .. } => branch.separator(*to - 1),
            Part::One(child) => child.separator,
        }
    }
}

/// Bytes that a branch uses after its header: `count` children, whose separators but the first are `separators` bytes long in all
/// and share `prefix` bytes.
pub(super) fn bytes(count: usize, separators: usize, prefix: usize) -> usize {
    let parted = count - 1;
    SLOT * count - FIRST_LESS + separators + prefix - prefix * parted
}

/// The prefix that the separators of a branch of these parts share.
pub(super) fn shared_prefix(parts: &[Part<'_>]) -> usize {
    match parts {
        [] | [_] => 0,
        [_, first, ..] => {
            let last = parts.last().expect("there are two").last();
            first.first().common(last)
        }
    }
}

/// Builds a branch from parts that fit into it; the first is a `One`.
pub(super) fn fill(page: &mut [u8], level: u8, parts: &[Part<'_>]) {
    let count: usize = parts.iter().map(Part::count).sum();
    let prefix = shared_prefix(parts);
    let slots_end = HEADER + SLOT * count - FIRST_LESS;
    let (slots, text) = page.split_at_mut(slots_end);
    let (heads, rest) = slots[HEADER..].split_at_mut(4 * (count - 1));
    let (children, offsets) = rest.split_at_mut(8 * count);
    if let Some(part) = parts.get(1) {
        part.first().copy_before(prefix, text);
    }
    let mut filling = Filling {
        heads: heads.as_chunks_mut().0,
        children: children.as_chunks_mut().0,
        offsets: offsets.as_chunks_mut().0,
        text,
        at: prefix,
        text_at: slots_end,
        prefix,
    };
    for (i, part) in parts.iter().enumerate() {
        match part {
            Part::One(child) if i == 0 => filling.child(child.ptr),
            Part::One(child) => filling.one(child),
            Part::Run { branch, from, to } => filling.run(*branch, *from, *to),
        }
    }
    let used = slots_end + filling.at;
    filling.text[filling.at..].fill(0);
    Header {
        level,
        count,
        prefix,
        large: 0,
        expiring: 0,
        used,
    }
    .write(page);
}

struct Filling<'b> {
    /// What is still to be written of each array.
    heads: &'b mut [[u8; 4]],
    children: &'b mut [[u8; 8]],
    offsets: &'b mut [[u8; 2]],
    /// Prefix and suffixes.
    text: &'b mut [u8],
    /// Where the next suffix goes within `text`.
    at: usize,
    /// Where `text` begins in the page.
    text_at: usize,
    prefix: usize,
}

impl Filling<'_> {
    fn child(&mut self, ptr: PagePtr) {
        take(&mut self.children, 1)[0] = ptr.to_bits().to_le_bytes();
    }

    fn one(&mut self, child: &Child<'_>) {
        self.child(child.ptr);
        self.separator(child.separator);
    }

    fn separator(&mut self, separator: Separator<'_>) {
        let len = separator.copy_after(self.prefix, &mut self.text[self.at..]);
        let head = head(&self.text[self.at..self.at + len], 0);
        take(&mut self.heads, 1)[0] = head.to_le_bytes();
        take(&mut self.offsets, 1)[0] = ((self.text_at + self.at) as u16).to_le_bytes();
        self.at += len;
    }

    fn run(&mut self, branch: Branch<'_>, from: usize, to: usize) {
        let old = &branch.page[branch.child_at(from)..branch.child_at(to)];
        let children = take(&mut self.children, to - from);
        children.as_flattened_mut().copy_from_slice(old);

        if page::prefix_len(branch.page) != self.prefix {
            for i in from..to {
                self.separator(branch.separator(i));
            }
            return;
        }
        let old = &branch.page[HEADER + 4 * (from - 1)..HEADER + 4 * (to - 1)];
        let heads = take(&mut self.heads, to - from);
        heads.as_flattened_mut().copy_from_slice(old);

        let (start, end) = (branch.offset(from - 1), branch.offset(to - 1));
        self.text[self.at..self.at + end - start].copy_from_slice(&branch.page[start..end]);
        // Wrapping, because the suffixes move either way; the sums are right modulo 2^16 and lie below it.
        let moved = (self.text_at + self.at).wrapping_sub(start) as u16;
        let old = branch.child_at(branch.count);
        let old = branch.page[old + 2 * (from - 1)..old + 2 * (to - 1)]
            .as_chunks::<2>()
            .0;
        for (offset, old) in take(&mut self.offsets, to - from).iter_mut().zip(old) {
            *offset = u16::from_le_bytes(*old).wrapping_add(moved).to_le_bytes();
        }
        self.at += end - start;
    }
}

/// Takes the first `count` of what is still to be written.
fn take<'b, T>(rest: &mut &'b mut [T], count: usize) -> &'b mut [T] {
    let (taken, later) = std::mem::take(rest).split_at_mut(count);
    *rest = later;
    taken
}

/// Builds a branch that differs from `old` in some of its children only: places and pointers.
pub(super) fn fill_replacing(page: &mut [u8], old: Branch<'_>, children: &[(usize, PagePtr)]) {
    page[page::GENERIC..].copy_from_slice(&old.page[page::GENERIC..]);
    for (index, child) in children {
        let at = old.child_at(*index);
        page[at..at + 8].copy_from_slice(&child.to_bits().to_le_bytes());
    }
}
