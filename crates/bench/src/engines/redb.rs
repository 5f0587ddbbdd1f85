//! redb. Its commits that are not synced are lost when the process is killed.

use std::path::Path;

use redb::{
    Database, Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table,
    TableDefinition,
};

use crate::engine::{Compacted, Engine, Reader, Result, Settings, Writer};

type Bytes = &'static [u8];

const PAIRS: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("pairs");

pub(crate) struct Redb {
    db: Database,
    durability: Durability,
}

impl Engine for Redb {
    type Reader<'e> = Snapshot;

    fn open(dir: &Path, settings: &Settings) -> Result<Redb> {
        let db = Database::create(dir.join("db.redb"))?;
        let txn = db.begin_write()?;
        txn.open_table(PAIRS)?;
        txn.commit()?;
        let durability = if settings.durable {
            Durability::Immediate
        } else {
            Durability::None
        };
        Ok(Redb { db, durability })
    }

    fn reader(&self) -> Result<Snapshot> {
        let txn = self.db.begin_read()?;
        Ok(Snapshot {
            pairs: txn.open_table(PAIRS)?,
            _txn: txn,
        })
    }

    fn write(&self, body: impl FnOnce(&mut dyn Writer) -> Result<()>) -> Result<()> {
        let mut txn = self.db.begin_write()?;
        txn.set_durability(self.durability)?;
        body(&mut txn.open_table(PAIRS)?)?;
        Ok(txn.commit()?)
    }

    fn compact(mut self, _: &Path, _: &Settings) -> Result<Compacted<Redb>> {
        self.db.compact()?;
        Ok(Compacted::Done(self))
    }

    fn close(self) -> Result<()> {
        Ok(())
    }
}

pub(crate) struct Snapshot {
    pairs: ReadOnlyTable<Bytes, Bytes>,
    _txn: ReadTransaction,
}

impl Reader for Snapshot {
    #[inline]
    fn get(&self, key: &[u8], mut see: impl FnMut(&[u8])) -> Result<bool> {
        Ok(self
            .pairs
            .get(key)?
            .map(|value| see(value.value()))
            .is_some())
    }

    fn scan(&self, from: &[u8], limit: usize, mut see: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let mut seen = 0;
        for pair in self.pairs.range(from..)?.take(limit) {
            let (key, value) = pair?;
            see(key.value(), value.value());
            seen += 1;
        }
        Ok(seen)
    }

    fn len(&self) -> Result<u64> {
        Ok(self.pairs.len()?)
    }
}

impl Writer for Table<'_, Bytes, Bytes> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.insert(key, value)?;
        Ok(())
    }

    fn get(&mut self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let found = ReadableTable::get(self, key)?;
        Ok(found.map(|value| see(value.value())).is_some())
    }

    fn remove(&mut self, key: &[u8]) -> Result<()> {
        Table::remove(self, key)?;
        Ok(())
    }
}
