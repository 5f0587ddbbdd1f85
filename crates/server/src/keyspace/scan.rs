//! Walking through all keys, or all members of a collection, in steps without a memory of them: `SCAN` and its like.
//!
//! Both are in the order of a hash, so that the hash of the next one is a cursor that stays good whatever is added or deleted. It has [`BITS`]
//! bits, as some clients keep cursors as floating-point numbers; those that share these bits are always given together.

use crate::keyspace::layout::{self, HASH_LEN, number, tag};
use crate::keyspace::record::{Body, Record, damaged};
use crate::keyspace::{Keyspace, Kind, Result};

/// Bits of a cursor.
const BITS: u32 = 48;

/// Collects at least `count` of what comes in the order of its hashes, and gives the cursor of the rest, 0 for none.
struct Steps {
    left: usize,
    last: Option<u64>,
}

impl Steps {
    /// Whether an element with this hash is the first that is left for another time.
    fn ends_at(&mut self, hash: u64) -> Option<u64> {
        let cursor = hash >> (64 - BITS);
        if self.left == 0 && self.last != Some(cursor) {
            return Some(cursor);
        }
        self.left = self.left.saturating_sub(1);
        self.last = Some(cursor);
        None
    }
}

fn first_hash(cursor: u64) -> u64 {
    cursor.min((1 << BITS) - 1) << (64 - BITS)
}

impl Keyspace<'_> {
    /// Gives `visit` about `count` keys from a cursor on, and the cursor of the next ones, 0 after the last.
    pub(crate) fn scan(
        &self,
        db: usize,
        cursor: u64,
        count: usize,
        mut visit: impl FnMut(&[u8], &Record<'_>),
    ) -> Result<u64> {
        let mut steps = Steps {
            left: count,
            last: None,
        };
        let start = first_hash(cursor).to_be_bytes();
        for pair in self.reader(self.of(db).keys)?.range(&start[..]..) {
            let (raw, bytes) = pair?;
            if let Some(next) = steps.ends_at(number(raw, 0).ok_or_else(damaged)?) {
                return Ok(next);
            }
            let record = Record::decode(bytes)?;
            if !record.is_lapsed(self.now_ms) {
                visit(record.key(raw), &record);
            }
        }
        Ok(0)
    }

    /// Gives `visit` about `count` members of a collection that is no list with what belongs to them, and the cursor of the next ones, 0
    /// after the last.
    pub(crate) fn scan_members(
        &self,
        db: usize,
        record: &Record<'_>,
        cursor: u64,
        count: usize,
        mut visit: impl FnMut(&[u8], &[u8]),
    ) -> Result<u64> {
        let Body::Spread(spread) = record.body else {
            self.each_member(db, record, |member, value| {
                visit(member, value);
                Ok(())
            })?;
            return Ok(0);
        };
        debug_assert!(record.kind != Kind::List, "a list is not scanned");
        let mut start = layout::prefix(spread.id, tag::MEMBER);
        let end = super::items::after(start.clone());
        start.extend_from_slice(&first_hash(cursor).to_be_bytes());
        let mut steps = Steps {
            left: count,
            last: None,
        };
        for pair in self.items(db, &start, &end)? {
            let (key, value) = pair?;
            let rest = &key[layout::PREFIX_LEN..];
            if let Some(next) = steps.ends_at(number(rest, 0).ok_or_else(damaged)?) {
                return Ok(next);
            }
            let (member, value) = layout::split_member(&rest[HASH_LEN..], value).ok_or_else(damaged)?;
            visit(member, value);
        }
        Ok(0)
    }

    /// All keys of a database.
    pub(crate) fn each_key(&self, db: usize, visit: impl FnMut(&[u8], &Record<'_>)) -> Result<()> {
        self.scan(db, 0, usize::MAX, visit).map(drop)
    }
}
