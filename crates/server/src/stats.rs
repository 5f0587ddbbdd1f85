//! What the server counts, for `INFO` and for other threads.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only the server's thread changes, and others read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// One writer needs no atomic addition.
    pub(crate) fn add(&self, more: u64) {
        self.set(self.get().wrapping_add(more));
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// What the server counts. The server's thread writes it; whoever has a [`Handle`](crate::Handle) reads it at any time.
#[derive(Debug, Default)]
pub struct Stats {
    /// Connections that were accepted.
    pub connections: Counter,
    /// Connections that were refused because there were too many.
    pub rejected_connections: Counter,
    /// Clients that are connected.
    pub clients: Counter,
    /// Clients that wait for a key.
    pub blocked_clients: Counter,
    /// Commands that were run.
    pub commands: Counter,
    /// Replies that were errors.
    pub errors: Counter,
    /// Bytes received.
    pub bytes_in: Counter,
    /// Bytes sent.
    pub bytes_out: Counter,
    /// Keys that were read and were there.
    pub keyspace_hits: Counter,
    /// Keys that were read and were not there.
    pub keyspace_misses: Counter,
    /// Keys that were deleted because their time was up.
    pub expired_keys: Counter,
    /// Keys that were deleted to make room.
    pub evicted_keys: Counter,
    /// Commits.
    pub commits: Counter,
    /// Microseconds that commits took.
    pub commit_us: Counter,
    /// Commits that failed.
    pub failed_commits: Counter,
    /// Clients that were disconnected because they did not read what they were sent.
    pub output_limit_disconnections: Counter,
    /// Clients that were disconnected because they sent more than is taken.
    pub query_limit_disconnections: Counter,
    /// Commands that were refused to a user.
    pub acl_denied: Counter,
    /// The commands of the last second.
    pub commands_per_second: Counter,
    /// The bytes received in the last second.
    pub bytes_in_per_second: Counter,
    /// The bytes sent in the last second.
    pub bytes_out_per_second: Counter,
    /// The most memory for buffers of clients that was seen.
    pub client_memory: Counter,
    /// Microseconds that all commands took together.
    pub command_us: Counter,
    /// Microseconds that commands took, by powers of two: the count at `i` is of those that took less than 2^i.
    pub latency_us: [Counter; 32],
}

impl Stats {
    /// A command took that long.
    pub(crate) fn took(&self, us: u64) {
        self.latency_us[bucket(us)].add(1);
        self.command_us.add(us);
    }

    /// Begins to count anew what `CONFIG RESETSTAT` resets.
    pub(crate) fn reset(&self) {
        for counter in [
            &self.connections,
            &self.rejected_connections,
            &self.commands,
            &self.errors,
            &self.bytes_in,
            &self.bytes_out,
            &self.keyspace_hits,
            &self.keyspace_misses,
            &self.expired_keys,
            &self.evicted_keys,
            &self.commits,
            &self.commit_us,
            &self.failed_commits,
            &self.output_limit_disconnections,
            &self.query_limit_disconnections,
            &self.acl_denied,
            &self.command_us,
        ] {
            counter.set(0);
        }
        self.latency_us.iter().for_each(|counter| counter.set(0));
    }
}

/// The class of a duration: the least `i` so that it is less than 2^i microseconds.
pub(crate) fn bucket(us: u64) -> usize {
    ((u64::BITS - us.leading_zeros()) as usize).min(31)
}

/// What is counted of each command.
#[derive(Clone, Copy, Default)]
pub(crate) struct CommandStats {
    pub(crate) calls: u64,
    pub(crate) us: u64,
    pub(crate) rejected: u64,
    pub(crate) failed: u64,
    /// As [`Stats::latency_us`].
    pub(crate) latency: [u32; 32],
}

/// The slowest of an event in a second, and when.
#[derive(Clone, Copy)]
pub(crate) struct LatencySample {
    pub(crate) at_s: u64,
    pub(crate) ms: u64,
}

/// Events that took longer than a threshold, at most 160 of each kind.
#[derive(Default)]
pub(crate) struct LatencyEvents {
    pub(crate) events: std::collections::BTreeMap<&'static str, (Vec<LatencySample>, u64)>,
}

impl LatencyEvents {
    pub(crate) fn add(&mut self, event: &'static str, ms: u64, at_s: u64) {
        let (samples, max) = self.events.entry(event).or_default();
        *max = (*max).max(ms);
        match samples.last_mut() {
            Some(last) if last.at_s == at_s => last.ms = last.ms.max(ms),
            _ => samples.push(LatencySample { at_s, ms }),
        }
        if samples.len() > 160 {
            samples.remove(0);
        }
    }
}
