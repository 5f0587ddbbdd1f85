//! The node: one input in, any number of effects out. This file is the wiring; each module adds what it does with its messages.
//!
//! Nothing here reads a clock, draws randomness of its own, or does I/O: the same inputs give the same effects.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use thiserror::Error;

use crate::bugs::Bug;
use crate::client::{Error, Reply, Request};
use crate::clock::{Clock, Now, Version};
use crate::codec::{Bytes, DecodeError, Wire, wire_struct};
use crate::config::Config;
use crate::coordinator::Coordinator;
use crate::effect::{Effect, Event, To};
use crate::id::{ClientToken, CopyId, NodeId, Owner, Partition, RequestId, Token};
use crate::layout::{Decision, Layout, Movement, Vote};
use crate::membership::{Announcement, Identity, Joining, Membership, Prober, Standing};
use crate::message::{Body, Message, Refusal};
use crate::random::Random;
use crate::repair::{Hints, Repair};
use crate::replica::{Replica, ReplicaPending};
use crate::stats::Stats;
use crate::store::{Completion, Meta, StoreOp};

/// Names under which a node stores what it must know about itself.
pub(crate) mod meta {
    pub(crate) const NODE: &[u8] = b"node";
    pub(crate) const LAYOUT: &[u8] = b"layout";
    pub(crate) const CAUGHT_UP: &[u8] = b"caught-up";
    pub(crate) const VOTE: &[u8] = b"vote";
    pub(crate) const KNOWN: &[u8] = b"known";
    pub(crate) const MARKS: &[u8] = b"marks/";
    pub(crate) const HINTS: &[u8] = b"hint/";
}

/// How a node with no state of its own begins. A node with state goes on from that, whatever is said here.
#[derive(Clone, Debug)]
pub enum Start {
    /// As a founder: every founder is given the same first layout, and its copy is the one named there.
    Found(Layout),
    /// By asking these addresses to be taken in.
    Join(Vec<Bytes>),
}

/// Why a node can't start.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StartError {
    /// What the store has about the node can't be read.
    #[error("the node's stored {name} is damaged: {source}")]
    Damaged {
        /// What.
        name: &'static str,
        /// Why.
        source: DecodeError,
    },
    /// The store belongs to another node.
    #[error("the store belongs to node {0}")]
    OtherNode(NodeId),
    /// The first layout doesn't name this node.
    #[error("the first layout does not name this node")]
    NotFounder,
}

/// What a node stores of itself.
#[derive(Clone, Copy, Debug)]
struct NodeRecord {
    node: NodeId,
    copy: CopyId,
    boot: u64,
    ceiling: u64,
}

wire_struct!(NodeRecord {
    node,
    copy,
    boot,
    ceiling
});

impl NodeRecord {
    /// What is to be stored of a node that starts: the same copy as before, or one that begins.
    fn of_this_start(
        stored: Option<NodeRecord>,
        node: NodeId,
        start: &Start,
        fresh_copy: CopyId,
    ) -> Result<NodeRecord, StartError> {
        let copy = match (stored, start) {
            (Some(record), _) if record.node != node => return Err(StartError::OtherNode(record.node)),
            (Some(record), _) => {
                return Ok(NodeRecord {
                    boot: record.boot.saturating_add(1),
                    ..record
                });
            }
            (None, Start::Found(first)) => {
                let founder = first.current.members.get(&node);
                founder.ok_or(StartError::NotFounder)?.copy
            }
            (None, Start::Join(_)) => fresh_copy,
        };
        Ok(NodeRecord {
            node,
            copy,
            boot: 1,
            ceiling: 0,
        })
    }

    /// Whether the copy has never been started before.
    fn is_first(&self) -> bool {
        self.boot == 1
    }
}

/// What happens when a storage operation completes.
#[derive(Debug)]
pub(crate) enum Pending {
    /// The node's record with this ceiling.
    NodeStored(u64),
    /// Says something that had to be stored first. Boxed, as most of what is pending is much smaller.
    ThenSend(To, Box<Body>),
    RenewCleared,
    RenewStored,
    LayoutCleared(u64),
    LayoutStored(u64),
    CaughtUpStored(u64),
    /// A page of a partition that moves here was applied.
    Transferred(Partition, u64, Owner),
    /// What the replica does.
    Replica(ReplicaPending),
    /// What repair does.
    Repair(crate::repair::RepairPending),
    /// Nothing to do: a hint was stored or removed.
    Nothing,
}

/// One node of a cluster.
///
/// The host gives it inputs, each with the time: [`tick`](Node::tick), [`receive`](Node::receive), [`request`](Node::request), [`complete`](Node::complete). After each, it
/// takes the [`effects`](Node::effects) and carries them out. `tick` is due at [`next_tick`](Node::next_tick) at the latest.
pub struct Node {
    pub(crate) config: Config,
    pub(crate) owner: Owner,
    pub(crate) announcement: Announcement,
    pub(crate) identity: Box<dyn Identity>,
    pub(crate) now: Now,
    tick_at: u64,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    /// The stored ceiling that this start began with.
    pub(crate) started_at: u64,
    pub(crate) standing: Standing,
    pub(crate) joining: Joining,
    pub(crate) members: Membership,
    pub(crate) prober: Prober,
    pub(crate) layout: Option<Arc<Layout>>,
    pub(crate) installing: Option<(Arc<Layout>, usize)>,
    /// How often a layout began to be installed, so that what an attempt that failed had asked for is told apart.
    pub(crate) installs: u64,
    pub(crate) vote: Vote,
    pub(crate) decision: Option<Decision>,
    pub(crate) movement: Movement,
    pub(crate) coordinator: Coordinator,
    pub(crate) replica: Replica,
    pub(crate) hints: Hints,
    pub(crate) repair: Repair,
    pub(crate) stats: Stats,
    effects: VecDeque<Effect>,
    local: VecDeque<Message>,
    pending: BTreeMap<Token, Pending>,
    tokens: u64,
    requests: u64,
    #[cfg(feature = "planted-bugs")]
    bugs: std::collections::BTreeSet<Bug>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

impl Node {
    /// Starts a node from what its store has. The seed should differ from start to start.
    pub fn new(
        config: Config,
        start: Start,
        stored: &Meta,
        identity: Box<dyn Identity>,
        seed: u64,
        now: Now,
    ) -> Result<Node, StartError> {
        let mut random = Random::new(seed);
        let record: Option<NodeRecord> = read(stored, meta::NODE, "record")?;
        let mut layout: Option<Layout> = read(stored, meta::LAYOUT, "layout")?;
        let fresh_copy = CopyId(random.number());
        let record = NodeRecord::of_this_start(record, config.node, &start, fresh_copy)?;
        let mut joining = Joining::default();
        match start {
            Start::Join(seeds) => {
                joining.seeds = seeds;
                joining.wanted = true;
            }
            Start::Found(first) if record.is_first() => layout = Some(first),
            Start::Found(_) => {}
        }
        let owner = Owner {
            node: config.node,
            copy: record.copy,
        };
        let announcement = Announcement {
            cluster: config.cluster,
            node: owner.node,
            copy: owner.copy,
            boot: record.boot,
            run: random.number(),
            denied: 0,
            leaving: false,
            address: config.address.as_slice().into(),
            signature: Bytes::from([]),
        };
        let vote: Option<Vote> = read(stored, meta::VOTE, "vote")?;
        let caught_up: Option<u64> = read(stored, meta::CAUGHT_UP, "progress")?;
        let mut members = Membership::default();
        members.known = read(stored, meta::KNOWN, "list of nodes")?.unwrap_or_default();
        let mut node = Node {
            clock: Clock::new(owner.node, config.drift_bound_ms, record.ceiling, now),
            announcement: announcement.sign(&*identity),
            replica: Replica::restored(stored, &config)?,
            hints: Hints::restored(stored)?,
            repair: Repair::default(),
            coordinator: Coordinator::default(),
            standing: Standing::default(),
            prober: Prober::default(),
            movement: Movement::new(caught_up.unwrap_or_default()),
            started_at: record.ceiling,
            layout: layout.map(Arc::new),
            installing: None,
            installs: 0,
            vote: vote.unwrap_or_default(),
            decision: None,
            stats: Stats::default(),
            effects: VecDeque::new(),
            local: VecDeque::new(),
            pending: BTreeMap::new(),
            tokens: 0,
            requests: 0,
            #[cfg(feature = "planted-bugs")]
            bugs: std::collections::BTreeSet::new(),
            config,
            owner,
            identity,
            tick_at: now.steady_ms + TICK_MS,
            now,
            random,
            joining,
            members,
        };
        node.begin();
        Ok(node)
    }

    /// Stores that there was one more start, and only then speaks.
    fn begin(&mut self) {
        // No further yet: what is sent before the others know this start must not look later than it.
        let ceiling = self.clock.ceiling();
        let mut changes = vec![self.node_record(ceiling)];
        if let Some(layout) = self.layout.clone() {
            changes.push((meta::LAYOUT.to_vec(), Some(layout.to_bytes())));
            self.replica.own(&layout, self.owner);
            self.begin_movement(&layout);
        }
        self.store(StoreOp::Meta { changes }, Pending::NodeStored(ceiling));
    }

    pub(crate) fn node_record(&self, ceiling: u64) -> (Vec<u8>, Option<Vec<u8>>) {
        let record = NodeRecord {
            node: self.owner.node,
            copy: self.owner.copy,
            boot: self.announcement.boot,
            ceiling,
        };
        (meta::NODE.to_vec(), Some(record.to_bytes()))
    }

    /// The effects so far; taken once.
    pub fn effects(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.effects.drain(..)
    }

    /// When [`tick`](Node::tick) is due at the latest, on the steady clock: so long after the last one, whatever else came in.
    pub fn next_tick(&self) -> u64 {
        self.tick_at
    }

    /// Time goes by.
    pub fn tick(&mut self, now: Now) {
        self.advance(now);
        self.tick_at = self.now.steady_ms + TICK_MS;
        self.tick_ceiling();
        self.tick_standing();
        self.tick_join();
        if self.standing.stored {
            self.tick_pace();
            self.tick_probes();
            self.tick_layout();
            self.tick_coordinator();
            self.tick_repair();
        }
        self.run_local();
    }

    /// A message came. The transport vouches that it is from that node, and is neither changed nor repeated from an earlier session.
    pub fn receive(&mut self, from: NodeId, message: Message, now: Now) {
        self.advance(now);
        if message.from != from || message.cluster != self.config.cluster || from == self.owner.node {
            self.event(Event::Refused(from));
            return;
        }
        self.handle(message);
        self.run_local();
    }

    /// A client asks for something.
    pub fn request(&mut self, client: ClientToken, request: Request, now: Now) {
        self.advance(now);
        self.coordinate(client, request);
        self.run_local();
    }

    /// A storage operation is done.
    pub fn complete(&mut self, token: Token, completion: Completion, now: Now) {
        self.advance(now);
        if let Some(pending) = self.pending.remove(&token) {
            self.completed(pending, completion);
        }
        self.run_local();
    }

    /// Tells the peers that this node is about to stop. It goes on owning what it owns.
    pub fn stop(&mut self, now: Now) {
        self.advance(now);
        self.say_goodbye();
    }

    /// Where to send messages for a node, as it announced, or as the layout says.
    pub fn address_of(&self, node: NodeId) -> Option<&[u8]> {
        let announced = self
            .members
            .peers
            .get(&node)
            .map(|peer| &*peer.announcement.address);
        let agreed = || Some(&*self.layout.as_ref()?.current.members.get(&node)?.address);
        announced.or_else(agreed)
    }

    /// This node and its copy.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// The layout that this node has.
    pub fn layout(&self) -> Option<&Layout> {
        self.layout.as_deref()
    }

    /// Whether requests of clients are served.
    pub fn is_serving(&self) -> bool {
        self.is_ready() && self.layout.is_some()
    }

    /// Switches a planted bug on.
    #[cfg(feature = "planted-bugs")]
    pub fn plant(&mut self, bug: Bug) {
        self.bugs.insert(bug);
    }

    #[cfg(feature = "planted-bugs")]
    pub(crate) fn has_bug(&self, bug: Bug) -> bool {
        self.bugs.contains(&bug)
    }

    #[cfg(not(feature = "planted-bugs"))]
    #[inline]
    #[expect(clippy::unused_self, reason = "it has the shape of the one that asks")]
    pub(crate) fn has_bug(&self, _: Bug) -> bool {
        false
    }

    fn advance(&mut self, now: Now) {
        self.now = Now {
            steady_ms: now.steady_ms.max(self.now.steady_ms),
            ..now
        };
        if self.has_bug(Bug::UnboundedClock) {
            self.clock.follow(self.now);
        } else if self.clock.advance(self.now) {
            self.event(Event::ClockJumped);
        }
    }

    fn tick_ceiling(&mut self) {
        // A ceiling by a clock that nobody agrees with would keep the node out for as long as it was wrong.
        if !self.standing.stored || !self.standing.confirmed || self.standing.clock_refused {
            return;
        }
        if let Some(ceiling) = self.clock.ceiling_wanted() {
            let changes = vec![self.node_record(ceiling)];
            self.store(StoreOp::Meta { changes }, Pending::NodeStored(ceiling));
        }
    }

    pub(crate) fn completed(&mut self, pending: Pending, completion: Completion) {
        let done = completion != Completion::Failed;
        match pending {
            Pending::NodeStored(ceiling) if done => {
                self.clock.ceiling_stored(ceiling);
                if self.standing.renewing.is_none() {
                    self.standing.stored = true;
                }
            }
            Pending::NodeStored(_) => {
                self.clock.ceiling_failed();
                if !self.standing.stored {
                    self.begin();
                }
            }
            Pending::ThenSend(to, body) => {
                if done {
                    self.send_to(to, *body);
                }
            }
            Pending::RenewCleared => self.renew_cleared(done),
            Pending::RenewStored => self.renew_stored(done),
            Pending::LayoutCleared(attempt) => self.layout_cleared(attempt, done),
            Pending::LayoutStored(attempt) => self.layout_stored(attempt, done),
            Pending::CaughtUpStored(version) => self.caught_up_stored(version, done),
            Pending::Transferred(partition, version, owner) => {
                self.transferred(partition, version, owner, &completion)
            }
            Pending::Replica(pending) => self.replica_completed(pending, completion),
            Pending::Repair(pending) => self.repair_completed(pending, completion),
            Pending::Nothing => {}
        }
    }

    /// Drops all that was going on: this node is nobody any more.
    pub(crate) fn forget_all(&mut self) {
        self.layout = None;
        self.installing = None;
        self.decision = None;
        self.vote = Vote::default();
        self.movement = Movement::new(0);
        self.replica.forget_all();
        self.repair = Repair::default();
        self.fail_all(Error::NotReady);
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.effects.push_back(Effect::Event(event));
    }

    pub(crate) fn reply(&mut self, to: ClientToken, reply: Reply) {
        self.effects.push_back(Effect::Reply { to, reply });
    }

    pub(crate) fn store(&mut self, op: StoreOp, then: Pending) {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.pending.insert(token, then);
        self.effects.push_back(Effect::Store { token, op });
    }

    pub(crate) fn send(&mut self, to: NodeId, body: Body) {
        self.send_to(To::Node(to), body);
    }

    /// Sends; what is for this node itself takes the same way but for the network.
    pub(crate) fn send_to(&mut self, to: To, body: Body) {
        let message = Message {
            cluster: self.config.cluster,
            from: self.owner.node,
            copy: self.owner.copy,
            layout: self.layout.as_ref().map_or(0, |layout| layout.version),
            stamp: self.clock.stamp_to_send(),
            body,
        };
        if to == To::Node(self.owner.node) {
            self.local.push_back(message);
            return;
        }
        let lane = message.body.lane();
        self.effects.push_back(Effect::Send { to, lane, message });
    }

    fn run_local(&mut self) {
        while let Some(message) = self.local.pop_front() {
            self.handle(message);
        }
    }

    /// A number that no other request has, not of an earlier start of this node either: late answers to those must not count.
    pub(crate) fn next_request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.announcement.run.wrapping_add(self.requests))
    }

    pub(crate) fn issue_version(&mut self) -> Result<Version, Error> {
        self.clock.issue().map_err(|_| Error::NotReady)
    }

    fn hear_stamp(&mut self, message: &Message) {
        #[cfg(feature = "planted-bugs")]
        if self.has_bug(Bug::UnboundedClock) {
            self.clock.observe_anything(message.stamp);
            return;
        }
        // A stamp from beyond the bound teaches nothing; versions in the message are judged on their own.
        if self.clock.observe(message.stamp).is_err() {
            self.stats.stamps_refused += 1;
        }
    }

    fn handle(&mut self, message: Message) {
        let from = message.from;
        let owner = Owner {
            node: from,
            copy: message.copy,
        };
        self.hear_stamp(&message);
        self.members.heard(owner, message.stamp);
        self.compare_layouts(from, message.layout);
        let layout = message.layout;
        match message.body {
            Body::Ping {
                seq,
                wall_ms,
                updates,
            } => self.on_ping(from, seq, wall_ms, &updates),
            Body::Pong {
                seq,
                wall_ms,
                updates,
            } => self.on_pong(from, seq, wall_ms, &updates),
            Body::PingRequest { seq, target, updates } => self.on_ping_request(from, seq, target, &updates),
            Body::PingFailed { seq, target } => self.on_ping_failed(seq, target),
            Body::Hello {
                announcement,
                ceiling,
            } => self.on_hello(from, &announcement, ceiling),
            Body::HelloAnswer {
                boot,
                verdict,
                wall_ms,
                members,
            } => {
                self.on_hello_answer(from, boot, verdict, wall_ms, &members);
            }
            Body::Join {
                announcement,
                weight,
                zone,
            } => self.on_join(from, &announcement, weight, zone),
            Body::LayoutFetch => self.on_layout_fetch(from),
            Body::LayoutIs { layout } => self.on_layout_is(*layout),
            Body::LayoutPrepare { version, ballot } => self.on_layout_prepare(from, version, ballot),
            Body::LayoutPromise {
                version,
                ballot,
                accepted,
            } => self.on_layout_promise(owner, version, ballot, accepted),
            Body::LayoutAccept { ballot, layout } => self.on_layout_accept(from, ballot, *layout),
            Body::LayoutAccepted { version, ballot } => self.on_layout_accepted(owner, version, ballot),
            Body::LayoutOutbid { version, promised } => self.on_layout_outbid(version, promised),
            Body::LayoutProgress { caught_up } => self.on_layout_progress(owner, layout, caught_up),
            Body::Unknown { .. } => self.stats.messages_unknown += 1,
            body => self.handle_data(owner, layout, body),
        }
    }

    /// Messages about data: requests need this node to serve under the same layout, answers go to whoever asked.
    fn handle_data(&mut self, from: Owner, layout: u64, body: Body) {
        match body {
            Body::WriteDone { request, items } => self.on_write_done(from, request, &items),
            Body::ReadDone { request, items } => self.on_read_done(from, request, items),
            Body::Refused { request, reason } => self.on_refused(from, request, reason),
            Body::ScanDone {
                request,
                entries,
                upto,
            } => self.on_scan_done(from, request, entries, upto),
            Body::Promise { request, entry } => self.on_promise(from, request, entry),
            Body::AcceptDone { request } => self.on_accept_done(from, request),
            Body::Outbid { request, promised } => self.on_outbid(from, request, promised),
            Body::Pulled {
                request,
                entries,
                done,
            } => self.on_pulled(from, layout, request, entries, done),
            Body::Differ {
                request,
                leaves,
                boot,
                ring,
            } => self.on_differ(request, &leaves, boot, ring),
            Body::Exchanged {
                request,
                newer,
                wanted,
                upto,
                done,
            } => self.on_exchanged(request, newer, wanted, upto, done),
            Body::ChangesDone {
                request,
                boot,
                upto,
                complete,
                entries,
            } => {
                self.on_changes_done(request, boot, upto, complete, entries);
            }
            Body::MarkDone { request } => self.on_mark_done(from, request),
            Body::MarksAre { marks, .. } => self.on_marks_are(from, layout, marks),
            body => self.serve(from, layout, body),
        }
    }

    fn serve(&mut self, from: Owner, layout: u64, body: Body) {
        let Some(request) = body.request() else { return };
        if let Err(reason) = self.may_serve(layout) {
            self.stats.refused += 1;
            self.send(from.node, Body::Refused { request, reason });
            return;
        }
        let from = from.node;
        match body {
            Body::Write {
                origin,
                durable,
                items,
                ..
            } => self.serve_write(from, request, origin, durable, items),
            Body::Read { whole, keys, .. } => self.serve_read(from, request, whole, keys),
            Body::Scan {
                start, end, limit, ..
            } => self.serve_scan(from, request, start, end, limit),
            Body::Prepare { key, ballot, .. } => self.serve_prepare(from, request, key, ballot),
            Body::Accept {
                key,
                ballot,
                record,
                past,
                ..
            } => self.serve_accept(from, request, key, ballot, record, past),
            Body::Pull { partition, after, .. } => self.serve_pull(from, request, partition, after),
            Body::Compare { partition, root, .. } => self.serve_compare(from, request, partition, root),
            Body::Exchange {
                partition,
                leaves,
                after,
                upto,
                summaries,
                ..
            } => {
                self.serve_exchange(from, request, partition, leaves, after, upto, summaries);
            }
            Body::Changes { boot, since, .. } => self.serve_changes(from, request, boot, since),
            Body::AskMarks { partitions, .. } => self.serve_marks(from, request, &partitions),
            Body::Seal { partition, mark, .. } => self.serve_seal(from, request, partition, mark),
            Body::Settle { partition, mark, .. } => self.serve_settle(from, request, partition, mark),
            Body::Forget { partition, mark, .. } => self.serve_forget(from, request, partition, mark),
            _ => {}
        }
    }

    fn may_serve(&self, version: u64) -> Result<(), Refusal> {
        let Some(layout) = self
            .layout
            .as_ref()
            .filter(|_| self.is_ready() && self.installing.is_none())
        else {
            return Err(Refusal::NotReady);
        };
        if layout.version != version && !self.has_bug(Bug::AnyLayout) {
            return Err(Refusal::Layout);
        }
        if self.replica.load() >= self.config.peer_requests_max {
            return Err(Refusal::Overloaded);
        }
        Ok(())
    }
}

/// How often a node looks at what is due.
const TICK_MS: u64 = 20;

pub(crate) fn read<T: Wire>(stored: &Meta, name: &[u8], what: &'static str) -> Result<Option<T>, StartError> {
    let damaged = |source| StartError::Damaged { name: what, source };
    stored
        .get(name)
        .map(|bytes| T::from_bytes(bytes).map_err(damaged))
        .transpose()
}
