//! The header that every page of a tree begins with, its checksum, and what is verified when a page is first met.
//!
//! | at | bytes | what                                                                  |
//! | -: | ----: | --------------------------------------------------------------------- |
//! |  0 |     8 | checksum: XXH3-64 of everything after it, seeded with the page's id   |
//! |  8 |     8 | page id                                                               |
//! | 16 |     8 | birth: the commit that built the page                                 |
//! | 24 |     1 | level: 0 for a leaf                                                   |
//! | 25 |     1 | kind                                                                  |
//! | 26 |     2 | count: entries of a leaf, children of a branch                        |
//! | 28 |     2 | length of the prefix that all keys or separators share                |
//! | 30 |     2 | leaf: how many values are stored large                                |
//! | 32 |     4 | where the used part ends; zeros follow                                |
//! | 36 |     2 | leaf: how many entries expire                                         |
//! | 38 |     2 | zero                                                                  |

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::branch::Branch;
use super::leaf::Leaf;
use crate::ids::{PageId, PagePtr, TxId};

/// The part of the header that the page store writes; the tree writes what follows.
pub(crate) const GENERIC: usize = 24;
/// Bytes of the whole header.
pub(super) const HEADER: usize = 40;

const ID: usize = 8;
const BIRTH: usize = 16;
const LEVEL: usize = 24;
const KIND: usize = 25;
const COUNT: usize = 26;
const PREFIX: usize = 28;
const LARGE: usize = 30;
const USED: usize = 32;
const EXPIRING: usize = 36;

/// The kind of a leaf. Kinds from 16 up are not of trees.
pub(crate) const KIND_LEAF: u8 = 1;
/// The kind of a branch.
pub(crate) const KIND_BRANCH: u8 = 2;

#[inline]
pub(super) fn u16_at(page: &[u8], at: usize) -> usize {
    u16::from_le_bytes(page[at..at + 2].try_into().expect("two bytes")) as usize
}

#[inline]
pub(super) fn u32_at(page: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(page[at..at + 4].try_into().expect("four bytes"))
}

#[inline]
pub(super) fn u64_at(page: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(page[at..at + 8].try_into().expect("eight bytes"))
}

/// What the tree writes into a header.
pub(super) struct Header {
    pub(super) level: u8,
    pub(super) count: usize,
    pub(super) prefix: usize,
    pub(super) large: usize,
    pub(super) expiring: usize,
    pub(super) used: usize,
}

impl Header {
    pub(super) fn write(&self, page: &mut [u8]) {
        let short = |n: usize| {
            u16::try_from(n)
                .expect("counts and lengths within a page")
                .to_le_bytes()
        };
        let used = u32::try_from(self.used)
            .expect("a page is at most 64 KiB")
            .to_le_bytes();
        page[LEVEL] = self.level;
        page[KIND] = if self.level == 0 { KIND_LEAF } else { KIND_BRANCH };
        page[COUNT..COUNT + 2].copy_from_slice(&short(self.count));
        page[PREFIX..PREFIX + 2].copy_from_slice(&short(self.prefix));
        page[LARGE..LARGE + 2].copy_from_slice(&short(self.large));
        page[USED..USED + 4].copy_from_slice(&used);
        page[EXPIRING..EXPIRING + 2].copy_from_slice(&short(self.expiring));
        page[EXPIRING + 2..HEADER].fill(0);
    }
}

/// Writes the generic part of the header; the checksum is left zero until [`seal`].
pub(crate) fn begin(page: &mut [u8], id: PageId, birth: TxId) {
    page[..ID].fill(0);
    page[ID..ID + 8].copy_from_slice(&id.0.to_le_bytes());
    page[BIRTH..BIRTH + 8].copy_from_slice(&birth.0.to_le_bytes());
}

/// Puts the checksum in: the last thing done to a page before it goes to the file.
pub(crate) fn seal(page: &mut [u8]) {
    let checksum = xxh3_64_with_seed(&page[ID..], u64_at(page, ID));
    page[..ID].copy_from_slice(&checksum.to_le_bytes());
}

/// The page's own id.
pub(crate) fn id(page: &[u8]) -> PageId {
    PageId(u64_at(page, ID))
}

/// The commit that built the page.
pub(crate) fn birth(page: &[u8]) -> TxId {
    TxId(u64_at(page, BIRTH))
}

/// The level of the page: 0 for a leaf.
#[inline]
pub(crate) fn level(page: &[u8]) -> u8 {
    page[LEVEL]
}

#[inline]
pub(super) fn count(page: &[u8]) -> usize {
    u16_at(page, COUNT)
}

#[inline]
pub(super) fn prefix_len(page: &[u8]) -> usize {
    u16_at(page, PREFIX)
}

#[inline]
pub(super) fn large(page: &[u8]) -> usize {
    u16_at(page, LARGE)
}

#[inline]
pub(super) fn expiring(page: &[u8]) -> usize {
    u16_at(page, EXPIRING)
}

#[inline]
pub(super) fn used(page: &[u8]) -> usize {
    u32_at(page, USED) as usize
}

/// Why bytes are not the page that was meant.
pub(crate) type Fault = &'static str;

/// Whether these bytes, fresh from the file, are the page that `ptr` means: checksum, id, birth, level and structure.
pub(crate) fn verify(page: &[u8], ptr: PagePtr, level: u8) -> Result<(), Fault> {
    verify_identity(page, ptr)?;
    check_structure(page, level)
}

/// The part of [`verify`] that holds for pages of every kind.
pub(crate) fn verify_identity(page: &[u8], ptr: PagePtr) -> Result<(), Fault> {
    if page.len() < HEADER {
        return Err("the page is cut short");
    }
    if u64_at(page, 0) != xxh3_64_with_seed(&page[ID..], ptr.id().0) {
        return Err("the checksum does not match");
    }
    if id(page) != ptr.id() {
        return Err("another page's bytes are here");
    }
    if !ptr.is_birth(birth(page)) {
        return Err("a version of another commit is here");
    }
    Ok(())
}

/// Whether every access that the tree can make to this page stays inside it, whatever wrote it. The order of a leaf's keys is not
/// looked at: a wrong one can't do more than give wrong answers, and `check` finds it.
pub(crate) fn check_structure(page: &[u8], level: u8) -> Result<(), Fault> {
    if !page.len().is_power_of_two() || !super::PAGE_SIZES.contains(&page.len()) {
        return Err("the page has an impossible size");
    }
    if page[LEVEL] != level {
        return Err("the page is of another level");
    }
    if used(page) > page.len() {
        return Err("the used part ends outside");
    }
    if count(page) == 0 {
        return Err("the page is empty");
    }
    match (level, page[KIND]) {
        (0, KIND_LEAF) => Leaf::check_structure(page),
        (1.., KIND_BRANCH) => Branch::check_structure(page),
        _ => Err("the page is of another kind"),
    }
}
