//! The backend `file`: Weald's engine on one file, `replica.weald` in the store's folder.

use std::sync::{RwLock, RwLockReadGuard};
use std::time::Duration;

use weald_engine::{Bucket, Database, DatabaseOptions, Readable, SyncPolicy, Writable};

use crate::changes::{ChangeRing, Changes};
use crate::error::{Error, Result};
use crate::item::{Item, Version};
use crate::reads::Reads;
use crate::registry::Options;
use crate::storage::{Decide, Durability, Limits, Range, Stats, Storage};

const NAME: &str = "file";
const BATCH_INTERVAL: Duration = Duration::from_millis(10);
const ITEMS: &[u8] = b"items";
/// The engine's own limit is 4 GiB; a whole value is in memory here.
const VALUE_LEN_MAX: usize = 512 << 20;

pub(crate) struct File {
    db: RwLock<Option<Database>>,
    key_len_max: usize,
    ring: ChangeRing,
    reads: Reads,
}

impl File {
    pub(crate) fn open(options: &Options) -> Result<File> {
        options.know_only(NAME, &[])?;
        let path = options.need_dir(NAME)?.join("replica.weald");
        // Batches that don't ask for more are flushed on this timer; the rest says for each commit what it wants.
        let settings = DatabaseOptions::new()
            .sync(SyncPolicy::Batched(BATCH_INTERVAL))
            .cache_bytes(options.memory_bytes / 2)
            .dirty_bytes_max((options.memory_bytes / 2).max(4 << 20));
        let db = Database::open_with_options(path, settings).map_err(failed)?;
        let mut tx = db.write().map_err(failed)?;
        tx.create_bucket_if_absent(ITEMS).map_err(failed)?;
        tx.commit().map_err(failed)?;
        Ok(File {
            key_len_max: db.key_len_max(),
            db: RwLock::new(Some(db)),
            ring: ChangeRing::new(options.change_capacity),
            reads: Reads::default(),
        })
    }

    fn db(&self) -> Result<Open<'_>> {
        let guard = self.db.read().expect("nothing panics while it is written");
        if guard.is_some() {
            Ok(Open(guard))
        } else {
            Err(Error::Closed)
        }
    }

    fn fits(&self, key: &[u8]) -> bool {
        key.len() <= self.key_len_max
    }
}

/// The database, open as long as this is held.
struct Open<'s>(RwLockReadGuard<'s, Option<Database>>);

impl std::ops::Deref for Open<'_> {
    type Target = Database;

    fn deref(&self) -> &Database {
        self.0.as_ref().expect("checked when this was made")
    }
}

fn stored(items: &Bucket<'_>, key: &[u8]) -> Result<Option<Item>> {
    let bytes = items.get_ref(key).map_err(failed)?;
    bytes.map(|bytes| Item::decode(key, bytes)).transpose()
}

impl Storage for File {
    fn backend(&self) -> &'static str {
        NAME
    }

    fn limits(&self) -> Limits {
        Limits {
            key_len_max: self.key_len_max,
            value_len_max: VALUE_LEN_MAX,
            durable: true,
            atomic: true,
            snapshots: true,
            forgets: false,
            shared: false,
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<Item>> {
        Ok(self.get_many(&[key])?.swap_remove(0))
    }

    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Item>>> {
        let db = self.db()?;
        let tx = db.read().map_err(failed)?;
        let items = tx.bucket(ITEMS).map_err(failed)?;
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            let item = if self.fits(key) {
                stored(&items, key)?
            } else {
                None
            };
            self.reads.count(item.is_some());
            found.push(item);
        }
        Ok(found)
    }

    fn update(&self, keys: &[&[u8]], durability: Durability, decide: &mut Decide<'_>) -> Result<()> {
        let limits = self.limits();
        keys.iter().try_for_each(|key| limits.check_key(key))?;
        let db = self.db()?;
        let mut tx = db.write().map_err(failed)?;
        let mut items = tx.bucket_mut(ITEMS).map_err(failed)?;
        let mut changed = Vec::new();
        let mut bytes = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            let old = stored(&items.as_bucket().map_err(failed)?, key)?;
            let Some(item) = decide(place, old)? else { continue };
            limits.check(key, &item)?;
            bytes.clear();
            item.encode(&mut bytes);
            items.put(key, &bytes).map_err(failed)?;
            changed.push((*key, item.version));
        }
        if changed.is_empty() {
            return Ok(());
        }
        tx.commit_with(policy(durability)).map_err(failed)?;
        self.ring.push_all(changed);
        Ok(())
    }

    fn purge(&self, key: &[u8], version: Version) -> Result<bool> {
        if !self.fits(key) {
            return Ok(false);
        }
        let db = self.db()?;
        let mut tx = db.write().map_err(failed)?;
        let mut items = tx.bucket_mut(ITEMS).map_err(failed)?;
        let found = stored(&items.as_bucket().map_err(failed)?, key)?;
        if found.is_none_or(|item| item.version != version) {
            return Ok(false);
        }
        items.delete(key).map_err(failed)?;
        // One that comes back after a power cut is purged again.
        tx.commit_with(SyncPolicy::None).map_err(failed)?;
        Ok(true)
    }

    fn scan(&self, range: &Range, see: &mut dyn FnMut(&[u8], Item) -> Result<bool>) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let db = self.db()?;
        let tx = db.read().map_err(failed)?;
        for pair in tx.bucket(ITEMS).map_err(failed)?.range::<&[u8]>(range.bounds()) {
            let (key, bytes) = pair.map_err(failed)?;
            if !see(key, Item::decode(key, bytes)?)? {
                break;
            }
        }
        Ok(())
    }

    fn changes(&self, since: u64) -> Changes {
        self.ring.since(since)
    }

    fn clear(&self) -> Result<()> {
        let db = self.db()?;
        let mut tx = db.write().map_err(failed)?;
        tx.delete_bucket(ITEMS).map_err(failed)?;
        tx.create_bucket(ITEMS).map_err(failed)?;
        tx.commit().map_err(failed)?;
        self.ring.forget();
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.db()?.flush().map_err(failed)
    }

    fn close(&self) -> Result<()> {
        match self
            .db
            .write()
            .expect("nothing panics while it is written")
            .take()
        {
            Some(db) => db.close().map_err(failed),
            None => Ok(()),
        }
    }

    fn stats(&self) -> Result<Stats> {
        let db = self.db()?;
        let tx = db.read().map_err(failed)?;
        Ok(Stats {
            keys: tx.bucket(ITEMS).and_then(|items| items.len()).map_err(failed)?,
            bytes: db.stats().file_bytes,
            hits: self.reads.hits(),
            misses: self.reads.misses(),
            changes: self.ring.count(),
            ..Stats::default()
        })
    }
}

fn policy(durability: Durability) -> SyncPolicy {
    match durability {
        Durability::Immediate => SyncPolicy::Immediate,
        Durability::Batched => SyncPolicy::Batched(BATCH_INTERVAL),
        Durability::None => SyncPolicy::None,
    }
}

fn failed(error: weald_engine::Error) -> Error {
    Error::backend(NAME, error)
}
