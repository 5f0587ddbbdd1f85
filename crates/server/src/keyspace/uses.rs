//! When keys were last used, and how often: what `OBJECT IDLETIME` and `OBJECT FREQ` tell.
//!
//! Reading a key writes nothing to the file, so this is kept in memory, in a table of fixed size: each key has one place in it, by its hash, and of the keys that share a
//! place the one that was used last has it. It begins anew with each start.

use std::cell::{Cell, RefCell};

/// How many places there are. With 12 bytes each the table stays in a processor's cache.
const PLACES: usize = 1 << 16;

/// What is counted of a key that is new, so that it is not the rarest at once.
const FIRST: u8 = 5;

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// More of the hash of the key that has the place; 0 while nobody has it.
    tag: u32,
    /// When that was last used, in seconds since 1970.
    last_s: u32,
    /// A logarithm of how often.
    count: u8,
}

/// Whether and how uses are counted, beside when the last one was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counting {
    pub(crate) counts: bool,
    /// How many more uses each further step takes.
    pub(crate) log_factor: u32,
    /// Minutes after which a step is taken back; 0 for never.
    pub(crate) decay_minutes: u32,
}

/// When keys were last used, and how often.
#[derive(Debug)]
pub(crate) struct Uses {
    places: RefCell<Box<[Place]>>,
    /// Whether the command that is being run is one that uses keys, rather than asks about them.
    pub(crate) notes: Cell<bool>,
    pub(crate) counting: Cell<Counting>,
    began_s: u32,
}

fn split(hash: u64) -> (usize, u32) {
    (hash as usize % PLACES, ((hash >> 32) as u32).max(1))
}

impl Uses {
    pub(super) fn new(now_ms: u64) -> Uses {
        Uses {
            places: RefCell::new(vec![Place::default(); PLACES].into()),
            notes: Cell::new(true),
            counting: Cell::default(),
            began_s: seconds(now_ms),
        }
    }

    /// A key is used, whose hash this is.
    #[inline]
    pub(super) fn used(&self, hash: u64, now_ms: u64) {
        if !self.notes.get() {
            return;
        }
        let (at, tag) = split(hash);
        let place = &mut self.places.borrow_mut()[at];
        let counting = self.counting.get();
        if counting.counts {
            place.count = match place.tag == tag {
                true => more(decayed(place, counting, now_ms), counting.log_factor),
                false => FIRST,
            };
        }
        place.tag = tag;
        place.last_s = seconds(now_ms);
    }

    /// Says that a key was last used at a time, or how often.
    pub(super) fn set(&self, hash: u64, last_ms: u64, count: Option<u8>) {
        let (at, tag) = split(hash);
        let place = &mut self.places.borrow_mut()[at];
        *place = Place {
            tag,
            last_s: seconds(last_ms),
            count: count.unwrap_or(FIRST),
        };
    }

    /// How many seconds ago a key was last used. Where another has its place, that was before that one was used; where nobody has it, before the start.
    pub(super) fn idle_s(&self, hash: u64, now_ms: u64) -> u64 {
        let place = self.places.borrow()[split(hash).0];
        let last_s = if place.tag == 0 {
            self.began_s
        } else {
            place.last_s
        };
        u64::from(seconds(now_ms).saturating_sub(last_s))
    }

    /// A logarithm of how often a key is used; 0 where another has its place.
    pub(super) fn count(&self, hash: u64, now_ms: u64) -> u8 {
        let (at, tag) = split(hash);
        let place = self.places.borrow()[at];
        match place.tag == tag {
            true => decayed(&place, self.counting.get(), now_ms),
            false => 0,
        }
    }
}

fn seconds(ms: u64) -> u32 {
    (ms / 1000) as u32
}

fn decayed(place: &Place, counting: Counting, now_ms: u64) -> u8 {
    let minutes = seconds(now_ms).saturating_sub(place.last_s) / 60;
    let steps = minutes.checked_div(counting.decay_minutes).unwrap_or(0);
    place.count.saturating_sub(u8::try_from(steps).unwrap_or(u8::MAX))
}

/// One more use of a key that has this count: the higher it is the less likely does it rise.
fn more(count: u8, log_factor: u32) -> u8 {
    let steps = f64::from(count.saturating_sub(FIRST)) * f64::from(log_factor);
    if fastrand::f64() < 1.0 / (steps + 1.0) {
        count.saturating_add(1)
    } else {
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_use_is_remembered_and_counted() {
        let uses = Uses::new(1_000_000);
        let (one, other) = (0x0001_0000_0000_0007, 0x0002_0000_0000_0007);
        assert_eq!(uses.idle_s(one, 1_005_000), 5, "since the start");
        uses.used(one, 1_010_000);
        assert_eq!(uses.idle_s(one, 1_012_000), 2);
        uses.notes.set(false);
        uses.used(one, 1_020_000);
        assert_eq!(uses.idle_s(one, 1_020_000), 10, "it was only asked about");
        uses.notes.set(true);
        uses.counting.set(Counting {
            counts: true,
            log_factor: 0,
            decay_minutes: 1,
        });
        uses.used(other, 1_030_000);
        assert_eq!(uses.count(one, 1_030_000), 0, "the other has its place");
        for _ in 0..300 {
            uses.used(other, 1_030_000);
        }
        assert_eq!(uses.count(other, 1_030_000), 255);
        assert_eq!(uses.count(other, 1_030_000 + 600_000), 245, "ten minutes later");
        uses.set(one, 0, Some(100));
        assert_eq!(uses.count(one, 1_000), 100);
    }
}
