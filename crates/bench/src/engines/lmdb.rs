//! LMDB through heed, with and without a writable map.
#![expect(unsafe_code, reason = "opening an LMDB environment is unsafe: nobody else may change its files")]

use std::fs;
use std::ops::Bound;
use std::path::Path;

use heed::types::Bytes;
use heed::{CompactionOption, Database, Env, EnvFlags, EnvOpenOptions, RoTxn, RwTxn, WithTls};

use crate::engine::{Compacted, Engine, Reader, Result, Settings, Writer};

type Pairs = Database<Bytes, Bytes>;

pub(crate) struct Lmdb<const WRITABLE_MAP: bool> {
    env: Env,
    pairs: Pairs,
}

impl<const WRITABLE_MAP: bool> Engine for Lmdb<WRITABLE_MAP> {
    type Reader<'e> = Snapshot<'e>;

    fn open(dir: &Path, settings: &Settings) -> Result<Self> {
        let mut flags = EnvFlags::empty();
        flags.set(EnvFlags::NO_SYNC, !settings.durable);
        flags.set(EnvFlags::WRITE_MAP, WRITABLE_MAP);
        flags.set(EnvFlags::MAP_ASYNC, WRITABLE_MAP && !settings.durable);
        let mut options = EnvOpenOptions::new();
        options.map_size(settings.map_bytes as usize);
        // SAFETY: the flags give up durability at most, which the row that asks for them says.
        unsafe { options.flags(flags) };
        // SAFETY: the directory is this process's own, and nobody changes or cuts the file while it is mapped.
        let env = unsafe { options.open(dir) }?;
        let mut txn = env.write_txn()?;
        let pairs = env.create_database(&mut txn, None)?;
        txn.commit()?;
        Ok(Lmdb { env, pairs })
    }

    fn reader(&self) -> Result<Snapshot<'_>> {
        Ok(Snapshot {
            txn: self.env.read_txn()?,
            pairs: self.pairs,
        })
    }

    fn write(&self, body: impl FnOnce(&mut dyn Writer) -> Result<()>) -> Result<()> {
        let mut batch = Batch {
            txn: self.env.write_txn()?,
            pairs: self.pairs,
        };
        body(&mut batch)?;
        Ok(batch.txn.commit()?)
    }

    /// A copy, made durable, in the place of the file.
    fn compact(self, dir: &Path, settings: &Settings) -> Result<Compacted<Self>> {
        let copy = dir.join("copy.mdb");
        self.env
            .copy_to_path(&copy, CompactionOption::Enabled)?
            .sync_all()?;
        self.close()?;
        fs::rename(copy, dir.join("data.mdb"))?;
        Ok(Compacted::Done(Self::open(dir, settings)?))
    }

    fn close(self) -> Result<()> {
        self.env.prepare_for_closing().wait();
        Ok(())
    }
}

pub(crate) struct Snapshot<'e> {
    txn: RoTxn<'e, WithTls>,
    pairs: Pairs,
}

impl Reader for Snapshot<'_> {
    #[inline]
    fn get(&self, key: &[u8], mut see: impl FnMut(&[u8])) -> Result<bool> {
        Ok(self.pairs.get(&self.txn, key)?.map(&mut see).is_some())
    }

    fn scan(&self, from: &[u8], limit: usize, mut see: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let mut seen = 0;
        let mut show = |pair: heed::Result<(&[u8], &[u8])>| -> Result<()> {
            let (key, value) = pair?;
            see(key, value);
            seen += 1;
            Ok(())
        };
        if from.is_empty() {
            // LMDB has no empty key to begin from.
            self.pairs.iter(&self.txn)?.take(limit).try_for_each(&mut show)?;
        } else {
            let bounds = (Bound::Included(from), Bound::Unbounded);
            let range = self.pairs.range(&self.txn, &bounds)?;
            range.take(limit).try_for_each(&mut show)?;
        }
        Ok(seen)
    }

    fn len(&self) -> Result<u64> {
        Ok(self.pairs.len(&self.txn)?)
    }
}

struct Batch<'e> {
    txn: RwTxn<'e>,
    pairs: Pairs,
}

impl Writer for Batch<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.pairs.put(&mut self.txn, key, value)?)
    }

    fn get(&mut self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.pairs.get(&self.txn, key)?.map(see).is_some())
    }

    fn remove(&mut self, key: &[u8]) -> Result<()> {
        self.pairs.delete(&mut self.txn, key)?;
        Ok(())
    }
}
