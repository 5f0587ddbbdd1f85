//! Strings.

use crate::call::Call;
use crate::commands::args::{Result, STRING_MAX, TimeUnit, float, integer, integer_or, is_word};
use crate::commands::decimal;
use crate::commands::lcs;
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Expiry, Kind};
use crate::notify::Event;
use crate::registry::{Access, Command, Flags, Group, Handler, KeySpec};

const ONE_READ: &[KeySpec] = &[KeySpec::one(1, Access::Read)];
const ONE_UPDATE: &[KeySpec] = &[KeySpec::one(1, Access::Update)];
const SET_KEYS: &[KeySpec] = &[KeySpec::one(1, Access::Update).varying(|args| {
    let gets = args.iter().skip(3).any(|word| is_word(word, "get"));
    if gets { Access::Update } else { Access::Overwrite }
})];
const ONE_SET: &[KeySpec] = &[KeySpec::one(1, Access::Overwrite)];
const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = Flags::READONLY.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM);
const WRITE_FAST: Flags = Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST);

const fn string(
    name: &'static str,
    arity: i32,
    since: &'static str,
    flags: Flags,
    keys: &'static [KeySpec],
    summary: &'static str,
    handler: Handler,
) -> Command {
    Command::new(name, arity, Group::String, since, summary, handler)
        .flags(flags)
        .keys(keys)
}

pub(crate) const COMMANDS: &[Command] = &[
    string(
        "get",
        2,
        "1.0.0",
        READ_FAST,
        ONE_READ,
        "Returns the string value of a key.",
        get,
    ),
    string(
        "set",
        -3,
        "1.0.0",
        WRITE.and(Flags::LOOKS),
        SET_KEYS,
        "Sets the string value of a key.",
        set,
    ),
    string(
        "setnx",
        3,
        "1.0.0",
        WRITE_FAST,
        KeySpec::ONE_CREATE,
        "Sets a key unless it is there.",
        setnx,
    ),
    string(
        "setex",
        4,
        "2.0.0",
        WRITE,
        ONE_SET,
        "Sets a key and when it expires, in seconds.",
        setex,
    ),
    string(
        "psetex",
        4,
        "2.6.0",
        WRITE,
        ONE_SET,
        "Sets a key and when it expires, in milliseconds.",
        setex,
    ),
    string(
        "getset",
        3,
        "1.0.0",
        WRITE_FAST.and(Flags::LOOKS),
        ONE_UPDATE,
        "Sets a key and returns what it was.",
        getset,
    ),
    string(
        "getdel",
        2,
        "6.2.0",
        Flags::WRITE.and(Flags::FAST).and(Flags::LOOKS),
        KeySpec::ONE_TAKE,
        "Returns and deletes a string.",
        getdel,
    ),
    string(
        "getex",
        -2,
        "6.2.0",
        Flags::WRITE.and(Flags::FAST).and(Flags::LOOKS),
        ONE_UPDATE,
        "Returns a string and sets when it expires.",
        getex,
    ),
    string(
        "mget",
        -2,
        "1.0.0",
        READ_FAST,
        &[KeySpec::range(1, -1, 1, Access::Read)],
        "Returns the string values of keys.",
        mget,
    ),
    string(
        "mset",
        -3,
        "1.0.1",
        WRITE,
        &[KeySpec::range(1, -1, 2, Access::Overwrite)],
        "Sets keys to strings.",
        mset,
    ),
    string(
        "msetnx",
        -3,
        "1.0.1",
        WRITE,
        &[KeySpec::range(1, -1, 2, Access::Create)],
        "Sets keys to strings if none of them is there.",
        msetnx,
    ),
    string(
        "append",
        3,
        "2.0.0",
        WRITE_FAST,
        KeySpec::ONE_INSERT,
        "Appends to a string.",
        append,
    ),
    string(
        "strlen",
        2,
        "2.2.0",
        READ_FAST,
        KeySpec::ONE_LOOK,
        "Returns the length of a string.",
        strlen,
    ),
    string(
        "setrange",
        4,
        "2.2.0",
        WRITE,
        KeySpec::ONE_CHANGE,
        "Overwrites a part of a string.",
        setrange,
    ),
    string(
        "getrange",
        4,
        "2.4.0",
        READ,
        ONE_READ,
        "Returns a part of a string.",
        getrange,
    ),
    string(
        "substr",
        4,
        "1.0.0",
        READ,
        ONE_READ,
        "Returns a part of a string.",
        getrange,
    ),
    string(
        "incr",
        2,
        "1.0.0",
        WRITE_FAST,
        ONE_UPDATE,
        "Adds one to a number.",
        incr,
    ),
    string(
        "decr",
        2,
        "1.0.0",
        WRITE_FAST,
        ONE_UPDATE,
        "Takes one from a number.",
        decr,
    ),
    string(
        "incrby",
        3,
        "1.0.0",
        WRITE_FAST,
        ONE_UPDATE,
        "Adds to a number.",
        incrby,
    ),
    string(
        "decrby",
        3,
        "1.0.0",
        WRITE_FAST,
        ONE_UPDATE,
        "Takes from a number.",
        decrby,
    ),
    string(
        "incrbyfloat",
        3,
        "2.6.0",
        WRITE_FAST,
        ONE_UPDATE,
        "Adds to a number with a fraction.",
        incrbyfloat,
    ),
    string(
        "lcs",
        -3,
        "7.0.0",
        READ,
        &[KeySpec::range(1, 2, 1, Access::Read)],
        "Finds the longest common subsequence.",
        lcs::lcs,
    ),
];

fn get(call: &mut Call<'_, '_>) -> CommandResult {
    let value = call.keyspace.string(call.session.db, call.args[1])?;
    call.reply.bulk_or_null(value);
    Ok(())
}

/// The options of `SET`.
#[derive(Default)]
struct SetOptions {
    nx: bool,
    xx: bool,
    get: bool,
    expiry: Option<Expiry>,
}

fn set_options(call: &Call<'_, '_>) -> Result<SetOptions> {
    let mut options = SetOptions::default();
    let mut at = 3;
    while let Some(word) = call.args.get(at).copied() {
        let none_yet = options.expiry.is_none();
        if is_word(word, "nx") && !options.xx {
            options.nx = true;
        } else if is_word(word, "xx") && !options.nx {
            options.xx = true;
        } else if is_word(word, "get") {
            options.get = true;
        } else if is_word(word, "keepttl") && none_yet {
            options.expiry = Some(Expiry::Kept);
        } else if let Some(unit) = TimeUnit::of(word)
            && none_yet
            && let Some(arg) = call.args.get(at + 1)
        {
            // Read only once all words are known to be right.
            let rest = &call.args[at + 2..];
            check_words(rest)?;
            options.expiry = Some(Expiry::At(unit.at(call, arg)?));
            at += 1;
        } else {
            return Err(CommandError::syntax());
        }
        at += 1;
    }
    Ok(options)
}

/// Whether what follows the time of expiry is what may follow it.
fn check_words(rest: &[&[u8]]) -> Result<()> {
    let known = |word: &&[u8]| ["nx", "xx", "get"].iter().any(|name| is_word(word, name));
    if rest.iter().all(known) {
        Ok(())
    } else {
        Err(CommandError::syntax())
    }
}

fn set(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key, value) = (call.session.db, call.args[1], call.args[2]);
    if call.args.len() == 3 {
        call.keyspace.set_string(db, key, value, Expiry::Never)?;
        call.changed(Event::STRING, "set", key);
        call.reply.ok();
        return Ok(());
    }
    let options = set_options(call)?;
    let exists = if options.get {
        let old = call.keyspace.string(db, key)?;
        call.reply.bulk_or_null(old);
        old.is_some()
    } else {
        let exists = (options.nx || options.xx) && call.keyspace.find(db, key)?.is_some();
        call.keyspace.lookups.forget();
        exists
    };
    if (options.nx && exists) || (options.xx && !exists) {
        if !options.get {
            call.reply.null();
        }
        return Ok(());
    }
    let expiry = options.expiry.unwrap_or(Expiry::Never);
    call.keyspace.set_string(db, key, value, expiry)?;
    call.changed(Event::STRING, "set", key);
    if let Expiry::At(_) = expiry {
        call.notify(Event::GENERIC, "expire", key);
    }
    if !options.get {
        call.reply.ok();
    }
    Ok(())
}

fn setnx(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key) = (call.session.db, call.args[1]);
    let absent = call.keyspace.find(db, key)?.is_none();
    if absent {
        call.keyspace.set_string(db, key, call.args[2], Expiry::Never)?;
        call.changed(Event::STRING, "set", key);
    }
    call.reply.integer(i64::from(absent));
    Ok(())
}

fn setex(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key) = (call.session.db, call.args[1]);
    let unit = if call.found.command.name == "setex" {
        TimeUnit::EX
    } else {
        TimeUnit::PX
    };
    let at = unit.at(call, call.args[2])?;
    call.keyspace.set_string(db, key, call.args[3], Expiry::At(at))?;
    call.changed(Event::STRING, "set", key);
    call.notify(Event::GENERIC, "expire", key);
    call.reply.ok();
    Ok(())
}

fn getset(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key) = (call.session.db, call.args[1]);
    let old = call.keyspace.string(db, key)?;
    call.reply.bulk_or_null(old);
    call.keyspace.set_string(db, key, call.args[2], Expiry::Never)?;
    call.changed(Event::STRING, "set", key);
    Ok(())
}

fn getdel(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key) = (call.session.db, call.args[1]);
    let old = call.keyspace.string(db, key)?;
    call.reply.bulk_or_null(old);
    if old.is_some() {
        call.keyspace.delete(db, key)?;
        call.changed(Event::GENERIC, "del", key);
    }
    Ok(())
}

fn getex(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key) = (call.session.db, call.args[1]);
    let expiry = match &call.args[2..] {
        [] => None,
        [word] if is_word(word, "persist") => Some(0),
        [word, _] if TimeUnit::of(word).is_some() => None,
        _ => return Err(CommandError::syntax()),
    };
    let value = call.keyspace.string(db, key)?;
    if value.is_none() {
        call.reply.null();
        return Ok(());
    }
    let expiry = match (&call.args[2..], expiry) {
        ([word, arg], _) => TimeUnit::of(word).map(|unit| unit.at(call, arg)).transpose()?,
        (_, expiry) => expiry,
    };
    let expires = call.keyspace.find(db, key)?.map_or(0, |record| record.expires);
    // It is looked for three times, and that is one look-up.
    call.keyspace.lookups.forget();
    call.reply.bulk_or_null(call.keyspace.string(db, key)?);
    match expiry {
        Some(0) if expires != 0 => {
            call.keyspace.expire_at(db, key, 0)?;
            call.changed(Event::GENERIC, "persist", key);
        }
        Some(at) if at != 0 && at <= call.now_ms => {
            call.keyspace.delete(db, key)?;
            call.changed(Event::GENERIC, "del", key);
        }
        Some(at) if at != 0 => {
            call.keyspace.expire_at(db, key, at)?;
            call.changed(Event::GENERIC, "expire", key);
        }
        _ => {}
    }
    Ok(())
}

fn mget(call: &mut Call<'_, '_>) -> CommandResult {
    call.reply.array(call.args.len() - 1);
    for key in &call.args[1..] {
        let record = call.keyspace.find(call.session.db, key)?;
        let value = record
            .filter(|record| record.kind == Kind::String)
            .map(|record| record.string())
            .transpose()?;
        call.reply.bulk_or_null(value);
    }
    Ok(())
}

fn pairs<'a>(call: &Call<'a, '_>) -> Result<&'a [&'a [u8]]> {
    let pairs = &call.args[1..];
    if pairs.len() % 2 == 1 {
        return Err(CommandError::arity(call.found.command.name));
    }
    Ok(pairs)
}

fn mset_all(call: &mut Call<'_, '_>, pairs: &[&[u8]]) -> CommandResult {
    let db = call.session.db;
    for pair in pairs.chunks_exact(2) {
        call.keyspace.set_string(db, pair[0], pair[1], Expiry::Never)?;
        call.changed(Event::STRING, "set", pair[0]);
    }
    Ok(())
}

fn mset(call: &mut Call<'_, '_>) -> CommandResult {
    let pairs = pairs(call)?;
    mset_all(call, pairs)?;
    call.reply.ok();
    Ok(())
}

fn msetnx(call: &mut Call<'_, '_>) -> CommandResult {
    let pairs = pairs(call)?;
    for pair in pairs.chunks_exact(2) {
        if call.keyspace.find(call.session.db, pair[0])?.is_some() {
            call.reply.integer(0);
            return Ok(());
        }
    }
    mset_all(call, pairs)?;
    call.reply.integer(1);
    Ok(())
}

pub(super) fn check_length(len: u64) -> Result<()> {
    if len > STRING_MAX {
        return Err(CommandError::new(
            "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        ));
    }
    Ok(())
}

fn append(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key, more) = (call.session.db, call.args[1], call.args[2]);
    let old = call.keyspace.string(db, key)?;
    let len = old.map_or(0, <[u8]>::len) + more.len();
    check_length(len as u64)?;
    match old {
        None => call.keyspace.set_string(db, key, more, Expiry::Never)?,
        Some(old) => {
            let value = [old, more].concat();
            call.keyspace.change_string(db, key, &value)?;
        }
    }
    call.changed(Event::STRING, "append", key);
    call.reply.integer(len as i64);
    Ok(())
}

fn strlen(call: &mut Call<'_, '_>) -> CommandResult {
    let value = call.keyspace.string(call.session.db, call.args[1])?;
    call.reply.integer(value.map_or(0, <[u8]>::len) as i64);
    Ok(())
}

fn setrange(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key, part) = (call.session.db, call.args[1], call.args[3]);
    let offset = integer(call.args[2])?;
    let Ok(offset) = usize::try_from(offset) else {
        return Err(CommandError::new("ERR offset is out of range"));
    };
    let old = call.keyspace.string(db, key)?;
    if part.is_empty() {
        call.reply.integer(old.map_or(0, <[u8]>::len) as i64);
        return Ok(());
    }
    check_length((offset as u64).saturating_add(part.len() as u64))?;
    let mut value = old.unwrap_or_default().to_vec();
    let end = offset + part.len();
    if value.len() < end {
        value.resize(end, 0);
    }
    value[offset..end].copy_from_slice(part);
    call.keyspace.change_string(db, key, &value)?;
    call.changed(Event::STRING, "setrange", key);
    call.reply.integer(value.len() as i64);
    Ok(())
}

fn getrange(call: &mut Call<'_, '_>) -> CommandResult {
    let (start, end) = (integer(call.args[2])?, integer(call.args[3])?);
    let value = call
        .keyspace
        .string(call.session.db, call.args[1])?
        .unwrap_or_default();
    let len = value.len() as i64;
    if (start < 0 && end < 0 && start > end) || len == 0 {
        call.reply.bulk(b"");
        return Ok(());
    }
    let from_end = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    let part = if start > end {
        &[][..]
    } else {
        &value[start as usize..=end as usize]
    };
    call.reply.bulk(part);
    Ok(())
}

fn add(call: &mut Call<'_, '_>, by: i64) -> CommandResult {
    let (db, key) = (call.session.db, call.args[1]);
    let old = call.keyspace.string(db, key)?;
    let old = old.map_or(Ok(0), integer)?;
    let new = old
        .checked_add(by)
        .ok_or_else(|| CommandError::new("ERR increment or decrement would overflow"))?;
    let expiry = Expiry::Kept;
    call.keyspace
        .set_string(db, key, new.to_string().as_bytes(), expiry)?;
    call.changed(Event::STRING, "incrby", key);
    call.reply.integer(new);
    Ok(())
}

fn incr(call: &mut Call<'_, '_>) -> CommandResult {
    add(call, 1)
}

fn decr(call: &mut Call<'_, '_>) -> CommandResult {
    add(call, -1)
}

fn incrby(call: &mut Call<'_, '_>) -> CommandResult {
    add(call, integer(call.args[2])?)
}

fn decrby(call: &mut Call<'_, '_>) -> CommandResult {
    let by = integer_or(call.args[2], "ERR value is not an integer or out of range")?;
    let by = by
        .checked_neg()
        .ok_or_else(|| CommandError::new("ERR decrement would overflow"))?;
    add(call, by)
}

fn incrbyfloat(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key, by) = (call.session.db, call.args[1], call.args[2]);
    let old = call.keyspace.string(db, key)?.unwrap_or(b"0");
    float(old)?;
    float(by)?;
    let new = decimal::sum(old, by)
        .ok_or_else(|| CommandError::new("ERR increment would produce NaN or Infinity"))?;
    call.keyspace.set_string(db, key, new.as_bytes(), Expiry::Kept)?;
    call.changed(Event::STRING, "incrbyfloat", key);
    call.reply.bulk(new.as_bytes());
    Ok(())
}
