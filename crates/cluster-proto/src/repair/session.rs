//! A session: one partition is compared with one other owner's, and both get what the other has that is newer.
//!
//! Sums tell whether anything differs, in which leaves, and by how much. Where clients write there is always something on its way to one of the two, so a difference counts only if it stands: a little later the sums are looked at again. A leaf that
//! is equal then is done with, as everything that was there at first is now at both. One that differs by as much as before lacks something; one that differs by something else is being written, and is looked at again, [`LOOKS_MAX`] times in all. Then this node goes through its keys in order, page by page, says which ranks it has in those leaves, gets what is newer, and sends what is wanted. The price is that both
//! read the whole partition once, however little differs; what travels is little. Pages are asked for as the [`pace`](super::pace) allows.

use super::{COMPARISON_BYTES, RepairPending, SESSIONS_MAX};
use crate::clock::Version;
use crate::codec::Bytes;
use crate::entry::Entry;
use crate::id::{NodeId, Owner, Partition, RequestId};
use crate::message::{Body, Origin, Summary, WriteItem, Written};
use crate::node::{Node, Pending};
use crate::store::{Change, Completion, StoreOp};

#[derive(Debug)]
pub(crate) struct Session {
    pub(super) partition: Partition,
    pub(super) peer: Owner,
    request: RequestId,
    /// Part of a round of settling, which wants to know how it ended.
    round: bool,
    look: Look,
    leaves: Vec<u16>,
    after: Option<Bytes>,
    /// What the peer was asked about, up to which key, and whether that was this node's last page.
    asked: (Option<Bytes>, bool),
    /// How far the answer went; set while its parts are carried out.
    covered: Option<Option<Bytes>>,
    /// Parts of the answer that are under way.
    open: usize,
    /// Something could not be applied here or there.
    imperfect: bool,
    /// The peer's start, and where its ring ended, at the first look.
    boot: u64,
    ring: u64,
    /// The next page is asked for when the pace allows it.
    held_back: bool,
    /// Without progress until then it is given up.
    ends_at: u64,
}

/// How often sums are looked at before what differs stands, whatever it is.
const LOOKS_MAX: u8 = 8;

/// Leaves that differed each time, and by how much the last time.
#[derive(Debug)]
struct Seen {
    looks: u8,
    leaves: Vec<(u16, u128)>,
}

impl Seen {
    /// What is left of it after one more look, and whether that stands.
    fn again(&self, differing: Vec<(u16, u128)>) -> (Seen, bool) {
        let before = |leaf: u16| {
            let at = self.leaves.binary_search_by_key(&leaf, |(leaf, _)| *leaf).ok()?;
            Some(self.leaves[at].1)
        };
        let mut stands = self.looks + 1 >= LOOKS_MAX;
        let mut leaves = differing;
        leaves.retain(|(leaf, difference)| {
            let before = before(*leaf);
            stands |= before == Some(*difference);
            before.is_some()
        });
        let looks = self.looks + 1;
        (Seen { looks, leaves }, stands)
    }
}

/// How far looking at the sums has come.
#[derive(Debug)]
enum Look {
    /// They are being looked at for the first time.
    First,
    /// These leaves differed. The next look is due at that time.
    Due(u64, Seen),
    /// It is under way.
    Again(Seen),
    /// What differs stands.
    Over,
}

impl Session {
    /// Whether it waits for its next look, which costs nobody anything.
    pub(super) fn is_resting(&self) -> bool {
        matches!(self.look, Look::Due(..))
    }
}

impl Node {
    pub(super) fn begin_session(&mut self, partition: Partition, peer: Owner, round: bool) -> bool {
        self.want_sums(partition);
        let Some(tree) = self.replica.tree(partition) else {
            return false;
        };
        let root = tree.root;
        let request = self.next_request();
        self.repair.next_session += 1;
        let session = Session {
            partition,
            peer,
            request,
            round,
            look: Look::First,
            leaves: Vec::new(),
            after: None,
            asked: (None, false),
            covered: None,
            open: 0,
            imperfect: false,
            boot: 0,
            ring: 0,
            held_back: false,
            ends_at: self.now.steady_ms + self.config.request_timeout_ms,
        };
        let id = self.repair.next_session;
        self.repair.sessions.insert(id, session);
        self.send(
            peer.node,
            Body::Compare {
                request,
                partition,
                root,
            },
        );
        true
    }

    fn session_of(&self, request: RequestId) -> Option<u64> {
        self.repair
            .sessions
            .iter()
            .find(|(_, session)| session.request == request)
            .map(|(&id, _)| id)
    }

    pub(super) fn expire_sessions(&mut self) {
        let now = self.now.steady_ms;
        let over = self
            .repair
            .sessions
            .iter()
            .filter(|(_, session)| Self::is_over(session, now))
            .map(|(&id, _)| id);
        for id in over.collect::<Vec<u64>>() {
            self.end_session(id, false);
        }
    }

    pub(super) fn end_session_of(&mut self, request: RequestId) {
        if let Some(id) = self.session_of(request) {
            self.end_session(id, false);
        }
    }

    fn end_session(&mut self, id: u64, done: bool) {
        let Some(session) = self.repair.sessions.remove(&id) else {
            return;
        };
        let equal = done && !session.imperfect;
        if !equal && !session.round {
            self.repair.pace.failed(self.now.steady_ms);
        }
        if equal {
            self.confirm_equal(session.peer.node, session.partition, (session.boot, session.ring));
        }
        if session.round {
            self.round_compared(session.partition, session.peer, equal);
        }
    }

    pub(crate) fn on_differ(&mut self, request: RequestId, leaves: &[u128], boot: u64, ring: u64) {
        let Some(id) = self.session_of(request) else {
            return;
        };
        let Some(session) = self.repair.sessions.get_mut(&id) else {
            return;
        };
        // The answer to the last look, once more.
        if session.is_resting() {
            return;
        }
        let (partition, node, round): (Partition, NodeId, bool) =
            (session.partition, session.peer.node, session.round);
        let place = self.hear_ring(node, boot, ring);
        if leaves.is_empty() {
            return self.end_equal(id, boot, ring);
        }
        let Some(tree) = self.replica.tree(partition) else {
            return self.end_session(id, false);
        };
        let differing = tree.differing(leaves);
        let again_at = self.now.steady_ms + self.config.resend_ms / 8;
        let Some(session) = self.repair.sessions.get_mut(&id) else {
            return;
        };
        let (seen, stands) = match &session.look {
            Look::Again(seen) => seen.again(differing),
            Look::First => {
                (session.boot, session.ring) = (boot, ring);
                let leaves = differing;
                (Seen { looks: 1, leaves }, false)
            }
            // The question that was answered is no longer asked.
            Look::Due(..) | Look::Over => return,
        };
        if seen.leaves.is_empty() {
            return self.end_equal(id, boot, ring);
        }
        if !stands {
            session.look = Look::Due(again_at, seen);
            return;
        }
        session.look = Look::Over;
        let leaves: Vec<u16> = seen.leaves.iter().map(|(leaf, _)| *leaf).collect();
        self.stats.differences += 1;
        self.hurry_repair();
        if let Some(since) = place.filter(|_| !round) {
            // The next comparison tells whether that was all.
            self.ask_for_changes(node, since);
            return self.end_session(id, false);
        }
        if let Some(session) = self.repair.sessions.get_mut(&id) {
            session.leaves = leaves;
            self.read_page(id);
        }
    }

    /// Nothing differs that was there at the first look, if the peer has not been started again since.
    fn end_equal(&mut self, id: u64, boot: u64, ring: u64) {
        let Some(session) = self.repair.sessions.get_mut(&id) else {
            return;
        };
        if matches!(session.look, Look::First) {
            (session.boot, session.ring) = (boot, ring);
        }
        let same = session.boot == boot;
        self.end_session(id, same);
    }

    /// Goes on with those that waited for their turn.
    pub(super) fn resume_sessions(&mut self) {
        let held_back = |(&id, session): (&u64, &Session)| session.held_back.then_some(id);
        let ids: Vec<u64> = self.repair.sessions.iter().filter_map(held_back).collect();
        for id in ids {
            if self.repair.pace.allows() {
                self.read_page(id);
            }
        }
        self.look_again();
    }

    /// Looks at sums once more, as far as there is room for what may follow.
    fn look_again(&mut self) {
        let now = self.now.steady_ms;
        let due = |(&id, session): (&u64, &Session)| match session.look {
            Look::Due(at, _) if at <= now => Some(id),
            _ => None,
        };
        let due: Vec<u64> = self.repair.sessions.iter().filter_map(due).collect();
        for id in due
            .into_iter()
            .take(SESSIONS_MAX.saturating_sub(self.repair.working()))
        {
            let request = self.next_request();
            let ends_at = now + self.config.request_timeout_ms;
            let Some(session) = self.repair.sessions.get_mut(&id) else {
                continue;
            };
            let Look::Due(_, seen) = std::mem::replace(&mut session.look, Look::Over) else {
                continue;
            };
            (session.look, session.request, session.ends_at) = (Look::Again(seen), request, ends_at);
            let (partition, node) = (session.partition, session.peer.node);
            let Some(tree) = self.replica.tree(partition) else {
                self.end_session(id, false);
                continue;
            };
            let root = tree.root;
            self.repair.pace.spend(COMPARISON_BYTES);
            self.send(
                node,
                Body::Compare {
                    request,
                    partition,
                    root,
                },
            );
        }
    }

    fn read_page(&mut self, id: u64) {
        let allowed = self.repair.pace.allows();
        let ends_at = self.now.steady_ms + self.config.request_timeout_ms;
        let Some(session) = self.repair.sessions.get_mut(&id) else {
            return;
        };
        session.ends_at = ends_at;
        session.held_back = !allowed;
        if !allowed {
            return;
        }
        let op = StoreOp::ScanPartition {
            partition: session.partition,
            after: session.after.clone(),
            upto: None,
            limit: self.config.page_entries,
            bytes: self.config.page_bytes,
        };
        self.repair_store(op, RepairPending::Page(id));
    }

    pub(super) fn session_page(&mut self, id: u64, completion: Completion) {
        let Completion::Scanned { entries, done } = completion else {
            return self.end_session(id, false);
        };
        let size: usize = entries.iter().map(|(key, entry)| key.len() + entry.size()).sum();
        self.repair.pace.spend(size);
        let request = self.next_request();
        let settled = self.settled_of(id);
        let Some(session) = self.repair.sessions.get_mut(&id) else {
            return;
        };
        let upto = entries.last().filter(|_| !done).map(|(key, _)| key.clone());
        session.asked = (upto.clone(), done);
        session.request = request;
        let within = |key: &Bytes| session.leaves.binary_search(&self.replica.leaf_of(key)).is_ok();
        let summaries: Vec<Summary> = entries
            .into_iter()
            .filter(|(key, entry)| within(key) && !entry.is_over(settled))
            .map(|(key, entry)| (key, entry.rank()))
            .collect();
        let (node, partition) = (session.peer.node, session.partition);
        let (leaves, after) = (session.leaves.clone(), session.after.clone());
        self.send(
            node,
            Body::Exchange {
                request,
                partition,
                leaves,
                after,
                upto,
                summaries,
            },
        );
    }

    /// A session waits for its turn no longer than for an answer: the pace is what holds it back then, not the peer.
    fn is_over(session: &Session, now_ms: u64) -> bool {
        now_ms >= session.ends_at && !session.held_back && !session.is_resting()
    }

    fn settled_of(&self, id: u64) -> Version {
        let partition = self.repair.sessions.get(&id).map(|session| session.partition);
        partition.map_or(Version::ZERO, |partition| self.settled(partition))
    }

    pub(crate) fn on_exchanged(
        &mut self,
        request: RequestId,
        newer: Vec<(Bytes, Entry)>,
        wanted: Vec<Bytes>,
        upto: Option<Bytes>,
        done: bool,
    ) {
        let Some(id) = self.session_of(request) else {
            return;
        };
        let Some(session) = self.repair.sessions.get(&id) else {
            return;
        };
        let partition = session.partition;
        let covered = if done { session.asked.0.clone() } else { upto };
        let layout = self.layout.clone();
        let belongs = |key: &Bytes| {
            layout
                .as_ref()
                .is_some_and(|layout| layout.partition_of(key) == partition)
        };
        let changes: Vec<(Bytes, Change)> = newer
            .into_iter()
            .filter(|(key, entry)| belongs(key) && self.is_news(partition, entry))
            .map(|(key, entry)| (key, Change::Merge(entry)))
            .collect();
        let Some(session) = self.repair.sessions.get_mut(&id) else {
            return;
        };
        let size: usize = changes
            .iter()
            .map(|(key, change)| key.len() + change.size())
            .sum();
        self.repair.pace.spend(size);
        session.covered = Some(covered);
        session.open = usize::from(!changes.is_empty()) + usize::from(!wanted.is_empty());
        self.stats.repaired += changes.len() as u64;
        if !changes.is_empty() {
            let pending = RepairPending::Merged(id);
            self.replica_merge(partition, changes, Pending::Repair(pending));
        }
        if !wanted.is_empty() {
            let keys = wanted.clone();
            self.repair_store(
                StoreOp::Read { partition, keys },
                RepairPending::Wanted(id, wanted),
            );
        }
        self.go_on(id);
    }

    pub(super) fn session_merged(&mut self, id: u64, completion: &Completion) {
        if *completion == Completion::Failed {
            return self.end_session(id, false);
        }
        if let Some(session) = self.repair.sessions.get_mut(&id) {
            session.open = session.open.saturating_sub(1);
        }
        self.go_on(id);
    }

    pub(super) fn session_wanted(&mut self, id: u64, keys: &[Bytes], completion: Completion) {
        let Completion::Read(entries) = completion else {
            return self.end_session(id, false);
        };
        let request = self.next_request();
        let Some(session) = self.repair.sessions.get_mut(&id) else {
            return;
        };
        let there = keys
            .iter()
            .zip(entries)
            .filter_map(|(key, entry)| Some((key.clone(), entry?)));
        let items: Vec<WriteItem> = (0..)
            .zip(there)
            .map(|(index, (key, entry))| WriteItem { index, key, entry })
            .collect();
        session.request = request;
        let node = session.peer.node;
        if items.is_empty() {
            session.open -= 1;
            return self.go_on(id);
        }
        let (origin, durable) = (Origin::Repair, true);
        self.send(
            node,
            Body::Write {
                request,
                origin,
                durable,
                items,
            },
        );
    }

    pub(super) fn session_written(&mut self, request: RequestId, items: &[(u16, Written)]) {
        let Some(id) = self.session_of(request) else {
            return;
        };
        let Some(session) = self.repair.sessions.get_mut(&id) else {
            return;
        };
        let fine = |written: &Written| {
            matches!(
                written,
                Written::Applied | Written::Superseded { .. } | Written::TooOld
            )
        };
        session.imperfect |= !items.iter().all(|(_, written)| fine(written));
        session.open = session.open.saturating_sub(1);
        self.go_on(id);
    }

    /// When all parts of an answer are carried out: the next range, or the end.
    fn go_on(&mut self, id: u64) {
        let Some(session) = self.repair.sessions.get_mut(&id) else {
            return;
        };
        if session.open > 0 {
            return;
        }
        let Some(covered) = session.covered.take() else {
            return;
        };
        let all_asked = covered == session.asked.0;
        if all_asked && session.asked.1 {
            return self.end_session(id, true);
        }
        session.after = covered;
        self.read_page(id);
    }
}
