//! The table of settings.

use crate::config::kind::Kind;

/// What a value of one setting means for others.
type Translation = fn(&str) -> Vec<(&'static str, &'static str)>;

/// What can be set.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name: `--name` as a flag, `WEALD_NAME` in the environment, `name =` in the file, `CONFIG GET name`.
    pub name: &'static str,
    /// What it does, in a line.
    pub help: &'static str,
    /// What it is unless set.
    pub default: &'static str,
    /// Whether `CONFIG SET` can change it in a server that runs.
    pub live: bool,
    /// Whether its value is a secret.
    pub secret: bool,
    /// Whether it is only kept for clients that ask for it, because Weald has nothing that it could mean.
    pub inert: bool,
    /// Whether only those see it who ask for it by its whole name.
    pub hidden: bool,
    pub(crate) kind: Kind,
    /// Where it is another way to say something: what.
    pub(crate) alias_of: Option<Translation>,
}

/// All settings.
pub fn settings() -> &'static [Setting] {
    SETTINGS
}

/// The setting of this name.
pub(crate) fn find(name: &str) -> Option<&'static Setting> {
    let with_hyphens = name.replace('_', "-");
    let wanted = OTHER_NAMES
        .iter()
        .find(|(other, _)| other.eq_ignore_ascii_case(&with_hyphens))
        .map_or(with_hyphens.as_str(), |(_, name)| name);
    SETTINGS
        .iter()
        .find(|setting| setting.name.eq_ignore_ascii_case(wanted))
}

/// Names of older versions of Redis.
pub(crate) const OTHER_NAMES: &[(&str, &str)] = &[
    ("hash-max-ziplist-entries", "hash-max-listpack-entries"),
    ("hash-max-ziplist-value", "hash-max-listpack-value"),
    ("list-max-ziplist-size", "list-max-listpack-size"),
    ("zset-max-ziplist-entries", "zset-max-listpack-entries"),
    ("zset-max-ziplist-value", "zset-max-listpack-value"),
    ("slave-read-only", "replica-read-only"),
    ("slave-serve-stale-data", "replica-serve-stale-data"),
    ("slave-priority", "replica-priority"),
    ("slave-announce-ip", "replica-announce-ip"),
    ("slave-announce-port", "replica-announce-port"),
    ("slave-ignore-maxmemory", "replica-ignore-maxmemory"),
    ("slave-lazy-flush", "replica-lazy-flush"),
    ("slaveof", "replicaof"),
    ("min-slaves-to-write", "min-replicas-to-write"),
    ("min-slaves-max-lag", "min-replicas-max-lag"),
    ("repl-ping-slave-period", "repl-ping-replica-period"),
    ("cluster-slave-validity-factor", "cluster-replica-validity-factor"),
    ("cluster-slave-no-failover", "cluster-replica-no-failover"),
];

const EVENTS_OF_ERRORS: &[&str] = &["ignore", "panic", "panic-on-replicas"];
const WHO: &[&str] = &["no", "yes", "local"];

const fn fixed(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Setting {
    Setting {
        name,
        help,
        default,
        live: false,
        secret: false,
        inert: false,
        hidden: false,
        kind,
        alias_of: None,
    }
}

const fn live(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Setting {
    Setting {
        live: true,
        ..fixed(name, kind, default, help)
    }
}

const fn inert(name: &'static str, kind: Kind, default: &'static str) -> Setting {
    Setting {
        inert: true,
        ..live(
            name,
            kind,
            default,
            "kept for clients that ask; it changes nothing",
        )
    }
}

/// One of Redis that it does not let be changed while it runs.
const fn inert_fixed(name: &'static str, kind: Kind, default: &'static str) -> Setting {
    Setting {
        live: false,
        ..inert(name, kind, default)
    }
}

const fn inert_hidden(name: &'static str, kind: Kind, default: &'static str) -> Setting {
    Setting {
        hidden: true,
        ..inert(name, kind, default)
    }
}

const fn int(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

const fn bytes(min: u64, max: u64) -> Kind {
    Kind::Bytes { min, max }
}

const MAX: i64 = i64::MAX;
const DURABILITIES: &[&str] = &["immediate", "batched", "none"];
const POLICIES: &[&str] = &[
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "noeviction",
];

fn of_appendfsync(value: &str) -> Vec<(&'static str, &'static str)> {
    match value {
        "always" => vec![("durability", "immediate")],
        "everysec" => vec![("durability", "batched"), ("durability-interval-ms", "1000")],
        _ => vec![("durability", "none")],
    }
}

/// What `appendfsync` is with a `durability`.
pub(super) fn appendfsync_of(durability: &str) -> &'static str {
    match durability {
        "immediate" => "always",
        "batched" => "everysec",
        _ => "no",
    }
}

const SETTINGS: &[Setting] = &[
    // Where it listens and where the data are.
    live(
        "bind",
        Kind::Text,
        "127.0.0.1 -::1",
        "Addresses to listen on, with blanks between; one with a minus before it may be missing",
    ),
    live("port", int(0, 65535), "6379", "Port to listen on; 0 for none"),
    fixed(
        "tls-port",
        int(0, 65535),
        "0",
        "Port to listen on for clients that use TLS; 0 for none",
    ),
    live(
        "tls-cert-file",
        Kind::Text,
        "",
        "File that has the certificate of the server, and those between it and one that clients believe",
    ),
    live(
        "tls-key-file",
        Kind::Text,
        "",
        "File that has the key of that certificate",
    ),
    live(
        "tls-ca-cert-file",
        Kind::Text,
        "",
        "File that has the certificates which those of clients must come from",
    ),
    live(
        "tls-auth-clients",
        Kind::OneOf(&["yes", "no", "optional"]),
        "yes",
        "Whether clients that use TLS must show a certificate",
    ),
    fixed(
        "unixsocket",
        Kind::Text,
        "",
        "Path of a Unix socket to listen on as well",
    ),
    fixed(
        "unixsocketperm",
        Kind::Octal,
        "700",
        "Permissions of the Unix socket, in octal",
    ),
    fixed(
        "tcp-backlog",
        int(1, 65535),
        "511",
        "Connections that may wait to be accepted",
    ),
    live(
        "tcp-keepalive",
        int(0, 86400),
        "300",
        "Seconds after which a silent connection is probed; 0 for never",
    ),
    fixed(
        "http",
        Kind::OneOf(&["auto", "yes", "no"]),
        "auto",
        "Whether HTTP is served beside: health, metrics, a JSON API and the dashboard; auto: unless its port is taken",
    ),
    fixed(
        "http-port",
        int(0, 65535),
        "8379",
        "Port of HTTP; 0 for one that the system chooses",
    ),
    fixed(
        "http-bind",
        Kind::Text,
        "127.0.0.1",
        "Address that HTTP listens on",
    ),
    fixed(
        "http-hosts",
        Kind::Text,
        "",
        "Names under which HTTP may be asked for, with blanks between, beside localhost and addresses",
    ),
    fixed(
        "http-tls",
        Kind::Bool,
        "no",
        "Whether HTTP uses TLS, with the certificates and rules of tls-port",
    ),
    fixed("dir", Kind::Text, "./weald-data", "Directory of the data"),
    fixed(
        "logfile",
        Kind::Text,
        "",
        "File that messages go to; standard error without",
    ),
    live(
        "loglevel",
        Kind::OneOf(&["debug", "verbose", "notice", "warning", "nothing"]),
        "notice",
        "Which messages are written",
    ),
    // Durability.
    live(
        "durability",
        Kind::OneOf(DURABILITIES),
        "immediate",
        "When a write is answered: immediate: once it is on the disk; batched: at once, and on the disk a moment later; none: at once, and on the disk with the next checkpoint",
    ),
    fixed(
        "durability-interval-ms",
        int(1, 60_000),
        "10",
        "The moment of batched, in milliseconds",
    ),
    Setting {
        alias_of: Some(of_appendfsync),
        ..live(
            "appendfsync",
            Kind::OneOf(&["always", "everysec", "no"]),
            "always",
            "Durability in the words of Redis: always is immediate, everysec is batched each second, no is none",
        )
    },
    fixed(
        "dirty-memory",
        bytes(1 << 20, 1 << 40),
        "268435456",
        "Memory for changed pages that wait for a checkpoint",
    ),
    fixed(
        "checkpoint-log",
        bytes(1 << 20, 1 << 40),
        "268435456",
        "Length of the log that causes a checkpoint: it bounds the time of a restart after a crash",
    ),
    fixed(
        "page-size",
        Kind::OneOf(&["auto", "4096", "8192", "16384", "32768", "65536"]),
        "auto",
        "Bytes of a page of a database that is created",
    ),
    // Who may do what.
    Setting {
        secret: true,
        ..live("requirepass", Kind::Text, "", "Password of the user default")
    },
    fixed(
        "requirepass-file",
        Kind::Text,
        "",
        "File that has the password of the user default",
    ),
    fixed(
        "aclfile",
        Kind::Text,
        "",
        "File that has the users, for ACL LOAD and ACL SAVE; looked for in the directory of the data too",
    ),
    Setting {
        secret: true,
        ..fixed(
            "user",
            Kind::Lines { min: 1, max: 1024 },
            "",
            "A user: name and rules, as in ACL SETUSER; once for each user, and not beside an aclfile",
        )
    },
    fixed(
        "rename-command",
        Kind::Lines { min: 2, max: 2 },
        "",
        "A command and the name that it has instead, or \"\" for none; once for each command",
    ),
    live(
        "acllog-max-len",
        int(0, 1_000_000),
        "128",
        "Refusals that ACL LOG remembers",
    ),
    live(
        "acl-pubsub-default",
        Kind::OneOf(&["resetchannels", "allchannels"]),
        "resetchannels",
        "Channels of users that are made",
    ),
    live(
        "protected-mode",
        Kind::Bool,
        "yes",
        "Whether clients from other machines are refused while the user default has no password",
    ),
    fixed(
        "insecure",
        Kind::Bool,
        "no",
        "Whether it may listen on other than loopback addresses without a password or without TLS",
    ),
    fixed(
        "enable-debug-command",
        Kind::OneOf(&["no", "yes", "local"]),
        "local",
        "Who may use DEBUG",
    ),
    // Limits.
    live(
        "maxclients",
        int(1, 1_000_000),
        "10000",
        "The most clients at a time",
    ),
    live(
        "timeout",
        int(0, MAX),
        "0",
        "Seconds after which a silent client is disconnected; 0 for never",
    ),
    live(
        "proto-max-bulk-len",
        bytes(1 << 20, 512 << 20),
        "536870912",
        "The longest argument, in bytes",
    ),
    live(
        "client-query-buffer-limit",
        bytes(1 << 20, 4 << 30),
        "1073741824",
        "The longest request, in bytes",
    ),
    live(
        "client-output-buffer-limit",
        Kind::OutputLimits,
        "normal 1073741824 268435456 60 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
        "For each class of clients: bytes of replies at which one that does not read them is disconnected, and bytes at which it is after some seconds",
    ),
    live(
        "maxmemory-clients",
        Kind::BytesOrPercent { max: 1 << 40 },
        "1073741824",
        "Memory for buffers of all clients; those with most are disconnected beyond it; 0 for no bound",
    ),
    live(
        "maxmemory",
        bytes(0, u64::MAX),
        "0",
        "The most that the data may take, in bytes of pages in use: they are on the disk, not in memory; 0 for no bound. Of no effect on a node of a cluster",
    ),
    live(
        "maxmemory-policy",
        Kind::OneOf(POLICIES),
        "noeviction",
        "Which keys are deleted beyond it; with noeviction commands are refused instead that may make the data larger",
    ),
    live(
        "maxmemory-samples",
        int(1, 64),
        "5",
        "How many keys are looked at to find one that was not used for long, or is rarely used",
    ),
    live(
        "auth-timeout",
        int(0, 86400),
        "60",
        "Seconds after which a client is disconnected that has not said who it is; 0 for never",
    ),
    live(
        "request-timeout",
        int(0, 86400),
        "300",
        "Seconds after which a client is disconnected that has begun a request and not ended it; 0 for never",
    ),
    fixed(
        "databases",
        int(1, 16),
        "16",
        "How many databases SELECT chooses among",
    ),
    // What it tells.
    live(
        "notify-keyspace-events",
        Kind::Events,
        "",
        "Kinds of events of keys that are published",
    ),
    live(
        "slowlog-log-slower-than",
        int(-1, MAX),
        "10000",
        "Microseconds from which on a command is in SLOWLOG; -1 for none",
    ),
    live(
        "slowlog-max-len",
        int(0, 1_000_000),
        "128",
        "Commands that SLOWLOG remembers",
    ),
    live(
        "latency-monitor-threshold",
        int(0, MAX),
        "0",
        "Milliseconds from which on LATENCY has an event; 0 for none",
    ),
    live(
        "latency-tracking",
        Kind::Bool,
        "yes",
        "Whether LATENCY HISTOGRAM counts",
    ),
    live(
        "latency-tracking-info-percentiles",
        Kind::Percentiles,
        "50 99 99.9",
        "Shares of the calls of a command, in per cent, that INFO latencystats tells the duration of",
    ),
    live(
        "tracking-table-max-keys",
        int(0, MAX),
        "1000000",
        "Keys that are remembered for client tracking",
    ),
    live(
        "hz",
        int(1, 500),
        "10",
        "How often a second the server looks after its clients",
    ),
    live(
        "lfu-log-factor",
        int(0, u32::MAX as i64),
        "10",
        "How much rarer each further step of OBJECT FREQ is",
    ),
    live(
        "lfu-decay-time",
        int(0, u32::MAX as i64),
        "1",
        "Minutes without a use that take a step of OBJECT FREQ back; 0 for never",
    ),
    // What OBJECT ENCODING tells.
    live(
        "hash-max-listpack-entries",
        int(0, MAX),
        "128",
        "Fields up to which OBJECT ENCODING calls a hash a listpack",
    ),
    live(
        "hash-max-listpack-value",
        int(0, MAX),
        "64",
        "Bytes of a field up to which it does",
    ),
    live(
        "list-max-listpack-size",
        int(i32::MIN as i64, i32::MAX as i64),
        "-2",
        "Elements, or the class of size, up to which OBJECT ENCODING calls a list a listpack",
    ),
    live(
        "set-max-intset-entries",
        int(0, MAX),
        "512",
        "Integers up to which OBJECT ENCODING calls a set an intset",
    ),
    live(
        "set-max-listpack-entries",
        int(0, MAX),
        "128",
        "Members up to which it calls a set a listpack",
    ),
    live(
        "set-max-listpack-value",
        int(0, MAX),
        "64",
        "Bytes of a member up to which it does",
    ),
    live(
        "zset-max-listpack-entries",
        int(0, MAX),
        "128",
        "Members up to which OBJECT ENCODING calls a sorted set a listpack",
    ),
    live(
        "zset-max-listpack-value",
        int(0, MAX),
        "64",
        "Bytes of a member up to which it does",
    ),
    live(
        "hll-sparse-max-bytes",
        bytes(0, i64::MAX as u64),
        "3000",
        "Bytes up to which a HyperLogLog is kept in its sparse form",
    ),
    // What clients ask for, and what Weald has nothing for.
    inert("save", Kind::Text, ""),
    inert("appendonly", Kind::Bool, "yes"),
    inert("dbfilename", Kind::Text, "data.weald"),
    inert_fixed("daemonize", Kind::OneOf(&["no"]), "no"),
    inert_fixed("supervised", Kind::Text, "auto"),
    inert_fixed("pidfile", Kind::Text, ""),
    inert("activedefrag", Kind::Bool, "no"),
    inert("active-expire-effort", int(1, 10), "1"),
    inert("lazyfree-lazy-user-del", Kind::Bool, "no"),
    inert("lazyfree-lazy-user-flush", Kind::Bool, "no"),
    inert("lazyfree-lazy-expire", Kind::Bool, "no"),
    inert("lazyfree-lazy-eviction", Kind::Bool, "no"),
    inert("lazyfree-lazy-server-del", Kind::Bool, "no"),
    inert("replica-read-only", Kind::Bool, "yes"),
    inert("replica-serve-stale-data", Kind::Bool, "yes"),
    inert("repl-diskless-sync", Kind::Bool, "yes"),
    inert("repl-diskless-sync-delay", int(0, MAX), "5"),
    inert("repl-backlog-size", bytes(1, u64::MAX), "1048576"),
    inert("repl-ping-replica-period", int(1, MAX), "10"),
    inert("min-replicas-to-write", int(0, MAX), "0"),
    inert("min-replicas-max-lag", int(0, MAX), "10"),
    // A node of a cluster.
    fixed(
        "cluster-port",
        int(0, 65535),
        "0",
        "Port for the other nodes of a cluster; 0 for a server alone",
    ),
    fixed(
        "cluster-bind",
        Kind::Text,
        "127.0.0.1",
        "Address to listen on for other nodes; what they say is encrypted, and whoever lacks the secret gets no answer",
    ),
    fixed(
        "cluster-announce",
        Kind::Text,
        "",
        "Address and port that other nodes are told, where they differ from those listened on",
    ),
    fixed(
        "cluster-transport",
        Kind::Text,
        "tcp",
        "How nodes talk: tcp, udp (short messages as datagrams), tls (TCP with TLS 1.3), or where they are built in quic and uring (tcp through io_uring); the same on every node, but tcp and uring go together",
    ),
    fixed(
        "cluster-storage",
        Kind::Text,
        "file",
        "What a node keeps its replica in: file, or memory, which is gone when it ends",
    ),
    fixed(
        "cluster-hot-bytes",
        bytes(0, u64::MAX),
        "0",
        "Memory before the replica, from which is read what was read or written last; 0 for none. It takes a quarter more, and 4 MiB more at least",
    ),
    fixed(
        "join",
        Kind::Text,
        "",
        "Addresses and ports of nodes whose cluster to join, with commas between; a node without any, and without data, founds one",
    ),
    fixed(
        "cluster-secret-file",
        Kind::Text,
        "",
        "File that has the cluster's secret: 16 bytes or more, the same on every node, and readable by its owner only",
    ),
    fixed(
        "cluster-name",
        Kind::Text,
        "weald",
        "Name of the cluster: nodes of another are refused",
    ),
    fixed(
        "replica-count",
        int(1, 9),
        "3",
        "Copies of every key; as the three below, what the founder says holds for the cluster",
    ),
    fixed(
        "write-quorum",
        int(0, 9),
        "0",
        "Replicas that must have applied a write before it is answered; 0 for what the preset says",
    ),
    fixed(
        "read-quorum",
        int(0, 9),
        "0",
        "Replicas that must have answered before a read is; 0 for what the preset says",
    ),
    fixed(
        "preset",
        Kind::OneOf(&["strong", "balanced", "eventual"]),
        "balanced",
        "Quorums: strong waits for all replicas, balanced for a majority, eventual for one",
    ),
    fixed(
        "cluster-partition-bits",
        int(0, 14),
        "6",
        "Partitions of the cluster that is founded: 2 to this power, for good",
    ),
    fixed(
        "cluster-zone",
        int(0, 65535),
        "0",
        "Number of the rack or data centre: replicas of a key are spread over zones",
    ),
    fixed(
        "cluster-weight",
        int(1, 1000),
        "1",
        "How much the node takes, in proportion to the others",
    ),
    fixed(
        "cluster-request-timeout-ms",
        int(100, 600_000),
        "5000",
        "How long a request may wait for other nodes",
    ),
    fixed(
        "cluster-probe-interval-ms",
        int(50, 60_000),
        "1000",
        "How often other nodes are probed, and partitions compared",
    ),
    fixed(
        "cluster-repair-rate",
        bytes(1024, u64::MAX),
        "33554432",
        "Bytes that the node reads or fetches in a second to make replicas equal and to take over partitions; a quarter of it while clients ask a lot",
    ),
    inert_fixed("cluster-enabled", Kind::OneOf(&["no"]), "no"),
    inert("auto-aof-rewrite-percentage", int(0, MAX), "100"),
    inert("auto-aof-rewrite-min-size", bytes(0, u64::MAX), "67108864"),
    inert("aof-use-rdb-preamble", Kind::Bool, "yes"),
    inert("no-appendfsync-on-rewrite", Kind::Bool, "no"),
    inert("rdbcompression", Kind::Bool, "yes"),
    inert_fixed("rdbchecksum", Kind::Bool, "yes"),
    inert("stop-writes-on-bgsave-error", Kind::Bool, "yes"),
    inert_hidden("rdb-key-save-delay", int(i64::MIN, MAX), "0"),
    inert_hidden("key-load-delay", int(i64::MIN, MAX), "0"),
    inert("list-compress-depth", int(0, MAX), "0"),
    inert("stream-node-max-bytes", bytes(0, u64::MAX), "4096"),
    inert("stream-node-max-entries", int(0, MAX), "100"),
    inert("activerehashing", Kind::Bool, "yes"),
    inert("dynamic-hz", Kind::Bool, "yes"),
    inert_fixed("io-threads", int(1, 128), "1"),
    inert("lua-time-limit", int(0, MAX), "5000"),
    inert("busy-reply-threshold", int(0, MAX), "5000"),
    inert_hidden("close-on-oom", Kind::Bool, "no"),
    inert_fixed("always-show-logo", Kind::Bool, "no"),
    inert_fixed("enable-protected-configs", Kind::OneOf(WHO), "no"),
    inert_fixed("enable-module-command", Kind::OneOf(WHO), "no"),
    Setting {
        hidden: true,
        ..inert_fixed("loadmodule", Kind::Text, "")
    },
    inert_fixed("syslog-enabled", Kind::Bool, "no"),
    inert("crash-log-enabled", Kind::Bool, "yes"),
    inert("locale-collate", Kind::Text, ""),
    inert_hidden("loading-process-events-interval-bytes", int(1024, MAX), "2097152"),
    // Of the memory of Redis.
    inert("maxmemory-eviction-tenacity", int(0, 100), "10"),
    inert("active-defrag-cycle-max", int(1, 99), "25"),
    inert("active-defrag-cycle-min", int(1, 99), "1"),
    inert("active-defrag-ignore-bytes", bytes(1, u64::MAX), "104857600"),
    inert("active-defrag-max-scan-fields", int(1, MAX), "1000"),
    inert("active-defrag-threshold-lower", int(0, 1000), "10"),
    inert("active-defrag-threshold-upper", int(0, 1000), "100"),
    inert("jemalloc-bg-thread", Kind::Bool, "yes"),
    inert("oom-score-adj", Kind::OneOf(&["no"]), "no"),
    inert("oom-score-adj-values", Kind::Text, "0 200 800"),
    inert_fixed("disable-thp", Kind::Bool, "yes"),
    inert_fixed("io-threads-do-reads", Kind::Bool, "no"),
    // Of its files.
    inert_fixed("appendfilename", Kind::Text, "appendonly.aof"),
    inert_fixed("appenddirname", Kind::Text, "appendonlydir"),
    inert("aof-load-truncated", Kind::Bool, "yes"),
    inert("aof-rewrite-incremental-fsync", Kind::Bool, "yes"),
    inert("aof-timestamp-enabled", Kind::Bool, "no"),
    inert("aof-disable-auto-gc", Kind::Bool, "no"),
    inert("rdb-save-incremental-fsync", Kind::Bool, "yes"),
    inert("rdb-del-sync-files", Kind::Bool, "no"),
    inert(
        "sanitize-dump-payload",
        Kind::OneOf(&["no", "yes", "clients"]),
        "no",
    ),
    // Of its replicas.
    inert_fixed("replicaof", Kind::OneOf(&[""]), ""),
    Setting {
        secret: true,
        ..inert("masterauth", Kind::Text, "")
    },
    inert("masteruser", Kind::Text, ""),
    inert("repl-timeout", int(1, i32::MAX as i64), "60"),
    inert("repl-backlog-ttl", int(0, MAX), "3600"),
    inert("repl-disable-tcp-nodelay", Kind::Bool, "no"),
    inert(
        "repl-diskless-load",
        Kind::OneOf(&["disabled", "on-empty-db", "swapdb"]),
        "disabled",
    ),
    inert("repl-diskless-sync-max-replicas", int(0, i32::MAX as i64), "0"),
    inert("replica-priority", int(0, i32::MAX as i64), "100"),
    inert("replica-announced", Kind::Bool, "yes"),
    inert("replica-announce-ip", Kind::Text, ""),
    inert("replica-announce-port", int(0, 65535), "0"),
    inert("replica-ignore-maxmemory", Kind::Bool, "yes"),
    inert("replica-ignore-disk-write-errors", Kind::Bool, "no"),
    inert("replica-lazy-flush", Kind::Bool, "no"),
    inert(
        "propagation-error-behavior",
        Kind::OneOf(EVENTS_OF_ERRORS),
        "ignore",
    ),
    // Of Redis Cluster.
    inert_fixed("cluster-config-file", Kind::Text, "nodes.conf"),
    inert("cluster-node-timeout", int(0, MAX), "15000"),
    inert("cluster-require-full-coverage", Kind::Bool, "yes"),
    inert("cluster-allow-reads-when-down", Kind::Bool, "no"),
    inert("cluster-allow-pubsubshard-when-down", Kind::Bool, "yes"),
    inert("cluster-allow-replica-migration", Kind::Bool, "yes"),
    inert("cluster-migration-barrier", int(0, i32::MAX as i64), "1"),
    inert("cluster-replica-validity-factor", int(0, i32::MAX as i64), "10"),
    inert("cluster-replica-no-failover", Kind::Bool, "no"),
    inert("cluster-link-sendbuf-limit", bytes(0, u64::MAX), "0"),
    inert("cluster-announce-ip", Kind::Text, ""),
    inert("cluster-announce-hostname", Kind::Text, ""),
    inert("cluster-announce-port", int(0, 65535), "0"),
    inert("cluster-announce-bus-port", int(0, 65535), "0"),
    inert("cluster-announce-tls-port", int(0, 65535), "0"),
    inert(
        "cluster-preferred-endpoint-type",
        Kind::OneOf(&["ip", "hostname", "unknown-endpoint"]),
        "ip",
    ),
    // Of its process.
    inert(
        "proc-title-template",
        Kind::Text,
        "{title} {listen-addr} {server-mode}",
    ),
    inert_fixed("set-proc-title", Kind::Bool, "yes"),
    inert_fixed("syslog-ident", Kind::Text, "redis"),
    inert_fixed("syslog-facility", Kind::Text, "local0"),
    inert("ignore-warnings", Kind::Text, ""),
    inert("crash-memcheck-enabled", Kind::Bool, "yes"),
    inert("shutdown-timeout", int(0, MAX), "10"),
    inert("shutdown-on-sigint", Kind::OneOf(&["default"]), "default"),
    inert("shutdown-on-sigterm", Kind::OneOf(&["default"]), "default"),
];
