//! Hybrid logical time: versions that follow wall clocks closely, and never go backwards on a node or along a chain of messages.
//!
//! The wall clock is believed only as far as it runs evenly. Between inputs the steady clock says how much time went by; a wall clock that
//! moves by more than half of the drift bound against it has *jumped*, and is followed only once a majority of the peers are seen to agree with it.
//! What others send from beyond the bound is refused.
//!
//! A ceiling is stored before versions below it are given out, so that a restarted node never repeats one.

use crate::codec::wire_struct;
use crate::id::NodeId;

/// The time at an input, as the host reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// A clock that never jumps, in milliseconds since any moment.
    pub steady_ms: u64,
    /// Milliseconds since 1970.
    pub wall_ms: u64,
}

/// When something was written, and by whom. The greater wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// 48 bits of milliseconds, 16 of counter.
    pub stamp: u64,
    /// The node that made it, which settles ties everywhere the same way.
    pub node: NodeId,
}

wire_struct!(Version { stamp, node });

impl Version {
    /// Before everything.
    pub const ZERO: Version = Version {
        stamp: 0,
        node: NodeId(0),
    };

    /// The milliseconds in it.
    pub fn ms(self) -> u64 {
        self.stamp >> 16
    }

    /// The greatest version of that millisecond and all before.
    pub fn end_of_ms(ms: u64) -> Version {
        Version {
            stamp: (ms << 16) | 0xffff,
            node: NodeId(u64::MAX),
        }
    }
}

/// Why the clock gives no version, or takes none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClockError {
    /// The ceiling is not stored yet, or this node's own clock is not agreed upon.
    NotReady,
    /// It lies further ahead than the bound allows.
    Ahead,
}

/// How far ahead of the time the stored ceiling is moved.
const CEILING_STEP_MS: u64 = 1000;

#[derive(Debug)]
pub(crate) struct Clock {
    node: NodeId,
    bound_ms: u64,
    /// What may have been given out before this start.
    before: u64,
    /// The greatest stamp given out or seen.
    last: u64,
    /// Stored: no stamp beyond it is given out.
    ceiling: u64,
    /// On its way to the store.
    asked: u64,
    physical_ms: u64,
    steady_ms: u64,
    /// The wall clock moved by more than half the bound while time itself did not.
    jumped: bool,
}

impl Clock {
    pub(crate) fn new(node: NodeId, bound_ms: u64, ceiling: u64, now: Now) -> Clock {
        Clock {
            node,
            bound_ms,
            before: ceiling,
            last: ceiling,
            ceiling,
            asked: ceiling,
            physical_ms: now.wall_ms,
            steady_ms: now.steady_ms,
            jumped: false,
        }
    }

    /// Takes in the time of an input. True when the wall clock just jumped.
    pub(crate) fn advance(&mut self, now: Now) -> bool {
        let passed = now.steady_ms.saturating_sub(self.steady_ms);
        self.steady_ms = self.steady_ms.max(now.steady_ms);
        self.physical_ms = self.physical_ms.saturating_add(passed);
        let was = self.jumped;
        self.jumped = now.wall_ms.abs_diff(self.physical_ms) > self.bound_ms / 2;
        if !self.jumped {
            self.physical_ms = now.wall_ms;
        }
        self.jumped && !was
    }

    /// Follows the wall clock wherever it went.
    pub(crate) fn follow(&mut self, now: Now) {
        self.physical_ms = now.wall_ms;
        self.jumped = false;
    }

    pub(crate) fn physical_ms(&self) -> u64 {
        self.physical_ms
    }

    /// Whether this node's time has reached what it may have given out before it was restarted.
    pub(crate) fn has_caught_up(&self) -> bool {
        self.before >> 16 <= self.physical_ms.saturating_add(self.bound_ms / 2)
    }

    /// The time that decides about expiry: never backwards, and carried by messages.
    pub(crate) fn stamp(&self) -> u64 {
        self.last.max(self.physical_ms << 16)
    }

    /// What a message may carry: no more than is stored, so that a node that forgot is found out.
    pub(crate) fn stamp_to_send(&self) -> u64 {
        self.stamp().min(self.ceiling)
    }

    pub(crate) fn issue(&mut self) -> Result<Version, ClockError> {
        let stamp = self.last.saturating_add(1).max(self.physical_ms << 16);
        if stamp > self.ceiling {
            return Err(ClockError::NotReady);
        }
        if stamp >> 16 > self.physical_ms.saturating_add(self.bound_ms) {
            return Err(ClockError::Ahead);
        }
        self.last = stamp;
        Ok(Version {
            stamp,
            node: self.node,
        })
    }

    pub(crate) fn is_ahead(&self, stamp: u64) -> bool {
        stamp >> 16 > self.physical_ms.saturating_add(self.bound_ms)
    }

    pub(crate) fn observe(&mut self, stamp: u64) -> Result<(), ClockError> {
        if self.is_ahead(stamp) {
            return Err(ClockError::Ahead);
        }
        self.last = self.last.max(stamp);
        Ok(())
    }

    /// A planted bug takes any stamp.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn observe_anything(&mut self, stamp: u64) {
        self.last = self.last.max(stamp);
        self.physical_ms = self.physical_ms.max(stamp >> 16);
    }

    /// A ceiling to store, when the stored one is about to be reached.
    pub(crate) fn ceiling_wanted(&mut self) -> Option<u64> {
        let now = self.stamp();
        if self.asked >= now.saturating_add((CEILING_STEP_MS / 2) << 16) {
            return None;
        }
        self.asked = now.saturating_add(CEILING_STEP_MS << 16);
        Some(self.asked)
    }

    pub(crate) fn ceiling_stored(&mut self, ceiling: u64) {
        self.ceiling = self.ceiling.max(ceiling);
    }

    /// The store refused: it will be asked again.
    pub(crate) fn ceiling_failed(&mut self) {
        self.asked = self.ceiling;
    }

    pub(crate) fn ceiling(&self) -> u64 {
        self.ceiling
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(steady_ms: u64, wall_ms: u64) -> Now {
        Now { steady_ms, wall_ms }
    }

    fn clock(now: Now) -> Clock {
        let mut clock = Clock::new(NodeId(1), 1000, 0, now);
        let ceiling = clock.ceiling_wanted().expect("nothing is stored yet");
        assert_eq!(clock.issue(), Err(ClockError::NotReady));
        clock.ceiling_stored(ceiling);
        clock
    }

    #[test]
    fn versions_only_grow() {
        let mut clock = clock(at(0, 10_000));
        let first = clock.issue().unwrap();
        clock.advance(at(1, 9_900));
        let second = clock.issue().unwrap();
        assert!(second > first);
        assert_eq!(second.ms(), 10_000);
    }

    #[test]
    fn a_jump_is_not_followed() {
        let mut clock = clock(at(0, 10_000));
        assert!(clock.advance(at(10, 5_000_000)));
        assert_eq!(clock.physical_ms(), 10_010);
        assert!(!clock.advance(at(20, 5_000_010)), "a jump is told once");
        assert_eq!(clock.issue().unwrap().ms(), 10_020);
    }

    #[test]
    fn what_lies_far_ahead_is_refused() {
        let mut clock = clock(at(0, 10_000));
        assert_eq!(clock.observe(11_001 << 16), Err(ClockError::Ahead));
        assert_eq!(clock.observe(11_000 << 16), Ok(()));
    }

    #[test]
    fn nothing_beyond_the_stored_ceiling_is_given_out_or_sent() {
        let mut clock = clock(at(0, 10_000));
        clock.advance(at(2_000, 12_000));
        assert_eq!(clock.issue(), Err(ClockError::NotReady));
        assert_eq!(clock.stamp_to_send(), clock.ceiling());
        let restarted = Clock::new(NodeId(1), 1000, clock.ceiling(), at(0, 8_000));
        assert!(!restarted.has_caught_up());
    }
}
