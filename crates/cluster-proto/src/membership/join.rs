//! Joining: a node that counts in no layout asks the nodes it knows to be taken in.

use std::collections::BTreeMap;

use super::announcement::{Announcement, Status, Update};
use crate::codec::Bytes;
use crate::effect::{Event, To};
use crate::id::{NodeId, Owner};
use crate::layout::{LayoutChange, Member, Phase};
use crate::message::Body;
use crate::node::Node;

#[derive(Debug, Default)]
pub(crate) struct Joining {
    /// Whether this node wants to be a member if it isn't.
    pub(crate) wanted: bool,
    pub(crate) seeds: Vec<Bytes>,
    next_at: u64,
    /// Who asked to be taken in, and when: they are taken in together, so that none is kept out by another.
    asked: BTreeMap<NodeId, (Member, u64)>,
}

/// Nodes that are taken in at once.
const ASKED_MAX: usize = 64;

impl Node {
    pub(crate) fn tick_join(&mut self) {
        let now = self.now.steady_ms;
        let named = self
            .layout
            .as_ref()
            .and_then(|layout| layout.current.members.get(&self.owner.node));
        let member = named.is_some_and(|member| member.copy == self.owner.copy);
        // A layout that waits for a copy that is gone has to hear of it, whether the node asked to be in it or not.
        let wanted = self.joining.wanted || named.is_some();
        if !wanted || member || !self.standing.stored || now < self.joining.next_at {
            return;
        }
        self.joining.next_at = now + 2 * self.config.resend_ms;
        let body = Body::Join {
            announcement: self.announcement.clone(),
            weight: self.config.weight,
            zone: self.config.zone,
        };
        for seed in self.joining.seeds.clone() {
            self.send_to(To::Address(seed), body.clone());
        }
        let peers: Vec<NodeId> = self.members.peers.keys().copied().collect();
        if let Some(&peer) = self.random.pick(&peers) {
            self.send(peer, body);
        }
    }

    pub(crate) fn on_join(&mut self, from: NodeId, announcement: &Announcement, weight: u32, zone: u32) {
        if announcement.node != from || !self.is_genuine(announcement) {
            self.event(Event::Refused(from));
            return;
        }
        let update = Update {
            announcement: announcement.clone(),
            status: Status::Alive,
            by: from,
        };
        self.believe(&update);
        let updates = self.members.all();
        let (seq, wall_ms) = (0, self.clock.physical_ms());
        self.send(
            from,
            Body::Ping {
                seq,
                wall_ms,
                updates,
            },
        );
        let Some(layout) = self.layout.clone() else { return };
        let named = layout.current.members.get(&from);
        if named.is_some_and(|member| member.copy == announcement.copy) {
            self.send(
                from,
                Body::LayoutIs {
                    layout: Box::new((*layout).clone()),
                },
            );
            return;
        }
        let member = Member {
            copy: announcement.copy,
            weight: weight.max(1),
            zone,
            address: announcement.address.clone(),
        };
        let now = self.now.steady_ms;
        let patience = 6 * self.config.resend_ms;
        self.joining.asked.retain(|_, (_, at)| *at + patience > now);
        // A copy that was moving in is gone: nothing would ever come of that move.
        let gone = named.map(|member| Owner {
            node: from,
            copy: member.copy,
        });
        let lost = gone.is_some_and(|gone| layout.gainers().contains(&gone));
        if self.joining.asked.len() < ASKED_MAX {
            self.joining.asked.insert(from, (member, now));
        }
        let asked = self.joining.asked.iter();
        let members = LayoutChange::Members {
            join: asked.map(|(&node, (member, _))| (node, member.clone())).collect(),
            leave: Vec::new(),
        };
        let change = if lost && layout.phase == Phase::Moving {
            LayoutChange::Abort
        } else {
            members
        };
        // If another change is going on, the node will ask again.
        if self.is_ready() && layout.voters().contains(&self.owner) {
            let _ = self.propose_change(&change, None);
        }
    }
}
