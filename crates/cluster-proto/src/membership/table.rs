//! What this node believes of the others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::announcement::{Announcement, Status, Update};
use crate::codec::wire_struct;
use crate::id::{NodeId, Owner};

/// How far a copy of a node has been seen, kept across restarts: a state from before that is an old copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) boot: u64,
    pub(crate) run: u64,
    /// The greatest time heard from it.
    pub(crate) heard: u64,
}

wire_struct!(Known { boot, run, heard });

impl Known {
    /// Whether a start from those files is news, or the same start again.
    pub(crate) fn admits(&self, announcement: &Announcement, ceiling: u64) -> bool {
        match announcement.boot.cmp(&self.boot) {
            std::cmp::Ordering::Greater => ceiling >= self.heard,
            std::cmp::Ordering::Equal => announcement.run == self.run,
            std::cmp::Ordering::Less => false,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) announcement: Announcement,
    pub(crate) status: Status,
    /// Since when it is suspected, and by whom.
    pub(crate) suspected_at: u64,
    pub(crate) suspected_by: BTreeSet<NodeId>,
}

/// An update that still has to be told.
#[derive(Debug)]
struct Rumour {
    update: Update,
    told: u32,
}

/// The most that is remembered of nodes that nobody asked for.
const PEERS_MAX: usize = 1024;
/// Rumours on one message.
const RUMOURS_PER_MESSAGE: usize = 6;

#[derive(Debug, Default)]
pub(crate) struct Membership {
    pub(crate) peers: BTreeMap<NodeId, Peer>,
    pub(crate) known: BTreeMap<Owner, Known>,
    rumours: VecDeque<Rumour>,
}

/// What an update changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Nothing,
    /// A later announcement, or a first one; nothing to tell an operator.
    Renewed,
    Alive,
    Suspected,
    Dead,
    Left,
}

impl Membership {
    pub(crate) fn is_alive(&self, node: NodeId) -> bool {
        self.peers
            .get(&node)
            .is_some_and(|peer| peer.status == Status::Alive)
    }

    /// Neither dead nor unheard of: worth sending to first.
    pub(crate) fn is_reachable(&self, node: NodeId) -> bool {
        self.peers
            .get(&node)
            .is_none_or(|peer| peer.status != Status::Dead)
    }

    /// Takes in what somebody says of another node. The announcement was verified.
    pub(crate) fn apply(&mut self, update: &Update, now: u64) -> Change {
        let node = update.announcement.node;
        let leaving = update.announcement.leaving;
        let status = if leaving { Status::Dead } else { update.status };
        let Some(peer) = self.peers.get_mut(&node) else {
            if self.peers.len() >= PEERS_MAX {
                return Change::Nothing;
            }
            let suspected_by = BTreeSet::from([update.by]);
            let peer = Peer {
                announcement: update.announcement.clone(),
                status,
                suspected_at: now,
                suspected_by,
            };
            self.peers.insert(node, peer);
            self.spread(update.clone());
            return event(status, leaving);
        };
        let same_copy = peer.announcement.copy == update.announcement.copy;
        let (theirs, ours) = (update.announcement.order(), peer.announcement.order());
        // Which of two copies is the later one only the layout can say; the last that was heard of is where messages go.
        let later = if same_copy {
            theirs > ours
        } else {
            update.status == Status::Alive
        };
        let worse = same_copy && theirs == ours && status > peer.status;
        if same_copy && theirs == ours && status == Status::Suspect && peer.status == Status::Suspect {
            // One more who suspects it: the wait becomes shorter.
            if peer.suspected_by.len() < 8 && peer.suspected_by.insert(update.by) {
                self.spread(update.clone());
            }
            return Change::Nothing;
        }
        if !later && !worse {
            return Change::Nothing;
        }
        let before = peer.status;
        peer.announcement = update.announcement.clone();
        peer.status = status;
        if status == Status::Suspect {
            peer.suspected_at = now;
            peer.suspected_by = BTreeSet::from([update.by]);
        }
        self.spread(update.clone());
        if before == status {
            Change::Renewed
        } else {
            event(status, leaving)
        }
    }

    /// Tells others, for some rounds. An older rumour of the same node is void.
    pub(crate) fn spread(&mut self, update: Update) {
        self.rumours
            .retain(|rumour| rumour.update.announcement.node != update.announcement.node);
        self.rumours.push_front(Rumour { update, told: 0 });
        self.rumours.truncate(PEERS_MAX);
    }

    /// The rumours for the next message; what the receiver is suspected of comes first, so that it can deny it.
    pub(crate) fn rumours(&mut self, receiver: Option<NodeId>) -> Vec<Update> {
        let mut updates = Vec::new();
        if let Some(peer) = receiver.and_then(|node| self.peers.get(&node))
            && peer.status != Status::Alive
        {
            updates.push(Update {
                announcement: peer.announcement.clone(),
                status: peer.status,
                by: peer.suspected_by.first().copied().unwrap_or_default(),
            });
        }
        let rounds = 3 * (self.peers.len() as u64 + 2).ilog2();
        let count = self.rumours.len().min(RUMOURS_PER_MESSAGE);
        for _ in 0..count {
            let Some(mut rumour) = self.rumours.pop_front() else {
                break;
            };
            updates.push(rumour.update.clone());
            rumour.told += 1;
            if rumour.told < rounds {
                self.rumours.push_back(rumour);
            }
        }
        updates
    }

    /// Everything, for somebody who has just come.
    pub(crate) fn all(&self) -> Vec<Update> {
        let update = |peer: &Peer| Update {
            announcement: peer.announcement.clone(),
            status: peer.status,
            by: peer.suspected_by.first().copied().unwrap_or_default(),
        };
        self.peers.values().map(update).collect()
    }

    pub(crate) fn heard(&mut self, owner: Owner, stamp: u64) {
        if let Some(known) = self.known.get_mut(&owner) {
            known.heard = known.heard.max(stamp);
        }
    }
}

fn event(status: Status, leaving: bool) -> Change {
    match status {
        Status::Alive => Change::Alive,
        Status::Suspect => Change::Suspected,
        Status::Dead if leaving => Change::Left,
        Status::Dead => Change::Dead,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Bytes;
    use crate::id::CopyId;

    fn update(status: Status, denied: u32, by: u64) -> Update {
        let announcement = Announcement {
            cluster: 0,
            node: NodeId(9),
            copy: CopyId(1),
            boot: 1,
            run: 1,
            denied,
            leaving: false,
            address: Bytes::from([]),
            signature: Bytes::from([]),
        };
        Update {
            announcement,
            status,
            by: NodeId(by),
        }
    }

    #[test]
    fn a_suspicion_holds_until_it_is_denied() {
        let mut table = Membership::default();
        assert_eq!(table.apply(&update(Status::Alive, 0, 1), 0), Change::Alive);
        assert_eq!(table.apply(&update(Status::Suspect, 0, 1), 1), Change::Suspected);
        assert_eq!(table.apply(&update(Status::Alive, 0, 2), 2), Change::Nothing);
        assert_eq!(table.apply(&update(Status::Alive, 1, 9), 3), Change::Alive);
        assert_eq!(table.apply(&update(Status::Dead, 0, 1), 4), Change::Nothing);
    }

    #[test]
    fn rumours_end() {
        let mut table = Membership::default();
        table.apply(&update(Status::Alive, 0, 1), 0);
        let told = (0..100).filter(|_| !table.rumours(None).is_empty()).count();
        assert!((1..20).contains(&told), "{told}");
    }

    #[test]
    fn a_state_from_before_is_an_old_copy() {
        let known = Known {
            boot: 3,
            run: 7,
            heard: 100,
        };
        let started = |boot, run| {
            let mut announcement = update(Status::Alive, 0, 1).announcement;
            (announcement.boot, announcement.run) = (boot, run);
            announcement
        };
        assert!(known.admits(&started(4, 8), 100));
        assert!(known.admits(&started(3, 7), 0), "the same start, asking again");
        assert!(
            !known.admits(&started(3, 8), 200),
            "another start with that number"
        );
        assert!(!known.admits(&started(2, 8), 200));
        assert!(!known.admits(&started(4, 8), 99), "its time was further");
    }
}
