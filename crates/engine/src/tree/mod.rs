//! The copy-on-write B+tree.
//!
//! A page is never changed once it is built. [`apply`] merges a sorted batch of changes into a tree in one pass: every touched leaf
//! and branch is built anew exactly once, the rest is shared with the tree as it was, which stays readable. So the cells of a page are
//! always contiguous, compact and in order, and nothing manages free space inside pages.
//!
//! The tree knows nothing of files, pools, locks or transactions: it reads pages through [`PageRead`] and writes through [`PageWrite`].
//!
//! ```text
//!  get, Path, Cursor, diff, check  apply, delete_range, drop_tree
//!            │                                │ Merge (copies pages), Builder (packs cells into pages, one stream a level)
//!            └────────── Leaf, Branch (views of verified pages) ──── page (header, checksum)
//! ```

mod apply;
mod branch;
mod builder;
mod check;
mod cursor;
mod diff;
mod drop;
mod get;
mod leaf;
mod merge;
pub(crate) mod page;
mod path;
mod raw;
mod repack;
mod salvage;
mod search;
mod separator;
mod walk;

#[cfg(test)]
mod tests;

pub(crate) use apply::{Applied, Room, apply, apply_with};
pub(crate) use check::{Met, check};
pub(crate) use cursor::Cursor;
pub(crate) use diff::diff;
pub(crate) use drop::{delete_range, drop_tree};
pub(crate) use get::{count, estimate, get, get_many, is_same};
pub(crate) use leaf::Leaf;
pub(crate) use path::Path;
pub(crate) use raw::{prefetch_all, prefetch_head};
pub(crate) use repack::{Repack, repack};
pub(crate) use salvage::{KeySpan, Salvaged, as_leaf, salvage};
pub(crate) use walk::{birth_before, pages};

use crate::error::{Error, Result};
use crate::ids::PagePtr;
use crate::op::LargeRef;

/// Where pages are read from. `'p` is how long their bytes stay: as long as the snapshot.
pub(crate) trait PageRead<'p> {
    /// The bytes of a page, verified by [`page::verify`] when it is first met.
    fn page(&self, ptr: PagePtr, level: u8) -> Result<&'p [u8]>;

    /// Shows `look` a page for a moment, for those who read it once: it need not stay in memory then.
    fn with_page<T>(&self, ptr: PagePtr, level: u8, look: impl FnOnce(&[u8]) -> T) -> Result<T> {
        self.page(ptr, level).map(look)
    }

    /// Starts to bring the beginning of a page into the cache, where that is possible without waiting.
    #[inline]
    fn prefetch(&self, _ptr: PagePtr) {}

    /// The same for all of a page.
    #[inline]
    fn prefetch_all(&self, _ptr: PagePtr) {}

    /// The error for a page that passed [`page::verify`] and yet can't be right.
    fn corrupt(&self, ptr: PagePtr, what: &'static str) -> Error;
}

/// Where pages are written to.
pub(crate) trait PageWrite<'p>: PageRead<'p> {
    /// Takes a fresh page, lets `fill` write all of it after the first [`page::GENERIC`] bytes, returns its pointer.
    fn create(&mut self, level: u8, fill: impl FnOnce(&mut [u8])) -> Result<PagePtr>;

    /// The page is no part of the tree from this commit on. Its bytes stay readable until the change to the tree is complete.
    fn release(&mut self, ptr: PagePtr);

    /// A large value's run is no longer referred to.
    fn release_large(&mut self, large: LargeRef);

    /// Bytes of a page.
    fn page_size(&self) -> usize;
}

/// Where a tree begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    pub(crate) ptr: PagePtr,
    /// The level of the root page: 0 when it is a leaf, and in an empty tree.
    pub(crate) level: u8,
}

impl Root {
    pub(crate) const EMPTY: Root = Root {
        ptr: PagePtr::NULL,
        level: 0,
    };

    pub(crate) fn is_empty(self) -> bool {
        self.ptr.is_null()
    }
}

/// No tree is higher: at two children a branch that would be 2^24 leaves, and branches have dozens.
pub(crate) const MAX_HEIGHT: usize = 24;

/// Page sizes that a tree can have.
pub(crate) const PAGE_SIZES: std::ops::RangeInclusive<usize> = 4096..=65536;

/// The longest key that a tree of such pages takes.
pub(crate) const fn max_key_len(page_size: usize) -> usize {
    page_size / 4 - 64
}

/// The longest value that is kept in the leaf beside a key of `key_len` bytes; longer ones must be stored large. At least two
/// entries fit into a leaf, so that any overfull one can be split.
pub(crate) const fn max_inline(page_size: usize, key_len: usize) -> usize {
    page_size / 2 - 40 - key_len
}
