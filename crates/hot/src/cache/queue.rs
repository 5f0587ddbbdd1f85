//! The two queues and the fingerprints, in a run of volumes.
//!
//! ```text
//!    0  small queue: tail, and 64 bytes on its head   128  main queue likewise   256  fingerprints handed out
//!  320  slots of the small queue, of the main queue, fingerprints: 2^n words each
//! ```

use crate::error::{Result, corrupt};
use crate::region::Shared;
use crate::sync::{AtomicU64, Ordering};

const PREFIX: u64 = 320;
const PLACE: u64 = 0x0000_ffff_ffff_fff0;

/// A reference to an entry that may be gone: its place, and 16 bits of its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(pub(crate) u64);

impl Ticket {
    pub(crate) fn new(place: u64, version: u64) -> Ticket {
        Ticket(version << 48 | place & PLACE)
    }

    pub(crate) fn place(self) -> u64 {
        self.0 & PLACE
    }

    pub(crate) fn fits(self, version: u64) -> bool {
        self.0 >> 48 == version & 0xffff
    }
}

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
        if base < shared.layout.data_start {
            return corrupt("queues that lie in the volumes", base);
        }
        Ok(Queues {
            words: shared.map.words(base, Queues::len_for(log2) / 8)?,
            log2,
        })
    }

    fn capacity(self) -> u64 {
        1 << self.log2
    }

    fn ends(self, line: Line) -> (&'a AtomicU64, &'a AtomicU64) {
        let at = if line == Line::Small { 0 } else { 16 };
        (&self.words[at], &self.words[at + 8])
    }

    fn slot(self, part: u64, index: u64) -> &'a AtomicU64 {
        let at = PREFIX / 8 + part * self.capacity() + (index & (self.capacity() - 1));
        &self.words[at as usize]
    }

    fn queue_slot(self, line: Line, index: u64) -> &'a AtomicU64 {
        self.slot(if line == Line::Small { 0 } else { 1 }, index)
    }

    /// Entries in a queue, those that are gone included.
    pub(crate) fn len(self, line: Line) -> u64 {
        let (tail, head) = self.ends(line);
        let len = tail
            .load(Ordering::Relaxed)
            .wrapping_sub(head.load(Ordering::Relaxed));
        if len > self.capacity() { 0 } else { len }
    }

    /// Appends a ticket. If the queue is full, what falls out at its head is returned.
    pub(crate) fn push(self, line: Line, ticket: Ticket) -> Option<Ticket> {
        let (tail, _) = self.ends(line);
        let fallen = if self.len(line) >= self.capacity() - 1 {
            self.pop(line)
        } else {
            None
        };
        let at = tail.fetch_add(1, Ordering::AcqRel);
        // One that was not taken when its slot came round again is lost to the queue, as if its owner had died.
        self.queue_slot(line, at).swap(ticket.0, Ordering::AcqRel);
        fallen
    }

    /// Takes the oldest ticket, if there is any. Gaps are passed over.
    pub(crate) fn pop(self, line: Line) -> Option<Ticket> {
        let (tail, head) = self.ends(line);
        for _ in 0..self.capacity() {
            let at = head.load(Ordering::Acquire);
            let len = tail.load(Ordering::Acquire).wrapping_sub(at);
            if len == 0 || len > 1 << 62 {
                return None;
            }
            if head
                .compare_exchange(at, at.wrapping_add(1), Ordering::AcqRel, Ordering::Acquire)
                .is_err()
            {
                continue;
            }
            let ticket = self.queue_slot(line, at).swap(0, Ordering::AcqRel);
            if ticket != 0 {
                return Some(Ticket(ticket));
            }
        }
        None
    }

    /// Keeps the fingerprint of a key that was evicted from the small queue.
    pub(crate) fn remember(self, hash: u64) {
        let count = self.words[32].fetch_add(1, Ordering::Relaxed);
        self.slot(2, hash)
            .store(hash >> 32 << 32 | count & 0xffff_ffff, Ordering::Relaxed);
    }

    /// Whether a key was evicted a short while ago; as many evictions ago, at most, as the main queue has entries.
    pub(crate) fn remembers(self, hash: u64) -> bool {
        let word = self.slot(2, hash).load(Ordering::Relaxed);
        let age = (self.words[32].load(Ordering::Relaxed) as u32).wrapping_sub(word as u32);
        word >> 32 == hash >> 32 && u64::from(age) <= self.len(Line::Main).max(64)
    }
}
