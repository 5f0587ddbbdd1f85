//! How many keys were looked for, and what lapsed ones were met on the way.

use std::cell::{Cell, RefCell};

/// So many lapsed keys are remembered; others are met again, or deleted in their turn.
const LAPSED_MAX: usize = 256;

/// What the look-ups of a command came to.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    hits: Cell<u64>,
    misses: Cell<u64>,
    /// Keys that were found to have expired, as the index of expiry times has them, with their databases.
    lapsed: RefCell<Vec<(usize, Vec<u8>)>>,
}

impl Lookups {
    #[inline]
    pub(super) fn hit(&self) {
        self.hits.set(self.hits.get() + 1);
    }

    #[inline]
    pub(super) fn missed(&self) {
        self.misses.set(self.misses.get() + 1);
    }

    pub(super) fn lapsed(&self, db: usize, expiry_key: &[u8]) {
        let mut lapsed = self.lapsed.borrow_mut();
        if lapsed.len() < LAPSED_MAX {
            lapsed.push((db, expiry_key.to_vec()));
        }
    }

    pub(super) fn take_lapsed(&self) -> Vec<(usize, Vec<u8>)> {
        self.lapsed.take()
    }

    /// Whether a lapsed key was met.
    #[inline]
    pub(crate) fn met_lapsed(&self) -> bool {
        !self.lapsed.borrow().is_empty()
    }

    /// What was looked for so far does not count.
    #[inline]
    pub(crate) fn forget(&self) {
        self.hits.set(0);
        self.misses.set(0);
    }

    /// Keys that were there, and keys that were not, since the last call.
    #[inline]
    pub(crate) fn take(&self) -> (u64, u64) {
        (self.hits.take(), self.misses.take())
    }
}
