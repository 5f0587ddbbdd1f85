//! libmdbx, which began as LMDB.
#![expect(unsafe_code, reason = "a table's handle is kept beside its database")]

use std::borrow::Cow;
use std::path::Path;

use libmdbx::{
    Database, DatabaseOptions, Mode, NoWriteMap, RO, RW, ReadWriteOptions, SyncMode, Table, TableFlags,
    Transaction, WriteFlags,
};

use crate::engine::{Engine, Reader, Result, Settings, Writer};

/// Address space, of which much is needed beside a long reader, since it keeps pages from being used again.
const MAP_BYTES: isize = 256 << 30;

pub(crate) struct Mdbx {
    db: Database<NoWriteMap>,
    /// Never used after the database is closed, as both go together.
    pairs: Table<'static>,
}

impl Engine for Mdbx {
    type Reader<'e> = Snapshot<'e>;

    fn open(dir: &Path, settings: &Settings) -> Result<Mdbx> {
        let how = ReadWriteOptions {
            sync_mode: if settings.durable {
                SyncMode::Durable
            } else {
                // Like the others it keeps the file whole, at the price of pages that are not used again before it flushes of itself.
                SyncMode::SafeNoSync
            },
            max_size: Some(MAP_BYTES),
            ..ReadWriteOptions::default()
        };
        let options = DatabaseOptions {
            mode: Mode::ReadWrite(how),
            ..DatabaseOptions::default()
        };
        let db = Database::open_with_options(dir, options)?;
        let txn = db.begin_rw_txn()?;
        let pairs = txn.create_table(None, TableFlags::empty())?;
        // SAFETY: a table is the number of a handle, which stays good in every transaction until the database is closed; it is that of the main
        // table, which exists whether or not this transaction ends well.
        let pairs = unsafe { std::mem::transmute::<Table<'_>, Table<'static>>(pairs) };
        txn.commit()?;
        Ok(Mdbx { db, pairs })
    }

    fn reader(&self) -> Result<Snapshot<'_>> {
        Ok(Snapshot {
            txn: self.db.begin_ro_txn()?,
            pairs: &self.pairs,
        })
    }

    fn write(&self, body: impl FnOnce(&mut dyn Writer) -> Result<()>) -> Result<()> {
        let mut batch = Batch {
            txn: self.db.begin_rw_txn()?,
            pairs: &self.pairs,
        };
        body(&mut batch)?;
        batch.txn.commit()?;
        Ok(())
    }

    /// The bindings have no copy that compacts.
    fn compact(self, _: &Path, _: &Settings) -> Result<(Mdbx, bool)> {
        Ok((self, false))
    }

    fn close(self) -> Result<()> {
        Ok(())
    }
}

pub(crate) struct Snapshot<'e> {
    txn: Transaction<'e, RO, NoWriteMap>,
    pairs: &'e Table<'static>,
}

impl Reader for Snapshot<'_> {
    #[inline]
    fn get(&self, key: &[u8], mut see: impl FnMut(&[u8])) -> Result<bool> {
        let value = self.txn.get::<Cow<'_, [u8]>>(self.pairs, key)?;
        Ok(value.map(|value| see(&value)).is_some())
    }

    fn scan(&self, from: &[u8], limit: usize, mut see: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let mut seen = 0;
        let mut cursor = self.txn.cursor(self.pairs)?;
        let pairs = cursor.iter_from::<Cow<'_, [u8]>, Cow<'_, [u8]>>(from);
        for pair in pairs.take(limit) {
            let (key, value) = pair?;
            see(&key, &value);
            seen += 1;
        }
        Ok(seen)
    }

    fn len(&self) -> Result<u64> {
        Ok(self.txn.table_stat(self.pairs)?.entries() as u64)
    }
}

struct Batch<'e> {
    txn: Transaction<'e, RW, NoWriteMap>,
    pairs: &'e Table<'static>,
}

impl Writer for Batch<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.txn.put(self.pairs, key, value, WriteFlags::UPSERT)?)
    }

    fn get(&mut self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.txn.get::<Cow<'_, [u8]>>(self.pairs, key)?;
        Ok(value.map(|value| see(&value)).is_some())
    }

    fn remove(&mut self, key: &[u8]) -> Result<()> {
        self.txn.del(self.pairs, key, None)?;
        Ok(())
    }
}
