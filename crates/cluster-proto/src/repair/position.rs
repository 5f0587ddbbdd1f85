//! How far this node has followed the ring of changes of a peer.
//!
//! A place in the ring counts once every partition that both own was found equal, or made equal, after that place was passed. From then on a difference is looked for in the ring first.

use std::collections::BTreeSet;

use crate::bugs::Bug;
use crate::codec::Bytes;
use crate::entry::Entry;
use crate::id::{NodeId, Partition, RequestId};
use crate::message::Body;
use crate::node::{Node, Pending};
use crate::repair::RepairPending;
use crate::store::{Change, Completion};

#[derive(Debug)]
pub(crate) struct Position {
    boot: u64,
    /// Everything before this place is here.
    confirmed: Option<u64>,
    /// Will be confirmed when nothing is left.
    candidate: u64,
    left: BTreeSet<Partition>,
    request: Option<RequestId>,
    /// Merges that a place waits for, and whether all went well.
    merging: usize,
    failed: bool,
}

impl Node {
    fn shared_with(&self, node: NodeId) -> BTreeSet<Partition> {
        let Some(layout) = &self.layout else {
            return BTreeSet::new();
        };
        let shared =
            |partition: &&Partition| layout.owners(**partition).iter().any(|owner| owner.node == node);
        self.replica.parts.keys().filter(shared).copied().collect()
    }

    /// A peer said where its ring ends. Keeps track, and says from which place the ring could tell what differs.
    pub(super) fn hear_ring(&mut self, node: NodeId, boot: u64, end: u64) -> Option<u64> {
        let limit = 4 * self.config.page_entries as u64;
        let same = self
            .repair
            .positions
            .get(&node)
            .is_some_and(|position| position.boot == boot);
        if !same {
            let left = self.shared_with(node);
            let position = Position {
                boot,
                confirmed: None,
                candidate: end,
                left,
                request: None,
                merging: 0,
                failed: false,
            };
            self.repair.positions.insert(node, position);
        }
        let confirmed = self.repair.positions.get(&node)?.confirmed?;
        (confirmed < end && end - confirmed <= limit).then_some(confirmed)
    }

    /// A partition has all that it had at the peer when that one, at this start of it, said where its ring ends.
    pub(super) fn confirm_equal(&mut self, node: NodeId, partition: Partition, (boot, end): (u64, u64)) {
        let Some(position) = self.repair.positions.get_mut(&node) else {
            return;
        };
        // Said before the place was passed that is to be confirmed, it tells nothing of what came in between.
        if position.boot != boot || end < position.candidate {
            return;
        }
        position.left.remove(&partition);
        if position.left.is_empty() {
            let shared = self.shared_with(node);
            if let Some(position) = self.repair.positions.get_mut(&node) {
                position.confirmed = position.confirmed.max(Some(position.candidate));
                (position.candidate, position.left) = (end, shared);
            }
        }
    }

    pub(super) fn ask_for_changes(&mut self, node: NodeId, since: u64) {
        let request = self.next_request();
        let Some(position) = self.repair.positions.get_mut(&node) else {
            return;
        };
        position.request = Some(request);
        let boot = position.boot;
        self.send(node, Body::Changes { request, boot, since });
    }

    pub(crate) fn on_changes_done(
        &mut self,
        request: RequestId,
        boot: u64,
        upto: u64,
        complete: bool,
        entries: Vec<(Bytes, Entry)>,
    ) {
        let mut positions = self
            .repair
            .positions
            .iter()
            .filter(|(_, position)| position.request == Some(request));
        let Some((&node, _)) = positions.next() else {
            return;
        };
        if !complete
            || self
                .repair
                .positions
                .get(&node)
                .is_some_and(|position| position.boot != boot)
        {
            // The ring has moved on: only a comparison helps, and a new place is found with it.
            self.repair.positions.remove(&node);
            return;
        }
        let Some(layout) = self.layout.clone() else { return };
        let mut parts: std::collections::BTreeMap<Partition, Vec<(Bytes, Change)>> = Default::default();
        for (key, entry) in entries {
            let partition = layout.partition_of(&key);
            if self.replica.parts.contains_key(&partition)
                && (self.is_news(partition, &entry) || self.has_bug(Bug::NoMarks))
            {
                parts
                    .entry(partition)
                    .or_default()
                    .push((key, Change::Merge(entry)));
            }
        }
        if let Some(position) = self.repair.positions.get_mut(&node) {
            position.request = None;
            position.merging = parts.len().max(1);
            position.failed = false;
        }
        if parts.is_empty() {
            self.caught(node, upto, 0, &Completion::Done);
        }
        for (partition, changes) in parts {
            let pending = RepairPending::Caught(node, upto, changes.len());
            self.replica_merge(partition, changes, Pending::Repair(pending));
        }
    }

    /// Part of what a ring brought is applied; with the last part its place counts.
    pub(super) fn caught(&mut self, node: NodeId, upto: u64, count: usize, completion: &Completion) {
        let Some(position) = self.repair.positions.get_mut(&node) else {
            return;
        };
        position.failed |= *completion == Completion::Failed;
        position.merging = position.merging.saturating_sub(1);
        self.stats.repaired += count as u64;
        if position.merging > 0 {
            return;
        }
        if position.failed {
            self.repair.positions.remove(&node);
        } else {
            position.confirmed = position.confirmed.max(Some(upto));
            self.stats.ring_syncs += 1;
        }
    }
}
