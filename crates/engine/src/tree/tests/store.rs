//! Pages in memory, each with its own life, so that leaks and double releases show.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::error::{Error, Result};
use crate::ids::{PageId, PagePtr, TxId};
use crate::op::LargeRef;
use crate::tree::{PageRead, PageWrite, page};

/// All pages ever made: they are never moved or freed as long as it lives.
pub(super) struct Disk {
    pub(super) page_size: usize,
    pages: RefCell<Vec<Option<*mut [u8]>>>,
}

impl Disk {
    pub(super) fn new(page_size: usize) -> Disk {
        Disk {
            page_size,
            pages: RefCell::new(vec![None]),
        }
    }

    pub(super) fn reader(&self) -> Reader<'_> {
        Reader { disk: self }
    }

    pub(super) fn writer(&self, birth: u64) -> Writer<'_> {
        Writer {
            disk: self,
            birth: TxId(birth),
            created: BTreeSet::new(),
            released: Vec::new(),
            released_large: Vec::new(),
        }
    }

    pub(super) fn page_count(&self) -> usize {
        self.pages.borrow().len() - 1
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for page in self.pages.get_mut().iter().flatten() {
            // SAFETY: each pointer came from `Box::into_raw` in `create`, once, and nothing borrowed from the disk outlives it.
            drop(unsafe { Box::from_raw(*page) });
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Reader<'p> {
    disk: &'p Disk,
}

impl<'p> PageRead<'p> for Reader<'p> {
    fn page(&self, ptr: PagePtr, level: u8) -> Result<&'p [u8]> {
        let found = self
            .disk
            .pages
            .borrow()
            .get(ptr.id().0 as usize)
            .copied()
            .flatten();
        let Some(bytes) = found else {
            return Err(self.corrupt(ptr, "there is no such page"));
        };
        // SAFETY: the box lives as long as the disk, which `'p` borrows, and is not written to once it is in the list.
        let bytes = unsafe { &*bytes };
        if cfg!(debug_assertions) {
            page::verify(bytes, ptr, level).map_err(|fault| self.corrupt(ptr, fault))?;
        }
        Ok(bytes)
    }

    fn prefetch(&self, ptr: PagePtr) {
        if let Some(Some(bytes)) = self.disk.pages.borrow().get(ptr.id().0 as usize) {
            // SAFETY: as in `page`.
            let bytes = unsafe { &**bytes };
            for line in bytes.chunks(64).take(3) {
                crate::tree::raw::prefetch(line);
            }
        }
    }

    fn corrupt(&self, ptr: PagePtr, what: &'static str) -> Error {
        Error::corrupt_page(Path::new("memory"), ptr.id().0, what)
    }
}

pub(super) struct Writer<'p> {
    disk: &'p Disk,
    birth: TxId,
    pub(super) created: BTreeSet<u64>,
    pub(super) released: Vec<u64>,
    pub(super) released_large: Vec<LargeRef>,
}

impl<'p> PageRead<'p> for Writer<'p> {
    fn page(&self, ptr: PagePtr, level: u8) -> Result<&'p [u8]> {
        self.disk.reader().page(ptr, level)
    }

    fn corrupt(&self, ptr: PagePtr, what: &'static str) -> Error {
        self.disk.reader().corrupt(ptr, what)
    }
}

impl<'p> PageWrite<'p> for Writer<'p> {
    fn create(&mut self, _level: u8, fill: impl FnOnce(&mut [u8])) -> Result<PagePtr> {
        // Not zeros, so that anything left unwritten shows.
        let mut bytes = vec![0xA5; self.disk.page_size].into_boxed_slice();
        let mut pages = self.disk.pages.borrow_mut();
        let id = PageId(pages.len() as u64);
        page::begin(&mut bytes, id, self.birth);
        fill(&mut bytes);
        page::seal(&mut bytes);
        pages.push(Some(Box::into_raw(bytes)));
        self.created.insert(id.0);
        Ok(PagePtr::new(id, self.birth))
    }

    fn release(&mut self, ptr: PagePtr) {
        self.released.push(ptr.id().0);
    }

    fn release_large(&mut self, large: LargeRef) {
        self.released_large.push(large);
    }

    fn page_size(&self) -> usize {
        self.disk.page_size
    }
}

/// The pages that the live trees should consist of.
#[derive(Default)]
pub(super) struct Live(BTreeMap<u64, ()>);

impl Live {
    /// Follows a change: what was created lives, what was released no longer does.
    pub(super) fn follow(&mut self, writer: &Writer<'_>) {
        for id in &writer.created {
            assert!(self.0.insert(*id, ()).is_none(), "page {id} was created twice");
        }
        for id in &writer.released {
            assert!(
                self.0.remove(id).is_some(),
                "page {id} was released, but is not live"
            );
        }
    }

    pub(super) fn ids(&self) -> BTreeSet<u64> {
        self.0.keys().copied().collect()
    }
}
