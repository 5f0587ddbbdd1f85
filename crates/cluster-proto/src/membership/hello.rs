//! Coming back: a node that was started asks a majority whether its data is the latest that they know of, before it serves.
//!
//! A start is numbered, and no message carries a time beyond what is stored. So peers that remember a later start of the same files, or a later time, know that these files are an old copy;
//! then the node begins again with an empty copy under a new name, which counts for nothing until a layout takes it in. Clocks are compared on the same occasion.

use std::collections::{BTreeMap, BTreeSet};

use super::announcement::{Announcement, Status, Update};
use super::table::Known;
use crate::codec::Wire;
use crate::effect::{Event, To};
use crate::id::{CopyId, NodeId};
use crate::message::{Body, Verdict};
use crate::node::{Node, Pending, meta};
use crate::store::StoreOp;

/// Whether this node may serve.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// Its state of before is the latest, as a majority says.
    pub(crate) confirmed: bool,
    /// What it says of itself is stored.
    pub(crate) stored: bool,
    /// Its clock agrees with the others'.
    pub(crate) clock_refused: bool,
    /// It told the host that it is ready.
    told: bool,
    answers: BTreeSet<NodeId>,
    /// By how much the wall clocks of others differ from this node's, and when that was heard.
    offsets: BTreeMap<NodeId, (i64, u64)>,
    next_at: u64,
    /// The copy is being replaced by an empty one; so many partitions are still to be cleared.
    pub(crate) renewing: Option<usize>,
}

const KNOWN_MAX: usize = 8192;
/// For how many probe intervals the clock of a peer is remembered.
const OFFSET_LIFE: u64 = 20;
const OFFSETS_MAX: usize = 1024;

impl Node {
    /// Whether it serves requests for data.
    pub(crate) fn is_ready(&self) -> bool {
        self.standing.stored
            && self.standing.confirmed
            && self.standing.renewing.is_none()
            && !self.standing.clock_refused
            && self.clock.has_caught_up()
    }

    pub(crate) fn tick_standing(&mut self) {
        self.judge_clock();
        if !self.standing.stored || self.standing.renewing.is_some() {
            return;
        }
        if !self.standing.confirmed {
            self.confirm();
            if self.now.steady_ms >= self.standing.next_at {
                self.standing.next_at = self.now.steady_ms + self.config.resend_ms;
                self.say_hello();
            }
        }
        if self.is_ready() && !self.standing.told {
            self.standing.told = true;
            self.event(Event::Ready);
            self.hurry_repair();
        }
    }

    fn say_hello(&mut self) {
        let Some(layout) = self.layout.clone() else { return };
        for node in layout.nodes() {
            if node != self.owner.node && !self.standing.answers.contains(&node) {
                let (announcement, ceiling) = (self.announcement.clone(), self.started_at);
                self.send(
                    node,
                    Body::Hello {
                        announcement,
                        ceiling,
                    },
                );
            }
        }
    }

    /// Confirmed once a majority of the members know this start, the node itself among them if it counts.
    fn confirm(&mut self) {
        let Some(layout) = &self.layout else { return };
        let voters = layout.voters();
        let known = |node: NodeId| node == self.owner.node || self.standing.answers.contains(&node);
        let count = voters.iter().filter(|owner| known(owner.node)).count();
        self.standing.confirmed = count > voters.len() / 2;
    }

    pub(crate) fn on_hello(&mut self, from: NodeId, announcement: &Announcement, ceiling: u64) {
        if announcement.node != from || !self.is_genuine(announcement) {
            self.event(Event::Refused(from));
            return;
        }
        let (owner, boot) = (announcement.owner(), announcement.boot);
        let wall_ms = self.clock.physical_ms();
        let before = self.members.known.get(&owner).copied();
        let unknown = before.is_none() && self.members.known.len() >= KNOWN_MAX;
        if !self.standing.stored || unknown {
            return;
        }
        let mut members = self.members.all();
        members.push(self.own_update());
        if before.is_some_and(|known| !known.admits(announcement, ceiling))
            && !self.has_bug(crate::bugs::Bug::OldCopyVotes)
        {
            let verdict = Verdict::Outdated;
            self.send(
                from,
                Body::HelloAnswer {
                    boot,
                    verdict,
                    wall_ms,
                    members,
                },
            );
            return;
        }
        let known = Known {
            boot,
            run: announcement.run,
            heard: before
                .map_or(0, |known| known.heard)
                .max(ceiling.min(self.clock.stamp())),
        };
        self.members.known.insert(owner, known);
        let update = Update {
            announcement: announcement.clone(),
            status: Status::Alive,
            by: from,
        };
        self.believe(&update);
        let verdict = Verdict::Known;
        let answer = Body::HelloAnswer {
            boot,
            verdict,
            wall_ms,
            members,
        };
        let changes = vec![(meta::KNOWN.to_vec(), Some(self.members.known.to_bytes()))];
        self.store(
            StoreOp::Meta { changes },
            Pending::ThenSend(To::Node(from), Box::new(answer)),
        );
    }

    pub(crate) fn on_hello_answer(
        &mut self,
        from: NodeId,
        boot: u64,
        verdict: Verdict,
        wall_ms: u64,
        members: &[Update],
    ) {
        if boot != self.announcement.boot || self.standing.confirmed || self.standing.renewing.is_some() {
            return;
        }
        self.hear_updates(members);
        match verdict {
            Verdict::Known => {
                self.standing.answers.insert(from);
                self.hear_wall(from, wall_ms);
                self.judge_clock();
                self.confirm();
            }
            Verdict::Outdated => self.renew_copy(),
        }
    }

    /// Begins again with nothing: what was here is older than what others were told.
    fn renew_copy(&mut self) {
        let partitions: Vec<_> = self
            .layout
            .iter()
            .flat_map(|layout| layout.all_partitions())
            .collect();
        self.standing.renewing = Some(partitions.len());
        self.standing.confirmed = false;
        self.standing.answers.clear();
        self.forget_all();
        for partition in partitions {
            self.store(StoreOp::Clear { partition }, Pending::RenewCleared);
        }
    }

    pub(crate) fn renew_cleared(&mut self, done: bool) {
        let Some(left) = self.standing.renewing else {
            return;
        };
        if !done {
            // A store that can't forget can't be used. It is tried again at the next start.
            self.standing.stored = false;
            return;
        }
        self.standing.renewing = Some(left - 1);
        if left > 1 {
            return;
        }
        self.owner.copy = CopyId(self.random.number());
        self.announcement.copy = self.owner.copy;
        self.announcement.boot = 1;
        self.announcement.denied = 0;
        self.announcement = self.announcement.clone().sign(&*self.identity);
        let forget = [meta::LAYOUT, meta::VOTE, meta::CAUGHT_UP].map(|name| (name.to_vec(), None));
        let mut changes: Vec<_> = forget.into();
        changes.extend(self.hints.forget_all());
        changes.extend(self.replica.forget_marks());
        changes.push(self.node_record(self.clock.ceiling()));
        self.store(StoreOp::Meta { changes }, Pending::RenewStored);
    }

    pub(crate) fn renew_stored(&mut self, done: bool) {
        self.standing.stored = done;
        if done {
            self.standing.renewing = None;
            self.standing.told = false;
            self.joining.wanted = true;
            self.event(Event::CopyRefused {
                copy: self.owner.copy,
            });
        }
    }

    /// Notes how far the clock of a peer is from this node's own.
    pub(crate) fn hear_wall(&mut self, from: NodeId, wall_ms: u64) {
        let offset = wall_ms as i64 - self.clock.physical_ms() as i64;
        if self.standing.offsets.len() < OFFSETS_MAX || self.standing.offsets.contains_key(&from) {
            self.standing.offsets.insert(from, (offset, self.now.steady_ms));
        }
    }

    /// Follows a jump that the majority made as well, and keeps the node from serving with a clock that is far from theirs.
    fn judge_clock(&mut self) {
        let oldest = self
            .now
            .steady_ms
            .saturating_sub(OFFSET_LIFE * self.config.probe_interval_ms);
        let fresh = |(offset, at): &(i64, u64)| (*at >= oldest).then_some(*offset);
        let offsets: Vec<i64> = self.standing.offsets.values().filter_map(fresh).collect();
        if offsets.is_empty() {
            return;
        }
        let bound = self.config.drift_bound_ms as i64;
        let agree = |to: i64, within: i64| {
            offsets
                .iter()
                .filter(|&&offset| (offset - to).abs() <= within)
                .count()
        };
        let moved = self.now.wall_ms as i64 - self.clock.physical_ms() as i64;
        if moved.abs() > bound / 2 && 2 * agree(moved, bound) > offsets.len() {
            self.clock.follow(self.now);
            for (offset, _) in self.standing.offsets.values_mut() {
                *offset -= moved;
            }
            self.standing.clock_refused = false;
            return;
        }
        let refused = 2 * agree(0, bound) < offsets.len();
        if refused && !self.standing.clock_refused {
            self.event(Event::ClockRefused);
        }
        self.standing.clock_refused = refused;
    }
}
