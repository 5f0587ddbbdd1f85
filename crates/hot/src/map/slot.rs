//! What a slot of a line holds: 16 bits of the key's hash above the place of its entry, or a mark that it is empty.

use crate::map::table::SLOTS;
use crate::protocol::line::EMPTY;
#[cfg(test)]
use crate::protocol::line::FROZEN;
use crate::sync::{AtomicU64, Ordering};

const PLACE: u64 = 0x0000_ffff_ffff_fff0;

/// The slot for an entry.
#[inline]
pub(crate) fn pack(hash: u64, place: u64) -> u64 {
    tag(hash) | place & PLACE
}

/// The part of a hash that stands in slots.
#[inline]
pub(crate) fn tag(hash: u64) -> u64 {
    hash & !(u64::MAX >> 16)
}

/// Whether a slot may be that of a hash.
#[inline]
pub(crate) fn fits(slot: u64, tag: u64) -> bool {
    (slot ^ tag) >> 48 == 0 && slot & EMPTY == 0 && slot & PLACE != 0
}

/// What of the slots of a line differs least from a tag. Without branches, because which slot it is can't be foreseen, and a processor that
/// guesses wrong has to wait for the line.
#[inline(always)]
pub(crate) fn nearest(slots: &[AtomicU64; SLOTS], tag: u64) -> Nearest {
    let differences = slots
        .iter()
        // Acquire: the entry was written before it was linked.
        .map(|word| word.load(Ordering::Acquire) ^ tag);
    Nearest(differences.fold(u64::MAX, u64::min))
}

/// See [`nearest`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nearest(u64);

impl Nearest {
    /// Whether no slot bears the tag.
    #[inline(always)]
    pub(crate) fn is_none(self) -> bool {
        self.0 > u64::MAX >> 16
    }

    /// What the slot holds that bears the tag, or one of them, below the tag; `None` if no slot does, or if that one is empty or frozen.
    #[inline(always)]
    pub(crate) fn unfrozen(self) -> Option<u64> {
        (self.0 & !PLACE == 0).then_some(self.0)
    }

    /// Where the slot leads that bears the tag, or one of them; `None` if that is an empty slot.
    #[inline(always)]
    pub(crate) fn place(self) -> Option<u64> {
        (self.0 & EMPTY == 0).then_some(self.0 & PLACE)
    }
}

/// The place that a slot or a link leads to; `None` if it is empty.
#[inline]
pub(crate) fn place(slot: u64) -> Option<u64> {
    (slot & EMPTY == 0 && slot & PLACE != 0).then_some(slot & PLACE)
}

/// An empty slot's mark, from a number that was never used before.
pub(crate) fn empty(number: u64) -> u64 {
    number << 4 | EMPTY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_marks_are_told_apart_frozen_or_not() {
        let slot = pack(0xabcd_0000_0000_0001, 0x1230);
        assert_eq!(place(slot), Some(0x1230));
        assert_eq!(place(slot | FROZEN), Some(0x1230));
        assert!(fits(slot | FROZEN, tag(0xabcd_ffff_0000_0000)));
        assert!(!fits(slot, tag(0xabce_0000_0000_0000)));
        assert_eq!(place(0), None);
        assert_eq!(place(EMPTY | FROZEN), None);
        assert_eq!(place(empty(u64::MAX >> 4)), None);
        assert!(!fits(empty(0xabcd << 44), tag(0xabcd_0000_0000_0000)));
    }

    #[test]
    fn the_nearest_slot_bears_the_tag_if_any_does() {
        let words = [0x1230, 0xabcd << 48 | 0x1230, 0xabcc << 48, 0, EMPTY, EMPTY];
        let slots = words.map(AtomicU64::new);
        let nearest = |tag: u64| super::nearest(&slots, tag << 48);
        assert!(!nearest(0xabcd).is_none());
        assert_eq!(nearest(0xabcd).place(), Some(0x1230));
        assert_eq!(nearest(0xabcd).unfrozen(), Some(0x1230));
        assert_eq!(nearest(0xabce).unfrozen(), None);
        slots[1].fetch_or(FROZEN, Ordering::Relaxed);
        assert_eq!(nearest(0xabcd).place(), Some(0x1230));
        assert_eq!(nearest(0xabcd).unfrozen(), None);
        slots[1].fetch_or(EMPTY, Ordering::Relaxed);
        assert_eq!(nearest(0xabcd).place(), None);
        assert!(nearest(0xabcf).is_none());
    }
}
