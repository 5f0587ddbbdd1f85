//! A bounded queue of references to entries that may be gone by the time their turn comes.
//!
//! What stands in it is a hint: a ticket that doesn't fit its entry any more is passed over, and one that a dying process took
//! with it is lost to the queue.

use crate::actor::Actor;
use crate::error::Result;
use crate::heap::{TAG_ENTRY, VolumeState};
use crate::map::entry::Entry;
use crate::protocol::header::{Header, Owner, State};
use crate::sync::{AtomicU64, Ordering};

const PLACE: u64 = 0x0000_ffff_ffff_fff0;

/// A reference to an entry that may be gone: its place, and 16 bits of its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(pub(crate) u64);

impl Ticket {
    pub(crate) fn of(entry: &Entry<'_>) -> Ticket {
        Ticket(entry.version() << 48 | entry.offset & PLACE)
    }

    fn place(self) -> u64 {
        self.0 & PLACE
    }

    fn fits(self, version: u64) -> bool {
        self.0 >> 48 == version & 0xffff
    }
}

/// A queue: two ends that count on, and a power of two of slots.
#[derive(Clone, Copy)]
pub(crate) struct Ring<'a> {
    pub(crate) tail: &'a AtomicU64,
    pub(crate) head: &'a AtomicU64,
    pub(crate) slots: &'a [AtomicU64],
}

impl Ring<'_> {
    fn capacity(self) -> u64 {
        self.slots.len() as u64
    }

    fn slot(&self, index: u64) -> &AtomicU64 {
        &self.slots[(index & (self.capacity() - 1)) as usize]
    }

    /// Tickets in the queue, those that don't fit any more included.
    pub(crate) fn len(self) -> u64 {
        let (tail, head) = (
            self.tail.load(Ordering::Relaxed),
            self.head.load(Ordering::Relaxed),
        );
        let len = tail.wrapping_sub(head);
        if len > self.capacity() { 0 } else { len }
    }

    /// Appends a ticket. If the queue is full, what falls out at its head is returned.
    pub(crate) fn push(self, ticket: Ticket) -> Option<Ticket> {
        let fallen = if self.len() >= self.capacity() - 1 {
            self.pop()
        } else {
            None
        };
        let at = self.tail.fetch_add(1, Ordering::AcqRel);
        // One that was not taken when its slot came round again is lost to the queue, as if its owner had died.
        self.slot(at).swap(ticket.0, Ordering::AcqRel);
        fallen
    }

    /// Takes the oldest ticket, if there is any. Gaps are passed over.
    pub(crate) fn pop(self) -> Option<Ticket> {
        for _ in 0..self.capacity() {
            let at = self.head.load(Ordering::Acquire);
            let len = self.tail.load(Ordering::Acquire).wrapping_sub(at);
            if len == 0 || len > 1 << 62 {
                return None;
            }
            if self
                .head
                .compare_exchange(at, at.wrapping_add(1), Ordering::AcqRel, Ordering::Acquire)
                .is_err()
            {
                continue;
            }
            let ticket = self.slot(at).swap(0, Ordering::AcqRel);
            if ticket != 0 {
                return Some(Ticket(ticket));
            }
        }
        None
    }
}

impl<'a> Actor<'a> {
    /// The entry of a ticket, if it is still the one.
    pub(crate) fn entry_of(&self, ticket: Ticket) -> Result<Option<Entry<'a>>> {
        let Ok(entry) = Entry::load(self.shared, ticket.place()) else {
            return Ok(None);
        };
        let is_live = matches!(Header::load(entry.header()).state(), State::Live | State::Owned);
        Ok(
            (is_live && ticket.fits(entry.version()) && self.tag(entry.offset)? == TAG_ENTRY)
                .then_some(entry),
        )
    }

    /// Makes a zeroed run of volumes with `len` bytes behind its first line, and lets the word `root` lead there, unless it leads somewhere.
    pub(crate) fn allocate_rooted(&mut self, root: &AtomicU64, len: u64) -> Result<()> {
        let run = self.allocate_run(len + 64)?;
        self.shared.map.zero(run, len + 64)?;
        if root
            .compare_exchange(0, run + 64, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
        {
            self.step_run(run, VolumeState::OwnedRun, VolumeState::Run, Owner::NOBODY)?;
            return Ok(());
        }
        // Nobody has seen it.
        self.free_run(run)
    }
}
