//! When a change happened, and what a view sees of it.
//!
//! The clock is moved on only by those who take views. A change is made visible first and dated afterwards, by whoever comes first; nobody acts on what he
//! has seen before it is dated. A view announces itself, reads the clock, and moves it on.
//!
//! - What is dated after the view was taken is younger than the view, because the clock has moved.
//! - Who has dated his change and then sees no view that wants what was there before may free it: a view that comes later reads a clock that is not earlier than the date.

use crate::sync::{AtomicU64, Ordering, fence};

/// The stamp of a change that has no date yet.
pub(crate) const UNDATED: u64 = 0;
/// In a view's word: its time is still being taken, and is this one or a later one.
const TAKING: u64 = 1 << 63;

/// The date of a change that is visible, which is decided now unless it was before.
pub(crate) fn date(stamp: &AtomicU64, clock: &AtomicU64) -> u64 {
    let seen = stamp.load(Ordering::Acquire);
    if seen != UNDATED {
        return seen;
    }
    // Pairs with the last fence of `take`: whoever took a view and didn't see the change has moved the clock for us.
    fence(Ordering::SeqCst);
    let now = clock.load(Ordering::Acquire);
    match stamp.compare_exchange(UNDATED, now, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => now,
        Err(earlier) => earlier,
    }
}

/// Takes a view: announces it in its word, and returns its time.
pub(crate) fn take(view: &AtomicU64, clock: &AtomicU64) -> u64 {
    view.store(TAKING | clock.load(Ordering::Acquire), Ordering::Release);
    // Pairs with the fence of those who look at the views: either they see ours, or we see the clock by which they dated.
    fence(Ordering::SeqCst);
    let time = clock.load(Ordering::Acquire) & !TAKING;
    // Failure: somebody else moved it on.
    let _ = clock.compare_exchange(time, time + 1, Ordering::AcqRel, Ordering::Acquire);
    fence(Ordering::SeqCst);
    view.store(time, Ordering::Release);
    time
}

/// Before the views are looked at, and after the change is dated.
pub(crate) fn before_looking() {
    fence(Ordering::SeqCst);
}

/// Whether the view in a word may want what came at `born` and was replaced at `died`. 0 is no view.
pub(crate) fn wants(view: u64, born: u64, died: u64) -> bool {
    match view & TAKING {
        0 => view != 0 && born <= view && view < died,
        _ => view & !TAKING < died,
    }
}
