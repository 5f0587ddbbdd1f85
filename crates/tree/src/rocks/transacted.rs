//! A transaction on RocksDB.

use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use rocksdb::{
    ErrorKind, OptimisticTransactionDB, OptimisticTransactionOptions, ReadOptions, Transaction, WriteOptions,
};
use weald_proof::Direction;

use super::draft::{Draft, RocksSavepoint};
use super::ranges::Ranges;
use super::{Shared, check, first_within};
use crate::backend::Transactional;
use crate::cost::OperationCost;
use crate::error::{Error, Result};
use crate::family::Family;
use crate::source::{OwnedPair, Source, Write};

/// A transaction, which may end while contexts of it are about.
#[derive(Clone)]
pub struct RocksTransacted<'s> {
    shared: &'s Shared,
    state: Arc<Mutex<Option<State<'s>>>>,
}

struct State<'s> {
    /// Holds the snapshot and the points that were read. It writes nothing.
    reads: Transaction<'s, OptimisticTransactionDB>,
    ranges: Ranges,
    draft: Draft,
    under_way: UnderWay<'s>,
}

/// Commits are remembered for it.
struct UnderWay<'s> {
    shared: &'s Shared,
    /// The commit after which it began.
    began: u64,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.shared.commits.lock().end(self.began);
    }
}

impl<'s> RocksTransacted<'s> {
    pub(super) fn begin(shared: &'s Shared) -> RocksTransacted<'s> {
        let mut options = OptimisticTransactionOptions::default();
        options.set_snapshot(true);
        let mut turn = shared.commits.lock();
        // While nobody commits, so that the snapshot and the number agree.
        let reads = shared.db.transaction_opt(&WriteOptions::default(), &options);
        let state = State {
            reads,
            ranges: Ranges::default(),
            draft: Draft::default(),
            under_way: UnderWay {
                shared,
                began: turn.begin(),
            },
        };
        RocksTransacted {
            shared,
            state: Arc::new(Mutex::new(Some(state))),
        }
    }

    fn with<T>(&self, body: impl FnOnce(&mut State<'s>) -> Result<T>) -> Result<T> {
        body(self.lock().as_mut().ok_or(Error::Finished)?)
    }

    fn lock(&self) -> MutexGuard<'_, Option<State<'s>>> {
        self.state.lock().expect("no panic while a transaction is locked")
    }
}

impl State<'_> {
    /// What is stored in the snapshot, and counts as read from now on.
    fn stored(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let snapshot = self.reads.snapshot();
        let mut options = ReadOptions::default();
        options.set_snapshot(&snapshot);
        let column = self.under_way.shared.column(family)?;
        let value = self.reads.get_for_update_cf_opt(column, key, true, &options);
        value.map_err(of_commit)
    }

    /// The length of what is stored in the snapshot or drafted, which does not count as read.
    fn len_of(&self, family: Family, key: &[u8]) -> Result<Option<usize>> {
        if let Some(drafted) = self.draft.get(family, key) {
            return Ok(drafted.map(<[u8]>::len));
        }
        let snapshot = self.reads.snapshot();
        let mut options = ReadOptions::default();
        options.set_snapshot(&snapshot);
        let value = self
            .reads
            .get_pinned_cf_opt(self.under_way.shared.column(family)?, key, &options)?;
        Ok(value.map(|value| value.len()))
    }

    /// The first pair that is stored within the bounds in the snapshot. What was passed by counts as read.
    fn first_stored(
        &mut self,
        family: Family,
        bounds: &(Bound<Vec<u8>>, Bound<Vec<u8>>),
        direction: Direction,
    ) -> Result<Option<OwnedPair>> {
        let found = {
            let snapshot = self.reads.snapshot();
            let mut options = ReadOptions::default();
            options.set_snapshot(&snapshot);
            let column = self.under_way.shared.column(family)?;
            first_within(self.reads.raw_iterator_cf_opt(column, options), bounds, direction)?
        };
        let mut seen = bounds.clone();
        if let Some((key, _)) = &found {
            match direction {
                Direction::Ascending => seen.1 = Bound::Included(key.clone()),
                Direction::Descending => seen.0 = Bound::Included(key.clone()),
            }
        }
        self.ranges.add(family, seen);
        Ok(found)
    }

    /// The same with what is drafted on top.
    fn first_within(
        &mut self,
        family: Family,
        mut bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
        direction: Direction,
    ) -> Result<Option<OwnedPair>> {
        while !is_empty(&bounds) {
            let stored = self.first_stored(family, &bounds, direction)?;
            let Some((key, value)) = self.draft.first_within(family, &bounds, direction) else {
                return Ok(stored);
            };
            let stored_first = stored.as_ref().is_some_and(|(stored, _)| match direction {
                Direction::Ascending => &stored[..] < key,
                Direction::Descending => &stored[..] > key,
            });
            if stored_first {
                return Ok(stored);
            }
            if let Some(value) = value {
                return Ok(Some((key.to_vec(), value.to_vec())));
            }
            // Deleted in the draft: on beyond it.
            let key = key.to_vec();
            match direction {
                Direction::Ascending => bounds.0 = Bound::Excluded(key),
                Direction::Descending => bounds.1 = Bound::Excluded(key),
            }
        }
        Ok(None)
    }
}

/// Whether no key can lie within the bounds.
fn is_empty(bounds: &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> bool {
    match bounds {
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => {
            start >= end
        }
        _ => false,
    }
}

impl Source for RocksTransacted<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.with(|state| {
            if let Some(drafted) = state.draft.get(family, key) {
                return Ok(drafted.map(<[u8]>::to_vec));
            }
            state.stored(family, key)
        })
    }

    fn len_of(&self, family: Family, key: &[u8]) -> Result<Option<usize>> {
        self.with(|state| state.len_of(family, key))
    }

    fn first_within(
        &self,
        family: Family,
        bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
        direction: Direction,
    ) -> Result<Option<OwnedPair>> {
        self.with(|state| state.first_within(family, bounds, direction))
    }

    fn write(&self, writes: &[Write], cost: Option<&mut OperationCost>) -> Result<()> {
        self.with(|state| {
            check(writes)?;
            if let Some(cost) = cost {
                for (family, key, value) in writes {
                    let old = state.len_of(*family, key)?;
                    *cost += OperationCost::write(key.len(), old, value.as_ref().map(Vec::len));
                }
            }
            writes.iter().for_each(|write| state.draft.set(write.clone()));
            Ok(())
        })
    }
}

impl Transactional for RocksTransacted<'_> {
    type Savepoint = RocksSavepoint;
    type Committed = ();

    fn savepoint(&self) -> Result<RocksSavepoint> {
        self.with(|state| Ok(state.draft.savepoint()))
    }

    fn rollback_to(&self, savepoint: &RocksSavepoint) -> Result<()> {
        self.with(|state| state.draft.rollback_to(*savepoint))
    }

    fn commit(&self) -> Result<()> {
        let state = self.lock().take().ok_or(Error::Finished)?;
        if state.draft.len() == 0 {
            // What it read was a snapshot, so it may stand where that was.
            return Ok(());
        }
        let State {
            reads,
            ranges,
            draft,
            under_way,
        } = state;
        let turn = self.shared.commits.lock();
        turn.validate(under_way.began, &ranges)?;
        // It has no writes, but RocksDB validates what it read. Nobody else commits before ours are made.
        reads.commit().map_err(of_commit)?;
        self.shared.make(draft.writes())?;
        turn.made(draft.writes().map(|(family, key, _)| (family, key.to_vec())));
        Ok(())
    }

    fn end(&self) -> Option<u64> {
        self.lock().take().map(|state| state.draft.len() as u64)
    }
}

/// A conflict is one, and so is a RocksDB that no longer knows whether there is one.
fn of_commit(error: rocksdb::Error) -> Error {
    match error.kind() {
        ErrorKind::Busy | ErrorKind::TryAgain => Error::Conflict,
        _ => Error::Rocks(error),
    }
}
