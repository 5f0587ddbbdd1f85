//! Probes: one peer after the other is asked whether it is there; who does not answer is asked by others; who answers nobody is suspected, and then dead.
//!
//! Local health, after Lifeguard: a node whose own probes go unanswered, by those who answer others, doubts itself first, and waits longer before it accuses. A suspicion that
//! several confirm runs out sooner.

use super::Announcement;
use super::announcement::{Status, Update};
use super::table::Change;
use crate::bugs::Bug;
use crate::effect::{Event, To};
use crate::id::NodeId;
use crate::message::Body;
use crate::node::Node;

#[derive(Debug, Default)]
pub(crate) struct Prober {
    seq: u64,
    next_at: u64,
    order: Vec<NodeId>,
    current: Option<Probe>,
    /// Probes made for others: what they asked, and what it was asked as here.
    relayed: Vec<Relay>,
    /// 0 when all is well, up to [`HEALTH_MAX`] when this node itself seems slow.
    pub(crate) health: u64,
}

#[derive(Debug)]
struct Probe {
    target: NodeId,
    seq: u64,
    indirect_at: u64,
    gives_up_at: u64,
    asked_others: bool,
    failures_told: usize,
    helpers: usize,
}

#[derive(Debug)]
struct Relay {
    asker: NodeId,
    asker_seq: u64,
    target: NodeId,
    seq: u64,
    ends_at: u64,
}

const HEALTH_MAX: u64 = 8;
const HELPERS: usize = 3;
const RELAYS_MAX: usize = 256;

impl Node {
    pub(crate) fn tick_probes(&mut self) {
        let now = self.now.steady_ms;
        self.expire_suspicions();
        self.expire_relays();
        if let Some(probe) = &mut self.prober.current {
            if !probe.asked_others && now >= probe.indirect_at {
                probe.asked_others = true;
                self.ask_others();
            } else if now >= probe.gives_up_at {
                self.probe_failed();
            }
        }
        if self.prober.current.is_none() && now >= self.prober.next_at {
            self.probe_next();
        }
    }

    fn probe_next(&mut self) {
        let now = self.now.steady_ms;
        // The interval is spread, so that nodes started together don't ask together.
        let interval = self.config.probe_interval_ms * (1 + self.prober.health);
        self.prober.next_at = now + interval - self.random.below(interval / 4 + 1);
        if self.prober.order.is_empty() {
            self.prober.order = self.members.peers.keys().copied().collect();
            self.random.shuffle(&mut self.prober.order);
        }
        let Some(target) = self.prober.order.pop() else {
            return;
        };
        let seq = self.next_seq();
        let timeout = self.config.probe_timeout_ms * (1 + self.prober.health);
        self.prober.current = Some(Probe {
            target,
            seq,
            indirect_at: now + timeout,
            gives_up_at: now + 2 * timeout,
            asked_others: false,
            failures_told: 0,
            helpers: 0,
        });
        self.send_ping(target, seq);
    }

    fn next_seq(&mut self) -> u64 {
        self.prober.seq += 1;
        self.prober.seq
    }

    fn send_ping(&mut self, to: NodeId, seq: u64) {
        let mut updates = self.members.rumours(Some(to));
        updates.push(self.own_update());
        let wall_ms = self.clock.physical_ms();
        self.send(
            to,
            Body::Ping {
                seq,
                wall_ms,
                updates,
            },
        );
    }

    fn ask_others(&mut self) {
        let Some(probe) = &self.prober.current else { return };
        let (target, seq) = (probe.target, probe.seq);
        let mut helpers: Vec<NodeId> = self
            .members
            .peers
            .keys()
            .copied()
            .filter(|&node| node != target)
            .collect();
        helpers.retain(|&node| self.members.is_alive(node));
        self.random.shuffle(&mut helpers);
        helpers.truncate(HELPERS);
        if let Some(probe) = &mut self.prober.current {
            probe.helpers = helpers.len();
        }
        for helper in helpers {
            let updates = self.members.rumours(Some(helper));
            self.send(helper, Body::PingRequest { seq, target, updates });
        }
    }

    fn probe_failed(&mut self) {
        let Some(probe) = self.prober.current.take() else {
            return;
        };
        // Helpers who say that they failed as well speak for this node's health; silence speaks against it.
        let silent = probe.helpers.saturating_sub(probe.failures_told) as u64;
        self.prober.health = (self.prober.health + silent.min(1)).min(HEALTH_MAX);
        if let Some(peer) = self.members.peers.get(&probe.target) {
            let status = peer.status.max(Status::Suspect);
            let update = Update {
                announcement: peer.announcement.clone(),
                status,
                by: self.owner.node,
            };
            self.believe(&update);
        }
    }

    fn expire_suspicions(&mut self) {
        let now = self.now.steady_ms;
        let base = self.suspicion_ms();
        let overdue = |peer: &super::table::Peer| {
            let confirmations = peer.suspected_by.len().saturating_sub(1) as u64;
            peer.status == Status::Suspect && now >= peer.suspected_at + base / (1 + confirmations.min(2))
        };
        let dead: Vec<Announcement> = self
            .members
            .peers
            .values()
            .filter(|peer| overdue(peer))
            .map(|peer| peer.announcement.clone())
            .collect();
        for announcement in dead {
            let update = Update {
                announcement,
                status: Status::Dead,
                by: self.owner.node,
            };
            self.believe(&update);
        }
    }

    fn suspicion_ms(&self) -> u64 {
        let size = self.members.peers.len() as u64 + 2;
        4 * self.config.probe_interval_ms * u64::from(size.ilog2()) * (1 + self.prober.health)
    }

    fn expire_relays(&mut self) {
        let now = self.now.steady_ms;
        let (over, open) = std::mem::take(&mut self.prober.relayed)
            .into_iter()
            .partition(|relay| now >= relay.ends_at);
        self.prober.relayed = open;
        let over: Vec<Relay> = over;
        for relay in over {
            let (seq, target) = (relay.asker_seq, relay.target);
            self.send(relay.asker, Body::PingFailed { seq, target });
        }
    }

    pub(crate) fn on_ping(&mut self, from: NodeId, seq: u64, wall_ms: u64, updates: &[Update]) {
        self.hear_updates(updates);
        self.hear_wall(from, wall_ms);
        let mut updates = self.members.rumours(Some(from));
        updates.push(self.own_update());
        let wall_ms = self.clock.physical_ms();
        self.send(
            from,
            Body::Pong {
                seq,
                wall_ms,
                updates,
            },
        );
    }

    pub(crate) fn on_pong(&mut self, from: NodeId, seq: u64, wall_ms: u64, updates: &[Update]) {
        self.hear_updates(updates);
        self.hear_wall(from, wall_ms);
        let relay = self
            .prober
            .relayed
            .iter()
            .position(|relay| relay.seq == seq && relay.target == from);
        if let Some(relay) = relay.map(|at| self.prober.relayed.swap_remove(at)) {
            // The asker learns that the target is there from the target's own announcement.
            let updates = vec![self.update_of(from)].into_iter().flatten().collect();
            let (asker, seq) = (relay.asker, relay.asker_seq);
            let wall_ms = self.clock.physical_ms();
            self.send(
                asker,
                Body::Pong {
                    seq,
                    wall_ms,
                    updates,
                },
            );
        }
        if self.prober.current.as_ref().is_some_and(|probe| probe.seq == seq) {
            self.prober.current = None;
            self.prober.health = self.prober.health.saturating_sub(1);
        }
    }

    fn update_of(&self, node: NodeId) -> Option<Update> {
        let peer = self.members.peers.get(&node)?;
        Some(Update {
            announcement: peer.announcement.clone(),
            status: peer.status,
            by: self.owner.node,
        })
    }

    pub(crate) fn on_ping_request(
        &mut self,
        from: NodeId,
        asker_seq: u64,
        target: NodeId,
        updates: &[Update],
    ) {
        self.hear_updates(updates);
        if self.prober.relayed.len() >= RELAYS_MAX || !self.members.peers.contains_key(&target) {
            return;
        }
        let seq = self.next_seq();
        self.prober.relayed.push(Relay {
            asker: from,
            asker_seq,
            target,
            seq,
            ends_at: self.now.steady_ms + self.config.probe_timeout_ms,
        });
        self.send_ping(target, seq);
    }

    pub(crate) fn on_ping_failed(&mut self, seq: u64, target: NodeId) {
        let current = self
            .prober
            .current
            .as_mut()
            .filter(|probe| probe.seq == seq && probe.target == target);
        if let Some(probe) = current {
            probe.failures_told += 1;
        }
    }

    pub(crate) fn hear_updates(&mut self, updates: &[Update]) {
        for update in updates {
            self.believe(update);
        }
    }

    /// Takes in what is said of a node. What is said of this one is denied.
    pub(crate) fn believe(&mut self, update: &Update) {
        let announcement = &update.announcement;
        let own = announcement.node == self.owner.node;
        let held = self.members.peers.get(&announcement.node);
        let held = held
            .map(|peer| &peer.announcement)
            .or(own.then_some(&self.announcement));
        if held != Some(announcement) && !self.is_genuine(announcement) {
            self.event(Event::Refused(announcement.node));
            return;
        }
        if own {
            self.deny(update);
            return;
        }
        let node = announcement.node;
        match self.members.apply(update, self.now.steady_ms) {
            Change::Nothing | Change::Renewed => {}
            Change::Alive => {
                self.event(Event::Alive(node));
                self.hints.wake(node);
                self.hurry_repair();
            }
            Change::Suspected => self.event(Event::Suspected(node)),
            Change::Dead => self.event(Event::Dead(node)),
            Change::Left => self.event(Event::Left(node)),
        }
    }

    /// Whether the node that an announcement speaks for has made it.
    pub(crate) fn is_genuine(&self, announcement: &Announcement) -> bool {
        announcement.is_genuine(self.config.cluster, &*self.identity) || self.has_bug(Bug::BelieveAnybody)
    }

    fn deny(&mut self, update: &Update) {
        let ours = &self.announcement;
        let about_this_run =
            update.announcement.copy == ours.copy && update.announcement.order() >= ours.order();
        if update.status == Status::Alive
            || !about_this_run
            || ours.leaving
            || self.announcement.denied == u32::MAX
        {
            return;
        }
        // Being accused wrongly is a hint that this node is slow.
        self.prober.health = (self.prober.health + 1).min(HEALTH_MAX);
        let denied = self.announcement.denied.max(update.announcement.denied);
        self.announcement.denied = denied.saturating_add(1);
        self.announcement = self.announcement.clone().sign(&*self.identity);
        let update = self.own_update();
        self.members.spread(update);
    }

    pub(crate) fn own_update(&self) -> Update {
        Update {
            announcement: self.announcement.clone(),
            status: Status::Alive,
            by: self.owner.node,
        }
    }

    /// Tells the peers that this node is about to stop, so that nobody waits for it.
    pub(crate) fn say_goodbye(&mut self) {
        self.announcement.leaving = true;
        self.announcement = self.announcement.clone().sign(&*self.identity);
        let seq = self.next_seq();
        let peers: Vec<NodeId> = self.members.peers.keys().copied().collect();
        for node in peers {
            let (updates, wall_ms) = (vec![self.own_update()], self.clock.physical_ms());
            self.send_to(
                To::Node(node),
                Body::Ping {
                    seq,
                    wall_ms,
                    updates,
                },
            );
        }
    }
}
