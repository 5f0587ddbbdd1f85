//! Clients that wait for a key.

use std::collections::{BTreeSet, HashMap, VecDeque};

use weald_resp::Reply;

use crate::registry::Found;
use crate::session::ClientId;

/// What a client gets that has waited in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeoutReply {
    /// Null, as of `BLMOVE`.
    Null,
    /// The null of arrays, as of `BLPOP`.
    NullArray,
}

impl TimeoutReply {
    pub(crate) fn write(self, reply: &mut Reply) {
        match self {
            TimeoutReply::Null => reply.null(),
            TimeoutReply::NullArray => reply.null_array(),
        }
    }
}

/// A command that waits.
pub(crate) struct Blocked {
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) keys: Vec<Vec<u8>>,
    /// In milliseconds since 1970.
    pub(crate) deadline: Option<u64>,
    pub(crate) on_timeout: TimeoutReply,
    pub(crate) found: Found,
    /// The database it was sent in.
    pub(crate) db: usize,
}

impl Blocked {
    pub(crate) fn new(
        args: Vec<Vec<u8>>,
        keys: Vec<Vec<u8>>,
        deadline: Option<u64>,
        on_timeout: TimeoutReply,
        found: Found,
    ) -> Blocked {
        Blocked {
            args,
            keys,
            deadline,
            on_timeout,
            found,
            db: 0,
        }
    }
}

type Key = (usize, Vec<u8>);

/// Who waits for which key, in the order in which they came, and until when.
#[derive(Default)]
pub(crate) struct Waiting {
    by_key: HashMap<Key, VecDeque<ClientId>>,
    deadlines: BTreeSet<(u64, ClientId)>,
    /// Keys that were touched while somebody waits for them, in order.
    ready: VecDeque<Key>,
    clients: usize,
}

impl Waiting {
    /// A client begins to wait.
    pub(crate) fn add(&mut self, client: ClientId, blocked: &Blocked) {
        for key in &blocked.keys {
            let queue = self.by_key.entry((blocked.db, key.clone())).or_default();
            if !queue.contains(&client) {
                queue.push_back(client);
            }
        }
        self.deadlines
            .extend(blocked.deadline.map(|deadline| (deadline, client)));
        self.clients += 1;
    }

    /// A client waits no more.
    pub(crate) fn remove(&mut self, client: ClientId, blocked: &Blocked) {
        for key in &blocked.keys {
            let key = (blocked.db, key.clone());
            if let Some(queue) = self.by_key.get_mut(&key) {
                queue.retain(|waiting| *waiting != client);
                if queue.is_empty() {
                    self.by_key.remove(&key);
                }
            }
        }
        if let Some(deadline) = blocked.deadline {
            self.deadlines.remove(&(deadline, client));
        }
        self.clients = self.clients.saturating_sub(1);
    }

    /// A key was touched.
    #[inline]
    pub(crate) fn touched(&mut self, db: usize, key: &[u8]) {
        if self.by_key.is_empty() {
            return;
        }
        let key = (db, key.to_vec());
        if self.by_key.contains_key(&key) && !self.ready.contains(&key) {
            self.ready.push_back(key);
        }
    }

    /// All keys of these databases were: they changed places.
    pub(crate) fn touched_all(&mut self, db: usize) {
        let keys: Vec<Key> = self.by_key.keys().filter(|key| key.0 == db).cloned().collect();
        keys.iter().for_each(|(db, key)| self.touched(*db, key));
    }

    /// The next key that was touched.
    pub(crate) fn next_ready(&mut self) -> Option<Key> {
        self.ready.pop_front()
    }

    /// Who waits for a key, the first first.
    pub(crate) fn queue(&self, key: &Key) -> Vec<ClientId> {
        self.by_key
            .get(key)
            .map(|queue| queue.iter().copied().collect())
            .unwrap_or_default()
    }

    /// Somebody whose time is up.
    pub(crate) fn next_late(&self, now_ms: u64) -> Option<ClientId> {
        self.deadlines
            .first()
            .filter(|(deadline, _)| *deadline <= now_ms)
            .map(|(_, client)| *client)
    }

    /// When the next one's time is up.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// How many clients wait.
    pub(crate) fn clients(&self) -> usize {
        self.clients
    }

    /// How many keys are waited for.
    pub(crate) fn keys(&self) -> usize {
        self.by_key.len()
    }
}
