//! Clients: each asks one thing after the other, of any node that is up, and writes down what it was told.

use std::collections::BTreeMap;

use weald_cluster_proto::{
    Bytes, ClientToken, Error, Expect, Found, Level, NodeId, Random, Reply, Request, Version,
};

use crate::history::{Action, Event, Outcome};
use crate::run::Preset;
use crate::world::World;

/// A client gives up on an answer after this.
const PATIENCE_US: u64 = 4_000_000;

#[derive(Default)]
struct Client {
    /// Which events its question stands for, and when it gives up.
    waiting: Option<(ClientToken, Vec<usize>, u64)>,
    next_at: u64,
}

/// All clients and what they saw.
pub(crate) struct Clients {
    clients: Vec<Client>,
    /// Everything that was asked.
    pub events: Vec<Event>,
    next_token: u64,
    next_value: u64,
    last_seen: BTreeMap<Bytes, Option<Bytes>>,
    /// Answered questions that failed, with the time.
    pub failures: Vec<(u64, Error)>,
    /// Questions that were answered well.
    pub successes: u64,
    scans: BTreeMap<ClientToken, u64>,
    preset: Preset,
    /// The clients from this one on are a crowd: all of them write the same few keys at once, for a while, and then rest.
    crowd_from: usize,
}

/// A crowd comes so often, and stays so long.
const RUSH_EVERY_US: u64 = 3_000_000;
const RUSH_US: u64 = 400_000;

/// Plain keys, keys with compare-and-set, and keys with both.
pub(crate) const PLAIN: u64 = 5;
pub(crate) const REGISTERS: u64 = 3;
pub(crate) const MIXED: u64 = 2;

pub(crate) fn key(kind: char, number: u64) -> Bytes {
    format!("{kind}{number}").into_bytes().into()
}

impl Clients {
    pub(crate) fn new(count: usize, crowd: usize, preset: Preset) -> Clients {
        Clients {
            crowd_from: count,
            clients: (0..count + crowd).map(|_| Client::default()).collect(),
            events: Vec::new(),
            next_token: 0,
            next_value: 0,
            last_seen: BTreeMap::new(),
            failures: Vec::new(),
            successes: 0,
            scans: BTreeMap::new(),
            preset,
        }
    }

    /// The level of requests that the checkers judge.
    pub(crate) fn meeting(&self) -> Level {
        self.preset.meeting()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.clients.iter().all(|client| client.waiting.is_none())
    }

    /// Takes in answers, gives up on what takes too long, and asks new things if that is wanted.
    pub(crate) fn step(&mut self, world: &mut World, ask: bool) {
        while let Some((_, token, reply)) = world.replies.pop_front() {
            self.answered(world, token, reply);
        }
        let now = world.time_us;
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            if client.waiting.as_ref().is_some_and(|(_, _, end)| now >= *end) {
                client.waiting = None;
                world.count("client gave up");
            }
            if ask && self.clients[index].waiting.is_none() && now >= self.clients[index].next_at {
                self.clients[index].next_at = now + 2_000 + world.random.below(40_000);
                self.ask_something(world, index);
            }
        }
    }

    fn ask_something(&mut self, world: &mut World, client: usize) {
        let up = world.up();
        let Some(&node) = world.random.pick(&up) else {
            return;
        };
        if client >= self.crowd_from {
            return self.rush(world, client, node);
        }
        let random = &mut world.random;
        match random.below(100) {
            0..30 => {
                let kind = if random.chance(100) { 'n' } else { 'p' };
                let keys = self.some_keys(random, kind, PLAIN);
                self.put(world, client, node, keys);
            }
            30..55 => {
                let keys = self.some_keys(random, 'p', PLAIN);
                self.get(world, client, node, keys);
            }
            55..60 => self.scan(world, client, node),
            60..78 => {
                let key = key('r', random.below(REGISTERS));
                self.swap(world, client, node, key);
            }
            78..86 => {
                let key = key('r', random.below(REGISTERS));
                self.ask(
                    world,
                    client,
                    node,
                    vec![(key.clone(), Action::Read)],
                    true,
                    Request::GetRegister { key },
                );
            }
            86..92 => {
                let keys = vec![key('m', random.below(MIXED))];
                self.put(world, client, node, keys);
            }
            92..95 => {
                let key = key('m', random.below(MIXED));
                self.set(world, client, node, key);
            }
            _ => {
                let keys = vec![key('m', random.below(MIXED))];
                self.get(world, client, node, keys);
            }
        }
    }

    /// What one of a crowd asks, at its time: mostly to write a key that the others write too.
    fn rush(&mut self, world: &mut World, client: usize, node: NodeId) {
        let now = world.time_us;
        if now % RUSH_EVERY_US > RUSH_US {
            self.clients[client].next_at = now - now % RUSH_EVERY_US + RUSH_EVERY_US;
            return;
        }
        self.clients[client].next_at = now;
        world.count("written in a crowd");
        let keys = vec![key('p', world.random.below(2))];
        if world.random.chance(800) {
            self.put(world, client, node, keys);
        } else {
            self.get(world, client, node, keys);
        }
    }

    fn some_keys(&self, random: &mut Random, kind: char, count: u64) -> Vec<Bytes> {
        let first = random.below(count);
        let more = if random.chance(200) {
            1 + random.below(3)
        } else {
            1
        };
        (0..more).map(|step| key(kind, (first + step) % count)).collect()
    }

    fn fresh_value(&mut self) -> Bytes {
        self.next_value += 1;
        format!("v{}", self.next_value).into_bytes().into()
    }

    fn put(&mut self, world: &mut World, client: usize, node: NodeId, keys: Vec<Bytes>) {
        let random = &mut world.random;
        let delete = random.chance(250);
        let ttl_ms = (!delete && random.chance(150)).then(|| 300 + random.below(3000));
        let (write, strong) = match random.below(100) {
            0..80 => (self.meeting(), true),
            80..88 => (Level::Strong, true),
            88..92 => (Level::Balanced, true),
            _ => (self.preset.single(), false),
        };
        // What need not be durable may go with the power, so nothing can be said about those keys but that they converge.
        let durable = keys.iter().all(|key| !key.starts_with(b"n"));
        let mut items = Vec::new();
        let mut actions = Vec::new();
        for key in keys {
            let value = if delete { None } else { Some(self.fresh_value()) };
            actions.push((key.clone(), Action::Put(value.clone(), ttl_ms)));
            items.push((key, value));
        }
        let request = Request::Put {
            items,
            ttl_ms,
            write,
            durable,
        };
        self.ask(world, client, node, actions, strong && durable, request);
    }

    fn get(&mut self, world: &mut World, client: usize, node: NodeId, keys: Vec<Bytes>) {
        let (read, strong) = match world.random.below(100) {
            0..85 => (self.meeting(), true),
            85..92 => (Level::Strong, true),
            _ => (self.preset.single(), false),
        };
        let actions = keys.iter().map(|key| (key.clone(), Action::Get)).collect();
        self.ask(world, client, node, actions, strong, Request::Get { keys, read });
    }

    fn swap(&mut self, world: &mut World, client: usize, node: NodeId, key: Bytes) {
        let known = self.last_seen.get(&key).cloned().flatten();
        let value = if world.random.chance(150) {
            None
        } else {
            Some(self.fresh_value())
        };
        let expect = known.clone().map_or(Expect::Absent, Expect::Value);
        let action = Action::Swap(known, value.clone());
        let request = Request::CompareAndSet {
            key: key.clone(),
            expect,
            value,
            ttl_ms: None,
        };
        self.ask(world, client, node, vec![(key, action)], true, request);
    }

    /// Sets a key through its register, whatever it holds; noted as a write.
    fn set(&mut self, world: &mut World, client: usize, node: NodeId, key: Bytes) {
        let value = Some(self.fresh_value());
        let action = Action::Put(value.clone(), None);
        let request = Request::CompareAndSet {
            key: key.clone(),
            expect: Expect::Anything,
            value,
            ttl_ms: None,
        };
        self.ask(world, client, node, vec![(key, action)], true, request);
    }

    fn scan(&mut self, world: &mut World, client: usize, node: NodeId) {
        let limit = 1 + world.random.below(12) as usize;
        let request = Request::Scan {
            start: b""[..].into(),
            end: None,
            limit,
            read: Level::Cluster,
        };
        self.ask(world, client, node, Vec::new(), false, request);
    }

    pub(crate) fn ask(
        &mut self,
        world: &mut World,
        client: usize,
        node: NodeId,
        actions: Vec<(Bytes, Action)>,
        strong: bool,
        request: Request,
    ) {
        self.next_token += 1;
        let token = ClientToken(self.next_token);
        let start = world.time_us;
        let first = self.events.len();
        let is_scan = matches!(request, Request::Scan { .. });
        if !world.request(node, token, request) {
            return;
        }
        if is_scan {
            self.scans.insert(token, start);
        }
        self.events.extend(actions.into_iter().map(|(key, action)| Event {
            key,
            action,
            strong,
            start,
            end: u64::MAX,
            outcome: Outcome::Unknown,
        }));
        let indices = (first..self.events.len()).collect();
        self.clients[client].waiting = Some((token, indices, start + PATIENCE_US));
    }

    fn answered(&mut self, world: &mut World, token: ClientToken, reply: Reply) {
        let waits = |client: &&mut Client| {
            client
                .waiting
                .as_ref()
                .is_some_and(|(waiting, ..)| *waiting == token)
        };
        let Some(client) = self.clients.iter_mut().find(waits) else {
            return;
        };
        let Some((_, indices, _)) = client.waiting.take() else {
            return;
        };
        let now = world.time_us;
        match reply {
            Reply::Written(results) => {
                for (index, result) in indices.into_iter().zip(results) {
                    self.note(world, index, result.map(Outcome::Written));
                }
            }
            Reply::Values(results) => {
                for (index, result) in indices.into_iter().zip(results) {
                    self.note(world, index, result.map(read));
                }
            }
            Reply::Register(found) => self.note_all(world, &indices, &Ok(read(found))),
            Reply::Compared { swapped, found } => {
                let version = found.version.unwrap_or(Version::ZERO);
                let put = indices
                    .iter()
                    .any(|&index| matches!(self.events[index].action, Action::Put(..)));
                let outcome = if put {
                    Outcome::Written(version)
                } else {
                    Outcome::Swapped(swapped)
                };
                if !swapped {
                    for &index in &indices {
                        self.last_seen
                            .insert(self.events[index].key.clone(), found.value.clone());
                    }
                    world.count("compare failed");
                }
                self.note_all(world, &indices, &Ok(outcome));
            }
            Reply::Page { entries, .. } => {
                let start = self.scans.remove(&token).unwrap_or(now);
                self.successes += 1;
                world.count("scan");
                if !entries.is_sorted_by(|a, b| a.0 < b.0) {
                    world
                        .violations
                        .push(format!("a scan is out of order: {entries:?}"));
                }
                for (key, found) in entries {
                    self.events.push(Event {
                        key,
                        action: Action::Get,
                        strong: false,
                        start,
                        end: now,
                        outcome: read(found),
                    });
                }
            }
            Reply::Failed(error) => self.note_all(world, &indices, &Err(error)),
            Reply::LayoutChanged { .. } => {}
        }
    }

    fn note_all(&mut self, world: &mut World, indices: &[usize], result: &Result<Outcome, Error>) {
        if indices.is_empty() && result.is_err() {
            self.failures.push((world.time_us, Error::NotReady));
        }
        for &index in indices {
            self.note(world, index, result.clone());
        }
    }

    fn note(&mut self, world: &mut World, index: usize, result: Result<Outcome, Error>) {
        let event = &mut self.events[index];
        match result {
            Ok(outcome) => {
                self.successes += 1;
                match (&event.action, &outcome) {
                    (Action::Read, Outcome::Found(_, value, _)) => {
                        self.last_seen.insert(event.key.clone(), value.clone());
                    }
                    (Action::Swap(_, value), Outcome::Swapped(true)) => {
                        self.last_seen.insert(event.key.clone(), value.clone());
                        world.count("swapped");
                    }
                    _ => {}
                }
                event.end = world.time_us;
                event.outcome = outcome;
            }
            Err(error) => {
                self.failures.push((world.time_us, error));
                world.count(match error {
                    Error::NotEnough { .. } => "too few answered",
                    Error::Unknown => "outcome unknown",
                    Error::Contended => "contended",
                    Error::NotReady => "node not ready",
                    _ => "other failure",
                });
                let swap = matches!(event.action, Action::Swap(..));
                let nothing = match error {
                    Error::NotReady | Error::Overloaded | Error::Invalid(_) => true,
                    // Nothing was accepted anywhere.
                    Error::NotEnough { .. } | Error::Contended => swap,
                    _ => false,
                };
                if nothing {
                    event.end = world.time_us;
                    event.outcome = Outcome::Nothing;
                }
            }
        }
    }
}

fn read(found: Found) -> Outcome {
    Outcome::Found(found.version, found.value, found.expires_ms)
}
