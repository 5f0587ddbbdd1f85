//! Messages: subscribing, publishing, and what is known of channels.

use crate::call::Call;
use crate::commands::text;
use crate::error::{CommandError, CommandResult};
use crate::pubsub::Topic;
use crate::registry::{Command, Flags, Group};
use crate::session::{Subscriptions, bytes_of_name};

const LISTEN: Flags = Flags::PUBSUB
    .and(Flags::NOSCRIPT)
    .and(Flags::LOADING)
    .and(Flags::STALE)
    .and(Flags::WHILE_LISTENING);
const SEND: Flags = Flags::PUBSUB
    .and(Flags::LOADING)
    .and(Flags::STALE)
    .and(Flags::FAST)
    .and(Flags::PAUSED);

pub(crate) const COMMANDS: &[Command] = &[
    Command::new(
        "subscribe",
        -2,
        Group::Pubsub,
        "2.0.0",
        "Listens for messages published to channels.",
        subscribe,
    )
    .flags(LISTEN),
    Command::new(
        "unsubscribe",
        -1,
        Group::Pubsub,
        "2.0.0",
        "Stops listening to messages posted to channels.",
        unsubscribe,
    )
    .flags(LISTEN),
    Command::new(
        "psubscribe",
        -2,
        Group::Pubsub,
        "2.0.0",
        "Listens for messages published to channels that match one or more patterns.",
        psubscribe,
    )
    .flags(LISTEN),
    Command::new(
        "punsubscribe",
        -1,
        Group::Pubsub,
        "2.0.0",
        "Stops listening to messages published to channels that match one or more patterns.",
        punsubscribe,
    )
    .flags(LISTEN),
    Command::new(
        "ssubscribe",
        -2,
        Group::Pubsub,
        "7.0.0",
        "Listens for messages published to shard channels.",
        ssubscribe,
    )
    .flags(LISTEN),
    Command::new(
        "sunsubscribe",
        -1,
        Group::Pubsub,
        "7.0.0",
        "Stops listening to messages posted to shard channels.",
        sunsubscribe,
    )
    .flags(LISTEN),
    Command::new(
        "publish",
        3,
        Group::Pubsub,
        "2.0.0",
        "Posts a message to a channel.",
        publish,
    )
    .flags(SEND),
    Command::new(
        "spublish",
        3,
        Group::Pubsub,
        "7.0.0",
        "Post a message to a shard channel.",
        spublish,
    )
    .flags(SEND),
    Command::container(
        "pubsub",
        Group::Pubsub,
        "2.8.0",
        "A container for Pub/Sub commands.",
        &[
            sub(
                "pubsub|channels",
                -2,
                "2.8.0",
                "Returns the active channels.",
                channels,
            ),
            sub(
                "pubsub|numsub",
                -2,
                "2.8.0",
                "Returns a count of subscribers to channels.",
                numsub,
            ),
            sub(
                "pubsub|numpat",
                2,
                "2.8.0",
                "Returns a count of unique pattern subscriptions.",
                numpat,
            ),
            sub(
                "pubsub|shardchannels",
                -2,
                "7.0.0",
                "Returns the active shard channels.",
                shardchannels,
            ),
            sub(
                "pubsub|shardnumsub",
                -2,
                "7.0.0",
                "Returns the count of subscribers of shard channels.",
                shardnumsub,
            ),
            sub(
                "pubsub|help",
                2,
                "6.2.0",
                "Returns helpful text about the different subcommands.",
                pubsub_help,
            ),
        ],
    ),
];

const fn sub(
    name: &'static str,
    arity: i32,
    since: &'static str,
    summary: &'static str,
    handler: crate::registry::Handler,
) -> Command {
    Command::new(name, arity, Group::Pubsub, since, summary, handler)
        .flags(Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE))
}

fn names_of(subscriptions: &mut Subscriptions, topic: Topic) -> &mut std::collections::HashSet<Vec<u8>> {
    match topic {
        Topic::Channel => &mut subscriptions.channels,
        Topic::Pattern => &mut subscriptions.patterns,
        Topic::Shard => &mut subscriptions.shards,
    }
}

fn count(subscriptions: &Subscriptions, topic: Topic) -> i64 {
    let count = match topic {
        Topic::Shard => subscriptions.shards.len(),
        Topic::Channel | Topic::Pattern => subscriptions.count(),
    };
    count as i64
}

fn begin(call: &mut Call<'_, '_>, topic: Topic, kind: &[u8]) -> CommandResult {
    for name in &call.args[1..] {
        if names_of(&mut call.session.subscriptions, topic).insert(name.to_vec()) {
            call.session.names_bytes += bytes_of_name(name);
            call.state.pubsub.add(topic, name, call.session.id);
        }
        call.reply.push(3);
        call.reply.bulk(kind);
        call.reply.bulk(name);
        call.reply.integer(count(&call.session.subscriptions, topic));
    }
    Ok(())
}

fn end(call: &mut Call<'_, '_>, topic: Topic, kind: &[u8]) -> CommandResult {
    let mut names: Vec<Vec<u8>> = call.args[1..].iter().map(|name| name.to_vec()).collect();
    if names.is_empty() {
        names = names_of(&mut call.session.subscriptions, topic)
            .iter()
            .cloned()
            .collect();
        names.sort_unstable();
    }
    if names.is_empty() {
        call.reply.push(3);
        call.reply.bulk(kind);
        call.reply.null();
        call.reply.integer(count(&call.session.subscriptions, topic));
    }
    for name in names {
        if names_of(&mut call.session.subscriptions, topic).remove(&name) {
            let bytes = bytes_of_name(&name);
            call.session.names_bytes = call.session.names_bytes.saturating_sub(bytes);
            call.state.pubsub.remove(topic, &name, call.session.id);
        }
        call.reply.push(3);
        call.reply.bulk(kind);
        call.reply.bulk(&name);
        call.reply.integer(count(&call.session.subscriptions, topic));
    }
    Ok(())
}

fn pubsub_help(call: &mut Call<'_, '_>) -> CommandResult {
    let lines = [
        "PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CHANNELS [<pattern>]",
        "    Return the currently active channels matching a <pattern> (default: '*').",
        "NUMPAT",
        "    Return number of subscriptions to patterns.",
        "NUMSUB [<channel> ...]",
        "    Return the number of subscribers for the specified channels, excluding",
        "    pattern subscriptions(default: no channels).",
        "SHARDCHANNELS [<pattern>]",
        "    Return the currently active shard level channels matching a <pattern> (default: '*').",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    Return the number of subscribers for the specified shard level channel(s)",
        "HELP",
        "    Print this help.",
    ];
    call.reply.array(lines.len());
    lines.iter().for_each(|line| call.reply.simple(line));
    Ok(())
}

fn subscribe(call: &mut Call<'_, '_>) -> CommandResult {
    begin(call, Topic::Channel, b"subscribe")
}

fn unsubscribe(call: &mut Call<'_, '_>) -> CommandResult {
    end(call, Topic::Channel, b"unsubscribe")
}

fn psubscribe(call: &mut Call<'_, '_>) -> CommandResult {
    begin(call, Topic::Pattern, b"psubscribe")
}

fn punsubscribe(call: &mut Call<'_, '_>) -> CommandResult {
    end(call, Topic::Pattern, b"punsubscribe")
}

fn ssubscribe(call: &mut Call<'_, '_>) -> CommandResult {
    if call.in_exec {
        return Err(CommandError::new(
            "ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client",
        ));
    }
    begin(call, Topic::Shard, b"ssubscribe")
}

fn sunsubscribe(call: &mut Call<'_, '_>) -> CommandResult {
    end(call, Topic::Shard, b"sunsubscribe")
}

fn publish(call: &mut Call<'_, '_>) -> CommandResult {
    let state = &mut *call.state;
    let receivers = state
        .pubsub
        .publish(&mut state.clients, call.args[1], call.args[2]);
    call.reply.integer(receivers as i64);
    Ok(())
}

fn spublish(call: &mut Call<'_, '_>) -> CommandResult {
    let state = &mut *call.state;
    let receivers = state
        .pubsub
        .publish_shard(&mut state.clients, call.args[1], call.args[2]);
    call.reply.integer(receivers as i64);
    Ok(())
}

fn active(call: &mut Call<'_, '_>, topic: Topic) -> CommandResult {
    let pattern = match &call.args[2..] {
        [] => None,
        [pattern] => Some(*pattern),
        _ => {
            let word = text(call.args[1]);
            return Err(CommandError::new(format!(
                "ERR unknown subcommand or wrong number of arguments for '{word}'. Try PUBSUB HELP."
            )));
        }
    };
    let names = call.state.pubsub.active(topic, pattern);
    call.reply.array(names.len());
    names.iter().for_each(|name| call.reply.bulk(name));
    Ok(())
}

fn channels(call: &mut Call<'_, '_>) -> CommandResult {
    active(call, Topic::Channel)
}

fn shardchannels(call: &mut Call<'_, '_>) -> CommandResult {
    active(call, Topic::Shard)
}

fn listeners(call: &mut Call<'_, '_>, topic: Topic) -> CommandResult {
    let names = &call.args[2..];
    call.reply.array(2 * names.len());
    for name in names {
        call.reply.bulk(name);
        call.reply
            .integer(call.state.pubsub.listeners(topic, name) as i64);
    }
    Ok(())
}

fn numsub(call: &mut Call<'_, '_>) -> CommandResult {
    listeners(call, Topic::Channel)
}

fn shardnumsub(call: &mut Call<'_, '_>) -> CommandResult {
    listeners(call, Topic::Shard)
}

fn numpat(call: &mut Call<'_, '_>) -> CommandResult {
    call.reply.integer(call.state.pubsub.counts().1 as i64);
    Ok(())
}
