//! Lists.

use crate::blocking::TimeoutReply;
use crate::call::Call;
use crate::commands::args::{self, Result, integer, integer_or, is_word, positive};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Entry, Kind, Slice};
use crate::notify::Event;
use crate::registry::{Access, Command, Flags, Group, Handler, KeySpec};

const ONE_READ: &[KeySpec] = &[KeySpec::one(1, Access::Read)];
const UNTIL_TIMEOUT: &[KeySpec] = &[KeySpec::range(1, -2, 1, Access::Take)];
const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = Flags::READONLY.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE;
const WRITE_FAST: Flags = Flags::WRITE.and(Flags::FAST);
const GROW: Flags = Flags::WRITE.and(Flags::DENYOOM);
const GROW_FAST: Flags = GROW.and(Flags::FAST);
const BLOCK: Flags = Flags::WRITE.and(Flags::BLOCKING);

const fn list(
    name: &'static str,
    arity: i32,
    since: &'static str,
    flags: Flags,
    keys: &'static [KeySpec],
    summary: &'static str,
    handler: Handler,
) -> Command {
    Command::new(name, arity, Group::List, since, summary, handler)
        .flags(flags)
        .keys(keys)
}

pub(crate) const COMMANDS: &[Command] = &[
    list(
        "lpush",
        -3,
        "1.0.0",
        GROW_FAST,
        KeySpec::ONE_INSERT,
        "Adds elements at the head.",
        push,
    ),
    list(
        "rpush",
        -3,
        "1.0.0",
        GROW_FAST,
        KeySpec::ONE_INSERT,
        "Adds elements at the tail.",
        push,
    ),
    list(
        "lpushx",
        -3,
        "2.2.0",
        GROW_FAST,
        KeySpec::ONE_INSERT,
        "Adds elements at the head of a list that is there.",
        push,
    ),
    list(
        "rpushx",
        -3,
        "2.2.0",
        GROW_FAST,
        KeySpec::ONE_INSERT,
        "Adds elements at the tail of a list that is there.",
        push,
    ),
    list(
        "lpop",
        -2,
        "1.0.0",
        WRITE_FAST,
        KeySpec::ONE_TAKE,
        "Takes elements from the head.",
        pop,
    ),
    list(
        "rpop",
        -2,
        "1.0.0",
        WRITE_FAST,
        KeySpec::ONE_TAKE,
        "Takes elements from the tail.",
        pop,
    ),
    list(
        "llen",
        2,
        "1.0.0",
        READ_FAST,
        KeySpec::ONE_LOOK,
        "Returns the number of elements.",
        llen,
    ),
    list(
        "lindex",
        3,
        "1.0.0",
        READ,
        ONE_READ,
        "Returns the element at a place.",
        lindex,
    ),
    list(
        "lrange",
        4,
        "1.0.0",
        READ,
        ONE_READ,
        "Returns the elements of a range.",
        lrange,
    ),
    list(
        "lset",
        4,
        "1.0.0",
        GROW,
        KeySpec::ONE_CHANGE,
        "Sets the element at a place.",
        lset,
    ),
    list(
        "linsert",
        5,
        "2.2.0",
        GROW,
        KeySpec::ONE_INSERT,
        "Inserts an element before or after another.",
        linsert,
    ),
    list(
        "lrem",
        4,
        "1.0.0",
        WRITE,
        KeySpec::ONE_CUT,
        "Removes elements of a value.",
        lrem,
    ),
    list(
        "ltrim",
        4,
        "1.0.0",
        WRITE,
        KeySpec::ONE_CUT,
        "Keeps the elements of a range.",
        ltrim,
    ),
    list(
        "lpos",
        -3,
        "6.0.6",
        READ,
        ONE_READ,
        "Finds elements of a value.",
        lpos,
    ),
    list(
        "rpoplpush",
        3,
        "1.2.0",
        GROW,
        KeySpec::MOVES,
        "Moves an element to another list.",
        lmove,
    ),
    list(
        "lmove",
        5,
        "6.2.0",
        GROW,
        KeySpec::MOVES,
        "Moves an element to another list.",
        lmove,
    ),
    list(
        "lmpop",
        -4,
        "7.0.0",
        WRITE,
        &[KeySpec::counted(1, Access::Take)],
        "Takes elements from the first list that has any.",
        lmpop,
    ),
    list(
        "blpop",
        -3,
        "2.0.0",
        BLOCK,
        UNTIL_TIMEOUT,
        "Takes an element from the head, or waits for one.",
        bpop,
    ),
    list(
        "brpop",
        -3,
        "2.0.0",
        BLOCK,
        UNTIL_TIMEOUT,
        "Takes an element from the tail, or waits for one.",
        bpop,
    ),
    list(
        "brpoplpush",
        4,
        "2.2.0",
        BLOCK.and(Flags::DENYOOM),
        KeySpec::MOVES,
        "Moves an element to another list, or waits for one.",
        lmove,
    ),
    list(
        "blmove",
        6,
        "6.2.0",
        BLOCK.and(Flags::DENYOOM),
        KeySpec::MOVES,
        "Moves an element to another list, or waits for one.",
        lmove,
    ),
    list(
        "blmpop",
        -5,
        "7.0.0",
        BLOCK,
        &[KeySpec::counted(2, Access::Take)],
        "Takes elements from the first list that has any, or waits.",
        lmpop,
    ),
];

fn event(left: bool, push: bool) -> &'static str {
    match (left, push) {
        (true, true) => "lpush",
        (false, true) => "rpush",
        (true, false) => "lpop",
        (false, false) => "rpop",
    }
}

fn push(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key, name) = (call.session.db, call.args[1], call.found.command.name);
    let left = name.starts_with('l');
    let mut entry = if name.ends_with('x') {
        match call.keyspace.entry(db, key, Kind::List)? {
            Some(entry) => entry,
            None => {
                call.reply.integer(0);
                return Ok(());
            }
        }
    } else {
        call.keyspace.entry_or_new(db, key, Kind::List)?
    };
    for element in &call.args[2..] {
        call.keyspace.push_element(&mut entry, left, element)?;
    }
    call.keyspace.save(&entry)?;
    call.changed(Event::LIST, event(left, true), key);
    call.reply.integer(entry.count() as i64);
    Ok(())
}

/// Saves a list after something was taken from it.
fn save_shrunk(call: &mut Call<'_, '_>, entry: &Entry, key: &[u8], event: &str) -> CommandResult {
    let left = call.keyspace.save(entry)?;
    call.changed(Event::LIST, event, key);
    if !left {
        call.notify(Event::GENERIC, "del", key);
    }
    Ok(())
}

/// Takes up to `count` elements from an end, and writes them as an array.
fn pop_many(call: &mut Call<'_, '_>, mut entry: Entry, key: &[u8], left: bool, count: u64) -> CommandResult {
    let (db, len) = (call.session.db, entry.count());
    let count = count.min(len);
    let (taken, kept) = if left {
        (
            Slice { start: 0, end: count },
            Slice {
                start: count,
                end: len,
            },
        )
    } else {
        (
            Slice {
                start: len - count,
                end: len,
            },
            Slice {
                start: 0,
                end: len - count,
            },
        )
    };
    call.reply.array(count as usize);
    let reply = &mut *call.reply;
    call.keyspace
        .each_element(db, &entry.record(), taken, !left, |_, element| {
            reply.bulk(element);
            true
        })?;
    if count > 0 {
        call.keyspace.trim(&mut entry, kept)?;
        save_shrunk(call, &entry, key, event(left, false))?;
    }
    Ok(())
}

fn pop(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key) = (call.session.db, call.args[1]);
    let left = call.found.command.name == "lpop";
    let count = match &call.args[2..] {
        [] => None,
        [count] => Some(positive(count)? as u64),
        _ => return Err(CommandError::arity(call.found.command.name)),
    };
    let Some(mut entry) = call.keyspace.entry(db, key, Kind::List)? else {
        match count {
            None => call.reply.null(),
            Some(_) => call.reply.null_array(),
        }
        return Ok(());
    };
    if let Some(count) = count {
        return pop_many(call, entry, key, left, count);
    }
    let element = call.keyspace.pop_element(&mut entry, left)?;
    call.reply.bulk_or_null(element.as_deref());
    save_shrunk(call, &entry, key, event(left, false))
}

fn llen(call: &mut Call<'_, '_>) -> CommandResult {
    let record = call
        .keyspace
        .find_kind(call.session.db, call.args[1], Kind::List)?;
    call.reply
        .integer(record.map_or(0, |record| record.count() as i64));
    Ok(())
}

/// The place that an index means.
fn place(index: i64, len: u64) -> Option<u64> {
    let at = if index < 0 {
        index.checked_add(len as i64)?
    } else {
        index
    };
    u64::try_from(at).ok().filter(|at| *at < len)
}

fn lindex(call: &mut Call<'_, '_>) -> CommandResult {
    let db = call.session.db;
    let record = call.keyspace.find_kind(db, call.args[1], Kind::List)?;
    let Some(record) = record else {
        call.reply.null();
        return Ok(());
    };
    let element = match place(integer(call.args[2])?, record.count()) {
        Some(at) => call.keyspace.element(db, &record, at)?,
        None => None,
    };
    call.reply.bulk_or_null(element);
    Ok(())
}

fn lrange(call: &mut Call<'_, '_>) -> CommandResult {
    let db = call.session.db;
    let (start, stop) = (integer(call.args[2])?, integer(call.args[3])?);
    let Some(record) = call.keyspace.find_kind(db, call.args[1], Kind::List)? else {
        call.reply.array(0);
        return Ok(());
    };
    let slice = Slice::of(start, stop, record.count());
    call.reply.array(slice.len() as usize);
    let reply = &mut *call.reply;
    call.keyspace
        .each_element(db, &record, slice, false, |_, element| {
            reply.bulk(element);
            true
        })
}

fn lset(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key) = (call.session.db, call.args[1]);
    let mut entry = call
        .keyspace
        .entry(db, key, Kind::List)?
        .ok_or_else(CommandError::no_such_key)?;
    let index = integer(call.args[2])?;
    let at = place(index, entry.count()).ok_or_else(CommandError::out_of_range)?;
    call.keyspace.set_element(&mut entry, at, call.args[3])?;
    call.keyspace.save(&entry)?;
    call.changed(Event::LIST, "lset", key);
    call.reply.ok();
    Ok(())
}

fn linsert(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key, pivot) = (call.session.db, call.args[1], call.args[3]);
    let after = match call.args[2].to_ascii_lowercase().as_slice() {
        b"before" => 0,
        b"after" => 1,
        _ => return Err(CommandError::syntax()),
    };
    let Some(mut entry) = call.keyspace.entry(db, key, Kind::List)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let mut found = None;
    let all = Slice {
        start: 0,
        end: entry.count(),
    };
    call.keyspace
        .each_element(db, &entry.record(), all, false, |at, element| {
            found = (element == pivot).then_some(at);
            found.is_none()
        })?;
    let Some(at) = found else {
        call.reply.integer(-1);
        return Ok(());
    };
    call.keyspace
        .insert_element(&mut entry, at + after, call.args[4])?;
    call.keyspace.save(&entry)?;
    call.changed(Event::LIST, "linsert", key);
    call.reply.integer(entry.count() as i64);
    Ok(())
}

fn lrem(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key, value) = (call.session.db, call.args[1], call.args[3]);
    let count = integer(call.args[2])?;
    let Some(mut entry) = call.keyspace.entry(db, key, Kind::List)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let limit = if count == 0 {
        u64::MAX
    } else {
        count.unsigned_abs()
    };
    let mut places = Vec::new();
    let all = Slice {
        start: 0,
        end: entry.count(),
    };
    call.keyspace
        .each_element(db, &entry.record(), all, count < 0, |at, element| {
            if element == value {
                places.push(at);
            }
            (places.len() as u64) < limit
        })?;
    if !places.is_empty() {
        places.sort_unstable();
        call.keyspace.remove_elements(&mut entry, &places)?;
        save_shrunk(call, &entry, key, "lrem")?;
    }
    call.reply.integer(places.len() as i64);
    Ok(())
}

fn ltrim(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key) = (call.session.db, call.args[1]);
    let (start, stop) = (integer(call.args[2])?, integer(call.args[3])?);
    if let Some(mut entry) = call.keyspace.entry(db, key, Kind::List)? {
        let slice = Slice::of(start, stop, entry.count());
        call.keyspace.trim(&mut entry, slice)?;
        save_shrunk(call, &entry, key, "ltrim")?;
    }
    call.reply.ok();
    Ok(())
}

fn lpos(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, value) = (call.session.db, call.args[2]);
    let (mut rank, mut count, mut max) = (1, None, 0);
    for pair in call.args[3..].chunks(2) {
        let [word, arg] = *pair else {
            return Err(CommandError::syntax());
        };
        if is_word(word, "rank") {
            rank = integer(arg)?;
            if rank == 0 {
                let text = "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list";
                return Err(CommandError::new(text));
            }
            if rank == i64::MIN {
                let text = "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
                return Err(CommandError::new(text));
            }
        } else if is_word(word, "count") {
            let error = "ERR COUNT can't be negative";
            let wanted = integer_or(arg, error)?;
            count = Some(u64::try_from(wanted).map_err(|_| CommandError::new(error))?);
        } else if is_word(word, "maxlen") {
            let error = "ERR MAXLEN can't be negative";
            max = u64::try_from(integer_or(arg, error)?).map_err(|_| CommandError::new(error))?;
        } else {
            return Err(CommandError::syntax());
        }
    }
    let mut found = Vec::new();
    if let Some(record) = call.keyspace.find_kind(db, call.args[1], Kind::List)? {
        let limit = match count {
            None => 1,
            Some(0) => u64::MAX,
            Some(count) => count,
        };
        let (mut seen, mut looked) = (0u64, 0u64);
        let all = Slice {
            start: 0,
            end: record.count(),
        };
        call.keyspace
            .each_element(db, &record, all, rank < 0, |at, element| {
                if element == value {
                    seen += 1;
                    if seen >= rank.unsigned_abs() {
                        found.push(at);
                    }
                }
                looked += 1;
                (found.len() as u64) < limit && looked != max
            })?;
    }
    match count {
        None => match found.first() {
            Some(at) => call.reply.integer(*at as i64),
            None => call.reply.null(),
        },
        Some(_) => {
            call.reply.array(found.len());
            found.iter().for_each(|at| call.reply.integer(*at as i64));
        }
    }
    Ok(())
}

fn side(arg: &[u8]) -> Result<bool> {
    match arg.to_ascii_lowercase().as_slice() {
        b"left" => Ok(true),
        b"right" => Ok(false),
        _ => Err(CommandError::syntax()),
    }
}

/// A key that a blocked command may find to be of another type, which is no error then.
pub(super) fn waited_entry(call: &Call<'_, '_>, key: &[u8], kind: Kind) -> Result<Option<Entry>> {
    match call.keyspace.entry(call.session.db, key, kind) {
        Err(CommandError::Refused(_)) if call.is_retry() => Ok(None),
        found => found,
    }
}

fn lmove(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, from, to, name) = (
        call.session.db,
        call.args[1],
        call.args[2],
        call.found.command.name,
    );
    let (from_left, to_left) = match name {
        "rpoplpush" | "brpoplpush" => (false, true),
        _ => (side(call.args[3])?, side(call.args[4])?),
    };
    let blocks = name.starts_with('b');
    let timeout = if blocks {
        args::timeout(call.args[call.args.len() - 1])?
    } else {
        None
    };
    let Some(mut source) = waited_entry(call, from, Kind::List)? else {
        if blocks {
            return call.block_on(&[from], timeout, TimeoutReply::Null);
        }
        call.reply.null();
        return Ok(());
    };
    if from == to {
        let element = call
            .keyspace
            .pop_element(&mut source, from_left)?
            .unwrap_or_default();
        call.keyspace.push_element(&mut source, to_left, &element)?;
        call.keyspace.save(&source)?;
        call.changed(Event::LIST, event(from_left, false), from);
        call.changed(Event::LIST, event(to_left, true), to);
        call.reply.bulk(&element);
        return Ok(());
    }
    let mut target = call.keyspace.entry_or_new(db, to, Kind::List)?;
    let element = call
        .keyspace
        .pop_element(&mut source, from_left)?
        .unwrap_or_default();
    call.keyspace.push_element(&mut target, to_left, &element)?;
    call.keyspace.save(&target)?;
    save_shrunk(call, &source, from, event(from_left, false))?;
    call.changed(Event::LIST, event(to_left, true), to);
    call.reply.bulk(&element);
    Ok(())
}

fn bpop(call: &mut Call<'_, '_>) -> CommandResult {
    let left = call.found.command.name == "blpop";
    let keys = &call.args[1..call.args.len() - 1];
    let timeout = args::timeout(call.args[call.args.len() - 1])?;
    for key in keys {
        let Some(mut entry) = waited_entry(call, key, Kind::List)? else {
            continue;
        };
        let element = call.keyspace.pop_element(&mut entry, left)?.unwrap_or_default();
        call.reply.array(2);
        call.reply.bulk(key);
        call.reply.bulk(&element);
        return save_shrunk(call, &entry, key, event(left, false));
    }
    call.block_on(keys, timeout, TimeoutReply::NullArray)
}

/// What follows the words of `LMPOP` and its like: the keys, which end, how many.
pub(super) struct Pops<'a> {
    pub(super) keys: &'a [&'a [u8]],
    pub(super) first: bool,
    pub(super) count: u64,
}

/// Reads `numkeys key … word [COUNT n]` from `at` on, where the word is one of two: of the first end or of the other.
pub(super) fn pop_args<'a>(args: &'a [&'a [u8]], at: usize, words: [&str; 2]) -> Result<Pops<'a>> {
    let error = "ERR numkeys should be greater than 0";
    let numkeys = integer_or(args[at], error)?;
    if numkeys <= 0 {
        return Err(CommandError::new(error));
    }
    let end = usize::try_from(numkeys)
        .ok()
        .and_then(|count| count.checked_add(at + 1));
    let Some((end, word)) = end.and_then(|end| Some((end, *args.get(end)?))) else {
        return Err(CommandError::syntax());
    };
    let first = is_word(word, words[0]);
    if !first && !is_word(word, words[1]) {
        return Err(CommandError::syntax());
    }
    let count = match &args[end + 1..] {
        [] => 1,
        [option, count] if is_word(option, "count") => {
            let error = "ERR count should be greater than 0";
            match integer_or(count, error)? {
                count if count > 0 => count as u64,
                _ => return Err(CommandError::new(error)),
            }
        }
        _ => return Err(CommandError::syntax()),
    };
    Ok(Pops {
        keys: &args[at + 1..end],
        first,
        count,
    })
}

fn lmpop(call: &mut Call<'_, '_>) -> CommandResult {
    let blocks = call.found.command.name == "blmpop";
    let timeout = if blocks {
        args::timeout(call.args[1])?
    } else {
        None
    };
    let Pops {
        keys,
        first: left,
        count,
    } = pop_args(call.args, if blocks { 2 } else { 1 }, ["left", "right"])?;
    for key in keys {
        if let Some(entry) = waited_entry(call, key, Kind::List)? {
            call.reply.array(2);
            call.reply.bulk(key);
            return pop_many(call, entry, key, left, count);
        }
    }
    if blocks {
        return call.block_on(keys, timeout, TimeoutReply::NullArray);
    }
    call.reply.null_array();
    Ok(())
}
