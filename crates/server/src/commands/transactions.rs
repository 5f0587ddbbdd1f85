//! `MULTI`, `EXEC` and `WATCH`.

use std::time::Instant;

use crate::call::Call;
use crate::dispatch::{Args, invoke, tell_monitors};
use crate::error::{CommandError, CommandResult};
use crate::registry::{Access, Command, Flags, Group, KeySpec};
use crate::session::{Multi, Watched, bytes_of_name};

const PLAIN: Flags = Flags::NOSCRIPT
    .and(Flags::LOADING)
    .and(Flags::STALE)
    .and(Flags::FAST)
    .and(Flags::ALLOW_BUSY);

pub(crate) const COMMANDS: &[Command] = &[
    Command::new(
        "multi",
        1,
        Group::Transactions,
        "1.2.0",
        "Starts a transaction.",
        multi,
    )
    .flags(PLAIN.and(Flags::NOT_QUEUED)),
    Command::new(
        "exec",
        1,
        Group::Transactions,
        "1.2.0",
        "Executes all commands in a transaction.",
        exec,
    )
    .flags(
        Flags::NOSCRIPT
            .and(Flags::LOADING)
            .and(Flags::STALE)
            .and(Flags::SKIP_SLOWLOG)
            .and(Flags::NOT_QUEUED)
            .and(Flags::READS),
    ),
    Command::new(
        "discard",
        1,
        Group::Transactions,
        "2.0.0",
        "Discards a transaction.",
        discard,
    )
    .flags(PLAIN.and(Flags::NOT_QUEUED)),
    Command::new(
        "watch",
        -2,
        Group::Transactions,
        "2.2.0",
        "Monitors changes to keys to determine the execution of a transaction.",
        watch,
    )
    .flags(PLAIN.and(Flags::NOT_QUEUED).and(Flags::READS))
    .keys(&[KeySpec::range(1, -1, 1, Access::Look)]),
    Command::new(
        "unwatch",
        1,
        Group::Transactions,
        "2.2.0",
        "Forgets about watched keys of a transaction.",
        unwatch,
    )
    .flags(PLAIN),
];

fn multi(call: &mut Call<'_, '_>) -> CommandResult {
    if call.session.multi.is_some() {
        return Err(CommandError::new("ERR MULTI calls can not be nested"));
    }
    call.session.multi = Some(Multi::default());
    call.reply.ok();
    Ok(())
}

fn discard(call: &mut Call<'_, '_>) -> CommandResult {
    if call.session.multi.take().is_none() {
        return Err(CommandError::new("ERR DISCARD without MULTI"));
    }
    call.state.unwatch(call.session);
    call.reply.ok();
    Ok(())
}

fn watch(call: &mut Call<'_, '_>) -> CommandResult {
    if call.session.multi.is_some() {
        return Err(CommandError::new("ERR WATCH inside MULTI is not allowed"));
    }
    let db = call.session.db;
    for key in &call.args[1..] {
        let known = call
            .session
            .watched
            .iter()
            .any(|watched| watched.db == db && watched.key == *key);
        if !known {
            let existed = call.keyspace.find(db, key)?.is_some();
            call.state.watches.add(call.session.id, db, key, existed);
            call.session.names_bytes += bytes_of_name(key);
            call.session.watched.push(Watched {
                db,
                key: key.to_vec(),
                existed,
            });
        }
    }
    call.reply.ok();
    Ok(())
}

fn unwatch(call: &mut Call<'_, '_>) -> CommandResult {
    call.state.unwatch(call.session);
    call.reply.ok();
    Ok(())
}

/// Whether a key that the client watches was changed: its time may also have run out, which changes it without anybody's doing.
fn is_stale(call: &Call<'_, '_>) -> Result<bool, CommandError> {
    if call.state.watches.is_dirty(call.session.id) {
        return Ok(true);
    }
    for watched in call.session.watched.iter().filter(|watched| watched.existed) {
        if call.keyspace.find(watched.db, &watched.key)?.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn exec(call: &mut Call<'_, '_>) -> CommandResult {
    let Some(multi) = call.session.multi.take() else {
        return Err(CommandError::new("ERR EXEC without MULTI"));
    };
    let stale = is_stale(call);
    call.state.unwatch(call.session);
    if multi.failed {
        return Err(CommandError::new(
            "EXECABORT Transaction discarded because of previous errors.",
        ));
    }
    if stale? {
        call.reply.null_array();
        return Ok(());
    }
    call.reply.array(multi.queued.len());
    let mut clock = Instant::now();
    for queued in &multi.queued {
        let args: Args<'_> = queued.args.iter().map(Vec::as_slice).collect();
        // Permissions may have been taken since.
        if call.session.user.check(queued.found, &args).is_err() {
            call.reply.error(&format!(
                "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: User {} has no permissions to run the '{}' command",
                call.session.user.name(),
                queued.found.command.name
            ));
            continue;
        }
        let mut inner = Call {
            args: &args,
            reply: &mut *call.reply,
            session: &mut *call.session,
            keyspace: &mut *call.keyspace,
            state: &mut *call.state,
            found: queued.found,
            now_ms: call.now_ms,
            in_exec: true,
            retry: false,
        };
        clock = invoke(&mut inner, clock);
        tell_monitors(call.state, call.session, queued.found, &args, call.now_ms);
    }
    Ok(())
}
