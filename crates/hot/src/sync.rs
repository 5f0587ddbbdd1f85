//! The atomics that everything shared is made of: those of the standard library, or loom's when the protocols are model-checked.

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering, compiler_fence, fence};

#[cfg(loom)]
pub(crate) use self::mortal::AtomicU64;
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{Ordering, fence};

/// Atomics under which a process can vanish: each operation is a step, and a thread may be told after how many it dies.
#[cfg(loom)]
pub(crate) mod mortal {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use super::Ordering;

    loom::thread_local! {
        static STEPS_LEFT: Cell<u32> = Cell::new(u32::MAX);
    }

    struct Vanished;

    /// Runs `life` until it ends or has taken `steps` steps; `None` if it was cut off.
    pub(crate) fn live<T>(steps: u32, life: impl FnOnce() -> T) -> Option<T> {
        STEPS_LEFT.with(|left| left.set(steps));
        let outcome = catch_unwind(AssertUnwindSafe(life));
        STEPS_LEFT.with(|left| left.set(u32::MAX));
        match outcome {
            Ok(value) => Some(value),
            Err(cause) if cause.is::<Vanished>() => None,
            Err(cause) => resume_unwind(cause),
        }
    }

    fn step() {
        STEPS_LEFT.with(|left| match left.get() {
            0 => resume_unwind(Box::new(Vanished)),
            u32::MAX => {}
            steps => left.set(steps - 1),
        });
    }

    #[derive(Debug)]
    pub(crate) struct AtomicU64(loom::sync::atomic::AtomicU64);

    impl AtomicU64 {
        pub(crate) fn new(value: u64) -> AtomicU64 {
            AtomicU64(loom::sync::atomic::AtomicU64::new(value))
        }

        pub(crate) fn load(&self, order: Ordering) -> u64 {
            step();
            self.0.load(order)
        }

        pub(crate) fn store(&self, value: u64, order: Ordering) {
            step();
            self.0.store(value, order);
        }

        pub(crate) fn fetch_or(&self, value: u64, order: Ordering) -> u64 {
            step();
            self.0.fetch_or(value, order)
        }

        pub(crate) fn fetch_and(&self, value: u64, order: Ordering) -> u64 {
            step();
            self.0.fetch_and(value, order)
        }

        pub(crate) fn compare_exchange(
            &self,
            current: u64,
            new: u64,
            success: Ordering,
            failure: Ordering,
        ) -> Result<u64, u64> {
            step();
            self.0.compare_exchange(current, new, success, failure)
        }
    }
}
