//! For backends that can't compare and write in one step: locks over keys, and what a batch comes to.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard};

use crate::error::Result;
use crate::item::Item;
use crate::storage::{Decide, Limits};

/// Locks, each for the keys whose hash falls to it.
pub(crate) struct Stripes {
    locks: Box<[Mutex<()>]>,
    hash: RandomState,
}

impl Stripes {
    pub(crate) fn new() -> Stripes {
        Stripes {
            locks: (0..256).map(|_| Mutex::new(())).collect(),
            hash: RandomState::new(),
        }
    }

    /// Holds the keys of a batch, taken in one order by everybody so that no two batches wait for each other.
    pub(crate) fn hold<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Vec<MutexGuard<'_, ()>> {
        let mut places: Vec<usize> = keys
            .map(|key| self.hash.hash_one(key) as usize % self.locks.len())
            .collect();
        places.sort_unstable();
        places.dedup();
        let lock = |place: usize| self.locks[place].lock().expect("nothing is guarded but time");
        places.into_iter().map(lock).collect()
    }

    /// Holds all keys.
    pub(crate) fn hold_all(&self) -> Vec<MutexGuard<'_, ()>> {
        self.locks
            .iter()
            .map(|lock| lock.lock().expect("nothing is guarded but time"))
            .collect()
    }
}

/// Decides for one key after the other; a key that comes again holds what was decided before. Gives what the keys hold afterwards, where that changes.
pub(crate) fn decisions<'k>(
    keys: &[&'k [u8]],
    limits: Limits,
    mut stored: impl FnMut(&[u8]) -> Result<Option<Item>>,
    decide: &mut Decide<'_>,
) -> Result<BTreeMap<&'k [u8], Item>> {
    let mut decided = BTreeMap::new();
    for (place, &key) in keys.iter().enumerate() {
        let old = match decided.get(key) {
            Some(item) => Some(Item::clone(item)),
            None => stored(key)?,
        };
        if let Some(item) = decide(place, old)? {
            limits.check(key, &item)?;
            decided.insert(key, item);
        }
    }
    Ok(decided)
}
