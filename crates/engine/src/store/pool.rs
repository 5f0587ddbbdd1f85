//! Memory for pages that are not, or not yet, read from the file: slots of one page each.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use crate::ids::TxId;
use crate::store::raw::Slab;
use crate::store::steps::Steps;

/// What a slot is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Use {
    Free = 0,
    /// A page that the file does not have yet.
    Dirty = 1,
    /// A copy of a page of the file.
    Clean = 2,
}

/// The first chunk has 2 MiB at most, the largest 16: larger ones would be missed where address space is limited.
const DOUBLINGS: u32 = 3;
/// 64 GiB of chunks of the greatest size.
const CHUNKS: usize = 4096;

pub(super) struct Pool {
    page_size: usize,
    steps: Steps,
    chunks: Box<[OnceLock<Box<Chunk>>]>,
    free: Mutex<FreeSlots>,
}

struct Chunk {
    slab: Slab,
    states: Box<[State]>,
}

struct State {
    kind: AtomicU8,
    /// The commit that freed the page, for one that is dirty.
    freed: AtomicU64,
}

struct FreeSlots {
    /// Used last, first: its memory is in the cache.
    slots: Vec<u32>,
    next: u32,
}

const NOT_FREED: u64 = u64::MAX;

impl Pool {
    /// A pool that grows in steps from some `bytes` on.
    pub(super) fn new(page_size: usize, bytes: u64) -> Pool {
        let slots = (bytes / 4 / page_size as u64).clamp(16, (2 << 20) / page_size as u64);
        Pool {
            page_size,
            steps: Steps {
                first: slots.ilog2(),
                doublings: DOUBLINGS,
            },
            chunks: (0..CHUNKS).map(|_| OnceLock::new()).collect(),
            free: Mutex::new(FreeSlots {
                slots: Vec::new(),
                next: 0,
            }),
        }
    }

    /// Takes a slot for a page of the given use.
    pub(super) fn take(&self, kind: Use) -> u32 {
        let mut free = self
            .free
            .lock()
            .expect("no panic while the free slots are locked");
        let slot = free.slots.pop().unwrap_or_else(|| {
            free.next += 1;
            free.next - 1
        });
        drop(free);
        let state = self.state(slot);
        state.freed.store(NOT_FREED, Ordering::Relaxed);
        state.kind.store(kind as u8, Ordering::Release);
        slot
    }

    /// Gives slots back that nobody reads any more.
    pub(super) fn give_back(&self, slots: impl IntoIterator<Item = u32>) {
        let mut free = self
            .free
            .lock()
            .expect("no panic while the free slots are locked");
        for slot in slots {
            self.state(slot).kind.store(Use::Free as u8, Ordering::Release);
            free.slots.push(slot);
        }
    }

    /// Slots that were ever taken: what the pool costs in memory.
    pub(super) fn slots(&self) -> u64 {
        u64::from(
            self.free
                .lock()
                .expect("no panic while the free slots are locked")
                .next,
        )
    }

    pub(super) fn kind(&self, slot: u32) -> Use {
        match self.state(slot).kind.load(Ordering::Acquire) {
            1 => Use::Dirty,
            2 => Use::Clean,
            _ => Use::Free,
        }
    }

    pub(super) fn set_kind(&self, slot: u32, kind: Use) {
        self.state(slot).kind.store(kind as u8, Ordering::Release);
    }

    pub(super) fn set_freed(&self, slot: u32, by: TxId) {
        self.state(slot).freed.store(by.0, Ordering::Release);
    }

    pub(super) fn set_in_use(&self, slot: u32) {
        self.set_freed(slot, TxId(NOT_FREED));
    }

    /// Whether commit `upto` had freed the page in this slot.
    pub(super) fn is_freed(&self, slot: u32, upto: TxId) -> bool {
        self.state(slot).freed.load(Ordering::Acquire) <= upto.0
    }

    /// # Safety
    ///
    /// The slot must not be given back, nor written, while the slice lives.
    #[inline]
    pub(super) unsafe fn page<'a>(&self, slot: u32) -> &'a [u8] {
        let (chunk, index) = self.place(slot);
        // SAFETY: the caller's promise is the one that `slice` asks for.
        unsafe { chunk.slab.slice(index * self.page_size, self.page_size) }
    }

    /// # Safety
    ///
    /// The slot must have been taken by the caller, and nobody else may know of it yet.
    #[expect(clippy::mut_from_ref, reason = "slots are owned one by one")]
    pub(super) unsafe fn page_mut(&self, slot: u32) -> &mut [u8] {
        let (chunk, index) = self.place(slot);
        // SAFETY: the caller's promise is the one that `slice_mut` asks for.
        unsafe { chunk.slab.slice_mut(index * self.page_size, self.page_size) }
    }

    fn state(&self, slot: u32) -> &State {
        let (chunk, index) = self.place(slot);
        &chunk.states[index]
    }

    #[inline]
    fn place(&self, slot: u32) -> (&Chunk, usize) {
        let (chunk, index) = self.steps.place(slot.into());
        let memory = self.chunks[chunk].get_or_init(|| {
            let slots = self.steps.len(chunk);
            Box::new(Chunk {
                slab: Slab::new(slots * self.page_size),
                states: (0..slots)
                    .map(|_| State {
                        kind: AtomicU8::new(0),
                        freed: AtomicU64::new(NOT_FREED),
                    })
                    .collect(),
            })
        });
        (memory, index)
    }
}
