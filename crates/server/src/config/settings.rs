//! The values in the types that the server uses.

use std::time::Duration;

use weald_engine::{PageSize, SyncPolicy};
use weald_resp::Limits;

use crate::config::memory::parse_bytes;
use crate::config::{Config, ConfigError};
use crate::eviction::Policy;
use crate::keyspace::{Counting, Encodings};
use crate::notify::Notified;

/// When a write is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// At once; it is on the disk with the next checkpoint.
    None,
    /// At once; it is on the disk a moment later.
    Batched,
    /// Once it is on the disk.
    #[default]
    Immediate,
}

impl Durability {
    /// The one of this name.
    pub fn parse(name: &str) -> Option<Durability> {
        [Durability::None, Durability::Batched, Durability::Immediate]
            .into_iter()
            .find(|durability| durability.name().eq_ignore_ascii_case(name))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Durability::None => "none",
            Durability::Batched => "batched",
            Durability::Immediate => "immediate",
        }
    }

    /// What the engine calls it.
    pub(crate) fn policy(self, interval: Duration) -> SyncPolicy {
        match self {
            Durability::None => SyncPolicy::None,
            Durability::Batched => SyncPolicy::Batched(interval),
            Durability::Immediate => SyncPolicy::Immediate,
        }
    }
}

/// How much a client may have to read, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutputLimit {
    pub(crate) hard: usize,
    pub(crate) soft: usize,
    pub(crate) seconds: u64,
}

/// The classes of clients, in the order of the setting.
const CLASSES: [&str; 3] = ["normal", "slave", "pubsub"];

impl OutputLimit {
    /// Reads limits of classes; classes that are not named have none.
    pub(crate) fn parse_all(text: &str) -> Result<[OutputLimit; 3], String> {
        let none = OutputLimit {
            hard: 0,
            soft: 0,
            seconds: 0,
        };
        OutputLimit::parse_onto([none; 3], text)
    }

    /// Reads limits of classes; those that are not named keep theirs.
    pub(crate) fn parse_onto(mut limits: [OutputLimit; 3], text: &str) -> Result<[OutputLimit; 3], String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.is_empty() || !words.len().is_multiple_of(4) {
            return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
        }
        for chunk in words.chunks(4) {
            let class = if chunk[0].eq_ignore_ascii_case("replica") {
                "slave"
            } else {
                chunk[0]
            };
            let at = CLASSES.iter().position(|name| name.eq_ignore_ascii_case(class));
            let at = at.ok_or("Invalid client class specified in buffer limit configuration.")?;
            let number = |text: &str| parse_bytes(text).and_then(|bytes| usize::try_from(bytes).ok());
            let (Some(hard), Some(soft), Ok(seconds)) =
                (number(chunk[1]), number(chunk[2]), chunk[3].parse())
            else {
                return Err(
                    "Error in hard, soft or soft_seconds setting in buffer limit configuration.".to_owned(),
                );
            };
            limits[at] = OutputLimit { hard, soft, seconds };
        }
        Ok(limits)
    }

    pub(crate) fn show_all(limits: &[OutputLimit; 3]) -> String {
        let show = |(class, limit): (&str, &OutputLimit)| {
            format!("{class} {} {} {}", limit.hard, limit.soft, limit.seconds)
        };
        CLASSES
            .into_iter()
            .zip(limits)
            .map(show)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// The values in the types that the server uses. What the server needs only once it reads from [`Config`].
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) durability: Durability,
    pub(crate) durability_interval: Duration,
    pub(crate) maxclients: usize,
    pub(crate) idle_timeout_ms: u64,
    pub(crate) auth_timeout_ms: u64,
    pub(crate) request_timeout_ms: u64,
    pub(crate) limits: Limits,
    pub(crate) output_normal: OutputLimit,
    pub(crate) output_pubsub: OutputLimit,
    pub(crate) maxmemory_clients: usize,
    pub(crate) protected_mode: bool,
    pub(crate) notified: Notified,
    /// Microseconds; negative for never.
    pub(crate) slowlog_slower_us: i64,
    pub(crate) slowlog_len: usize,
    /// Milliseconds; 0 for never.
    pub(crate) latency_threshold_ms: u64,
    pub(crate) latency_tracking: bool,
    pub(crate) tracking_keys_max: usize,
    pub(crate) acl_log_len: usize,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) databases: usize,
    pub(crate) encodings: Encodings,
    /// Up to how many bytes a HyperLogLog is kept in its sparse form.
    pub(crate) hll_sparse_max: usize,
    /// The most bytes that the data may take; 0 for no bound.
    pub(crate) maxmemory: u64,
    /// Which keys are deleted beyond it.
    pub(crate) policy: Option<Policy>,
    /// How many keys are looked at to find one of them.
    pub(crate) eviction_samples: usize,
    pub(crate) counting: Counting,
    pub(crate) hz: u64,
}

impl Settings {
    pub(crate) fn of(config: &Config) -> Result<Settings, ConfigError> {
        let [output_normal, _, output_pubsub] =
            OutputLimit::parse_all(config.text("client-output-buffer-limit")).unwrap_or(
                [OutputLimit {
                    hard: 0,
                    soft: 0,
                    seconds: 0,
                }; 3],
            );
        let keepalive = config.number("tcp-keepalive") as u64;
        Ok(Settings {
            durability: Durability::parse(config.text("durability")).unwrap_or_default(),
            durability_interval: Duration::from_millis(config.number("durability-interval-ms") as u64),
            maxclients: config.number("maxclients") as usize,
            idle_timeout_ms: (config.number("timeout") as u64).saturating_mul(1000),
            auth_timeout_ms: config.number("auth-timeout") as u64 * 1000,
            request_timeout_ms: config.number("request-timeout") as u64 * 1000,
            limits: Limits {
                bulk_max: config.number("proto-max-bulk-len") as usize,
                request_max: config.number("client-query-buffer-limit") as usize,
                ..Limits::default()
            },
            output_normal,
            output_pubsub,
            maxmemory_clients: config.share_of_memory("maxmemory-clients"),
            protected_mode: config.yes("protected-mode"),
            notified: Notified::parse(config.text("notify-keyspace-events")).unwrap_or_default(),
            slowlog_slower_us: config.number("slowlog-log-slower-than"),
            slowlog_len: config.number("slowlog-max-len") as usize,
            latency_threshold_ms: config.number("latency-monitor-threshold") as u64,
            latency_tracking: config.yes("latency-tracking"),
            tracking_keys_max: config.number("tracking-table-max-keys") as usize,
            acl_log_len: config.number("acllog-max-len") as usize,
            keepalive: (keepalive > 0).then(|| Duration::from_secs(keepalive)),
            databases: config.number("databases") as usize,
            encodings: Encodings {
                hash_entries: config.number("hash-max-listpack-entries") as u64,
                hash_value: config.number("hash-max-listpack-value") as usize,
                set_entries: config.number("set-max-listpack-entries") as u64,
                set_value: config.number("set-max-listpack-value") as usize,
                intset_entries: config.number("set-max-intset-entries") as u64,
                zset_entries: config.number("zset-max-listpack-entries") as u64,
                zset_value: config.number("zset-max-listpack-value") as usize,
                list_size: config.number("list-max-listpack-size"),
            },
            hll_sparse_max: config.text("hll-sparse-max-bytes").parse().unwrap_or(usize::MAX),
            maxmemory: config.text("maxmemory").parse().unwrap_or_default(),
            policy: Policy::parse(config.text("maxmemory-policy")),
            eviction_samples: config.number("maxmemory-samples") as usize,
            counting: Counting {
                counts: config.text("maxmemory-policy").ends_with("lfu"),
                log_factor: config.number("lfu-log-factor") as u32,
                decay_minutes: config.number("lfu-decay-time") as u32,
            },
            hz: config.number("hz") as u64,
        })
    }
}

impl Config {
    /// The value of a setting that there is.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// The value of a setting that is a number: it was checked when it was set.
    pub(crate) fn number(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or_default()
    }

    /// The value of a setting that is a number of bytes, or a share of `maxmemory`: none of it where that is without bound.
    fn share_of_memory(&self, name: &str) -> usize {
        let text = self.text(name);
        let bytes = match text.strip_suffix('%').map(str::parse::<u128>) {
            Some(percent) => {
                self.text("maxmemory").parse().unwrap_or(0_u128) * percent.unwrap_or_default() / 100
            }
            None => text.parse().unwrap_or_default(),
        };
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    pub(crate) fn yes(&self, name: &str) -> bool {
        self.text(name) == "yes"
    }

    pub(crate) fn page_size(&self) -> Option<PageSize> {
        self.text("page-size").parse().ok().and_then(PageSize::from_bytes)
    }
}
