//! The interface itself.

use std::ops::{Bound, RangeBounds};

use crate::changes::Changes;
use crate::error::{Error, Result};
use crate::item::{Entry, Item, Outcome, Version};
use crate::put::{Held, Put};

/// When a write is safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// On the disk before the call returns, where the backend has one.
    #[default]
    Immediate,
    /// Soon: what the backend's own timer says.
    Batched,
    /// When the system pleases.
    None,
}

/// What a backend takes and promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest key.
    pub key_len_max: usize,
    /// The longest value.
    pub value_len_max: usize,
    /// Whether what was written with [`Durability::Immediate`] survives a power cut.
    pub durable: bool,
    /// Whether a batch is applied whole or not at all, whatever happens meanwhile.
    pub atomic: bool,
    /// Whether a scan shows one moment; otherwise each entry as it was when the scan came to it.
    pub snapshots: bool,
    /// Whether it may forget entries when it is full.
    pub forgets: bool,
    /// Whether others may change it behind this handle's back, as with servers that run already.
    pub shared: bool,
}

impl Limits {
    /// Refuses a key that is too long.
    pub fn check_key(&self, key: &[u8]) -> Result<()> {
        self.check_len("key", key.len(), self.key_len_max)
    }

    /// Refuses what is too large. A note counts with the value.
    pub fn check(&self, key: &[u8], item: &Item) -> Result<()> {
        self.check_key(key)?;
        let value_len = item.note.len() + item.value.as_ref().map_or(0, Vec::len);
        self.check_value(value_len)
    }

    /// Refuses a value that is too long.
    pub fn check_value(&self, value_len: usize) -> Result<()> {
        self.check_len("value", value_len, self.value_len_max)
    }

    fn check_len(&self, what: &'static str, size: usize, limit: usize) -> Result<()> {
        if size <= limit {
            return Ok(());
        }
        Err(Error::TooLarge {
            what,
            size: size as u64,
            limit: limit as u64,
        })
    }
}

/// A range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// Where it begins.
    pub from: Bound<Vec<u8>>,
    /// Where it ends.
    pub to: Bound<Vec<u8>>,
}

impl Range {
    /// All keys.
    pub const ALL: Range = Range {
        from: Bound::Unbounded,
        to: Bound::Unbounded,
    };

    /// The keys after this one.
    pub fn after(key: &[u8]) -> Range {
        Range {
            from: Bound::Excluded(key.to_vec()),
            to: Bound::Unbounded,
        }
    }

    /// The keys that begin with these bytes.
    pub fn prefix(prefix: &[u8]) -> Range {
        let mut end = prefix.to_vec();
        while end.last() == Some(&0xff) {
            end.pop();
        }
        let to = match end.last_mut() {
            None => Bound::Unbounded,
            Some(last) => {
                *last += 1;
                Bound::Excluded(end)
            }
        };
        Range {
            from: Bound::Included(prefix.to_vec()),
            to,
        }
    }

    /// Whether no key can lie in it. Some stores refuse such a range, or panic at it.
    pub fn is_empty(&self) -> bool {
        match (&self.from, &self.to) {
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to) | Bound::Included(to)) => {
                from >= to
            }
            _ => false,
        }
    }

    /// Whether a key lies in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        RangeBounds::<[u8]>::contains(&self.bounds(), key)
    }

    /// Its ends, borrowed.
    pub fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (
            self.from.as_ref().map(Vec::as_slice),
            self.to.as_ref().map(Vec::as_slice),
        )
    }
}

/// What a store knows about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Keys, deleted ones that are still remembered included; an estimate where the backend would have to read them all.
    pub keys: u64,
    /// Bytes that it takes, on the disk or in memory.
    pub bytes: u64,
    /// Reads that found an item.
    pub hits: u64,
    /// Those of them that a [tier](crate::Options::hot_bytes) before the backend answered.
    pub tier_hits: u64,
    /// Memory that the tier uses.
    pub tier_bytes: u64,
    /// Reads that found none.
    pub misses: u64,
    /// Changes made since it was opened.
    pub changes: u64,
}

/// What [`Storage::update`] asks: what the key at this place of the list holds from now on, given what it holds. An error ends the update, with nothing
/// of the call done where batches are atomic.
pub type Decide<'d> = dyn FnMut(usize, Option<Item>) -> Result<Option<Item>> + 'd;

/// A store of versioned items. Calls may come from any thread, at any time.
pub trait Storage: Send + Sync {
    /// The name of the backend.
    fn backend(&self) -> &'static str;

    /// What it takes and promises.
    fn limits(&self) -> Limits;

    /// What the key holds, a tombstone included.
    fn get(&self, key: &[u8]) -> Result<Option<Item>>;

    /// What each of the keys holds.
    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Item>>> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    /// Lets `decide` see what each key holds and say what it holds from then on, `None` to leave it. Nobody else can change the key in between.
    /// When the call returns the writes are visible to everybody and as durable as asked. `decide` is called with the place of the key in
    /// the list, in order; a key that comes again holds what was decided for it before. For one place it may be called several times, where
    /// others were quicker; the last answer counts.
    fn update(&self, keys: &[&[u8]], durability: Durability, decide: &mut Decide<'_>) -> Result<()>;

    /// Makes plain writes: each [replaces](Put::replaces) what its key holds or leaves it. Says what was held before, in the order of the list. It is an
    /// [`update`](Storage::update) in all else; a backend may do without reading values.
    fn put(&self, puts: &[Put<'_>], durability: Durability) -> Result<Vec<Option<Held>>> {
        let keys: Vec<&[u8]> = puts.iter().map(|put| put.key).collect();
        let mut before = vec![None; puts.len()];
        self.update(&keys, durability, &mut |place, old| {
            let held = old.map(|item| Held {
                version: item.version,
                note: item.note,
            });
            let replaces = puts[place].replaces(held.as_ref());
            before[place] = held;
            Ok(replaces.then(|| puts[place].to_item()))
        })?;
        Ok(before)
    }

    /// Writes each entry that is newer than what its key holds, and says for each whether it was. As visible and durable as after an
    /// [`update`](Storage::update).
    fn apply(&self, entries: &[Entry], durability: Durability) -> Result<Vec<Outcome>> {
        let limits = self.limits();
        entries
            .iter()
            .try_for_each(|entry| limits.check(&entry.key, &entry.item))?;
        let keys: Vec<&[u8]> = entries.iter().map(|entry| entry.key.as_slice()).collect();
        let mut outcomes = vec![Outcome::Stale; entries.len()];
        self.update(&keys, durability, &mut |place, old| {
            let item = &entries[place].item;
            let wins = old.is_none_or(|old| item.supersedes(&old));
            outcomes[place] = if wins { Outcome::Applied } else { Outcome::Stale };
            Ok(wins.then(|| item.clone()))
        })?;
        Ok(outcomes)
    }

    /// Writes one item, if it is newer.
    fn set(&self, key: &[u8], item: Item) -> Result<Outcome> {
        self.apply(&[Entry::new(key, item)], Durability::Immediate)
            .map(|outcomes| outcomes[0])
    }

    /// Deletes a key as of that version: leaves a tombstone, if it is newer than what is there.
    fn delete(&self, key: &[u8], version: Version) -> Result<Outcome> {
        self.set(key, Item::tombstone(version))
    }

    /// Forgets the key altogether, if what it holds has exactly that version. For tombstones that everybody has seen, and for keys that moved
    /// away.
    fn purge(&self, key: &[u8], version: Version) -> Result<bool>;

    /// Shows the entries of a range in the order of their keys, until `see` answers `false`.
    fn scan(&self, range: &Range, see: &mut dyn FnMut(&[u8], Item) -> Result<bool>) -> Result<()>;

    /// Shows everything there is, tombstones included: what a replica needs to become a copy. Feed it to [`apply`](Storage::apply) of another store.
    fn snapshot(&self, see: &mut dyn FnMut(Entry) -> Result<()>) -> Result<()> {
        self.scan(&Range::ALL, &mut |key, item| {
            see(Entry::new(key, item)).map(|()| true)
        })
    }

    /// What changed since, as far as it is still remembered.
    fn changes(&self, since: u64) -> Changes;

    /// Forgets everything.
    fn clear(&self) -> Result<()>;

    /// Makes everything durable that was written before.
    fn flush(&self) -> Result<()>;

    /// Flushes and gives up what the store holds; later calls answer [`Error::Closed`].
    fn close(&self) -> Result<()>;

    /// Counts and sizes.
    fn stats(&self) -> Result<Stats>;
}
