//! Ranges of sorted sets: by rank, by score, by name.

use crate::call::Call;
use crate::commands::args::{Result, integer, is_word};
use crate::commands::zsets::{save_shrunk, score_bound};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Kind, Order, Record, Slice, Walk};
use crate::notify::Event;

/// By what a range is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Name,
}

/// A bound by name: the name, and whether it is left out itself.
enum NameBound<'a> {
    Least,
    Greatest,
    Name(&'a [u8], bool),
}

enum Ends<'a> {
    Ranks(i64, i64),
    Scores((f64, bool), (f64, bool)),
    Names(NameBound<'a>, NameBound<'a>),
}

struct Range<'a> {
    ends: Ends<'a>,
    reverse: bool,
    /// How many are passed over, and how many follow.
    limit: Option<(i64, i64)>,
    with_scores: bool,
}

fn name_bound(arg: &[u8]) -> Result<NameBound<'_>> {
    match arg {
        b"-" => Ok(NameBound::Least),
        b"+" => Ok(NameBound::Greatest),
        [b'(', name @ ..] => Ok(NameBound::Name(name, true)),
        [b'[', name @ ..] => Ok(NameBound::Name(name, false)),
        _ => Err(CommandError::new("ERR min or max not valid string range item")),
    }
}

fn ends<'a>(by: By, first: &'a [u8], last: &'a [u8], reverse: bool) -> Result<Ends<'a>> {
    let (min, max) = if reverse && by != By::Rank {
        (last, first)
    } else {
        (first, last)
    };
    Ok(match by {
        By::Rank => Ends::Ranks(integer(min)?, integer(max)?),
        By::Score => Ends::Scores(score_bound(min)?, score_bound(max)?),
        By::Name => Ends::Names(name_bound(min)?, name_bound(max)?),
    })
}

/// Reads `min max` and what follows; `by` and `reverse` are what the name of the command says of it.
fn range<'a>(args: &[&'a [u8]], by: Option<By>, reverse: Option<bool>, stores: bool) -> Result<Range<'a>> {
    let (mut kind, mut backward) = (by, reverse.unwrap_or(false));
    let (mut limit, mut with_scores) = (None, false);
    let mut at = 2;
    while let Some(word) = args.get(at) {
        if is_word(word, "withscores") && !stores {
            with_scores = true;
        } else if is_word(word, "limit") && at + 2 < args.len() {
            limit = Some((integer(args[at + 1])?, integer(args[at + 2])?));
            at += 2;
        } else if is_word(word, "rev") && reverse.is_none() {
            backward = true;
        } else if is_word(word, "byscore") && kind.is_none() {
            kind = Some(By::Score);
        } else if is_word(word, "bylex") && kind.is_none() {
            kind = Some(By::Name);
        } else {
            return Err(CommandError::syntax());
        }
        at += 1;
    }
    let kind = kind.unwrap_or(By::Rank);
    if limit.is_some() && kind == By::Rank {
        let text = "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX";
        return Err(CommandError::new(text));
    }
    if with_scores && kind == By::Name {
        let text = "ERR syntax error, WITHSCORES not supported in combination with BYLEX";
        return Err(CommandError::new(text));
    }
    Ok(Range {
        ends: ends(kind, args[0], args[1], backward)?,
        reverse: backward,
        limit,
        with_scores,
    })
}

/// The part of the order that is meant by names, where the first member has the score of all.
fn order_of_names(
    call: &Call<'_, '_>,
    record: &Record<'_>,
    min: &NameBound<'_>,
    max: &NameBound<'_>,
) -> Result<Order> {
    let score = call
        .keyspace
        .first_scored(call.session.db, record, false)?
        .map_or(0.0, |first| first.score);
    let min = match min {
        NameBound::Least => None,
        NameBound::Greatest => return Ok(Order::none()),
        NameBound::Name(name, excluded) => Some((*name, *excluded)),
    };
    let max = match max {
        NameBound::Greatest => None,
        NameBound::Least => return Ok(Order::none()),
        NameBound::Name(name, excluded) => Some((*name, *excluded)),
    };
    Ok(Order::by_name(score, min, max))
}

impl NameBound<'_> {
    /// Whether a member is not below this bound.
    fn is_reached_by(&self, member: &[u8]) -> bool {
        match self {
            NameBound::Least => true,
            NameBound::Greatest => false,
            NameBound::Name(name, true) => member > *name,
            NameBound::Name(name, false) => member >= *name,
        }
    }

    /// Whether a member is not above it.
    fn is_not_passed_by(&self, member: &[u8]) -> bool {
        match self {
            NameBound::Least => false,
            NameBound::Greatest => true,
            NameBound::Name(name, true) => member < *name,
            NameBound::Name(name, false) => member <= *name,
        }
    }
}

/// Which ranks names mean where members have different scores: nothing where all have the same. Redis leaves it open what they mean then, but walks
/// from the first member that is not below the range to the first that is above it, and so does this.
fn ranks_of_names(
    call: &Call<'_, '_>,
    record: &Record<'_>,
    (min, max): (&NameBound<'_>, &NameBound<'_>),
    reverse: bool,
) -> Result<Option<Slice>> {
    let db = call.session.db;
    let score = |last: bool| -> Result<Option<f64>> {
        Ok(call
            .keyspace
            .first_scored(db, record, last)?
            .map(|scored| scored.score))
    };
    if score(false)? == score(true)? {
        return Ok(None);
    }
    let mut names = Vec::with_capacity(record.count() as usize);
    let all = Walk {
        order: Order::all(),
        reverse: false,
        skip: 0,
        limit: u64::MAX,
    };
    call.keyspace
        .walk(db, record, &all, |scored| names.push(scored.member))?;
    let nothing = Slice { start: 0, end: 0 };
    let possible = names.last().is_some_and(|last| min.is_reached_by(last))
        && names.first().is_some_and(|first| max.is_not_passed_by(first));
    if !possible {
        return Ok(Some(nothing));
    }
    let (start, end) = if reverse {
        let end = names
            .iter()
            .rposition(|name| max.is_not_passed_by(name))
            .map_or(0, |last| last + 1);
        let below = names[..end].iter().rposition(|name| !min.is_reached_by(name));
        (below.map_or(0, |below| below + 1), end)
    } else {
        let start = names
            .iter()
            .position(|name| min.is_reached_by(name))
            .unwrap_or(names.len());
        let above = names[start..].iter().position(|name| !max.is_not_passed_by(name));
        (start, above.map_or(names.len(), |above| start + above))
    };
    Ok(Some(Slice {
        start: start as u64,
        end: end as u64,
    }))
}

fn order(call: &Call<'_, '_>, record: &Record<'_>, ends: &Ends<'_>) -> Result<Order> {
    match ends {
        Ends::Ranks(..) => Ok(Order::all()),
        Ends::Scores(min, max) => Ok(Order::by_score(*min, *max)),
        Ends::Names(min, max) => order_of_names(call, record, min, max),
    }
}

fn walk(call: &Call<'_, '_>, record: &Record<'_>, range: &Range<'_>) -> Result<Walk> {
    if let Ends::Names(min, max) = &range.ends
        && let Some(ranks) = ranks_of_names(call, record, (min, max), range.reverse)?
    {
        let (skip, limit) = match range.limit {
            Some((skip, limit)) if skip >= 0 => (skip as u64, u64::try_from(limit).unwrap_or(u64::MAX)),
            Some(_) => (0, 0),
            None => (0, u64::MAX),
        };
        let before = if range.reverse {
            record.count() - ranks.end
        } else {
            ranks.start
        };
        let limit = limit.min(ranks.len().saturating_sub(skip));
        let skip = before.saturating_add(skip);
        return Ok(Walk {
            order: Order::all(),
            reverse: range.reverse,
            skip,
            limit,
        });
    }
    let order = order(call, record, &range.ends)?;
    let (skip, limit) = match (&range.ends, range.limit) {
        (Ends::Ranks(start, stop), _) => {
            let slice = Slice::of(*start, *stop, record.count());
            (slice.start, slice.len())
        }
        (_, None) => (0, u64::MAX),
        (_, Some((skip, _))) if skip < 0 => (0, 0),
        (_, Some((skip, limit))) => (skip as u64, u64::try_from(limit).unwrap_or(u64::MAX)),
    };
    Ok(Walk {
        order,
        reverse: range.reverse,
        skip,
        limit,
    })
}

/// What the names of commands say.
fn said(name: &str) -> (Option<By>, Option<bool>) {
    match name {
        "zrangebyscore" => (Some(By::Score), Some(false)),
        "zrevrangebyscore" => (Some(By::Score), Some(true)),
        "zrangebylex" => (Some(By::Name), Some(false)),
        "zrevrangebylex" => (Some(By::Name), Some(true)),
        "zrevrange" => (Some(By::Rank), Some(true)),
        _ => (None, None),
    }
}

pub(super) fn zrange(call: &mut Call<'_, '_>) -> CommandResult {
    let db = call.session.db;
    let (by, reverse) = said(call.found.command.name);
    let range = range(&call.args[2..], by, reverse, false)?;
    let Some(record) = call.keyspace.find_kind(db, call.args[1], Kind::ZSet)? else {
        call.reply.array(0);
        return Ok(());
    };
    let walk = walk(call, &record, &range)?;
    let mark = call.reply.mark();
    let pairs = range.with_scores && call.reply.is_resp3();
    let reply = &mut *call.reply;
    let mut len = 0;
    call.keyspace.walk(db, &record, &walk, |scored| {
        if pairs {
            reply.array(2);
        }
        reply.bulk(scored.member);
        if range.with_scores {
            reply.double(scored.score);
        }
        len += if range.with_scores && !pairs { 2 } else { 1 };
    })?;
    call.reply.array_at(mark, len);
    Ok(())
}

pub(super) fn zrangestore(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, target) = (call.session.db, call.args[1]);
    let range = range(&call.args[3..], None, None, true)?;
    let mut found = Vec::new();
    if let Some(record) = call.keyspace.find_kind(db, call.args[2], Kind::ZSet)? {
        let walk = walk(call, &record, &range)?;
        call.keyspace.walk(db, &record, &walk, |scored| {
            found.push((scored.member.to_vec(), scored.score))
        })?;
    }
    store_scored(call, target, &found, "zrangestore")
}

/// Sets a key to a sorted set, and answers with its size.
pub(super) fn store_scored(
    call: &mut Call<'_, '_>,
    target: &[u8],
    members: &[(Vec<u8>, f64)],
    event: &str,
) -> CommandResult {
    let db = call.session.db;
    if members.is_empty() {
        if call.keyspace.delete(db, target)? {
            call.changed(Event::GENERIC, "del", target);
        }
    } else {
        let mut entry = call.keyspace.fresh_entry(db, target, Kind::ZSet)?;
        for (member, score) in members {
            call.keyspace.put_score(&mut entry, member, *score)?;
        }
        call.keyspace.save(&entry)?;
        call.changed(Event::ZSET, event, target);
    }
    call.reply.integer(members.len() as i64);
    Ok(())
}

pub(super) fn zcount(call: &mut Call<'_, '_>) -> CommandResult {
    let db = call.session.db;
    let by = if call.found.command.name == "zcount" {
        By::Score
    } else {
        By::Name
    };
    let ends = ends(by, call.args[2], call.args[3], false)?;
    let count = match call.keyspace.find_kind(db, call.args[1], Kind::ZSet)? {
        Some(record) => {
            let ranks = match &ends {
                Ends::Names(min, max) => ranks_of_names(call, &record, (min, max), false)?,
                _ => None,
            };
            match ranks {
                Some(ranks) => ranks.len(),
                None => {
                    let order = order(call, &record, &ends)?;
                    call.keyspace.count_in_order(db, &record, &order)?
                }
            }
        }
        None => 0,
    };
    call.reply.integer(count as i64);
    Ok(())
}

pub(super) fn zremrange(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key, name) = (call.session.db, call.args[1], call.found.command.name);
    let by = match name {
        "zremrangebyrank" => By::Rank,
        "zremrangebyscore" => By::Score,
        _ => By::Name,
    };
    let ends = ends(by, call.args[2], call.args[3], false)?;
    let range = Range {
        ends,
        reverse: false,
        limit: None,
        with_scores: false,
    };
    let Some(mut entry) = call.keyspace.entry(db, key, Kind::ZSet)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let mut doomed = Vec::new();
    let walk = walk(call, &entry.record(), &range)?;
    call.keyspace.walk(db, &entry.record(), &walk, |scored| {
        doomed.push(scored.member.to_vec())
    })?;
    if doomed.len() as u64 == entry.count() {
        call.keyspace.delete(db, key)?;
        call.changed(Event::ZSET, name, key);
        call.notify(Event::GENERIC, "del", key);
    } else if !doomed.is_empty() {
        for member in &doomed {
            call.keyspace.remove_score(&mut entry, member)?;
        }
        save_shrunk(call, &entry, key, name)?;
    }
    call.reply.integer(doomed.len() as i64);
    Ok(())
}
