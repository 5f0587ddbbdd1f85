//! Replies of one client in the order of its requests, though they come in any.
//!
//! Requests of a connection run beside each other as long as they don't touch the same keys; one that does waits until those before it are done, and so do all after
//! it. So a client sees its own writes, and keeps what it asked for in order.

use std::collections::{HashMap, VecDeque};

use weald_cluster::proto::Bytes;

use super::operation::Operation;

/// Requests of one client that are under way or wait, at most.
const OPEN_MAX: usize = 512;
/// Bytes of requests and replies that one client may have waiting, about.
const BYTES_MAX: usize = 8 << 20;

/// What a request touches.
#[derive(Clone, Debug, Default)]
pub(super) struct Footprint {
    pub(super) keys: Vec<Bytes>,
    pub(super) writes: bool,
    /// Every key there is.
    pub(super) everything: bool,
}

enum Slot {
    /// Whether the client wants the reply.
    Waiting(bool),
    Ready(Vec<u8>),
}

#[derive(Clone, Copy, Default)]
struct Users {
    readers: u32,
    writers: u32,
}

/// The replies that a client waits for.
#[derive(Default)]
pub(crate) struct Replies {
    slots: VecDeque<Slot>,
    /// The number of the first slot.
    first: u64,
    bytes: usize,
    /// Requests that wait for others of the same client.
    deferred: VecDeque<Operation>,
    under_way: usize,
    sweeping: usize,
    keys: HashMap<Bytes, Users>,
}

impl Replies {
    /// Whether there is nothing to wait for.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// About how many bytes wait here.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the client must not ask for more now.
    pub(crate) fn is_full(&self) -> bool {
        self.slots.len() >= OPEN_MAX || self.bytes >= BYTES_MAX
    }

    /// A place for a reply to come, after those before it.
    pub(super) fn open(&mut self, wanted: bool) -> u64 {
        self.slots.push_back(Slot::Waiting(wanted));
        self.first + self.slots.len() as u64 - 1
    }

    /// A reply that is there already and has to wait for those before it.
    pub(super) fn push(&mut self, reply: Vec<u8>) {
        self.bytes += reply.len();
        self.slots.push_back(Slot::Ready(reply));
    }

    /// The reply has come.
    pub(super) fn fill(&mut self, slot: u64, reply: Vec<u8>) {
        let at = slot
            .checked_sub(self.first)
            .and_then(|at| usize::try_from(at).ok());
        if let Some(slot) = at.and_then(|at| self.slots.get_mut(at)) {
            let reply = match slot {
                Slot::Waiting(true) => reply,
                _ => Vec::new(),
            };
            self.bytes += reply.len();
            *slot = Slot::Ready(reply);
        }
    }

    /// Hands on the replies that nothing stands before.
    pub(super) fn drain(&mut self, out: &mut Vec<u8>) {
        while let Some(Slot::Ready(_)) = self.slots.front() {
            if let Some(Slot::Ready(reply)) = self.slots.pop_front() {
                out.extend_from_slice(&reply);
                self.bytes = self.bytes.saturating_sub(reply.len());
                self.first += 1;
            }
        }
    }

    /// Whether a request has to wait for others of this client.
    pub(super) fn has_to_wait(&self, footprint: &Footprint) -> bool {
        !self.deferred.is_empty() || self.conflicts(footprint)
    }

    fn conflicts(&self, footprint: &Footprint) -> bool {
        if footprint.everything {
            return self.under_way > 0;
        }
        if self.sweeping > 0 {
            return true;
        }
        let taken = |key: &Bytes| {
            self.keys
                .get(key)
                .is_some_and(|users| users.writers > 0 || (footprint.writes && users.readers > 0))
        };
        footprint.keys.iter().any(taken)
    }

    pub(super) fn defer(&mut self, operation: Operation) {
        self.bytes += operation.bytes();
        self.deferred.push_back(operation);
    }

    /// A request begins.
    pub(super) fn enter(&mut self, operation: &Operation) {
        self.bytes += operation.bytes();
        self.under_way += 1;
        let footprint = &operation.footprint;
        self.sweeping += usize::from(footprint.everything);
        for key in &footprint.keys {
            let users = self.keys.entry(key.clone()).or_default();
            if footprint.writes {
                users.writers += 1;
            } else {
                users.readers += 1;
            }
        }
    }

    /// A request is done.
    pub(super) fn leave(&mut self, operation: &Operation) {
        self.bytes = self.bytes.saturating_sub(operation.bytes());
        self.under_way = self.under_way.saturating_sub(1);
        let footprint = &operation.footprint;
        self.sweeping = self.sweeping.saturating_sub(usize::from(footprint.everything));
        for key in &footprint.keys {
            if let Some(users) = self.keys.get_mut(key) {
                let count = if footprint.writes {
                    &mut users.writers
                } else {
                    &mut users.readers
                };
                *count = count.saturating_sub(1);
                if users.readers + users.writers == 0 {
                    self.keys.remove(key);
                }
            }
        }
    }

    /// The next request that waited and may begin now.
    pub(super) fn next_deferred(&mut self) -> Option<Operation> {
        let next = self.deferred.front()?;
        if self.conflicts(&next.footprint) {
            return None;
        }
        let next = self.deferred.pop_front()?;
        self.bytes = self.bytes.saturating_sub(next.bytes());
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_go_out_in_the_order_of_the_requests() {
        let mut replies = Replies::default();
        let first = replies.open(true);
        let second = replies.open(true);
        replies.push(b"c".to_vec());
        let unwanted = replies.open(false);
        let mut out = Vec::new();
        replies.fill(second, b"b".to_vec());
        replies.drain(&mut out);
        assert_eq!(out, b"");
        replies.fill(first, b"a".to_vec());
        replies.drain(&mut out);
        assert_eq!(out, b"abc");
        assert!(!replies.is_empty());
        replies.fill(unwanted, b"d".to_vec());
        replies.drain(&mut out);
        assert_eq!(out, b"abc");
        assert!(replies.is_empty() && replies.bytes == 0);
    }
}
