//! Weald, with its default options.

use std::path::Path;

use weald_engine::{Database, ReadTx, Readable, SyncPolicy, Writable, WriteTx};

use crate::engine::{Engine, Reader, Result, Settings, Writer};

pub(crate) struct Weald {
    db: Database,
    policy: SyncPolicy,
}

impl Engine for Weald {
    type Reader<'e> = Snapshot<'e>;

    fn open(dir: &Path, settings: &Settings) -> Result<Weald> {
        Ok(Weald {
            db: Database::open(dir.join("db.weald"))?,
            policy: if settings.durable {
                SyncPolicy::Immediate
            } else {
                SyncPolicy::None
            },
        })
    }

    fn reader(&self) -> Result<Snapshot<'_>> {
        Ok(Snapshot(self.db.read()?))
    }

    fn write(&self, body: impl FnOnce(&mut dyn Writer) -> Result<()>) -> Result<()> {
        let mut tx = self.db.write()?;
        body(&mut tx)?;
        tx.commit_with(self.policy)?;
        Ok(())
    }

    fn compact(self, _: &Path, _: &Settings) -> Result<(Self, bool)> {
        self.db.compact()?;
        Ok((self, true))
    }

    fn is_slowest_to_recover(&self) -> bool {
        // Just below where a checkpoint begins by default: by the length of the log, or by the pages that are only in memory.
        let stats = self.db.stats();
        let log_is_long = stats.log.is_none_or(|log| log.replay_bytes >= 22 << 20);
        log_is_long || stats.dirty_bytes >= 280 << 20
    }

    fn close(self) -> Result<()> {
        if std::env::var_os("WEALD_STATS").is_some() {
            eprintln!("{:#?}", self.db.stats());
        }
        Ok(self.db.close()?)
    }
}

pub(crate) struct Snapshot<'e>(ReadTx<'e>);

impl Reader for Snapshot<'_> {
    #[inline]
    fn get(&self, key: &[u8], mut see: impl FnMut(&[u8])) -> Result<bool> {
        Ok(self.0.get_ref(key)?.map(&mut see).is_some())
    }

    fn scan(&self, from: &[u8], limit: usize, mut see: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let mut seen = 0;
        for pair in self.0.range(from..).take(limit) {
            let (key, value) = pair?;
            see(key, value);
            seen += 1;
        }
        Ok(seen)
    }

    fn len(&self) -> Result<u64> {
        Ok(self.0.len()?)
    }
}

impl Writer for WriteTx<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(Writable::put(self, key, value)?)
    }

    fn get(&mut self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.get_ref(key)?.map(see).is_some())
    }

    fn remove(&mut self, key: &[u8]) -> Result<()> {
        Ok(self.discard(key)?)
    }
}
