//! The handle of an open database.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use weald_vfs::{Disk, Memory, Vfs};

use crate::background::Background;
use crate::checkpoint::CheckpointInfo;
use crate::commit::Committed;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::options::DatabaseOptions;
use crate::recovery;
use crate::stats::Stats;
use crate::transaction::{Isolation, OptimisticTx, ReadTx, Readable, Writable, WriteTx};

/// A database in one file.
///
/// It is opened once per process and shared between threads by reference or in an [`Arc`]; reading needs no lock. Beside the file `x` there are, while it is open,
/// the directory `x-wal` with the log and the file `x-lock`. Closing it, by [`close`](Self::close) or by dropping it, leaves all data in
/// the one file.
///
/// ```
/// use weald_engine::{Database, Readable, Writable};
///
/// let dir = tempfile::tempdir()?;
/// let db = Database::open(dir.path().join("my.weald"))?;
///
/// let mut tx = db.write()?;
/// tx.put(b"hello", b"world")?;
/// tx.commit()?; // on the disk now
///
/// let tx = db.read()?;
/// assert_eq!(tx.get_ref(b"hello")?, Some(&b"world"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Database {
    // Dropped before the core's last owner is.
    background: Option<Background>,
    core: Arc<Core>,
    closed: bool,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("path", &self.core.path)
            .finish_non_exhaustive()
    }
}

impl Database {
    /// Opens the database in the file `path`, or creates it, with the default options.
    pub fn open(path: impl AsRef<Path>) -> Result<Database> {
        Database::open_with_options(path, DatabaseOptions::new())
    }

    /// Opens the database in the file `path`, or creates it.
    pub fn open_with_options(path: impl AsRef<Path>, options: DatabaseOptions) -> Result<Database> {
        let vfs = options.vfs.clone().unwrap_or_else(|| Arc::new(Disk::new()));
        let core = Arc::new(recovery::open(path.as_ref(), vfs, options)?);
        let works = core.options.background && !core.options.read_only;
        let background = works.then(|| Background::start(&core)).transpose();
        let background = background.map_err(|e| Error::io("start a thread for", &core.path, None, e))?;
        Ok(Database {
            background,
            core,
            closed: false,
        })
    }

    /// A database in memory, for tests. It is gone with the handle.
    pub fn in_memory() -> Result<Database> {
        let vfs: Arc<dyn Vfs> = Arc::new(Memory::new());
        Database::open_with_options("memory.weald", DatabaseOptions::new().vfs(vfs))
    }

    /// Begins a transaction that reads what is committed now.
    pub fn read(&self) -> Result<ReadTx<'_>> {
        Ok(ReadTx::begin(&self.core))
    }

    /// Begins the transaction that writes, as soon as there is no other.
    pub fn write(&self) -> Result<WriteTx<'_>> {
        WriteTx::begin(&self.core)
    }

    /// Begins a transaction that writes beside others, and is refused at its commit if that made a difference.
    pub fn optimistic(&self) -> Result<OptimisticTx<'_>> {
        OptimisticTx::begin(&self.core, Isolation::Serializable)
    }

    /// Begins one that is protected from less.
    pub fn optimistic_with(&self, isolation: Isolation) -> Result<OptimisticTx<'_>> {
        OptimisticTx::begin(&self.core, isolation)
    }

    /// Runs `body` in an optimistic transaction and commits it; again, after a short wait, if it conflicts. After a few conflicts it runs
    /// alone, so that it ends. `body` must have no effects of its own.
    ///
    /// ```
    /// use weald_engine::{Database, Readable, Writable};
    ///
    /// let db = Database::in_memory()?;
    /// let count = db.transact(|tx| {
    ///     let count = tx.get(b"count")?.map_or(0, |n| n[0]) + 1;
    ///     tx.put(b"count", &[count])?;
    ///     Ok::<_, weald_engine::Error>(count)
    /// })?;
    /// assert_eq!(count, 1);
    /// # Ok::<(), weald_engine::Error>(())
    /// ```
    pub fn transact<T, E: From<Error>>(
        &self,
        mut body: impl FnMut(&mut OptimisticTx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        const ATTEMPTS: u32 = 6;
        for attempt in 0..ATTEMPTS {
            let mut tx = self.optimistic()?;
            let value = body(&mut tx)?;
            match tx.commit() {
                Ok(_) => return Ok(value),
                Err(e) if e.is_retryable() => std::thread::sleep(Duration::from_micros(10 << attempt)),
                Err(e) => return Err(e.into()),
            }
        }
        let mut tx = OptimisticTx::begin_alone(&self.core)?;
        let value = body(&mut tx)?;
        tx.commit()?;
        Ok(value)
    }

    /// A copy of the value of a key of the root bucket, in a transaction of its own.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.read()?.get(key)
    }

    /// Sets a key of the root bucket, in a transaction of its own.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<Committed> {
        let mut tx = self.write()?;
        tx.put(key, value)?;
        tx.commit()
    }

    /// Deletes a key of the root bucket, in a transaction of its own; whether it was there.
    pub fn delete(&self, key: &[u8]) -> Result<bool> {
        let mut tx = self.write()?;
        let present = tx.delete(key)?;
        tx.commit()?;
        Ok(present)
    }

    /// Writes all changes to the file, so that the log before them is not needed any more. The database does that by itself; this is for those who
    /// want it at a certain time.
    pub fn checkpoint(&self) -> Result<CheckpointInfo> {
        self.core.checkpoint()
    }

    /// Makes all commits durable that were not, whatever their policy.
    pub fn flush(&self) -> Result<()> {
        self.core.flush()
    }

    /// Deletes keys that have expired and still take space; how many. The background thread does this by itself.
    pub fn collect_expired(&self) -> Result<u64> {
        self.core.collect_expired()
    }

    /// What the database tells of itself.
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// The file that it is in.
    pub fn path(&self) -> PathBuf {
        self.core.path.clone()
    }

    /// The longest key that it takes: a quarter of a page, less a few bytes.
    pub fn key_len_max(&self) -> usize {
        self.core.key_max()
    }

    /// Closes the database, with all its data in the one file. Dropping it does the same but can't tell of a failure, after which
    /// nothing is lost either: the log still has it.
    pub fn close(mut self) -> Result<()> {
        self.closed = true;
        self.background = None;
        self.core.close()
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// The same for those who look at the trees as such: they have all that the log had.
    pub(crate) fn caught_up(&self) -> Result<&Core> {
        self.core.catch_up()?;
        Ok(&self.core)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.background = None;
        if !self.closed {
            // What could not be written to the file is in the log.
            let _ = self.core.close();
        }
    }
}
