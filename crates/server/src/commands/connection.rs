//! Commands of a connection.

use crate::call::Call;
use crate::error::{CommandError, CommandResult};
use crate::registry::{Command, Flags, Group};

pub(crate) const COMMANDS: &[Command] = &[
    Command::new(
        "ping",
        -1,
        Group::Connection,
        "1.0.0",
        "Returns the server's liveliness response.",
        ping,
    )
    .flags(Flags::FAST),
    Command::new(
        "echo",
        2,
        Group::Connection,
        "1.0.0",
        "Returns the given string.",
        echo,
    )
    .flags(Flags::FAST),
];

fn ping(call: &mut Call<'_, '_>) -> CommandResult {
    match call.args {
        [_] => call.reply.simple("PONG"),
        [_, text] => call.reply.bulk(text),
        _ => return Err(CommandError::arity("ping")),
    }
    Ok(())
}

fn echo(call: &mut Call<'_, '_>) -> CommandResult {
    call.reply.bulk(call.args[1]);
    Ok(())
}
