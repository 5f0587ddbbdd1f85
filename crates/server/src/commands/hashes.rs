//! Hashes.

use crate::call::Call;
use crate::commands::args::{Result, float, integer, integer_or, is_word};
use crate::commands::decimal;
use crate::commands::scan::{self, ScanOptions};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::Kind;
use crate::notify::Event;
use crate::registry::{Access, Command, Flags, Group, Handler, KeySpec};

const ONE_READ: &[KeySpec] = &[KeySpec::one(1, Access::Read)];
const ONE_UPDATE: &[KeySpec] = &[KeySpec::one(1, Access::Update)];
const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = Flags::READONLY.and(Flags::FAST);
const WRITE_FAST: Flags = Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST);

const fn hash(
    name: &'static str,
    arity: i32,
    since: &'static str,
    flags: Flags,
    summary: &'static str,
    handler: Handler,
) -> Command {
    let keys = if flags.has(Flags::WRITE) {
        KeySpec::ONE_CHANGE
    } else {
        ONE_READ
    };
    Command::new(name, arity, Group::Hash, since, summary, handler)
        .flags(flags)
        .keys(keys)
}

pub(crate) const COMMANDS: &[Command] = &[
    hash("hset", -4, "2.0.0", WRITE_FAST, "Sets fields of a hash.", hset),
    hash("hmset", -4, "2.0.0", WRITE_FAST, "Sets fields of a hash.", hset),
    hash(
        "hsetnx",
        4,
        "2.0.0",
        WRITE_FAST,
        "Sets a field of a hash unless it is there.",
        hsetnx,
    )
    .keys(KeySpec::ONE_INSERT),
    hash(
        "hget",
        3,
        "2.0.0",
        READ_FAST,
        "Returns the value of a field.",
        hget,
    ),
    hash(
        "hmget",
        -3,
        "2.0.0",
        READ_FAST,
        "Returns the values of fields.",
        hmget,
    ),
    hash(
        "hgetall",
        2,
        "2.0.0",
        READ,
        "Returns all fields with their values.",
        hgetall,
    ),
    hash("hkeys", 2, "2.0.0", READ, "Returns all fields.", hgetall),
    hash("hvals", 2, "2.0.0", READ, "Returns all values.", hgetall),
    hash(
        "hdel",
        -3,
        "2.0.0",
        Flags::WRITE.and(Flags::FAST),
        "Deletes fields.",
        hdel,
    )
    .keys(KeySpec::ONE_CUT),
    hash(
        "hlen",
        2,
        "2.0.0",
        READ_FAST,
        "Returns the number of fields.",
        hlen,
    )
    .keys(KeySpec::ONE_LOOK),
    hash(
        "hexists",
        3,
        "2.0.0",
        READ_FAST,
        "Whether there is such a field.",
        hexists,
    )
    .keys(KeySpec::ONE_LOOK),
    hash(
        "hstrlen",
        3,
        "3.2.0",
        READ_FAST,
        "Returns the length of the value of a field.",
        hstrlen,
    )
    .keys(KeySpec::ONE_LOOK),
    hash(
        "hincrby",
        4,
        "2.0.0",
        WRITE_FAST,
        "Adds to a number in a field.",
        hincrby,
    )
    .keys(ONE_UPDATE),
    hash(
        "hincrbyfloat",
        4,
        "2.6.0",
        WRITE_FAST,
        "Adds to a number with a fraction in a field.",
        hincrbyfloat,
    )
    .keys(ONE_UPDATE),
    hash(
        "hrandfield",
        -2,
        "6.2.0",
        READ,
        "Returns fields at random.",
        hrandfield,
    ),
    hash(
        "hscan",
        -3,
        "2.8.0",
        READ,
        "Walks through the fields of a hash.",
        hscan,
    ),
];

fn hset(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key, name) = (call.session.db, call.args[1], call.found.command.name);
    if call.args.len() % 2 == 1 {
        return Err(CommandError::arity(name));
    }
    let mut entry = call.keyspace.entry_or_new(db, key, Kind::Hash)?;
    let mut new = 0;
    for pair in call.args[2..].chunks_exact(2) {
        new += i64::from(call.keyspace.put_field(&mut entry, pair[0], pair[1])?);
    }
    call.keyspace.save(&entry)?;
    call.changed(Event::HASH, "hset", key);
    if name == "hset" {
        call.reply.integer(new);
    } else {
        call.reply.ok();
    }
    Ok(())
}

fn hsetnx(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key, field) = (call.session.db, call.args[1], call.args[2]);
    let mut entry = call.keyspace.entry_or_new(db, key, Kind::Hash)?;
    let absent = !call.keyspace.has_member(db, &entry.record(), field)?;
    if absent {
        call.keyspace.put_field(&mut entry, field, call.args[3])?;
        call.keyspace.save(&entry)?;
        call.changed(Event::HASH, "hset", key);
    }
    call.reply.integer(i64::from(absent));
    Ok(())
}

/// The value of a field.
fn field<'a>(call: &'a Call<'_, '_>, name: &[u8]) -> Result<Option<&'a [u8]>> {
    let db = call.session.db;
    match call.keyspace.find_kind(db, call.args[1], Kind::Hash)? {
        Some(record) => call.keyspace.member(db, &record, name),
        None => Ok(None),
    }
}

fn hget(call: &mut Call<'_, '_>) -> CommandResult {
    let db = call.session.db;
    let value = match call.keyspace.find_kind(db, call.args[1], Kind::Hash)? {
        Some(record) => call.keyspace.member(db, &record, call.args[2])?,
        None => None,
    };
    call.reply.bulk_or_null(value);
    Ok(())
}

fn hmget(call: &mut Call<'_, '_>) -> CommandResult {
    let db = call.session.db;
    let record = call.keyspace.find_kind(db, call.args[1], Kind::Hash)?;
    call.reply.array(call.args.len() - 2);
    for name in &call.args[2..] {
        let value = match &record {
            Some(record) => call.keyspace.member(db, record, name)?,
            None => None,
        };
        call.reply.bulk_or_null(value);
    }
    Ok(())
}

fn hgetall(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, name) = (call.session.db, call.found.command.name);
    let (keys, values) = (name != "hvals", name != "hkeys");
    let record = call.keyspace.find_kind(db, call.args[1], Kind::Hash)?;
    let count = record.as_ref().map_or(0, |record| record.count() as usize);
    if keys && values {
        call.reply.map(count);
    } else {
        call.reply.array(count);
    }
    let Some(record) = record else {
        return Ok(());
    };
    let reply = &mut *call.reply;
    call.keyspace.each_member(db, &record, |field, value| {
        if keys {
            reply.bulk(field);
        }
        if values {
            reply.bulk(value);
        }
        Ok(())
    })
}

fn hdel(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key) = (call.session.db, call.args[1]);
    let Some(mut entry) = call.keyspace.entry(db, key, Kind::Hash)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let mut gone = 0;
    for name in &call.args[2..] {
        gone += i64::from(call.keyspace.remove_member(&mut entry, name)?);
    }
    if gone > 0 {
        let left = call.keyspace.save(&entry)?;
        call.changed(Event::HASH, "hdel", key);
        if !left {
            call.notify(Event::GENERIC, "del", key);
        }
    }
    call.reply.integer(gone);
    Ok(())
}

fn hlen(call: &mut Call<'_, '_>) -> CommandResult {
    let record = call
        .keyspace
        .find_kind(call.session.db, call.args[1], Kind::Hash)?;
    call.reply
        .integer(record.map_or(0, |record| record.count() as i64));
    Ok(())
}

fn hexists(call: &mut Call<'_, '_>) -> CommandResult {
    let exists = field(call, call.args[2])?.is_some();
    call.reply.integer(i64::from(exists));
    Ok(())
}

fn hstrlen(call: &mut Call<'_, '_>) -> CommandResult {
    let len = field(call, call.args[2])?.map_or(0, <[u8]>::len);
    call.reply.integer(len as i64);
    Ok(())
}

/// Sets a field to what was made of it.
fn change(call: &mut Call<'_, '_>, event: &str, value: &[u8]) -> CommandResult {
    let (db, key) = (call.session.db, call.args[1]);
    let mut entry = call.keyspace.entry_or_new(db, key, Kind::Hash)?;
    call.keyspace.put_field(&mut entry, call.args[2], value)?;
    call.keyspace.save(&entry)?;
    call.changed(Event::HASH, event, key);
    Ok(())
}

fn hincrby(call: &mut Call<'_, '_>) -> CommandResult {
    let by = integer(call.args[3])?;
    let old = match field(call, call.args[2])? {
        Some(old) => integer_or(old, "ERR hash value is not an integer")?,
        None => 0,
    };
    let new = old
        .checked_add(by)
        .ok_or_else(|| CommandError::new("ERR increment or decrement would overflow"))?;
    change(call, "hincrby", new.to_string().as_bytes())?;
    call.reply.integer(new);
    Ok(())
}

fn hincrbyfloat(call: &mut Call<'_, '_>) -> CommandResult {
    let by = call.args[3];
    if !float(by)?.is_finite() {
        return Err(CommandError::new("ERR value is NaN or Infinity"));
    }
    let old = field(call, call.args[2])?.unwrap_or(b"0");
    float(old).map_err(|_| CommandError::new("ERR hash value is not a float"))?;
    let new = decimal::sum(old, by)
        .ok_or_else(|| CommandError::new("ERR increment would produce NaN or Infinity"))?;
    change(call, "hincrbyfloat", new.as_bytes())?;
    call.reply.bulk(new.as_bytes());
    Ok(())
}

/// How many at random: the number, whether the same may come twice, whether with what belongs to them.
pub(super) struct Sample {
    pub(super) count: u64,
    pub(super) repeats: bool,
    pub(super) with_values: bool,
}

impl Sample {
    /// Reads `count [WITHVALUES]`.
    pub(super) fn of(args: &[&[u8]], with: &str) -> Result<Option<Sample>> {
        let (count, with_values) = match args {
            [] => return Ok(None),
            [count] => (count, false),
            [count, word] => {
                let count_first = integer(count)?;
                if !is_word(word, with) {
                    return Err(CommandError::syntax());
                }
                let max = i64::MAX / 2;
                if !(-max..=max).contains(&count_first) {
                    return Err(CommandError::new("ERR value is out of range"));
                }
                (count, true)
            }
            _ => return Err(CommandError::syntax()),
        };
        let count = integer(count)?;
        if count == i64::MIN {
            let text =
                "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
            return Err(CommandError::new(text));
        }
        Ok(Some(Sample {
            count: count.unsigned_abs(),
            repeats: count < 0,
            with_values,
        }))
    }
}

fn hrandfield(call: &mut Call<'_, '_>) -> CommandResult {
    let sample = Sample::of(&call.args[2..], "withvalues")?;
    random(call, Kind::Hash, sample, |reply, value| {
        reply.bulk(value);
        Ok(())
    })
}

/// Gives members at random, with values that `write` writes.
pub(super) fn random(
    call: &mut Call<'_, '_>,
    kind: Kind,
    sample: Option<Sample>,
    write: impl Fn(&mut weald_resp::Reply, &[u8]) -> Result<()>,
) -> CommandResult {
    let (db, key) = (call.session.db, call.args[1]);
    let entry = call.keyspace.entry(db, key, kind)?;
    let Some(sample) = sample else {
        match &entry {
            Some(entry) => {
                let (member, _) = call.keyspace.random_member(db, &entry.record())?;
                call.reply.bulk(&member);
            }
            None => call.reply.null(),
        }
        return Ok(());
    };
    let Some(entry) = entry.filter(|_| sample.count > 0) else {
        call.reply.array(0);
        return Ok(());
    };
    let pairs = sample.with_values && call.reply.is_resp3();
    let each = if sample.with_values && !pairs { 2 } else { 1 };
    let one = |call: &mut Call<'_, '_>, member: &[u8], value: &[u8]| -> CommandResult {
        if pairs {
            call.reply.array(2);
        }
        call.reply.bulk(member);
        if sample.with_values {
            write(call.reply, value)?;
        }
        Ok(())
    };
    if sample.repeats {
        let count = usize::try_from(sample.count)
            .ok()
            .and_then(|count| count.checked_mul(each));
        call.reply
            .array(count.ok_or_else(|| CommandError::new("ERR value is out of range"))?);
        for _ in 0..sample.count {
            let (member, value) = call.keyspace.random_member(db, &entry.record())?;
            one(call, &member, &value)?;
        }
    } else {
        let chosen = call
            .keyspace
            .distinct_members(db, &entry.record(), sample.count)?;
        call.reply.array(chosen.len() * each);
        for (member, value) in chosen {
            one(call, &member, &value)?;
        }
    }
    Ok(())
}

fn hscan(call: &mut Call<'_, '_>) -> CommandResult {
    let cursor = scan::cursor(call.args[2])?;
    let options = ScanOptions::of(&call.args[3..], false)?;
    scan::members(call, Kind::Hash, cursor, &options, |reply, value| {
        reply.bulk(value);
        Ok(1)
    })
}
