//! Moving partitions: new owners fetch what they gained from enough of the old ones, and all say how far they are, until somebody proposes the next step.
//!
//! A partition is fetched page by page, from so many old owners that every acknowledged write is on one of them. They all have this layout by then, so
//! writers of the layout before come to nothing, and writers of this one reach the new owner as well. A few partitions move at a time, at the pace of [repair](crate::repair).
//!
//! Before all that, a new owner asks how far deletions are settled. Those have been forgotten by then, so without the mark it would take an old write that all others refuse; until it knows, it
//! takes none. One old owner's word will do: nothing was forgotten before all of them had settled it, and with this layout no round of the one before goes on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::{Layout, Phase};
use crate::bugs::Bug;
use crate::clock::Version;
use crate::codec::{Bytes, Wire};
use crate::effect::Event;
use crate::entry::Entry;
use crate::id::{NodeId, Owner, Partition, RequestId};
use crate::message::Body;
use crate::node::{Node, Pending, meta};
use crate::store::{Change, Completion, StoreOp};

#[derive(Debug)]
pub(crate) struct Movement {
    version: u64,
    waiting: VecDeque<Partition>,
    fetching: BTreeMap<Partition, Fetch>,
    /// The version for which this node has everything.
    caught_up: u64,
    storing: bool,
    /// What the others said: the version they have, and whether they have everything.
    progress: BTreeMap<Owner, (u64, bool)>,
    tell_at: u64,
    advance_at: u64,
    pub(crate) fetch_at: u64,
    /// Partitions of which it is not known how far they are settled.
    unmarked: BTreeSet<Partition>,
    ask_marks_at: u64,
}

/// One partition on its way here.
#[derive(Debug)]
struct Fetch {
    sources: BTreeMap<Owner, Source>,
    needed: usize,
    resend_at: u64,
}

#[derive(Debug, Default)]
struct Source {
    request: Option<RequestId>,
    after: Option<Bytes>,
    /// The page at hand is being applied; whether it is the last one.
    applying: Option<bool>,
    /// The next page is asked for when the pace of repair allows it.
    held_back: bool,
    done: bool,
}

impl Movement {
    pub(crate) fn new(caught_up: u64) -> Movement {
        Movement {
            version: 0,
            waiting: VecDeque::new(),
            fetching: BTreeMap::new(),
            caught_up,
            storing: false,
            progress: BTreeMap::new(),
            tell_at: 0,
            advance_at: 0,
            fetch_at: 0,
            unmarked: BTreeSet::new(),
            ask_marks_at: 0,
        }
    }

    /// Partitions that are not here yet.
    pub(crate) fn left(&self) -> usize {
        self.waiting.len() + self.fetching.len()
    }

    /// Whether it is not known yet which writes are too old for the partition.
    pub(crate) fn is_unmarked(&self, partition: Partition) -> bool {
        self.unmarked.contains(&partition)
    }
}

impl Node {
    pub(crate) fn begin_movement(&mut self, layout: &Arc<Layout>) {
        let caught_up = self.movement.caught_up;
        let progress = std::mem::take(&mut self.movement.progress);
        self.movement = Movement {
            version: layout.version,
            progress,
            ..Movement::new(caught_up)
        };
        if layout.phase != Phase::Moving || caught_up >= layout.version {
            return;
        }
        let gained = layout.gained(self.owner);
        if !self.has_bug(Bug::BlankMarks) {
            self.movement.unmarked = gained.iter().copied().collect();
        }
        if !self.has_bug(Bug::NoTransfer) {
            self.movement.waiting = gained.into();
        }
    }

    pub(crate) fn tick_layout(&mut self) {
        self.tick_decision();
        let Some(layout) = self
            .layout
            .clone()
            .filter(|_| self.is_ready() && self.installing.is_none())
        else {
            return;
        };
        let now = self.now.steady_ms;
        if layout.phase == Phase::Moving {
            self.ask_marks(&layout);
            self.start_fetches(&layout);
            self.resend_pulls();
            self.finish_fetching(&layout);
        }
        if now >= self.movement.tell_at {
            // In a stable layout this only tells who was away that there is a newer one; probes do so as well.
            let pause = if layout.phase == Phase::Stable { 8 } else { 1 };
            self.movement.tell_at = now + pause * self.config.resend_ms;
            self.tell_progress();
        }
        if now >= self.movement.advance_at && layout.phase != Phase::Stable {
            self.movement.advance_at =
                now + self.config.resend_ms / 2 + self.random.below(self.config.resend_ms);
            self.advance_layout(&layout);
        }
    }

    /// Asks every old owner of partitions whose marks are not known yet.
    fn ask_marks(&mut self, layout: &Layout) {
        let now = self.now.steady_ms;
        let Some(old) = layout.old.as_ref().filter(|_| now >= self.movement.ask_marks_at) else {
            return;
        };
        self.movement.ask_marks_at = now + self.config.resend_ms / 8;
        let mut asked: BTreeMap<NodeId, Vec<Partition>> = BTreeMap::new();
        for &partition in &self.movement.unmarked {
            for owner in old.owners_of(partition) {
                asked.entry(owner.node).or_default().push(partition);
            }
        }
        for (node, partitions) in asked {
            let request = self.next_request();
            self.send(node, Body::AskMarks { request, partitions });
        }
    }

    /// Says how far partitions are settled that this node owned before they began to move.
    pub(crate) fn serve_marks(&mut self, from: NodeId, request: RequestId, partitions: &[Partition]) {
        let Some(layout) = self.layout.clone() else { return };
        let count = layout.partitions();
        let owned = |partition: &&Partition| {
            usize::from(partition.0) < count && layout.readers(**partition).contains(&self.owner)
        };
        let marks = partitions
            .iter()
            .take(count)
            .filter(owned)
            .map(|&partition| (partition, self.replica.marks(partition).settled))
            .collect();
        self.send(from, Body::MarksAre { request, marks });
    }

    pub(crate) fn on_marks_are(&mut self, from: Owner, version: u64, marks: Vec<(Partition, Version)>) {
        let Some(layout) = self
            .layout
            .clone()
            .filter(|layout| layout.version == version && self.movement.version == version)
        else {
            return;
        };
        for (partition, settled) in marks {
            let owned = self.movement.is_unmarked(partition) && layout.readers(partition).contains(&from);
            if !owned || self.clock.is_ahead(settled.stamp) {
                continue;
            }
            self.movement.unmarked.remove(&partition);
            // Stored when everything is here; after a restart before that, it is asked for again.
            let _ = self.replica.mark(partition, |marks| {
                marks.settled = marks.settled.max(settled);
                marks.sealed = marks.sealed.max(marks.settled);
            });
        }
    }

    fn start_fetches(&mut self, layout: &Layout) {
        while self.movement.fetching.len() < self.config.transfers_max {
            let Some(partition) = self.movement.waiting.pop_front() else {
                return;
            };
            let Some(old) = &layout.old else { return };
            let sources: BTreeMap<Owner, Source> = old
                .owners_of(partition)
                .into_iter()
                .map(|owner| (owner, Source::default()))
                .collect();
            let fetch = Fetch {
                needed: layout.meets_writes(sources.len()),
                sources,
                resend_at: 0,
            };
            self.movement.fetching.insert(partition, fetch);
        }
    }

    /// Asks sources for their next page: those that are thought to be there, and after a while all that have not answered.
    fn resend_pulls(&mut self) {
        let now = self.now.steady_ms;
        let mut pulls: Vec<(Owner, Partition)> = Vec::new();
        for (&partition, fetch) in &mut self.movement.fetching {
            let due = now >= fetch.resend_at;
            if due {
                fetch.resend_at = now + self.config.resend_ms;
            }
            let open = |(_, source): &(&Owner, &Source)| {
                let waits = !source.done && source.applying.is_none();
                waits && (due || source.held_back)
            };
            let open = fetch.sources.iter().filter(open);
            pulls.extend(open.map(|(&owner, _)| (owner, partition)));
        }
        for (owner, partition) in pulls {
            self.pull(owner, partition);
        }
    }

    fn pull(&mut self, owner: Owner, partition: Partition) {
        let request = self.next_request();
        let allowed = self.repair.pace.allows();
        let source = self
            .movement
            .fetching
            .get_mut(&partition)
            .and_then(|fetch| fetch.sources.get_mut(&owner));
        if let Some(source) = source {
            source.held_back = !allowed;
            if !allowed {
                return;
            }
            source.request = Some(request);
            let after = source.after.clone();
            self.send(
                owner.node,
                Body::Pull {
                    request,
                    partition,
                    after,
                },
            );
        }
    }

    pub(crate) fn on_pulled(
        &mut self,
        from: Owner,
        version: u64,
        request: RequestId,
        entries: Vec<(Bytes, Entry)>,
        done: bool,
    ) {
        if version != self.movement.version || self.installing.is_some() {
            return;
        }
        for (&partition, fetch) in &mut self.movement.fetching {
            let Some(source) = fetch
                .sources
                .get_mut(&from)
                .filter(|source| source.request == Some(request))
            else {
                continue;
            };
            source.request = None;
            source.applying = Some(done);
            if let Some((last, _)) = entries.last() {
                source.after = Some(last.clone());
            }
            self.stats.transferred += entries.len() as u64;
            let size: usize = entries.iter().map(|(key, entry)| key.len() + entry.size()).sum();
            self.repair.pace.spend(size);
            let changes = entries
                .into_iter()
                .map(|(key, entry)| (key, Change::Merge(entry)))
                .collect();
            self.replica_merge(partition, changes, Pending::Transferred(partition, version, from));
            return;
        }
    }

    /// A page is applied: on to the next one.
    pub(crate) fn transferred(
        &mut self,
        partition: Partition,
        version: u64,
        from: Owner,
        completion: &Completion,
    ) {
        if version != self.movement.version {
            return;
        }
        let Some(fetch) = self.movement.fetching.get_mut(&partition) else {
            return;
        };
        if *completion == Completion::Failed {
            // Nothing of that partition counts: it is fetched again from the start.
            self.movement.fetching.remove(&partition);
            self.movement.waiting.push_back(partition);
            return;
        }
        let Some(source) = fetch.sources.get_mut(&from) else {
            return;
        };
        let last = source.applying.take().unwrap_or_default();
        source.done |= last;
        let finished = fetch.sources.values().filter(|source| source.done).count() >= fetch.needed;
        if finished {
            self.movement.fetching.remove(&partition);
        } else if !last {
            self.pull(from, partition);
        }
    }

    fn finish_fetching(&mut self, layout: &Layout) {
        let movement = &mut self.movement;
        let open = movement.left() > 0 || !movement.unmarked.is_empty();
        if open || movement.storing || movement.caught_up >= movement.version {
            return;
        }
        movement.storing = true;
        let version = movement.version;
        let mut changes = vec![(meta::CAUGHT_UP.to_vec(), Some(version.to_bytes()))];
        for partition in layout.gained(self.owner) {
            changes.extend(self.replica.mark(partition, |_| {}));
        }
        self.store(StoreOp::Meta { changes }, Pending::CaughtUpStored(version));
    }

    pub(crate) fn caught_up_stored(&mut self, version: u64, done: bool) {
        self.movement.storing = false;
        if done && version == self.movement.version {
            self.movement.caught_up = version;
            self.event(Event::CaughtUp { version });
            self.tell_progress();
        }
    }

    pub(crate) fn tell_progress(&mut self) {
        let Some(layout) = self.layout.clone() else { return };
        let caught_up = layout.phase != Phase::Moving || self.movement.caught_up >= layout.version;
        let nodes: BTreeSet<NodeId> = layout.nodes();
        for node in nodes {
            self.send(node, Body::LayoutProgress { caught_up });
        }
    }

    pub(crate) fn on_layout_progress(&mut self, from: Owner, version: u64, caught_up: bool) {
        let Some(layout) = &self.layout else { return };
        if layout.knows(from) {
            self.movement.progress.insert(from, (version, caught_up));
        }
        if version < layout.version && from.node != self.owner.node {
            let layout = Box::new((**layout).clone());
            self.send(from.node, Body::LayoutIs { layout });
        }
    }

    /// Proposes the next step when all that it waits for has happened.
    fn advance_layout(&mut self, layout: &Layout) {
        if self.decision.is_some() || !layout.voters().contains(&self.owner) {
            return;
        }
        let has = |owner: &Owner| {
            self.movement
                .progress
                .get(owner)
                .filter(|(version, _)| *version >= layout.version)
        };
        let complete = match layout.phase {
            Phase::Stable => false,
            Phase::Moving => layout
                .gainers()
                .iter()
                .all(|owner| has(owner).is_some_and(|&(_, caught_up)| caught_up)),
            Phase::Settling => {
                let old = layout
                    .old
                    .iter()
                    .flat_map(|old| layout.all_partitions().map(|p| (p, old.owners_of(p))));
                let mut moved = old.filter(|(partition, _)| layout.writers(*partition).len() > 1);
                moved.all(|(_, owners)| {
                    let know = owners.iter().filter(|owner| has(owner).is_some()).count();
                    know >= layout.meets_reads(owners.len())
                })
            }
        };
        if complete && let Some(next) = layout.advanced() {
            // If the clock gives no ballot yet, the next tick asks again.
            let _ = self.propose(next, None);
        }
    }
}
