//! A second place for the families: RocksDB, through its optimistic transactions.
//!
//! ```text
//!  transaction   point reads    get_for_update at its snapshot: RocksDB remembers them
//!                range reads    `Ranges`: the keys between those that were seen are remembered too
//!                writes         `Draft`: kept here until the commit, with savepoints
//!  commit        one at a time: RocksDB validates the points, `Commits` the ranges, then one atomic write
//! ```
//!
//! RocksDB alone would let phantoms through, because it validates single keys; and it would take a write for a read of its key, so that
//! two transactions could not write the same key blindly. Both are mended here, and can be because only one process has a RocksDB
//! database open: every commit passes through `Commits`.

mod commits;
mod draft;
mod ranges;
mod transacted;

use std::fmt;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use rocksdb::{
    ColumnFamily, DBAccess, DBRawIteratorWithThreadMode, OptimisticTransactionDB, Options,
    WriteBatchWithTransaction, WriteOptions,
};
use weald_proof::Direction;

use crate::backend::Backend;
use crate::cost::OperationCost;
use crate::error::{Error, Result};
use crate::family::Family;
use crate::source::{OwnedPair, Source, Write};
use crate::storage::Storage;

use commits::Commits;
pub use draft::RocksSavepoint;
pub use transacted::RocksTransacted;

/// The longest key: what Weald's engine takes with its largest pages would be less, and RocksDB's own limit is beyond sense.
const KEY_LEN_MAX: usize = 64 << 10;

/// A RocksDB database that keeps the families as column families of the same names.
#[derive(Clone)]
pub struct Rocks {
    shared: Arc<Shared>,
}

struct Shared {
    db: OptimisticTransactionDB,
    commits: Commits,
}

impl fmt::Debug for Rocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rocks")
            .field("path", &self.shared.db.path())
            .finish_non_exhaustive()
    }
}

impl Storage<Rocks> {
    /// The storage in the RocksDB database in the directory `path`, which is made if there is none.
    ///
    /// ```
    /// use weald_tree::{Storage, StorageContext};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let storage = Storage::open_rocks(dir.path())?;
    /// storage.transact(|tx| tx.context(&[b"a"]).put(b"key", b"value").value)?;
    /// assert_eq!(storage.context(&[b"a"]).get(b"key").value?.as_deref(), Some(&b"value"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_rocks(path: impl AsRef<Path>) -> Result<Storage<Rocks>> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let db = OptimisticTransactionDB::open_cf(&options, path, Family::ALL.map(Family::name))?;
        let shared = Shared {
            db,
            commits: Commits::new(),
        };
        Ok(Storage::on(Rocks {
            shared: Arc::new(shared),
        }))
    }
}

impl Backend for Rocks {
    type Immediate<'s> = RocksImmediate<'s>;
    type Transacted<'s> = RocksTransacted<'s>;

    fn immediate(&self) -> RocksImmediate<'_> {
        RocksImmediate { shared: &self.shared }
    }

    fn begin(&self) -> Result<RocksTransacted<'_>> {
        Ok(RocksTransacted::begin(&self.shared))
    }

    fn key_len_max(&self) -> usize {
        KEY_LEN_MAX
    }
}

/// The newest committed state. Each write is a commit.
#[derive(Clone, Copy)]
pub struct RocksImmediate<'s> {
    shared: &'s Shared,
}

impl Source for RocksImmediate<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.shared.db.get_cf(self.shared.column(family)?, key)?)
    }

    fn len_of(&self, family: Family, key: &[u8]) -> Result<Option<usize>> {
        let value = self.shared.db.get_pinned_cf(self.shared.column(family)?, key)?;
        Ok(value.map(|value| value.len()))
    }

    fn first_within(
        &self,
        family: Family,
        bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
        direction: Direction,
    ) -> Result<Option<OwnedPair>> {
        let iterator = self.shared.db.raw_iterator_cf(self.shared.column(family)?);
        first_within(iterator, &bounds, direction)
    }

    fn write(&self, writes: &[Write], cost: Option<&mut OperationCost>) -> Result<()> {
        check(writes)?;
        let commit = self.shared.commits.lock();
        if let Some(cost) = cost {
            for (family, key, value) in writes {
                let old = self.len_of(*family, key)?;
                *cost += OperationCost::write(key.len(), old, value.as_ref().map(Vec::len));
            }
        }
        let writes = writes
            .iter()
            .map(|(family, key, value)| (*family, &key[..], value.as_deref()));
        self.shared.make(writes.clone())?;
        commit.made(writes.map(|(family, key, _)| (family, key.to_vec())));
        Ok(())
    }
}

impl Shared {
    fn column(&self, family: Family) -> Result<&ColumnFamily> {
        self.db
            .cf_handle(family.name())
            .ok_or(Error::damaged("a RocksDB database lacks a column family"))
    }

    /// Writes all or nothing, and waits for the disk.
    fn make<'w>(&self, writes: impl Iterator<Item = (Family, &'w [u8], Option<&'w [u8]>)>) -> Result<()> {
        let mut batch = WriteBatchWithTransaction::<true>::default();
        for (family, key, value) in writes {
            match value {
                Some(value) => batch.put_cf(self.column(family)?, key, value),
                None => batch.delete_cf(self.column(family)?, key),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(true);
        Ok(self.db.write_opt(batch, &options)?)
    }
}

/// Refuses keys that are too long, before anything is written.
fn check(writes: &[Write]) -> Result<()> {
    match writes.iter().find(|(_, key, _)| key.len() > KEY_LEN_MAX) {
        Some((_, key, _)) => Err(Error::KeyTooLong {
            len: key.len(),
            max: KEY_LEN_MAX,
        }),
        None => Ok(()),
    }
}

/// The first pair within the bounds, or the last where the direction is descending.
fn first_within<D: DBAccess>(
    mut iterator: DBRawIteratorWithThreadMode<'_, D>,
    (start, end): &(Bound<Vec<u8>>, Bound<Vec<u8>>),
    direction: Direction,
) -> Result<Option<OwnedPair>> {
    match direction {
        Direction::Ascending => match start {
            Bound::Unbounded => iterator.seek_to_first(),
            Bound::Included(key) => iterator.seek(key),
            // The next key after it begins with a zero byte more.
            Bound::Excluded(key) => iterator.seek([key, &[0][..]].concat()),
        },
        Direction::Descending => match end {
            Bound::Unbounded => iterator.seek_to_last(),
            Bound::Included(key) => iterator.seek_for_prev(key),
            Bound::Excluded(key) => {
                iterator.seek_for_prev(key);
                if iterator.key() == Some(&key[..]) {
                    iterator.prev();
                }
            }
        },
    }
    let found = iterator.item().map(|(key, value)| (key.to_vec(), value.to_vec()));
    // An iterator that failed is on no pair either.
    iterator.status()?;
    Ok(found.filter(|(key, _)| contains(start, end, key)))
}

fn contains(start: &Bound<Vec<u8>>, end: &Bound<Vec<u8>>, key: &[u8]) -> bool {
    let after_start = match start {
        Bound::Unbounded => true,
        Bound::Included(start) => key >= &start[..],
        Bound::Excluded(start) => key > &start[..],
    };
    let before_end = match end {
        Bound::Unbounded => true,
        Bound::Included(end) => key <= &end[..],
        Bound::Excluded(end) => key < &end[..],
    };
    after_start && before_end
}
