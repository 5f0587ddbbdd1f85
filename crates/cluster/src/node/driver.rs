//! The thread that owns the protocol's state: takes what waits, hands it over, and carries out what the protocol wants.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use weald_cluster_proto::{ClientToken, Effect, Lane, Node as Protocol, Now, To};

use super::events::Events;
use super::inbox::{Ask, Inbox};
use super::{Answer, Metrics, Options, StartFailed};
use crate::store::Store;
use crate::transport::Transport;

/// Closes the inbox however the thread ends: nobody waits for a node that is gone.
struct Closes(Arc<Inbox>);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// How often the protocol looks at the time while a client waits: what gives way to others is to come back soon.
const BUSY_TICK_MS: u64 = 3;
/// How long requests that were taken before a stop may still run, beside their own time.
const STOP_MARGIN_MS: u64 = 500;

pub(super) struct Driver {
    protocol: Protocol,
    store: Store,
    transport: Arc<dyn Transport>,
    inbox: Arc<Inbox>,
    events: Arc<Events>,
    clients: BTreeMap<ClientToken, Answer>,
    next_client: u64,
    started: Instant,
    unsent: u64,
    request_timeout_ms: u64,
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
        inbox: Arc<Inbox>,
        events: Arc<Events>,
    ) -> Result<Driver, StartFailed> {
        let mut config = options.config;
        config.node = options.keys.node();
        config.cluster = options.keys.cluster;
        config.address = options.transport.address();
        let request_timeout_ms = config.request_timeout_ms;
        let for_store = inbox.clone();
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
            protocol,
            store,
            transport: options.transport,
            inbox,
            events,
            clients: BTreeMap::new(),
            next_client: 0,
            started,
            unsent: 0,
            request_timeout_ms,
        })
    }

    pub(super) fn run(mut self) -> Result<(), weald_storage::Error> {
        let _closes = Closes(self.inbox.clone());
        let mut stop_at = None;
        self.carry_out();
        let mut tick_at = self.protocol.next_tick();
        loop {
            let mail = self.inbox.take(self.started + Duration::from_millis(tick_at));
            for (token, completion) in mail.completions {
                self.store.completed(token);
                self.protocol.complete(token, completion, now(self.started));
            }
            for (from, message) in mail.messages {
                self.protocol.receive(from, message, now(self.started));
            }
            for ask in mail.asks {
                self.answer(ask);
            }
            let now = now(self.started);
            if now.steady_ms >= tick_at {
                self.protocol.tick(now);
                tick_at = self.protocol.next_tick();
            }
            self.carry_out();
            if !self.clients.is_empty() {
                tick_at = tick_at.min(now.steady_ms + BUSY_TICK_MS);
            }
            if mail.stopping {
                let stop_at =
                    *stop_at.get_or_insert(now.steady_ms + self.request_timeout_ms + STOP_MARGIN_MS);
                if self.clients.is_empty() || now.steady_ms >= stop_at {
                    break;
                }
            }
        }
        self.protocol.stop(now(self.started));
        self.carry_out();
        self.inbox.close();
        self.transport.stop();
        self.clients.clear();
        self.store.close()
    }

    /// The protocol is told the time at each input, and ticks by itself.
    fn answer(&mut self, ask: Ask) {
        // Whoever asked may have gone.
        match ask {
            Ask::Request(request, answer) => {
                self.next_client += 1;
                let client = ClientToken(self.next_client);
                self.clients.insert(client, answer);
                self.protocol.request(client, request, now(self.started));
            }
            Ask::Status(reply) => drop(reply.send(self.protocol.status())),
            Ask::Layout(reply) => drop(reply.send(self.protocol.layout().cloned())),
            Ask::Partitions(reply) => drop(reply.send(self.protocol.partitions().collect())),
            Ask::Peers(reply) => drop(reply.send(self.protocol.peers().collect())),
            Ask::Metrics(reply) => drop(reply.send(Metrics {
                node: self.protocol.stats(),
                status: self.protocol.status(),
                transport: self.transport.stats(),
                malformed: self.inbox.malformed(),
                unsent: self.unsent,
                inbox_bytes: self.inbox.bytes(),
            })),
        }
    }

    /// Carries out what the protocol wants, and what follows from what could be done at once. All that goes to one node goes together in the end.
    fn carry_out(&mut self) {
        let mut letters: BTreeMap<To, Vec<(Lane, Vec<u8>)>> = BTreeMap::new();
        loop {
            let effects: Vec<Effect> = self.protocol.effects().collect();
            let mut jobs = Vec::new();
            for effect in effects {
                match effect {
                    Effect::Send { to, lane, message } => {
                        letters.entry(to).or_default().push((lane, message.encode()));
                    }
                    Effect::Store { token, op } => jobs.push((token, op)),
                    Effect::Reply { to, reply } => {
                        if let Some(answer) = self.clients.remove(&to) {
                            answer.give(Ok(reply));
                        }
                    }
                    Effect::Event(event) => self.events.add(now(self.started).wall_ms, event),
                }
            }
            if jobs.is_empty() {
                break;
            }
            for (token, completion) in self.store.submit(jobs) {
                self.protocol.complete(token, completion, now(self.started));
            }
        }
        for (to, messages) in letters {
            self.send(&to, messages);
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
