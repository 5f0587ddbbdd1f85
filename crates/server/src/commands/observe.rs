//! `SLOWLOG`, `LATENCY` and `MONITOR`: looking on.

use crate::call::Call;
use crate::commands::integer;
use crate::error::{CommandError, CommandResult};
use crate::registry::{Command, CommandId, Flags, Group, registry};

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
    Command::container(
        "latency",
        Group::Server,
        "2.8.13",
        "A container for latency diagnostics commands.",
        &[
            sub(
                "latency|latest",
                2,
                "2.8.13",
                "Returns the latest latency samples for all events.",
                latency_latest,
            ),
            sub(
                "latency|history",
                3,
                "2.8.13",
                "Returns timestamp-latency samples for an event.",
                latency_history,
            ),
            sub(
                "latency|reset",
                -2,
                "2.8.13",
                "Resets the latency data for one or more events.",
                latency_reset,
            ),
            sub(
                "latency|histogram",
                -2,
                "7.0.0",
                "Returns the cumulative distribution of latencies of a subset or all commands.",
                latency_histogram,
            ),
            sub(
                "latency|doctor",
                2,
                "2.8.13",
                "Returns a human-readable latency analysis report.",
                latency_doctor,
            ),
            sub(
                "latency|help",
                2,
                "2.8.13",
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

fn latency_latest(call: &mut Call<'_, '_>) -> CommandResult {
    let events = &call.state.latency.events;
    call.reply.array(events.len());
    for (name, (samples, max)) in events {
        let last = samples.last();
        call.reply.array(4);
        call.reply.bulk(name.as_bytes());
        call.reply.integer(last.map_or(0, |sample| sample.at_s as i64));
        call.reply.integer(last.map_or(0, |sample| sample.ms as i64));
        call.reply.integer(*max as i64);
    }
    Ok(())
}

fn latency_history(call: &mut Call<'_, '_>) -> CommandResult {
    let event = call
        .state
        .latency
        .events
        .iter()
        .find(|(name, _)| name.as_bytes() == call.args[2]);
    let samples = event
        .map(|(_, (samples, _))| samples.as_slice())
        .unwrap_or_default();
    call.reply.array(samples.len());
    for sample in samples {
        call.reply.array(2);
        call.reply.integer(sample.at_s as i64);
        call.reply.integer(sample.ms as i64);
    }
    Ok(())
}

fn latency_reset(call: &mut Call<'_, '_>) -> CommandResult {
    let names = &call.args[2..];
    let before = call.state.latency.events.len();
    call.state
        .latency
        .events
        .retain(|name, _| !names.is_empty() && !names.contains(&name.as_bytes()));
    call.reply
        .integer((before - call.state.latency.events.len()) as i64);
    Ok(())
}

fn latency_histogram(call: &mut Call<'_, '_>) -> CommandResult {
    let wanted: Vec<CommandId> = match &call.args[2..] {
        [] => registry().all().iter().map(|found| found.id).collect(),
        names => names
            .iter()
            .filter_map(|name| registry().find(name))
            .flat_map(|found| {
                let subs = found.command.subcommands().iter();
                let subs = subs
                    .filter_map(|sub| registry().find(sub.name.as_bytes()))
                    .map(|found| found.id);
                std::iter::once(found.id).chain(subs)
            })
            .collect(),
    };
    let mark = call.reply.mark();
    let mut shown = 0;
    for id in wanted {
        let stats = *call.state.stats_of(id);
        if stats.calls == 0 {
            continue;
        }
        shown += 1;
        call.reply
            .bulk(registry().all()[id.0 as usize].command.name.as_bytes());
        call.reply.map(2);
        call.reply.bulk(b"calls");
        call.reply.integer(stats.calls as i64);
        call.reply.bulk(b"histogram_usec");
        let inner = call.reply.mark();
        let (mut classes, mut all) = (0, 0);
        for (class, count) in stats.latency.iter().enumerate().filter(|(_, count)| **count > 0) {
            classes += 1;
            all += u64::from(*count);
            call.reply.integer(1i64 << class);
            call.reply.integer(all as i64);
        }
        call.reply.map_at(inner, classes);
    }
    call.reply.map_at(mark, shown);
    Ok(())
}

fn latency_doctor(call: &mut Call<'_, '_>) -> CommandResult {
    let threshold = call.state.settings.latency_threshold_ms;
    let mut text = if threshold == 0 {
        "Latency events are not looked at: CONFIG SET latency-monitor-threshold <milliseconds> begins with it.\n".to_owned()
    } else {
        format!("Events of {threshold} ms and more:\n")
    };
    for (name, (samples, max)) in &call.state.latency.events {
        text.push_str(&format!("{name}: {} times, {max} ms at most\n", samples.len()));
    }
    call.reply.verbatim(b"txt", text.as_bytes());
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
