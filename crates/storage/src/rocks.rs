//! The backend `rocksdb`, in a folder.

use std::sync::{RwLock, RwLockReadGuard};

use rocksdb::{BlockBasedOptions, DB, IteratorMode, ReadOptions, WriteBatch, WriteOptions};

use crate::changes::{ChangeRing, Changes};
use crate::error::{Error, Result};
use crate::item::{Item, Version};
use crate::reads::Reads;
use crate::registry::Options;
use crate::storage::{Decide, Durability, Limits, Range, Stats, Storage};
use crate::stripes::{Stripes, decisions};

const NAME: &str = "rocksdb";
const KEY_LEN_MAX: usize = 8 << 20;
const VALUE_LEN_MAX: usize = 512 << 20;

pub(crate) struct Rocks {
    db: RwLock<Option<DB>>,
    stripes: Stripes,
    ring: ChangeRing,
    reads: Reads,
}

struct Open<'s>(RwLockReadGuard<'s, Option<DB>>);

impl std::ops::Deref for Open<'_> {
    type Target = DB;

    fn deref(&self) -> &DB {
        self.0.as_ref().expect("checked when this was made")
    }
}

impl Rocks {
    pub(crate) fn open(options: &Options) -> Result<Rocks> {
        options.know_only(NAME, &[])?;
        let path = options.need_dir(NAME)?.join("rocksdb");
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&rocksdb::Cache::new_lru_cache(options.memory_bytes as usize / 2));
        let mut settings = rocksdb::Options::default();
        settings.create_if_missing(true);
        settings.set_block_based_table_factory(&blocks);
        settings.set_recycle_log_file_num(4);
        Ok(Rocks {
            db: RwLock::new(Some(DB::open(&settings, path).map_err(failed)?)),
            stripes: Stripes::new(),
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
}

fn stored(db: &DB, key: &[u8]) -> Result<Option<Item>> {
    let bytes = db.get_pinned(key).map_err(failed)?;
    bytes.map(|bytes| Item::decode(key, &bytes)).transpose()
}

impl Storage for Rocks {
    fn backend(&self) -> &'static str {
        NAME
    }

    fn limits(&self) -> Limits {
        Limits {
            key_len_max: KEY_LEN_MAX,
            value_len_max: VALUE_LEN_MAX,
            durable: true,
            atomic: true,
            snapshots: true,
            forgets: false,
            shared: false,
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<Item>> {
        let item = stored(&*self.db()?, key)?;
        self.reads.count(item.is_some());
        Ok(item)
    }

    fn update(&self, keys: &[&[u8]], durability: Durability, decide: &mut Decide<'_>) -> Result<()> {
        let limits = self.limits();
        keys.iter().try_for_each(|key| limits.check_key(key))?;
        let db = self.db()?;
        let _held = self.stripes.hold(keys.iter().copied());
        let mut batch = WriteBatch::default();
        let decided = decisions(keys, limits, |key| stored(&db, key), decide)?;
        if decided.is_empty() {
            return Ok(());
        }
        for (key, item) in &decided {
            batch.put(key, item.to_bytes());
        }
        let mut how = WriteOptions::default();
        how.set_sync(durability == Durability::Immediate);
        db.write_opt(batch, &how).map_err(failed)?;
        self.ring
            .push_all(decided.iter().map(|(key, item)| (*key, item.version)));
        Ok(())
    }

    fn purge(&self, key: &[u8], version: Version) -> Result<bool> {
        let db = self.db()?;
        let _held = self.stripes.hold([key].into_iter());
        if stored(&db, key)?.is_none_or(|item| item.version != version) {
            return Ok(false);
        }
        db.delete(key).map_err(failed)?;
        Ok(true)
    }

    fn scan(&self, range: &Range, see: &mut dyn FnMut(&[u8], Item) -> Result<bool>) -> Result<()> {
        let db = self.db()?;
        let snapshot = db.snapshot();
        // RocksDB's own bounds are half open: a zero byte more makes them fit.
        let mut how = ReadOptions::default();
        use std::ops::Bound::{Excluded, Included, Unbounded};
        match &range.from {
            Included(key) => how.set_iterate_lower_bound(key.clone()),
            Excluded(key) => how.set_iterate_lower_bound([key.as_slice(), &[0]].concat()),
            Unbounded => {}
        }
        match &range.to {
            Included(key) => how.set_iterate_upper_bound([key.as_slice(), &[0]].concat()),
            Excluded(key) => how.set_iterate_upper_bound(key.clone()),
            Unbounded => {}
        }
        if range.is_empty() {
            return Ok(());
        }
        for pair in snapshot.iterator_opt(IteratorMode::Start, how) {
            let (key, bytes) = pair.map_err(failed)?;
            if !see(&key, Item::decode(&key, &bytes)?)? {
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
        let _held = self.stripes.hold_all();
        let mut last = db.raw_iterator();
        last.seek_to_last();
        if let Some(key) = last.key() {
            let end = [key, &[0]].concat();
            let mut batch = WriteBatch::default();
            batch.delete_range(&[][..], &end[..]);
            db.write(batch).map_err(failed)?;
        }
        last.status().map_err(failed)?;
        self.ring.forget();
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.db()?.flush_wal(true).map_err(failed)
    }

    fn close(&self) -> Result<()> {
        match self
            .db
            .write()
            .expect("nothing panics while it is written")
            .take()
        {
            Some(db) => db.flush_wal(true).map_err(failed),
            None => Ok(()),
        }
    }

    /// The number of keys is RocksDB's own estimate.
    fn stats(&self) -> Result<Stats> {
        let db = self.db()?;
        let property = |name| {
            db.property_int_value(name)
                .map(Option::unwrap_or_default)
                .map_err(failed)
        };
        Ok(Stats {
            keys: property("rocksdb.estimate-num-keys")?,
            bytes: property("rocksdb.total-sst-files-size")? + property("rocksdb.cur-size-all-mem-tables")?,
            hits: self.reads.hits(),
            misses: self.reads.misses(),
            changes: self.ring.count(),
            ..Stats::default()
        })
    }
}

fn failed(error: rocksdb::Error) -> Error {
    Error::backend(NAME, error)
}
