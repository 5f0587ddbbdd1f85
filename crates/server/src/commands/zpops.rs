//! Taking members out of sorted sets, from either end, or waiting for them.

use crate::blocking::TimeoutReply;
use crate::call::Call;
use crate::commands::args;
use crate::commands::lists::{Pops, pop_args, waited_entry};
use crate::commands::zsets::{pop_count, save_shrunk};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Entry, Kind, Order, Walk};

/// Takes up to `count` members from an end.
fn take(
    call: &mut Call<'_, '_>,
    entry: &mut Entry,
    key: &[u8],
    max: bool,
    count: u64,
) -> Result<Vec<(Vec<u8>, f64)>, CommandError> {
    let mut taken = Vec::new();
    let walk = Walk {
        order: Order::all(),
        reverse: max,
        skip: 0,
        limit: count,
    };
    call.keyspace.walk(entry.db, &entry.record(), &walk, |scored| {
        taken.push((scored.member.to_vec(), scored.score));
    })?;
    for (member, _) in &taken {
        call.keyspace.remove_score(entry, member)?;
    }
    if !taken.is_empty() {
        save_shrunk(call, entry, key, if max { "zpopmax" } else { "zpopmin" })?;
    }
    Ok(taken)
}

pub(super) fn zpop(call: &mut Call<'_, '_>) -> CommandResult {
    let (db, key) = (call.session.db, call.args[1]);
    let max = call.found.command.name == "zpopmax";
    if call.args.len() > 3 {
        return Err(CommandError::syntax());
    }
    let count = pop_count(call.args.get(2))?;
    let Some(mut entry) = call.keyspace.entry(db, key, Kind::ZSet)? else {
        call.reply.array(0);
        return Ok(());
    };
    let taken = take(call, &mut entry, key, max, count.unwrap_or(1))?;
    // In pairs only where more than one was asked for.
    let pairs = count.is_some() && call.reply.is_resp3();
    call.reply
        .array(if pairs { taken.len() } else { 2 * taken.len() });
    for (member, score) in taken {
        if pairs {
            call.reply.array(2);
        }
        call.reply.bulk(&member);
        call.reply.double(score);
    }
    Ok(())
}

pub(super) fn bzpop(call: &mut Call<'_, '_>) -> CommandResult {
    let max = call.found.command.name == "bzpopmax";
    let keys = &call.args[1..call.args.len() - 1];
    let timeout = args::timeout(call.args[call.args.len() - 1])?;
    for key in keys {
        let Some(mut entry) = waited_entry(call, key, Kind::ZSet)? else {
            continue;
        };
        let taken = take(call, &mut entry, key, max, 1)?;
        call.reply.array(3);
        call.reply.bulk(key);
        for (member, score) in taken {
            call.reply.bulk(&member);
            call.reply.double(score);
        }
        return Ok(());
    }
    call.block_on(keys, timeout, TimeoutReply::NullArray)
}

pub(super) fn zmpop(call: &mut Call<'_, '_>) -> CommandResult {
    let blocks = call.found.command.name == "bzmpop";
    let timeout = if blocks {
        args::timeout(call.args[1])?
    } else {
        None
    };
    let Pops {
        keys,
        first: min,
        count,
    } = pop_args(call.args, if blocks { 2 } else { 1 }, ["min", "max"])?;
    let max = !min;
    for key in keys {
        let Some(mut entry) = waited_entry(call, key, Kind::ZSet)? else {
            continue;
        };
        let taken = take(call, &mut entry, key, max, count)?;
        call.reply.array(2);
        call.reply.bulk(key);
        call.reply.array(taken.len());
        for (member, score) in taken {
            call.reply.array(2);
            call.reply.bulk(&member);
            call.reply.double(score);
        }
        return Ok(());
    }
    if blocks {
        return call.block_on(keys, timeout, TimeoutReply::NullArray);
    }
    call.reply.null_array();
    Ok(())
}
