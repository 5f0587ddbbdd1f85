//! Work that is done in small steps beside commands: keys that have expired are deleted, and the elements of what was deleted.

use weald_engine::Writable;

use crate::keyspace::layout::number;
use crate::keyspace::record::{Was, damaged};
use crate::keyspace::{Keyspace, Result};

impl Keyspace<'_> {
    /// Whether any key has expired and was not deleted yet.
    pub(crate) fn has_lapsed(&self) -> Result<bool> {
        for db in 0..self.databases() {
            let first = self.reader(self.of(db).expiry)?.first()?;
            if first.is_some_and(|(key, _)| number(key, 0).is_some_and(|at| at <= self.now_ms)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Deletes at most `limit` keys that have expired; whether there may be more. They are told by [`take_lapsed`](Self::take_lapsed).
    pub(crate) fn expire_some(&mut self, limit: usize) -> Result<bool> {
        let mut left = limit;
        for db in 0..self.databases() {
            let end = (self.now_ms + 1).to_be_bytes();
            let mut due = Vec::new();
            for pair in self.reader(self.of(db).expiry)?.range(..&end[..]).take(left) {
                due.push(pair?.0.to_vec());
            }
            left -= due.len();
            for key in due {
                self.expire(db, &key)?;
            }
            if left == 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Deletes the keys that look-ups found to have expired. They are told by [`take_lapsed`](Self::take_lapsed).
    pub(crate) fn expire_met(&mut self) -> Result<()> {
        for (db, key) in self.lookups.take_lapsed() {
            self.expire(db, &key)?;
        }
        Ok(())
    }

    /// Leaves the keys be that look-ups found to have expired.
    pub(crate) fn pass_met(&self) {
        self.lookups.take_lapsed();
    }

    /// Deletes a key by its entry in the index of expiry.
    fn expire(&mut self, db: usize, index_key: &[u8]) -> Result<()> {
        let at = number(index_key, 0).ok_or_else(damaged)?;
        let raw = &index_key[8..];
        let was = self.stored(db, raw)?.map(|record| Was::of(&record, self.now_ms));
        match was {
            Some(was) if was.expires == at => self.take_away(db, raw, was, None),
            _ => self.discard(self.of(db).expiry, index_key),
        }
    }

    /// Whether elements of deleted collections wait to be deleted.
    pub(crate) fn has_garbage(&self) -> Result<bool> {
        for db in 0..self.databases() {
            if !self.reader(self.of(db).garbage)?.is_empty()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Deletes about `limit` elements of deleted collections; whether there may be more.
    pub(crate) fn reclaim_some(&mut self, limit: usize) -> Result<bool> {
        let mut left = limit;
        for db in 0..self.databases() {
            while left > 0 {
                let garbage = self.of(db).garbage;
                let Some(id) = self.reader(garbage)?.first()?.map(|(key, _)| number(key, 0)) else {
                    break;
                };
                let id = id.ok_or_else(damaged)?;
                let (start, end) = (id.to_be_bytes(), (id + 1).to_be_bytes());
                let next = self.items(db, &start, &end)?.nth(left).transpose()?;
                match next.map(|(key, _)| key.to_vec()) {
                    Some(next) => {
                        self.discard_items(db, &start, &next)?;
                        left = 0;
                    }
                    None => {
                        let items = self.items(db, &start, &end)?.take(left).count();
                        self.discard_items(db, &start, &end)?;
                        self.tick.writer()?.bucket_mut_by_id(garbage).discard(&start)?;
                        left -= items.max(1).min(left);
                    }
                }
            }
            if left == 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
