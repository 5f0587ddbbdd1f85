//! What the server counts, as OpenMetrics and as JSON.

use std::fmt::Write as _;

use crate::cluster;
use crate::http::json::Json;
use crate::http::response::Response;
use crate::http::routes::{Answer, Asker};
use crate::stats::Stats;

/// Fields of `INFO` in sections that have what metrics need.
fn info(asker: &Asker<'_>) -> Result<Vec<(String, String)>, Response> {
    let frame = asker.run(&[
        b"INFO",
        b"server",
        b"clients",
        b"memory",
        b"persistence",
        b"stats",
        b"keyspace",
        b"cluster",
        b"weald",
    ])?;
    let text = String::from_utf8_lossy(frame.as_bytes().unwrap_or_default()).into_owned();
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    Ok(fields
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect())
}

/// Names, fields of `INFO` and meanings of what goes up and down.
const GAUGES: &[(&str, &str, &str)] = &[
    (
        "weald_uptime_seconds",
        "uptime_in_seconds",
        "Time since the start.",
    ),
    (
        "weald_clients",
        "connected_clients",
        "Clients that are connected.",
    ),
    (
        "weald_blocked_clients",
        "blocked_clients",
        "Clients that wait for a key.",
    ),
    (
        "weald_memory_resident_bytes",
        "used_memory_rss",
        "Memory of the process.",
    ),
    (
        "weald_file_bytes",
        "weald_file_bytes",
        "Length of the file of the data, of a node of its replica's.",
    ),
    (
        "weald_file_free_bytes",
        "weald_free_bytes",
        "Bytes of the file that are free.",
    ),
    (
        "weald_dirty_bytes",
        "weald_dirty_bytes",
        "Changed pages that wait for a checkpoint.",
    ),
    ("weald_pool_bytes", "weald_pool_bytes", "Pages in memory."),
    ("weald_filter_bytes", "weald_filter_bytes", "Filters in memory."),
    (
        "weald_log_bytes",
        "weald_log_bytes",
        "Length of the log that a restart would replay.",
    ),
    (
        "weald_hot_tier_budget_bytes",
        "weald_hot_tier_budget_bytes",
        "Memory that may be used before the replica of a node.",
    ),
];

/// Names and fields of `INFO` of what only grows, and their meanings.
const GROWING: &[(&str, &str, &str)] = &[
    ("weald_checkpoints", "weald_checkpoints", "Checkpoints."),
    ("weald_log_flushes", "weald_log_flushes", "Flushes of the log."),
];

fn counters(stats: &Stats) -> [(&'static str, u64, &'static str); 12] {
    [
        (
            "weald_connections",
            stats.connections.get(),
            "Connections that were accepted.",
        ),
        (
            "weald_rejected_connections",
            stats.rejected_connections.get(),
            "Connections that were refused because there were too many.",
        ),
        ("weald_commands", stats.commands.get(), "Commands that were run."),
        ("weald_errors", stats.errors.get(), "Replies that were errors."),
        ("weald_received_bytes", stats.bytes_in.get(), "Bytes received."),
        ("weald_sent_bytes", stats.bytes_out.get(), "Bytes sent."),
        (
            "weald_keyspace_hits",
            stats.keyspace_hits.get(),
            "Keys that were read and were there.",
        ),
        (
            "weald_keyspace_misses",
            stats.keyspace_misses.get(),
            "Keys that were read and were not there.",
        ),
        (
            "weald_expired_keys",
            stats.expired_keys.get(),
            "Keys that were deleted because their time was up.",
        ),
        ("weald_commits", stats.commits.get(), "Commits."),
        (
            "weald_failed_commits",
            stats.failed_commits.get(),
            "Commits that failed.",
        ),
        (
            "weald_acl_denied",
            stats.acl_denied.get(),
            "Commands that were refused to a user.",
        ),
    ]
}

/// `GET /metrics`
pub(super) fn page(asker: &Asker<'_>) -> Answer {
    let fields = info(asker)?;
    let number = |name: &str| {
        fields
            .iter()
            .find(|(other, _)| other == name)
            .and_then(|(_, value)| value.parse::<u64>().ok())
    };
    let stats = asker.shared.handle.stats();
    let mut out = String::new();
    // Writing to a string can't fail.
    let mut family = |name: &str, kind: &str, help: &str, samples: &str| {
        let unit = ["seconds", "bytes"]
            .into_iter()
            .find(|unit| name.ends_with(&format!("_{unit}")));
        let unit = unit.map_or(String::new(), |unit| format!("# UNIT {name} {unit}\n"));
        let _ = write!(out, "# TYPE {name} {kind}\n{unit}# HELP {name} {help}\n{samples}");
    };
    for (name, field, help) in GAUGES {
        if let Some(value) = number(field) {
            family(name, "gauge", help, &format!("{name} {value}\n"));
        }
    }
    for (name, value, help) in counters(stats) {
        family(name, "counter", help, &format!("{name}_total {value}\n"));
    }
    for (name, field, help) in GROWING {
        if let Some(value) = number(field) {
            family(name, "counter", help, &format!("{name}_total {value}\n"));
        }
    }
    let gauges = cluster::GAUGES.iter().map(|(name, help, _)| (name, help));
    for (name, help) in gauges.chain(cluster::REPLICA_GAUGES.iter().map(|(name, help, _)| (name, help))) {
        if let Some(value) = number(name) {
            family(name, "gauge", help, &format!("{name} {value}\n"));
        }
    }
    let counters = cluster::COUNTERS.iter().map(|(name, help, _)| (name, help));
    for (name, help) in counters.chain(
        cluster::REPLICA_COUNTERS
            .iter()
            .map(|(name, help, _)| (name, help)),
    ) {
        if let Some(value) = number(name) {
            family(name, "counter", help, &format!("{name}_total {value}\n"));
        }
    }
    let seconds = stats.commit_us.get() as f64 / 1e6;
    let name = "weald_commit_seconds";
    family(
        name,
        "counter",
        "Time that commits took.",
        &format!("{name}_total {seconds}\n"),
    );
    let mut keys = String::new();
    for (db, value) in &fields {
        if let (Some(db), Some(count)) = (db.strip_prefix("db"), keys_of(value))
            && db.parse::<u32>().is_ok()
        {
            let _ = writeln!(keys, "weald_keys{{db=\"{db}\"}} {count}");
        }
    }
    family("weald_keys", "gauge", "Keys of a database.", &keys);
    let samples = histogram(stats);
    let name = "weald_command_duration_seconds";
    family(name, "histogram", "How long commands took.", &samples);
    out.push_str("# EOF\n");
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(Response::new(200, kind, out.into_bytes()))
}

fn keys_of(value: &str) -> Option<u64> {
    let (count, _) = value.strip_prefix("keys=")?.split_once(',')?;
    count.parse().ok()
}

/// Buckets of the latency, each with those before it, the number of all and their sum. Commands that end meanwhile may be in one and not yet in another.
fn histogram(stats: &Stats) -> String {
    let family = "weald_command_duration_seconds";
    let name = "weald_command_duration_seconds_bucket";
    let mut text = String::new();
    let mut all = 0;
    let (last, classes) = stats.latency_us.split_last().expect("there are classes");
    for (class, counter) in classes.iter().enumerate() {
        all += counter.get();
        let bound = (1u64 << class) as f64 / 1e6;
        let _ = writeln!(text, "{name}{{le=\"{bound}\"}} {all}");
    }
    all += last.get();
    let _ = writeln!(text, "{name}{{le=\"+Inf\"}} {all}");
    let _ = writeln!(text, "{family}_sum {}", stats.command_us.get() as f64 / 1e6);
    let _ = writeln!(text, "{family}_count {all}");
    text
}

/// `GET /api/v1/stats`: everything at one time, for the dashboard.
pub(super) fn stats(asker: &Asker<'_>) -> Answer {
    let fields = info(asker)?;
    let stats = asker.shared.handle.stats();
    let mut json = Json::default();
    json.object(|json| {
        json.object_at("counters", |json| {
            for (name, value, _) in counters(stats) {
                json.number_at(name.trim_start_matches("weald_"), value);
            }
            json.number_at("commit_microseconds", stats.commit_us.get());
        });
        json.array_at("latency_us", |json| {
            for counter in &stats.latency_us {
                json.raw(&counter.get().to_string());
            }
        });
        json.object_at("info", |json| {
            for (name, value) in &fields {
                json.text_at(name, value);
            }
        });
    });
    Ok(Response::json(json))
}
