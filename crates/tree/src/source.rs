//! Where contexts read and write: the newest committed state, or a transaction.

use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use weald_engine::{
    Bucket, BucketMut, Committed, Database, OptimisticTx, Readable, Savepoint, SyncPolicy, Writable, WriteTx,
};
use weald_proof::Direction;

use crate::backend::{Backend, Transactional};
use crate::cost::OperationCost;
use crate::error::{Error, Result};
use crate::family::{Family, bucket, bucket_mut};

/// A key with its prefix, and what it is set to: `None` for deleted.
pub type Write = (Family, Vec<u8>, Option<Vec<u8>>);

/// A key and its value.
pub type OwnedPair = (Vec<u8>, Vec<u8>);

/// What a context works on. Keys have their prefix.
pub trait Source: Send + Sync {
    /// The value of a key; in a transaction, what it read must still be so at its commit.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// The length of a key's value, which does not count as read.
    fn len_of(&self, family: Family, key: &[u8]) -> Result<Option<usize>>;

    /// The first pair within the bounds, or the last where the direction is descending.
    fn first_within(
        &self,
        family: Family,
        bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
        direction: Direction,
    ) -> Result<Option<OwnedPair>>;

    /// Writes all or nothing. What it costs is counted if it is asked for.
    fn write(&self, writes: &[Write], cost: Option<&mut OperationCost>) -> Result<()>;
}

/// The newest committed state. Each write is a commit.
#[derive(Clone, Copy)]
pub struct Immediate<'s> {
    db: &'s Database,
}

/// A transaction, which may end while contexts of it are about.
#[derive(Clone)]
pub struct Transacted<'s> {
    state: Arc<Mutex<State<'s>>>,
}

struct State<'s> {
    /// `None` when it is over.
    tx: Option<OptimisticTx<'s>>,
    writes: u64,
}

impl Source for Immediate<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(bucket(&self.db.read()?.root(), family)?.get(key)?)
    }

    fn len_of(&self, family: Family, key: &[u8]) -> Result<Option<usize>> {
        len_of(&self.db.read()?.root(), family, key)
    }

    fn first_within(
        &self,
        family: Family,
        bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
        direction: Direction,
    ) -> Result<Option<OwnedPair>> {
        first_within(&self.db.read()?.root(), family, bounds, direction)
    }

    fn write(&self, writes: &[Write], cost: Option<&mut OperationCost>) -> Result<()> {
        let mut tx: WriteTx<'_> = self.db.write()?;
        if let Some(cost) = cost {
            measure(&tx.root(), writes, cost)?;
        }
        for write in writes {
            apply(tx.root_mut(), write)?;
        }
        tx.commit()?;
        Ok(())
    }
}

impl<'s> Transacted<'s> {
    fn new(tx: OptimisticTx<'s>) -> Transacted<'s> {
        let state = State {
            tx: Some(tx),
            writes: 0,
        };
        Transacted {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Commits with a durability of its own.
    pub(crate) fn commit_with(&self, policy: SyncPolicy) -> Result<Committed> {
        Ok(self.take()?.commit_with(policy)?)
    }

    /// Ends it for all contexts.
    fn take(&self) -> Result<OptimisticTx<'s>> {
        self.lock().tx.take().ok_or(Error::Finished)
    }

    /// Runs `body` on the transaction, if it is not over.
    fn with<T>(&self, body: impl FnOnce(&mut OptimisticTx<'s>) -> Result<T>) -> Result<T> {
        body(self.lock().tx.as_mut().ok_or(Error::Finished)?)
    }

    fn lock(&self) -> MutexGuard<'_, State<'s>> {
        self.state.lock().expect("no panic while a transaction is locked")
    }
}

impl Backend for Arc<Database> {
    type Immediate<'s> = Immediate<'s>;
    type Transacted<'s> = Transacted<'s>;

    fn immediate(&self) -> Immediate<'_> {
        Immediate { db: self }
    }

    fn begin(&self) -> Result<Transacted<'_>> {
        Ok(Transacted::new(self.optimistic()?))
    }

    fn key_len_max(&self) -> usize {
        Database::key_len_max(self)
    }
}

impl Transactional for Transacted<'_> {
    type Savepoint = Savepoint;
    type Committed = Committed;

    fn savepoint(&self) -> Result<Savepoint> {
        self.with(|tx| Ok(tx.savepoint()))
    }

    fn rollback_to(&self, savepoint: &Savepoint) -> Result<()> {
        self.with(|tx| Ok(tx.rollback_to(savepoint)?))
    }

    fn commit(&self) -> Result<Committed> {
        Ok(self.take()?.commit()?)
    }

    fn end(&self) -> Option<u64> {
        let mut state = self.lock();
        let writes = state.writes;
        state.tx.take().map(|_| writes)
    }
}

impl Source for Transacted<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.with(|tx| Ok(bucket(&tx.root(), family)?.get(key)?))
    }

    fn len_of(&self, family: Family, key: &[u8]) -> Result<Option<usize>> {
        self.with(|tx| len_of(&tx.untracked(), family, key))
    }

    fn first_within(
        &self,
        family: Family,
        bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
        direction: Direction,
    ) -> Result<Option<OwnedPair>> {
        self.with(|tx| first_within(&tx.root(), family, bounds, direction))
    }

    fn write(&self, writes: &[Write], cost: Option<&mut OperationCost>) -> Result<()> {
        let mut state = self.lock();
        let tx = state.tx.as_mut().ok_or(Error::Finished)?;
        if let Some(cost) = cost {
            measure(&tx.untracked(), writes, cost)?;
        }
        match writes {
            // The engine refuses a single write whole.
            [write] => apply(tx.root_mut(), write)?,
            _ => {
                let before = tx.savepoint();
                for write in writes {
                    if let Err(error) = apply(tx.root_mut(), write) {
                        tx.rollback_to(&before)?;
                        return Err(error);
                    }
                }
            }
        }
        state.writes += writes.len() as u64;
        Ok(())
    }
}

fn apply(root: BucketMut<'_, '_>, (family, key, value): &Write) -> Result<()> {
    let mut bucket = bucket_mut(root, *family)?;
    match value {
        Some(value) => bucket.put(key, value)?,
        None => bucket.discard(key)?,
    }
    Ok(())
}

fn len_of(root: &Bucket<'_>, family: Family, key: &[u8]) -> Result<Option<usize>> {
    Ok(bucket(root, family)?.get_ref(key)?.map(<[u8]>::len))
}

/// Adds up what writes cost where each key is written at most once.
fn measure(root: &Bucket<'_>, writes: &[Write], cost: &mut OperationCost) -> Result<()> {
    for (family, key, value) in writes {
        let old = len_of(root, *family, key)?;
        *cost += OperationCost::write(key.len(), old, value.as_ref().map(Vec::len));
    }
    Ok(())
}

fn first_within(
    root: &Bucket<'_>,
    family: Family,
    bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
    direction: Direction,
) -> Result<Option<OwnedPair>> {
    let mut pairs = bucket(root, family)?.range(bounds);
    let pair = match direction {
        Direction::Ascending => pairs.next(),
        Direction::Descending => pairs.next_back(),
    };
    Ok(pair
        .transpose()?
        .map(|(key, value)| (key.to_vec(), value.to_vec())))
}
