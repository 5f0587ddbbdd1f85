//! fjall, without compression: the values don't compress.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable};

use crate::engine::{Compacted, Engine, Reader, Result, Settings, Writer};

pub(crate) struct Fjall {
    db: Database,
    pairs: Keyspace,
    mode: PersistMode,
}

impl Engine for Fjall {
    type Reader<'e> = Snapshot<'e>;

    fn open(dir: &Path, settings: &Settings) -> Result<Fjall> {
        let db = Database::builder(dir.join("db")).open()?;
        let pairs = db.keyspace("pairs", KeyspaceCreateOptions::default)?;
        let mode = if settings.durable {
            PersistMode::SyncData
        } else {
            PersistMode::Buffer
        };
        Ok(Fjall { db, pairs, mode })
    }

    fn reader(&self) -> Result<Snapshot<'_>> {
        Ok(Snapshot {
            snapshot: self.db.snapshot(),
            pairs: &self.pairs,
        })
    }

    fn write(&self, body: impl FnOnce(&mut dyn Writer) -> Result<()>) -> Result<()> {
        let mut batch = Batch {
            batch: self.db.batch().durability(Some(self.mode)),
            pairs: &self.pairs,
        };
        body(&mut batch)?;
        Ok(batch.batch.commit()?)
    }

    fn compact(self, _: &Path, _: &Settings) -> Result<Compacted<Fjall>> {
        self.pairs.rotate_memtable_and_wait()?;
        self.pairs.major_compact()?;
        Ok(Compacted::Done(self))
    }

    fn close(self) -> Result<()> {
        Ok(self.db.persist(PersistMode::SyncAll)?)
    }
}

pub(crate) struct Snapshot<'e> {
    snapshot: fjall::Snapshot,
    pairs: &'e Keyspace,
}

impl Reader for Snapshot<'_> {
    #[inline]
    fn get(&self, key: &[u8], mut see: impl FnMut(&[u8])) -> Result<bool> {
        Ok(self
            .snapshot
            .get(self.pairs, key)?
            .map(|value| see(&value))
            .is_some())
    }

    fn scan(&self, from: &[u8], limit: usize, mut see: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let mut seen = 0;
        for guard in self.snapshot.range(self.pairs, from..).take(limit) {
            let (key, value) = guard.into_inner()?;
            see(&key, &value);
            seen += 1;
        }
        Ok(seen)
    }

    fn len(&self) -> Result<u64> {
        Ok(self.snapshot.len(self.pairs)? as u64)
    }
}

struct Batch<'e> {
    batch: OwnedWriteBatch,
    pairs: &'e Keyspace,
}

impl Writer for Batch<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.batch.insert(self.pairs, key, value);
        Ok(())
    }

    /// A batch can't be read, so this sees what was committed before it.
    fn get(&mut self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.pairs.get(key)?.map(|value| see(&value)).is_some())
    }

    fn remove(&mut self, key: &[u8]) -> Result<()> {
        self.batch.remove(self.pairs, key);
        Ok(())
    }
}
