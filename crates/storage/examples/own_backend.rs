//! A backend of one's own, with nothing of Weald changed: a sorted map, opened by name, held against the suite that all backends pass.
//!
//! ```console
//! $ cargo run -p weald-storage --example own_backend
//! ```

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use weald_storage::{
    ChangeRing, Changes, Decide, Durability, Error, Item, Limits, Options, Range, Registry, Result, Stats,
    Storage, Version, conformance,
};

type Map = BTreeMap<Vec<u8>, Item>;

/// Keeps what it is given as long as it is open.
struct Sorted {
    /// `None` once it is closed.
    map: RwLock<Option<Map>>,
    ring: ChangeRing,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Sorted {
    fn open(options: &Options) -> Result<Sorted> {
        Ok(Sorted {
            map: RwLock::new(Some(Map::new())),
            ring: ChangeRing::new(options.change_capacity),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        })
    }

    fn lock(&self) -> RwLockWriteGuard<'_, Option<Map>> {
        self.map.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, read: impl FnOnce(&Map) -> T) -> Result<T> {
        let map: RwLockReadGuard<'_, Option<Map>> = self.map.read().unwrap_or_else(PoisonError::into_inner);
        map.as_ref().map(read).ok_or(Error::Closed)
    }
}

impl Storage for Sorted {
    fn backend(&self) -> &'static str {
        "sorted"
    }

    fn limits(&self) -> Limits {
        Limits {
            key_len_max: 1 << 16,
            value_len_max: 1 << 20,
            durable: false,
            atomic: true,
            snapshots: true,
            forgets: false,
            shared: false,
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<Item>> {
        let found = self.read(|map| map.get(key).cloned())?;
        let count = if found.is_some() { &self.hits } else { &self.misses };
        count.fetch_add(1, Ordering::Relaxed);
        Ok(found)
    }

    fn update(&self, keys: &[&[u8]], _: Durability, decide: &mut Decide<'_>) -> Result<()> {
        let limits = self.limits();
        keys.iter().try_for_each(|key| limits.check_key(key))?;
        let mut map = self.lock();
        let map = map.as_mut().ok_or(Error::Closed)?;
        // All or nothing: an error on the way leaves the map as it was.
        let mut decided = Map::new();
        for (place, &key) in keys.iter().enumerate() {
            let old = decided.get(key).or_else(|| map.get(key)).cloned();
            if let Some(item) = decide(place, old)? {
                limits.check(key, &item)?;
                decided.insert(key.to_vec(), item);
            }
        }
        let changed: Vec<(Vec<u8>, Version)> = decided
            .iter()
            .map(|(key, item)| (key.clone(), item.version))
            .collect();
        map.extend(decided);
        // While nobody else can write, so that changes of a key are told in their order.
        self.ring
            .push_all(changed.iter().map(|(key, version)| (&key[..], *version)));
        Ok(())
    }

    fn purge(&self, key: &[u8], version: Version) -> Result<bool> {
        let mut map = self.lock();
        let map = map.as_mut().ok_or(Error::Closed)?;
        let there = map.get(key).is_some_and(|item| item.version == version);
        Ok(there && map.remove(key).is_some())
    }

    fn scan(&self, range: &Range, see: &mut dyn FnMut(&[u8], Item) -> Result<bool>) -> Result<()> {
        if range.is_empty() {
            return self.read(|_| ());
        }
        // Copied, so that `see` may write.
        let found: Vec<(Vec<u8>, Item)> = self.read(|map| {
            let entries = map.range::<[u8], _>(range.bounds());
            entries.map(|(key, item)| (key.clone(), item.clone())).collect()
        })?;
        for (key, item) in found {
            if !see(&key, item)? {
                break;
            }
        }
        Ok(())
    }

    fn changes(&self, since: u64) -> Changes {
        self.ring.since(since)
    }

    fn clear(&self) -> Result<()> {
        self.lock().as_mut().ok_or(Error::Closed)?.clear();
        self.ring.forget();
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.read(|_| ())
    }

    fn close(&self) -> Result<()> {
        *self.lock() = None;
        Ok(())
    }

    fn stats(&self) -> Result<Stats> {
        let keys = self.read(|map| map.len() as u64)?;
        Ok(Stats {
            keys,
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            changes: self.ring.count(),
            ..Stats::default()
        })
    }
}

pub(crate) fn main() -> Result<(), Box<dyn StdError>> {
    let mut registry = Registry::compiled();
    registry.register("sorted", |options| Ok(Arc::new(Sorted::open(options)?)));
    let open = || {
        registry
            .open("sorted", &Options::new())
            .expect("it needs no options")
    };
    conformance::run(open);

    // With the tier of shared memory before it, as any backend may have.
    let tiered = Options {
        hot_bytes: 64 << 20,
        ..Options::new()
    };
    let store = registry.open("sorted", &tiered)?;
    store.set(b"colour", Item::value(Version::new(1, 1), "green"))?;
    for _ in 0..3 {
        let item = store.get(b"colour")?.ok_or("it was written")?;
        println!(
            "{} {}",
            item.version,
            String::from_utf8_lossy(&item.value.unwrap_or_default())
        );
    }
    println!("the backend of the name {} conforms", store.backend());
    Ok(())
}
