//! Copies of pages of a file that is not mapped, within a budget.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ids::PageId;
use crate::store::pool::Use;
use crate::store::{PageStore, Place};
use crate::tree::page;

/// The clean pages in the pool, oldest first.
///
/// Eviction is first in, first out, with another round for inner pages: reads leave no mark, so that they stay free of writes.
pub(super) struct CleanPages {
    queue: Mutex<VecDeque<(PageId, u32)>>,
    pages: AtomicU64,
    pages_max: u64,
}

impl CleanPages {
    pub(super) fn new(pages_max: u64) -> CleanPages {
        CleanPages {
            queue: Mutex::new(VecDeque::new()),
            pages: AtomicU64::new(0),
            pages_max,
        }
    }

    pub(super) fn pages(&self) -> u64 {
        self.pages.load(Ordering::Relaxed)
    }

    /// A clean page was entered into the table.
    pub(super) fn admit(&self, id: PageId, slot: u32) {
        self.pages.fetch_add(1, Ordering::Relaxed);
        self.queue
            .lock()
            .expect("no panic while the cache is locked")
            .push_back((id, slot));
    }

    /// Runs `unlink`, which takes one clean page out of the table, while nothing is evicted. The entry in the queue goes stale.
    pub(super) fn unlink(&self, unlink: impl FnOnce()) {
        let _queue = self.queue.lock().expect("no panic while the cache is locked");
        unlink();
        self.pages.fetch_sub(1, Ordering::Relaxed);
    }

    /// Unlinks the oldest pages while there are more than the budget allows.
    pub(super) fn shrink(&self, store: &PageStore) {
        let mut evicted = Vec::new();
        let mut oldest_birth = u64::MAX;
        let mut queue = self.queue.lock().expect("no panic while the cache is locked");
        if queue.len() as u64 <= self.pages_max {
            return;
        }
        // In batches, so that the readers are scanned once for many pages.
        let keep = self.pages_max - self.pages_max / 16;
        let mut spared = queue.len() / 4;
        while queue.len() as u64 > keep {
            let Some((id, slot)) = queue.pop_front() else {
                break;
            };
            if store.table.load(id) != Place::slot(slot) || store.pool.kind(slot) != Use::Clean {
                continue;
            }
            // SAFETY: the slot is linked, and clean pages are unlinked under this lock only, so it is not given back meanwhile.
            let bytes = unsafe { store.pool.page(slot) };
            if page::level(bytes) > 0 && spared > 0 {
                spared -= 1;
                queue.push_back((id, slot));
                continue;
            }
            store.table.store(id, Place::FILE);
            oldest_birth = oldest_birth.min(page::birth(bytes).0);
            evicted.push(slot);
            self.pages.fetch_sub(1, Ordering::Relaxed);
        }
        drop(queue);
        store.retire(evicted, Vec::new(), oldest_birth);
    }
}
