//! Sets.

use std::collections::HashSet;

use crate::call::Call;
use crate::commands::args::{Result, counted_keys, integer_or, is_word};
use crate::commands::hashes::{self, Sample};
use crate::commands::scan::{self, ScanOptions};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Kind, Record};
use crate::notify::Event;
use crate::registry::{Access, Command, Flags, Group, Handler, KeySpec};

const ONE_READ: &[KeySpec] = &[KeySpec::one(1, Access::Read)];
const ALL_READ: &[KeySpec] = &[KeySpec::range(1, -1, 1, Access::Read)];
const STORE: &[KeySpec] = &[
    KeySpec::one(1, Access::Overwrite),
    KeySpec::range(2, -1, 1, Access::Read),
];
const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = Flags::READONLY.and(Flags::FAST);
const WRITE_FAST: Flags = Flags::WRITE.and(Flags::FAST);
const GROW: Flags = Flags::WRITE.and(Flags::DENYOOM);

const fn set(
    name: &'static str,
    arity: i32,
    since: &'static str,
    flags: Flags,
    keys: &'static [KeySpec],
    summary: &'static str,
    handler: Handler,
) -> Command {
    Command::new(name, arity, Group::Set, since, summary, handler)
        .flags(flags)
        .keys(keys)
}

pub(crate) const COMMANDS: &[Command] = &[
    set(
        "sadd",
        -3,
        "1.0.0",
        GROW.and(Flags::FAST),
        KeySpec::ONE_INSERT,
        "Adds members to a set.",
        sadd,
    ),
    set(
        "srem",
        -3,
        "1.0.0",
        WRITE_FAST,
        KeySpec::ONE_CUT,
        "Removes members from a set.",
        srem,
    ),
    set(
        "smove",
        4,
        "1.0.0",
        WRITE_FAST,
        KeySpec::MOVES,
        "Moves a member to another set.",
        smove,
    ),
    set(
        "sismember",
        3,
        "1.0.0",
        READ_FAST,
        KeySpec::ONE_LOOK,
        "Whether a set has a member.",
        sismember,
    ),
    set(
        "smismember",
        -3,
        "6.2.0",
        READ_FAST,
        KeySpec::ONE_LOOK,
        "Which of some members a set has.",
        smismember,
    ),
    set(
        "scard",
        2,
        "1.0.0",
        READ_FAST,
        KeySpec::ONE_LOOK,
        "Returns the number of members.",
        scard,
    ),
    set(
        "smembers",
        2,
        "1.0.0",
        READ,
        ONE_READ,
        "Returns all members.",
        smembers,
    ),
    set(
        "spop",
        -2,
        "1.0.0",
        WRITE_FAST,
        KeySpec::ONE_TAKE,
        "Takes members at random out of a set.",
        spop,
    ),
    set(
        "srandmember",
        -2,
        "1.0.0",
        READ,
        ONE_READ,
        "Returns members at random.",
        srandmember,
    ),
    set(
        "sinter",
        -2,
        "1.0.0",
        READ,
        ALL_READ,
        "Returns what all sets have.",
        sinter,
    ),
    set(
        "sunion",
        -2,
        "1.0.0",
        READ,
        ALL_READ,
        "Returns what any of the sets has.",
        sunion,
    ),
    set(
        "sdiff",
        -2,
        "1.0.0",
        READ,
        ALL_READ,
        "Returns what only the first set has.",
        sdiff,
    ),
    set(
        "sinterstore",
        -3,
        "1.0.0",
        GROW.and(Flags::LOOKS),
        STORE,
        "Stores what all sets have.",
        sinterstore,
    ),
    set(
        "sunionstore",
        -3,
        "1.0.0",
        GROW.and(Flags::LOOKS),
        STORE,
        "Stores what any of the sets has.",
        sunionstore,
    ),
    set(
        "sdiffstore",
        -3,
        "1.0.0",
        GROW.and(Flags::LOOKS),
        STORE,
        "Stores what only the first set has.",
        sdiffstore,
    ),
    set(
        "sintercard",
        -3,
        "7.0.0",
        READ,
        &[KeySpec::counted(1, Access::Read)],
        "Counts what all sets have.",
        sintercard,
    ),
    set(
        "sscan",
        -3,
        "2.8.0",
        READ,
        ONE_READ,
        "Walks through the members of a set.",
        sscan,
    ),
];

fn sadd(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key) = (call.session.db, call.args[1]);
    let mut entry = call.keyspace.entry_or_new(db, key, Kind::Set)?;
    let mut new = 0;
    for member in &call.args[2..] {
        new += i64::from(call.keyspace.add_to_set(&mut entry, member)?);
    }
    if new > 0 {
        call.keyspace.save(&entry)?;
        call.changed(Event::SET, "sadd", key);
    }
    call.reply.integer(new);
    Ok(())
}

fn srem(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key) = (call.session.db, call.args[1]);
    let Some(mut entry) = call.keyspace.entry(db, key, Kind::Set)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let mut gone = 0;
    for member in &call.args[2..] {
        gone += i64::from(call.keyspace.remove_member(&mut entry, member)?);
    }
    if gone > 0 {
        let left = call.keyspace.save(&entry)?;
        call.changed(Event::SET, "srem", key);
        if !left {
            call.notify(Event::GENERIC, "del", key);
        }
    }
    call.reply.integer(gone);
    Ok(())
}

fn smove(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, from, to, member) = (call.session.db, call.args[1], call.args[2], call.args[3]);
    let source = call.keyspace.entry(db, from, Kind::Set)?;
    let mut target = match source {
        Some(_) => call.keyspace.entry_or_new(db, to, Kind::Set)?,
        None => {
            call.reply.integer(0);
            return Ok(());
        }
    };
    let mut source = source.ok_or_else(CommandError::no_such_key)?;
    let has = call.keyspace.has_member(db, &source.record(), member)?;
    if has && from != to {
        call.keyspace.remove_member(&mut source, member)?;
        let left = call.keyspace.save(&source)?;
        call.changed(Event::SET, "srem", from);
        if !left {
            call.notify(Event::GENERIC, "del", from);
        }
        if call.keyspace.add_to_set(&mut target, member)? {
            call.keyspace.save(&target)?;
            call.changed(Event::SET, "sadd", to);
        }
    }
    call.reply.integer(i64::from(has));
    Ok(())
}

fn sismember(call: &mut Call<'_, '_>) -> CommandResult {
    let db = call.session.db;
    let has = match call.keyspace.find_kind(db, call.args[1], Kind::Set)? {
        Some(record) => call.keyspace.has_member(db, &record, call.args[2])?,
        None => false,
    };
    call.reply.integer(i64::from(has));
    Ok(())
}

fn smismember(call: &mut Call<'_, '_>) -> CommandResult {
    let db = call.session.db;
    let record = call.keyspace.find_kind(db, call.args[1], Kind::Set)?;
    call.reply.array(call.args.len() - 2);
    for member in &call.args[2..] {
        let has = match &record {
            Some(record) => call.keyspace.has_member(db, record, member)?,
            None => false,
        };
        call.reply.integer(i64::from(has));
    }
    Ok(())
}

fn scard(call: &mut Call<'_, '_>) -> CommandResult {
    let record = call
        .keyspace
        .find_kind(call.session.db, call.args[1], Kind::Set)?;
    call.reply
        .integer(record.map_or(0, |record| record.count() as i64));
    Ok(())
}

fn smembers(call: &mut Call<'_, '_>) -> CommandResult {
    let db = call.session.db;
    let Some(record) = call.keyspace.find_kind(db, call.args[1], Kind::Set)? else {
        call.reply.set(0);
        return Ok(());
    };
    call.reply.set(record.count() as usize);
    let reply = &mut *call.reply;
    call.keyspace.each_member(db, &record, |member, _| {
        reply.bulk(member);
        Ok(())
    })
}

fn spop(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key) = (call.session.db, call.args[1]);
    let error = "ERR value is out of range, must be positive";
    let count = match &call.args[2..] {
        [] => None,
        [count] => match integer_or(count, error)? {
            count if count >= 0 => Some(count as u64),
            _ => return Err(CommandError::new(error)),
        },
        _ => return Err(CommandError::syntax()),
    };
    let entry = call.keyspace.entry(db, key, Kind::Set)?;
    let Some(mut entry) = entry.filter(|_| count != Some(0)) else {
        match count {
            None => call.reply.null(),
            Some(_) => call.reply.set(0),
        }
        return Ok(());
    };
    let chosen = match count {
        None => vec![call.keyspace.random_member(db, &entry.record())?],
        Some(count) => call.keyspace.distinct_members(db, &entry.record(), count)?,
    };
    if count.is_some() {
        call.reply.set(chosen.len());
    }
    if chosen.len() as u64 == entry.count() {
        call.keyspace.delete(db, key)?;
        chosen.iter().for_each(|(member, _)| call.reply.bulk(member));
        call.changed(Event::SET, "spop", key);
        call.notify(Event::GENERIC, "del", key);
        return Ok(());
    }
    for (member, _) in &chosen {
        call.keyspace.remove_member(&mut entry, member)?;
        call.reply.bulk(member);
    }
    call.keyspace.save(&entry)?;
    call.changed(Event::SET, "spop", key);
    Ok(())
}

fn srandmember(call: &mut Call<'_, '_>) -> CommandResult {
    if call.args.len() > 3 {
        return Err(CommandError::syntax());
    }
    let sample = Sample::of(&call.args[2..], "")?;
    hashes::random(call, Kind::Set, sample, |_, _| Ok(()))
}

/// How sets are combined.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Combine {
    Inter,
    Union,
    Diff,
}

/// The records of sets; those that are not there are empty.
fn records<'a>(call: &'a Call<'_, '_>, keys: &[&[u8]]) -> Result<Vec<Option<Record<'a>>>> {
    keys.iter()
        .map(|key| call.keyspace.find_kind(call.session.db, key, Kind::Set))
        .collect()
}

/// What sets have in common: at most `limit` members.
fn inter<'a>(call: &'a Call<'_, '_>, keys: &[&[u8]], limit: usize) -> Result<Vec<&'a [u8]>> {
    let records = records(call, keys)?;
    let Some(mut records) = records.into_iter().collect::<Option<Vec<_>>>() else {
        return Ok(Vec::new());
    };
    records.sort_by_key(Record::count);
    let db = call.session.db;
    let (first, others) = records.split_first().ok_or_else(CommandError::syntax)?;
    let mut out = Vec::new();
    for member in call.keyspace.members(db, first)? {
        if out.len() >= limit {
            break;
        }
        let mut everywhere = true;
        for other in others {
            everywhere = everywhere && call.keyspace.has_member(db, other, member)?;
        }
        if everywhere {
            out.push(member);
        }
    }
    Ok(out)
}

fn combined<'a>(call: &'a Call<'_, '_>, combine: Combine, keys: &[&[u8]]) -> Result<Vec<&'a [u8]>> {
    let db = call.session.db;
    match combine {
        Combine::Inter => inter(call, keys, usize::MAX),
        Combine::Union => {
            let mut seen = HashSet::new();
            let mut out = Vec::new();
            for record in records(call, keys)?.iter().flatten() {
                let members = call.keyspace.members(db, record)?;
                out.extend(members.into_iter().filter(|member| seen.insert(*member)));
            }
            Ok(out)
        }
        Combine::Diff => {
            let records = records(call, keys)?;
            let Some(Some(first)) = records.first() else {
                return Ok(Vec::new());
            };
            let mut out = Vec::new();
            for member in call.keyspace.members(db, first)? {
                let mut elsewhere = false;
                for other in records[1..].iter().flatten() {
                    elsewhere = elsewhere || call.keyspace.has_member(db, other, member)?;
                }
                if !elsewhere {
                    out.push(member);
                }
            }
            Ok(out)
        }
    }
}

fn give(call: &mut Call<'_, '_>, combine: Combine) -> CommandResult {
    let mut frames = weald_resp::Reply::new(call.reply.protocol());
    let members = combined(call, combine, &call.args[1..])?;
    frames.set(members.len());
    members.iter().for_each(|member| frames.bulk(member));
    call.reply.raw(frames.bytes());
    Ok(())
}

fn store(call: &mut Call<'_, '_>, combine: Combine, event: &str) -> CommandResult {
    let (db, target) = (call.session.db, call.args[1]);
    let members = combined(call, combine, &call.args[2..])?;
    let members: Vec<Vec<u8>> = members.into_iter().map(<[u8]>::to_vec).collect();
    if members.is_empty() {
        if call.keyspace.delete(db, target)? {
            call.changed(Event::GENERIC, "del", target);
        }
    } else {
        let mut entry = call.keyspace.fresh_entry(db, target, Kind::Set)?;
        for member in &members {
            call.keyspace.add_to_set(&mut entry, member)?;
        }
        call.keyspace.save(&entry)?;
        call.changed(Event::SET, event, target);
    }
    call.reply.integer(members.len() as i64);
    Ok(())
}

fn sinter(call: &mut Call<'_, '_>) -> CommandResult {
    give(call, Combine::Inter)
}

fn sunion(call: &mut Call<'_, '_>) -> CommandResult {
    give(call, Combine::Union)
}

fn sdiff(call: &mut Call<'_, '_>) -> CommandResult {
    give(call, Combine::Diff)
}

fn sinterstore(call: &mut Call<'_, '_>) -> CommandResult {
    store(call, Combine::Inter, "sinterstore")
}

fn sunionstore(call: &mut Call<'_, '_>) -> CommandResult {
    store(call, Combine::Union, "sunionstore")
}

fn sdiffstore(call: &mut Call<'_, '_>) -> CommandResult {
    store(call, Combine::Diff, "sdiffstore")
}

/// Reads `LIMIT n`, 0 or nothing for no limit.
pub(super) fn card_limit(rest: &[&[u8]]) -> Result<usize> {
    match rest {
        [] => Ok(usize::MAX),
        [word, limit] if is_word(word, "limit") => {
            let error = "ERR LIMIT can't be negative";
            match integer_or(limit, error)? {
                0 => Ok(usize::MAX),
                limit if limit > 0 => Ok(limit as usize),
                _ => Err(CommandError::new(error)),
            }
        }
        _ => Err(CommandError::syntax()),
    }
}

fn sintercard(call: &mut Call<'_, '_>) -> CommandResult {
    let keys = counted_keys(call.args, 1)?;
    let limit = card_limit(&call.args[2 + keys.len()..])?;
    let count = inter(call, keys, limit)?.len();
    call.reply.integer(count as i64);
    Ok(())
}

fn sscan(call: &mut Call<'_, '_>) -> CommandResult {
    let cursor = scan::cursor(call.args[2])?;
    let options = ScanOptions::of(&call.args[3..], false)?;
    scan::members(call, Kind::Set, cursor, &options, |_, _| Ok(0))
}
