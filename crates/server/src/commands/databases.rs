//! Whole databases: their sizes, and emptying and swapping them.

use crate::call::Call;
use crate::commands::connection::database;
use crate::commands::is;
use crate::error::{CommandError, CommandResult};
use crate::registry::{Category, Command, Flags, Group};

pub(crate) const COMMANDS: &[Command] = &[
    Command::new(
        "dbsize",
        1,
        Group::Server,
        "1.0.0",
        "Returns the number of keys in the database.",
        dbsize,
    )
    .flags(Flags::READONLY.and(Flags::FAST))
    .acl(Category::KEYSPACE),
    Command::new(
        "flushdb",
        -1,
        Group::Server,
        "1.0.0",
        "Removes all keys from the current database.",
        flushdb,
    )
    .flags(Flags::WRITE)
    .acl(Category::KEYSPACE.and(Category::DANGEROUS)),
    Command::new(
        "flushall",
        -1,
        Group::Server,
        "1.0.0",
        "Removes all keys from all databases.",
        flushall,
    )
    .flags(Flags::WRITE)
    .acl(Category::KEYSPACE.and(Category::DANGEROUS)),
    Command::new(
        "swapdb",
        3,
        Group::Server,
        "4.0.0",
        "Swaps two databases.",
        swapdb,
    )
    .flags(Flags::WRITE.and(Flags::FAST))
    .acl(Category::KEYSPACE.and(Category::DANGEROUS)),
];

fn dbsize(call: &mut Call<'_, '_>) -> CommandResult {
    let len = call.keyspace.len(call.session.db)?;
    call.reply.integer(len as i64);
    Ok(())
}

/// `SYNC` and `ASYNC` are the same here: what is emptied is given back in the background.
fn check_mode(args: &[&[u8]]) -> CommandResult {
    match &args[1..] {
        [] => Ok(()),
        [word] if is(word, "async") || is(word, "sync") => Ok(()),
        _ => Err(CommandError::syntax()),
    }
}

/// Those who watch or wait for keys of a database that is about to be emptied, or to change places, are told.
fn touch_watched(call: &mut Call<'_, '_>, db: usize) -> CommandResult {
    for key in call.state.watches.keys(db) {
        if call.keyspace.exists(db, &key, call.now_ms)? {
            call.state.watches.touched(db, &key);
        }
    }
    Ok(())
}

fn flushdb(call: &mut Call<'_, '_>) -> CommandResult {
    check_mode(call.args)?;
    let db = call.session.db;
    touch_watched(call, db)?;
    call.keyspace.flush_db(db)?;
    call.state.tracking.touched_all(&mut call.state.clients);
    call.reply.ok();
    Ok(())
}

fn flushall(call: &mut Call<'_, '_>) -> CommandResult {
    check_mode(call.args)?;
    for db in 0..call.state.settings.databases {
        touch_watched(call, db)?;
        call.keyspace.flush_db(db)?;
    }
    call.state.tracking.touched_all(&mut call.state.clients);
    call.reply.ok();
    Ok(())
}

fn swapdb(call: &mut Call<'_, '_>) -> CommandResult {
    let number =
        |arg: &[u8], why: &'static str| weald_resp::parse_i64(arg).ok_or_else(|| CommandError::new(why));
    let first = number(call.args[1], "ERR invalid first DB index")?;
    let second = number(call.args[2], "ERR invalid second DB index")?;
    let (first, second) = (database(call, first)?, database(call, second)?);
    if first != second {
        touch_watched(call, first)?;
        touch_watched(call, second)?;
        call.keyspace.swap_db(first, second)?;
        touch_watched(call, first)?;
        touch_watched(call, second)?;
        call.state.waiting.touched_all(first);
        call.state.waiting.touched_all(second);
        call.state.tracking.touched_all(&mut call.state.clients);
    }
    call.reply.ok();
    Ok(())
}
