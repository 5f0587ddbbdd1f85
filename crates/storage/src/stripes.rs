//! For backends that can't compare and write in one step: locks over keys, and which of a batch's entries win.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard};

use crate::error::Result;
use crate::item::{Entry, Item, Outcome};

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

/// The keys of a batch.
pub(crate) fn keys(entries: &[Entry]) -> impl Iterator<Item = &[u8]> {
    entries.iter().map(|entry| entry.key.as_slice())
}

/// For each entry of a batch whether it is newer than what is stored and than what the batch has for its key before it.
pub(crate) fn outcomes(
    entries: &[Entry],
    mut stored: impl FnMut(&[u8]) -> Result<Option<Item>>,
) -> Result<Vec<Outcome>> {
    let mut newest: HashMap<&[u8], &Item> = HashMap::with_capacity(entries.len());
    let mut outcomes = Vec::with_capacity(entries.len());
    for entry in entries {
        let wins = match newest.get(entry.key.as_slice()) {
            Some(before) => entry.item.supersedes(before),
            None => stored(&entry.key)?.is_none_or(|old| entry.item.supersedes(&old)),
        };
        if wins {
            newest.insert(&entry.key, &entry.item);
        }
        outcomes.push(if wins { Outcome::Applied } else { Outcome::Stale });
    }
    Ok(outcomes)
}
