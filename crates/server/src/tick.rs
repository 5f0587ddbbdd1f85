//! The one transaction of a tick of the event loop.
//!
//! All commands of a tick read and write in it, in their order: the first that writes makes it a [`WriteTx`], whose staged writes those
//! after it see. It is committed once, before any reply of the tick is sent.

use weald_engine::{Bucket, Database, Error, ReadTx, Readable, Result, SyncPolicy, WriteTx};

/// The transaction of a tick.
pub(crate) struct Tick<'db> {
    db: &'db Database,
    tx: Tx<'db>,
}

enum Tx<'db> {
    Idle,
    Read(ReadTx<'db>),
    Write(WriteTx<'db>),
}

impl<'db> Tick<'db> {
    /// Nothing is begun yet.
    pub(crate) fn new(db: &'db Database) -> Tick<'db> {
        Tick { db, tx: Tx::Idle }
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
        }
        Ok(())
    }

    /// Whether commands of the tick may have written.
    pub(crate) fn is_writing(&self) -> bool {
        matches!(self.tx, Tx::Write(_))
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
