//! Bringing replicas together again: [hints](hint) for nodes that were away, [sessions](session) that compare a partition with another owner's, [rounds](settle) after which deletions may be forgotten.
//!
//! All of them keep to a [`pace`].
//!
//! What was not acknowledged may be anywhere or nowhere; all three only ever spread what some replica holds, and the greatest stays. So they can fail at any step, and begin again.

mod hint;
mod pace;
mod position;
mod session;
mod settle;

use std::collections::{BTreeMap, BTreeSet};

use crate::bugs::Bug;
use crate::codec::Bytes;
use crate::entry::Entry;
use crate::id::{NodeId, Owner, Partition, RequestId};
use crate::layout::Phase;
use crate::message::{Refusal, Written};
use crate::node::{Node, Pending};
use crate::store::{Completion, StoreOp};

pub(crate) use hint::Hints;
use pace::COMPARISON_BYTES;
pub(crate) use pace::Pace;
use position::Position;
use session::Session;
use settle::Round;

#[derive(Debug, Default)]
pub(crate) struct Repair {
    sessions: BTreeMap<u64, Session>,
    next_session: u64,
    round: Option<Round>,
    next_at: u64,
    next_round_at: u64,
    /// The partition that was compared last, and the one that a round was held for last.
    compared: Option<Partition>,
    settled: Option<Partition>,
    positions: BTreeMap<NodeId, Position>,
    pub(crate) pace: Pace,
}

/// Comparisons that are being worked on at the same time.
const SESSIONS_MAX: usize = 4;
/// Those that wait for their second look as well.
const RESTING_MAX: usize = 32;

/// What repair asked the storage for.
#[derive(Debug)]
pub(crate) enum RepairPending {
    /// A page of this node's own, for the summaries of a session.
    Page(u64),
    /// Entries that were newer at the peer.
    Merged(u64),
    /// Keys that the peer wants.
    Wanted(u64, Vec<Bytes>),
    /// All that was under way in a partition is done.
    Barrier(NodeId, RequestId, Partition, crate::clock::Version),
    /// A settled mark is stored.
    Marked(NodeId, RequestId, Partition, crate::clock::Version),
    /// Entries from the ring of a peer, up to a place.
    Caught(NodeId, u64, usize),
}

impl Repair {
    /// Sessions that have something to do.
    fn working(&self) -> usize {
        self.sessions
            .values()
            .filter(|session| !session.is_resting())
            .count()
    }

    /// The layout changed: what was being compared may be somebody else's.
    pub(crate) fn forget_sessions(&mut self) {
        self.sessions.clear();
        self.round = None;
        self.positions.clear();
    }
}

impl Node {
    pub(crate) fn tick_repair(&mut self) {
        if !self.is_ready() || self.installing.is_some() || self.has_bug(Bug::NoRepair) {
            return;
        }
        let now = self.now.steady_ms;
        self.tick_hints();
        self.expire_sessions();
        self.resume_sessions();
        self.tick_round();
        while self.repair.pace.is_hurried(now)
            && self.repair.pace.allows()
            && self.repair.working() < SESSIONS_MAX
            && self.repair.sessions.len() < RESTING_MAX
            && self.compare_next()
        {
            self.repair.pace.spend(COMPARISON_BYTES);
            self.repair.pace.began();
        }
        if now >= self.repair.next_at {
            let interval = self.config.repair_interval_ms;
            self.repair.next_at = now + interval - self.random.below(interval / 4 + 1);
            if self.repair.working() < 2 {
                self.compare_next();
            }
            if self.has_bug(Bug::TimedTombstones) {
                self.drop_by_time();
            }
        }
        if now >= self.repair.next_round_at {
            let interval = self.config.repair_interval_ms;
            self.repair.next_round_at = now + interval - self.random.below(interval / 4 + 1);
            self.begin_round();
        }
    }

    /// There may be much that differs: a node was away, or a difference was found. All partitions are looked at soon.
    pub(crate) fn hurry_repair(&mut self) {
        let (now, interval) = (self.now.steady_ms, self.config.repair_interval_ms);
        let partitions = self.replica.parts.len();
        self.repair.pace.hurry(partitions, now, interval);
    }

    /// Time has gone by for what repair and transfers may cost.
    pub(crate) fn tick_pace(&mut self) {
        let requests = self.coordinator.in_flight() + self.replica.load();
        let (now, rate) = (self.now.steady_ms, self.config.repair_bytes_per_second);
        self.repair.pace.refill(now, rate, requests);
    }

    /// Compares the next partition with one of its other owners that is there. Whether that has begun.
    fn compare_next(&mut self) -> bool {
        let Some(layout) = self.layout.clone() else {
            return false;
        };
        let after = self.repair.compared;
        let marked = |partition: &&Partition| !self.movement.is_unmarked(**partition);
        let parts = || self.replica.parts.keys().filter(marked);
        let next = parts()
            .find(|&&partition| after.is_none_or(|after| partition > after))
            .or_else(|| parts().next());
        let Some(&partition) = next else { return false };
        self.repair.compared = Some(partition);
        let others: Vec<Owner> = layout
            .owners(partition)
            .into_iter()
            .filter(|owner| *owner != self.owner)
            .collect();
        let there: Vec<Owner> = others
            .into_iter()
            .filter(|owner| self.members.is_reachable(owner.node))
            .collect();
        match self.random.pick(&there) {
            Some(&peer) => self.begin_session(partition, peer, false),
            None => false,
        }
    }

    fn begin_round(&mut self) {
        let Some(layout) = self.layout.clone() else { return };
        if self.repair.round.is_some() || layout.phase != Phase::Stable {
            return;
        }
        let after = self.repair.settled;
        let mine = |partition: &&Partition| layout.readers(**partition).first() == Some(&self.owner);
        let primaries = || self.replica.parts.keys().filter(mine);
        let next = primaries()
            .find(|&&partition| after.is_none_or(|after| partition > after))
            .or_else(|| primaries().next());
        let Some(&partition) = next else { return };
        self.repair.settled = Some(partition);
        let owners: BTreeSet<Owner> = layout.owners(partition);
        let whole =
            owners.len() >= usize::from(layout.quorums.replica_count).min(layout.current.members.len());
        let there = owners
            .iter()
            .all(|owner| *owner == self.owner || self.members.is_alive(owner.node));
        if whole && there {
            self.seal(partition, owners);
        }
    }

    /// What a planted bug does: it forgets deletions after a while, whoever has them.
    fn drop_by_time(&mut self) {
        let age = self.config.settle_after_ms;
        let mark = crate::clock::Version::end_of_ms(self.clock.physical_ms().saturating_sub(age));
        let parts: Vec<Partition> = self.replica.parts.keys().copied().collect();
        for partition in parts {
            self.replica_store(
                StoreOp::DropSpent { partition, mark },
                crate::replica::ReplicaPending::Dropped(partition),
            );
        }
    }

    pub(crate) fn repair_completed(&mut self, pending: RepairPending, completion: Completion) {
        match pending {
            RepairPending::Page(session) => self.session_page(session, completion),
            RepairPending::Merged(session) => self.session_merged(session, &completion),
            RepairPending::Wanted(session, keys) => self.session_wanted(session, &keys, completion),
            RepairPending::Barrier(to, request, partition, mark) => {
                self.sealed(to, request, partition, mark, completion != Completion::Failed);
            }
            RepairPending::Marked(to, request, partition, mark) => {
                self.marked(to, request, partition, mark, completion != Completion::Failed);
            }
            RepairPending::Caught(node, upto, count) => self.caught(node, upto, count, &completion),
        }
    }

    pub(crate) fn repair_refused(&mut self, request: RequestId, _reason: Refusal) {
        self.end_session_of(request);
        self.hints_refused(request);
    }

    pub(crate) fn repair_written(&mut self, from: Owner, request: RequestId, items: &[(u16, Written)]) {
        if !self.hints_written(from, request, items) {
            self.session_written(request, items);
        }
    }

    pub(crate) fn repair_store(&mut self, op: StoreOp, pending: RepairPending) {
        self.store(op, Pending::Repair(pending));
    }

    /// Whether an entry from another owner is worth taking: not if everything that old is settled.
    fn is_news(&self, partition: Partition, entry: &Entry) -> bool {
        let settled = self.replica.marks(partition).settled;
        (entry.rank().newest() > settled || self.has_bug(Bug::NoMarks))
            && !self.clock.is_ahead(entry.rank().newest().stamp)
    }
}
