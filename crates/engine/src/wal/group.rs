//! Who flushes, and who waits for whom: the rules of group commit, without threads, files or clocks.
//!
//! ```text
//!  ask ──► Durable            the records are on disk
//!      ├─► Failed             a flush failed: nothing is acknowledged any more
//!      ├─► Lead(flight)       flush now, then call finish
//!      └─► Wait               until woken, then ask again
//! ```
//!
//! A flight covers the records that were in the log when it was handed out, which is before its flush begins. Up to
//! [`LANES`] flights are under way at once. They are acknowledged in order: a flight that is done waits for the earlier ones, because
//! the failure of an earlier one may concern bytes that the later one counts on.
//!
//! Nobody is left behind: whenever a lane is free and somebody waits whom no flight covers, one of those is awake, and the flight
//! that it then leads covers all of them.

use std::collections::VecDeque;

/// Flushes under way at once.
pub(super) const LANES: usize = 2;

/// What the caller of [`Group::ask`] does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Turn {
    Durable,
    Failed,
    Lead(Flight),
    Wait,
}

/// A flush that one caller carries out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flight {
    number: u64,
    /// Which of the lanes it has; no other flight under way has the same.
    pub(super) lane: usize,
    /// The end of the log when it was handed out.
    covers: u64,
    done: bool,
}

/// The state of group commit; `W` is how a waiter is woken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Group<W> {
    durable: u64,
    /// In the order in which they were handed out; done ones wait here for earlier ones.
    flights: VecDeque<Flight>,
    waiting: Vec<(u64, W)>,
    next_number: u64,
    failed: bool,
}

impl<W> Group<W> {
    /// The group of a log that is durable up to `durable`.
    pub(super) fn new(durable: u64) -> Group<W> {
        Group {
            durable,
            flights: VecDeque::new(),
            waiting: Vec::new(),
            next_number: 0,
            failed: false,
        }
    }

    /// All below is durable.
    pub(super) fn durable(&self) -> u64 {
        self.durable
    }

    /// What a caller does who wants the log durable up to `upto`, where the log ends at `end` (not before `upto`).
    pub(super) fn ask(&mut self, upto: u64, end: u64, waiter: impl FnOnce() -> W) -> Turn {
        debug_assert!(upto <= end);
        if self.durable >= upto {
            return Turn::Durable;
        }
        if self.failed {
            return Turn::Failed;
        }
        match self.free_lane() {
            Some(lane) if !self.covered(upto) => {
                let flight = Flight {
                    number: self.next_number,
                    lane,
                    covers: end,
                    done: false,
                };
                self.next_number += 1;
                self.flights.push_back(flight);
                Turn::Lead(flight)
            }
            _ => {
                self.waiting.push((upto, waiter()));
                Turn::Wait
            }
        }
    }

    /// Takes note that a flight was carried out; who is to be woken is added to `wake`.
    pub(super) fn finish(&mut self, flight: Flight, ok: bool, wake: &mut Vec<W>) {
        if !ok || self.failed {
            return self.fail(wake);
        }
        for f in &mut self.flights {
            f.done |= f.number == flight.number;
        }
        while let Some(first) = self.flights.pop_front_if(|f| f.done) {
            self.durable = self.durable.max(first.covers);
        }
        let durable = self.durable;
        wake.extend(
            self.waiting
                .extract_if(.., |(upto, _)| *upto <= durable)
                .map(|(_, w)| w),
        );
        if self.free_lane().is_some()
            && let Some(next) = self.waiting.iter().position(|(upto, _)| !self.covered(*upto))
        {
            wake.push(self.waiting.swap_remove(next).1);
        }
    }

    /// Ends it all: what is durable now stays so, everyone else gets an error.
    pub(super) fn fail(&mut self, wake: &mut Vec<W>) {
        self.failed = true;
        wake.extend(self.waiting.drain(..).map(|(_, w)| w));
    }

    fn covered(&self, upto: u64) -> bool {
        self.flights.iter().any(|f| f.covers >= upto)
    }

    fn free_lane(&self) -> Option<usize> {
        (0..LANES).find(|lane| !self.flights.iter().any(|f| !f.done && f.lane == *lane))
    }
}

#[cfg(test)]
mod tests;
