//! When memory that was unlinked may be used again.
//!
//! A session that reads shared structures *pins* the era: it writes the era that it saw into its own word. The era goes on only
//! when every pinned session has seen it; what was unlinked in era `e` is nobody's any more in era `e + 2`. A dead session's pin is
//! ignored as soon as its death is known, so it holds nothing back; a stopped one holds back memory, but nobody's progress.
//!
//! Pinning must be seen before the reads that follow it. A full fence costs more than a look-up, so where the kernel can make
//! all other threads execute one (`membarrier`), the rare side, [`may_advance`]'s caller, pays for it instead.

use crate::sync::{AtomicU64, Ordering, fence};

/// The word of a session that is not pinned.
pub(crate) const UNPINNED: u64 = 0;

/// Pins, with a full fence: whoever looks for pins after that sees this one, or we see what it unlinked before.
pub(crate) fn pin(word: &AtomicU64, era: u64) {
    word.store(era, Ordering::SeqCst);
    fence(Ordering::SeqCst);
}

/// Ends a pin.
#[inline]
pub(crate) fn unpin(word: &AtomicU64) {
    // Release: what was read while pinned was read before this.
    word.store(UNPINNED, Ordering::Release);
}

/// Between the step that made something retired, a compare-and-swap after the one that unlinked it, and the look at the era from which on it waits.
#[inline(always)]
pub(crate) fn after_unlinking() {
    // On this processor a compare-and-swap is a full fence, and another would cost as much again.
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    crate::sync::compiler_fence(Ordering::SeqCst);
    #[cfg(not(all(target_arch = "x86_64", not(loom))))]
    fence(Ordering::SeqCst);
}

/// Why the era stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Straggler(pub(crate) usize);

/// Whether the era may leave `era`: no pin of an earlier one. The caller has executed a barrier since it read `era`.
pub(crate) fn may_advance<'a>(
    era: u64,
    pins: impl Iterator<Item = (usize, &'a AtomicU64)>,
) -> Result<(), Straggler> {
    for (index, pin) in pins {
        let pinned = pin.load(Ordering::Acquire);
        if pinned != UNPINNED && pinned != era {
            return Err(Straggler(index));
        }
    }
    Ok(())
}

/// Moves the era on from `era`, unless somebody else did.
pub(crate) fn advance(word: &AtomicU64, era: u64) {
    let _ = word.compare_exchange(era, era.wrapping_add(1), Ordering::AcqRel, Ordering::Acquire);
}

/// Whether what was retired in era `retired` is free now that the era is `era`.
pub(crate) fn is_over(retired: u64, era: u64) -> bool {
    era.wrapping_sub(retired) >= 2 && era > retired
}
