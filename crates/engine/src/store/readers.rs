//! Who reads which snapshot: a table of slots, claimed and given back without a lock.
//!
//! A reader writes what it reads into its slot, fences, and looks whether that was still current; whoever wants to reuse something
//! makes it unreachable, fences, and scans the slots. Of these two fences one comes first, so either the scan sees the
//! reader, or the reader sees that the thing is unreachable.

use std::cell::Cell;
use std::sync::OnceLock;

use crate::ids::TxId;
use crate::sync::{self, AtomicU32, AtomicU64, Ordering, fence};

const FREE: u64 = 0;
/// Added to the snapshot in a slot, so that no snapshot looks like a free slot.
const BIAS: u64 = 1;
#[cfg(not(loom))]
const FIRST_CHUNK: usize = 64;
#[cfg(loom)]
const FIRST_CHUNK: usize = 2;
const CHUNKS: usize = 24;

/// The slots; they grow with the number of readers and are never given back.
pub(crate) struct Readers {
    /// Chunk `i` has `FIRST_CHUNK << i` slots.
    chunks: [OnceLock<Box<[Slot]>>; CHUNKS],
    /// One more than the highest slot that was ever claimed: a scan goes no further.
    high: AtomicU32,
    /// Counts what was unlinked: a reader that began in a later epoch can't hold it.
    epoch: AtomicU64,
}

#[repr(align(64))]
struct Slot {
    snapshot: AtomicU64,
    epoch: AtomicU64,
}

/// A reader's place in the table, given back on drop: while it lives nothing that its snapshot reaches is reused.
pub(crate) struct Pin<'s> {
    slot: &'s Slot,
    snapshot: TxId,
}

/// One active reader, as a scan found it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Active {
    pub(crate) snapshot: u64,
    pub(crate) epoch: u64,
}

thread_local! {
    /// The slot that this thread used last: almost always free again, and in its cache.
    static HINT: Cell<u32> = const { Cell::new(0) };
}

impl Readers {
    pub(crate) fn new() -> Readers {
        let readers = Readers {
            chunks: [const { OnceLock::new() }; CHUNKS],
            high: AtomicU32::new(0),
            epoch: AtomicU64::new(1),
        };
        if cfg!(loom) {
            // A model does not know that a `OnceLock` makes what is in it visible.
            readers.slot(0);
        }
        readers
    }

    /// Pins what `current` gives: called again after the pin is visible, until both answers are the same.
    pub(crate) fn pin<T>(&self, mut current: impl FnMut() -> (TxId, T)) -> (Pin<'_>, T) {
        let slot = self.claim();
        loop {
            // Pairs with the increment in `unlinked`: a reader that gets the later epoch sees what was unlinked before it.
            slot.epoch
                .store(self.epoch.load(Ordering::Acquire), Ordering::Relaxed);
            let (snapshot, _) = current();
            slot.snapshot.store(snapshot.0 + BIAS, Ordering::Relaxed);
            // Pairs with the fence in `active`.
            fence(Ordering::SeqCst);
            let (again, value) = current();
            if again == snapshot {
                return (Pin { slot, snapshot }, value);
            }
            sync::again();
        }
    }

    /// Says that something can't be reached any more by readers that begin from now on. What is unlinked may be reused once no
    /// active reader has this epoch or an earlier one.
    pub(crate) fn unlinked(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::AcqRel)
    }

    /// The readers that are active.
    pub(crate) fn active(&self) -> Vec<Active> {
        // Pairs with the fence in `pin`.
        fence(Ordering::SeqCst);
        let high = self.high.load(Ordering::Acquire);
        (0..high)
            .filter_map(|index| {
                let slot = self.slot(index);
                match slot.snapshot.load(Ordering::Acquire) {
                    FREE => None,
                    snapshot => Some(Active {
                        snapshot: snapshot - BIAS,
                        epoch: slot.epoch.load(Ordering::Acquire),
                    }),
                }
            })
            .collect()
    }

    fn claim(&self) -> &Slot {
        // A model's threads share theirs.
        let hint = if cfg!(loom) { 0 } else { HINT.get() };
        let high = self.high.load(Ordering::Relaxed);
        if hint < high
            && let Some(slot) = self.try_claim(hint)
        {
            return slot;
        }
        for index in 0.. {
            if let Some(slot) = self.try_claim(index) {
                HINT.set(index);
                self.high.fetch_max(index + 1, Ordering::SeqCst);
                return slot;
            }
        }
        unreachable!("the table grows for as long as there is memory")
    }

    fn try_claim(&self, index: u32) -> Option<&Slot> {
        let slot = self.slot(index);
        if slot.snapshot.load(Ordering::Relaxed) != FREE {
            return None;
        }
        // A claimed slot counts as a reader of the first snapshot until it has one: it holds back too much for an instant,
        // never too little.
        slot.snapshot
            .compare_exchange(FREE, BIAS, Ordering::Acquire, Ordering::Relaxed)
            .ok()
            .map(|_| slot)
    }

    fn slot(&self, index: u32) -> &Slot {
        let position = index as usize / FIRST_CHUNK + 1;
        let chunk = position.ilog2() as usize;
        let offset = index as usize - FIRST_CHUNK * ((1 << chunk) - 1);
        let slots = self.chunks[chunk].get_or_init(|| {
            (0..FIRST_CHUNK << chunk)
                .map(|_| Slot {
                    snapshot: AtomicU64::new(FREE),
                    epoch: AtomicU64::new(0),
                })
                .collect()
        });
        &slots[offset]
    }
}

impl Pin<'_> {
    /// The commit whose state is pinned.
    pub(crate) fn snapshot(&self) -> TxId {
        self.snapshot
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        // Whoever reuses what this reader held must see its last read done: pairs with the loads in `active`.
        self.slot.snapshot.store(FREE, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn active_readers_are_those_that_hold_a_pin() {
        let readers = Readers::new();
        let pins: Vec<_> = (0..200).map(|i| readers.pin(|| (TxId(i), ())).0).collect();
        let mut seen: Vec<_> = readers.active().iter().map(|a| a.snapshot).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..200).collect::<Vec<_>>());
        drop(pins);
        assert!(readers.active().is_empty());
    }

    #[test]
    fn a_pin_is_taken_again_when_the_snapshot_moved_meanwhile() {
        let readers = Readers::new();
        let mut answers = [3, 4, 4, 4].into_iter();
        let (pin, value) = readers.pin(|| {
            let n = answers.next().expect("the loop ends when two answers agree");
            (TxId(n), n)
        });
        assert_eq!((pin.snapshot(), value), (TxId(4), 4));
    }

    #[test]
    fn a_later_reader_has_a_later_epoch() {
        let readers = Readers::new();
        let _before = readers.pin(|| (TxId(1), ())).0;
        let unlinked = readers.unlinked();
        let _after = readers.pin(|| (TxId(1), ())).0;
        let mut epochs: Vec<_> = readers.active().iter().map(|a| a.epoch).collect();
        epochs.sort_unstable();
        assert!(epochs[0] <= unlinked && epochs[1] > unlinked);
    }
}
