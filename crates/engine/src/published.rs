//! The roots that new readers see, read without a lock.

use std::array;

use crate::ids::TxId;
use crate::roots::Roots;
use crate::sync::{AtomicU64, Ordering, fence};

/// The roots of the newest commit.
pub(crate) struct Published {
    ring: Ring<{ Roots::WORDS }, 8>,
}

impl Published {
    pub(crate) fn new(roots: Roots) -> Published {
        Published {
            ring: Ring::new(roots.to_words()),
        }
    }

    /// Makes `roots` what new readers see. One thread at a time.
    pub(crate) fn publish(&self, roots: Roots) {
        self.ring.publish(roots.to_words());
    }

    /// The newest roots.
    pub(crate) fn load(&self) -> Roots {
        Roots::from_words(&self.ring.load())
    }

    /// The newest commit.
    pub(crate) fn txid(&self) -> TxId {
        self.load().txid
    }
}

/// Words that are replaced all at once.
///
/// The newest of a few copies is current. A publisher fills the oldest copy and then makes it the current one; a reader copies the current one
/// and takes it only if the copy can't have been filled again meanwhile.
pub(crate) struct Ring<const WORDS: usize, const COPIES: usize> {
    copies: [[AtomicU64; WORDS]; COPIES],
    current: AtomicU64,
}

impl<const WORDS: usize, const COPIES: usize> Ring<WORDS, COPIES> {
    pub(crate) fn new(words: [u64; WORDS]) -> Self {
        let ring = Ring {
            copies: array::from_fn(|_| array::from_fn(|_| AtomicU64::new(0))),
            current: AtomicU64::new(0),
        };
        ring.publish(words);
        ring
    }

    /// Replaces the words. One thread at a time.
    pub(crate) fn publish(&self, words: [u64; WORDS]) {
        let next = self.current.load(Ordering::Relaxed) + 1;
        // Whoever sees a word of this copy also sees that `current` had come close to it: pairs with the fence in `load`.
        fence(Ordering::Release);
        for (word, value) in self.copy(next).iter().zip(words) {
            word.store(value, Ordering::Relaxed);
        }
        // Pairs with the first load in `load`: whoever sees this number sees the words, and the pages under them.
        self.current.store(next, Ordering::Release);
    }

    /// The newest words.
    pub(crate) fn load(&self) -> [u64; WORDS] {
        loop {
            let current = self.current.load(Ordering::Acquire);
            let copy = self.copy(current);
            let words = array::from_fn(|i| copy[i].load(Ordering::Relaxed));
            fence(Ordering::Acquire);
            // The copy is filled again as number `current + COPIES`, after `current + COPIES - 1` was made current.
            if self.current.load(Ordering::Relaxed) < current + COPIES as u64 - 1 {
                return words;
            }
            crate::sync::again();
        }
    }

    fn copy(&self, number: u64) -> &[AtomicU64; WORDS] {
        &self.copies[number as usize % COPIES]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn roots(n: u64) -> Roots {
        let words: [u64; Roots::WORDS] = array::from_fn(|i| if i >= 3 && i % 4 == 0 { n % 20 } else { n });
        Roots::from_words(&words)
    }

    #[test]
    fn readers_never_see_half_of_two_publications() {
        let published = Published::new(roots(0));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut last = 0;
                    while last < 200_000 {
                        let seen = published.load();
                        assert_eq!(seen, roots(seen.txid.0));
                        assert!(seen.txid.0 >= last);
                        last = seen.txid.0;
                    }
                });
            }
            scope.spawn(|| (1..=200_000).for_each(|n| published.publish(roots(n))));
        });
    }
}
