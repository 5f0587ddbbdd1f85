//! `LATENCY`: events that took long, as numbers, as a drawing and in words, and how long each command takes.

use crate::call::Call;
use crate::commands::sparkline;
use crate::error::{CommandError, CommandResult};
use crate::registry::{Command, CommandId, Flags, Group, registry};
use crate::stats::{CommandStats, LatencySample};

const ADMIN: Flags = Flags::ADMIN.and(Flags::LOADING).and(Flags::STALE);

pub(crate) const COMMANDS: &[Command] = &[Command::container(
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
            latest,
        ),
        sub(
            "latency|history",
            3,
            "2.8.13",
            "Returns timestamp-latency samples for an event.",
            history,
        ),
        sub(
            "latency|graph",
            3,
            "2.8.13",
            "Returns a latency graph for an event.",
            graph,
        ),
        sub(
            "latency|reset",
            -2,
            "2.8.13",
            "Resets the latency data for one or more events.",
            reset,
        ),
        sub(
            "latency|histogram",
            -2,
            "7.0.0",
            "Returns the cumulative distribution of latencies of a subset or all commands.",
            histogram,
        ),
        sub(
            "latency|doctor",
            2,
            "2.8.13",
            "Returns a human-readable latency analysis report.",
            doctor,
        ),
        sub(
            "latency|help",
            2,
            "2.8.13",
            "Returns helpful text about the different subcommands.",
            help,
        ),
    ],
)];

const fn sub(
    name: &'static str,
    arity: i32,
    since: &'static str,
    summary: &'static str,
    handler: crate::registry::Handler,
) -> Command {
    Command::new(name, arity, Group::Server, since, summary, handler).flags(ADMIN)
}

fn help(call: &mut Call<'_, '_>) -> CommandResult {
    let lines = [
        "LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "DOCTOR",
        "    Return a human readable latency analysis report.",
        "GRAPH <event>",
        "    Return an ASCII latency graph for the <event> class.",
        "HISTORY <event>",
        "    Return time-latency samples for the <event> class.",
        "LATEST",
        "    Return the latest latency samples for all events.",
        "RESET [<event> ...]",
        "    Reset latency data of one or more <event> classes.",
        "    (default: reset all data for all event classes)",
        "HISTOGRAM [COMMAND ...]",
        "    Return a cumulative distribution of latencies in the format of a histogram for the specified command names.",
        "    If no commands are specified then all histograms are replied.",
        "HELP",
        "    Prints this help.",
    ];
    call.reply.array(lines.len());
    lines.iter().for_each(|line| call.reply.simple(line));
    Ok(())
}

fn latest(call: &mut Call<'_, '_>) -> CommandResult {
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

fn history(call: &mut Call<'_, '_>) -> CommandResult {
    let events = &call.state.latency.events;
    let event = events.iter().find(|(name, _)| name.as_bytes() == call.args[2]);
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

fn graph(call: &mut Call<'_, '_>) -> CommandResult {
    let events = &call.state.latency.events;
    let Some((name, (samples, max))) = events.iter().find(|(name, _)| name.as_bytes() == call.args[2]) else {
        let event = String::from_utf8_lossy(call.args[2]);
        return Err(CommandError::new(format!(
            "ERR No samples available for event '{event}'"
        )));
    };
    let columns: Vec<(u64, String)> = samples
        .iter()
        .map(|sample| (sample.ms, age((call.now_ms / 1000).saturating_sub(sample.at_s))))
        .collect();
    let (high, low) = bounds(samples);
    let text = format!(
        "{name} - high {high} ms, low {low} ms (all time high {max} ms)\n{}\n{}",
        "-".repeat(sparkline::WIDTH),
        sparkline::draw(&columns)
    );
    call.reply.verbatim(b"txt", text.as_bytes());
    Ok(())
}

/// How long ago, in the largest unit that it has one of.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The slowest and the quickest.
fn bounds(samples: &[LatencySample]) -> (u64, u64) {
    let ms = || samples.iter().map(|sample| sample.ms);
    (ms().max().unwrap_or(0), ms().min().unwrap_or(0))
}

fn reset(call: &mut Call<'_, '_>) -> CommandResult {
    let names = &call.args[2..];
    let events = &mut call.state.latency.events;
    let before = events.len();
    events.retain(|name, _| !names.is_empty() && !names.contains(&name.as_bytes()));
    call.reply.integer((before - events.len()) as i64);
    Ok(())
}

fn histogram(call: &mut Call<'_, '_>) -> CommandResult {
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
        let name = registry().all()[id.0 as usize].command.name;
        call.reply.bulk(name.as_bytes());
        distribution(call, &stats);
    }
    call.reply.map_at(mark, shown);
    Ok(())
}

/// How many calls took no longer than each bound, where that is more than at the bound before.
fn distribution(call: &mut Call<'_, '_>, stats: &CommandStats) {
    call.reply.map(2);
    call.reply.bulk(b"calls");
    call.reply.integer(stats.calls as i64);
    call.reply.bulk(b"histogram_usec");
    let mark = call.reply.mark();
    let (mut classes, mut all) = (0, 0);
    for (class, count) in stats.latency.iter().enumerate().filter(|(_, count)| **count > 0) {
        classes += 1;
        all += u64::from(*count);
        call.reply.integer(bound_us(class));
        call.reply.integer(all as i64);
    }
    call.reply.map_at(mark, classes);
}

/// The bound of a class as Redis names it, whose classes are of 1024 ns and powers of two, rounded up to two digits and cut to microseconds: tools may look for
/// these numbers. Never less than what the class is bounded by.
fn bound_us(class: usize) -> i64 {
    ((1024 << class) + (8 << class) - 1) / 1000
}

fn doctor(call: &mut Call<'_, '_>) -> CommandResult {
    let settings = &call.state.settings;
    let threshold = settings.latency_threshold_ms;
    let events = &call.state.latency.events;
    let mut text = String::new();
    if threshold == 0 {
        text.push_str(
            "Latency events are not looked at: CONFIG SET latency-monitor-threshold <milliseconds> begins with it.\n",
        );
    } else if events.is_empty() {
        text.push_str(&format!("Nothing has taken {threshold} ms or more.\n"));
    }
    for (name, (samples, max)) in events {
        text.push_str(&diagnosis(name, samples, *max));
    }
    let commands = ["command", "fast-command"]
        .iter()
        .any(|name| events.contains_key(name));
    if commands && (settings.slowlog_slower_us < 0 || settings.slowlog_slower_us as u64 > threshold * 1000) {
        text.push_str(&format!(
            "The slow log leaves out commands that are events here: CONFIG SET slowlog-log-slower-than {}\n",
            threshold * 1000
        ));
    }
    for (name, advice) in ADVICE {
        if events.contains_key(name) {
            text.push_str(&format!("{name}: {advice}\n"));
        }
    }
    call.reply.verbatim(b"txt", text.as_bytes());
    Ok(())
}

const ADVICE: [(&str, &str); 4] = [
    (
        "command",
        "SLOWLOG GET shows which commands took long. KEYS, SORT, and whole large collections at once are the usual ones.",
    ),
    (
        "commit",
        "the disk takes long to flush. Where losing the last moment is bearable, `durability batched` does not wait for it.",
    ),
    (
        "expire-cycle",
        "many keys expire at the same time. Times to live that differ a little spread the work.",
    ),
    (
        "fast-command",
        "a command that does little took long: the machine is busy, or pages of the file had to come from the disk.",
    ),
];

/// What the samples of an event have in common, in a line.
fn diagnosis(name: &str, samples: &[LatencySample], max: u64) -> String {
    let count = samples.len().max(1) as u64;
    let average = samples.iter().map(|sample| sample.ms).sum::<u64>() / count;
    let deviation = samples
        .iter()
        .map(|sample| sample.ms.abs_diff(average))
        .sum::<u64>()
        / count;
    let period = match samples {
        [first, .., last] => last.at_s.saturating_sub(first.at_s) as f64 / (count - 1) as f64,
        _ => 0.0,
    };
    format!(
        "{name}: {} latency spikes (average {average} ms, mean deviation {deviation} ms, period {period:.2} s), the worst of all time {max} ms\n",
        samples.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_classes_are_those_of_redis() {
        let bounds: Vec<i64> = (0..15).map(bound_us).collect();
        let redis = [
            1, 2, 4, 8, 16, 33, 66, 132, 264, 528, 1056, 2113, 4227, 8454, 16908,
        ];
        assert_eq!(bounds, redis);
        assert!((0..32).all(|class| bound_us(class) >= 1 << class));
    }

    #[test]
    fn ages_are_short() {
        let ages = [0, 59, 60, 3_599, 3_600, 86_399, 86_400].map(age);
        assert_eq!(ages, ["0s", "59s", "1m", "59m", "1h", "23h", "1d"]);
    }
}
