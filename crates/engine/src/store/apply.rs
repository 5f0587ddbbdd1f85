//! Writing pages: everything that one commit builds and frees, taken back whole if it fails.

use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use crate::error::{Error, Result};
use crate::ids::{PageId, PagePtr, TxId};
use crate::large::format as large;
use crate::op::LargeRef;
use crate::store::bulk::BulkWriter;
use crate::store::pool::Use;
use crate::store::{Extent, Freed, PageStore, PageTable, Place, Snapshot, Space};
use crate::tree::{PageRead, PageWrite, page};

/// The pages of one commit in the making. Dropped without [`finish`](Apply::finish) it leaves everything as it was.
pub(crate) struct Apply<'p> {
    store: &'p PageStore,
    snapshot: Snapshot<'p>,
    space: MutexGuard<'p, Space>,
    txid: TxId,
    created: Vec<PageId>,
    released: Vec<PagePtr>,
    released_large: Vec<LargeRef>,
    bulk: Option<BulkWriter>,
    finished: bool,
}

impl<'p> Apply<'p> {
    /// Begins commit `txid` on top of what `snapshot` sees. With `bulk`, pages go to the file at once instead of to the pool.
    pub(crate) fn begin(snapshot: Snapshot<'p>, txid: TxId, bulk: bool) -> Apply<'p> {
        let store = snapshot.store();
        Apply {
            store,
            snapshot,
            space: store.space(),
            txid,
            created: Vec::new(),
            released: Vec::new(),
            released_large: Vec::new(),
            bulk: bulk.then(|| BulkWriter::new(&store.file)),
            finished: false,
        }
    }

    /// The commit that is being made.
    pub(crate) fn txid(&self) -> TxId {
        self.txid
    }

    /// Ends the commit: what it freed is reused when nobody needs it. The pages that it created and that are in the pool alone go to `dirty`.
    /// `spilled` are pages that the same transaction created before; those that were freed now leave it. Gives all that the commit created,
    /// for [`take_back`](PageStore::take_back).
    pub(crate) fn finish(
        mut self,
        dirty: &mut Vec<PageId>,
        spilled: &mut Vec<PageId>,
    ) -> Result<Vec<PageId>> {
        if let Some(bulk) = self.bulk.take() {
            match bulk.finish(&self.store.file) {
                Ok(unused) => unused.into_iter().for_each(|extent| self.space.give_back(extent)),
                Err((unused, e)) => {
                    unused.into_iter().for_each(|extent| self.space.give_back(extent));
                    return Err(e);
                }
            }
        }
        self.finished = true;
        let mut created = Created::new(std::mem::take(&mut self.created));
        let mut before = Created::new(std::mem::take(spilled));
        for ptr in std::mem::take(&mut self.released) {
            self.free_page(ptr, &mut created, &mut before);
        }
        if !before.pages.is_empty() {
            *spilled = before.left();
            self.space.spill(spilled);
        }
        let created = created.left();
        for large in std::mem::take(&mut self.released_large) {
            let extent = run_of(large, self.store.page_size());
            let born = self.store.birth_of_run(large, extent);
            self.store.held.set_freed(large.first.id().0, Some(self.txid));
            self.space.free_later(Freed {
                extent,
                born,
                freed: self.txid,
            });
        }
        dirty.extend(
            created
                .iter()
                .filter(|id| self.store.table.load(**id).as_slot().is_some()),
        );
        Ok(created)
    }

    fn free_page(&mut self, ptr: PagePtr, created: &mut Created, spilled: &mut Created) {
        let id = ptr.id();
        let extent = Extent { start: id.0, len: 1 };
        let place = self.store.table.load(id);
        let born = match place.as_slot() {
            Some(slot) if self.store.pool.kind(slot) == Use::Dirty => {
                // SAFETY: the page belongs to the newest commit, which nothing can free but this one.
                let born = page::birth(unsafe { self.store.pool.page(slot) });
                if born < self.txid {
                    self.store.pool.set_freed(slot, self.txid);
                }
                born
            }
            _ => self.store.birth_at_hand(id),
        };
        if born == self.txid && (created.remove(id) || spilled.remove(id)) {
            // Built and freed by one transaction: nobody else ever saw it.
            let mut slots = Vec::new();
            self.store.forget(extent, &mut slots);
            self.store.pool.give_back(slots);
            self.space.give_back(extent);
        } else {
            self.space.free_later(Freed {
                extent,
                born,
                freed: self.txid,
            });
        }
    }
}

/// Pages that a transaction created, of which it may have freed some again.
struct Created {
    pages: Vec<PageId>,
    /// Which of the pages, in order by then, were removed. A large load frees as many as it leaves, so each must be found without looking at all.
    removed: Option<Vec<bool>>,
}

impl Created {
    fn new(pages: Vec<PageId>) -> Created {
        Created { pages, removed: None }
    }

    /// Whether it was there.
    fn remove(&mut self, id: PageId) -> bool {
        let pages = &mut self.pages;
        let removed = self.removed.get_or_insert_with(|| {
            pages.sort_unstable();
            vec![false; pages.len()]
        });
        pages
            .binary_search(&id)
            .is_ok_and(|index| !std::mem::replace(&mut removed[index], true))
    }

    fn left(mut self) -> Vec<PageId> {
        if let Some(removed) = self.removed {
            let mut removed = removed.into_iter();
            self.pages.retain(|_| removed.next() == Some(false));
        }
        self.pages
    }
}

/// The pages of a large value.
pub(crate) fn run_of(large: LargeRef, page_size: usize) -> Extent {
    // A length that no value has takes no pages.
    Extent {
        start: large.first.id().0,
        len: large::pages_needed(large.len, page_size).unwrap_or(0),
    }
}

// For every shorter life too, so that what is merged need not live as long as the snapshot.
impl<'q, 'p: 'q> PageRead<'q> for Apply<'p> {
    fn page(&self, ptr: PagePtr, level: u8) -> Result<&'q [u8]> {
        if let Some(bulk) = &self.bulk {
            bulk.make_readable(ptr.id(), &self.store.file)?;
        }
        self.snapshot.page(ptr, level)
    }

    fn prefetch(&self, ptr: PagePtr) {
        self.snapshot.prefetch(ptr);
    }

    fn prefetch_all(&self, ptr: PagePtr) {
        self.snapshot.prefetch_all(ptr);
    }

    fn corrupt(&self, ptr: PagePtr, what: &'static str) -> Error {
        self.snapshot.corrupt(ptr, what)
    }
}

impl<'q, 'p: 'q> PageWrite<'q> for Apply<'p> {
    fn create(&mut self, _level: u8, fill: impl FnOnce(&mut [u8])) -> Result<PagePtr> {
        if let Some(bulk) = &mut self.bulk {
            let id = bulk.create(&mut self.space, |id, bytes| {
                page::begin(bytes, id, self.txid);
                fill(bytes);
                page::seal(bytes);
            })?;
            self.created.push(id);
            return Ok(PagePtr::new(id, self.txid));
        }
        let id = self.space.take_page();
        if id.0 >= PageTable::PAGES_MAX {
            self.space.give_back(Extent { start: id.0, len: 1 });
            return Err(self.store.is_full());
        }
        let slot = self.store.pool.take(Use::Dirty);
        // SAFETY: the slot was taken just now, nobody else knows of it.
        let bytes = unsafe { self.store.pool.page_mut(slot) };
        page::begin(bytes, id, self.txid);
        fill(bytes);
        self.store.table.store(id, Place::slot(slot));
        self.store.dirty_pages.fetch_add(1, Ordering::Relaxed);
        self.created.push(id);
        Ok(PagePtr::new(id, self.txid))
    }

    fn release(&mut self, ptr: PagePtr) {
        self.released.push(ptr);
    }

    fn release_large(&mut self, large: LargeRef) {
        self.released_large.push(large);
    }

    fn page_size(&self) -> usize {
        self.store.page_size()
    }
}

impl Drop for Apply<'_> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if let Some(bulk) = self.bulk.take() {
            let unused = match bulk.finish(&self.store.file) {
                Ok(unused) | Err((unused, _)) => unused,
            };
            unused.into_iter().for_each(|extent| self.space.give_back(extent));
        }
        let mut slots = Vec::new();
        for id in std::mem::take(&mut self.created) {
            let extent = Extent { start: id.0, len: 1 };
            self.store.forget(extent, &mut slots);
            self.space.give_back(extent);
        }
        self.store.pool.give_back(slots);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(ids: &[u64]) -> Vec<PageId> {
        ids.iter().copied().map(PageId).collect()
    }

    #[test]
    fn what_was_removed_is_not_left() {
        let mut created = Created::new(pages(&[9, 3, 7, 5]));
        assert!(created.remove(PageId(7)));
        assert!(!created.remove(PageId(7)), "a second time");
        assert!(!created.remove(PageId(4)), "never created");
        assert!(created.remove(PageId(9)));
        assert_eq!(created.left(), pages(&[3, 5]));
    }

    #[test]
    fn all_are_left_if_none_is_removed() {
        assert_eq!(Created::new(pages(&[2, 1])).left(), pages(&[2, 1]));
    }
}
