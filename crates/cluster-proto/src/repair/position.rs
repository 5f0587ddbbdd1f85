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

impl Position {
    fn new(boot: u64, end: u64, left: BTreeSet<Partition>) -> Position {
        Position {
            boot,
            confirmed: None,
            candidate: end,
            left,
            request: None,
            merging: 0,
            failed: false,
        }
    }

    /// A partition has all that it had when that was said. Whether a place is confirmed by that; then all partitions are left for the next one.
    fn is_equal(&mut self, partition: Partition, (boot, end): (u64, u64)) -> bool {
        // Said before the place was passed that is to be confirmed, it tells nothing of what came in between.
        if self.boot != boot || end < self.candidate {
            return false;
        }
        self.left.remove(&partition);
        let all = self.left.is_empty();
        if all {
            self.confirmed = self.confirmed.max(Some(self.candidate));
            self.candidate = end;
        }
        all
    }
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
            self.repair.positions.insert(node, Position::new(boot, end, left));
        }
        let confirmed = self.repair.positions.get(&node)?.confirmed?;
        (confirmed < end && end - confirmed <= limit).then_some(confirmed)
    }

    /// A partition has all that it had at the peer when that one, at this start of it, said where its ring ends.
    pub(super) fn confirm_equal(&mut self, node: NodeId, partition: Partition, (boot, end): (u64, u64)) {
        let Some(position) = self.repair.positions.get_mut(&node) else {
            return;
        };
        if position.is_equal(partition, (boot, end)) {
            let shared = self.shared_with(node);
            if let Some(position) = self.repair.positions.get_mut(&node) {
                position.left = shared;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_confirmed_by_what_began_after_it_was_passed_and_by_nothing_else() {
        let both = || BTreeSet::from([Partition(1), Partition(2)]);
        let mut position = Position::new(7, 10, both());
        assert!(!position.is_equal(Partition(1), (7, 10)));
        assert!(!position.is_equal(Partition(2), (6, 12)), "of another start");
        assert!(position.is_equal(Partition(2), (7, 12)));
        assert_eq!((position.confirmed, position.candidate), (Some(10), 12));
        position.left = both();
        // It began when the ring ended at 11, and took long: what came at 11 may be missing.
        assert!(!position.is_equal(Partition(1), (7, 11)));
        assert!(!position.is_equal(Partition(2), (7, 15)));
        assert_eq!(position.confirmed, Some(10));
        assert!(position.is_equal(Partition(1), (7, 13)));
        assert_eq!(position.confirmed, Some(12));
    }
}
