//! What an operator chooses: quorums, bounds and times.

use crate::codec::wire_struct;
use crate::id::NodeId;

/// How many replicas a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorums {
    /// Copies of every key.
    pub replica_count: u8,
    /// Replicas that must have applied a write before it is acknowledged.
    pub write_quorum: u8,
    /// Replicas that must have answered before a read is.
    pub read_quorum: u8,
}

wire_struct!(Quorums {
    replica_count,
    write_quorum,
    read_quorum
});

impl Quorums {
    /// Every replica, for writes and reads: one node that is away stops both.
    pub fn strong(replica_count: u8) -> Quorums {
        Quorums {
            replica_count,
            write_quorum: replica_count,
            read_quorum: replica_count,
        }
    }

    /// A majority for both.
    pub fn balanced(replica_count: u8) -> Quorums {
        let majority = majority(replica_count);
        Quorums {
            replica_count,
            write_quorum: majority,
            read_quorum: majority,
        }
    }

    /// One replica for both: a read may miss what was just written.
    pub fn eventual(replica_count: u8) -> Quorums {
        Quorums {
            replica_count,
            write_quorum: 1,
            read_quorum: 1,
        }
    }

    /// Whether the numbers make sense.
    pub fn is_valid(&self) -> bool {
        let quorums = 1..=self.replica_count;
        (1..=REPLICAS_MAX).contains(&self.replica_count)
            && quorums.contains(&self.write_quorum)
            && quorums.contains(&self.read_quorum)
    }
}

pub(crate) fn majority(count: u8) -> u8 {
    count / 2 + 1
}

/// Which quorums a request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// What the cluster's layout says.
    #[default]
    Cluster,
    /// Every replica.
    Strong,
    /// A majority.
    Balanced,
    /// One.
    Eventual,
    /// So many. More than there are replicas is refused.
    Count(u8),
}

impl Level {
    pub(crate) fn resolve(self, cluster: u8, replica_count: u8) -> Option<u8> {
        let count = match self {
            Level::Cluster => cluster,
            Level::Strong => replica_count,
            Level::Balanced => majority(replica_count),
            Level::Eventual => 1,
            Level::Count(count) => count,
        };
        (1..=replica_count).contains(&count).then_some(count)
    }
}

/// The longest key.
pub const KEY_MAX: usize = 64 << 10;
/// The longest value.
pub const VALUE_MAX: usize = 8 << 20;
/// The longest message. A request that would need a longer one is refused before it is sent.
pub const MESSAGE_MAX: usize = 16 << 20;
/// The most replicas of a key.
pub const REPLICAS_MAX: u8 = 9;
/// The most keys of one request.
pub const KEYS_MAX: usize = 4096;

/// What a node is told when it starts. Times are milliseconds.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name, as its transport's peers know it.
    pub node: NodeId,
    /// Where peers reach it. Only hosts read it.
    pub address: Vec<u8>,
    /// The cluster: messages of another are refused.
    pub cluster: u64,
    /// Where it stands: replicas of a key are spread over zones.
    pub zone: u32,
    /// How much it takes, in proportion to the others.
    pub weight: u32,
    /// How far clocks may differ.
    pub drift_bound_ms: u64,
    /// How long a request may take.
    pub request_timeout_ms: u64,
    /// How long an unanswered message waits before it is sent again.
    pub resend_ms: u64,
    /// How often a peer is probed.
    pub probe_interval_ms: u64,
    /// How long a probe waits for its answer, and then again for the indirect ones.
    pub probe_timeout_ms: u64,
    /// How often a partition is compared while there is no reason to think that any differs. Where there is, only the bytes count.
    pub repair_interval_ms: u64,
    /// Bytes that a node reads or fetches in a second to compare partitions and to take over others, at most; a quarter of that while clients ask a lot.
    pub repair_bytes_per_second: u64,
    /// How old a deletion must be before it may be settled, and so how late a write may arrive.
    pub settle_after_ms: u64,
    /// How often hints are looked at.
    pub hint_interval_ms: u64,
    /// Bytes of hints kept for one node.
    pub hint_bytes_max: usize,
    /// Hints sent at once.
    pub hint_batch: usize,
    /// Partitions that are fetched at the same time.
    pub transfers_max: usize,
    /// Requests of clients that are worked on at the same time.
    pub requests_max: usize,
    /// Requests of peers that are worked on at the same time.
    pub peer_requests_max: usize,
    /// Entries in a page of a transfer, a scan or a comparison.
    pub page_entries: usize,
    /// Bytes in such a page.
    pub page_bytes: usize,
    /// Changes that the ring remembers for peers that were away.
    pub ring_entries: usize,
}

impl Config {
    /// What fits a cluster in one data centre.
    pub fn new(node: NodeId, cluster: u64) -> Config {
        Config {
            node,
            address: Vec::new(),
            cluster,
            zone: 0,
            weight: 1,
            drift_bound_ms: 2_000,
            request_timeout_ms: 5_000,
            resend_ms: 500,
            probe_interval_ms: 1_000,
            probe_timeout_ms: 300,
            repair_interval_ms: 1_000,
            repair_bytes_per_second: 32 << 20,
            settle_after_ms: 60_000,
            hint_interval_ms: 1_000,
            hint_bytes_max: 64 << 20,
            hint_batch: 64,
            transfers_max: 4,
            requests_max: 16_384,
            peer_requests_max: 65_536,
            page_entries: 256,
            page_bytes: 1 << 20,
            ring_entries: 65_536,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_what_their_names_say() {
        assert_eq!(Quorums::balanced(5).write_quorum, 3);
        assert_eq!(Level::Strong.resolve(2, 3), Some(3));
        assert_eq!(Level::Count(4).resolve(2, 3), None);
        assert!(
            !Quorums {
                replica_count: 3,
                write_quorum: 4,
                read_quorum: 1
            }
            .is_valid()
        );
    }
}
