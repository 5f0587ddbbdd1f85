//! Sorted sets: who has which score, and the order of all.
//!
//! One that is spread has two records for each member, one by its name and one by its place, and counts beside them, so that a rank
//! is found without walking there: see `ranks`.

use std::cmp::Ordering;

use crate::keyspace::items::after;
use crate::keyspace::layout::{self, NAME_MAX, PREFIX_LEN, RawKey, number, sortable, tag, unsortable};
use crate::keyspace::packed::{self, PACKED_MAX, Packed};
use crate::keyspace::record::{Body, Entry, Record, Spread, Value, WIDE, damaged};
use crate::keyspace::{Keyspace, Result};

/// A member and its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scored<'a> {
    pub(crate) member: &'a [u8],
    pub(crate) score: f64,
}

/// A part of the order: from `lo` up to but without `hi`, or to the end. They are a score that sorts as bytes and then the beginning of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    lo: RawKey,
    hi: Option<RawKey>,
}

impl Order {
    pub(crate) fn all() -> Order {
        Order {
            lo: RawKey::new(),
            hi: None,
        }
    }

    /// Scores between two, each with whether it is left out itself.
    pub(crate) fn by_score(min: (f64, bool), max: (f64, bool)) -> Order {
        // Nothing sorts after the largest number but what is no number, and no score is.
        let lo = sortable(min.0) + u64::from(min.1);
        let hi = sortable(max.0) + u64::from(!max.1);
        Order {
            lo: RawKey::from_slice(&lo.to_be_bytes()),
            hi: Some(RawKey::from_slice(&hi.to_be_bytes())),
        }
    }

    /// Members between two, each with whether it is left out itself, and nothing for no bound, where all have this score.
    pub(crate) fn by_name(score: f64, min: Option<(&[u8], bool)>, max: Option<(&[u8], bool)>) -> Order {
        let bound = |name: &[u8], next: bool| {
            let mut key = order_key(name, score);
            if next {
                key.push(0);
            }
            key
        };
        let lo = min.map_or_else(RawKey::new, |(name, excluded)| bound(name, excluded));
        let hi = max.map(|(name, excluded)| bound(name, !excluded));
        Order { lo, hi }
    }

    /// Nothing.
    pub(crate) fn none() -> Order {
        Order {
            lo: RawKey::new(),
            hi: Some(RawKey::new()),
        }
    }

    fn has(&self, scored: Scored<'_>) -> bool {
        cmp(scored, &self.lo) != Ordering::Less
            && self
                .hi
                .as_ref()
                .is_none_or(|hi| cmp(scored, hi) == Ordering::Less)
    }

    fn is_empty(&self) -> bool {
        self.hi.as_ref().is_some_and(|hi| *hi <= self.lo)
    }
}

/// A walk along a part of the order.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    pub(crate) order: Order,
    pub(crate) reverse: bool,
    /// How many are passed over first.
    pub(crate) skip: u64,
    pub(crate) limit: u64,
}

/// How many are passed over one by one rather than by their rank.
const SKIPPED_MAX: u64 = 256;

fn cmp(scored: Scored<'_>, bound: &[u8]) -> Ordering {
    let score = sortable(scored.score).to_be_bytes();
    let (first, rest) = bound.split_at(bound.len().min(8));
    score[..].cmp(first).then_with(|| scored.member.cmp(rest))
}

fn order_key(member: &[u8], score: f64) -> RawKey {
    let mut key = RawKey::from_slice(&sortable(score).to_be_bytes());
    layout::push_name(&mut key, member);
    key
}

fn score_of(bytes: &[u8]) -> Result<f64> {
    bytes.try_into().map(f64::from_le_bytes).map_err(|_| damaged())
}

/// What the key of a record in order does not tell: the whole of a long member.
fn order_value(member: &[u8]) -> &[u8] {
    if layout::is_long(member) { member } else { b"" }
}

fn scored<'a>(key: &'a [u8], value: &'a [u8]) -> Result<Scored<'a>> {
    let score = unsortable(number(key, PREFIX_LEN).ok_or_else(damaged)?);
    let name = &key[PREFIX_LEN + 8..];
    let member = if name.len() > NAME_MAX { value } else { name };
    Ok(Scored { member, score })
}

fn unpacked(packed: &[u8]) -> impl DoubleEndedIterator<Item = Scored<'_>> {
    let pairs = Packed(packed).pairs();
    let all: Vec<_> = pairs
        .map(|(member, score)| Scored {
            member,
            score: score_of(score).unwrap_or_default(),
        })
        .collect();
    all.into_iter()
}

impl Keyspace<'_> {
    /// The score of a member.
    pub(crate) fn score(&self, db: usize, record: &Record<'_>, member: &[u8]) -> Result<Option<f64>> {
        match record.body {
            Body::Packed(packed) => Packed(packed)
                .pairs()
                .find(|(name, _)| *name == member)
                .map(|(_, score)| score_of(score))
                .transpose(),
            _ => {
                let ours = Record {
                    long_key: None,
                    ..*record
                };
                self.spread_score(db, &ours, member)
            }
        }
    }

    fn spread_score(&self, db: usize, record: &Record<'_>, member: &[u8]) -> Result<Option<f64>> {
        let Body::Spread(spread) = record.body else {
            return Ok(None);
        };
        let key = layout::member(spread.id, member, self.seed);
        let Some(value) = self.item(db, &key)? else {
            return Ok(None);
        };
        let score = value
            .len()
            .checked_sub(8)
            .map(|at| &value[at..])
            .ok_or_else(damaged)?;
        score_of(score).map(Some)
    }

    /// Gives a member a score; which one it had.
    pub(crate) fn put_score(&mut self, entry: &mut Entry, member: &[u8], score: f64) -> Result<Option<f64>> {
        // There is one zero, as in a listpack of Redis.
        let score = if score == 0.0 { 0.0 } else { score };
        let old = self.score(entry.db, &entry.record(), member)?;
        if old == Some(score) {
            return Ok(old);
        }
        match &entry.value {
            Value::Packed(packed) => {
                let mut members: Vec<Scored<'_>> = unpacked(packed).filter(|s| s.member != member).collect();
                let key = order_key(member, score);
                let at = members.partition_point(|scored| cmp(*scored, &key) == Ordering::Less);
                members.insert(at, Scored { member, score });
                let mut packed = Vec::with_capacity(packed.len() + member.len() + 16);
                for scored in members {
                    packed::push(&mut packed, scored.member);
                    packed::push(&mut packed, &scored.score.to_le_bytes());
                }
                let large = packed.len() > PACKED_MAX;
                entry.value = Value::Packed(packed);
                if large {
                    self.spread_scores(entry)?;
                }
            }
            Value::Spread(spread) => {
                let id = spread.id;
                if let Some(old) = old {
                    self.leave_order(entry.db, id, member, old)?;
                }
                self.join_order(entry.db, id, member, score)?;
                self.put_member(entry, member, &score.to_le_bytes())?;
            }
            Value::String(_) => return Err(damaged()),
        }
        let limits = &self.encodings;
        if member.len() > limits.zset_value
            || (old.is_none() && entry.flags & WIDE == 0 && entry.count() > limits.zset_entries)
        {
            entry.flags |= WIDE;
        }
        Ok(old)
    }

    fn spread_scores(&mut self, entry: &mut Entry) -> Result<()> {
        let packed = self.unpack(entry)?;
        for Scored { member, score } in unpacked(&packed) {
            let Value::Spread(spread) = entry.value else {
                return Err(damaged());
            };
            self.join_order(entry.db, spread.id, member, score)?;
            self.put_member(entry, member, &score.to_le_bytes())?;
        }
        Ok(())
    }

    fn join_order(&mut self, db: usize, id: u64, member: &[u8], score: f64) -> Result<()> {
        let place = order_key(member, score);
        let mut key = layout::prefix(id, tag::ORDER);
        key.extend_from_slice(&place);
        self.put_item(db, &key, order_value(member))?;
        self.count_in(db, id, &place)
    }

    fn leave_order(&mut self, db: usize, id: u64, member: &[u8], score: f64) -> Result<()> {
        let place = order_key(member, score);
        let mut key = layout::prefix(id, tag::ORDER);
        key.extend_from_slice(&place);
        self.discard_item(db, &key)?;
        self.count_out(db, id, &place)
    }

    /// Removes a member; which score it had.
    pub(crate) fn remove_score(&mut self, entry: &mut Entry, member: &[u8]) -> Result<Option<f64>> {
        let old = self.score(entry.db, &entry.record(), member)?;
        if let Some(old) = old {
            if let Value::Spread(Spread { id, .. }) = entry.value {
                self.leave_order(entry.db, id, member, old)?;
            }
            self.remove_member(entry, member)?;
        }
        Ok(old)
    }

    /// How many members come before this one.
    pub(crate) fn rank(&self, db: usize, record: &Record<'_>, scored: Scored<'_>) -> Result<u64> {
        self.before(db, record, Some(&order_key(scored.member, scored.score)))
    }

    /// How many members come before a place in the order; all, where it is none.
    fn before(&self, db: usize, record: &Record<'_>, place: Option<&[u8]>) -> Result<u64> {
        let Some(place) = place else {
            return Ok(record.count());
        };
        match record.body {
            Body::Spread(spread) => self.rank_of(db, spread.id, place),
            Body::Packed(packed) => Ok(unpacked(packed)
                .take_while(|scored| cmp(*scored, place) == Ordering::Less)
                .count() as u64),
            Body::String(_) => Ok(0),
        }
    }

    /// How many members are in a part of the order.
    pub(crate) fn count_in_order(&self, db: usize, record: &Record<'_>, order: &Order) -> Result<u64> {
        if order.is_empty() {
            return Ok(0);
        }
        let end = self.before(db, record, order.hi.as_deref())?;
        let start = if order.lo.is_empty() {
            0
        } else {
            self.before(db, record, Some(&order.lo))?
        };
        Ok(end.saturating_sub(start))
    }

    /// Gives `visit` the members of a walk.
    pub(crate) fn walk<'a>(
        &'a self,
        db: usize,
        record: &Record<'a>,
        walk: &Walk,
        mut visit: impl FnMut(Scored<'a>),
    ) -> Result<()> {
        if walk.order.is_empty() || walk.limit == 0 {
            return Ok(());
        }
        let spread = match record.body {
            Body::String(_) => return Ok(()),
            Body::Packed(packed) => {
                let all = unpacked(packed).filter(|scored| walk.order.has(*scored));
                let mut all: Box<dyn Iterator<Item = Scored<'a>>> = if walk.reverse {
                    Box::new(all.rev())
                } else {
                    Box::new(all)
                };
                let skip = usize::try_from(walk.skip).unwrap_or(usize::MAX);
                let limit = usize::try_from(walk.limit).unwrap_or(usize::MAX);
                if skip > 0 && all.nth(skip - 1).is_none() {
                    return Ok(());
                }
                all.take(limit).for_each(visit);
                return Ok(());
            }
            Body::Spread(spread) => spread,
        };
        let Some((start, end, skip)) = self.bounds(db, record, spread, walk)? else {
            return Ok(());
        };
        let mut items = self.items(db, &start, &end)?;
        let (mut skip, mut left) = (skip, walk.limit);
        while let Some(pair) = if walk.reverse {
            items.next_back()
        } else {
            items.next()
        } {
            let (key, value) = pair?;
            if skip > 0 {
                skip -= 1;
                continue;
            }
            visit(scored(key, value)?);
            left -= 1;
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Between which records a walk goes, and how many it still passes over.
    fn bounds(
        &self,
        db: usize,
        record: &Record<'_>,
        spread: Spread,
        walk: &Walk,
    ) -> Result<Option<(RawKey, RawKey, u64)>> {
        let prefix = layout::prefix(spread.id, tag::ORDER);
        let at = |place: &[u8]| {
            let mut key = prefix.clone();
            key.extend_from_slice(place);
            key
        };
        let mut start = at(&walk.order.lo);
        let mut end = walk.order.hi.as_deref().map_or_else(|| after(prefix.clone()), at);
        if walk.skip <= SKIPPED_MAX {
            return Ok(Some((start, end, walk.skip)));
        }
        if walk.skip >= spread.count {
            return Ok(None);
        }
        if walk.reverse {
            let passed = self.before(db, record, walk.order.hi.as_deref())?;
            match passed.checked_sub(walk.skip) {
                None | Some(0) => return Ok(None),
                Some(rank) if rank < spread.count => end = self.key_at(db, spread.id, rank)?,
                Some(_) => {}
            }
        } else {
            let first = self
                .before(db, record, Some(&walk.order.lo))?
                .saturating_add(walk.skip);
            if first >= spread.count {
                return Ok(None);
            }
            start = self.key_at(db, spread.id, first)?;
        }
        Ok((start < end).then_some((start, end, 0)))
    }

    /// The first member.
    pub(crate) fn first_scored<'a>(
        &'a self,
        db: usize,
        record: &Record<'a>,
        reverse: bool,
    ) -> Result<Option<Scored<'a>>> {
        let mut found = None;
        let walk = Walk {
            order: Order::all(),
            reverse,
            skip: 0,
            limit: 1,
        };
        self.walk(db, record, &walk, |scored| found = Some(scored))?;
        Ok(found)
    }
}

/// The score in the bytes that belong to a member of a sorted set.
pub(crate) fn score_in(value: &[u8]) -> Result<f64> {
    score_of(value)
}
