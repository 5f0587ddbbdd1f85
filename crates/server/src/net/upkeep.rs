//! What is done a few times a second, whatever clients do.

use std::time::{Duration, Instant};

use crate::config::Durability;
use crate::dispatch::Executor;
use crate::error::CommandError;
use crate::net::event_loop::EventLoop;
use crate::session::{ClientId, Link};

/// Keys that are deleted at once because their time is up.
const EXPIRED_PER_TURN: usize = 200;

/// Elements of deleted keys that are deleted at once.
const RECLAIMED_PER_TURN: usize = 2000;

/// What counters were a second ago.
#[derive(Default)]
pub(crate) struct Rates {
    since: Option<Instant>,
    commands: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl EventLoop<'_> {
    pub(super) fn upkeep(&mut self, now: Instant) {
        let hz = self.executor.state.settings.hz.max(1);
        self.next_upkeep = now + Duration::from_millis(1000 / hz);
        self.measure_rates(now);
        self.dismiss_idle();
        self.bound_memory();
        self.executor.make_room();
        self.expire_keys();
        let waiting = self.executor.state.waiting.clients() as u64;
        self.executor.state.stats.blocked_clients.set(waiting);
    }

    fn measure_rates(&mut self, now: Instant) {
        let stats = &self.executor.state.stats;
        let (commands, bytes_in, bytes_out) =
            (stats.commands.get(), stats.bytes_in.get(), stats.bytes_out.get());
        let Some(since) = self.rates.since else {
            self.rates = Rates {
                since: Some(now),
                commands,
                bytes_in,
                bytes_out,
            };
            return;
        };
        let ms = now.duration_since(since).as_millis() as u64;
        if ms < 1000 {
            return;
        }
        let rate = |now: u64, before: u64| now.saturating_sub(before) * 1000 / ms;
        stats.commands_per_second.set(rate(commands, self.rates.commands));
        stats.bytes_in_per_second.set(rate(bytes_in, self.rates.bytes_in));
        stats
            .bytes_out_per_second
            .set(rate(bytes_out, self.rates.bytes_out));
        self.rates = Rates {
            since: Some(now),
            commands,
            bytes_in,
            bytes_out,
        };
    }

    /// Takes leave of clients that are silent, never said who they are, or never end what they began to say.
    fn dismiss_idle(&mut self) {
        let (now_ms, settings) = (self.executor.now_ms, &self.executor.state.settings);
        let since = |then: u64| now_ms.saturating_sub(then);
        let over = |limit_ms: u64, since_ms: u64| limit_ms > 0 && since_ms > limit_ms;
        let mut late: Vec<(ClientId, &str)> = Vec::new();
        for client in self.executor.state.clients.iter() {
            let session = &client.session;
            if session.link == Link::Internal {
                continue;
            }
            let listens = session.subscriptions.any() || session.blocked.is_some() || session.monitor;
            if !listens && over(settings.idle_timeout_ms, since(session.active_ms)) {
                late.push((session.id, "it was silent for too long"));
            } else if (!session.authenticated || client.connection.is_handshaking())
                && over(settings.auth_timeout_ms, since(session.created_ms))
            {
                late.push((session.id, "it did not say who it is"));
            } else if client
                .connection
                .partial_since
                .is_some_and(|then| over(settings.request_timeout_ms, since(then)))
            {
                late.push((session.id, "it did not end its request"));
            } else if client.behind_since.is_some() {
                // Its limit depends on the time: look at it again.
                late.push((session.id, ""));
            }
        }
        for (id, why) in late {
            if why.is_empty() {
                self.executor.state.clients.is_due(id);
            } else {
                self.executor.state.clients.doomed.push((id, why));
            }
        }
    }

    /// Keeps the memory of all clients within its bound, at the cost of those that take most.
    fn bound_memory(&mut self) {
        let state = &mut self.executor.state;
        let mut sizes: Vec<(usize, ClientId, bool)> = state
            .clients
            .iter()
            .map(|client| {
                let buffers =
                    client.out.capacity() + client.connection.input.capacity() + client.replies.bytes();
                (
                    client.session.memory() + buffers,
                    client.session.id,
                    client.session.no_evict,
                )
            })
            .collect();
        let mut all: usize = sizes.iter().map(|(size, ..)| size).sum();
        state.stats.client_memory.set(all as u64);
        let max = state.settings.maxmemory_clients;
        if max == 0 || all <= max {
            return;
        }
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        for (size, id, keep) in sizes {
            if all <= max {
                break;
            }
            if !keep {
                log::warn!(
                    "client {} is disconnected: clients take too much memory, and it most",
                    id.0
                );
                state.clients.doomed.push((id, "clients take too much memory"));
                all -= size;
            }
        }
    }

    /// Deletes keys whose time is up, so that those who listen are told, and those who watch; and some of what belonged to deleted keys.
    fn expire_keys(&mut self) {
        let swept = sweep(&mut self.executor);
        if self.told(swept) {
            self.next_upkeep = Instant::now();
        }
    }

    /// Deletes the keys that commands of this tick found to have expired, so that they are not counted any more.
    pub(super) fn expire_met(&mut self) {
        if !self.executor.keyspace.lookups.met_lapsed() {
            return;
        }
        if self.executor.state.pause.is_some() {
            // While clients that write wait nothing is deleted either. What is asked for afterwards is met again.
            self.executor.keyspace.pass_met();
        } else {
            let tick = self.executor.keyspace.tick();
            let begun = tick.begin_write(Durability::None);
            let met = begun.and_then(|()| self.executor.keyspace.expire_met());
            self.told(met);
        }
    }

    /// Tells who listens of the keys that have been deleted.
    fn told<T: Default>(&mut self, deleted: Result<T, CommandError>) -> T {
        let executor = &mut self.executor;
        let deleted = deleted.unwrap_or_else(|e| {
            executor
                .keyspace
                .tick()
                .fail(format!("MISCONF what has expired can't be deleted: {e}"));
            T::default()
        });
        for (db, key) in executor.keyspace.take_lapsed() {
            executor.state.expired(db, &key);
        }
        deleted
    }
}

/// Whether there is more to delete.
fn sweep(executor: &mut Executor<'_>) -> Result<bool, CommandError> {
    executor.keyspace.tick().prepare_read()?;
    let expires = !executor.state.no_active_expiry && executor.state.pause.is_none();
    let lapsed = expires && executor.keyspace.has_lapsed()?;
    let garbage = executor.keyspace.has_garbage()?;
    if !lapsed && !garbage {
        return Ok(false);
    }
    executor.keyspace.tick().begin_write(Durability::None)?;
    let began = Instant::now();
    let more_lapsed = lapsed && executor.keyspace.expire_some(EXPIRED_PER_TURN)?;
    let us = began.elapsed().as_micros() as u64;
    executor.state.note_latency("expire-cycle", us, executor.now_ms);
    let more_garbage = garbage && executor.keyspace.reclaim_some(RECLAIMED_PER_TURN)?;
    Ok(more_lapsed || more_garbage)
}
