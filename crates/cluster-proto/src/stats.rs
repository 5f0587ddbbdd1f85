//! What a node counts, and what it says about its partitions.

use crate::codec::Bytes;
use crate::id::{CopyId, NodeId, Partition};
use crate::layout::Phase;
use crate::membership::Status as MemberStatus;
use crate::node::Node;

/// Counts since the node was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests of clients.
    pub requests: u64,
    /// Requests of clients that failed.
    pub failures: u64,
    /// Writes whose version others had overtaken, sent again with a later one.
    pub overtaken: u64,
    /// Keys that readers found to differ between replicas, and wrote back.
    pub read_repairs: u64,
    /// Ballots of registers.
    pub ballots: u64,
    /// Requests of peers that were refused.
    pub refused: u64,
    /// Messages of kinds that this build doesn't know: a peer is of a later one.
    pub messages_unknown: u64,
    /// Times from beyond the drift bound.
    pub stamps_refused: u64,
    /// Hints that are kept now.
    pub hints: u64,
    /// Hints that were delivered.
    pub hints_delivered: u64,
    /// Hints that were given up: there were too many, or they were too old.
    pub hints_dropped: u64,
    /// Comparisons of partitions that found a difference.
    pub differences: u64,
    /// Entries that comparisons or rings brought here.
    pub repaired: u64,
    /// Peers whose ring was enough to catch up.
    pub ring_syncs: u64,
    /// Entries that moved here with partitions.
    pub transferred: u64,
    /// Rounds after which deletions were dropped.
    pub settled: u64,
    /// Deletions and expired values that were dropped.
    pub dropped: u64,
}

/// What a node knows about a partition that it owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionStats {
    /// Which.
    pub partition: Partition,
    /// Changes since the node was started.
    pub changes: u64,
    /// The sum of its entries, if it has been computed: equal for replicas with equal contents.
    pub sum: Option<u128>,
    /// The time, in milliseconds, up to which all owners have everything.
    pub settled_ms: u64,
}

/// The state of a node in a few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether it serves.
    pub serving: bool,
    /// The version of its layout; 0 if it has none.
    pub layout: u64,
    /// How far the change of that layout has come.
    pub phase: Option<Phase>,
    /// Partitions that it has still to fetch.
    pub to_fetch: usize,
    /// Nodes that it knows, itself not counted.
    pub peers: usize,
    /// Those of them that answer.
    pub alive: usize,
    /// Requests of clients that it is working on.
    pub in_flight: usize,
}

/// A node as another one has heard of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Which.
    pub node: NodeId,
    /// Whether it is thought to be there.
    pub status: MemberStatus,
    /// The copy of its data that it has.
    pub copy: CopyId,
    /// How often it was started with that copy.
    pub boot: u64,
    /// Where it is reached.
    pub address: Bytes,
}

impl Node {
    /// Every node that this one has heard of, members or not, in the order of their numbers.
    pub fn peers(&self) -> impl Iterator<Item = PeerStatus> + '_ {
        self.members.peers.iter().map(|(&node, peer)| PeerStatus {
            node,
            status: peer.status,
            copy: peer.announcement.copy,
            boot: peer.announcement.boot,
            address: peer.announcement.address.clone(),
        })
    }

    /// What was counted.
    pub fn stats(&self) -> Stats {
        Stats {
            hints: self.hints.count() as u64,
            ..self.stats
        }
    }

    /// The state in a few words.
    pub fn status(&self) -> Status {
        let layout = self.layout.as_ref();
        Status {
            serving: self.is_serving(),
            layout: layout.map_or(0, |layout| layout.version),
            phase: layout.map(|layout| layout.phase),
            to_fetch: self.movement.left(),
            peers: self.members.peers.len(),
            alive: self
                .members
                .peers
                .keys()
                .filter(|&&node| self.members.is_alive(node))
                .count(),
            in_flight: self.coordinator.in_flight(),
        }
    }

    /// Every partition that this node owns.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionStats> + '_ {
        self.replica
            .parts
            .iter()
            .map(|(&partition, part)| PartitionStats {
                partition,
                changes: part.changes,
                sum: self.replica.tree(partition).map(|tree| tree.root),
                settled_ms: part.marks.settled.ms(),
            })
    }
}
