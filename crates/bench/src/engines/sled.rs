//! sled. It has no snapshots: what reads in one here reads the newest state.

use std::path::Path;

use sled::{Batch, Db};

use crate::engine::{Compacted, Engine, Reader, Result, Settings, Writer};

pub(crate) struct Sled {
    db: Db,
    durable: bool,
}

impl Engine for Sled {
    type Reader<'e> = Latest<'e>;

    fn open(dir: &Path, settings: &Settings) -> Result<Sled> {
        let config = sled::Config::new().path(dir.join("db"));
        Ok(Sled {
            db: config.open()?,
            durable: settings.durable,
        })
    }

    fn reader(&self) -> Result<Latest<'_>> {
        Ok(Latest(&self.db))
    }

    fn write(&self, body: impl FnOnce(&mut dyn Writer) -> Result<()>) -> Result<()> {
        let mut changes = Changes {
            batch: Batch::default(),
            db: &self.db,
        };
        body(&mut changes)?;
        self.db.apply_batch(changes.batch)?;
        if self.durable {
            self.db.flush()?;
        }
        Ok(())
    }

    fn compact(self, _: &Path, _: &Settings) -> Result<Compacted<Sled>> {
        Ok(Compacted::NotOffered(self))
    }

    fn close(self) -> Result<()> {
        self.db.flush()?;
        Ok(())
    }
}

pub(crate) struct Latest<'e>(&'e Db);

impl Reader for Latest<'_> {
    #[inline]
    fn get(&self, key: &[u8], mut see: impl FnMut(&[u8])) -> Result<bool> {
        Ok(self.0.get(key)?.map(|value| see(&value)).is_some())
    }

    fn scan(&self, from: &[u8], limit: usize, mut see: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let mut seen = 0;
        for pair in self.0.range(from..).take(limit) {
            let (key, value) = pair?;
            see(&key, &value);
            seen += 1;
        }
        Ok(seen)
    }

    fn len(&self) -> Result<u64> {
        Ok(self.0.len() as u64)
    }
}

struct Changes<'e> {
    batch: Batch,
    db: &'e Db,
}

impl Writer for Changes<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.batch.insert(key, value);
        Ok(())
    }

    /// A batch can't be read, so this sees what was committed before it.
    fn get(&mut self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.db.get(key)?.map(|value| see(&value)).is_some())
    }

    fn remove(&mut self, key: &[u8]) -> Result<()> {
        self.batch.remove(key);
        Ok(())
    }
}
