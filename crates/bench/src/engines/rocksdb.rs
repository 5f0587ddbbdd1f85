//! RocksDB, without compression: the values don't compress. As it comes, and with log files that are used again, so that a flush finds their blocks
//! allocated.

use std::path::Path;

use rocksdb::{DB, DBCompressionType, DBRawIteratorWithThreadMode, Options, WriteBatch, WriteOptions};

use crate::engine::{Engine, Reader, Result, Settings, Writer};

/// Log files that are kept to be used again.
const RECYCLED: usize = 4;

pub(crate) struct Rocks<const RECYCLES: bool> {
    db: DB,
    durable: bool,
}

impl<const RECYCLES: bool> Engine for Rocks<RECYCLES> {
    type Reader<'e> = Snapshot<'e>;

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_compression_type(DBCompressionType::None);
        if RECYCLES {
            options.set_recycle_log_file_num(RECYCLED);
        }
        Ok(Rocks {
            db: DB::open(&options, dir.join("db"))?,
            durable: settings.durable,
        })
    }

    fn reader(&self) -> Result<Snapshot<'_>> {
        Ok(Snapshot(self.db.snapshot()))
    }

    fn write(&self, body: impl FnOnce(&mut dyn Writer) -> Result<()>) -> Result<()> {
        let mut batch = Batch {
            db: &self.db,
            batch: WriteBatch::default(),
        };
        body(&mut batch)?;
        let mut options = WriteOptions::default();
        options.set_sync(self.durable);
        Ok(self.db.write_opt(batch.batch, &options)?)
    }

    fn compact(self, _: &Path, _: &Settings) -> Result<(Self, bool)> {
        self.db.flush()?;
        self.db.compact_range(None::<&[u8]>, None::<&[u8]>);
        Ok((self, true))
    }

    fn close(self) -> Result<()> {
        Ok(self.db.flush_wal(true)?)
    }
}

pub(crate) struct Snapshot<'e>(rocksdb::Snapshot<'e>);

impl Snapshot<'_> {
    /// Shows pairs from where the iterator is.
    fn each(
        mut pairs: DBRawIteratorWithThreadMode<'_, DB>,
        limit: usize,
        mut see: impl FnMut(&[u8], &[u8]),
    ) -> Result<usize> {
        let mut seen = 0;
        while seen < limit
            && let Some((key, value)) = pairs.item()
        {
            see(key, value);
            seen += 1;
            pairs.next();
        }
        pairs.status()?;
        Ok(seen)
    }
}

impl Reader for Snapshot<'_> {
    #[inline]
    fn get(&self, key: &[u8], mut see: impl FnMut(&[u8])) -> Result<bool> {
        Ok(self.0.get_pinned(key)?.map(|value| see(&value)).is_some())
    }

    fn scan(&self, from: &[u8], limit: usize, see: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let mut pairs = self.0.raw_iterator();
        pairs.seek(from);
        Snapshot::each(pairs, limit, see)
    }

    /// It keeps no number of keys but an estimate.
    fn len(&self) -> Result<u64> {
        let mut pairs = self.0.raw_iterator();
        pairs.seek_to_first();
        Ok(Snapshot::each(pairs, usize::MAX, |_, _| ())? as u64)
    }
}

struct Batch<'e> {
    db: &'e DB,
    batch: WriteBatch,
}

impl Writer for Batch<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.batch.put(key, value);
        Ok(())
    }

    /// A batch can't be read, so this sees what was committed before it.
    fn get(&mut self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.db.get_pinned(key)?.map(|value| see(&value)).is_some())
    }

    fn remove(&mut self, key: &[u8]) -> Result<()> {
        self.batch.delete(key);
        Ok(())
    }
}
