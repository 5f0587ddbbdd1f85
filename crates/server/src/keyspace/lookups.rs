//! How many keys were looked for, what lapsed ones were met on the way, and which keys are new: for events where somebody wants them.

use std::cell::{Cell, RefCell};

/// So many lapsed keys are remembered; others are met again, or deleted in their turn.
const LAPSED_MAX: usize = 256;

/// A key that a command made, or looked for in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Noted {
    pub(crate) is_new: bool,
    pub(crate) db: usize,
    pub(crate) key: Vec<u8>,
}

/// What the look-ups of a command came to.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    notes_new: Cell<bool>,
    notes_missed: Cell<bool>,
    noted: RefCell<Vec<Noted>>,
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
    pub(super) fn missed(&self, db: usize, key: &[u8]) {
        self.misses.set(self.misses.get() + 1);
        if self.notes_missed.get() {
            self.note(false, db, key);
        }
    }

    /// Whether keys that are made are to be told by [`made`](Self::made).
    #[inline]
    pub(super) fn notes_new(&self) -> bool {
        self.notes_new.get()
    }

    pub(super) fn made(&self, db: usize, key: &[u8]) {
        self.note(true, db, key);
    }

    fn note(&self, is_new: bool, db: usize, key: &[u8]) {
        let key = key.to_vec();
        self.noted.borrow_mut().push(Noted { is_new, db, key });
    }

    /// Which keys are noted from now on.
    pub(crate) fn notes(&self, new: bool, missed: bool) {
        self.notes_new.set(new);
        self.notes_missed.set(missed);
    }

    /// Whether there is something for [`take_noted`](Self::take_noted).
    #[inline]
    pub(crate) fn has_noted(&self) -> bool {
        !self.noted.borrow().is_empty()
    }

    /// What was noted since the last call.
    pub(crate) fn take_noted(&self) -> Vec<Noted> {
        self.noted.take()
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
        if self.has_noted() {
            self.noted.borrow_mut().clear();
        }
    }

    /// Keys that were there, and keys that were not, since the last call.
    #[inline]
    pub(crate) fn take(&self) -> (u64, u64) {
        (self.hits.take(), self.misses.take())
    }
}
