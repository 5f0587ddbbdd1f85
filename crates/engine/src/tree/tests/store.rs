//! Pages in memory, each with its own life, so that leaks and double releases show.

use std::cell::{Cell, OnceCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::error::{Error, Result};
use crate::ids::{PageId, PagePtr, TxId};
use crate::op::LargeRef;
use crate::tree::{PageRead, PageWrite, page};

/// All pages ever made: they are never moved or freed as long as it lives.
pub(super) struct Disk {
    pub(super) page_size: usize,
    pages: Vec<OnceCell<Box<[u8]>>>,
    next: Cell<usize>,
}

impl Disk {
    pub(super) fn new(page_size: usize) -> Disk {
        Disk {
            page_size,
            pages: vec![OnceCell::new(); 1 << 18],
            next: Cell::new(1),
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
        self.next.get() - 1
    }
}

#[derive(Clone, Copy)]
pub(super) struct Reader<'p> {
    disk: &'p Disk,
}

impl<'p> PageRead<'p> for Reader<'p> {
    fn page(&self, ptr: PagePtr, level: u8) -> Result<&'p [u8]> {
        let found = self.disk.pages.get(ptr.id().0 as usize).and_then(OnceCell::get);
        let bytes = found.ok_or_else(|| self.corrupt(ptr, "there is no such page"))?;
        page::check_structure(bytes, level).map_err(|fault| self.corrupt(ptr, fault))?;
        Ok(bytes)
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
    fn create(&mut self, level: u8, fill: impl FnOnce(&mut [u8])) -> Result<PagePtr> {
        // Not zeros, so that anything left unwritten shows.
        let mut bytes = vec![0xA5; self.disk.page_size].into_boxed_slice();
        let id = PageId(self.disk.next.get() as u64);
        self.disk.next.set(self.disk.next.get() + 1);
        page::begin(&mut bytes, id, self.birth);
        fill(&mut bytes);
        page::seal(&mut bytes);
        page::verify(&bytes, PagePtr::new(id, self.birth), level).expect("what is built is sound");
        self.disk.pages[id.0 as usize].set(bytes).expect("ids are new");
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
