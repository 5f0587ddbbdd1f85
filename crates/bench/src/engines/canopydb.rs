//! canopydb.
#![expect(unsafe_code, reason = "a tree borrows the transaction that it is kept beside")]

use std::fs;
use std::path::Path;

use canopydb::{Database, DbOptions, EnvOptions, ReadTransaction, Tree};

use crate::engine::{Engine, Reader, Result, Settings, Writer};

const PAIRS: &[u8] = b"pairs";

pub(crate) struct Canopydb {
    db: Database,
    durable: bool,
}

impl Engine for Canopydb {
    type Reader<'e> = Snapshot;

    fn open(dir: &Path, settings: &Settings) -> Result<Canopydb> {
        let dir = dir.join("canopydb");
        fs::create_dir_all(&dir)?;
        let db = Database::with_options(EnvOptions::new(dir), DbOptions::new())?;
        let txn = db.begin_write()?;
        txn.get_or_create_tree(PAIRS)?;
        txn.commit()?;
        Ok(Canopydb {
            db,
            durable: settings.durable,
        })
    }

    fn reader(&self) -> Result<Snapshot> {
        let mut snapshot = Snapshot {
            pairs: None,
            txn: Box::into_raw(Box::new(self.db.begin_read()?)),
        };
        // SAFETY: the transaction stays where it is, and is not changed, until `drop`, which drops what borrows it first.
        let txn: &'static ReadTransaction = unsafe { &*snapshot.txn };
        snapshot.pairs = txn.get_tree(PAIRS)?;
        Ok(snapshot)
    }

    fn write(&self, body: impl FnOnce(&mut dyn Writer) -> Result<()>) -> Result<()> {
        let txn = self.db.begin_write()?;
        {
            let mut pairs = txn.get_or_create_tree(PAIRS)?;
            body(&mut pairs)?;
        }
        txn.commit_with(self.durable)?;
        Ok(())
    }

    fn compact(self, _: &Path, _: &Settings) -> Result<(Self, bool)> {
        self.db.compact()?;
        Ok((self, true))
    }

    fn close(self) -> Result<()> {
        Ok(self.db.checkpoint()?)
    }
}

pub(crate) struct Snapshot {
    /// Borrows the transaction.
    pairs: Option<Tree<'static>>,
    txn: *mut ReadTransaction,
}

impl Snapshot {
    #[inline]
    fn pairs(&self) -> Result<&Tree<'static>> {
        Ok(self.pairs.as_ref().ok_or("the tree is not there")?)
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.pairs = None;
        // SAFETY: it came from a box, nobody else has it, and what borrowed it is gone.
        drop(unsafe { Box::from_raw(self.txn) });
    }
}

impl Reader for Snapshot {
    #[inline]
    fn get(&self, key: &[u8], mut see: impl FnMut(&[u8])) -> Result<bool> {
        Ok(self.pairs()?.get(key)?.map(|value| see(&value)).is_some())
    }

    fn scan(&self, from: &[u8], limit: usize, mut see: impl FnMut(&[u8], &[u8])) -> Result<usize> {
        let mut seen = 0;
        for pair in self.pairs()?.range(from..)?.take(limit) {
            let (key, value) = pair?;
            see(&key, &value);
            seen += 1;
        }
        Ok(seen)
    }

    fn len(&self) -> Result<u64> {
        Ok(self.pairs()?.len())
    }
}

impl Writer for Tree<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.insert(key, value)?)
    }

    fn get(&mut self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let found = Tree::get(self, key)?;
        Ok(found.map(|value| see(&value)).is_some())
    }

    fn remove(&mut self, key: &[u8]) -> Result<()> {
        self.delete(key)?;
        Ok(())
    }
}
