//! Choosing at random, each with the same chance.
//!
//! Where elements have records of their own they are in the order of their hashes. A window of that order, wide enough for a few of
//! them, is put at random; one of those in it is taken, or none, the rarer the fewer there are, as otherwise those with few neighbours would be taken more
//! often.

use weald_engine::Iter;

use crate::keyspace::layout::{self, HASH_LEN, PREFIX_LEN, RawKey, number, tag};
use crate::keyspace::record::{Body, Record, damaged};
use crate::keyspace::{Keyspace, Result};

/// How many elements a window has on average, and how many at most count.
const WINDOW: u64 = 8;
const WINDOW_MAX: usize = 24;
/// How many windows may be empty in a row before the first element will do.
const TRIES: usize = 10_000;
/// Up to how many elements are counted out instead.
const FEW: u64 = 32;

impl Keyspace<'_> {
    /// A key of a database, each with the same chance.
    pub(crate) fn random_key(&mut self, db: usize) -> Result<Option<Vec<u8>>> {
        let len = self.len(db)?;
        // Keys that have expired are passed over, unless there is nothing else.
        for _ in 0..100 {
            let Some(raw) = self.sample_at(len, |keyspace, start, end| {
                let bucket = keyspace.reader(keyspace.of(db).keys)?;
                Ok(match end {
                    Some(end) => bucket.range(&start.to_be_bytes()[..]..&end.to_be_bytes()[..]),
                    None => bucket.range(&start.to_be_bytes()[..]..),
                })
            })?
            else {
                return Ok(None);
            };
            let record = self.stored(db, &raw)?.ok_or_else(damaged)?;
            if !record.is_lapsed(self.now_ms) {
                return Ok(Some(record.key(&raw).to_vec()));
            }
        }
        let mut found = None;
        self.scan(db, 0, usize::MAX, |key, _| {
            found.get_or_insert_with(|| key.to_vec());
        })?;
        Ok(found)
    }

    /// The key that expires first of those that do from a time on, with when.
    pub(crate) fn next_to_expire(&self, db: usize, from_ms: u64) -> Result<Option<(u64, Vec<u8>)>> {
        let start = from_ms.to_be_bytes();
        let expiry = self.reader(self.of(db).expiry)?;
        let Some((index_key, _)) = expiry.range(&start[..]..).next().transpose()? else {
            return Ok(None);
        };
        let at = number(index_key, 0).ok_or_else(damaged)?;
        let raw = &index_key[8..];
        let record = self.stored(db, raw)?.ok_or_else(damaged)?;
        Ok(Some((at, record.key(raw).to_vec())))
    }

    /// A key that expires, with when: the next one after a random time between the first and the last.
    pub(crate) fn random_expiring(&mut self, db: usize) -> Result<Option<(u64, Vec<u8>)>> {
        let ends = {
            let expiry = self.reader(self.of(db).expiry)?;
            let (first, last) = (expiry.first()?, expiry.last()?);
            first
                .and_then(|(key, _)| number(key, 0))
                .zip(last.and_then(|(key, _)| number(key, 0)))
        };
        let Some((first, last)) = ends else {
            return Ok(None);
        };
        let from_ms = self.random.u64(first..=last);
        self.next_to_expire(db, from_ms)
    }

    /// A member of a hash, set or sorted set that is not empty with what belongs to it, each with the same chance.
    pub(crate) fn random_member(&mut self, db: usize, record: &Record<'_>) -> Result<(Vec<u8>, Vec<u8>)> {
        let count = record.count();
        let spread = match record.body {
            Body::Spread(spread) if count > FEW => spread,
            _ => {
                let chosen = self.random.u64(..count.max(1));
                return self.nth_member(db, record, chosen);
            }
        };
        let key = self.sample_at(count, |keyspace, start, end| {
            let mut first = layout::prefix(spread.id, tag::MEMBER);
            let last = match end {
                Some(end) => {
                    let mut last = first.clone();
                    last.extend_from_slice(&end.to_be_bytes());
                    last
                }
                None => super::items::after(first.clone()),
            };
            first.extend_from_slice(&start.to_be_bytes());
            keyspace.items(db, &first, &last)
        })?;
        let key = key.ok_or_else(damaged)?;
        let value = self.item(db, &key)?.ok_or_else(damaged)?;
        let (member, value) =
            layout::split_member(&key[PREFIX_LEN + HASH_LEN..], value).ok_or_else(damaged)?;
        Ok((member.to_vec(), value.to_vec()))
    }

    fn nth_member(&self, db: usize, record: &Record<'_>, nth: u64) -> Result<(Vec<u8>, Vec<u8>)> {
        let (mut at, mut found) = (0, None);
        let ours = Record { ..*record };
        self.each_of(db, &ours, |member, value| {
            if at == nth {
                found = Some((member.to_vec(), value.to_vec()));
            }
            at += 1;
        })?;
        found.ok_or_else(damaged)
    }

    /// [`each_member`](Self::each_member) for a record that does not live as long as the transaction's.
    pub(crate) fn each_of(
        &self,
        db: usize,
        record: &Record<'_>,
        visit: impl FnMut(&[u8], &[u8]),
    ) -> Result<()> {
        self.scan_members(db, record, 0, usize::MAX, visit).map(drop)
    }

    /// `count` different members, all where there are fewer, with what belongs to them. In no certain order.
    pub(crate) fn distinct_members(
        &mut self,
        db: usize,
        record: &Record<'_>,
        count: u64,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let len = record.count();
        // With more than a third of all it is cheaper to read all than to avoid those that were taken.
        if len <= FEW || count.saturating_mul(3) >= len {
            let mut all = Vec::with_capacity(len as usize);
            self.each_of(db, record, |member, value| {
                all.push((member.to_vec(), value.to_vec()))
            })?;
            if count < len {
                let count = count as usize;
                for i in 0..count {
                    let other = self.random.usize(i..all.len());
                    all.swap(i, other);
                }
                all.truncate(count);
            }
            return Ok(all);
        }
        let mut taken = std::collections::HashSet::new();
        let mut out = Vec::with_capacity(count as usize);
        while (out.len() as u64) < count {
            let (member, value) = self.random_member(db, record)?;
            if taken.insert(member.clone()) {
                out.push((member, value));
            }
        }
        Ok(out)
    }

    /// The key of one of `len` records that `range` gives from a hash up to but without another, each with the same chance.
    fn sample_at(
        &mut self,
        len: u64,
        range: impl Fn(&Self, u64, Option<u64>) -> Result<Iter<'_>>,
    ) -> Result<Option<RawKey>> {
        if len == 0 {
            return Ok(None);
        }
        let width = if len <= WINDOW {
            u64::MAX
        } else {
            u64::MAX / len * WINDOW
        };
        for _ in 0..TRIES {
            let start = if width == u64::MAX { 0 } else { self.random.u64(..) };
            let (end, wrapped) = match start.checked_add(width) {
                Some(end) if width < u64::MAX => (Some(end), None),
                _ if width == u64::MAX => (None, None),
                _ => (None, Some(start.wrapping_add(width))),
            };
            let mut window: Vec<RawKey> = Vec::new();
            for pair in range(self, start, end)?.take(WINDOW_MAX) {
                window.push(RawKey::from_slice(pair?.0));
            }
            if let Some(end) = wrapped {
                for pair in range(self, 0, Some(end))?.take(WINDOW_MAX - window.len().min(WINDOW_MAX)) {
                    window.push(RawKey::from_slice(pair?.0));
                }
            }
            let chosen = self.random.usize(
                ..if width == u64::MAX {
                    window.len().max(1)
                } else {
                    WINDOW_MAX
                },
            );
            if chosen < window.len() {
                return Ok(Some(window.swap_remove(chosen)));
            }
        }
        let first = range(self, 0, None)?.next().transpose()?;
        debug_assert!(first.is_none_or(|(key, _)| number(key, 0).is_some()));
        Ok(first.map(|(key, _)| RawKey::from_slice(key)))
    }
}
