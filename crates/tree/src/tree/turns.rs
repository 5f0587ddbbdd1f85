//! Who commits at the moment.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many transactions of a store are committing, or wait to.
#[derive(Debug, Default)]
pub(crate) struct Turns(AtomicUsize);

/// One of them, until it is dropped.
pub(crate) struct Turn<'t> {
    turns: &'t Turns,
    /// Whether there were others when it came, so that it is likely to wait. A guess, by which nothing stands or falls.
    pub(crate) has_others: bool,
}

impl Turns {
    pub(crate) fn enter(&self) -> Turn<'_> {
        Turn {
            turns: self,
            has_others: self.0.fetch_add(1, Ordering::Relaxed) > 0,
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.0.fetch_sub(1, Ordering::Relaxed);
    }
}
