//! The one instruction that safe Rust has no name for.

/// Brings the cache line that `bytes` begins in closer, without waiting for it.
#[inline(always)]
pub(super) fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing that the program can see and faults on no address; the instruction is part of every x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(bytes.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}

/// Brings the header of a page closer, and the lines after it, where a search begins.
#[inline]
pub(crate) fn prefetch_head(page: &[u8]) {
    page.chunks(64).take(3).for_each(prefetch);
}

/// Brings all of a page closer: what is about to be copied arrives in parallel then, not line after line.
#[inline]
pub(crate) fn prefetch_all(page: &[u8]) {
    for line in page.chunks(64) {
        prefetch(line);
    }
}
