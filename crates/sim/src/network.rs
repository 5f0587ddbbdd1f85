//! A simulated network: messages are bytes, and are delayed, dropped, doubled, reordered, and held up by partitions, one way too.

use std::collections::BTreeSet;

use weald_cluster_proto::{NodeId, Random};

/// How messages travel at the moment.
#[derive(Clone, Debug)]
pub struct Network {
    /// The shortest delay in microseconds.
    pub delay_us: u64,
    /// What is added at random.
    pub jitter_us: u64,
    /// Messages dropped, of a thousand.
    pub drop: u64,
    /// Messages sent twice, of a thousand; the second one up to `late_us` later.
    pub double: u64,
    /// How late a doubled message may come.
    pub late_us: u64,
    /// Pairs from which nothing gets through: from, to.
    pub blocked: BTreeSet<(NodeId, NodeId)>,
}

impl Network {
    /// Nothing goes wrong.
    pub fn calm() -> Network {
        Network {
            delay_us: 200,
            jitter_us: 300,
            drop: 0,
            double: 0,
            late_us: 0,
            blocked: BTreeSet::new(),
        }
    }

    /// When copies of a message arrive, after now.
    pub(crate) fn deliveries(&self, from: NodeId, to: NodeId, random: &mut Random) -> Vec<u64> {
        if self.blocked.contains(&(from, to)) || random.chance(self.drop) {
            return Vec::new();
        }
        let delay = self.delay_us + random.below(self.jitter_us + 1);
        let mut times = vec![delay];
        if random.chance(self.double) {
            times.push(delay + random.below(self.late_us + 1));
        }
        times
    }
}
