//! The writes of a transaction before it commits, with states to go back to.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};

use weald_proof::Direction;

use crate::error::{Error, Result};
use crate::family::Family;
use crate::source::Write;

type Place = (Family, Vec<u8>);

/// What a key is set to: `None` for deleted.
type Set = Option<Vec<u8>>;

/// What keys are set to, `None` for deleted; and what they were set to before, for going back.
#[derive(Default)]
pub(super) struct Draft {
    writes: BTreeMap<Place, Set>,
    /// Each write in its turn, with what the draft had for its key.
    undo: Vec<(Place, Option<Set>)>,
    /// States to go back to: how long `undo` was.
    savepoints: Vec<(RocksSavepoint, usize)>,
}

/// A state to go back to. No two are the same, those of different transactions included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RocksSavepoint(u64);

impl Draft {
    pub(super) fn set(&mut self, (family, key, value): Write) {
        let place = (family, key);
        let old = self.writes.insert(place.clone(), value);
        // Without a savepoint there is nothing to go back to.
        if !self.savepoints.is_empty() {
            self.undo.push((place, old));
        }
    }

    /// What it has for a key, if anything.
    pub(super) fn get(&self, family: Family, key: &[u8]) -> Option<Option<&[u8]>> {
        let write = self.writes.get(&(family, key.to_vec()));
        write.map(|value| value.as_deref())
    }

    /// The first write within the bounds in that direction.
    pub(super) fn first_within(
        &self,
        family: Family,
        (start, end): &(Bound<Vec<u8>>, Bound<Vec<u8>>),
        direction: Direction,
    ) -> Option<(&[u8], Option<&[u8]>)> {
        let start = match start {
            Bound::Unbounded => Bound::Included((family, Vec::new())),
            bound => bound.clone().map(|key| (family, key)),
        };
        let end = end.clone().map(|key| (family, key));
        let mut writes = self
            .writes
            .range((start, end))
            .filter(|((of, _), _)| *of == family);
        let found = match direction {
            Direction::Ascending => writes.next(),
            Direction::Descending => writes.next_back(),
        };
        found.map(|((_, key), value)| (&key[..], value.as_deref()))
    }

    pub(super) fn savepoint(&mut self) -> RocksSavepoint {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // Only that each is given out once matters.
        let savepoint = RocksSavepoint(NEXT.fetch_add(1, Ordering::Relaxed));
        self.savepoints.push((savepoint, self.undo.len()));
        savepoint
    }

    pub(super) fn rollback_to(&mut self, savepoint: RocksSavepoint) -> Result<()> {
        let index = self.savepoints.iter().position(|(at, _)| *at == savepoint);
        let index = index.ok_or(Error::SavepointGone)?;
        self.savepoints.truncate(index + 1);
        let len = self.savepoints[index].1;
        for (place, old) in self.undo.drain(len..).rev() {
            match old {
                Some(value) => self.writes.insert(place, value),
                None => self.writes.remove(&place),
            };
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.writes.len()
    }

    pub(super) fn writes(&self) -> impl Iterator<Item = (Family, &[u8], Option<&[u8]>)> {
        self.writes
            .iter()
            .map(|((family, key), value)| (*family, &key[..], value.as_deref()))
    }
}
