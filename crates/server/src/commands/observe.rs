//! `SLOWLOG` and `MONITOR`: looking on.

use crate::call::Call;
use crate::commands::integer;
use crate::error::{CommandError, CommandResult};
use crate::registry::{Command, Flags, Group};

const ADMIN: Flags = Flags::ADMIN.and(Flags::LOADING).and(Flags::STALE);

pub(crate) const COMMANDS: &[Command] = &[
    Command::container(
        "slowlog",
        Group::Server,
        "2.2.12",
        "A container for slow log commands.",
        &[
            sub(
                "slowlog|get",
                -2,
                "2.2.12",
                "Returns the slow log's entries.",
                slowlog_get,
            ),
            sub(
                "slowlog|len",
                2,
                "2.2.12",
                "Returns the number of entries in the slow log.",
                slowlog_len,
            ),
            sub(
                "slowlog|reset",
                2,
                "2.2.12",
                "Clears all entries from the slow log.",
                slowlog_reset,
            ),
            sub(
                "slowlog|help",
                2,
                "6.2.0",
                "Returns helpful text about the different subcommands.",
                super::command::help,
            ),
        ],
    ),
    Command::new(
        "monitor",
        1,
        Group::Server,
        "1.0.0",
        "Listens for all requests received by the server in real-time.",
        monitor,
    )
    .flags(ADMIN.and(Flags::NOSCRIPT).and(Flags::NO_MULTI)),
];

const fn sub(
    name: &'static str,
    arity: i32,
    since: &'static str,
    summary: &'static str,
    handler: crate::registry::Handler,
) -> Command {
    Command::new(name, arity, Group::Server, since, summary, handler).flags(ADMIN)
}

fn slowlog_get(call: &mut Call<'_, '_>) -> CommandResult {
    let count = match &call.args[2..] {
        [] => 10,
        [count] => match integer(count)? {
            -1 => usize::MAX,
            count => usize::try_from(count)
                .map_err(|_| CommandError::new("ERR count should be greater than or equal to -1"))?,
        },
        _ => return Err(CommandError::arity("slowlog|get")),
    };
    let log = &call.state.slowlog;
    call.reply.array(log.len().min(count));
    for entry in log.iter().take(count) {
        call.reply.array(6);
        call.reply.integer(entry.id as i64);
        call.reply.integer(entry.at_s as i64);
        call.reply.integer(entry.us as i64);
        call.reply.array(entry.args.len());
        entry.args.iter().for_each(|arg| call.reply.bulk(arg));
        call.reply.bulk(entry.peer.as_bytes());
        call.reply.bulk(&entry.name);
    }
    Ok(())
}

fn slowlog_len(call: &mut Call<'_, '_>) -> CommandResult {
    call.reply.integer(call.state.slowlog.len() as i64);
    Ok(())
}

fn slowlog_reset(call: &mut Call<'_, '_>) -> CommandResult {
    call.state.slowlog.clear();
    call.reply.ok();
    Ok(())
}

fn monitor(call: &mut Call<'_, '_>) -> CommandResult {
    if !call.session.monitor {
        call.session.monitor = true;
        call.state.monitors.push(call.session.id);
    }
    call.reply.ok();
    Ok(())
}
