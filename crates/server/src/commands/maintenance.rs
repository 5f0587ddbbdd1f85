//! Checkpoints, checks, and the end of the server.

use crate::call::Call;
use crate::commands::is;
use crate::error::{CommandError, CommandResult};
use crate::registry::{Command, Flags, Group};
use crate::state::Ending;

const ADMIN: Flags = Flags::ADMIN.and(Flags::NOSCRIPT);
const ALONE: Flags = ADMIN.and(Flags::ALONE).and(Flags::NO_MULTI);

pub(crate) const COMMANDS: &[Command] = &[
    Command::new(
        "save",
        1,
        Group::Server,
        "1.0.0",
        "Synchronously saves the database(s) to disk.",
        save,
    )
    .flags(ALONE),
    Command::new(
        "bgsave",
        -1,
        Group::Server,
        "1.0.0",
        "Asynchronously saves the database(s) to disk.",
        bgsave,
    )
    .flags(ADMIN.and(Flags::ALONE)),
    Command::new(
        "bgrewriteaof",
        1,
        Group::Server,
        "1.0.0",
        "Asynchronously rewrites the append-only file to disk.",
        bgrewriteaof,
    )
    .flags(ADMIN.and(Flags::ALONE)),
    Command::new(
        "lastsave",
        1,
        Group::Server,
        "1.0.0",
        "Returns the Unix timestamp of the last successful save to disk.",
        lastsave,
    )
    .flags(Flags::LOADING.and(Flags::STALE).and(Flags::FAST))
    .acl(crate::registry::Category::ADMIN.and(crate::registry::Category::DANGEROUS)),
    Command::new(
        "shutdown",
        -1,
        Group::Server,
        "1.0.0",
        "Synchronously saves the database(s) to disk and shuts down the server.",
        shutdown,
    )
    .flags(ADMIN.and(Flags::LOADING).and(Flags::STALE).and(Flags::NO_MULTI)),
    Command::new(
        "weald.checkpoint",
        1,
        Group::Weald,
        "7.2.0",
        "Writes all changes to the file; the pages that it wrote, and how long it took.",
        checkpoint,
    )
    .flags(ALONE),
    Command::new(
        "weald.compact",
        1,
        Group::Weald,
        "7.2.0",
        "Gives free space in the file back to the system; the bytes of the file before and after.",
        compact,
    )
    .flags(ALONE),
    Command::new(
        "weald.check",
        1,
        Group::Weald,
        "7.2.0",
        "Reads and verifies the whole database; the problems that it found.",
        check,
    )
    .flags(ALONE),
];

fn make_checkpoint(call: &mut Call<'_, '_>) -> Result<weald_engine::CheckpointInfo, CommandError> {
    let info = call.state.db.checkpoint()?;
    call.state.last_save_s = call.now_ms / 1000;
    call.state.changes = 0;
    Ok(info)
}

fn save(call: &mut Call<'_, '_>) -> CommandResult {
    make_checkpoint(call)?;
    call.reply.ok();
    Ok(())
}

fn bgsave(call: &mut Call<'_, '_>) -> CommandResult {
    match &call.args[1..] {
        [] => {}
        [word] if is(word, "schedule") => {}
        _ => return Err(CommandError::syntax()),
    }
    make_checkpoint(call)?;
    call.reply.simple("Background saving started");
    Ok(())
}

fn bgrewriteaof(call: &mut Call<'_, '_>) -> CommandResult {
    make_checkpoint(call)?;
    call.reply.simple("Background append only file rewriting started");
    Ok(())
}

fn lastsave(call: &mut Call<'_, '_>) -> CommandResult {
    call.reply.integer(call.state.last_save_s as i64);
    Ok(())
}

fn shutdown(call: &mut Call<'_, '_>) -> CommandResult {
    let mut ending = Ending::Clean;
    for word in &call.args[1..] {
        match word.to_ascii_lowercase().as_slice() {
            b"nosave" => ending = Ending::Fast,
            b"save" | b"now" | b"force" => {}
            b"abort" => return Err(CommandError::new("ERR No shutdown in progress.")),
            _ => return Err(CommandError::syntax()),
        }
    }
    call.state.ending = Some(ending);
    call.session.closing = true;
    Ok(())
}

fn checkpoint(call: &mut Call<'_, '_>) -> CommandResult {
    let info = make_checkpoint(call)?;
    call.reply.map(2);
    call.reply.bulk(b"pages");
    call.reply.integer(info.pages as i64);
    call.reply.bulk(b"microseconds");
    call.reply.integer(info.elapsed.as_micros() as i64);
    Ok(())
}

fn compact(call: &mut Call<'_, '_>) -> CommandResult {
    let info = call.state.db.compact()?;
    call.reply.map(2);
    call.reply.bulk(b"before");
    call.reply.integer(info.bytes_before as i64);
    call.reply.bulk(b"after");
    call.reply.integer(info.bytes_after as i64);
    Ok(())
}

fn check(call: &mut Call<'_, '_>) -> CommandResult {
    let report = call.state.db.check()?;
    call.reply.map(5);
    call.reply.bulk(b"sound");
    call.reply.boolean(report.is_sound());
    for (name, count) in [
        ("pages", report.pages),
        ("buckets", report.buckets),
        ("keys", report.keys),
    ] {
        call.reply.bulk(name.as_bytes());
        call.reply.integer(count as i64);
    }
    call.reply.bulk(b"problems");
    call.reply.array(report.problems.len());
    report
        .problems
        .iter()
        .for_each(|problem| call.reply.bulk_fmt(format_args!("{problem}")));
    Ok(())
}
