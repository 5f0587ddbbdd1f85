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
            count: page::count(page),
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
        &self.page[self.offset(index)..self.offset(index + 1)]
    }

    /// The separator before child `index`, which is not the first.
    pub(super) fn separator(self, index: usize) -> Separator<'p> {
        Separator::new(self.prefix(), self.suffix(index - 1))
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

/// Bytes that a branch uses after its header: `count` children, whose separators but the first are `separators` bytes long in all
/// and share `prefix` bytes.
pub(super) fn bytes(count: usize, separators: usize, prefix: usize) -> usize {
    let parted = count - 1;
    SLOT * count - FIRST_LESS + separators + prefix - prefix * parted
}

/// The prefix that the separators of a branch with these children share.
pub(super) fn shared_prefix(children: &[Child<'_>]) -> usize {
    match children {
        [] | [_] => 0,
        [_, first, .., last] => first.separator.common(last.separator),
        [_, only] => only.separator.len(),
    }
}

/// Builds a branch from children, at least one, that fit into it.
pub(super) fn fill(page: &mut [u8], level: u8, children: &[Child<'_>]) {
    let count = children.len();
    let parted = &children[1..];
    let prefix = shared_prefix(children);
    let children_at = HEADER + 4 * parted.len();
    let offsets_at = children_at + 8 * count;
    let prefix_at = offsets_at + 2 * parted.len();

    for (slot, child) in page[children_at..offsets_at].chunks_exact_mut(8).zip(children) {
        slot.copy_from_slice(&child.ptr.to_bits().to_le_bytes());
    }
    let mut used = prefix_at;
    if let Some(first) = parted.first() {
        let whole = first.separator.copy_after(0, &mut page[used..]);
        debug_assert!(prefix <= whole);
        used += prefix;
    }
    for (i, child) in parted.iter().enumerate() {
        let len = child.separator.copy_after(prefix, &mut page[used..]);
        let head = head(&page[used..used + len], 0);
        page[HEADER + 4 * i..][..4].copy_from_slice(&head.to_le_bytes());
        page[offsets_at + 2 * i..][..2].copy_from_slice(&(used as u16).to_le_bytes());
        used += len;
    }
    page[used..].fill(0);
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

/// Builds a branch that differs from `old` in one child only.
pub(super) fn fill_replacing(page: &mut [u8], old: Branch<'_>, index: usize, child: PagePtr) {
    page[page::GENERIC..].copy_from_slice(&old.page[page::GENERIC..]);
    let at = old.child_at(index);
    page[at..at + 8].copy_from_slice(&child.to_bits().to_le_bytes());
}
