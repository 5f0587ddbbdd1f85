//! What was committed of late, for transactions that have read ranges.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use super::ranges::Ranges;
use crate::error::{Error, Result};
use crate::family::Family;

/// Beyond so many keys the oldest commits are forgotten, and a transaction older than that which has read ranges conflicts.
const KEYS_MAX: usize = 1 << 20;

/// All commits of a database pass through here, one at a time.
pub(super) struct Commits(Mutex<Recent>);

/// The number of a commit, and the keys that it wrote.
type Commit = (u64, Vec<(Family, Vec<u8>)>);

#[derive(Default)]
struct Recent {
    /// The number of the last commit.
    last: u64,
    /// Their keys, by number; those that no transaction under way is older than are left out.
    commits: VecDeque<Commit>,
    keys: usize,
    /// The last commit that was forgotten although a transaction might ask for it.
    forgotten: u64,
    /// How many transactions began after which commit.
    under_way: BTreeMap<u64, usize>,
}

/// The turn to commit.
pub(super) struct Turn<'c>(MutexGuard<'c, Recent>);

impl Commits {
    pub(super) fn new() -> Commits {
        Commits(Mutex::default())
    }

    /// Waits until nobody else commits.
    pub(super) fn lock(&self) -> Turn<'_> {
        Turn(self.0.lock().expect("no panic during a commit"))
    }
}

impl Turn<'_> {
    /// Notes that a transaction begins; after which commit.
    pub(super) fn begin(&mut self) -> u64 {
        let last = self.0.last;
        *self.0.under_way.entry(last).or_default() += 1;
        last
    }

    /// Notes that a transaction that began after that commit is over.
    pub(super) fn end(&mut self, began: u64) {
        let recent = &mut *self.0;
        if let Some(count) = recent.under_way.get_mut(&began) {
            *count -= 1;
            if *count == 0 {
                recent.under_way.remove(&began);
            }
        }
        let oldest = recent.under_way.keys().next().copied().unwrap_or(u64::MAX);
        while let Some((number, keys)) = recent.commits.front()
            && *number <= oldest
        {
            recent.keys -= keys.len();
            recent.commits.pop_front();
        }
    }

    /// Fails if a commit after that one wrote to a key in the ranges.
    pub(super) fn validate(&self, began: u64, ranges: &Ranges) -> Result<()> {
        if ranges.is_empty() {
            return Ok(());
        }
        if began < self.0.forgotten {
            return Err(Error::Conflict);
        }
        let first = self.0.commits.partition_point(|(number, _)| *number <= began);
        let mut keys = self.0.commits.range(first..).flat_map(|(_, keys)| keys);
        if keys.any(|(family, key)| ranges.contains(*family, key)) {
            return Err(Error::Conflict);
        }
        Ok(())
    }

    /// Notes what was committed, and lets the next one in.
    pub(super) fn made(mut self, keys: impl Iterator<Item = (Family, Vec<u8>)>) {
        let recent = &mut *self.0;
        recent.last += 1;
        if recent.under_way.is_empty() {
            return;
        }
        let keys: Vec<_> = keys.collect();
        recent.keys += keys.len();
        recent.commits.push_back((recent.last, keys));
        while recent.keys > KEYS_MAX
            && let Some((number, keys)) = recent.commits.pop_front()
        {
            recent.keys -= keys.len();
            recent.forgotten = number;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Bound;

    use super::*;

    fn keys(count: usize) -> impl Iterator<Item = (Family, Vec<u8>)> {
        (0..count).map(|n| (Family::Aux, n.to_be_bytes().to_vec()))
    }

    #[test]
    fn what_nobody_can_ask_for_is_forgotten_and_what_was_forgotten_conflicts() {
        let commits = Commits::new();
        commits.lock().made(keys(10));
        assert_eq!(commits.lock().0.keys, 0);
        let early = commits.lock().begin();
        commits.lock().made(keys(10));
        let late = commits.lock().begin();
        commits.lock().made(keys(5));
        assert_eq!(commits.lock().0.keys, 15);
        commits.lock().end(early);
        assert_eq!(commits.lock().0.keys, 5);

        let mut ranges = Ranges::default();
        ranges.add(Family::Main, (Bound::Unbounded, Bound::Unbounded));
        assert!(commits.lock().validate(late, &ranges).is_ok());
        commits.lock().made(keys(KEYS_MAX));
        assert!(matches!(
            commits.lock().validate(late, &ranges),
            Err(Error::Conflict)
        ));
        assert!(commits.lock().validate(late, &Ranges::default()).is_ok());
        commits.lock().end(late);
        assert_eq!(commits.lock().0.keys, 0);
    }
}
