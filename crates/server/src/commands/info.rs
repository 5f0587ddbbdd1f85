//! `INFO`, `TIME`, `ROLE`, `LOLWUT` and others that tell of the server.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::call::Call;
use crate::cluster::{COUNTERS, GAUGES, REPLICA_COUNTERS, REPLICA_GAUGES};
use crate::commands::{is, text};
use crate::error::{CommandError, CommandResult};
use crate::eviction::data_bytes;
use crate::registry::{Category, Command, Flags, Group, registry};
use crate::version::{REDIS_VERSION, WEALD_VERSION};

const PLAIN: Flags = Flags::LOADING.and(Flags::STALE);

pub(crate) const COMMANDS: &[Command] = &[
    Command::new("info", -1, Group::Server, "1.0.0", "Returns information and statistics about the server.", info)
        .flags(PLAIN.and(Flags::READS))
        .acl(Category::DANGEROUS),
    Command::new("time", 1, Group::Server, "2.6.0", "Returns the server time.", time).flags(PLAIN.and(Flags::FAST)),
    Command::new("role", 1, Group::Server, "2.8.12", "Returns the replication role.", role)
        .flags(PLAIN.and(Flags::NOSCRIPT).and(Flags::FAST))
        .acl(Category::ADMIN.and(Category::DANGEROUS)),
    Command::new("lolwut", -1, Group::Server, "5.0.0", "Displays computer art and the server's version.", lolwut)
        .flags(Flags::FAST),
    Command::new("wait", 3, Group::Generic, "3.0.0", "Blocks until the asynchronous replication of all preceding write commands sent by the connection is completed.", wait),
    Command::new("waitaof", 4, Group::Generic, "7.2.0", "Blocks until all of the preceding write commands sent by the connection are written to the append-only file of the master and/or replicas.", waitaof)
        .flags(Flags::ALONE),
    Command::container("module", Group::Server, "4.0.0", "A container for module commands.", &[
        Command::new("module|list", 2, Group::Server, "4.0.0", "Returns all loaded modules.", module_list)
            .flags(Flags::ADMIN.and(Flags::NOSCRIPT)),
        Command::new("module|load", -3, Group::Server, "4.0.0", "Loads a module.", module_load)
            .flags(Flags::ADMIN.and(Flags::NOSCRIPT)),
        Command::new("module|unload", 3, Group::Server, "4.0.0", "Unloads a module.", module_load)
            .flags(Flags::ADMIN.and(Flags::NOSCRIPT)),
    ]),
    Command::container("function", Group::Server, "7.0.0", "A container for function commands.", &[
        Command::new("function|flush", -2, Group::Server, "7.0.0", "Deletes all libraries and functions.", function_flush)
            .flags(Flags::NOSCRIPT),
        Command::new("function|list", -2, Group::Server, "7.0.0", "Returns information about all libraries.", function_list)
            .flags(Flags::NOSCRIPT),
    ]),
];

type Section = (
    &'static str,
    bool,
    fn(&mut Call<'_, '_>, &mut String) -> CommandResult,
);

/// Sections, whether they are among those that are shown without being named, and what writes them.
const SECTIONS: &[Section] = &[
    ("Server", true, server),
    ("Clients", true, clients),
    ("Memory", true, memory),
    ("Persistence", true, persistence),
    ("Stats", true, stats),
    ("Replication", true, replication),
    ("CPU", true, cpu),
    ("Modules", true, modules),
    ("Commandstats", false, commandstats),
    ("Errorstats", true, errorstats),
    ("Latencystats", false, latencystats),
    ("Cluster", true, cluster),
    ("Keyspace", true, keyspace),
    ("Weald", true, weald),
];

fn info(call: &mut Call<'_, '_>) -> CommandResult {
    let wanted = &call.args[1..];
    let mut out = String::new();
    for (name, by_default, write) in SECTIONS {
        let shown = match wanted {
            [] => *by_default,
            wanted => wanted.iter().any(|word| {
                is(word, name)
                    || is(word, "all")
                    || is(word, "everything")
                    || (is(word, "default") && *by_default)
            }),
        };
        if shown {
            if !out.is_empty() {
                out.push_str("\r\n");
            }
            out.push_str(&format!("# {name}\r\n"));
            write(call, &mut out)?;
        }
    }
    call.reply.verbatim(b"txt", out.as_bytes());
    Ok(())
}

/// Writes a line of `INFO`.
macro_rules! field {
    ($out:expr, $name:literal, $value:expr) => {
        // Writing to memory does not fail.
        let _ = write!($out, concat!($name, ":{}\r\n"), $value);
    };
}

fn server(call: &mut Call<'_, '_>, out: &mut String) -> CommandResult {
    let state = &call.state;
    let uptime_s = call.now_ms.saturating_sub(state.started_ms) / 1000;
    let uname = rustix::system::uname();
    let os =
        [uname.sysname(), uname.release(), uname.machine()].map(|part| part.to_string_lossy().into_owned());
    field!(out, "redis_version", REDIS_VERSION);
    field!(out, "weald_version", WEALD_VERSION);
    field!(out, "server_name", "weald");
    field!(out, "redis_git_sha1", "00000000");
    field!(out, "redis_git_dirty", 0);
    field!(out, "redis_build_id", WEALD_VERSION);
    field!(out, "redis_mode", "standalone");
    field!(out, "os", os.join(" "));
    field!(out, "arch_bits", usize::BITS);
    field!(out, "monotonic_clock", "POSIX clock_gettime");
    field!(out, "multiplexing_api", "epoll");
    field!(out, "process_id", std::process::id());
    field!(out, "process_supervised", "no");
    field!(out, "run_id", state.run_id);
    field!(out, "tcp_port", state.port);
    field!(out, "server_time_usec", call.now_ms * 1000);
    field!(out, "uptime_in_seconds", uptime_s);
    field!(out, "uptime_in_days", uptime_s / 86400);
    field!(out, "hz", state.settings.hz);
    field!(out, "configured_hz", state.settings.hz);
    field!(out, "lru_clock", (call.now_ms / 1000) & 0xff_ffff);
    field!(
        out,
        "executable",
        std::env::current_exe()
            .map(|path| path.display().to_string())
            .unwrap_or_default()
    );
    field!(out, "config_file", "");
    field!(out, "io_threads_active", 0);
    Ok(())
}

fn clients(call: &mut Call<'_, '_>, out: &mut String) -> CommandResult {
    let state = &call.state;
    let pubsub = state
        .clients
        .iter()
        .filter(|client| client.session.subscriptions.any())
        .count()
        + usize::from(call.session.subscriptions.any());
    let watching = state
        .clients
        .iter()
        .filter(|client| !client.session.watched.is_empty())
        .count()
        + usize::from(!call.session.watched.is_empty());
    let most = |size: fn(&crate::session::Session) -> usize| {
        state
            .clients
            .iter()
            .map(|client| size(&client.session))
            .max()
            .unwrap_or(0)
    };
    field!(out, "connected_clients", state.clients.len());
    field!(out, "cluster_connections", 0);
    field!(out, "maxclients", state.settings.maxclients);
    field!(
        out,
        "client_recent_max_input_buffer",
        most(|session| session.usage.input)
    );
    field!(
        out,
        "client_recent_max_output_buffer",
        most(|session| session.usage.output)
    );
    // Those count too that wait for the end of CLIENT PAUSE.
    let waits = state.clients.iter().filter(|client| client.connection.waiting);
    let paused = state.pause.map_or(0, |_| waits.count());
    field!(out, "blocked_clients", state.waiting.clients() + paused);
    field!(out, "tracking_clients", state.tracking.clients());
    field!(out, "pubsub_clients", pubsub);
    field!(out, "watching_clients", watching);
    field!(out, "clients_in_timeout_table", 0);
    field!(out, "total_watched_keys", state.watches.len());
    field!(out, "total_blocking_keys", state.waiting.keys());
    field!(out, "total_blocking_keys_on_nokey", 0);
    Ok(())
}

/// Bytes of memory that the process takes, all told and anonymous; 0 where the system does not say.
pub(super) fn process_memory() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = text.split(' ').map(|word| word.parse::<u64>().unwrap_or(0));
    let size = rustix::param::page_size() as u64;
    let _ = pages.next();
    let (resident, shared) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    (resident * size, resident.saturating_sub(shared) * size)
}

fn total_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    kib.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

fn human(bytes: u64) -> String {
    let value = bytes as f64;
    match bytes {
        0..1024 => format!("{bytes}B"),
        1024..1_048_576 => format!("{:.2}K", value / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.2}M", value / 1_048_576.0),
        _ => format!("{:.2}G", value / 1_073_741_824.0),
    }
}

fn memory(call: &mut Call<'_, '_>, out: &mut String) -> CommandResult {
    let (resident, private) = process_memory();
    let data = call.state.db.stats();
    let total = total_memory();
    let clients = call.state.stats.client_memory.get();
    field!(out, "used_memory", private);
    field!(out, "used_memory_human", human(private));
    field!(out, "used_memory_rss", resident);
    field!(out, "used_memory_rss_human", human(resident));
    field!(out, "used_memory_peak", private.max(resident));
    field!(out, "used_memory_peak_human", human(private.max(resident)));
    field!(out, "used_memory_peak_perc", "100.00%");
    field!(out, "used_memory_overhead", clients + data.filter_bytes);
    field!(out, "used_memory_startup", 0);
    field!(out, "used_memory_dataset", data.pool_bytes);
    field!(out, "used_memory_dataset_perc", "0.00%");
    field!(out, "allocator_allocated", private);
    field!(out, "allocator_active", private);
    field!(out, "allocator_resident", resident);
    field!(out, "total_system_memory", total);
    field!(out, "total_system_memory_human", human(total));
    field!(out, "used_memory_lua", 0);
    field!(out, "used_memory_scripts", 0);
    let max = call.state.settings.maxmemory;
    field!(out, "maxmemory", max);
    field!(out, "maxmemory_human", human(max));
    field!(
        out,
        "maxmemory_policy",
        call.state.config.text("maxmemory-policy")
    );
    field!(out, "allocator_frag_ratio", "1.00");
    field!(
        out,
        "mem_fragmentation_ratio",
        format!("{:.2}", resident as f64 / private.max(1) as f64)
    );
    field!(out, "mem_fragmentation_bytes", resident.saturating_sub(private));
    // What maxmemory bounds are the data on the disk.
    let not_counted = private.saturating_sub(data_bytes(&data));
    field!(out, "mem_not_counted_for_evict", not_counted);
    field!(out, "mem_clients_slaves", 0);
    field!(out, "mem_clients_normal", clients);
    field!(out, "mem_cluster_links", 0);
    field!(out, "mem_aof_buffer", 0);
    field!(out, "mem_allocator", "libc");
    field!(out, "active_defrag_running", 0);
    field!(out, "lazyfree_pending_objects", 0);
    Ok(())
}

fn persistence(call: &mut Call<'_, '_>, out: &mut String) -> CommandResult {
    let data = call.state.db.stats();
    let log = data.log.as_ref();
    field!(out, "loading", 0);
    field!(out, "async_loading", 0);
    field!(out, "rdb_changes_since_last_save", call.state.changes);
    field!(out, "rdb_bgsave_in_progress", 0);
    field!(out, "rdb_last_save_time", call.state.last_save_s);
    field!(out, "rdb_last_bgsave_status", "ok");
    field!(out, "rdb_last_bgsave_time_sec", data.checkpoint_time.as_secs());
    field!(out, "rdb_current_bgsave_time_sec", -1);
    field!(out, "rdb_saves", data.checkpoints);
    field!(out, "rdb_last_cow_size", 0);
    field!(out, "aof_enabled", 1);
    field!(out, "aof_rewrite_in_progress", 0);
    field!(out, "aof_rewrite_scheduled", 0);
    field!(out, "aof_last_rewrite_time_sec", -1);
    field!(out, "aof_current_rewrite_time_sec", -1);
    field!(out, "aof_last_bgrewrite_status", "ok");
    field!(
        out,
        "aof_last_write_status",
        if call.state.stats.failed_commits.get() == 0 {
            "ok"
        } else {
            "err"
        }
    );
    field!(out, "aof_current_size", log.map_or(0, |log| log.replay_bytes));
    field!(out, "aof_base_size", file_bytes(call));
    field!(out, "aof_pending_rewrite", 0);
    field!(out, "aof_buffer_length", 0);
    field!(out, "aof_delayed_fsync", 0);
    Ok(())
}

fn stats(call: &mut Call<'_, '_>, out: &mut String) -> CommandResult {
    let stats = &call.state.stats;
    let (channels, patterns, shards) = call.state.pubsub.counts();
    let (keys, items, prefixes) = call.state.tracking.counts();
    let kib = |bytes: u64| format!("{:.2}", bytes as f64 / 1024.0);
    field!(out, "total_connections_received", stats.connections.get());
    field!(out, "total_commands_processed", stats.commands.get());
    field!(out, "instantaneous_ops_per_sec", stats.commands_per_second.get());
    field!(out, "total_net_input_bytes", stats.bytes_in.get());
    field!(out, "total_net_output_bytes", stats.bytes_out.get());
    field!(out, "total_net_repl_input_bytes", 0);
    field!(out, "total_net_repl_output_bytes", 0);
    field!(
        out,
        "instantaneous_input_kbps",
        kib(stats.bytes_in_per_second.get())
    );
    field!(
        out,
        "instantaneous_output_kbps",
        kib(stats.bytes_out_per_second.get())
    );
    field!(out, "rejected_connections", stats.rejected_connections.get());
    field!(out, "sync_full", 0);
    field!(out, "sync_partial_ok", 0);
    field!(out, "sync_partial_err", 0);
    field!(out, "expired_keys", stats.expired_keys.get());
    field!(out, "expired_stale_perc", "0.00");
    field!(out, "expired_time_cap_reached_count", 0);
    field!(out, "evicted_keys", stats.evicted_keys.get());
    field!(out, "evicted_clients", 0);
    field!(out, "keyspace_hits", stats.keyspace_hits.get());
    field!(out, "keyspace_misses", stats.keyspace_misses.get());
    field!(out, "pubsub_channels", channels);
    field!(out, "pubsub_patterns", patterns);
    field!(out, "pubsubshard_channels", shards);
    field!(out, "latest_fork_usec", 0);
    field!(out, "total_forks", 0);
    field!(out, "migrate_cached_sockets", 0);
    field!(out, "tracking_total_keys", keys);
    field!(out, "tracking_total_items", items);
    field!(out, "tracking_total_prefixes", prefixes);
    field!(out, "unexpected_error_replies", 0);
    field!(out, "total_error_replies", stats.errors.get());
    field!(out, "total_active_defrag_time", 0);
    field!(
        out,
        "client_query_buffer_limit_disconnections",
        stats.query_limit_disconnections.get()
    );
    field!(
        out,
        "client_output_buffer_limit_disconnections",
        stats.output_limit_disconnections.get()
    );
    field!(out, "acl_access_denied_cmd", stats.acl_denied.get());
    Ok(())
}

fn replication(call: &mut Call<'_, '_>, out: &mut String) -> CommandResult {
    field!(out, "role", "master");
    field!(out, "connected_slaves", 0);
    field!(out, "master_failover_state", "no-failover");
    field!(out, "master_replid", call.state.run_id);
    field!(out, "master_replid2", "0000000000000000000000000000000000000000");
    field!(out, "master_repl_offset", 0);
    field!(out, "second_repl_offset", -1);
    field!(out, "repl_backlog_active", 0);
    field!(out, "repl_backlog_size", 0);
    field!(out, "repl_backlog_first_byte_offset", 0);
    field!(out, "repl_backlog_histlen", 0);
    Ok(())
}

fn cpu(_: &mut Call<'_, '_>, out: &mut String) -> CommandResult {
    // In ticks of a hundredth of a second, after the name, which may have blanks in it.
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = text.rsplit_once(") ").map_or("", |(_, after)| after);
    let ticks = |at: usize| {
        after
            .split(' ')
            .nth(at)
            .and_then(|word| word.parse::<f64>().ok())
            .unwrap_or(0.0)
            / 100.0
    };
    field!(out, "used_cpu_sys", format!("{:.6}", ticks(12)));
    field!(out, "used_cpu_user", format!("{:.6}", ticks(11)));
    field!(out, "used_cpu_sys_children", format!("{:.6}", ticks(14)));
    field!(out, "used_cpu_user_children", format!("{:.6}", ticks(13)));
    Ok(())
}

fn modules(_: &mut Call<'_, '_>, _: &mut String) -> CommandResult {
    Ok(())
}

fn commandstats(call: &mut Call<'_, '_>, out: &mut String) -> CommandResult {
    for (found, stats) in registry().all().iter().zip(&call.state.command_stats) {
        if stats.calls + stats.rejected > 0 {
            let each = stats.us as f64 / stats.calls.max(1) as f64;
            let _ = write!(
                out,
                "cmdstat_{}:calls={},usec={},usec_per_call={each:.2},rejected_calls={},failed_calls={}\r\n",
                found.command.name, stats.calls, stats.us, stats.rejected, stats.failed
            );
        }
    }
    Ok(())
}

fn errorstats(call: &mut Call<'_, '_>, out: &mut String) -> CommandResult {
    for (code, count) in &call.state.error_codes {
        let _ = write!(out, "errorstat_{code}:count={count}\r\n");
    }
    Ok(())
}

fn latencystats(call: &mut Call<'_, '_>, out: &mut String) -> CommandResult {
    if !call.state.settings.latency_tracking {
        return Ok(());
    }
    let shares = call.state.config.text("latency-tracking-info-percentiles");
    let shares: Vec<f64> = shares.split(' ').filter_map(|share| share.parse().ok()).collect();
    for (found, stats) in registry().all().iter().zip(&call.state.command_stats) {
        if stats.latency.iter().all(|count| *count == 0) {
            continue;
        }
        let told: Vec<String> = shares
            .iter()
            .map(|share| format!("p{share}={:.3}", percentile(&stats.latency, share / 100.0)))
            .collect();
        let name = found.command.name;
        let _ = write!(out, "latency_percentiles_usec_{name}:{}\r\n", told.join(","));
    }
    Ok(())
}

/// The bound of the class in which a share of all lies.
fn percentile(latency: &[u32; 32], share: f64) -> f64 {
    let all: u64 = latency.iter().map(|count| u64::from(*count)).sum();
    let mut seen = 0;
    for (class, count) in latency.iter().enumerate() {
        seen += u64::from(*count);
        if seen as f64 >= all as f64 * share {
            return (1u64 << class) as f64;
        }
    }
    0.0
}

/// Clients that find `cluster_enabled` look for slots, which a node has none of: any node takes any key.
fn cluster(call: &mut Call<'_, '_>, out: &mut String) -> CommandResult {
    field!(out, "cluster_enabled", 0);
    let Some(cluster) = &call.state.cluster else {
        return Ok(());
    };
    field!(out, "weald_cluster_node", cluster.id());
    let view = cluster.view();
    if let Some(layout) = &view.layout {
        field!(out, "weald_cluster_members", layout.current.members.len());
        field!(out, "weald_cluster_replica_count", layout.quorums.replica_count);
        field!(out, "weald_cluster_write_quorum", layout.quorums.write_quorum);
        field!(out, "weald_cluster_read_quorum", layout.quorums.read_quorum);
    }
    if let Some(metrics) = &view.metrics {
        for (name, _, number) in GAUGES.iter().chain(COUNTERS) {
            let _ = write!(out, "{name}:{}\r\n", number(metrics));
        }
    }
    if let Some(replica) = &view.replica {
        let budget = call.state.config.number("cluster-hot-bytes");
        field!(out, "weald_hot_tier_budget_bytes", budget);
        for (name, _, number) in REPLICA_GAUGES.iter().chain(REPLICA_COUNTERS) {
            let _ = write!(out, "{name}:{}\r\n", number(replica));
        }
    }
    Ok(())
}

fn keyspace(call: &mut Call<'_, '_>, out: &mut String) -> CommandResult {
    for db in 0..call.state.settings.databases {
        let keys = call.keyspace.len(db)?;
        if keys > 0 {
            let expires = call.keyspace.expiring(db)?;
            let _ = write!(out, "db{db}:keys={keys},expires={expires},avg_ttl=0\r\n");
        }
    }
    Ok(())
}

/// Bytes on the disk: of the database, or on a node of its replica.
fn file_bytes(call: &Call<'_, '_>) -> u64 {
    match &call.state.cluster {
        Some(cluster) => cluster.view().disk_bytes.unwrap_or_default(),
        None => call.state.db.stats().file_bytes,
    }
}

fn weald(call: &mut Call<'_, '_>, out: &mut String) -> CommandResult {
    let data = call.state.db.stats();
    field!(out, "weald_durability", call.state.settings.durability.name());
    field!(out, "weald_data", call.state.db.path().display());
    field!(out, "weald_commits", data.commits);
    field!(out, "weald_commit_usec", call.state.stats.commit_us.get());
    field!(out, "weald_failed_commits", call.state.stats.failed_commits.get());
    field!(out, "weald_checkpoints", data.checkpoints);
    field!(out, "weald_file_bytes", file_bytes(call));
    field!(out, "weald_free_bytes", data.free_bytes);
    field!(out, "weald_pending_bytes", data.pending_bytes);
    field!(out, "weald_dirty_bytes", data.dirty_bytes);
    field!(out, "weald_pool_bytes", data.pool_bytes);
    field!(out, "weald_filter_bytes", data.filter_bytes);
    if let Some(log) = &data.log {
        field!(out, "weald_log_bytes", log.replay_bytes);
        field!(out, "weald_log_flushes", log.flushes);
    }
    field!(out, "weald_throttled_usec", data.throttled.as_micros());
    field!(out, "weald_replayed_commits", data.replayed_commits);
    Ok(())
}

fn time(call: &mut Call<'_, '_>) -> CommandResult {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    call.reply.array(2);
    call.reply.bulk_integer(since.as_secs() as i64);
    call.reply.bulk_integer(i64::from(since.subsec_micros()));
    Ok(())
}

fn role(call: &mut Call<'_, '_>) -> CommandResult {
    call.reply.array(3);
    call.reply.bulk(b"master");
    call.reply.integer(0);
    call.reply.array(0);
    Ok(())
}

/// A wood on the hills, and the versions.
const WEALD: &str = "        &&& &&  & &&\n    && &\\/&\\|& ()|/ @, &&\n    &\\/(/&/&||/& /_/)_&/_&\n &() &\\/&|()|/&\\/ '%\" & ()\n     &&&  \\ |   | / &&&\n  ~~~~~~~~~\\|___|/~~~~~~~~~\n";

fn lolwut(call: &mut Call<'_, '_>) -> CommandResult {
    let text = format!("{WEALD}Weald ver. {WEALD_VERSION}, Redis ver. {REDIS_VERSION}\n");
    call.reply.verbatim(b"txt", text.as_bytes());
    Ok(())
}

fn wait(call: &mut Call<'_, '_>) -> CommandResult {
    super::integer(call.args[1])?;
    timeout(call.args[2])?;
    call.reply.integer(0);
    Ok(())
}

fn timeout(arg: &[u8]) -> CommandResult {
    match weald_resp::parse_i64(arg) {
        None => Err(CommandError::new("ERR timeout is not an integer or out of range")),
        Some(ms) if ms < 0 => Err(CommandError::new("ERR timeout is negative")),
        Some(_) => Ok(()),
    }
}

/// All that was written before is flushed, whatever its durability was: then the one local copy has it.
fn waitaof(call: &mut Call<'_, '_>) -> CommandResult {
    let local = super::integer(call.args[1])?;
    if !(0..=1).contains(&local) {
        return Err(CommandError::new(
            "ERR value is out of range, must be between 0 and 1",
        ));
    }
    super::connection::not_negative(call.args[2], "ERR value is out of range, must be positive")?;
    timeout(call.args[3])?;
    call.state.db.flush()?;
    call.reply.array(2);
    call.reply.integer(1);
    call.reply.integer(0);
    Ok(())
}

fn module_list(call: &mut Call<'_, '_>) -> CommandResult {
    call.reply.array(0);
    Ok(())
}

fn module_load(_: &mut Call<'_, '_>) -> CommandResult {
    Err(CommandError::new("ERR Weald can't load modules"))
}

fn function_flush(call: &mut Call<'_, '_>) -> CommandResult {
    match &call.args[2..] {
        [] => {}
        [word] if is(word, "async") || is(word, "sync") => {}
        [word] => {
            let word = text(word);
            return Err(CommandError::new(format!(
                "ERR FUNCTION FLUSH only supports SYNC|ASYNC option, not {word}"
            )));
        }
        _ => return Err(CommandError::arity("function|flush")),
    }
    call.reply.ok();
    Ok(())
}

fn function_list(call: &mut Call<'_, '_>) -> CommandResult {
    call.reply.array(0);
    Ok(())
}
