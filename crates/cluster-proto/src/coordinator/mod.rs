//! What a node does for clients: it asks the owners of keys, counts their answers, and answers when there are enough.
//!
//! Every node coordinates, and all wait for the same quorums: those of the layout, however many nodes are thought to be there. An operation asks each node once for all of its keys, asks
//! again who doesn't answer, and starts over when the layout changes. What one key of it needs beyond that (a ballot, a write-back, a later version) is an operation of its own, whose result the first one waits for.

mod read;
mod scan;
mod write;

use std::collections::BTreeMap;

use crate::bugs::Bug;
use crate::client::{Error, Found, Reply, Request};
use crate::clock::Version;
use crate::codec::Bytes;
use crate::config::{KEY_MAX, KEYS_MAX, VALUE_MAX};
use crate::entry::Record;
use crate::id::{ClientToken, Owner, Partition, RequestId};
use crate::layout::LayoutChange;
use crate::message::Refusal;
use crate::node::Node;
use crate::register::{Action, BallotOp};

use read::ReadOp;
use scan::ScanOp;
use write::WriteOp;

/// An operation of this node, from its request to its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OpId(u64);

/// Who waits for an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Client(ClientToken),
    /// Another operation, for its item of that number.
    Part(OpId, u16),
    Background,
}

#[derive(Debug)]
pub(crate) enum Op {
    Write(WriteOp),
    Read(ReadOp),
    Scan(ScanOp),
    Ballot(Box<BallotOp>),
}

/// What became of an operation that another one waits for.
#[derive(Debug)]
pub(crate) enum PartResult {
    Written(Result<Version, Error>),
    Found(Result<Found, Error>),
    /// A write-back met a register, or something that is settled: the read has to begin again, through the register.
    MetRegister,
}

#[derive(Debug, Default)]
pub(crate) struct Coordinator {
    pub(crate) ops: BTreeMap<OpId, Op>,
    pub(crate) requests: BTreeMap<RequestId, OpId>,
    next: u64,
}

impl Coordinator {
    pub(crate) fn in_flight(&self) -> usize {
        self.ops.len()
    }
}

/// One set of owners, and how many of them it takes.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    pub(crate) owners: Vec<Owner>,
    pub(crate) needed: u8,
}

impl Side {
    pub(crate) fn count(&self, is: impl Fn(&Owner) -> bool) -> u8 {
        self.owners.iter().filter(|owner| is(owner)).count() as u8
    }
}

/// Why too few answered, from the side that is furthest from enough.
pub(crate) fn not_enough(
    sides: &[Side],
    answered: impl Fn(&Owner) -> bool,
    refused: impl Fn(&Owner) -> bool,
) -> Error {
    let worst = sides
        .iter()
        .max_by_key(|side| side.needed.saturating_sub(side.count(&answered)));
    worst.map_or(Error::NotReady, |side| Error::NotEnough {
        needed: side.needed,
        answered: side.count(&answered),
        refused: side.count(&refused),
    })
}

impl Node {
    pub(crate) fn coordinate(&mut self, client: ClientToken, request: Request) {
        self.stats.requests += 1;
        if let Err(error) = self.begin_request(client, request) {
            self.fail(Purpose::Client(client), error);
        }
    }

    fn begin_request(&mut self, client: ClientToken, request: Request) -> Result<(), Error> {
        let Some(layout) = self.layout.clone().filter(|_| self.is_ready()) else {
            return Err(Error::NotReady);
        };
        if self.coordinator.ops.len() >= self.config.requests_max {
            return Err(Error::Overloaded);
        }
        let purpose = Purpose::Client(client);
        let quorums = layout.quorums;
        let resolve = |level: crate::config::Level, cluster| {
            level
                .resolve(cluster, quorums.replica_count)
                .ok_or(Error::Invalid("the quorum"))
        };
        match request {
            Request::Get { keys, read } => {
                check_keys(keys.iter())?;
                let quorum = resolve(read, quorums.read_quorum)?;
                self.begin_read(purpose, keys, quorum);
            }
            Request::Put {
                items,
                ttl_ms,
                write,
                durable,
            } => {
                check_keys(items.iter().map(|(key, _)| key))?;
                check_values(items.iter().filter_map(|(_, value)| value.as_ref()))?;
                let quorum = resolve(write, quorums.write_quorum)?;
                self.begin_put(purpose, items, ttl_ms, quorum, durable)?;
            }
            Request::CompareAndSet {
                key,
                expect,
                value,
                ttl_ms,
            } => {
                check_keys([&key].into_iter())?;
                check_values(value.iter())?;
                self.begin_ballot(
                    purpose,
                    key,
                    Action::Compare {
                        expect,
                        value,
                        ttl_ms,
                    },
                );
            }
            Request::GetRegister { key } => {
                check_keys([&key].into_iter())?;
                self.begin_ballot(purpose, key, Action::Read);
            }
            Request::Scan {
                start,
                end,
                limit,
                read,
            } => {
                let quorum = resolve(read, quorums.read_quorum)?;
                self.begin_scan(client, start, end, limit.clamp(1, KEYS_MAX), quorum);
            }
            Request::ChangeLayout(change) => {
                let change = self.with_known_copies(change);
                self.propose_change(&change, Some(client))?;
            }
        }
        Ok(())
    }

    /// An operator may know a node's weight, but the node itself knows best which copy it has.
    fn with_known_copies(&self, mut change: LayoutChange) -> LayoutChange {
        if let LayoutChange::Members { join, .. } = &mut change {
            for (node, member) in join {
                let announced = self.members.peers.get(node).map(|peer| &peer.announcement);
                let announced = announced.or((*node == self.owner.node).then_some(&self.announcement));
                if let Some(announcement) = announced {
                    member.copy = announcement.copy;
                    member.address = announcement.address.clone();
                }
            }
        }
        change
    }

    pub(crate) fn add_op(&mut self, op: Op) -> OpId {
        self.coordinator.next += 1;
        let id = OpId(self.coordinator.next);
        self.coordinator.ops.insert(id, op);
        id
    }

    pub(crate) fn new_request(&mut self, op: OpId) -> RequestId {
        let request = self.next_request();
        self.coordinator.requests.insert(request, op);
        request
    }

    pub(crate) fn end_request(&mut self, request: RequestId) {
        self.coordinator.requests.remove(&request);
    }

    pub(crate) fn op_of(&self, request: RequestId) -> Option<OpId> {
        self.coordinator.requests.get(&request).copied()
    }

    /// An operation as a whole failed.
    pub(crate) fn fail(&mut self, purpose: Purpose, error: Error) {
        match purpose {
            Purpose::Client(client) => {
                self.stats.failures += 1;
                self.reply(client, Reply::Failed(error));
            }
            Purpose::Part(op, index) => self.part_done(op, index, PartResult::Written(Err(error))),
            Purpose::Background => {}
        }
    }

    /// Hands the result of an operation to the one that waits for it.
    pub(crate) fn part_done(&mut self, op: OpId, index: u16, result: PartResult) {
        match self.coordinator.ops.get(&op) {
            Some(Op::Write(_)) => self.write_part_done(op, index, &result),
            Some(Op::Read(_)) => self.read_part_done(op, index, result),
            _ => {}
        }
    }

    pub(crate) fn on_refused(&mut self, from: Owner, request: RequestId, reason: Refusal) {
        let Some(id) = self.op_of(request) else {
            self.repair_refused(request, reason);
            return;
        };
        // Another layout is a matter of a message: ask again soon. All else takes its time.
        let soon = self.now.steady_ms + self.config.resend_ms / 8;
        let hurry = reason == Refusal::Layout;
        match self.coordinator.ops.get_mut(&id) {
            Some(Op::Write(op)) => op.refused(from, hurry.then_some(soon)),
            Some(Op::Read(op)) => op.refused(from, hurry.then_some(soon)),
            Some(Op::Scan(op)) => op.refused(from, hurry.then_some(soon)),
            Some(Op::Ballot(op)) => {
                op.refused(from, hurry.then_some(soon));
                if reason == Refusal::TooOld {
                    self.restart_ballot(id);
                }
            }
            None => {}
        }
    }

    pub(crate) fn tick_coordinator(&mut self) {
        let now = self.now.steady_ms;
        let due = |op: &Op| {
            let (resend, end) = match op {
                Op::Write(op) => (op.resend_at, op.ends_at),
                Op::Read(op) => (op.resend_at, op.ends_at),
                Op::Scan(op) => (op.resend_at, op.ends_at),
                Op::Ballot(op) => (op.resend_at.min(op.restart_at), op.ends_at),
            };
            now >= resend || now >= end
        };
        let ids: Vec<OpId> = self
            .coordinator
            .ops
            .iter()
            .filter(|(_, op)| due(op))
            .map(|(&id, _)| id)
            .collect();
        for id in ids {
            match self.coordinator.ops.get(&id) {
                Some(Op::Write(_)) => self.tick_write(id),
                Some(Op::Read(_)) => self.tick_read(id),
                Some(Op::Scan(_)) => self.tick_scan(id),
                Some(Op::Ballot(_)) => self.tick_ballot(id),
                None => {}
            }
        }
    }

    /// The layout changed: everything that goes on is asked again, of the owners that it names.
    pub(crate) fn replan(&mut self) {
        self.coordinator.requests.clear();
        let ids: Vec<OpId> = self.coordinator.ops.keys().copied().collect();
        for id in ids {
            match self.coordinator.ops.get(&id) {
                Some(Op::Write(_)) => self.plan_write(id),
                Some(Op::Read(_)) => self.plan_read(id),
                Some(Op::Scan(_)) => self.plan_scan(id),
                Some(Op::Ballot(_)) => self.restart_ballot(id),
                None => {}
            }
        }
    }

    /// This node can't go on with anything.
    pub(crate) fn fail_all(&mut self, error: Error) {
        self.coordinator.requests.clear();
        for (_, op) in std::mem::take(&mut self.coordinator.ops) {
            let client = match op {
                Op::Write(op) => op.client(),
                Op::Read(op) => op.client(),
                Op::Scan(op) => Some(op.client),
                Op::Ballot(op) => op.client(),
            };
            if let Some(client) = client {
                // A compare-and-set that was under way may have taken effect.
                self.fail(
                    Purpose::Client(client),
                    if error == Error::NotReady {
                        Error::Unknown
                    } else {
                        error
                    },
                );
            }
        }
    }

    /// The sets of owners of which each must reach `needed`.
    pub(crate) fn sides(&self, partition: Partition, needed: u8) -> Vec<Side> {
        let Some(layout) = &self.layout else {
            return Vec::new();
        };
        let most = if self.has_bug(Bug::SingleWrites) { 1 } else { 2 };
        let sets = layout.write_sets(partition).take(most);
        let sides = sets.map(|owners| Side { owners, needed });
        sides.map(|side| self.spoil(side)).collect()
    }

    fn spoil(&self, mut side: Side) -> Side {
        if self.has_bug(Bug::WaitForFewer) {
            side.needed = side.needed.saturating_sub(1).max(1);
        }
        if self.has_bug(Bug::ShrinkingQuorum) {
            let there =
                side.count(|owner| owner.node == self.owner.node || self.members.is_alive(owner.node));
            side.needed = side.needed.min(there.max(1));
        }
        side
    }

    pub(crate) fn read_side(&self, partition: Partition, needed: u8) -> Side {
        let owners = self
            .layout
            .as_ref()
            .map_or_else(Vec::new, |layout| layout.readers(partition));
        self.spoil(Side { owners, needed })
    }

    /// The time that decides what has expired.
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.stamp() >> 16
    }

    pub(crate) fn found(&self, record: &Record) -> Found {
        let value = record.live(self.now_ms()).cloned();
        Found {
            version: (record.version != Version::ZERO).then_some(record.version),
            expires_ms: record.expires_ms.filter(|_| value.is_some()),
            value,
        }
    }
}

fn check_keys<'a>(keys: impl ExactSizeIterator<Item = &'a Bytes>) -> Result<(), Error> {
    if keys.len() > KEYS_MAX {
        return Err(Error::Invalid("the number of keys"));
    }
    for key in keys {
        if key.len() > KEY_MAX {
            return Err(Error::Invalid("the length of a key"));
        }
    }
    Ok(())
}

fn check_values<'a>(values: impl Iterator<Item = &'a Bytes>) -> Result<(), Error> {
    let mut sum = 0;
    for value in values {
        sum += value.len();
        if sum > VALUE_MAX {
            return Err(Error::Invalid("the length of the values"));
        }
    }
    Ok(())
}
