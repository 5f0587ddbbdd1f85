//! The two queues and the fingerprints, in a run of volumes.
//!
//! ```text
//!    0  small queue: tail, and 64 bytes on its head   128  main queue likewise   256  fingerprints handed out
//!  320  slots of the small queue, of the main queue, fingerprints: 2^n words each
//! ```

use crate::error::Result;
use crate::region::Shared;
use crate::ring::Ring;
use crate::sync::{AtomicU64, Ordering};

const PREFIX: u64 = 320;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Small,
    Main,
}

/// The queues of a region.
#[derive(Clone, Copy)]
pub(crate) struct Queues<'a> {
    words: &'a [AtomicU64],
    log2: u32,
}

impl<'a> Queues<'a> {
    /// How many entries the queues are made for, as a power of two: one for every 128 bytes of the budget.
    pub(crate) fn log2_for(budget: u64) -> u32 {
        (budget / 128)
            .max(64)
            .next_power_of_two()
            .trailing_zeros()
            .min(31)
    }

    pub(crate) fn len_for(log2: u32) -> u64 {
        PREFIX + 3 * (8 << log2)
    }

    pub(crate) fn at(shared: &'a Shared, base: u64, log2: u32) -> Result<Queues<'a>> {
        Ok(Queues {
            words: shared.backed_words(base, Queues::len_for(log2) / 8)?,
            log2,
        })
    }

    fn capacity(self) -> u64 {
        1 << self.log2
    }

    /// Where the fingerprint of a key stands.
    fn fingerprint(self, hash: u64) -> &'a AtomicU64 {
        let at = PREFIX / 8 + 2 * self.capacity() + (hash & (self.capacity() - 1));
        &self.words[at as usize]
    }

    /// One of the two queues.
    pub(crate) fn ring(self, line: Line) -> Ring<'a> {
        let (ends, part) = match line {
            Line::Small => (0, 0),
            Line::Main => (16, 1),
        };
        let start = (PREFIX / 8 + part * self.capacity()) as usize;
        Ring {
            tail: &self.words[ends],
            head: &self.words[ends + 8],
            slots: &self.words[start..start + self.capacity() as usize],
        }
    }

    /// Keeps the fingerprint of a key that was evicted from the small queue.
    pub(crate) fn remember(self, hash: u64) {
        let count = self.words[32].fetch_add(1, Ordering::Relaxed);
        self.fingerprint(hash)
            .store(hash >> 32 << 32 | count & 0xffff_ffff, Ordering::Relaxed);
    }

    /// Whether a key was evicted a short while ago; as many evictions ago, at most, as the main queue has entries.
    pub(crate) fn remembers(self, hash: u64) -> bool {
        let word = self.fingerprint(hash).load(Ordering::Relaxed);
        let age = (self.words[32].load(Ordering::Relaxed) as u32).wrapping_sub(word as u32);
        word >> 32 == hash >> 32 && u64::from(age) <= self.ring(Line::Main).len().max(64)
    }
}
