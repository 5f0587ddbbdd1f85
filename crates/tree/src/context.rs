//! A subtree's view of the storage.

use std::ops::Bound;
use std::sync::Arc;

use weald_proof::Direction;

use crate::batch::{Pending, StorageBatch};
use crate::cost::{CostResult, Metering, OperationCost};
use crate::error::Result;
use crate::family::{Family, PREFIX_LEN};
use crate::raw_iterator::RawIterator;
use crate::source::{OwnedPair, Source};

/// Reading and writing the keys of one subtree, whatever lies below: the newest state or a transaction, with or without a batch
/// between.
///
/// [`Family::GlobalMeta`] is the one family that subtrees share. The methods named after families are those of the same name
/// with `_in`, for that family.
pub trait StorageContext: Send + Sync {
    /// What the subtree's keys are prefixed by.
    fn prefix(&self) -> &[u8; PREFIX_LEN];

    /// The value of a key.
    fn get_in(&self, family: Family, key: &[u8]) -> CostResult<Option<Vec<u8>>>;

    /// Sets a key.
    fn put_in(&self, family: Family, key: &[u8], value: &[u8]) -> CostResult<()>;

    /// Deletes a key, be it there or not.
    fn delete_in(&self, family: Family, key: &[u8]) -> CostResult<()>;

    /// The pair next to a place: at or after it, or, descending, at or before it. `Unbounded` is the end that the direction
    /// comes from.
    fn neighbour(
        &self,
        family: Family,
        place: Bound<&[u8]>,
        direction: Direction,
    ) -> CostResult<Option<OwnedPair>>;

    /// An iterator over a family of the subtree, on no pair yet.
    fn raw_iter(&self, family: Family) -> RawIterator<'_>
    where
        Self: Sized,
    {
        RawIterator::new(self, family)
    }

    /// Of [`Family::Main`].
    fn get(&self, key: &[u8]) -> CostResult<Option<Vec<u8>>> {
        self.get_in(Family::Main, key)
    }

    /// Of [`Family::Aux`].
    fn get_aux(&self, key: &[u8]) -> CostResult<Option<Vec<u8>>> {
        self.get_in(Family::Aux, key)
    }

    /// Of [`Family::Roots`].
    fn get_root(&self, key: &[u8]) -> CostResult<Option<Vec<u8>>> {
        self.get_in(Family::Roots, key)
    }

    /// Of [`Family::Meta`].
    fn get_meta(&self, key: &[u8]) -> CostResult<Option<Vec<u8>>> {
        self.get_in(Family::Meta, key)
    }

    /// Of [`Family::Main`].
    fn put(&self, key: &[u8], value: &[u8]) -> CostResult<()> {
        self.put_in(Family::Main, key, value)
    }

    /// Of [`Family::Aux`].
    fn put_aux(&self, key: &[u8], value: &[u8]) -> CostResult<()> {
        self.put_in(Family::Aux, key, value)
    }

    /// Of [`Family::Roots`].
    fn put_root(&self, key: &[u8], value: &[u8]) -> CostResult<()> {
        self.put_in(Family::Roots, key, value)
    }

    /// Of [`Family::Meta`].
    fn put_meta(&self, key: &[u8], value: &[u8]) -> CostResult<()> {
        self.put_in(Family::Meta, key, value)
    }

    /// Of [`Family::Main`].
    fn delete(&self, key: &[u8]) -> CostResult<()> {
        self.delete_in(Family::Main, key)
    }

    /// Of [`Family::Aux`].
    fn delete_aux(&self, key: &[u8]) -> CostResult<()> {
        self.delete_in(Family::Aux, key)
    }

    /// Of [`Family::Roots`].
    fn delete_root(&self, key: &[u8]) -> CostResult<()> {
        self.delete_in(Family::Roots, key)
    }

    /// Of [`Family::Meta`].
    fn delete_meta(&self, key: &[u8]) -> CostResult<()> {
        self.delete_in(Family::Meta, key)
    }
}

/// A context of a subtree. It may be cloned, sent to other threads and kept for as long as the storage lives; that of a
/// transaction fails with [`Error::Finished`](crate::Error::Finished) once that is over.
#[derive(Clone)]
pub struct Context<S> {
    source: S,
    prefix: [u8; PREFIX_LEN],
    batch: Option<Arc<StorageBatch>>,
    metering: Metering,
}

impl<S: Source> Context<S> {
    pub(crate) fn new(source: S, prefix: [u8; PREFIX_LEN]) -> Context<S> {
        Context {
            source,
            prefix,
            batch: None,
            metering: Metering::Off,
        }
    }

    /// The same context, gathering its writes in `batch` and seeing what is there.
    #[must_use]
    pub fn with_batch(mut self, batch: Arc<StorageBatch>) -> Context<S> {
        self.batch = Some(batch);
        self
    }

    /// The same context, counting what its operations cost. Each write then looks up what it replaces, which in a
    /// transaction does not count as read.
    #[must_use]
    pub fn metered(mut self) -> Context<S> {
        self.metering = Metering::On;
        self
    }

    fn full_key(&self, family: Family, key: &[u8]) -> Vec<u8> {
        [family.prefix(&self.prefix), key].concat()
    }

    fn set(&self, family: Family, key: &[u8], value: Option<&[u8]>) -> CostResult<()> {
        let key = self.full_key(family, key);
        let value = value.map(<[u8]>::to_vec);
        self.metering.run(|cost| match &self.batch {
            Some(batch) => {
                // What it costs is known, and counted, when the batch is applied.
                batch.set(family, key, value);
                Ok(())
            }
            None => {
                let cost = (self.metering == Metering::On).then_some(cost);
                self.source.write(&[(family, key, value)], cost)
            }
        })
    }

    /// All keys of the subtree on one side of a place.
    fn bounds(
        &self,
        family: Family,
        place: Bound<&[u8]>,
        direction: Direction,
    ) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        let prefix = family.prefix(&self.prefix);
        let start = Bound::Included(prefix.to_vec());
        let end = after_prefix(prefix).map_or(Bound::Unbounded, Bound::Excluded);
        let place = match place {
            Bound::Unbounded => None,
            bound => Some(bound.map(|key| self.full_key(family, key))),
        };
        match (direction, place) {
            (_, None) => (start, end),
            (Direction::Ascending, Some(place)) => (place, end),
            (Direction::Descending, Some(place)) => (start, place),
        }
    }

    /// As [`neighbour`](StorageContext::neighbour), of what is stored and what is gathered together; with the prefix.
    fn first_within(
        &self,
        family: Family,
        mut bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
        direction: Direction,
        cost: &mut OperationCost,
    ) -> Result<Option<OwnedPair>> {
        loop {
            cost.seeks += 1;
            let stored = self.source.first_within(family, bounds.clone(), direction)?;
            let pending = self
                .batch
                .as_ref()
                .and_then(|batch| batch.first_within(family, &bounds, direction));
            let Some((key, value)) = pending else {
                return Ok(stored);
            };
            let stored_first = stored.as_ref().is_some_and(|(stored, _)| match direction {
                Direction::Ascending => *stored < key,
                Direction::Descending => *stored > key,
            });
            if stored_first {
                return Ok(stored);
            }
            if let Some(value) = value {
                return Ok(Some((key, value)));
            }
            // Deleted in the batch: on beyond it.
            match direction {
                Direction::Ascending => bounds.0 = Bound::Excluded(key),
                Direction::Descending => bounds.1 = Bound::Excluded(key),
            }
        }
    }
}

impl<S: Source> StorageContext for Context<S> {
    fn prefix(&self) -> &[u8; PREFIX_LEN] {
        &self.prefix
    }

    fn get_in(&self, family: Family, key: &[u8]) -> CostResult<Option<Vec<u8>>> {
        let key = self.full_key(family, key);
        self.metering.run(|cost| {
            let pending = self
                .batch
                .as_ref()
                .map_or(Pending::Nothing, |batch| batch.get(family, &key));
            let value = match pending {
                Pending::Is(value) => value,
                Pending::Nothing => self.source.get(family, &key)?,
            };
            *cost += OperationCost::read(value.as_ref().map(Vec::len));
            Ok(value)
        })
    }

    fn put_in(&self, family: Family, key: &[u8], value: &[u8]) -> CostResult<()> {
        self.set(family, key, Some(value))
    }

    fn delete_in(&self, family: Family, key: &[u8]) -> CostResult<()> {
        self.set(family, key, None)
    }

    fn neighbour(
        &self,
        family: Family,
        place: Bound<&[u8]>,
        direction: Direction,
    ) -> CostResult<Option<OwnedPair>> {
        let bounds = self.bounds(family, place, direction);
        self.metering.run(|cost| {
            let Some((mut key, value)) = self.first_within(family, bounds, direction, cost)? else {
                return Ok(None);
            };
            key.drain(..family.prefix(&self.prefix).len());
            cost.loaded_bytes += (key.len() + value.len()) as u64;
            Ok(Some((key, value)))
        })
    }
}

/// The first key after all that begin with `prefix`.
pub(crate) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while end.pop_if(|byte| *byte == u8::MAX).is_some() {}
    *end.last_mut()? += 1;
    Some(end)
}
