//! How many reads found something.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of reads, for [`Stats`](crate::Stats).
#[derive(Debug, Default)]
pub(crate) struct Reads {
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Reads {
    pub(crate) fn count(&self, found: bool) {
        let counter = if found { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    pub(crate) fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }
}
