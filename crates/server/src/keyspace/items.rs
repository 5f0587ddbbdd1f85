//! The records of elements.

use weald_engine::{Iter, Writable};

use crate::keyspace::layout::{self, RawKey};
use crate::keyspace::record::{Entry, Spread, Value};
use crate::keyspace::{Keyspace, Result};

/// How many records are read before they are written elsewhere.
const BATCH: usize = 1024;

impl Keyspace<'_> {
    pub(super) fn item(&self, db: usize, key: &[u8]) -> Result<Option<&[u8]>> {
        Ok(self.reader(self.of(db).items)?.get_ref(key)?)
    }

    pub(super) fn put_item(&mut self, db: usize, key: &[u8], value: &[u8]) -> Result<()> {
        self.put(self.of(db).items, key, value)
    }

    pub(super) fn discard_item(&mut self, db: usize, key: &[u8]) -> Result<()> {
        self.discard(self.of(db).items, key)
    }

    /// The records from `start` up to but without `end`.
    pub(super) fn items(&self, db: usize, start: &[u8], end: &[u8]) -> Result<Iter<'_>> {
        Ok(self.reader(self.of(db).items)?.range(start..end))
    }

    /// The records of a collection that have this tag.
    pub(super) fn items_of(&self, db: usize, id: u64, tag: u8) -> Result<Iter<'_>> {
        Ok(self.reader(self.of(db).items)?.prefix(&layout::prefix(id, tag)))
    }

    pub(super) fn discard_items(&mut self, db: usize, start: &[u8], end: &[u8]) -> Result<()> {
        let items = self.of(db).items;
        Ok(self
            .tick
            .writer()?
            .bucket_mut_by_id(items)
            .delete_range(start..end)?)
    }

    /// Copies all records of a collection to another id, perhaps of another database.
    pub(super) fn copy_items(&mut self, from: (usize, u64), to: (usize, u64)) -> Result<()> {
        let end = (from.1 + 1).to_be_bytes();
        let mut start: Vec<u8> = from.1.to_be_bytes().to_vec();
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            for pair in self.items(from.0, &start, &end)?.take(BATCH) {
                let (key, value) = pair?;
                batch.push((key.to_vec(), value.to_vec()));
            }
            let Some((last, _)) = batch.last() else {
                return Ok(());
            };
            start.clone_from(last);
            start.push(0);
            for (mut key, value) in batch {
                key[..8].copy_from_slice(&to.1.to_be_bytes());
                self.put_item(to.0, &key, &value)?;
            }
        }
    }

    /// Gives a collection that is packed an id for records of its own, and nothing in it; its elements are to be put there next.
    pub(super) fn unpack(&mut self, entry: &mut Entry) -> Result<Vec<u8>> {
        let id = self.new_id()?;
        let spread = Value::Spread(Spread {
            id,
            count: 0,
            head: 0,
            bytes: 0,
        });
        Ok(match std::mem::replace(&mut entry.value, spread) {
            Value::Packed(packed) => packed,
            _ => Vec::new(),
        })
    }
}

/// The key after all of those that begin with `prefix`, whose last byte is a tag.
pub(super) fn after(mut prefix: RawKey) -> RawKey {
    if let Some(last) = prefix.last_mut() {
        *last += 1;
    }
    prefix
}
