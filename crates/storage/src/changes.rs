//! What changed lately: a bounded ring that writers push to and any number of readers follow. Each place has a lock of its own, which two want at once only when they are a whole round apart: that is cheaper than doing
//! without, and the memory of a place is used again.
//!
//! A change has a number, counted up from 1. Its place in the ring is that number modulo the size, so a reader knows from the number it finds
//! there whether it came in time, too early (somebody took that number and has not written yet) or too late.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::item::Version;

/// A key that changed, and the version it got. The item itself is read from the store, where a newer one may be by then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its number.
    pub number: u64,
    /// The key.
    pub key: Vec<u8>,
    /// What it changed to.
    pub version: Version,
}

/// Longer keys give their memory back when they are overwritten.
const KEPT_LEN_MAX: usize = 256;

impl Change {
    /// None has been in that place.
    const NONE: Change = Change {
        number: 0,
        key: Vec::new(),
        version: Version::new(0, 0),
    };
}

/// What a reader gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// All changes after the number that was asked for, in order. Ask next with the last one's number.
    Since(Vec<Change>),
    /// Some are forgotten already, or the number is not from this store's life: compare everything, then go on from `next`.
    Forgotten {
        /// The newest number that was taken when this was answered.
        next: u64,
    },
}

/// The last changes of a store. For those who write a backend.
#[derive(Debug)]
pub struct ChangeRing {
    slots: Box<[Mutex<Change>]>,
    /// The newest number taken.
    newest: AtomicU64,
    /// The newest number that is not remembered because [`forget`](ChangeRing::forget) said so.
    forgotten: AtomicU64,
}

impl ChangeRing {
    /// A ring for so many changes, at least one.
    pub fn new(capacity: usize) -> ChangeRing {
        ChangeRing {
            slots: (0..capacity.max(1)).map(|_| Mutex::new(Change::NONE)).collect(),
            newest: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
        }
    }

    /// Remembers a change, once it is visible in the store.
    pub fn push(&self, key: &[u8], version: Version) {
        // Release: whoever sees the number sees what the store did before; pairs with the Acquire in `since` and `count`.
        let number = self.newest.fetch_add(1, Ordering::AcqRel) + 1;
        let mut slot = self.slot(number);
        // Another writer a whole round ahead may have been here already: the newer one stays.
        if slot.number < number {
            (slot.number, slot.version) = (number, version);
            if slot.key.capacity() > KEPT_LEN_MAX || key.len() > KEPT_LEN_MAX {
                slot.key = key.to_vec();
            } else {
                slot.key.clear();
                slot.key.extend_from_slice(key);
            }
        }
    }

    /// Remembers all changes of a batch.
    pub fn push_all<'k>(&self, changes: impl IntoIterator<Item = (&'k [u8], Version)>) {
        changes
            .into_iter()
            .for_each(|(key, version)| self.push(key, version));
    }

    /// Makes every reader compare everything: the store changed in a way that is no list of keys.
    pub fn forget(&self) {
        let number = self.newest.fetch_add(1, Ordering::AcqRel) + 1;
        self.forgotten.fetch_max(number, Ordering::AcqRel);
    }

    /// How many changes there were.
    pub fn count(&self) -> u64 {
        self.newest.load(Ordering::Acquire)
    }

    /// The changes after that number.
    pub fn since(&self, number: u64) -> Changes {
        let newest = self.count();
        let forgotten = Changes::Forgotten { next: newest };
        let oldest = newest.saturating_sub(self.slots.len() as u64);
        if number > newest || number < oldest || number < self.forgotten.load(Ordering::Acquire) {
            return forgotten;
        }
        let mut changes = Vec::new();
        for wanted in number + 1..=newest {
            let change = self.slot(wanted);
            match change.number {
                number if number == wanted => changes.push(change.clone()),
                number if number > wanted => return forgotten,
                // Its writer is not done: the rest comes another time, so that none is passed over.
                _ => break,
            }
        }
        Changes::Since(changes)
    }

    fn slot(&self, number: u64) -> MutexGuard<'_, Change> {
        let slot = &self.slots[(number % self.slots.len() as u64) as usize];
        slot.lock().expect("nothing panics while it is held")
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn numbers(changes: Changes) -> Vec<u64> {
        match changes {
            Changes::Since(changes) => changes.iter().map(|change| change.number).collect(),
            Changes::Forgotten { next } => panic!("forgotten up to {next}"),
        }
    }

    #[test]
    fn a_reader_gets_what_came_after_and_no_more() {
        let ring = ChangeRing::new(4);
        assert_eq!(numbers(ring.since(0)), [0; 0]);
        for n in 1..=3 {
            ring.push(b"k", Version::new(n, 0));
        }
        assert_eq!(numbers(ring.since(0)), [1, 2, 3]);
        assert_eq!(numbers(ring.since(2)), [3]);
        assert_eq!(numbers(ring.since(3)), [0; 0]);
    }

    #[test]
    fn what_was_overwritten_or_never_was_is_said_to_be_forgotten() {
        let ring = ChangeRing::new(4);
        (1..=6).for_each(|n| ring.push(b"k", Version::new(n, 0)));
        assert_eq!(ring.since(1), Changes::Forgotten { next: 6 });
        assert_eq!(numbers(ring.since(2)), [3, 4, 5, 6]);
        assert_eq!(ring.since(7), Changes::Forgotten { next: 6 });
        ring.forget();
        assert_eq!(ring.since(6), Changes::Forgotten { next: 7 });
        assert_eq!(numbers(ring.since(7)), [0; 0]);
    }

    #[test]
    fn a_follower_misses_nothing_beside_many_writers() {
        let (writers, each) = (4, 5_000_u64);
        let ring = ChangeRing::new(1 << 16);
        let mut seen = Vec::new();
        thread::scope(|scope| {
            for writer in 0..writers {
                let ring = &ring;
                scope.spawn(move || {
                    (0..each).for_each(|n| ring.push(&n.to_be_bytes(), Version::new(n, writer)))
                });
            }
            let mut last = 0;
            while last < writers * each {
                let Changes::Since(changes) = ring.since(last) else {
                    panic!("the ring holds them all")
                };
                last = changes.last().map_or(last, |change| change.number);
                seen.extend(changes);
                thread::yield_now();
            }
        });
        for writer in 0..writers {
            let times: Vec<u64> = seen
                .iter()
                .filter(|change| change.version.node == writer)
                .map(|change| change.version.time)
                .collect();
            assert_eq!(times, (0..each).collect::<Vec<_>>());
        }
    }
}
