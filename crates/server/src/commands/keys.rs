//! Keys, whatever their type.

use crate::call::Call;
use crate::commands::args::{Result, integer, is_word};
use crate::commands::scan::{self, ScanOptions};
use crate::commands::{dump, migrate, sort};
use crate::error::{CommandError, CommandResult};
use crate::glob;
use crate::notify::Event;
use crate::registry::{Access, Category, Command, Flags, Group, Handler, KeySpec};

const ONE_READ: &[KeySpec] = &[KeySpec::one(1, Access::Read)];
const ONE_SET: &[KeySpec] = &[KeySpec::one(1, Access::Overwrite)];
const SUB_LOOK: &[KeySpec] = &[KeySpec::one(2, Access::Look)];
const ALL_LOOK: &[KeySpec] = &[KeySpec::range(1, -1, 1, Access::Look)];
const ALL_REMOVE: &[KeySpec] = &[KeySpec::range(1, -1, 1, Access::Remove)];
const FROM_TO: &[KeySpec] = &[KeySpec::one(1, Access::Take), KeySpec::one(2, Access::Overwrite)];
const SORT_KEYS: &[KeySpec] = &[
    KeySpec::one(1, Access::Read),
    KeySpec::keyword(
        "store",
        2,
        &[("limit", 2), ("get", 1), ("by", 1)],
        Access::Overwrite,
    ),
];
const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = Flags::READONLY.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE;
const WRITE_FAST: Flags = Flags::WRITE.and(Flags::FAST);
const GROW: Flags = Flags::WRITE.and(Flags::DENYOOM);

const fn key(
    name: &'static str,
    arity: i32,
    since: &'static str,
    flags: Flags,
    keys: &'static [KeySpec],
    summary: &'static str,
    handler: Handler,
) -> Command {
    Command::new(name, arity, Group::Generic, since, summary, handler)
        .flags(flags)
        .keys(keys)
}

pub(crate) const COMMANDS: &[Command] = &[
    key("del", -2, "1.0.0", WRITE, ALL_REMOVE, "Deletes keys.", del),
    key(
        "unlink",
        -2,
        "4.0.0",
        WRITE_FAST,
        ALL_REMOVE,
        "Deletes keys.",
        del,
    ),
    key(
        "exists",
        -2,
        "1.0.0",
        READ_FAST.and(Flags::ASKS),
        ALL_LOOK,
        "Counts which of the keys are there.",
        exists,
    ),
    key(
        "touch",
        -2,
        "3.2.1",
        READ_FAST,
        ALL_LOOK,
        "Counts which of the keys are there.",
        exists,
    ),
    key(
        "type",
        2,
        "1.0.0",
        READ_FAST.and(Flags::ASKS),
        KeySpec::ONE_LOOK,
        "Returns the type of a key.",
        kind,
    ),
    key(
        "keys",
        2,
        "1.0.0",
        READ,
        &[],
        "Returns the keys that a pattern matches.",
        keys,
    ),
    key("scan", -2, "2.8.0", READ, &[], "Walks through all keys.", scan),
    key(
        "randomkey",
        1,
        "1.0.0",
        READ,
        &[],
        "Returns a key at random.",
        randomkey,
    ),
    key(
        "rename",
        3,
        "1.0.0",
        WRITE,
        FROM_TO,
        "Gives a key another name.",
        rename,
    ),
    key(
        "renamenx",
        3,
        "1.0.0",
        WRITE_FAST,
        FROM_TO,
        "Gives a key another name that is free.",
        rename,
    ),
    key(
        "copy",
        -3,
        "6.2.0",
        GROW,
        &[KeySpec::one(1, Access::Read), KeySpec::one(2, Access::Overwrite)],
        "Copies a key.",
        copy,
    ),
    key(
        "move",
        3,
        "1.0.0",
        WRITE_FAST,
        &[KeySpec::one(1, Access::Update)],
        "Moves a key to another database.",
        move_key,
    ),
    key(
        "dump",
        2,
        "2.6.0",
        READ,
        ONE_READ,
        "Returns the value of a key as bytes for RESTORE.",
        dump::dump,
    ),
    key(
        "restore",
        -4,
        "2.6.0",
        GROW,
        ONE_SET,
        "Sets a key to what DUMP gave.",
        dump::restore,
    ),
    key(
        "migrate",
        -6,
        "2.6.0",
        WRITE,
        &[KeySpec::one_or_after(
            3,
            "keys",
            6,
            &[("auth", 1), ("auth2", 2)],
            Access::Take,
        )],
        "Moves keys to another server.",
        migrate::migrate,
    )
    .acl(Category::DANGEROUS),
    key(
        "sort",
        -2,
        "1.0.0",
        GROW.and(Flags::LOOKS),
        SORT_KEYS,
        "Sorts a list, a set or a sorted set.",
        sort::sort,
    ),
    key(
        "sort_ro",
        -2,
        "7.0.0",
        READ.and(Flags::MOVABLEKEYS),
        ONE_READ,
        "Sorts a list, a set or a sorted set.",
        sort::sort,
    ),
    Command::container(
        "object",
        Group::Generic,
        "2.2.3",
        "Tells how a value is kept.",
        OBJECT,
    ),
    Command::new(
        "dbsize",
        1,
        Group::Server,
        "1.0.0",
        "Returns the number of keys.",
        dbsize,
    )
    .flags(READ_FAST),
    Command::new(
        "flushdb",
        -1,
        Group::Server,
        "1.0.0",
        "Deletes all keys of the database.",
        flushdb,
    )
    .flags(WRITE),
    Command::new(
        "flushall",
        -1,
        Group::Server,
        "1.0.0",
        "Deletes all keys.",
        flushall,
    )
    .flags(WRITE),
    Command::new(
        "swapdb",
        3,
        Group::Server,
        "4.0.0",
        "Lets two databases change places.",
        swapdb,
    )
    .flags(WRITE_FAST),
];

const OBJECT: &[Command] = &[
    key(
        "object|encoding",
        3,
        "2.2.3",
        READ.and(Flags::ASKS),
        SUB_LOOK,
        "Tells how a value is encoded.",
        object_encoding,
    ),
    key(
        "object|refcount",
        3,
        "2.2.3",
        READ.and(Flags::ASKS),
        SUB_LOOK,
        "Tells how often a value is referred to.",
        object_refcount,
    ),
    key(
        "object|idletime",
        3,
        "2.2.3",
        READ.and(Flags::ASKS),
        SUB_LOOK,
        "Tells how long a key was not used.",
        object_idletime,
    ),
    key(
        "object|freq",
        3,
        "4.0.0",
        READ.and(Flags::ASKS),
        SUB_LOOK,
        "Tells how often a key is used.",
        object_freq,
    ),
    key(
        "object|help",
        2,
        "6.2.0",
        Flags::none(),
        &[],
        "Explains the subcommands.",
        object_help,
    ),
];

fn del(call: &mut Call<'_, '_>) -> CommandResult {
    let mut gone = 0;
    for key in &call.args[1..] {
        if call.keyspace.delete(call.session.db, key)? {
            call.changed(Event::GENERIC, "del", key);
            gone += 1;
        }
    }
    call.reply.integer(gone);
    Ok(())
}

fn exists(call: &mut Call<'_, '_>) -> CommandResult {
    let mut found = 0;
    for key in &call.args[1..] {
        found += i64::from(call.keyspace.find(call.session.db, key)?.is_some());
    }
    call.reply.integer(found);
    Ok(())
}

fn kind(call: &mut Call<'_, '_>) -> CommandResult {
    let kind = call.keyspace.kind(call.session.db, call.args[1])?;
    call.reply.simple(kind.map_or("none", |kind| kind.name()));
    Ok(())
}

fn keys(call: &mut Call<'_, '_>) -> CommandResult {
    let pattern = call.args[1];
    let mark = call.reply.mark();
    let mut found = 0;
    let reply = &mut *call.reply;
    call.keyspace.each_key(call.session.db, |key, _| {
        if glob::matches(pattern, key) {
            reply.bulk(key);
            found += 1;
        }
    })?;
    call.reply.array_at(mark, found);
    Ok(())
}

fn scan(call: &mut Call<'_, '_>) -> CommandResult {
    let cursor = scan::cursor(call.args[1])?;
    let options = ScanOptions::of(&call.args[2..], true)?;
    let mark = call.reply.mark();
    let mut found = 0;
    let reply = &mut *call.reply;
    let next = call
        .keyspace
        .scan(call.session.db, cursor, options.count, |key, record| {
            let right = options.kind.is_none_or(|kind| is_word(kind, record.kind.name()));
            if right && options.wants(key) {
                reply.bulk(key);
                found += 1;
            }
        })?;
    scan::with_cursor(call.reply, mark, found, next);
    Ok(())
}

fn randomkey(call: &mut Call<'_, '_>) -> CommandResult {
    let key = call.keyspace.random_key(call.session.db)?;
    call.reply.bulk_or_null(key.as_deref());
    Ok(())
}

fn rename(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, from, to) = (call.session.db, call.args[1], call.args[2]);
    let nx = call.found.command.name == "renamenx";
    if call.keyspace.find(db, from)?.is_none() {
        return Err(CommandError::no_such_key());
    }
    let taken = nx && call.keyspace.find(db, to)?.is_some();
    if !taken && from != to {
        call.keyspace.rename(db, from, to)?;
        call.changed(Event::GENERIC, "rename_from", from);
        call.changed(Event::GENERIC, "rename_to", to);
    }
    match (nx, taken) {
        (false, _) => call.reply.ok(),
        (true, taken) => call.reply.integer(i64::from(!taken)),
    }
    Ok(())
}

fn database(call: &Call<'_, '_>, arg: &[u8]) -> Result<usize> {
    let number = integer(arg)?;
    usize::try_from(number)
        .ok()
        .filter(|number| *number < call.keyspace.databases())
        .ok_or_else(|| CommandError::new("ERR DB index is out of range"))
}

fn copy(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, from, to) = (call.session.db, call.args[1], call.args[2]);
    let (mut target, mut replace, mut at) = (db, false, 3);
    while let Some(word) = call.args.get(at) {
        if is_word(word, "replace") {
            replace = true;
        } else if is_word(word, "db") && at + 1 < call.args.len() {
            target = database(call, call.args[at + 1])?;
            at += 1;
        } else {
            return Err(CommandError::syntax());
        }
        at += 1;
    }
    if target == db && from == to {
        return Err(CommandError::new(
            "ERR source and destination objects are the same",
        ));
    }
    let possible =
        call.keyspace.find(db, from)?.is_some() && (replace || call.keyspace.find(target, to)?.is_none());
    if possible {
        call.keyspace.copy((db, from), (target, to))?;
        call.touched_in(target, to);
        call.notify_in(target, Event::GENERIC, "copy_to", to);
    }
    call.reply.integer(i64::from(possible));
    Ok(())
}

fn move_key(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key) = (call.session.db, call.args[1]);
    let target = database(call, call.args[2])?;
    if target == db {
        return Err(CommandError::new(
            "ERR source and destination objects are the same",
        ));
    }
    let possible = call.keyspace.find(db, key)?.is_some() && call.keyspace.find(target, key)?.is_none();
    if possible {
        call.keyspace.copy((db, key), (target, key))?;
        call.keyspace.delete(db, key)?;
        call.changed(Event::GENERIC, "move_from", key);
        call.touched_in(target, key);
        call.notify_in(target, Event::GENERIC, "move_to", key);
    }
    call.reply.integer(i64::from(possible));
    Ok(())
}

fn object_encoding(call: &mut Call<'_, '_>) -> CommandResult {
    let record = call.keyspace.find(call.session.db, call.args[2])?;
    let encoding = record.map(|record| call.keyspace.encoding(&record).as_bytes());
    call.reply.bulk_or_null(encoding);
    Ok(())
}

/// What Redis tells of the small numbers that it has once for all keys.
const SHARED: i64 = i32::MAX as i64;

/// Values are not shared, though those are said to be that Redis shares.
fn object_refcount(call: &mut Call<'_, '_>) -> CommandResult {
    let Some(record) = call.keyspace.find(call.session.db, call.args[2])? else {
        call.reply.null();
        return Ok(());
    };
    let is_shared = call.keyspace.encoding(&record) == "int"
        && weald_resp::parse_i64(record.string()?).is_some_and(|number| (0..10_000).contains(&number));
    call.reply.integer(if is_shared { SHARED } else { 1 });
    Ok(())
}

fn object_idletime(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key) = (call.session.db, call.args[2]);
    if call.keyspace.find(db, key)?.is_none() {
        call.reply.null();
        return Ok(());
    }
    if call.state.settings.counting.counts {
        return Err(CommandError::new(
            "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching \
             between policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    }
    call.reply.integer(call.keyspace.idle_s(db, key) as i64);
    Ok(())
}

fn object_freq(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key) = (call.session.db, call.args[2]);
    if call.keyspace.find(db, key)?.is_none() {
        call.reply.null();
        return Ok(());
    }
    if !call.state.settings.counting.counts {
        return Err(CommandError::new(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
             switching between policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    }
    call.reply.integer(i64::from(call.keyspace.use_count(db, key)));
    Ok(())
}

fn object_help(call: &mut Call<'_, '_>) -> CommandResult {
    let lines = [
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    Return the kind of internal representation used in order to store the value",
        "    associated with a <key>.",
        "FREQ <key>",
        "    Return the access frequency index of the <key>. The returned integer is",
        "    proportional to the logarithm of the recent access frequency of the key.",
        "IDLETIME <key>",
        "    Return the idle time of the <key>, that is the approximated number of",
        "    seconds elapsed since the last access to the key.",
        "REFCOUNT <key>",
        "    Return the number of references of the value associated with the specified",
        "    <key>.",
        "HELP",
        "    Print this help.",
    ];
    call.reply.array(lines.len());
    lines.iter().for_each(|line| call.reply.simple(line));
    Ok(())
}

fn dbsize(call: &mut Call<'_, '_>) -> CommandResult {
    let len = call.keyspace.len(call.session.db)?;
    call.reply.integer(len as i64);
    Ok(())
}

/// Deletes all keys of some databases.
fn flush(call: &mut Call<'_, '_>, databases: std::ops::Range<usize>) -> CommandResult {
    match &call.args[1..] {
        [] => {}
        [word] if is_word(word, "async") || is_word(word, "sync") => {}
        _ => return Err(CommandError::syntax()),
    }
    for db in databases {
        call.keyspace.flush(db)?;
        call.state.flushed(db, call.session.id);
    }
    call.reply.ok();
    Ok(())
}

fn flushdb(call: &mut Call<'_, '_>) -> CommandResult {
    let db = call.session.db;
    flush(call, db..db + 1)
}

fn flushall(call: &mut Call<'_, '_>) -> CommandResult {
    let all = 0..call.keyspace.databases();
    flush(call, all)
}

fn swapdb(call: &mut Call<'_, '_>) -> CommandResult {
    let number = |arg: &[u8], error: &'static str| {
        let number = weald_resp::parse_i64(arg).ok_or_else(|| CommandError::new(error))?;
        usize::try_from(number)
            .ok()
            .filter(|number| *number < call.keyspace.databases())
            .ok_or_else(|| CommandError::new("ERR DB index is out of range"))
    };
    let a = number(call.args[1], "ERR invalid first DB index")?;
    let b = number(call.args[2], "ERR invalid second DB index")?;
    if a != b {
        call.keyspace.swap(a, b)?;
        let keyspace = &*call.keyspace;
        // A key that can't be read may be there.
        call.state.swapped((a, b), call.session.id, |db, key| {
            !matches!(keyspace.find(db, key), Ok(None))
        });
    }
    call.reply.ok();
    Ok(())
}
