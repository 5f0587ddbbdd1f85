//! Keys and their values, as commands see them, on the transaction of a tick.
//!
//! Beside the handlers of commands the server itself calls, with the tick prepared for it:
//!
//! ```text
//!  fn exists(&self, db: usize, key: &[u8], now_ms: u64) -> Result<bool>        before it wakes who waits for a key
//!  fn len(&self, db: usize) -> Result<u64>                                     DBSIZE, INFO keyspace
//!  fn expiring(&self, db: usize) -> Result<u64>                                INFO keyspace: keys with a time to live
//!  fn flush_db(&mut self, db: usize) -> Result<()>                             FLUSHDB; FLUSHALL calls it for each database
//!  fn swap_db(&mut self, a: usize, b: usize) -> Result<()>                     SWAPDB
//!  fn next_expired(&self, now_ms: u64, max: usize) -> Result<Vec<(usize, Vec<u8>)>>   keys whose time is up and that still take space
//!  fn remove(&mut self, db: usize, key: &[u8]) -> Result<bool>                 then deletes them; the server sends the events `expired`
//!  fn memory(&self, db: usize, key: &[u8], samples: usize, now_ms: u64) -> Result<Option<u64>>   MEMORY USAGE
//!  fn forget(&mut self)                                                        after a tick was rolled back
//! ```

use weald_engine::{Bucket, Result, WriteTx};

use crate::tick::Tick;

/// How many databases `SELECT` chooses among.
pub(crate) const DATABASES: usize = 16;

/// Keys and their values in all databases. It lives as long as the server; its transaction is that of the tick.
pub(crate) struct Keyspace<'db> {
    tick: Tick<'db>,
}

impl<'db> Keyspace<'db> {
    pub(crate) fn new(tick: Tick<'db>) -> Keyspace<'db> {
        Keyspace { tick }
    }

    /// The transaction.
    pub(crate) fn tick(&mut self) -> &mut Tick<'db> {
        &mut self.tick
    }

    /// For reading.
    pub(crate) fn root(&self) -> Bucket<'_> {
        self.tick.root()
    }

    /// For writing.
    pub(crate) fn writer(&mut self) -> Result<&mut WriteTx<'db>> {
        self.tick.writer()
    }

    /// After a tick was rolled back: what was remembered of its writes is forgotten.
    pub(crate) fn forget(&mut self) {}
}
