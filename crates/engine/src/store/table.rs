//! Where each page is: one small word per page id.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::ids::PageId;
use crate::store::held::HeldRuns;
use crate::store::raw;
use crate::store::steps::Steps;

/// What the table says of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u32);

impl Place {
    /// Added to the places of runs. There are neither so many slots nor so many runs.
    const HELD: u32 = 1 << 31;

    /// In the file, not looked at yet. Free pages are here too.
    pub(crate) const FILE: Place = Place(0);
    /// In the file, and its checksum was right when it was first met.
    pub(crate) const VERIFIED: Place = Place(1);

    pub(crate) fn slot(slot: u32) -> Place {
        Place(slot + 2)
    }

    /// The first page of a run that is in memory alone.
    pub(crate) fn held(place: u32) -> Place {
        Place(place | Place::HELD)
    }

    /// Where the run is that begins with the page.
    #[inline]
    pub(crate) fn as_held(self) -> Option<u32> {
        (self.0 >= Place::HELD).then_some(self.0 & !Place::HELD)
    }

    /// The slot of the pool that has the page.
    #[inline]
    pub(crate) fn as_slot(self) -> Option<u32> {
        match self.0 {
            slot @ 2..Place::HELD => Some(slot - 2),
            _ => None,
        }
    }
}

/// The first chunk has the places of 1 GiB of the smallest pages, the largest those of 64.
const STEPS: Steps = Steps {
    first: 18,
    doublings: 6,
};
/// What all places take. More of them would have to be filled whenever a database is opened.
const CHUNKS: usize = 70;

/// One word per page id, in chunks that appear when they are needed and never move.
pub(crate) struct PageTable {
    chunks: [OnceLock<Box<[AtomicU32]>>; CHUNKS],
}

impl PageTable {
    /// Page ids from here on have no place in the table: 4 TiB of the smallest pages.
    pub(crate) const PAGES_MAX: u64 = 1 << 30;

    pub(crate) fn new() -> PageTable {
        PageTable {
            chunks: [const { OnceLock::new() }; CHUNKS],
        }
    }

    #[inline]
    pub(crate) fn load(&self, id: PageId) -> Place {
        match self.word(id) {
            // Pairs with `store`: whoever sees a slot sees the bytes in it.
            Some(word) => Place(word.load(Ordering::Acquire)),
            None => Place::FILE,
        }
    }

    pub(crate) fn store(&self, id: PageId, place: Place) {
        self.word_or_init(id).store(place.0, Ordering::Release);
    }

    /// Changes a place if it is still `from`.
    pub(crate) fn exchange(&self, id: PageId, from: Place, to: Place) -> bool {
        self.word_or_init(id)
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    #[inline]
    fn word(&self, id: PageId) -> Option<&AtomicU32> {
        let (chunk, index) = STEPS.place(id.0);
        Some(&self.chunks.get(chunk)?.get()?[index])
    }

    fn word_or_init(&self, id: PageId) -> &AtomicU32 {
        let (chunk, index) = STEPS.place(id.0);
        &self.chunks[chunk].get_or_init(|| raw::zeroed_words(STEPS.len(chunk)))[index]
    }
}

const _: () = assert!(HeldRuns::PLACES_MAX < Place::HELD);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_page_has_a_place_and_a_forged_one_has_none() {
        let table = PageTable::new();
        let (chunk, _) = STEPS.place(PageTable::PAGES_MAX - 1);
        assert!(chunk < CHUNKS);
        for id in [0, PageTable::PAGES_MAX - 1, PageTable::PAGES_MAX * 2, u64::MAX] {
            assert_eq!(table.load(PageId(id)), Place::FILE);
        }
        for id in [0, 1, (1 << 18) - 1, 1 << 18] {
            table.store(PageId(id), Place::slot(id as u32));
        }
        assert_eq!(table.load(PageId(1 << 18)).as_slot(), Some(1 << 18));
        assert_eq!(table.load(PageId(0)).as_slot(), Some(0));
    }
}
