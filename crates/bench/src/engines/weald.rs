//! Weald, with its default options, but for the length of the log where the environment says another.

use std::path::Path;

use weald_engine::{Database, DatabaseOptions, ReadTx, Readable, SyncPolicy, Writable, WriteTx};

use crate::engine::{Engine, Reader, Result, Settings, Writer};

/// The default of `checkpoint_wal_bytes`, in MiB.
const LOG_MIB: u64 = 24;

/// How long the log may get, in MiB: what `WEALD_LOG_MIB` says.
fn log_mib() -> Result<u64> {
    match std::env::var("WEALD_LOG_MIB") {
        Ok(mib) => Ok(mib
            .parse()
            .map_err(|_| format!("WEALD_LOG_MIB={mib} is no number"))?),
        Err(_) => Ok(LOG_MIB),
    }
}

pub(crate) struct Weald {
    db: Database,
    policy: SyncPolicy,
    log_mib: u64,
}

impl Engine for Weald {
    type Reader<'e> = Snapshot<'e>;

    fn open(dir: &Path, settings: &Settings) -> Result<Weald> {
        let log_mib = log_mib()?;
        let options = DatabaseOptions::new().checkpoint_wal_bytes(log_mib << 20);
        Ok(Weald {
            db: Database::open_with_options(dir.join("db.weald"), options)?,
            log_mib,
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
        // Just below where a checkpoint begins: by the length of the log, or by the pages that are only in memory.
        let stats = self.db.stats();
        let log_is_long = stats
            .log
            .is_none_or(|log| log.replay_bytes >= (self.log_mib << 20) / 12 * 11);
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
