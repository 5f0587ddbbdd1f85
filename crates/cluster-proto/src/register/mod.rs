//! Compare-and-set: each key can be a register that a majority of its owners decides on, ballot by ballot (CASPaxos).
//!
//! A coordinator has a ballot promised, learns the latest accepted value from a majority, and has the value that follows from it accepted by a majority. Reads and compares that fail have the value accepted
//! once more, so that what they saw stays. While a partition moves, majorities of the old and of the new owners are needed.
//!
//! A key becomes a register with its first ballot, and then plain writes go through a ballot as well. The register remembers the plain version it started from, so that the
//! write that got there in part is not done twice.
//!
//! A proposer that had something accepted by some, and was outbid, looks for its own version among those that the value found then came from; the register remembers the latest. Only where that does not
//! reach back far enough, or time runs out, is the outcome unknown, and it says so.

use std::collections::{BTreeMap, BTreeSet};

use crate::bugs::Bug;
use crate::client::{Error, Expect, Found, Reply};
use crate::clock::Version;
use crate::codec::Bytes;
use crate::config::majority;
use crate::coordinator::{Op, OpId, PartResult, Purpose, Side, not_enough};
use crate::entry::{Ballot, Entry, Past, Record};
use crate::id::{ClientToken, NodeId, Owner, RequestId};
use crate::message::Body;
use crate::node::Node;

/// What a ballot is to do with the value.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Read,
    Compare {
        expect: Expect,
        value: Option<Bytes>,
        ttl_ms: Option<u64>,
    },
    /// A plain write that met the register.
    Put(Record),
}

#[derive(Debug)]
pub(crate) struct BallotOp {
    purpose: Purpose,
    key: Bytes,
    action: Action,
    sides: Vec<Side>,
    request: RequestId,
    ballot: Ballot,
    stage: Stage,
    /// What this operation wanted the key to hold, in any of its ballots: at most one of them was taken up.
    own: Vec<Record>,
    /// What these values were made from.
    bases: Vec<Version>,
    /// The greatest ballot under which somebody may have accepted its value.
    tried: Option<Ballot>,
    refusals: BTreeSet<Owner>,
    pub(crate) resend_at: u64,
    pub(crate) restart_at: u64,
    pub(crate) ends_at: u64,
}

#[derive(Debug)]
enum Stage {
    Preparing(BTreeMap<Owner, Entry>),
    Accepting(Box<Proposal>, BTreeSet<Owner>),
}

/// What a majority shall accept, and what it means for whoever asked.
#[derive(Clone, Debug)]
struct Proposal {
    record: Record,
    past: Past,
    swapped: bool,
    /// What this operation wrote, or found. The record is another's where others have followed.
    told: Record,
}

impl BallotOp {
    pub(crate) fn refused(&mut self, from: Owner, soon: Option<u64>) {
        self.refusals.insert(from);
        self.resend_at = self.resend_at.min(soon.unwrap_or(u64::MAX));
    }

    pub(crate) fn client(&self) -> Option<ClientToken> {
        match self.purpose {
            Purpose::Client(client) => Some(client),
            _ => None,
        }
    }

    fn has_answered(&self, owner: &Owner) -> bool {
        match &self.stage {
            Stage::Preparing(promises) => promises.contains_key(owner),
            Stage::Accepting(_, accepted) => accepted.contains(owner),
        }
    }

    fn is_enough(&self) -> bool {
        let enough = |side: &Side| side.count(|owner| self.has_answered(owner)) >= side.needed;
        !self.sides.is_empty() && self.sides.iter().all(enough)
    }
}

impl Node {
    pub(crate) fn begin_ballot(&mut self, purpose: Purpose, key: Bytes, action: Action) {
        let ends_at = self.now.steady_ms + self.config.request_timeout_ms;
        let id = self.add_op(Op::Ballot(Box::new(BallotOp {
            purpose,
            key,
            action,
            sides: Vec::new(),
            request: RequestId(0),
            ballot: Version::ZERO,
            stage: Stage::Preparing(BTreeMap::new()),
            own: Vec::new(),
            bases: Vec::new(),
            tried: None,
            refusals: BTreeSet::new(),
            resend_at: 0,
            restart_at: u64::MAX,
            ends_at,
        })));
        self.restart_ballot(id);
    }

    /// Begins a new ballot, greater than all that this node has heard of.
    pub(crate) fn restart_ballot(&mut self, id: OpId) {
        let request = self.new_request(id);
        let ballot = self.issue_version();
        let Some(layout) = self.layout.clone() else { return };
        let needed = majority(layout.quorums.replica_count);
        let Some(Op::Ballot(op)) = self.coordinator.ops.get(&id) else {
            return;
        };
        let before = op.request;
        let sides = self.sides(layout.partition_of(&op.key), needed);
        self.end_request(before);
        self.stats.ballots += 1;
        // A ballot that stalls gives way after a while, at different times for different nodes.
        let stall = self.config.resend_ms * 3 + self.random.below(self.config.resend_ms * 2);
        let now = self.now.steady_ms;
        let Some(Op::Ballot(op)) = self.coordinator.ops.get_mut(&id) else {
            return;
        };
        op.request = request;
        op.sides = sides;
        op.stage = Stage::Preparing(BTreeMap::new());
        op.refusals.clear();
        op.resend_at = now + self.config.resend_ms;
        op.restart_at = now + stall;
        match ballot {
            Ok(ballot) => op.ballot = ballot,
            Err(_) => {
                // The clock's ceiling is on its way: a little later.
                op.restart_at = now + self.config.resend_ms / 8;
                return;
            }
        }
        self.send_ballot(id);
    }

    fn send_ballot(&mut self, id: OpId) {
        let Some(Op::Ballot(op)) = self.coordinator.ops.get(&id) else {
            return;
        };
        let (request, key, ballot) = (op.request, op.key.clone(), op.ballot);
        let body = match &op.stage {
            Stage::Preparing(_) => Body::Prepare { request, key, ballot },
            Stage::Accepting(proposal, _) => Body::Accept {
                request,
                key,
                ballot,
                record: proposal.record.clone(),
                past: proposal.past.clone(),
            },
        };
        // A node whose copy is being replaced is an owner twice.
        let owners = op.sides.iter().flat_map(|side| &side.owners);
        let open: BTreeSet<NodeId> = owners
            .filter(|owner| !op.has_answered(owner))
            .map(|owner| owner.node)
            .collect();
        for node in open {
            self.send(node, body.clone());
        }
    }

    pub(crate) fn on_promise(&mut self, from: Owner, request: RequestId, entry: Entry) {
        let Some(id) = self.op_of(request) else { return };
        let Some(Op::Ballot(op)) = self.coordinator.ops.get_mut(&id) else {
            return;
        };
        let Stage::Preparing(promises) = &mut op.stage else {
            return;
        };
        promises.insert(from, entry);
        if op.is_enough() {
            self.decide_ballot(id);
        }
    }

    /// A majority has promised: works out what follows from the latest value, and has it accepted.
    fn decide_ballot(&mut self, id: OpId) {
        let Some(Op::Ballot(op)) = self.coordinator.ops.get(&id) else {
            return;
        };
        let Stage::Preparing(promises) = &op.stage else {
            return;
        };
        let current = promises
            .values()
            .max_by_key(|entry| entry.rank())
            .cloned()
            .unwrap_or_default();
        let register = current.register.unwrap_or_default();
        let in_line = |own: &&Record| {
            current.record.version == own.version || register.past.versions.contains(&own.version)
        };
        let mine = op.own.iter().find(in_line).cloned();
        // As long as what the attempts were based on is remembered, one of them that had been taken up would be, too.
        let whole = register.past.versions.len() < Past::LEN
            || op.bases.iter().all(|base| register.past.versions.contains(base));
        if mine.is_none() && !whole && op.tried.is_some_and(|tried| register.accepted > tried) {
            return self.end_ballot(id, Err(Error::Unknown));
        }
        let base = current.record.version;
        let past = if register.accepted != Version::ZERO {
            register.past
        } else {
            Past {
                floor: base,
                versions: Vec::new(),
            }
        };
        let again = mine.is_some();
        let proposal = match mine {
            Some(told) => Ok(Proposal {
                record: current.record,
                past,
                swapped: true,
                told,
            }),
            None => self.work_out(id, current.record, past),
        };
        let proposal = match proposal {
            Ok(proposal) => proposal,
            Err(error) => return self.end_ballot(id, Err(error)),
        };
        let Some(Op::Ballot(op)) = self.coordinator.ops.get_mut(&id) else {
            return;
        };
        if proposal.swapped && !again {
            op.own.push(proposal.record.clone());
            op.bases.push(base);
        }
        if proposal.swapped {
            op.tried = Some(op.ballot);
        }
        let loose = !proposal.swapped;
        op.stage = Stage::Accepting(Box::new(proposal), BTreeSet::new());
        if loose && self.has_bug(Bug::LooseRegisterReads) {
            self.end_ballot(id, Ok(()));
            return;
        }
        self.send_ballot(id);
    }

    fn work_out(&mut self, id: OpId, current: Record, past: Past) -> Result<Proposal, Error> {
        let now_ms = self.now_ms();
        let Some(Op::Ballot(op)) = self.coordinator.ops.get(&id) else {
            return Err(Error::Unknown);
        };
        let (value, ttl_ms) = match &op.action {
            Action::Read => (None, None),
            Action::Compare {
                expect,
                value,
                ttl_ms,
            } => {
                let live = current.live(now_ms);
                let met = match expect {
                    Expect::Anything => true,
                    Expect::Absent => live.is_none(),
                    Expect::Version(version) => live.is_some() && current.version == *version,
                    Expect::Value(expected) => live == Some(expected),
                };
                (met.then(|| value.clone()), *ttl_ms)
            }
            // The register started from this very write. An older one, of a slow clock, has to be made after all: it may have begun later.
            Action::Put(record) if record.version == past.floor => (None, None),
            Action::Put(record) => {
                let lives = record
                    .expires_ms
                    .map(|expires| expires.saturating_sub(record.version.ms()));
                (Some(record.value.clone()), lives)
            }
        };
        let Some(value) = value else {
            return Ok(Proposal {
                told: current.clone(),
                record: current,
                past,
                swapped: false,
            });
        };
        self.clock
            .observe(current.version.stamp)
            .map_err(|_| Error::NotReady)?;
        let version = self.issue_version()?;
        let expires_ms = ttl_ms
            .filter(|_| value.is_some())
            .map(|ttl| version.ms().saturating_add(ttl));
        let record = Record {
            version,
            expires_ms,
            value,
        };
        Ok(Proposal {
            told: record.clone(),
            record,
            past: past.followed_by(version),
            swapped: true,
        })
    }

    pub(crate) fn on_accept_done(&mut self, from: Owner, request: RequestId) {
        let Some(id) = self.op_of(request) else { return };
        let Some(Op::Ballot(op)) = self.coordinator.ops.get_mut(&id) else {
            return;
        };
        let Stage::Accepting(_, accepted) = &mut op.stage else {
            return;
        };
        accepted.insert(from);
        if op.is_enough() {
            self.end_ballot(id, Ok(()));
        }
    }

    pub(crate) fn on_outbid(&mut self, _from: Owner, request: RequestId, promised: Ballot) {
        let now = self.now.steady_ms;
        let Some(id) = self.op_of(request) else { return };
        let _ = self.clock.observe(promised.stamp);
        let Some(Op::Ballot(op)) = self.coordinator.ops.get_mut(&id) else {
            return;
        };
        if promised <= op.ballot {
            return;
        }
        // It was sent that long ago, if it was not sent again. To wait a few times as long lets the other finish; but who may have had something accepted looks soon: when
        // others have made several changes, it can't tell any more.
        let ballot_ms = self
            .config
            .resend_ms
            .saturating_sub(op.resend_at.saturating_sub(now));
        let times = if op.tried.is_some() { 1 } else { 3 };
        let most = ((ballot_ms + 1) << times).min(self.config.resend_ms / 2);
        let restart_at = op.restart_at;
        let backoff = self.random.below(most + 1);
        if let Some(Op::Ballot(op)) = self.coordinator.ops.get_mut(&id) {
            op.restart_at = restart_at.min(now + backoff);
        }
    }

    pub(crate) fn tick_ballot(&mut self, id: OpId) {
        let now = self.now.steady_ms;
        let Some(Op::Ballot(op)) = self.coordinator.ops.get_mut(&id) else {
            return;
        };
        if now >= op.ends_at {
            let answered = |owner: &Owner| op.has_answered(owner);
            let refused = |owner: &Owner| op.refusals.contains(owner) && !answered(owner);
            let error = if op.tried.is_some() {
                Error::Unknown
            } else {
                not_enough(&op.sides, answered, refused)
            };
            self.end_ballot(id, Err(error));
        } else if now >= op.restart_at {
            self.restart_ballot(id);
        } else {
            op.resend_at = now + self.config.resend_ms;
            self.send_ballot(id);
        }
    }

    fn end_ballot(&mut self, id: OpId, result: Result<(), Error>) {
        let Some(Op::Ballot(op)) = self.coordinator.ops.remove(&id) else {
            return;
        };
        self.end_request(op.request);
        let proposal = match (result, op.stage) {
            (Ok(()), Stage::Accepting(proposal, _)) => proposal,
            (Ok(()), Stage::Preparing(_)) => return self.fail(op.purpose, Error::Unknown),
            // Whatever stopped it, an attempt before may have been taken up.
            (Err(_), _) if op.tried.is_some() => return self.fail(op.purpose, Error::Unknown),
            // Of the plain write that met the register, some owners may have taken a part: it is not as if nothing had been done.
            (Err(Error::NotReady), _) if matches!(op.action, Action::Put(_)) => {
                return self.fail(op.purpose, Error::Unknown);
            }
            (Err(error), _) => return self.fail(op.purpose, error),
        };
        let found = self.found(&proposal.told);
        match (op.purpose, op.action) {
            (Purpose::Client(client), action) => self.tell_register(client, &action, proposal.swapped, found),
            (Purpose::Part(parent, index), Action::Put(_)) => {
                self.part_done(parent, index, PartResult::Written(Ok(proposal.told.version)));
            }
            (Purpose::Part(parent, index), _) => self.part_done(parent, index, PartResult::Found(Ok(found))),
            (Purpose::Background, _) => {}
        }
    }

    fn tell_register(&mut self, client: ClientToken, action: &Action, swapped: bool, found: Found) {
        let reply = match action {
            Action::Read => Reply::Register(found),
            _ => Reply::Compared { swapped, found },
        };
        self.reply(client, reply);
    }
}
