//! The one transaction of a tick of the event loop.
//!
//! All commands of a tick read and write in it, in their order: the first that writes makes it a [`WriteTx`], whose staged writes those
//! after it see. It is committed once, before any reply of the tick is sent. If the engine fails in the middle of a command that writes, what that
//! command had staged can't be told from what those before it had: the tick has failed then, and nothing of it is kept.
//!
//! Where nobody asked for any durability, a tick may share its transaction with those after it, for a few milliseconds while requests keep coming: each page that
//! they change is then built once for all of them. Its replies are sent before the commit, so a process that is killed loses them, and a commit that fails is told
//! only to the log; after one that failed no tick is left open until one has succeeded.

use std::time::{Duration, Instant};

use weald_engine::{Bucket, Database, Error, ReadTx, Readable, Result, SyncPolicy, WriteTx};

use crate::config::Durability;
use crate::error::CommandError;

/// How long a transaction that writes is left open for ticks to come.
const OPEN_FOR: Duration = Duration::from_millis(10);
/// How much it may have staged then, or within a tick that waits for no flush: more does not fit the processor's caches.
const OPEN_BYTES: u64 = 1 << 20;

/// The transaction of a tick.
pub(crate) struct Tick<'db> {
    db: &'db Database,
    tx: Tx<'db>,
    /// The strictest that was asked for.
    durability: Durability,
    /// When the transaction that writes was begun.
    since: Instant,
    /// Why nothing of the tick can be kept.
    failed: Option<String>,
    /// The last commit did not succeed.
    doubtful: bool,
}

#[expect(
    clippy::large_enum_variant,
    reason = "there is one of it, and a box would be allocated in each tick"
)]
enum Tx<'db> {
    Idle,
    Read(ReadTx<'db>),
    Write(WriteTx<'db>),
}

impl<'db> Tick<'db> {
    /// Nothing is begun yet.
    pub(crate) fn new(db: &'db Database) -> Tick<'db> {
        Tick {
            db,
            tx: Tx::Idle,
            durability: Durability::None,
            since: Instant::now(),
            failed: None,
            doubtful: false,
        }
    }

    /// The database.
    pub(crate) fn db(&self) -> &'db Database {
        self.db
    }

    /// Begins what a command needs that reads.
    #[inline]
    pub(crate) fn prepare_read(&mut self) -> Result<()> {
        if matches!(self.tx, Tx::Idle) {
            self.tx = Tx::Read(self.db.read()?);
        }
        Ok(())
    }

    /// Begins what a command needs that writes.
    #[inline]
    pub(crate) fn prepare_write(&mut self) -> Result<()> {
        if !matches!(self.tx, Tx::Write(_)) {
            self.tx = Tx::Idle;
            self.tx = Tx::Write(self.db.write()?);
            self.since = Instant::now();
        }
        Ok(())
    }

    /// The same, for writes that are to be that durable.
    #[inline]
    pub(crate) fn begin_write(&mut self, durability: Durability) -> Result<(), CommandError> {
        if let Some(why) = &self.failed {
            return Err(CommandError::new(why.clone()));
        }
        self.prepare_write()?;
        self.durability = self.durability.max(durability);
        Ok(())
    }

    /// Whether replies stand on writes that may yet fail.
    #[inline]
    pub(crate) fn is_writing(&self) -> bool {
        matches!(self.tx, Tx::Write(_)) || self.failed.is_some()
    }

    /// Whether it may be left open for the commands of the next tick, as nobody asked for more.
    pub(crate) fn may_stay_open(&self) -> bool {
        let Tx::Write(tx) = &self.tx else {
            return false;
        };
        self.durability == Durability::None
            && self.failed.is_none()
            && !self.doubtful
            && tx.staged_bytes() < OPEN_BYTES
            && self.since.elapsed() < OPEN_FOR
    }

    /// Whether it is better to commit now what the tick has written so far. Where a commit waits for the disk one is better than two.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        matches!(&self.tx, Tx::Write(tx) if self.durability < Durability::Immediate && tx.staged_bytes() >= OPEN_BYTES)
    }

    /// Whether the last commit failed.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.doubtful || self.failed.is_some()
    }

    /// The root bucket as it is with the writes of the tick.
    #[inline]
    pub(crate) fn root(&self) -> Bucket<'_> {
        match &self.tx {
            Tx::Read(tx) => tx.root(),
            Tx::Write(tx) => tx.root(),
            Tx::Idle => unreachable!("the dispatcher prepares the tick before it runs a command"),
        }
    }

    /// The transaction to write in; an error in a command that is not marked as one that writes.
    #[inline]
    pub(crate) fn writer(&mut self) -> Result<&mut WriteTx<'db>> {
        match &mut self.tx {
            Tx::Write(tx) => Ok(tx),
            _ => Err(Error::ReadOnly),
        }
    }

    /// Nothing of the tick is kept.
    pub(crate) fn fail(&mut self, why: String) {
        self.tx = Tx::Idle;
        self.failed.get_or_insert(why);
    }

    /// Ends the tick: what it wrote is as durable as was asked. Whether it wrote anything; an error for all who wrote if nothing is kept.
    pub(crate) fn finish(&mut self, interval: Duration) -> Result<bool, String> {
        let durability = std::mem::replace(&mut self.durability, Durability::None);
        if let Some(why) = self.failed.take() {
            self.roll_back();
            self.doubtful = true;
            return Err(why);
        }
        let writes = self.is_writing();
        let committed = self.commit(durability.policy(interval));
        if writes {
            self.doubtful = committed.is_err();
        }
        committed.map(|()| writes).map_err(|e| failure(&e))
    }

    /// Ends the tick, and makes what it wrote as durable as asked.
    pub(crate) fn commit(&mut self, policy: SyncPolicy) -> Result<()> {
        match std::mem::replace(&mut self.tx, Tx::Idle) {
            Tx::Write(tx) => tx.commit_with(policy).map(drop),
            _ => Ok(()),
        }
    }

    /// Ends the tick without its writes.
    pub(crate) fn roll_back(&mut self) {
        self.tx = Tx::Idle;
    }
}

/// What clients are told whose writes were not kept.
pub(crate) fn failure(e: &Error) -> String {
    match e {
        Error::DiskFull { .. } | Error::Io(_) | Error::Poisoned(_) => {
            format!("MISCONF Weald can't write to the disk, nothing was changed: {e}")
        }
        e => format!("ERR nothing was changed: {e}"),
    }
}
