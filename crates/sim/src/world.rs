//! The world: true time, a queue of what happens next, nodes with their disks and clocks, and the network between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use weald_cluster_proto::{
    Body, Bug, ClientToken, Config, Effect, Event, Layout, Message, NodeId, Now, Owner, Partition, Random,
    Reply, Request, RequestId, Space, Start, To, Token, WriteItem, Written,
};

use crate::disk::Disk;
use crate::identity::SimIdentity;
use crate::network::Network;

/// The wall clock when the world begins, in milliseconds since 1970.
pub const EPOCH_MS: u64 = 1_700_000_000_000;

/// Where a message says of which kind it is.
const TAG_AT: usize = 44;

/// A machine and what runs on it.
pub struct Machine {
    /// The node, unless it is down.
    pub node: Option<weald_cluster_proto::Node>,
    /// Its disk, which stays.
    pub disk: Disk,
    /// How far its wall clock is off, in milliseconds.
    pub skew_ms: i64,
    /// By how many millionths its clocks are too fast.
    pub drift_ppm: i64,
    /// Of a thousand disk operations so many fail.
    pub disk_fails: u64,
    /// How long each disk operation takes at least, in microseconds.
    pub disk_slow_us: u64,
    paused: Option<Vec<Happening>>,
    start: Start,
    run: u64,
    busy_until: BTreeMap<Option<Space>, u64>,
    pending: VecDeque<(Token, weald_cluster_proto::StoreOp)>,
}

enum Happening {
    Tick(NodeId, u64),
    Deliver(NodeId, NodeId, Vec<u8>),
    Disk(NodeId, u64, Token),
}

/// What was seen happening, by name, so that a run can show that its faults happened.
pub type Counts = BTreeMap<&'static str, u64>;

/// One item of a write that a node asked for.
type Asked = (u16, Partition, WriteItem);

/// A cluster in a box.
pub struct World {
    /// True time in microseconds.
    pub time_us: u64,
    /// Where all chance comes from.
    pub random: Random,
    /// The network.
    pub network: Network,
    /// The machines.
    pub machines: BTreeMap<NodeId, Machine>,
    /// Answers to clients that nobody has taken yet.
    pub replies: VecDeque<(NodeId, ClientToken, Reply)>,
    /// What nodes said happened.
    pub events: Vec<(u64, NodeId, Event)>,
    /// What was seen happening.
    pub counts: Counts,
    /// What must never happen, and did.
    pub violations: Vec<String>,
    /// Lines of a transcript, when one is wanted.
    pub transcript: Option<Vec<String>>,
    /// Whether messages are written down in full.
    pub detail: bool,
    /// Kinds of message, by their tags, that a node is too old to know.
    pub unknown_kinds: BTreeMap<NodeId, BTreeSet<u8>>,
    queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    bugs: Vec<Bug>,
    tune: fn(&mut Config),
    writes: BTreeMap<(NodeId, RequestId), Vec<Asked>>,
}

impl World {
    /// An empty world.
    pub fn new(seed: u64, bugs: Vec<Bug>, tune: fn(&mut Config)) -> World {
        World {
            time_us: 0,
            random: Random::new(seed),
            network: Network::calm(),
            machines: BTreeMap::new(),
            replies: VecDeque::new(),
            events: Vec::new(),
            counts: Counts::new(),
            violations: Vec::new(),
            transcript: None,
            detail: false,
            unknown_kinds: BTreeMap::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            bugs,
            tune,
            writes: BTreeMap::new(),
        }
    }

    /// Counts that something happened.
    pub fn count(&mut self, what: &'static str) {
        if what != "message lost" && what != "message doubled" {
            self.note(|| format!("== {what}"));
        }
        *self.counts.entry(what).or_default() += 1;
    }

    /// The true wall clock.
    pub fn wall_ms(&self) -> u64 {
        EPOCH_MS + self.time_us / 1000
    }

    fn now(&self, id: NodeId) -> Now {
        let machine = &self.machines[&id];
        let ms = (self.time_us / 1000) as i64;
        let ms = ms + ms * machine.drift_ppm / 1_000_000;
        Now {
            steady_ms: ms as u64,
            wall_ms: (EPOCH_MS as i64 + ms + machine.skew_ms) as u64,
        }
    }

    /// Puts up a machine, and starts its node.
    pub fn add(&mut self, id: NodeId, start: Start) {
        let disk = Disk {
            last_wins: self.bugs.contains(&Bug::LastArrivalWins),
            ..Disk::default()
        };
        let machine = Machine {
            node: None,
            disk,
            skew_ms: 0,
            drift_ppm: 0,
            disk_fails: 0,
            disk_slow_us: 0,
            paused: None,
            start,
            run: 0,
            busy_until: BTreeMap::new(),
            pending: VecDeque::new(),
        };
        self.machines.insert(id, machine);
        self.start(id);
    }

    /// Starts the node of a machine from what is on its disk.
    pub fn start(&mut self, id: NodeId) {
        let now = self.now(id);
        let seed = self.random.number();
        let mut config = Config::new(id, 77);
        config.address = id.0.to_le_bytes().to_vec();
        (self.tune)(&mut config);
        let Some(machine) = self.machines.get_mut(&id) else {
            return;
        };
        let identity = Box::new(SimIdentity::new(id));
        let started = weald_cluster_proto::Node::new(
            config,
            machine.start.clone(),
            &machine.disk.meta,
            identity,
            seed,
            now,
        );
        match started {
            Ok(mut node) => {
                for &bug in &self.bugs {
                    node.plant(bug);
                }
                machine.node = Some(node);
                machine.run += 1;
                let run = machine.run;
                self.schedule(1 + id.0 % 7, Happening::Tick(id, run));
                self.carry_out(id);
            }
            Err(error) => self.violations.push(format!("node {id} can't start: {error}")),
        }
    }

    /// Seeds that a node which lost its state asks.
    pub fn set_start(&mut self, id: NodeId, start: Start) {
        if let Some(machine) = self.machines.get_mut(&id) {
            machine.start = start;
        }
    }

    /// The power of a machine goes.
    pub fn crash(&mut self, id: NodeId) {
        let Some(machine) = self.machines.get_mut(&id) else {
            return;
        };
        if machine.node.take().is_none() {
            return;
        }
        machine.run += 1;
        machine.paused = None;
        machine.busy_until.clear();
        // Of what was under way, some got to the disk.
        let under_way = machine.pending.len();
        for (_, op) in std::mem::take(&mut machine.pending) {
            if self.random.chance(600) {
                break;
            }
            machine.disk.execute(&op);
        }
        let lost = machine.disk.power_cut(&mut self.random);
        self.note(|| format!("== {id} crashes"));
        self.count("crash");
        if under_way > 0 {
            self.count("crash with operations under way");
        }
        if lost > 0 {
            self.count("unsynced data lost");
        }
    }

    /// The node stands still.
    pub fn pause(&mut self, id: NodeId) {
        if let Some(machine) = self.machines.get_mut(&id)
            && machine.node.is_some()
            && machine.paused.is_none()
        {
            machine.paused = Some(Vec::new());
            self.note(|| format!("== {id} pauses"));
            self.count("pause");
        }
    }

    /// And goes on, with all that has come meanwhile.
    pub fn resume(&mut self, id: NodeId) {
        let held = self
            .machines
            .get_mut(&id)
            .and_then(|machine| machine.paused.take());
        for happening in held.into_iter().flatten() {
            self.schedule(0, happening);
        }
    }

    fn schedule(&mut self, after_us: u64, happening: Happening) {
        self.sequence += 1;
        self.queue
            .insert((self.time_us + after_us, self.sequence), happening);
    }

    /// Lets time go by until then.
    pub fn run_until(&mut self, time_us: u64) {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > time_us {
                break;
            }
            let ((at, _), happening) = entry.remove_entry();
            self.time_us = self.time_us.max(at);
            self.happen(happening);
        }
        self.time_us = self.time_us.max(time_us);
    }

    fn happen(&mut self, happening: Happening) {
        let id = match &happening {
            Happening::Tick(id, _) | Happening::Deliver(_, id, _) | Happening::Disk(id, ..) => *id,
        };
        let Some(machine) = self.machines.get_mut(&id) else {
            return;
        };
        if let Some(held) = &mut machine.paused {
            held.push(happening);
            return;
        }
        let run = machine.run;
        let now = self.now(id);
        match happening {
            Happening::Tick(_, of_run) if of_run == run => {
                self.with(id, |node| node.tick(now));
                let due = self.machines[&id]
                    .node
                    .as_ref()
                    .map_or(20, |node| node.next_tick() - now.steady_ms);
                self.schedule(due * 1000, Happening::Tick(id, run));
            }
            Happening::Deliver(from, _, bytes) => match Message::decode(&self.as_known(id, bytes)) {
                Ok(message) => self.with(id, |node| node.receive(from, message, now)),
                Err(error) => self
                    .violations
                    .push(format!("a message that was sent can't be read: {error}")),
            },
            Happening::Disk(_, of_run, token) if of_run == run => self.disk_done(id, token, now),
            Happening::Tick(..) | Happening::Disk(..) => {}
        }
    }

    /// A message as a node sees it that is too old to know the kind.
    fn as_known(&mut self, id: NodeId, mut bytes: Vec<u8>) -> Vec<u8> {
        let unknown = self.unknown_kinds.get(&id);
        if let Some(tag) = bytes.get_mut(TAG_AT)
            && unknown.is_some_and(|kinds| kinds.contains(tag))
        {
            *tag = u8::MAX;
            self.count("kind not known");
        }
        bytes
    }

    fn disk_done(&mut self, id: NodeId, token: Token, now: Now) {
        let Some(machine) = self.machines.get_mut(&id) else {
            return;
        };
        let Some(at) = machine.pending.iter().position(|(pending, _)| *pending == token) else {
            return;
        };
        let Some((_, op)) = machine.pending.remove(at) else {
            return;
        };
        let fails = self.random.chance(machine.disk_fails);
        let executed = !fails || self.random.chance(500);
        let mut completion = weald_cluster_proto::Completion::Failed;
        if executed {
            let done = machine.disk.execute(&op);
            completion = if fails { completion } else { done };
        }
        if fails {
            self.count("disk operation failed");
        }
        self.check_versions(&op);
        self.with(id, |node| node.complete(token, completion, now));
    }

    /// No version may come from beyond what clocks that differ by the bound can make.
    fn check_versions(&mut self, op: &weald_cluster_proto::StoreOp) {
        use weald_cluster_proto::{Change, StoreOp};
        let StoreOp::Change { changes, .. } = op else {
            return;
        };
        let mut config = Config::new(NodeId(0), 0);
        (self.tune)(&mut config);
        let latest = self.wall_ms() + 3 * config.drift_bound_ms;
        for (_, change) in changes {
            let version = match change {
                Change::Put(record) | Change::Accept(_, record, _) => record.version,
                Change::Merge(entry) => entry.record.version,
                Change::Promise(ballot) => *ballot,
            };
            if version.ms() > latest {
                let beyond = version.ms() - self.wall_ms();
                self.violations
                    .push(format!("a version {beyond} ms in the future is stored"));
            }
        }
    }

    fn with(&mut self, id: NodeId, act: impl FnOnce(&mut weald_cluster_proto::Node)) {
        if let Some(node) = self
            .machines
            .get_mut(&id)
            .and_then(|machine| machine.node.as_mut())
        {
            act(node);
            self.carry_out(id);
        }
    }

    /// A client asks a node. False if the node is down.
    pub fn request(&mut self, id: NodeId, token: ClientToken, request: Request) -> bool {
        let up = self
            .machines
            .get(&id)
            .is_some_and(|machine| machine.node.is_some() && machine.paused.is_none());
        if up {
            let now = self.now(id);
            self.with(id, |node| node.request(token, request, now));
        }
        up
    }

    fn carry_out(&mut self, id: NodeId) {
        let Some(node) = self
            .machines
            .get_mut(&id)
            .and_then(|machine| machine.node.as_mut())
        else {
            return;
        };
        let effects: Vec<Effect> = node.effects().collect();
        for effect in effects {
            match effect {
                Effect::Send { to, message, lane } => {
                    assert_eq!(lane, message.body.lane());
                    let to = match to {
                        To::Node(to) => to,
                        To::Address(address) => NodeId(
                            address
                                .iter()
                                .rev()
                                .fold(0, |id, &byte| (id << 8) | u64::from(byte)),
                        ),
                    };
                    self.send(id, to, &message);
                }
                Effect::Store { token, op } => self.store(id, token, op),
                Effect::Reply { to, reply } => self.replies.push_back((id, to, reply)),
                Effect::Event(event) => {
                    self.note(|| format!("{id}: {event:?}"));
                    self.events.push((self.time_us, id, event));
                }
            }
        }
    }

    fn send(&mut self, from: NodeId, to: NodeId, message: &Message) {
        self.check_acknowledgement(from, to, message);
        let bytes = message.encode();
        let times = self.network.deliveries(from, to, &mut self.random);
        match times.len() {
            0 => self.count("message lost"),
            1 => {}
            _ => self.count("message doubled"),
        }
        let detail = self.detail;
        self.note(|| format!("{from} -> {to}: {}", summary(&message.body, detail)));
        for after in times {
            self.schedule(after, Happening::Deliver(from, to, bytes.clone()));
        }
    }

    /// Delivers bytes that nobody sent.
    pub fn inject(&mut self, from: NodeId, to: NodeId, bytes: Vec<u8>) {
        self.schedule(0, Happening::Deliver(from, to, bytes));
    }

    /// A replica that says it has applied something durably must have it on its disk; or something later, if it says that.
    fn check_acknowledgement(&mut self, from: NodeId, to: NodeId, message: &Message) {
        match &message.body {
            Body::Write {
                request,
                items,
                durable: true,
                ..
            } => {
                let Some(layout) = self.machines[&from].node.as_ref().and_then(|node| node.layout()) else {
                    return;
                };
                let items = items
                    .iter()
                    .map(|item| (item.index, layout.partition_of(&item.key), item.clone()));
                let items: Vec<_> = items.collect();
                self.writes.entry((from, *request)).or_default().extend(items);
            }
            Body::WriteDone { request, items } => {
                let Some(asked) = self.writes.get(&(to, *request)) else {
                    return;
                };
                let machine = &self.machines[&from];
                let owner = machine.node.as_ref().map(weald_cluster_proto::Node::owner);
                let layout = self.newest_layout();
                let holds =
                    |written: &Written| matches!(written, Written::Applied | Written::Superseded { .. });
                for (index, _) in items.iter().filter(|(_, written)| holds(written)) {
                    let Some((_, partition, item)) = asked.iter().find(|(asked, ..)| asked == index) else {
                        continue;
                    };
                    let owns = owner
                        .zip(layout.as_ref())
                        .is_some_and(|(owner, layout)| layout.is_owner(owner, *partition));
                    let held = machine.disk.proved.get(&(*partition, item.key.clone()));
                    if owns && held.is_none_or(|held| *held < item.entry.rank()) {
                        self.violations.push(format!(
                            "node {from} acknowledged what is not on its disk: {item:?}"
                        ));
                        return;
                    }
                }
            }
            _ => {}
        }
    }

    fn store(&mut self, id: NodeId, token: Token, op: weald_cluster_proto::StoreOp) {
        let spread = self.random.below(800);
        let slow = if self.random.chance(10) { 20_000 } else { 0 };
        let Some(machine) = self.machines.get_mut(&id) else {
            return;
        };
        let space = op.space();
        let busy = machine.busy_until.entry(space.clone()).or_default();
        // A slow disk answers late, but does as much.
        let done = ((*busy).max(self.time_us) + 50 + spread + slow).max(self.time_us + machine.disk_slow_us);
        // What belongs to no space waits for nobody.
        if space.is_some() {
            *busy = done;
        }
        machine.pending.push_back((token, op));
        let run = machine.run;
        let after = done - self.time_us;
        self.schedule(after, Happening::Disk(id, run, token));
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(transcript) = &mut self.transcript {
            transcript.push(format!("{:>7} {}", self.time_us / 1000, line()));
        }
    }

    /// The newest layout that any node has.
    pub fn newest_layout(&self) -> Option<Layout> {
        let layouts = self
            .machines
            .values()
            .filter_map(|machine| machine.node.as_ref()?.layout());
        layouts.max_by_key(|layout| layout.version).cloned()
    }

    /// Nodes that are up, and not standing still.
    pub fn up(&self) -> Vec<NodeId> {
        let up = |machine: &Machine| machine.node.is_some() && machine.paused.is_none();
        self.machines
            .iter()
            .filter(|(_, machine)| up(machine))
            .map(|(&id, _)| id)
            .collect()
    }

    /// The zone that a node would join in.
    pub fn zone(&self, id: NodeId) -> u32 {
        let mut config = Config::new(id, 77);
        (self.tune)(&mut config);
        config.zone
    }

    /// The node and copy of a machine.
    pub fn owner(&self, id: NodeId) -> Option<Owner> {
        self.machines
            .get(&id)?
            .node
            .as_ref()
            .map(weald_cluster_proto::Node::owner)
    }
}

/// A message in a few words: what it is, or all of it, cut at some length.
fn summary(body: &Body, detail: bool) -> String {
    let text = format!("{body:?}");
    let cut = if detail {
        text.char_indices().nth(600).map(|(at, _)| at)
    } else {
        text.find(' ')
    };
    text[..cut.unwrap_or(text.len())].to_owned()
}
