//! The protocol's state, and what it wants carried out: one step takes what waits, hands it over, and does what follows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use weald_cluster_proto::{ClientToken, Effect, Lane, Node as Protocol, Now, Reply, To};

use super::events::Events;
use super::inbox::{Ask, Inbox, Mail};
use super::turns::Turns;
use super::{Answer, Metrics, Options, StartFailed};
use crate::store::Store;
use crate::transport::Transport;

/// How often the protocol looks at the time while a client waits: what gives way to others is to come back soon.
const BUSY_TICK_MS: u64 = 3;

pub(super) struct Driver {
    protocol: Protocol,
    store: Store,
    transport: Arc<dyn Transport>,
    events: Arc<Events>,
    clients: HashMap<ClientToken, Answer>,
    next_client: u64,
    started: Instant,
    tick_at: u64,
    /// What is to be sent: all that goes to one node goes together.
    letters: BTreeMap<To, Vec<(Lane, Vec<u8>)>>,
    /// What clients are told after that. A thread that is woken may run in place of this one, and what is to be sent would wait for it.
    replies: Vec<(Answer, Reply)>,
    unsent: u64,
}

fn now(started: Instant) -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now {
        steady_ms: started.elapsed().as_millis() as u64,
        wall_ms: wall.as_millis() as u64,
    }
}

impl Driver {
    pub(super) fn new(
        options: Options,
        seed: u64,
        turns: &Arc<Turns>,
        events: Arc<Events>,
    ) -> Result<Driver, StartFailed> {
        let mut config = options.config;
        config.node = options.keys.node();
        config.cluster = options.keys.cluster;
        config.address = options.transport.address();
        let for_store = turns.clone();
        let done = move |completed| for_store.complete(completed);
        let (store, meta) = Store::open(options.storage, options.store_workers, done)?;
        let started = Instant::now();
        let keys = Box::new(options.keys);
        let protocol = match Protocol::new(config, options.start, &meta, keys, seed, now(started)) {
            Ok(protocol) => protocol,
            Err(error) => {
                store.close()?;
                return Err(error.into());
            }
        };
        Ok(Driver {
            tick_at: protocol.next_tick(),
            protocol,
            store,
            transport: options.transport,
            events,
            clients: HashMap::new(),
            next_client: 0,
            started,
            letters: BTreeMap::new(),
            replies: Vec::new(),
            unsent: 0,
        })
    }

    /// Takes in what waited, and what time it is.
    pub(super) fn step(&mut self, mail: Mail, inbox: &Inbox) {
        // What is taken together is taken at one time.
        let now = now(self.started);
        for (token, completion) in mail.completions {
            self.store.completed(token);
            self.protocol.complete(token, completion, now);
        }
        for (from, message) in mail.messages {
            self.protocol.receive(from, message, now);
        }
        for ask in mail.asks {
            self.answer(ask, inbox, now);
        }
        if now.steady_ms >= self.tick_at {
            self.protocol.tick(now);
            self.tick_at = self.protocol.next_tick();
        }
        self.carry_out();
        if !self.clients.is_empty() {
            self.tick_at = self.tick_at.min(now.steady_ms + BUSY_TICK_MS);
        }
    }

    /// When it wants to be told the time.
    pub(super) fn next_tick(&self) -> Instant {
        self.started + Duration::from_millis(self.tick_at)
    }

    /// How many clients wait.
    pub(super) fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Leaves the cluster's sight, answers whoever still waits, and closes the storage. Nothing arrives any more.
    pub(super) fn stop(mut self, inbox: &Inbox) -> Result<(), weald_storage::Error> {
        self.protocol.stop(now(self.started));
        self.carry_out();
        self.send_letters();
        inbox.close();
        self.transport.stop();
        self.clients.clear();
        self.store.close()
    }

    /// The protocol is told the time at each input, and ticks by itself.
    fn answer(&mut self, ask: Ask, inbox: &Inbox, now: Now) {
        // Whoever asked may have gone.
        match ask {
            Ask::Request(request, answer) => {
                self.next_client += 1;
                let client = ClientToken(self.next_client);
                self.clients.insert(client, answer);
                self.protocol.request(client, request, now);
            }
            Ask::Status(reply) => drop(reply.send(self.protocol.status())),
            Ask::Layout(reply) => drop(reply.send(self.protocol.layout().cloned())),
            Ask::Partitions(reply) => drop(reply.send(self.protocol.partitions().collect())),
            Ask::Peers(reply) => drop(reply.send(self.protocol.peers().collect())),
            Ask::Metrics(reply) => drop(reply.send(Metrics {
                node: self.protocol.stats(),
                status: self.protocol.status(),
                transport: self.transport.stats(),
                malformed: inbox.malformed(),
                unsent: self.unsent,
                inbox_bytes: inbox.bytes(),
                store_failures: self.store.failures(),
            })),
        }
    }

    /// Carries out what the protocol wants, and what follows from what could be done at once, but for what is to be sent or told.
    pub(super) fn carry_out(&mut self) {
        loop {
            let effects: Vec<Effect> = self.protocol.effects().collect();
            let mut jobs = Vec::new();
            for effect in effects {
                match effect {
                    Effect::Send { to, lane, message } => {
                        self.letters.entry(to).or_default().push((lane, message.encode()));
                    }
                    Effect::Store { token, op } => jobs.push((token, op)),
                    Effect::Reply { to, reply } => {
                        if let Some(answer) = self.clients.remove(&to) {
                            self.replies.push((answer, reply));
                        }
                    }
                    Effect::Event(event) => self.events.add(now(self.started).wall_ms, event),
                }
            }
            if jobs.is_empty() {
                break;
            }
            let now = now(self.started);
            for (token, completion) in self.store.submit(jobs) {
                self.protocol.complete(token, completion, now);
            }
        }
    }

    pub(super) fn has_letters(&self) -> bool {
        !self.letters.is_empty() || !self.replies.is_empty()
    }

    /// Sends what has come together, and then tells clients.
    pub(super) fn send_letters(&mut self) {
        for (to, messages) in std::mem::take(&mut self.letters) {
            self.send(&to, messages);
        }
        for (answer, reply) in self.replies.drain(..) {
            answer.give(Ok(reply));
        }
    }

    fn send(&mut self, to: &To, messages: Vec<(Lane, Vec<u8>)>) {
        let (node, address) = match to {
            To::Node(node) => (Some(*node), self.protocol.address_of(*node)),
            To::Address(address) => (None, Some(&**address)),
        };
        let count = messages.len();
        let unsent = address.map_or(count, |address| self.transport.send_all(node, address, messages));
        self.unsent += unsent as u64;
    }
}
