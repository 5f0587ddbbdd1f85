//! Runs of large values that the log has and the file has not yet.
//!
//! They are read from here until a checkpoint has written them, also after a flush has failed: what the system does with a file's pages then
//! concerns nothing that is held. The page table has the number of a place for each; what is in it stays for as long as slots of the pool do.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use crate::ids::TxId;
use crate::op::LargeRef;
use crate::store::Extent;

/// Chunk `i` has `FIRST_CHUNK << i` places.
const FIRST_CHUNK: u32 = 64;
const CHUNKS: usize = 24;

/// Whole runs, up to the end of their last page.
pub(super) struct HeldRuns {
    runs: Mutex<Runs>,
    chunks: [OnceLock<Box<[Place]>>; CHUNKS],
}

/// Where a run is. The reference is kept beside it, in memory that always stays: who was led here by a forged one sees that without a look at a run
/// that may be gone.
struct Place {
    large: [AtomicU64; 3],
    /// Null where the place is free.
    run: AtomicPtr<HeldRun>,
}

#[derive(Default)]
struct Runs {
    by_start: BTreeMap<u64, Held>,
    /// Places that were given back.
    free: Vec<u32>,
    /// One more than the last place that was ever taken.
    next: u32,
}

struct Held {
    place: u32,
    run: HeldRun,
    /// The commit that freed it.
    freed: Option<TxId>,
}

/// A run in memory.
#[derive(Clone, Debug)]
pub(crate) struct HeldRun {
    pub(crate) large: LargeRef,
    pub(crate) extent: Extent,
    pub(crate) bytes: Arc<Vec<u8>>,
    /// No reader of an earlier snapshot reaches it.
    pub(crate) since: TxId,
}

/// A run that a checkpoint writes, and its place.
pub(crate) struct Captured {
    pub(super) place: u32,
    pub(crate) run: HeldRun,
}

impl HeldRuns {
    /// Place numbers are below this.
    pub(super) const PLACES_MAX: u32 = FIRST_CHUNK * ((1 << CHUNKS) - 1);

    pub(super) fn new() -> HeldRuns {
        HeldRuns {
            runs: Mutex::default(),
            chunks: [const { OnceLock::new() }; CHUNKS],
        }
    }

    /// Takes a run in; gives its place, and what was held at the same pages.
    pub(super) fn insert(&self, run: HeldRun) -> (u32, Option<Captured>) {
        let mut runs = self.lock();
        let place = runs.free.pop().unwrap_or_else(|| {
            runs.next += 1;
            runs.next - 1
        });
        self.place(place).fill(run.clone());
        let start = run.extent.start;
        let held = Held {
            place,
            run,
            freed: None,
        };
        let replaced = runs.by_start.insert(start, held);
        let captured = |held: Held| Captured {
            place: held.place,
            run: held.run,
        };
        (place, replaced.map(captured))
    }

    /// The run at a place, if it is the one that is meant.
    ///
    /// # Safety
    ///
    /// If it is the one that is meant, it must not be given back while it is borrowed.
    #[inline]
    pub(super) unsafe fn get(&self, place: u32, large: &LargeRef) -> Option<&HeldRun> {
        let place = self.place(place);
        let found = place.large.each_ref().map(|word| word.load(Ordering::Acquire));
        if found != words(large) {
            return None;
        }
        // SAFETY: `fill` put a box there, if it is not null, and nobody drops it before the place is given back, which the caller excludes.
        unsafe { place.run.load(Ordering::Acquire).as_ref() }
    }

    /// Forgets the run that begins at page `start`, but leaves it in its place. Gives how many pages it has.
    pub(super) fn remove(&self, start: u64) -> u64 {
        let removed = self.lock().by_start.remove(&start);
        removed.map_or(0, |held| held.run.extent.len)
    }

    /// Gives places back that nobody looks at any more.
    pub(super) fn give_back(&self, places: impl IntoIterator<Item = u32>) {
        let mut runs = self.lock();
        for place in places {
            self.place(place).empty();
            runs.free.push(place);
        }
    }

    /// Notes which commit freed a run; `None` takes that back.
    pub(super) fn set_freed(&self, start: u64, by: Option<TxId>) {
        if let Some(held) = self.lock().by_start.get_mut(&start) {
            held.freed = by;
        }
    }

    /// The runs that commit `upto` has, in the order of the file, but for those that `is_unowned`.
    pub(super) fn as_of(&self, upto: TxId, is_unowned: impl Fn(Extent) -> bool) -> Vec<Captured> {
        let runs = self.lock();
        let needed = runs
            .by_start
            .values()
            .filter(|held| held.freed.is_none_or(|freed| freed > upto) && !is_unowned(held.run.extent));
        let captured = needed.map(|held| Captured {
            place: held.place,
            run: held.run.clone(),
        });
        captured.collect()
    }

    fn place(&self, place: u32) -> &Place {
        let position = place / FIRST_CHUNK + 1;
        let chunk = position.ilog2();
        let offset = place - FIRST_CHUNK * ((1 << chunk) - 1);
        let places = self.chunks[chunk as usize]
            .get_or_init(|| (0..FIRST_CHUNK << chunk).map(|_| Place::free()).collect());
        &places[offset as usize]
    }

    fn lock(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().expect("no panic while the runs are locked")
    }
}

impl Place {
    fn free() -> Place {
        Place {
            large: [const { AtomicU64::new(0) }; 3],
            run: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    fn fill(&self, run: HeldRun) {
        let words = words(&run.large);
        self.run.store(Box::into_raw(Box::new(run)), Ordering::Release);
        for (to, word) in self.large.iter().zip(words) {
            to.store(word, Ordering::Release);
        }
    }

    fn empty(&self) {
        // No reference has a null pointer.
        self.large[0].store(0, Ordering::Release);
        let run = self.run.swap(std::ptr::null_mut(), Ordering::AcqRel);
        if !run.is_null() {
            // SAFETY: it came from a box in `fill`, and the swap has taken it out for good.
            drop(unsafe { Box::from_raw(run) });
        }
    }
}

fn words(large: &LargeRef) -> [u64; 3] {
    [large.first.to_bits(), large.len, large.checksum]
}

impl Drop for HeldRuns {
    fn drop(&mut self) {
        let taken = self.lock().next;
        (0..taken).for_each(|place| self.place(place).empty());
    }
}
