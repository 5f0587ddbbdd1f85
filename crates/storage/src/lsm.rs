//! The backend `lsm`: fjall, a log-structured merge tree, in a folder.
//!
//! fjall has no empty key, so that every key is stored behind one byte.

use std::sync::RwLock;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};

use crate::changes::{ChangeRing, Changes};
use crate::error::{Error, Result};
use crate::item::{Item, Version};
use crate::reads::Reads;
use crate::registry::Options;
use crate::storage::{Decide, Durability, Limits, Range, Stats, Storage};
use crate::stripes::{Stripes, decisions};

const NAME: &str = "lsm";
const KEY_LEN_MAX: usize = u16::MAX as usize - 1;
/// What stands before every key.
const MARK: u8 = b'k';
const VALUE_LEN_MAX: usize = 512 << 20;

pub(crate) struct Lsm {
    open: RwLock<Option<Open>>,
    stripes: Stripes,
    ring: ChangeRing,
    reads: Reads,
}

#[derive(Clone)]
struct Open {
    db: Database,
    items: Keyspace,
}

impl Lsm {
    pub(crate) fn open(options: &Options) -> Result<Lsm> {
        options.know_only(NAME, &[])?;
        let path = options.need_dir(NAME)?.join("lsm");
        let db = Database::builder(path)
            .cache_size(options.memory_bytes / 2)
            .open()
            .map_err(failed)?;
        let items = db
            .keyspace("items", KeyspaceCreateOptions::default)
            .map_err(failed)?;
        Ok(Lsm {
            open: RwLock::new(Some(Open { db, items })),
            stripes: Stripes::new(),
            ring: ChangeRing::new(options.change_capacity),
            reads: Reads::default(),
        })
    }

    fn store(&self) -> Result<Open> {
        let open = self.open.read().expect("nothing panics while it is written");
        open.clone().ok_or(Error::Closed)
    }
}

fn marked(key: &[u8]) -> Vec<u8> {
    [&[MARK], key].concat()
}

fn stored(items: &Keyspace, key: &[u8]) -> Result<Option<Item>> {
    if key.len() > KEY_LEN_MAX {
        return Ok(None);
    }
    let bytes = items.get(marked(key)).map_err(failed)?;
    bytes.map(|bytes| Item::decode(key, &bytes)).transpose()
}

impl Storage for Lsm {
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
        let item = stored(&self.store()?.items, key)?;
        self.reads.count(item.is_some());
        Ok(item)
    }

    fn update(&self, keys: &[&[u8]], durability: Durability, decide: &mut Decide<'_>) -> Result<()> {
        let limits = self.limits();
        keys.iter().try_for_each(|key| limits.check_key(key))?;
        let Open { db, items } = self.store()?;
        let _held = self.stripes.hold(keys.iter().copied());
        let mut batch = db.batch().durability(Some(mode(durability)));
        let decided = decisions(keys, limits, |key| stored(&items, key), decide)?;
        if decided.is_empty() {
            return Ok(());
        }
        for (key, item) in &decided {
            batch.insert(&items, marked(key), item.to_bytes());
        }
        batch.commit().map_err(failed)?;
        self.ring
            .push_all(decided.iter().map(|(key, item)| (*key, item.version)));
        Ok(())
    }

    fn purge(&self, key: &[u8], version: Version) -> Result<bool> {
        let Open { items, .. } = self.store()?;
        let _held = self.stripes.hold([key].into_iter());
        if stored(&items, key)?.is_none_or(|item| item.version != version) {
            return Ok(false);
        }
        items.remove(marked(key)).map_err(failed)?;
        Ok(true)
    }

    fn scan(&self, range: &Range, see: &mut dyn FnMut(&[u8], Item) -> Result<bool>) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let Open { db, items } = self.store()?;
        let bounds = (
            range.from.as_ref().map(|key| marked(key)),
            range.to.as_ref().map(|key| marked(key)),
        );
        for guard in db.snapshot().range::<Vec<u8>, _>(&items, bounds) {
            let (key, bytes) = guard.into_inner().map_err(failed)?;
            let key = &key[1..];
            if !see(key, Item::decode(key, &bytes)?)? {
                break;
            }
        }
        Ok(())
    }

    fn changes(&self, since: u64) -> Changes {
        self.ring.since(since)
    }

    fn clear(&self) -> Result<()> {
        let Open { db, items } = self.store()?;
        let _held = self.stripes.hold_all();
        items.clear().map_err(failed)?;
        db.persist(PersistMode::SyncAll).map_err(failed)?;
        self.ring.forget();
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.store()?.db.persist(PersistMode::SyncAll).map_err(failed)
    }

    fn close(&self) -> Result<()> {
        match self
            .open
            .write()
            .expect("nothing panics while it is written")
            .take()
        {
            Some(open) => open.db.persist(PersistMode::SyncAll).map_err(failed),
            None => Ok(()),
        }
    }

    fn stats(&self) -> Result<Stats> {
        let Open { db, items } = self.store()?;
        Ok(Stats {
            keys: items.approximate_len() as u64,
            bytes: db.disk_space().map_err(failed)?,
            hits: self.reads.hits(),
            misses: self.reads.misses(),
            changes: self.ring.count(),
            ..Stats::default()
        })
    }
}

fn mode(durability: Durability) -> PersistMode {
    match durability {
        Durability::Immediate => PersistMode::SyncData,
        Durability::Batched | Durability::None => PersistMode::Buffer,
    }
}

fn failed(error: fjall::Error) -> Error {
    Error::backend(NAME, error)
}
