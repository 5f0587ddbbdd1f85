//! Keys and their values, as commands see them, on the transaction of a tick.
//!
//! Each database of Redis is four buckets: `keys` has a record for each key, `items` the elements of collections that are too large for it, `expiry` who
//! expires when, `garbage` which elements belong to nothing any more. See `layout` for their keys, `record` for the record of a key.
//!
//! ```text
//! commands ─► dict, zset, list ─► Entry: read, changed, saved
//!                │  └─ ranks, sample          │
//!                └────── items ───────────────┴─► Tick ─► weald-engine
//! ```
//!
//! A collection begins packed into its key's record, and is spread over records of its own once it is too large for that. Deleting it only drops
//! the record: its elements go later, in steps.

mod dict;
mod items;
mod layout;
mod list;
mod lookups;
mod open;
mod packed;
mod ranks;
mod record;
mod sample;
mod scan;
mod sweep;
#[cfg(test)]
mod tests;
mod uses;
mod zset;

use std::cell::Cell;

use weald_engine::{Bucket, BucketId, Opened, Writable, WriteTx};

use crate::error::CommandError;
use crate::tick::Tick;

pub(crate) use list::Slice;
pub(crate) use lookups::Lookups;
pub(crate) use record::{Entry, Kind, Record};
pub(crate) use uses::{Counting, Uses};
pub(crate) use zset::{Order, Scored, Walk, score_in};

use layout::RawKey;
use record::{Body, Value, Was};

type Result<T> = std::result::Result<T, CommandError>;

/// Up to which sizes `OBJECT ENCODING` calls a collection a listpack or an intset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Encodings {
    pub(crate) hash_entries: u64,
    pub(crate) hash_value: usize,
    pub(crate) set_entries: u64,
    pub(crate) set_value: usize,
    pub(crate) intset_entries: u64,
    pub(crate) zset_entries: u64,
    pub(crate) zset_value: usize,
    /// As `list-max-listpack-size`: elements, or from -1 to -5 for 4 to 64 KiB.
    pub(crate) list_size: i64,
}

impl Default for Encodings {
    fn default() -> Encodings {
        Encodings {
            hash_entries: 128,
            hash_value: 64,
            set_entries: 128,
            set_value: 64,
            intset_entries: 512,
            zset_entries: 128,
            zset_value: 64,
            list_size: -2,
        }
    }
}

/// The buckets of one database.
#[derive(Clone, Copy, Debug)]
struct Buckets {
    keys: BucketId,
    items: BucketId,
    expiry: BucketId,
    garbage: BucketId,
}

/// Keys and their values in all databases. It lives as long as the server; its transaction is that of the tick.
pub(crate) struct Keyspace<'db> {
    tick: Tick<'db>,
    /// The time in milliseconds since 1970 by which keys expire: of the command that is being run.
    pub(crate) now_ms: u64,
    pub(crate) encodings: Encodings,
    /// For commands that choose at random.
    pub(crate) random: fastrand::Rng,
    seed: u64,
    meta: BucketId,
    buckets: Vec<Buckets>,
    /// The bucket that was read last: mostly it is the next one too.
    last: Cell<Option<Opened>>,
    /// Which buckets each database has: `SWAPDB` changes it.
    order: Vec<usize>,
    order_changed: bool,
    next_id: u64,
    /// Ids below this one are known to the file as used.
    ids_reserved: u64,
    lapsed: Vec<(usize, Vec<u8>)>,
    pub(crate) lookups: Lookups,
    pub(crate) uses: Uses,
    scratch: Vec<u8>,
}

/// When a key that is set expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    Never,
    /// As it did.
    Kept,
    /// In milliseconds since 1970.
    At(u64),
}

impl<'db> Keyspace<'db> {
    /// The transaction.
    pub(crate) fn tick(&mut self) -> &mut Tick<'db> {
        &mut self.tick
    }

    /// For reading what is not the keyspace's.
    pub(crate) fn root(&self) -> Bucket<'_> {
        self.tick.root()
    }

    /// For writing what is not the keyspace's.
    pub(crate) fn writer(&mut self) -> weald_engine::Result<&mut WriteTx<'db>> {
        self.tick.writer()
    }

    fn of(&self, db: usize) -> &Buckets {
        &self.buckets[self.order[db]]
    }

    fn reader(&self, bucket: BucketId) -> Result<Bucket<'_>> {
        let root = self.tick.root();
        let last = self.last.get().filter(|last| last.id() == bucket);
        if let Some(opened) = last.and_then(|last| root.reopen(&last)) {
            return Ok(opened);
        }
        let found = root.bucket_by_id(bucket)?;
        self.last.set(Some(found.opened()));
        Ok(found)
    }

    fn put(&mut self, bucket: BucketId, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.tick.writer()?.bucket_mut_by_id(bucket).put(key, value)?)
    }

    fn discard(&mut self, bucket: BucketId, key: &[u8]) -> Result<()> {
        Ok(self.tick.writer()?.bucket_mut_by_id(bucket).discard(key)?)
    }

    /// How many databases there are.
    pub(crate) fn databases(&self) -> usize {
        self.order.len()
    }

    /// Keys of a database, those included that have expired and were not collected yet.
    pub(crate) fn len(&self, db: usize) -> Result<u64> {
        Ok(self.reader(self.of(db).keys)?.len()?)
    }

    /// Keys of a database that expire.
    pub(crate) fn expiring(&self, db: usize) -> Result<u64> {
        Ok(self.reader(self.of(db).expiry)?.len()?)
    }

    fn raw(&self, key: &[u8]) -> RawKey {
        layout::key(key, self.seed)
    }

    /// The record of a key, lapsed or not.
    fn stored(&self, db: usize, raw: &[u8]) -> Result<Option<Record<'_>>> {
        match self.reader(self.of(db).keys)?.get_ref(raw)? {
            Some(bytes) => Record::decode(bytes).map(Some),
            None => Ok(None),
        }
    }

    /// The record of a key.
    pub(crate) fn find(&self, db: usize, key: &[u8]) -> Result<Option<Record<'_>>> {
        let raw = self.raw(key);
        match self.stored(db, &raw)? {
            Some(record) if !record.is_lapsed(self.now_ms) => {
                self.lookups.hit();
                self.uses.used(hash_in(db, &raw), self.now_ms);
                return Ok(Some(record));
            }
            Some(record) => self.lookups.lapsed(db, &expiry_key(record.expires, &raw)),
            None => {}
        }
        self.lookups.missed(db, key);
        Ok(None)
    }

    /// The record of a key that is to be of this type.
    pub(crate) fn find_kind(&self, db: usize, key: &[u8], kind: Kind) -> Result<Option<Record<'_>>> {
        match self.find(db, key)? {
            Some(record) if record.kind != kind => Err(CommandError::wrong_type()),
            found => Ok(found),
        }
    }

    /// The value of a string.
    pub(crate) fn string(&self, db: usize, key: &[u8]) -> Result<Option<&[u8]>> {
        self.find(db, key)?.map(|record| record.string()).transpose()
    }

    /// The type of a key.
    pub(crate) fn kind(&self, db: usize, key: &[u8]) -> Result<Option<Kind>> {
        Ok(self.find(db, key)?.map(|record| record.kind))
    }

    /// A key for changing it; one of another type is an error.
    pub(crate) fn entry(&self, db: usize, key: &[u8], kind: Kind) -> Result<Option<Entry>> {
        match self.any_entry(db, key)? {
            Some(entry) if entry.kind != kind => Err(CommandError::wrong_type()),
            found => Ok(found),
        }
    }

    /// A key for changing it, whatever its type.
    pub(crate) fn any_entry(&self, db: usize, key: &[u8]) -> Result<Option<Entry>> {
        let raw = self.raw(key);
        Ok(match self.stored(db, &raw)? {
            Some(record) if !record.is_lapsed(self.now_ms) => {
                let was = Was::of(&record, self.now_ms);
                Some(Entry::of(db, raw, &record, was))
            }
            _ => None,
        })
    }

    /// A key for changing it, empty if it is not there; one of another type is an error.
    pub(crate) fn entry_or_new(&self, db: usize, key: &[u8], kind: Kind) -> Result<Entry> {
        match self.entry(db, key, kind)? {
            Some(entry) => Ok(entry),
            None => self.fresh_entry(db, key, kind),
        }
    }

    /// An empty value for a key, which replaces what is there when it is saved.
    pub(crate) fn fresh_entry(&self, db: usize, key: &[u8], kind: Kind) -> Result<Entry> {
        let raw = self.raw(key);
        let was = match self.stored(db, &raw)? {
            Some(record) => Was::of(&record, self.now_ms),
            None => Was::default(),
        };
        Ok(Entry::empty(db, key, raw, kind, was))
    }

    /// Makes a changed key what the database has. One without elements is deleted; whether it is still there.
    pub(crate) fn save(&mut self, entry: &Entry) -> Result<bool> {
        let record = entry.record();
        if entry.kind != Kind::String && record.count() == 0 {
            self.take_away(entry.db, &entry.raw, entry.was, record.id())?;
            return Ok(false);
        }
        self.write(entry.db, &entry.raw, &record, entry.was)?;
        Ok(true)
    }

    /// Sets a key to a string.
    pub(crate) fn set_string(&mut self, db: usize, key: &[u8], value: &[u8], expiry: Expiry) -> Result<()> {
        self.put_string(db, key, value, expiry, 0)
    }

    /// Sets a key to a string that was worked out bit by bit or changed in place, which Redis keeps as it is, whatever it says.
    pub(crate) fn set_raw_string(
        &mut self,
        db: usize,
        key: &[u8],
        value: &[u8],
        expiry: Expiry,
    ) -> Result<()> {
        self.put_string(db, key, value, expiry, record::WIDE)
    }

    /// Sets a key to a string that was changed in place, and expires when it did.
    pub(crate) fn change_string(&mut self, db: usize, key: &[u8], value: &[u8]) -> Result<()> {
        self.set_raw_string(db, key, value, Expiry::Kept)
    }

    fn put_string(&mut self, db: usize, key: &[u8], value: &[u8], expiry: Expiry, flags: u8) -> Result<()> {
        let raw = self.raw(key);
        let was = match self.stored(db, &raw)? {
            Some(record) => Was::of(&record, self.now_ms),
            None => Was::default(),
        };
        let expires = match expiry {
            Expiry::Never => 0,
            Expiry::Kept if was.lapsed => 0,
            Expiry::Kept => was.expires,
            Expiry::At(at) => at,
        };
        let long_key = layout::is_long(key).then_some(key);
        let record = Record {
            kind: Kind::String,
            flags,
            expires,
            long_key,
            body: Body::String(value),
        };
        self.write(db, &raw, &record, was)
    }

    fn write<'r>(&mut self, db: usize, raw: &'r [u8], record: &Record<'r>, was: Was) -> Result<()> {
        if was.lapsed {
            self.note_lapsed(db, raw)?;
        }
        if self.lookups.notes_new() && (was.lapsed || !was.exists) {
            self.lookups.made(db, record.key(raw));
        }
        self.uses.used(hash_in(db, raw), self.now_ms);
        let buckets = *self.of(db);
        if was.expires != record.expires {
            if was.expires != 0 {
                self.discard(buckets.expiry, &expiry_key(was.expires, raw))?;
            }
            if record.expires != 0 {
                self.put(buckets.expiry, &expiry_key(record.expires, raw), b"")?;
            }
        }
        if let Some(id) = was.id.filter(|id| record.id() != Some(*id)) {
            self.put(buckets.garbage, &id.to_be_bytes(), b"")?;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        record.encode(&mut scratch);
        let put = self.put(buckets.keys, raw, &scratch);
        if scratch.capacity() <= 1 << 16 {
            self.scratch = scratch;
        }
        put
    }

    /// Takes a record out of the database; its elements, and those under `id`, become garbage.
    fn take_away(&mut self, db: usize, raw: &[u8], was: Was, id: Option<u64>) -> Result<()> {
        let buckets = *self.of(db);
        if was.lapsed {
            self.note_lapsed(db, raw)?;
        }
        if was.exists {
            self.discard(buckets.keys, raw)?;
        }
        if was.expires != 0 {
            self.discard(buckets.expiry, &expiry_key(was.expires, raw))?;
        }
        for id in was.id.into_iter().chain(id.filter(|id| was.id != Some(*id))) {
            self.put(buckets.garbage, &id.to_be_bytes(), b"")?;
        }
        Ok(())
    }

    /// How many seconds ago a key was last used, as far as that is remembered.
    pub(crate) fn idle_s(&self, db: usize, key: &[u8]) -> u64 {
        self.uses.idle_s(hash_in(db, &self.raw(key)), self.now_ms)
    }

    /// A logarithm of how often a key is used, as far as that is remembered.
    pub(crate) fn use_count(&self, db: usize, key: &[u8]) -> u8 {
        self.uses.count(hash_in(db, &self.raw(key)), self.now_ms)
    }

    /// Says that a key was last used so long ago, or how often it is used.
    pub(crate) fn set_use(&self, db: usize, key: &[u8], idle_s: u64, count: Option<u8>) {
        let last_ms = self.now_ms.saturating_sub(idle_s.saturating_mul(1000));
        self.uses.set(hash_in(db, &self.raw(key)), last_ms, count);
    }

    /// Deletes a key; whether it was there.
    pub(crate) fn delete(&mut self, db: usize, key: &[u8]) -> Result<bool> {
        let raw = self.raw(key);
        let Some(record) = self.stored(db, &raw)? else {
            return Ok(false);
        };
        let was = Was::of(&record, self.now_ms);
        self.take_away(db, &raw, was, None)?;
        Ok(!was.lapsed)
    }

    /// Sets when a key expires, 0 for never; whether it is there.
    pub(crate) fn expire_at(&mut self, db: usize, key: &[u8], at: u64) -> Result<bool> {
        let Some(mut entry) = self.any_entry(db, key)? else {
            return Ok(false);
        };
        entry.expires = at;
        self.write(db, &entry.raw, &entry.record(), entry.was)?;
        Ok(true)
    }

    /// Gives the value of a key to another, elements included, which do not move; what that one had is gone. Both must be in the same database, and the first there.
    pub(crate) fn rename(&mut self, db: usize, from: &[u8], to: &[u8]) -> Result<()> {
        let Some(entry) = self.any_entry(db, from)? else {
            return Err(CommandError::no_such_key());
        };
        let (raw, was) = (entry.raw.clone(), entry.was);
        self.take_away(db, &raw, Was { id: None, ..was }, None)?;
        let mut renamed = self.fresh_entry(db, to, entry.kind)?;
        renamed.flags = entry.flags;
        renamed.expires = entry.expires;
        renamed.value = entry.value;
        self.write(db, &renamed.raw, &renamed.record(), renamed.was)
    }

    /// Gives a key a copy of another's value; the first must be there. Each element that has a record of its own is copied.
    pub(crate) fn copy(&mut self, from: (usize, &[u8]), to: (usize, &[u8])) -> Result<()> {
        let Some(entry) = self.any_entry(from.0, from.1)? else {
            return Err(CommandError::no_such_key());
        };
        let mut copied = self.fresh_entry(to.0, to.1, entry.kind)?;
        copied.flags = entry.flags;
        copied.expires = entry.expires;
        copied.value = match entry.value {
            Value::Spread(mut spread) => {
                let id = self.new_id()?;
                self.copy_items((from.0, spread.id), (to.0, id))?;
                spread.id = id;
                Value::Spread(spread)
            }
            value => value,
        };
        self.write(to.0, &copied.raw, &copied.record(), copied.was)
    }

    /// Deletes all keys of a database.
    pub(crate) fn flush(&mut self, db: usize) -> Result<()> {
        let Buckets {
            keys,
            items,
            expiry,
            garbage,
        } = *self.of(db);
        for bucket in [keys, items, expiry, garbage] {
            if !self.reader(bucket)?.is_empty()? {
                self.tick
                    .writer()?
                    .bucket_mut_by_id(bucket)
                    .delete_range::<&[u8]>(..)?;
            }
        }
        Ok(())
    }

    /// The keys that were found to have expired and deleted since the last call.
    pub(crate) fn take_lapsed(&mut self) -> Vec<(usize, Vec<u8>)> {
        std::mem::take(&mut self.lapsed)
    }

    fn note_lapsed(&mut self, db: usize, raw: &[u8]) -> Result<()> {
        let key = self.stored(db, raw)?.map(|record| record.key(raw).to_vec());
        self.lapsed.extend(key.map(|key| (db, key)));
        Ok(())
    }

    /// What `OBJECT ENCODING` says of a key.
    pub(crate) fn encoding(&self, record: &Record<'_>) -> &'static str {
        let wide = record.flags & record::WIDE != 0;
        match record.kind {
            Kind::String => match record.body {
                Body::String(value) if !wide && weald_resp::parse_i64(value).is_some() => "int",
                Body::String(value) if !wide && value.len() <= 44 => "embstr",
                _ => "raw",
            },
            Kind::List if self.is_quicklist(record) => "quicklist",
            Kind::Set if record.flags & record::INTEGERS != 0 => "intset",
            Kind::Set | Kind::Hash if wide => "hashtable",
            Kind::ZSet if wide => "skiplist",
            Kind::List | Kind::Set | Kind::Hash | Kind::ZSet => "listpack",
        }
    }
}

/// The key of a key's expiry.
fn expiry_key(expires: u64, raw: &[u8]) -> RawKey {
    let mut out = RawKey::new();
    out.extend_from_slice(&expires.to_be_bytes());
    out.extend_from_slice(raw);
    out
}

/// The hash of a key, other in each database.
fn hash_in(db: usize, raw: &[u8]) -> u64 {
    layout::number(raw, 0).unwrap_or(0) ^ (db as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
