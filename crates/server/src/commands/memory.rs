//! `MEMORY`: what is taken by what.

use crate::call::Call;
use crate::commands::info::process_memory;
use crate::commands::{integer, is};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::Record;
use crate::registry::{Access, Command, Flags, Group, KeySpec};

pub(crate) const COMMANDS: &[Command] = &[Command::container(
    "memory",
    Group::Server,
    "4.0.0",
    "A container for memory diagnostics commands.",
    &[
        Command::new(
            "memory|usage",
            -3,
            Group::Server,
            "4.0.0",
            "Estimates the memory usage of a key.",
            usage,
        )
        .flags(Flags::READONLY.and(Flags::ASKS))
        .keys(&[KeySpec::one(2, Access::Look)]),
        Command::new(
            "memory|stats",
            2,
            Group::Server,
            "4.0.0",
            "Returns details about memory usage.",
            stats,
        )
        .flags(Flags::READS),
        Command::new(
            "memory|doctor",
            2,
            Group::Server,
            "4.0.0",
            "Outputs a memory problems report.",
            doctor,
        ),
        Command::new(
            "memory|malloc-stats",
            2,
            Group::Server,
            "4.0.0",
            "Returns the allocator statistics.",
            malloc_stats,
        ),
        Command::new(
            "memory|purge",
            2,
            Group::Server,
            "4.0.0",
            "Asks the allocator to release memory.",
            purge,
        ),
        Command::new(
            "memory|help",
            2,
            Group::Server,
            "4.0.0",
            "Returns helpful text about the different subcommands.",
            super::command::help,
        ),
    ],
)];

fn usage(call: &mut Call<'_, '_>) -> CommandResult {
    match &call.args[3..] {
        [] => {}
        [word, count] if is(word, "samples") && integer(count)? >= 0 => {}
        _ => return Err(CommandError::syntax()),
    }
    let key = call.args[2];
    match call.keyspace.find(call.session.db, key)? {
        Some(record) => call.reply.integer(footprint(key, &record) as i64),
        None => call.reply.null(),
    }
    Ok(())
}

/// About what a key and its value take.
pub(crate) fn footprint(key: &[u8], record: &Record<'_>) -> usize {
    key.len() + KEY_BYTES + value_bytes(record)
}

/// About what a key takes in a page beside its own bytes and those of its value.
const KEY_BYTES: usize = 24;

/// About what an element takes that has a record of its own.
const ELEMENT_BYTES: usize = 64;

/// About what a value takes. Elements that have records of their own are counted, not looked at.
fn value_bytes(record: &Record<'_>) -> usize {
    let elements = if record.is_spread() {
        record.count() as usize
    } else {
        0
    };
    record.len() + elements * ELEMENT_BYTES
}

fn stats(call: &mut Call<'_, '_>) -> CommandResult {
    let (resident, private) = process_memory();
    let data = call.state.db.stats();
    let clients = call.state.stats.client_memory.get();
    let mut keys = 0;
    for db in 0..call.state.settings.databases {
        keys += call.keyspace.len(db)?;
    }
    let fields = [
        ("peak.allocated", private.max(resident)),
        ("total.allocated", private),
        ("startup.allocated", 0),
        ("replication.backlog", 0),
        ("clients.slaves", 0),
        ("clients.normal", clients),
        ("cluster.links", 0),
        ("aof.buffer", 0),
        ("lua.caches", 0),
        ("functions.caches", 0),
        ("overhead.total", clients + data.filter_bytes),
        ("keys.count", keys),
        ("keys.bytes-per-key", private / keys.max(1)),
        ("dataset.bytes", data.pool_bytes),
        ("allocator.allocated", private),
        ("allocator.active", private),
        ("allocator.resident", resident),
        ("fragmentation.bytes", resident.saturating_sub(private)),
    ];
    call.reply.map(fields.len());
    for (name, value) in fields {
        call.reply.bulk(name.as_bytes());
        call.reply.integer(value as i64);
    }
    Ok(())
}

fn doctor(call: &mut Call<'_, '_>) -> CommandResult {
    let data = call.state.db.stats();
    let text = if data.oldest_reader_commits > 100_000 {
        "A reader is older than 100,000 commits: the pages that it still needs can't be used again."
    } else {
        "Weald finds nothing to worry about: it keeps changed pages and buffers of clients in memory, within the bounds of its settings."
    };
    call.reply.verbatim(b"txt", text.as_bytes());
    Ok(())
}

fn malloc_stats(call: &mut Call<'_, '_>) -> CommandResult {
    call.reply
        .verbatim(b"txt", b"Stats not supported for the current allocator");
    Ok(())
}

fn purge(call: &mut Call<'_, '_>) -> CommandResult {
    call.reply.ok();
    Ok(())
}
