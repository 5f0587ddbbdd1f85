//! Memory that pages live in: the only place of this crate, beside the mapping of the file, that hands out bytes
//! which others write at other times. `store` proves when that is.

use std::alloc::{Layout, handle_alloc_error};
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

/// A huge page: slabs of at least this size are aligned to it, so that the kernel can back them with one.
const HUGE: usize = 2 << 20;

/// Memory for a number of pages. It comes from the kernel directly, which zeroes it when it is first touched: an allocator would zero memory of such
/// an alignment at once.
pub(super) struct Slab {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a slab is plain memory that it alone owns; who may touch which bytes of it at which time is the contract of `slice` and `slice_mut`.
unsafe impl Send for Slab {}
// SAFETY: as above.
unsafe impl Sync for Slab {}

impl Slab {
    pub(super) fn new(len: usize) -> Slab {
        // Room to begin at a huge page's border; what lies before is never touched and so costs nothing but addresses.
        let spare = if len >= HUGE { HUGE } else { 0 };
        let whole = map(len + spare);
        let begin = if spare > 0 {
            whole.as_ptr().align_offset(HUGE)
        } else {
            0
        };
        // SAFETY: the offset is less than the spare room at the beginning, so the result is inside the mapping.
        let start = unsafe { whole.add(begin) };
        // SAFETY: both ranges are parts of the mapping made just now that nobody else knows of, and begin at a border of pages.
        unsafe {
            if begin > 0 {
                libc::munmap(whole.as_ptr().cast(), begin);
            }
            if spare > begin {
                libc::munmap(start.add(len).as_ptr().cast(), spare - begin);
            }
        }
        if spare > 0 {
            // SAFETY: the range is ours, and the advice changes how it is backed, not what it holds.
            unsafe { libc::madvise(start.as_ptr().cast(), len, libc::MADV_HUGEPAGE) };
        }
        Slab { start, len }
    }

    /// # Safety
    ///
    /// Nobody may write these bytes while the slice lives.
    #[inline]
    pub(super) unsafe fn slice<'a>(&self, offset: usize, len: usize) -> &'a [u8] {
        assert!(offset + len <= self.len);
        // SAFETY: in bounds as asserted, initialised since the kernel gives zeroed memory; that nobody writes is the caller's promise,
        // and `store` keeps slabs for as long as anything that may hold such a slice.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(offset), len) }
    }

    /// # Safety
    ///
    /// Nobody else may read or write these bytes while the slice lives.
    #[expect(clippy::mut_from_ref, reason = "the slots of a slab are owned one by one")]
    pub(super) unsafe fn slice_mut(&self, offset: usize, len: usize) -> &mut [u8] {
        assert!(offset + len <= self.len);
        // SAFETY: in bounds as asserted; exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().add(offset), len) }
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        // SAFETY: the range is what `new` kept of its mapping, and no slice of it outlives the store.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// Asks the kernel to back what lies between borders of huge pages with such pages: a fault for each two megabytes instead of each four kilobytes.
pub(crate) fn advise_huge(memory: &mut [MaybeUninit<u8>]) {
    let begin = memory.as_ptr().align_offset(HUGE).min(memory.len());
    let len = (memory.len() - begin) / HUGE * HUGE;
    if len > 0 {
        let inside = &mut memory[begin..begin + len];
        // SAFETY: the range is lent to us alone and begins at a border of pages; the advice changes how it is backed, not what it holds. Where the
        // kernel declines, nothing happens.
        unsafe { libc::madvise(inside.as_mut_ptr().cast(), len, libc::MADV_HUGEPAGE) };
    }
}

/// Fresh zeroed memory. Like the allocator, it ends the process where there is none.
fn map(len: usize) -> NonNull<u8> {
    // SAFETY: a mapping at an address of the kernel's choice touches no memory that anybody owns.
    let start = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    let layout = Layout::from_size_align(len, 1).expect("a slab is smaller than the address space");
    if start == libc::MAP_FAILED {
        handle_alloc_error(layout);
    }
    NonNull::new(start.cast()).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Zeroed words that cost nothing before they are touched.
pub(super) fn zeroed_words(len: usize) -> Box<[AtomicU32]> {
    let words = Box::<[AtomicU32]>::new_zeroed_slice(len);
    // SAFETY: an atomic whose bytes are all zero is a valid one.
    unsafe { words.assume_init() }
}
