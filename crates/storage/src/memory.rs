//! The backend `memory`: a region of shared memory, private to the process.
//!
//! Readers and writers hold up nobody; a key is compared and replaced in one step by the map itself. Each thread needs a session of its own, so a few
//! are kept at hand.

use std::borrow::Cow;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};

use weald_hot::{Change, Expected, Region, RegionOptions, Session, Swap};

use crate::changes::{ChangeRing, Changes};
use crate::error::{Error, Result};
use crate::item::{Item, OVERHEAD_MAX, Version};
use crate::put::{Held, Put};
use crate::reads::Reads;
use crate::registry::Options;
use crate::sessions::{Lent, SESSIONS_MAX, Sessions};
use crate::storage::{Decide, Durability, Limits, Range, Stats, Storage};

const NAME: &str = "memory";
const VOLUME_BYTES: u64 = 4 << 20;
/// What a value shares its volume with.
const VOLUME_RESERVE: usize = 128 << 10;
const KEY_LEN_MAX: usize = 64 << 10;

pub(crate) struct Memory {
    sessions: Sessions,
    ring: ChangeRing,
    reads: Reads,
    closed: AtomicBool,
}

impl Memory {
    pub(crate) fn open(options: &Options) -> Result<Memory> {
        options.know_only(NAME, &[])?;
        let region = Region::anonymous(&RegionOptions {
            capacity: options.memory_bytes.max(4 * VOLUME_BYTES),
            volume_size: VOLUME_BYTES,
            sessions: SESSIONS_MAX + 2,
            ordered: true,
            ..RegionOptions::default()
        })
        .map_err(failed)?;
        Ok(Memory {
            sessions: Sessions::new(region, NAME),
            ring: ChangeRing::new(options.change_capacity),
            reads: Reads::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// Works with a session, unless the store is closed.
    fn with<T>(&self, work: impl FnMut(&Session) -> weald_hot::Result<T>) -> Result<T> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        self.sessions.with(work).map_err(failed)
    }

    fn update_one(
        &self,
        session: &Lent<'_>,
        key: &[u8],
        mut decide: impl FnMut(Option<Item>) -> Result<Option<Item>>,
    ) -> Result<()> {
        let limits = self.limits();
        let mut outcome = Ok(None);
        let mut work = |session: &Session| {
            session.update(key, |old| {
                outcome = old
                    .map(|old| Item::decode(key, old))
                    .transpose()
                    .and_then(&mut decide)
                    .and_then(|new| {
                        new.map(|item| limits.check(key, &item).map(|()| item))
                            .transpose()
                    });
                match &outcome {
                    Ok(Some(item)) => Change::Put(Cow::Owned(item.to_bytes())),
                    _ => Change::Keep,
                }
            })
        };
        session.with(&mut work).map_err(failed)?;
        if let Some(item) = outcome? {
            self.ring.push(key, item.version);
        }
        Ok(())
    }
}

impl Storage for Memory {
    fn backend(&self) -> &'static str {
        NAME
    }

    fn limits(&self) -> Limits {
        Limits {
            key_len_max: KEY_LEN_MAX,
            value_len_max: VOLUME_BYTES as usize - VOLUME_RESERVE - OVERHEAD_MAX,
            durable: false,
            atomic: false,
            snapshots: false,
            forgets: false,
            shared: false,
        }
    }

    fn get(&self, key: &[u8]) -> Result<Option<Item>> {
        if key.len() > KEY_LEN_MAX {
            return Ok(None);
        }
        let found = self.with(|session| session.get(key))?;
        self.reads.count(found.is_some());
        found.map(|bytes| Item::decode(key, &bytes)).transpose()
    }

    fn update(&self, keys: &[&[u8]], _: Durability, decide: &mut Decide<'_>) -> Result<()> {
        let limits = self.limits();
        keys.iter().try_for_each(|key| limits.check_key(key))?;
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        let session = self.sessions.lend().map_err(failed)?;
        keys.iter()
            .enumerate()
            .try_for_each(|(place, key)| self.update_one(&session, key, |old| decide(place, old)))
    }

    fn put(&self, puts: &[Put<'_>], _: Durability) -> Result<Vec<Option<Held>>> {
        let limits = self.limits();
        puts.iter().try_for_each(|put| limits.check_key(put.key))?;
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        let session = self.sessions.lend().map_err(failed)?;
        let mut encoded = Vec::new();
        let mut put_one = |put: &Put<'_>| {
            limits.check_value(put.value.map_or(0, <[u8]>::len))?;
            encoded.clear();
            put.encode(&mut encoded);
            let mut held = Ok(None);
            let mut work = |session: &Session| {
                session.update(put.key, |old| {
                    held = old.map(|old| Held::decode(put.key, old)).transpose();
                    match &held {
                        Ok(held) if put.replaces(held.as_ref()) => Change::Put(Cow::Borrowed(&encoded)),
                        _ => Change::Keep,
                    }
                })
            };
            if session.with(&mut work).map_err(failed)? {
                self.ring.push(put.key, put.version);
            }
            held
        };
        puts.iter().map(&mut put_one).collect()
    }

    fn purge(&self, key: &[u8], version: Version) -> Result<bool> {
        if key.len() > KEY_LEN_MAX {
            return Ok(false);
        }
        let Some(bytes) = self.with(|session| session.get(key))? else {
            return Ok(false);
        };
        if Item::decode(key, &bytes)?.version != version {
            return Ok(false);
        }
        let swap = self.with(|session| session.compare_and_swap(key, Expected::Value(&bytes), None))?;
        Ok(swap == Swap::Done)
    }

    fn scan(&self, range: &Range, see: &mut dyn FnMut(&[u8], Item) -> Result<bool>) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        // A session for each page, so that a slow reader keeps none to itself.
        let mut from = range.from.clone();
        loop {
            let bounds = (
                from.as_ref().map(Vec::as_slice),
                range.to.as_ref().map(Vec::as_slice),
            );
            let page = self.with(|session| {
                session
                    .range(bounds)?
                    .take(PAGE)
                    .collect::<weald_hot::Result<Vec<_>>>()
            })?;
            for (key, bytes) in &page {
                if !see(key, Item::decode(key, bytes)?)? {
                    return Ok(());
                }
            }
            if page.len() < PAGE {
                return Ok(());
            }
            from = page
                .into_iter()
                .next_back()
                .map_or(Bound::Unbounded, |(key, _)| Bound::Excluded(key));
        }
    }

    fn changes(&self, since: u64) -> Changes {
        self.ring.since(since)
    }

    fn clear(&self) -> Result<()> {
        let mut keys = Vec::new();
        self.scan(&Range::ALL, &mut |key, _| {
            keys.push(key.to_vec());
            Ok(true)
        })?;
        for key in keys {
            self.with(|session| session.remove(&key))?;
        }
        self.ring.forget();
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.with(|_| Ok(()))
    }

    fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        Ok(())
    }

    fn stats(&self) -> Result<Stats> {
        let info = self.sessions.region().info().map_err(failed)?;
        Ok(Stats {
            keys: self.with(Session::len)?,
            bytes: (info.volumes - info.volumes_free) * info.volume_size,
            hits: self.reads.hits(),
            misses: self.reads.misses(),
            changes: self.ring.count(),
            ..Stats::default()
        })
    }
}

/// Entries of a scan that are read at once: what nodes read of a partition at a time, and the one that tells that there is more.
const PAGE: usize = 256 + 1;

fn failed(error: weald_hot::Error) -> Error {
    Error::backend(NAME, error)
}
