//! Where pages live: in the pool while the file does not have them, in the file afterwards.
//!
//! ```text
//!  table     page id → slot of the pool, or the file            one word per page, read without a lock
//!  pool      pages that are dirty, or cached                    slots in slabs
//!  held      large values that only the log has                 whole runs
//!  file      the mapping of the file, or system calls
//!  space     free pages, and when freed ones may be reused
//!  readers   who reads which snapshot
//! ```
//!
//! **Why lent bytes stay.** A page is immutable from the moment it enters the table. A page that a pinned snapshot reaches was born at or
//! before it and freed after it, so `space` does not reuse its id while the pin lives. Large values that were replayed from the log count as born at the
//! beginning, since readers that began before the merge reach them from the checkpoint's state. When a checkpoint has written
//! a page or a run, or the cache evicts one, its slot or place is unlinked from the table and reused only when the readers have gone that began before
//! that (`retired`). Both rest on the fences in `readers`.

mod apply;
mod bulk;
mod cache;
mod file;
mod held;
mod keep;
mod pool;
mod raw;
mod readers;
mod space;
mod steps;
mod table;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::error::{Error, Result};
use crate::ids::{PageId, PagePtr, TxId};
use crate::large::format::Header;
use crate::op::LargeRef;
use crate::tree::{self, PageRead, page};

pub(crate) use apply::{Apply, run_of};
pub(crate) use file::PageFile;
pub(crate) use held::{Captured, HeldRun};
pub(crate) use keep::Keep;
pub(crate) use raw::advise_huge;
pub(crate) use readers::{Pin, Readers};
pub(crate) use space::{Extent, Freed, Owned, Space, Survey, merge_adjacent};
use table::{PageTable, Place};

use cache::CleanPages;
use held::HeldRuns;
use pool::{Pool, Use};

/// All pages of a database.
pub(crate) struct PageStore {
    pub(crate) file: PageFile,
    pub(crate) readers: Readers,
    space: Mutex<Space>,
    table: PageTable,
    pool: Pool,
    clean: CleanPages,
    held: HeldRuns,
    /// Slots that are unlinked, until the readers are gone that may still look at them.
    retired: Mutex<Vec<Retired>>,
    dirty_pages: AtomicU64,
    /// The last commit that was replayed from the log; see [`note_replayed`](PageStore::note_replayed).
    replayed: AtomicU64,
}

struct Retired {
    /// Readers that began in a later epoch never saw the slots.
    epoch: u64,
    /// Readers of earlier snapshots never saw the pages.
    oldest_birth: u64,
    slots: Vec<u32>,
    /// Places of runs.
    held: Vec<u32>,
}

/// A view of the pages that a pinned snapshot reaches.
#[derive(Clone, Copy)]
pub(crate) struct Snapshot<'p> {
    store: &'p PageStore,
}

impl PageStore {
    pub(crate) fn new(file: PageFile, space: Space, dirty_bytes: u64, cache_bytes: u64) -> PageStore {
        let page_size = file.page_size();
        PageStore {
            readers: Readers::new(),
            space: Mutex::new(space),
            table: PageTable::new(),
            pool: Pool::new(page_size, dirty_bytes),
            clean: CleanPages::new(cache_bytes / page_size as u64),
            held: HeldRuns::new(),
            retired: Mutex::new(Vec::new()),
            dirty_pages: AtomicU64::new(0),
            replayed: AtomicU64::new(0),
            file,
        }
    }

    /// The free pages, locked.
    pub(crate) fn space(&self) -> MutexGuard<'_, Space> {
        self.space.lock().expect("no panic while the space is locked")
    }

    pub(crate) fn page_size(&self) -> usize {
        self.file.page_size()
    }

    /// The view of what `pin` holds.
    pub(crate) fn snapshot<'p>(&'p self, _pin: &'p Pin<'_>) -> Snapshot<'p> {
        Snapshot { store: self }
    }

    /// Pages that only memory has.
    pub(crate) fn dirty_pages(&self) -> u64 {
        self.dirty_pages.load(Ordering::Relaxed)
    }

    /// Bytes of memory that pages take, beside what is mapped.
    pub(crate) fn pool_bytes(&self) -> u64 {
        self.pool.slots() * self.page_size() as u64
    }

    /// Bytes of memory that copies of pages of the file take.
    pub(crate) fn cached_bytes(&self) -> u64 {
        self.clean.pages() * self.page_size() as u64
    }

    /// The run through the mapping.
    ///
    /// The run must belong to a value that a pinned snapshot reaches.
    pub(crate) fn mapped_run(&self, run: Extent) -> Option<&[u8]> {
        let size = self.page_size();
        // SAFETY: the snapshot keeps the run from being reused, and the caller has seen that the file has it.
        unsafe { self.file.slice(run.start * size as u64, run.len as usize * size) }
    }

    /// Gives a run back that no commit came to refer to.
    pub(crate) fn disown(&self, run: Extent) {
        let mut space = self.space();
        // One that a commit owns by now is not ours to touch.
        if space.is_unowned(run) {
            self.forget(run, &mut Vec::new());
            space.disown(run);
        }
    }

    /// Whether these pages can be in the table.
    pub(crate) fn has_places(extent: Extent) -> bool {
        extent
            .start
            .checked_add(extent.len)
            .is_some_and(|stop| stop <= PageTable::PAGES_MAX)
    }

    /// The error for a page that can't be.
    pub(crate) fn is_full(&self) -> Error {
        Error::corrupt(
            self.file.path(),
            None,
            "the database has reached its greatest size",
        )
    }

    /// Keeps a run in memory until a checkpoint has written it. The caller has taken its pages.
    pub(crate) fn hold(&self, run: HeldRun) {
        let extent = run.extent;
        let (place, replaced) = self.held.insert(run);
        self.table.store(PageId(extent.start), Place::held(place));
        self.dirty_pages.fetch_add(extent.len, Ordering::Relaxed);
        // Only a forged log has two runs in the same pages.
        if let Some(replaced) = replaced {
            self.dirty_pages
                .fetch_sub(replaced.run.extent.len, Ordering::Relaxed);
            self.held.give_back([replaced.place]);
        }
    }

    /// The run of a value, if memory alone has it.
    ///
    /// The value must be one that a pinned snapshot reaches, or that the caller's transaction has staged.
    #[inline]
    pub(crate) fn held_run(&self, large: LargeRef) -> Option<&HeldRun> {
        let place = self.table.load(large.first.id()).as_held()?;
        // SAFETY: the place was taken before the table had it. It is given back when the run is freed and nobody reaches it, when the transaction
        // that staged it drops it, or when a checkpoint has written it and the readers are gone that began before.
        unsafe { self.held.get(place, &large) }
    }

    /// The held runs that a checkpoint of commit `upto`, the newest, has to write. `space` is locked, so none comes to be owned meanwhile.
    pub(crate) fn held_as_of(&self, space: &Space, upto: TxId) -> Vec<Captured> {
        self.held.as_of(upto, |run| space.is_unowned(run))
    }

    /// The file has these runs now: from here on they are read from there.
    pub(crate) fn runs_written(&self, runs: &[Captured]) {
        let place = if self.file.is_mapped() {
            Place::VERIFIED
        } else {
            Place::FILE
        };
        let (mut pages, mut held, mut oldest_birth) = (0, Vec::new(), u64::MAX);
        for captured in runs {
            let start = captured.run.extent.start;
            if self
                .table
                .exchange(PageId(start), Place::held(captured.place), place)
            {
                pages += self.held.remove(start);
                held.push(captured.place);
                oldest_birth = oldest_birth.min(captured.run.since.0);
            }
        }
        self.dirty_pages.fetch_sub(pages, Ordering::Relaxed);
        self.retire(Vec::new(), held, oldest_birth);
    }

    /// Whether the run that begins with this page was verified since it was written or the database was opened.
    pub(crate) fn is_verified(&self, first: PageId) -> bool {
        self.table.load(first) == Place::VERIFIED
    }

    pub(crate) fn set_verified(&self, first: PageId) {
        self.table.exchange(first, Place::FILE, Place::VERIFIED);
    }

    /// Whether the file does not have this page, or not in the version that counts.
    pub(crate) fn is_dirty(&self, id: PageId) -> bool {
        let slot = self.table.load(id).as_slot();
        slot.is_some_and(|slot| self.pool.kind(slot) == Use::Dirty)
    }

    /// Reads a page into `buffer` from the file itself, whatever memory has of it, and verifies it.
    pub(crate) fn read_from_file(&self, ptr: PagePtr, level: u8, buffer: &mut [u8]) -> Result<()> {
        self.file.read(buffer, ptr.id().0 * self.page_size() as u64)?;
        page::verify(buffer, ptr, level)
            .map_err(|what| Error::corrupt_page(self.file.path(), ptr.id().0, what))
    }

    /// The bytes of a page if it is dirty, was born by `upto` and not freed by then: what a checkpoint of that commit has to write.
    ///
    /// The caller's checkpoint must count as a snapshot of `upto` for as long as the slice lives.
    pub(crate) fn dirty_page(&self, id: PageId, upto: TxId) -> Option<(u32, &[u8])> {
        let slot = self.table.load(id).as_slot()?;
        if self.pool.kind(slot) != Use::Dirty || self.pool.is_freed(slot, upto) {
            return None;
        }
        // SAFETY: the page is in the state of `upto`, which the caller holds, so neither its id nor its slot is reused; and
        // dirty slots are unlinked by checkpoints alone, of which there is one at a time.
        let bytes = unsafe { self.pool.page(slot) };
        (page::birth(bytes) <= upto).then_some((slot, bytes))
    }

    /// The file has these pages now: from here on they are read from there.
    pub(crate) fn written(&self, pages: &[(PageId, u32)]) {
        let mut oldest_birth = u64::MAX;
        let mut slots = Vec::with_capacity(pages.len());
        for &(id, slot) in pages {
            // SAFETY: the slot was not given back since `dirty_page` gave it, as its caller holds the snapshot.
            oldest_birth = oldest_birth.min(page::birth(unsafe { self.pool.page(slot) }).0);
            if self.file.is_mapped() {
                self.table.store(id, Place::VERIFIED);
                slots.push(slot);
            } else {
                self.pool.set_kind(slot, Use::Clean);
                self.clean.admit(id, slot);
            }
        }
        self.dirty_pages.fetch_sub(pages.len() as u64, Ordering::Relaxed);
        self.retire(slots, Vec::new(), oldest_birth);
        self.clean.shrink(self);
    }

    /// Reuses retired slots that nobody can look at any more.
    pub(crate) fn reap_retired(&self) {
        let mut retired = self
            .retired
            .lock()
            .expect("no panic while the retired slots are locked");
        if retired.is_empty() {
            return;
        }
        let active = self.readers.active();
        retired.retain_mut(|batch| {
            let held = active
                .iter()
                .any(|r| r.epoch <= batch.epoch && r.snapshot >= batch.oldest_birth);
            if !held {
                self.pool.give_back(std::mem::take(&mut batch.slots));
                self.held.give_back(std::mem::take(&mut batch.held));
            }
            held
        });
    }

    fn retire(&self, slots: Vec<u32>, held: Vec<u32>, oldest_birth: u64) {
        if slots.is_empty() && held.is_empty() {
            return;
        }
        let epoch = self.readers.unlinked();
        self.retired
            .lock()
            .expect("no panic while the retired slots are locked")
            .push(Retired {
                epoch,
                oldest_birth,
                slots,
                held,
            });
        self.reap_retired();
    }

    /// Reuses the pages that no snapshot needs. `checkpoints` are those that count as snapshots.
    pub(crate) fn reclaim(&self, space: &mut Space, checkpoints: &[u64], published: TxId) {
        let mut snapshots: Vec<u64> = self.readers.active().iter().map(|r| r.snapshot).collect();
        snapshots.extend_from_slice(checkpoints);
        snapshots.push(published.0);
        snapshots.sort_unstable();
        let mut slots = Vec::new();
        space.reclaim(&snapshots, published, |extent| self.forget(extent, &mut slots));
        self.pool.give_back(slots);
    }

    /// The birth of a page that the newest commit reaches, if it costs no reading of the file to know; else the beginning, which is on the safe side.
    fn birth_at_hand(&self, id: PageId) -> TxId {
        let place = self.table.load(id);
        let size = self.page_size();
        let bytes = match place.as_slot() {
            // SAFETY: the page belongs to the newest commit, so its slot is not reused before that is freed, by the caller.
            Some(slot) => Some(unsafe { self.pool.page(slot) }),
            // SAFETY: as above for the bytes of the file.
            None if place == Place::VERIFIED => unsafe { self.file.slice(id.0 * size as u64, size) },
            None => None,
        };
        bytes.map_or(TxId(0), page::birth)
    }

    /// Large values of commits up to `txid` are reached by readers of earlier snapshots too: those that look through the log, over the state
    /// of the checkpoint before it.
    pub(crate) fn note_replayed(&self, txid: TxId) {
        self.replayed.store(txid.0, Ordering::Relaxed);
    }

    /// The oldest snapshot that may reach a run, as for [`birth_at_hand`](Self::birth_at_hand).
    fn birth_of_run(&self, large: LargeRef, run: Extent) -> TxId {
        if let Some(held) = self.held_run(large) {
            return held.since;
        }
        let has_run = run
            .start
            .checked_add(run.len)
            .is_some_and(|stop| stop <= self.file.pages());
        let head = (has_run && run.len > 0)
            .then(|| self.mapped_run(run))
            .flatten()
            .and_then(|run| run.first_chunk());
        head.and_then(|head| Header::decode(head, &large).ok())
            .map(|header| header.birth)
            .filter(|birth| birth.0 > self.replayed.load(Ordering::Relaxed))
            .unwrap_or(TxId(0))
    }

    /// Undoes commit `txid`, which nobody has seen: the pages that it created are free, those that it freed are in use.
    pub(crate) fn take_back(&self, space: &mut Space, txid: TxId, created: &[PageId]) {
        space.unfree(txid, |extent| {
            for id in (extent.start..extent.start + extent.len).map(PageId) {
                let place = self.table.load(id);
                if let Some(slot) = place.as_slot() {
                    self.pool.set_in_use(slot);
                } else if place.as_held().is_some() {
                    self.held.set_freed(id.0, None);
                }
            }
        });
        let mut slots = Vec::new();
        for id in created {
            let extent = Extent { start: id.0, len: 1 };
            self.forget(extent, &mut slots);
            space.give_back(extent);
        }
        self.pool.give_back(slots);
    }

    /// Clears the places of pages that are about to be reused; slots that they had go to `slots`.
    fn forget(&self, extent: Extent, slots: &mut Vec<u32>) {
        for id in (extent.start..extent.start + extent.len).map(PageId) {
            let place = self.table.load(id);
            if place == Place::FILE {
                continue;
            }
            let Some(slot) = place.as_slot() else {
                self.table.store(id, Place::FILE);
                if let Some(place) = place.as_held() {
                    let pages = self.held.remove(id.0);
                    self.dirty_pages.fetch_sub(pages, Ordering::Relaxed);
                    self.held.give_back([place]);
                }
                continue;
            };
            if self.pool.kind(slot) == Use::Dirty {
                self.dirty_pages.fetch_sub(1, Ordering::Relaxed);
                self.table.store(id, Place::FILE);
                slots.push(slot);
            } else {
                self.clean.unlink(|| {
                    // An eviction may have been faster; then the slot is retired already.
                    if self.table.exchange(id, place, Place::FILE) {
                        slots.push(slot);
                    }
                });
            }
        }
    }

    /// Reads a page that is not at hand: verifies it, and remembers that.
    #[cold]
    fn fetch(&self, ptr: PagePtr, level: u8) -> Result<&[u8]> {
        let id = ptr.id();
        let damaged = |what: String| Error::corrupt_page(self.file.path(), id.0, what);
        if id.0 < 2 || id.0 >= self.file.pages() {
            return Err(damaged(format!(
                "something refers to it, but the file has {} pages",
                self.file.pages()
            )));
        }
        if self.table.load(id).as_held().is_some() {
            return Err(damaged(
                "something refers to it as a page, but a large value begins there".into(),
            ));
        }
        let size = self.page_size();
        let offset = id.0 * size as u64;
        let mapped = if self.file.is_mapped() {
            // SAFETY: the page is part of a pinned snapshot, so the file's bytes stay; the file has them, see above.
            unsafe { self.file.slice(offset, size) }
        } else {
            None
        };
        if let Some(bytes) = mapped {
            let verdict = page::verify(bytes, ptr, level);
            if self.file.faulted() {
                return Err(damaged("its bytes could not be read through the mapping".into()));
            }
            verdict.map_err(|what| damaged(what.to_string()))?;
            self.table.exchange(id, Place::FILE, Place::VERIFIED);
            return Ok(bytes);
        }
        let slot = self.pool.take(Use::Clean);
        // SAFETY: the slot was taken just now, nobody else knows of it.
        let bytes = unsafe { self.pool.page_mut(slot) };
        let read = self.file.read(bytes, offset);
        if let Err(e) =
            read.and_then(|()| page::verify(bytes, ptr, level).map_err(|what| damaged(what.to_string())))
        {
            self.pool.give_back([slot]);
            return Err(e);
        }
        if self.table.exchange(id, Place::FILE, Place::slot(slot)) {
            self.clean.admit(id, slot);
            self.clean.shrink(self);
        } else {
            // Another reader was faster: its copy is the one.
            self.pool.give_back([slot]);
        }
        Snapshot { store: self }.page(ptr, level)
    }
}

impl<'p> Snapshot<'p> {
    pub(crate) fn store(self) -> &'p PageStore {
        self.store
    }

    /// The bytes of a page, if they can be had without reading the file or verifying anything.
    #[inline]
    fn at_hand(self, ptr: PagePtr) -> Option<&'p [u8]> {
        let place = self.store.table.load(ptr.id());
        if let Some(slot) = place.as_slot() {
            // SAFETY: the page is part of a pinned snapshot, so its slot is not reused, see the module's argument.
            return Some(unsafe { self.store.pool.page(slot) });
        }
        if place != Place::VERIFIED {
            return None;
        }
        let size = self.store.page_size();
        // SAFETY: as above for the bytes of the file; it had them when the page was verified, and is not cut below pages in use.
        unsafe { self.store.file.slice(ptr.id().0 * size as u64, size) }
    }

    #[cold]
    fn wrong_level(self, ptr: PagePtr, found: u8, meant: u8) -> Error {
        let what = format!("it is on level {found}, not {meant} as what refers to it says");
        Error::corrupt_page(self.store.file.path(), ptr.id().0, what)
    }
}

impl<'p> PageRead<'p> for Snapshot<'p> {
    #[inline]
    fn page(&self, ptr: PagePtr, level: u8) -> Result<&'p [u8]> {
        let Some(bytes) = self.at_hand(ptr) else {
            return self.store.fetch(ptr, level);
        };
        if page::level(bytes) != level {
            return Err(self.wrong_level(ptr, page::level(bytes), level));
        }
        Ok(bytes)
    }

    #[inline]
    fn prefetch(&self, ptr: PagePtr) {
        self.at_hand(ptr).into_iter().for_each(tree::prefetch_head);
    }

    #[inline]
    fn prefetch_all(&self, ptr: PagePtr) {
        self.at_hand(ptr).into_iter().for_each(tree::prefetch_all);
    }

    fn corrupt(&self, ptr: PagePtr, what: &'static str) -> Error {
        Error::corrupt_page(self.store.file.path(), ptr.id().0, what)
    }
}
