//! What the node was like a moment ago, for `INFO`, metrics and the dashboard, which must not wait for it.

use std::sync::Arc;

use weald_cluster::proto::{Layout, PartitionStats, PeerStatus, Phase};
use weald_cluster::storage::Stats as Replica;
use weald_cluster::{ClientError, Metrics, Node};

/// A node and its cluster at one moment.
pub(crate) struct View {
    pub(crate) metrics: Option<Metrics>,
    /// What the node's storage tells of itself; nothing where others keep it, who would be asked for all their keys again and again.
    pub(crate) replica: Option<Replica>,
    pub(crate) layout: Option<Layout>,
    pub(crate) peers: Vec<PeerStatus>,
    pub(crate) partitions: Vec<PartitionStats>,
    /// Bytes of the replica, where it is on this machine's disk.
    pub(crate) disk_bytes: Option<u64>,
}

/// A number of a node: its name, what it means, and where it is.
type Number = (&'static str, &'static str, fn(&Metrics) -> u64);

/// What goes up and down.
pub(crate) const GAUGES: &[Number] = &[
    ("weald_cluster_serving", "Whether the node serves.", |m| {
        u64::from(m.status.serving)
    }),
    (
        "weald_cluster_layout_version",
        "The version of the layout.",
        |m| m.status.layout,
    ),
    (
        "weald_cluster_moving",
        "Whether the layout is being changed.",
        |m| u64::from(m.status.phase.is_some_and(|phase| phase != Phase::Stable)),
    ),
    (
        "weald_cluster_to_fetch",
        "Partitions that are still to be fetched.",
        |m| m.status.to_fetch as u64,
    ),
    ("weald_cluster_peers", "Other nodes that are known.", |m| {
        m.status.peers as u64
    }),
    ("weald_cluster_peers_alive", "Other nodes that answer.", |m| {
        m.status.alive as u64
    }),
    (
        "weald_cluster_in_flight",
        "Requests of clients that are under way.",
        |m| m.status.in_flight as u64,
    ),
    (
        "weald_cluster_hints",
        "Writes that are kept for nodes that are away.",
        |m| m.node.hints,
    ),
    (
        "weald_cluster_inbox_bytes",
        "Messages that wait to be handled.",
        |m| m.inbox_bytes as u64,
    ),
];

/// What only grows.
pub(crate) const COUNTERS: &[Number] = &[
    ("weald_cluster_requests", "Requests of clients.", |m| {
        m.node.requests
    }),
    (
        "weald_cluster_failures",
        "Requests of clients that failed.",
        |m| m.node.failures,
    ),
    (
        "weald_cluster_overtaken",
        "Writes sent again with a later version.",
        |m| m.node.overtaken,
    ),
    ("weald_cluster_ballots", "Ballots of compare-and-set.", |m| {
        m.node.ballots
    }),
    (
        "weald_cluster_refused",
        "Requests of peers that were refused.",
        |m| m.node.refused,
    ),
    (
        "weald_cluster_stamps_refused",
        "Times from beyond the bound.",
        |m| m.node.stamps_refused,
    ),
    (
        "weald_cluster_read_repairs",
        "Keys that readers found to differ.",
        |m| m.node.read_repairs,
    ),
    (
        "weald_cluster_hints_delivered",
        "Hints that were delivered.",
        |m| m.node.hints_delivered,
    ),
    ("weald_cluster_hints_dropped", "Hints that were given up.", |m| {
        m.node.hints_dropped
    }),
    (
        "weald_cluster_differences",
        "Comparisons of partitions that found a difference.",
        |m| m.node.differences,
    ),
    (
        "weald_cluster_repaired",
        "Entries that repair brought here.",
        |m| m.node.repaired,
    ),
    (
        "weald_cluster_ring_syncs",
        "Peers that caught up by the ring of changes.",
        |m| m.node.ring_syncs,
    ),
    (
        "weald_cluster_transferred",
        "Entries that moved here with partitions.",
        |m| m.node.transferred,
    ),
    (
        "weald_cluster_settled",
        "Rounds after which deletions were dropped.",
        |m| m.node.settled,
    ),
    (
        "weald_cluster_dropped",
        "Deletions and expired values that were dropped.",
        |m| m.node.dropped,
    ),
    ("weald_cluster_sent", "Messages sent to peers.", |m| {
        m.transport.sent
    }),
    ("weald_cluster_sent_bytes", "Bytes sent to peers.", |m| {
        m.transport.sent_bytes
    }),
    ("weald_cluster_received", "Messages of peers.", |m| {
        m.transport.received
    }),
    ("weald_cluster_received_bytes", "Bytes of peers.", |m| {
        m.transport.received_bytes
    }),
    ("weald_cluster_unsent", "Messages that could not be sent.", |m| {
        m.unsent + m.transport.dropped
    }),
    ("weald_cluster_malformed", "Messages that were none.", |m| {
        m.malformed
    }),
    (
        "weald_cluster_messages_unknown",
        "Messages of a kind that later builds know.",
        |m| m.node.messages_unknown,
    ),
    (
        "weald_cluster_store_failures",
        "Operations of the replica's storage that failed.",
        |m| m.store_failures,
    ),
    (
        "weald_cluster_strangers",
        "Connections that did not prove genuine.",
        |m| m.transport.refused,
    ),
    ("weald_cluster_broken", "Connections that broke.", |m| {
        m.transport.broken
    }),
];

/// A number of the node's storage, likewise.
type ReplicaNumber = (&'static str, &'static str, fn(&Replica) -> u64);

/// What goes up and down.
pub(crate) const REPLICA_GAUGES: &[ReplicaNumber] = &[
    (
        "weald_replica_entries",
        "Keys of the node's replica, deletions that are still remembered, and what the node keeps for itself.",
        |r| r.keys,
    ),
    (
        "weald_replica_bytes",
        "What the node's replica takes, on the disk or in memory.",
        |r| r.bytes,
    ),
    (
        "weald_hot_tier_bytes",
        "Memory that is used before the replica.",
        |r| r.tier_bytes,
    ),
];

/// What only grows.
pub(crate) const REPLICA_COUNTERS: &[ReplicaNumber] = &[
    (
        "weald_hot_tier_hits",
        "Reads that the memory before the replica answered.",
        |r| r.tier_hits,
    ),
    ("weald_replica_reads", "Reads that the replica answered.", |r| {
        (r.hits + r.misses).saturating_sub(r.tier_hits)
    }),
    ("weald_replica_changes", "Changes of the replica.", |r| r.changes),
];

impl View {
    pub(super) fn empty() -> Arc<View> {
        Arc::new(View {
            metrics: None,
            replica: None,
            layout: None,
            peers: Vec::new(),
            partitions: Vec::new(),
            disk_bytes: None,
        })
    }

    pub(super) fn of(node: &Node) -> Result<Arc<View>, ClientError> {
        let limits = node.storage_limits();
        let replica = if limits.shared {
            None
        } else {
            node.storage_stats().ok()
        };
        Ok(Arc::new(View {
            metrics: Some(node.metrics()?),
            replica,
            layout: node.layout()?,
            peers: node.peers()?,
            partitions: node.partitions()?,
            disk_bytes: replica.filter(|_| limits.durable).map(|replica| replica.bytes),
        }))
    }
}

/// The name of a phase.
pub(crate) fn phase_name(phase: Option<Phase>) -> &'static str {
    match phase {
        None => "none",
        Some(Phase::Stable) => "stable",
        Some(Phase::Moving) => "moving",
        Some(Phase::Settling) => "settling",
    }
}

#[cfg(test)]
mod tests {
    use super::{COUNTERS, GAUGES};

    #[test]
    fn the_page_for_operators_names_metrics_that_there_are() {
        let page = include_str!("../../../../docs/operations.md");
        let named: Vec<&str> = page
            .split(|c: char| !c.is_ascii_lowercase() && c != '_')
            .filter(|word| word.len() > "weald_cluster_".len() && word.starts_with("weald_cluster_"))
            .collect();
        assert!(named.len() > 10, "it names some");
        for name in named {
            let gauge = GAUGES.iter().any(|(gauge, ..)| *gauge == name);
            let counter = COUNTERS
                .iter()
                .any(|(counter, ..)| format!("{counter}_total") == name);
            assert!(gauge || counter, "there is no metric {name}");
        }
    }
}
