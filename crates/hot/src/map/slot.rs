//! What a slot of a line holds: 16 bits of the key's hash above the place of its entry, or a mark that it is empty.

use crate::protocol::line::EMPTY;
#[cfg(test)]
use crate::protocol::line::FROZEN;

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
}
