//! Agreeing on the next layout: for each version one decision (single-decree Paxos) among the members of the version before.
//!
//! Nobody votes on a version without having the one before, and what was promised or accepted is stored before it is said. So there is never more than one layout of a version.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Layout, LayoutChange, LayoutError};
use crate::client::{Error, Reply};
use crate::clock::Version;
use crate::codec::{Wire, wire_struct};
use crate::effect::{Event, To};
use crate::entry::Ballot;
use crate::id::{ClientToken, NodeId, Owner};
use crate::message::Body;
use crate::node::{Node, Pending, meta};
use crate::store::StoreOp;

/// A layout that was accepted under a ballot.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// The ballot.
    pub ballot: Ballot,
    /// What was accepted.
    pub layout: Box<Layout>,
}

wire_struct!(Accepted { ballot, layout });

/// What this node has promised and accepted about the next version.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vote {
    version: u64,
    promised: Ballot,
    accepted: Option<Accepted>,
}

wire_struct!(Vote {
    version,
    promised,
    accepted
});

/// A decision that this node tries to bring about.
#[derive(Debug)]
pub(crate) struct Decision {
    ballot: Ballot,
    layout: Layout,
    /// Who asked for it, if the layout is what he asked for.
    client: Option<ClientToken>,
    promises: BTreeMap<Owner, Option<Accepted>>,
    accepting: bool,
    accepted: BTreeSet<Owner>,
    resend_at: u64,
    restart_at: u64,
    ends_at: u64,
}

impl Node {
    /// Tries to bring about a change of the layout.
    pub(crate) fn propose_change(
        &mut self,
        change: &LayoutChange,
        client: Option<ClientToken>,
    ) -> Result<(), Error> {
        let Some(layout) = self
            .layout
            .clone()
            .filter(|_| self.is_ready() && self.installing.is_none())
        else {
            return Err(Error::NotReady);
        };
        if self.decision.is_some() {
            return Err(LayoutError::Busy.into());
        }
        let next = layout.changed(change)?;
        self.propose(next, client)
    }

    pub(crate) fn propose(&mut self, next: Layout, client: Option<ClientToken>) -> Result<(), Error> {
        let ballot = self.issue_version()?;
        let now = self.now.steady_ms;
        self.decision = Some(Decision {
            ballot,
            layout: next,
            client,
            promises: BTreeMap::new(),
            accepting: false,
            accepted: BTreeSet::new(),
            resend_at: now + self.config.resend_ms,
            restart_at: now + 2 * self.config.resend_ms + self.random.below(2 * self.config.resend_ms),
            ends_at: now + self.config.request_timeout_ms,
        });
        self.ask_voters();
        Ok(())
    }

    fn ask_voters(&mut self) {
        let (Some(layout), Some(decision)) = (self.layout.clone(), &self.decision) else {
            return;
        };
        let (ballot, version) = (decision.ballot, decision.layout.version);
        let body = if decision.accepting {
            Body::LayoutAccept {
                ballot,
                layout: Box::new(decision.layout.clone()),
            }
        } else {
            Body::LayoutPrepare { version, ballot }
        };
        for voter in layout.voters() {
            let decision = self.decision.as_ref().expect("it was there");
            let answered = if decision.accepting {
                decision.accepted.contains(&voter)
            } else {
                decision.promises.contains_key(&voter)
            };
            if !answered {
                self.send(voter.node, body.clone());
            }
        }
    }

    pub(crate) fn tick_decision(&mut self) {
        let now = self.now.steady_ms;
        let Some(decision) = &mut self.decision else {
            return;
        };
        if now >= decision.ends_at {
            let client = decision.client;
            self.decision = None;
            self.answer_proposer(client, Err(Error::Unknown));
        } else if now >= decision.restart_at {
            // A greater ballot: others may be in the way, and then wait for another random time.
            let (layout, client, ends_at) = (decision.layout.clone(), decision.client, decision.ends_at);
            self.decision = None;
            if self.propose(layout, client).is_err() {
                self.answer_proposer(client, Err(Error::Unknown));
            } else if let Some(decision) = &mut self.decision {
                decision.ends_at = ends_at;
            }
        } else if now >= decision.resend_at {
            decision.resend_at = now + self.config.resend_ms;
            self.ask_voters();
        }
    }

    fn answer_proposer(&mut self, client: Option<ClientToken>, result: Result<u64, Error>) {
        if let Some(client) = client {
            let reply = match result {
                Ok(version) => Reply::LayoutChanged { version },
                Err(error) => Reply::Failed(error),
            };
            self.reply(client, reply);
        }
    }

    /// Whether this node may vote on that version: it has the one before, and counts in it.
    fn votes_on(&self, version: u64) -> bool {
        self.is_ready()
            && self.installing.is_none()
            && self
                .layout
                .as_ref()
                .is_some_and(|layout| layout.version + 1 == version && layout.voters().contains(&self.owner))
    }

    fn vote_on(&mut self, version: u64) -> &mut Vote {
        if self.vote.version != version {
            self.vote = Vote {
                version,
                ..Vote::default()
            };
        }
        &mut self.vote
    }

    fn store_vote(&mut self, to: NodeId, answer: Body) {
        let changes = vec![(meta::VOTE.to_vec(), Some(self.vote.to_bytes()))];
        self.store(
            StoreOp::Meta { changes },
            Pending::ThenSend(To::Node(to), Box::new(answer)),
        );
    }

    pub(crate) fn on_layout_prepare(&mut self, from: NodeId, version: u64, ballot: Ballot) {
        if !self.votes_on(version) || self.clock.is_ahead(ballot.stamp) {
            return;
        }
        let vote = self.vote_on(version);
        if ballot < vote.promised {
            let promised = vote.promised;
            self.send(from, Body::LayoutOutbid { version, promised });
            return;
        }
        vote.promised = ballot;
        let accepted = vote.accepted.clone();
        self.store_vote(
            from,
            Body::LayoutPromise {
                version,
                ballot,
                accepted,
            },
        );
    }

    pub(crate) fn on_layout_accept(&mut self, from: NodeId, ballot: Ballot, layout: Layout) {
        let version = layout.version;
        if !self.votes_on(version) || self.clock.is_ahead(ballot.stamp) {
            return;
        }
        let vote = self.vote_on(version);
        if ballot < vote.promised {
            let promised = vote.promised;
            self.send(from, Body::LayoutOutbid { version, promised });
            return;
        }
        vote.promised = ballot;
        let layout = Box::new(layout);
        vote.accepted = Some(Accepted { ballot, layout });
        self.store_vote(from, Body::LayoutAccepted { version, ballot });
    }

    pub(crate) fn on_layout_promise(
        &mut self,
        from: Owner,
        version: u64,
        ballot: Ballot,
        accepted: Option<Accepted>,
    ) {
        let Some(layout) = self.layout.clone() else { return };
        let voters = layout.voters();
        let Some(decision) = &mut self.decision else {
            return;
        };
        let ours = decision.ballot == ballot && decision.layout.version == version && !decision.accepting;
        if !ours || !voters.contains(&from) {
            return;
        }
        decision.promises.insert(from, accepted);
        if decision.promises.len() <= voters.len() / 2 {
            return;
        }
        // What was accepted under the greatest ballot may have been decided: it must be proposed again.
        let before = decision
            .promises
            .values()
            .flatten()
            .max_by_key(|accepted| accepted.ballot)
            .cloned();
        decision.accepting = true;
        let mut lost = None;
        if let Some(before) = before
            && *before.layout != decision.layout
        {
            decision.layout = *before.layout;
            lost = decision.client.take();
        }
        self.answer_proposer(lost, Err(LayoutError::Busy.into()));
        self.ask_voters();
    }

    pub(crate) fn on_layout_accepted(&mut self, from: Owner, version: u64, ballot: Ballot) {
        let Some(layout) = self.layout.clone() else { return };
        let voters = layout.voters();
        let Some(decision) = &mut self.decision else {
            return;
        };
        let ours = decision.ballot == ballot && decision.layout.version == version && decision.accepting;
        if !ours || !voters.contains(&from) {
            return;
        }
        decision.accepted.insert(from);
        if decision.accepted.len() <= voters.len() / 2 {
            return;
        }
        let Some(decision) = self.decision.take() else {
            return;
        };
        self.answer_proposer(decision.client, Ok(version));
        let told: BTreeSet<NodeId> = layout.nodes().union(&decision.layout.nodes()).copied().collect();
        for node in told {
            let layout = Box::new(decision.layout.clone());
            self.send(node, Body::LayoutIs { layout });
        }
    }

    pub(crate) fn on_layout_outbid(&mut self, version: u64, promised: Version) {
        let now = self.now.steady_ms;
        let backoff = self.random.below(2 * self.config.resend_ms);
        if self.clock.observe(promised.stamp).is_err() {
            return;
        }
        if let Some(decision) = self
            .decision
            .as_mut()
            .filter(|decision| decision.layout.version == version)
            && decision.ballot < promised
        {
            decision.restart_at = decision.restart_at.min(now + backoff);
        }
    }

    /// Another version in an envelope: ask for the newer one, or offer it.
    pub(crate) fn compare_layouts(&mut self, from: NodeId, version: u64) {
        let ours = self.layout.as_ref().map_or(0, |layout| layout.version);
        let coming = self.installing.as_ref().map_or(0, |(layout, _)| layout.version);
        let now = self.now.steady_ms;
        if version > ours.max(coming) && now >= self.movement.fetch_at {
            self.movement.fetch_at = now + self.config.resend_ms / 4;
            self.send(from, Body::LayoutFetch);
        }
    }

    pub(crate) fn on_layout_fetch(&mut self, from: NodeId) {
        if let Some(layout) = self.layout.clone() {
            let layout = Box::new((*layout).clone());
            self.send(from, Body::LayoutIs { layout });
        }
    }

    /// Installs a decided layout: first what is not owned any more, or not yet, is forgotten, then the layout is stored, then it counts.
    pub(crate) fn on_layout_is(&mut self, layout: Layout) {
        let ours = self.layout.as_ref().map_or(0, |layout| layout.version);
        if layout.version <= ours
            || self.installing.is_some()
            || !self.standing.stored
            || self.standing.renewing.is_some()
        {
            return;
        }
        let gained = if layout.phase == super::Phase::Moving {
            layout.gained(self.owner)
        } else {
            Vec::new()
        };
        let owned = |layout: &Layout, partition| layout.is_owner(self.owner, partition);
        let before = self.layout.clone();
        let lost = |partition| {
            before.as_ref().is_some_and(|before| owned(before, partition)) && !owned(&layout, partition)
        };
        let clear: Vec<_> = layout
            .all_partitions()
            .filter(|&partition| gained.contains(&partition) || lost(partition))
            .collect();
        // What is compared with peers now must not get into what is cleared.
        self.repair.forget_sessions();
        self.installs += 1;
        let attempt = self.installs;
        self.installing = Some((Arc::new(layout), clear.len()));
        self.replica.cleared(&clear);
        for &partition in &clear {
            self.store(StoreOp::Clear { partition }, Pending::LayoutCleared(attempt));
        }
        if clear.is_empty() {
            self.store_layout();
        }
    }

    pub(crate) fn layout_cleared(&mut self, attempt: u64, done: bool) {
        if attempt != self.installs {
            return;
        }
        let Some((_, left)) = self.installing.as_mut() else {
            return;
        };
        if !done {
            // It will be fetched and tried again.
            self.installing = None;
            return;
        }
        *left -= 1;
        if *left == 0 {
            self.store_layout();
        }
    }

    fn store_layout(&mut self) {
        let Some((layout, _)) = &self.installing else {
            return;
        };
        let attempt = self.installs;
        let mut changes = vec![(meta::LAYOUT.to_vec(), Some(layout.to_bytes()))];
        changes.extend(self.replica.forget_cleared_marks());
        self.store(StoreOp::Meta { changes }, Pending::LayoutStored(attempt));
    }

    pub(crate) fn layout_stored(&mut self, attempt: u64, done: bool) {
        let Some((layout, _)) = self.installing.take_if(|_| attempt == self.installs) else {
            return;
        };
        let version = layout.version;
        if !done {
            return;
        }
        if let Some(decision) = self
            .decision
            .take_if(|decision| decision.layout.version <= version)
        {
            let same = decision.layout == *layout;
            let result = if same {
                Ok(version)
            } else {
                Err(LayoutError::Busy.into())
            };
            self.answer_proposer(decision.client, result);
        }
        // Whoever was a member and was sent away does not ask to come back by itself.
        let names = |side: &super::Assignment| side.members.contains_key(&self.owner.node);
        let was = self
            .layout
            .as_ref()
            .is_some_and(|before| before.phase == super::Phase::Stable && names(&before.current));
        if was && !names(&layout.current) {
            self.joining.wanted = false;
        }
        self.layout = Some(layout.clone());
        self.replica.own(&layout, self.owner);
        self.begin_movement(&layout);
        self.repair.forget_sessions();
        self.replan();
        self.event(Event::Layout { version });
        self.tell_progress();
    }
}
