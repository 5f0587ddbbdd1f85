//! Memory that pages live in: the only place of this crate, beside the mapping of the file, that hands out bytes
//! which others write at other times. `store` proves when that is.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

/// A huge page: slabs of at least this size are aligned to it, so that the kernel can back them with one.
const HUGE: usize = 2 << 20;

/// Memory for a number of pages, zeroed by the kernel when it is first touched.
pub(super) struct Slab {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a slab is plain memory that it alone owns; who may touch which bytes of it at which time is the contract of `slice` and `slice_mut`.
unsafe impl Send for Slab {}
// SAFETY: as above.
unsafe impl Sync for Slab {}

impl Slab {
    pub(super) fn new(len: usize) -> Slab {
        let align = if len >= HUGE { HUGE } else { 4096 };
        let layout = Layout::from_size_align(len, align).expect("a slab is smaller than the address space");
        // SAFETY: the layout's size is not zero: a slab has at least one page.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else {
            handle_alloc_error(layout)
        };
        if align == HUGE {
            // SAFETY: the range is ours, and the advice changes how it is backed, not what it holds.
            unsafe { libc::madvise(start.as_ptr().cast(), len, libc::MADV_HUGEPAGE) };
        }
        Slab { start, layout }
    }

    /// # Safety
    ///
    /// Nobody may write these bytes while the slice lives.
    #[inline]
    pub(super) unsafe fn slice<'a>(&self, offset: usize, len: usize) -> &'a [u8] {
        assert!(offset + len <= self.layout.size());
        // SAFETY: in bounds as asserted, initialised since the slab was zeroed; that nobody writes is the caller's promise,
        // and `store` keeps slabs for as long as anything that may hold such a slice.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(offset), len) }
    }

    /// # Safety
    ///
    /// Nobody else may read or write these bytes while the slice lives.
    #[expect(clippy::mut_from_ref, reason = "the slots of a slab are owned one by one")]
    pub(super) unsafe fn slice_mut(&self, offset: usize, len: usize) -> &mut [u8] {
        assert!(offset + len <= self.layout.size());
        // SAFETY: in bounds as asserted; exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().add(offset), len) }
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        // SAFETY: allocated with this very layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// Zeroed words that cost nothing before they are touched.
pub(super) fn zeroed_words(len: usize) -> Box<[AtomicU32]> {
    let words = Box::<[AtomicU32]>::new_zeroed_slice(len);
    // SAFETY: an atomic whose bytes are all zero is a valid one.
    unsafe { words.assume_init() }
}
