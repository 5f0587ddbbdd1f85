//! The atomics of what readers share without a lock: those of the standard library, or loom's when `models` tries every order.

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Called before what failed because another thread was in the way is tried again.
#[inline]
pub(crate) fn again() {
    // Without it a model would try the same again for ever while the other thread never goes on.
    #[cfg(loom)]
    loom::thread::yield_now();
}

#[cfg(loom)]
pub(crate) use planted::{fence, without_fences};

/// A fault that a model can plant.
#[cfg(loom)]
mod planted {
    use std::cell::Cell;

    use super::Ordering;

    thread_local! {
        /// One for each model, as all threads of a model are one of the system's.
        static LEFT_OUT: Cell<bool> = const { Cell::new(false) };
    }

    pub(crate) fn fence(order: Ordering) {
        if !LEFT_OUT.get() {
            loom::sync::atomic::fence(order);
        }
    }

    /// Runs `body` where fences do nothing.
    pub(crate) fn without_fences<T>(body: impl FnOnce() -> T) -> T {
        LEFT_OUT.set(true);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        LEFT_OUT.set(false);
        outcome.unwrap_or_else(|cause| std::panic::resume_unwind(cause))
    }
}
