//! The backend `cache`: moka, which keeps what is used most and forgets the rest when its budget is full.
//!
//! A key that was forgotten looks as if it had never been written, to the comparison of versions too: an old item may be applied again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use moka::ops::compute::{CompResult, Op};

use crate::changes::{ChangeRing, Changes};
use crate::error::{Error, Result};
use crate::item::{Item, OVERHEAD_MAX, Version};
use crate::reads::Reads;
use crate::registry::Options;
use crate::storage::{Decide, Durability, Limits, Range, Stats, Storage};

const NAME: &str = "cache";
/// What an entry takes beside its key and value, roughly: moka's own nodes and counts.
const ENTRY_OVERHEAD: usize = 200;

pub(crate) struct Cache {
    items: moka::sync::Cache<Vec<u8>, Arc<Item>>,
    memory_bytes: u64,
    ring: ChangeRing,
    reads: Reads,
    closed: AtomicBool,
}

impl Cache {
    pub(crate) fn open(options: &Options) -> Result<Cache> {
        options.know_only(NAME, &[])?;
        let weigh = |key: &Vec<u8>, item: &Arc<Item>| {
            let value_len = item.value.as_ref().map_or(0, Vec::len);
            u32::try_from(key.len() + value_len + OVERHEAD_MAX + ENTRY_OVERHEAD).unwrap_or(u32::MAX)
        };
        Ok(Cache {
            items: moka::sync::Cache::builder()
                .max_capacity(options.memory_bytes)
                .weigher(weigh)
                .build(),
            memory_bytes: options.memory_bytes,
            ring: ChangeRing::new(options.change_capacity),
            reads: Reads::default(),
            closed: AtomicBool::new(false),
        })
    }

    fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            Err(Error::Closed)
        } else {
            Ok(())
        }
    }
}

impl Storage for Cache {
    fn backend(&self) -> &'static str {
        NAME
    }

    fn limits(&self) -> Limits {
        let largest = usize::try_from(self.memory_bytes).unwrap_or(usize::MAX) / 2;
        Limits {
            key_len_max: largest.min(64 << 10),
            value_len_max: largest.min(512 << 20),
            durable: false,
            atomic: false,
            snapshots: false,
            forgets: true,
            shared: false,
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<Item>> {
        self.check_open()?;
        let found = self.items.get(key);
        self.reads.count(found.is_some());
        Ok(found.map(|item| Item::clone(&item)))
    }

    fn update(&self, keys: &[&[u8]], _: Durability, decide: &mut Decide<'_>) -> Result<()> {
        self.check_open()?;
        let limits = self.limits();
        keys.iter().try_for_each(|key| limits.check_key(key))?;
        for (place, key) in keys.iter().enumerate() {
            let result = self.items.entry_by_ref(*key).and_try_compute_with(|old| {
                let old = old.map(|old| Item::clone(old.value()));
                Ok(match decide(place, old)? {
                    None => Op::Nop,
                    Some(item) => {
                        limits.check(key, &item)?;
                        Op::Put(Arc::new(item))
                    }
                })
            });
            if let CompResult::Inserted(entry) | CompResult::ReplacedWith(entry) = result? {
                self.ring.push(key, entry.value().version);
            }
        }
        Ok(())
    }

    fn purge(&self, key: &[u8], version: Version) -> Result<bool> {
        self.check_open()?;
        let result = self.items.entry_by_ref(key).and_compute_with(|old| match old {
            Some(old) if old.value().version == version => Op::Remove,
            _ => Op::Nop,
        });
        Ok(matches!(result, CompResult::Removed(_)))
    }

    /// Sorts first: a hash table has no order. All keys of the range are in memory twice meanwhile.
    fn scan(&self, range: &Range, see: &mut dyn FnMut(&[u8], Item) -> Result<bool>) -> Result<()> {
        self.check_open()?;
        if range.is_empty() {
            return Ok(());
        }
        let sorted: BTreeMap<Arc<Vec<u8>>, Arc<Item>> = self.items.iter().collect();
        for (key, item) in sorted.into_iter().filter(|(key, _)| range.contains(key)) {
            if !see(&key, Item::clone(&item))? {
                break;
            }
        }
        Ok(())
    }

    fn changes(&self, since: u64) -> Changes {
        self.ring.since(since)
    }

    fn clear(&self) -> Result<()> {
        self.check_open()?;
        self.items.invalidate_all();
        self.ring.forget();
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.check_open()
    }

    fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        self.items.invalidate_all();
        Ok(())
    }

    fn stats(&self) -> Result<Stats> {
        self.check_open()?;
        self.items.run_pending_tasks();
        Ok(Stats {
            keys: self.items.entry_count(),
            bytes: self.items.weighted_size(),
            hits: self.reads.hits(),
            misses: self.reads.misses(),
            changes: self.ring.count(),
            ..Stats::default()
        })
    }
}
