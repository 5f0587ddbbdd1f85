//! One line of the map: 64 bytes, of which the first word guards the rest.
//!
//! ```text
//!  word 0   guard: state, owner of a pending insertion, 49 bits of version
//!  word 1-6 slots: 16 bits of the key's hash and the entry's place, or a mark that the slot is empty
//!  word 7   the line that follows when six slots are not enough
//! ```
//!
//! Replacing and removing are one compare-and-swap on the key's slot. Inserting must be sure that the key stands in no other
//! slot, so insertions into a line are put in order by its guard:
//!
//! 1. the inserter reads the guard, looks through the line, and writes into its own *intent* which slot will go from what to what;
//! 2. it moves the guard from idle to pending, with its name and the next version: this decides the insertion;
//! 3. anybody who meets the pending guard reads the intent, makes the slot so, and moves the guard to idle again.
//!
//! Nobody waits for the inserter, dead or stopped. Someone who is late with step 3 changes nothing: an empty slot's mark carries a number that is
//! never used twice, so the slot can't be found as the intent describes it once it has been filled.
//!
//! When the table grows, a line is frozen (guard first, then every slot by a bit), copied by whoever comes by, and marked as moved. The copies
//! start out as zeros, a value that no slot has ever again, so several can copy at once and a late one changes nothing.

use super::RETRIES;
use super::header::Owner;
use crate::sync::{AtomicU64, Ordering};

/// A slot holding this, or any word with this bit, is empty; the other bits make it unique.
pub(crate) const EMPTY: u64 = 1;
/// The slot will not change any more.
pub(crate) const FROZEN: u64 = 2;

/// What a guard says about its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineState {
    /// Not filled yet.
    Raw,
    /// Open to changes.
    Idle,
    /// An insertion was decided and may not be visible yet.
    Pending,
    /// No insertion comes any more, slots are being frozen and copied.
    Frozen,
    /// All of it is in the next table.
    Moved,
}

/// One value of a guard word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guard(pub(crate) u64);

impl Guard {
    pub(crate) const FIRST: Guard = Guard(1 << 15 | 1);

    #[inline]
    pub(crate) fn load(word: &AtomicU64) -> Guard {
        Guard(word.load(Ordering::Acquire))
    }

    #[inline]
    pub(crate) fn state(self) -> LineState {
        match self.0 & 7 {
            0 => LineState::Raw,
            1 => LineState::Idle,
            2 => LineState::Pending,
            3 => LineState::Frozen,
            _ => LineState::Moved,
        }
    }

    /// Whether the line's keys are looked for in another table.
    #[inline]
    pub(crate) fn is_elsewhere(self) -> bool {
        (self.0 & 7).wrapping_sub(1) >= 3
    }

    pub(crate) fn owner(self) -> Owner {
        Owner((self.0 >> 3) as u16 & Owner::MAX)
    }

    fn next(self, state: u64, owner: Owner) -> Guard {
        Guard((self.0 >> 15).wrapping_add(1) << 15 | u64::from(owner.0) << 3 | state)
    }
}

/// What an inserter is about to do, where others can read it.
#[derive(Clone, Copy)]
pub(crate) struct Intent<'a> {
    /// The pending guard's value.
    pub(crate) guard: &'a AtomicU64,
    /// The place of the slot.
    pub(crate) place: &'a AtomicU64,
    /// What the slot holds now.
    pub(crate) expected: &'a AtomicU64,
    /// What it will hold.
    pub(crate) new: &'a AtomicU64,
}

/// Decides an insertion: slot `place` goes from `expected` to `new`. Returns the pending guard that [`finish`] wants, or `None` if the line
/// has changed since its guard was read as `seen`.
pub(crate) fn decide(
    guard: &AtomicU64,
    seen: Guard,
    owner: Owner,
    intent: Intent<'_>,
    place: u64,
    expected: u64,
    new: u64,
) -> Option<Guard> {
    debug_assert_eq!(seen.state(), LineState::Idle);
    let pending = seen.next(2, owner);
    // Each release: a helper that reads a word of the next intent thereby sees that the guard has left this one.
    intent.guard.store(pending.0, Ordering::Release);
    intent.place.store(place, Ordering::Release);
    intent.expected.store(expected, Ordering::Release);
    intent.new.store(new, Ordering::Release);
    // Release pairs with the acquire of the helper that loads the guard: it sees the intent.
    match guard.compare_exchange(seen.0, pending.0, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Some(pending),
        Err(_) => None,
    }
}

/// Makes a decided insertion visible.
pub(crate) fn finish(guard: &AtomicU64, pending: Guard, slot: &AtomicU64, expected: u64, new: u64) {
    // Failure of either means that somebody else did it.
    let _ = slot.compare_exchange(expected, new, Ordering::AcqRel, Ordering::Acquire);
    let idle = pending.next(1, Owner::NOBODY);
    let _ = guard.compare_exchange(pending.0, idle.0, Ordering::AcqRel, Ordering::Acquire);
}

/// Finishes the insertion of another, of which the guard was seen to be `pending`.
pub(crate) fn assist<'a, E>(
    guard: &AtomicU64,
    pending: Guard,
    intent: Intent<'_>,
    slot_at: impl FnOnce(u64) -> Result<&'a AtomicU64, E>,
) -> Result<(), E> {
    let decided = intent.guard.load(Ordering::Acquire);
    let place = intent.place.load(Ordering::Acquire);
    let expected = intent.expected.load(Ordering::Acquire);
    let new = intent.new.load(Ordering::Acquire);
    // If the guard still stands, its owner has not begun another insertion, so what was read belongs together.
    if guard.load(Ordering::Acquire) != pending.0 {
        return Ok(());
    }
    if decided == pending.0 {
        finish(guard, pending, slot_at(place)?, expected, new);
    } else {
        // Only a broken peer writes a pending guard without an intent: drop it, so that nobody goes round for ever.
        let idle = pending.next(1, Owner::NOBODY);
        let _ = guard.compare_exchange(pending.0, idle.0, Ordering::AcqRel, Ordering::Acquire);
    }
    Ok(())
}

/// Closes a line to insertions. `Ok(true)` once it is frozen or moved, `Ok(false)` if an insertion is pending and has to be assisted first.
pub(crate) fn close(guard: &AtomicU64) -> bool {
    for _ in 0..RETRIES {
        let seen = Guard::load(guard);
        match seen.state() {
            LineState::Idle => {
                let frozen = seen.next(3, Owner::NOBODY);
                if guard
                    .compare_exchange(seen.0, frozen.0, Ordering::AcqRel, Ordering::Acquire)
                    .is_ok()
                {
                    return true;
                }
            }
            LineState::Frozen | LineState::Moved => return true,
            LineState::Pending | LineState::Raw => return false,
        }
    }
    false
}

/// Marks a frozen line as moved.
pub(crate) fn mark_moved(guard: &AtomicU64) {
    let seen = Guard::load(guard);
    if seen.state() == LineState::Frozen {
        let moved = seen.next(4, Owner::NOBODY);
        let _ = guard.compare_exchange(seen.0, moved.0, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// Freezes a slot and returns what it held, without the bit.
pub(crate) fn freeze(slot: &AtomicU64) -> u64 {
    slot.fetch_or(FROZEN, Ordering::AcqRel) & !FROZEN
}

/// Fills a word of a raw line; the first to come wins, and all bring the same.
pub(crate) fn fill(slot: &AtomicU64, value: u64) -> bool {
    slot.compare_exchange(0, value, Ordering::AcqRel, Ordering::Acquire)
        .is_ok()
}

/// Opens a line of which every word has been filled.
pub(crate) fn open(guard: &AtomicU64) {
    let _ = guard.compare_exchange(0, Guard::FIRST.0, Ordering::AcqRel, Ordering::Acquire);
}
