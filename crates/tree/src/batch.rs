//! Writes gathered before they are made.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard};

use weald_proof::Direction;

use crate::cost::OperationCost;
use crate::error::Result;
use crate::family::Family;
use crate::source::{Source, Write};

/// Writes that contexts gather instead of making them, from any number of threads, to be made all at once by
/// [`Storage::apply`](crate::Storage::apply) or [`Transaction::apply`](crate::Transaction::apply).
///
/// Of writes to one key the last stays. Contexts that gather into it see what is gathered; others don't.
#[derive(Debug, Default)]
pub struct StorageBatch {
    writes: Mutex<Writes>,
}

/// What each key is to be set to: `None` for deleted.
type Writes = BTreeMap<(Family, Vec<u8>), Option<Vec<u8>>>;

/// What a batch has in a place.
pub(crate) enum Pending<T> {
    /// Nothing: what is stored holds.
    Nothing,
    /// This, or that there is nothing stored.
    Is(Option<T>),
}

impl StorageBatch {
    /// One without writes.
    #[must_use]
    pub fn new() -> StorageBatch {
        StorageBatch::default()
    }

    /// How many keys it writes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether it writes none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Forgets all writes.
    pub fn clear(&self) {
        self.lock().clear();
    }

    pub(crate) fn set(&self, family: Family, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.lock().insert((family, key), value);
    }

    pub(crate) fn get(&self, family: Family, key: &[u8]) -> Pending<Vec<u8>> {
        match self.lock().get(&(family, key.to_vec())) {
            None => Pending::Nothing,
            Some(value) => Pending::Is(value.clone()),
        }
    }

    /// The first write within the bounds in that direction.
    pub(crate) fn first_within(
        &self,
        family: Family,
        (start, end): &(Bound<Vec<u8>>, Bound<Vec<u8>>),
        direction: Direction,
    ) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let start = match start {
            Bound::Unbounded => Bound::Included((family, Vec::new())),
            bound => bound.clone().map(|key| (family, key)),
        };
        let end = end.clone().map(|key| (family, key));
        let writes = self.lock();
        let mut found = writes.range((start, end));
        let found = match direction {
            Direction::Ascending => found.next().filter(|((at, _), _)| *at == family),
            // Without an upper bound there are those of later families.
            Direction::Descending => found.rfind(|((at, _), _)| *at == family),
        };
        found.map(|((_, key), value)| (key.clone(), value.clone()))
    }

    /// Makes the writes, and has none then; if that fails it keeps them.
    pub(crate) fn apply(&self, to: &impl Source, cost: Option<&mut OperationCost>) -> Result<()> {
        let mut gathered = self.lock();
        if gathered.is_empty() {
            return Ok(());
        }
        let writes: Vec<Write> = list(&gathered);
        to.write(&writes, cost)?;
        gathered.clear();
        Ok(())
    }

    /// What it would cost to make the writes on what `to` has now.
    pub(crate) fn estimate(&self, to: &impl Source) -> Result<OperationCost> {
        let mut cost = OperationCost::default();
        for ((family, key), value) in self.lock().iter() {
            let old = to.len_of(*family, key)?;
            cost += OperationCost::write(key.len(), old, value.as_ref().map(Vec::len));
        }
        Ok(cost)
    }

    fn lock(&self) -> MutexGuard<'_, Writes> {
        self.writes.lock().expect("no panic while a batch is locked")
    }
}

fn list(writes: &Writes) -> Vec<Write> {
    writes
        .iter()
        .map(|((family, key), value)| (*family, key.clone(), value.clone()))
        .collect()
}
