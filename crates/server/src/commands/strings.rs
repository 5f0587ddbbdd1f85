//! Strings.

use weald_engine::Writable;

use crate::call::Call;
use crate::error::CommandResult;
use crate::notify::Event;
use crate::registry::{Access, Command, Flags, Group, KeySpec};

pub(crate) const COMMANDS: &[Command] = &[
    Command::new(
        "get",
        2,
        Group::String,
        "1.0.0",
        "Returns the string value of a key.",
        get,
    )
    .flags(Flags::READONLY.and(Flags::FAST))
    .keys(&[KeySpec::one(1, Access::Read)]),
    Command::new(
        "set",
        -3,
        Group::String,
        "1.0.0",
        "Sets the string value of a key.",
        set,
    )
    .flags(Flags::WRITE.and(Flags::DENYOOM))
    .keys(&[KeySpec::one(1, Access::Overwrite)]),
];

fn get(call: &mut Call<'_, '_>) -> CommandResult {
    let value = call.keyspace.root().get_ref(call.args[1])?;
    call.reply.bulk_or_null(value);
    Ok(())
}

fn set(call: &mut Call<'_, '_>) -> CommandResult {
    let (key, value) = (call.args[1], call.args[2]);
    call.keyspace.writer()?.put(key, value)?;
    call.changed(Event::STRING, "set", key);
    call.reply.ok();
    Ok(())
}
