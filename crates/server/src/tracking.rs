//! Which clients keep copies of which keys, and telling them when these are stale.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use weald_resp::{Protocol, Reply};

use crate::clients::Clients;
use crate::session::ClientId;

/// How a client wants to be told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tracking {
    /// Who is told in its place.
    pub(crate) redirect: Option<ClientId>,
    /// That one is gone.
    pub(crate) broken: bool,
    /// It is told of all keys with some prefixes, whether it has read them or not.
    pub(crate) bcast: bool,
    pub(crate) prefixes: Vec<Vec<u8>>,
    pub(crate) optin: bool,
    pub(crate) optout: bool,
    /// It is not told of what it changed itself.
    pub(crate) noloop: bool,
}

/// Who has read which keys, and who wants to know of which prefixes.
#[derive(Default)]
pub(crate) struct TrackingTable {
    readers: HashMap<Vec<u8>, HashSet<ClientId>>,
    prefixes: BTreeMap<Vec<u8>, BTreeSet<ClientId>>,
    /// Keys below prefixes that were changed in this tick, and by whom.
    changed: Vec<(Vec<u8>, ClientId)>,
    /// Clients to be told after the reply to their command that they changed a key themselves.
    own: Vec<(ClientId, Option<Vec<u8>>)>,
    /// Clients that track.
    clients: HashMap<ClientId, Tracking>,
}

impl TrackingTable {
    pub(crate) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    pub(crate) fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Keys, pairs of a key and a client, and prefixes that are remembered.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        (
            self.readers.len(),
            self.readers.values().map(HashSet::len).sum(),
            self.prefixes.len(),
        )
    }

    pub(crate) fn enable(&mut self, client: ClientId, tracking: &Tracking) {
        for prefix in &tracking.prefixes {
            self.prefixes.entry(prefix.clone()).or_default().insert(client);
        }
        self.clients.insert(client, tracking.clone());
    }

    pub(crate) fn disable(&mut self, client: ClientId) {
        if self
            .clients
            .remove(&client)
            .is_some_and(|tracking| tracking.bcast)
        {
            self.prefixes.retain(|_, clients| {
                clients.remove(&client);
                !clients.is_empty()
            });
        }
        // What it has read is forgotten when it is changed.
    }

    /// A client has read a key and keeps a copy.
    pub(crate) fn remember(&mut self, client: ClientId, key: &[u8]) {
        match self.readers.get_mut(key) {
            Some(readers) => drop(readers.insert(client)),
            None => drop(self.readers.insert(key.to_vec(), HashSet::from([client]))),
        }
    }

    /// A key was changed by a client.
    pub(crate) fn touched(&mut self, clients: &mut Clients, key: &[u8], by: ClientId) {
        if !self.prefixes.is_empty() {
            self.changed.push((key.to_vec(), by));
        }
        let Some(readers) = self.readers.remove(key) else {
            return;
        };
        for reader in readers {
            match self.clients.get(&reader) {
                Some(tracking) if tracking.bcast || (tracking.noloop && reader == by) => {}
                Some(_) if reader == by => self.own.push((reader, Some(key.to_vec()))),
                Some(_) => self.tell(clients, reader, Some(&[key])),
                None => {}
            }
        }
    }

    /// Tells a client, after the reply to its command, of what that has changed.
    pub(crate) fn tell_own(&mut self, clients: &mut Clients) {
        for (client, key) in std::mem::take(&mut self.own) {
            match key {
                Some(key) => self.tell(clients, client, Some(&[&key])),
                None => self.tell(clients, client, None),
            }
        }
    }

    /// Everything was changed by a client.
    pub(crate) fn touched_all(&mut self, clients: &mut Clients, by: ClientId) {
        self.readers.clear();
        let all: Vec<ClientId> = self.clients.keys().copied().collect();
        for client in all {
            if client == by {
                self.own.push((client, None));
            } else {
                self.tell(clients, client, None);
            }
        }
    }

    /// Tells those who want to know of prefixes of all that was changed in the tick.
    pub(crate) fn tell_prefixes(&mut self, clients: &mut Clients) {
        if self.changed.is_empty() {
            return;
        }
        let changed = std::mem::take(&mut self.changed);
        let prefixes = std::mem::take(&mut self.prefixes);
        for (prefix, listeners) in &prefixes {
            let below: Vec<&(Vec<u8>, ClientId)> = changed
                .iter()
                .filter(|(key, _)| key.starts_with(prefix))
                .collect();
            for listener in listeners {
                let noloop = self.clients.get(listener).is_some_and(|tracking| tracking.noloop);
                let mut seen = HashSet::new();
                let keys: Vec<&[u8]> = below
                    .iter()
                    .filter(|(key, by)| !(noloop && by == listener) && seen.insert(key))
                    .map(|(key, _)| key.as_slice())
                    .collect();
                if !keys.is_empty() {
                    self.tell(clients, *listener, Some(&keys));
                }
            }
        }
        self.prefixes = prefixes;
    }

    /// Keeps the table within a bound: keys too many are forgotten, and their readers told that they have changed.
    pub(crate) fn shrink(&mut self, clients: &mut Clients, keys_max: usize) {
        while keys_max > 0 && self.readers.len() > keys_max {
            let Some(key) = self.readers.keys().next().cloned() else {
                return;
            };
            self.touched(clients, &key, ClientId(0));
        }
    }

    /// Tells a client, or who listens in its place, that keys are stale; all of them where there is no list.
    fn tell(&mut self, clients: &mut Clients, client: ClientId, keys: Option<&[&[u8]]>) {
        let Some(tracking) = self.clients.get_mut(&client) else {
            return;
        };
        let target = tracking.redirect.unwrap_or(client);
        let write_keys = |reply: &mut Reply| match keys {
            None => reply.null_array(),
            Some(keys) => {
                reply.array(keys.len());
                keys.iter().for_each(|key| reply.bulk(key));
            }
        };
        match clients.protocol(target) {
            None => {
                // Whoever listened in its place is gone.
                tracking.broken = true;
                if let Some(client) = clients.get_mut(client)
                    && let Some(tracking) = &mut client.session.tracking
                {
                    tracking.broken = true;
                }
                if clients.protocol(client) == Some(Protocol::Resp3) {
                    clients.write(client, |reply| {
                        reply.push(2);
                        reply.bulk(b"tracking-redir-broken");
                        reply.integer(target.0 as i64);
                    });
                }
            }
            Some(Protocol::Resp3) => drop(clients.write(target, |reply| {
                reply.push(2);
                reply.bulk(b"invalidate");
                write_keys(reply);
            })),
            // A client of RESP2 can only be told in place of another, as a message.
            Some(Protocol::Resp2) if target != client => drop(clients.write(target, |reply| {
                reply.array(3);
                reply.bulk(b"message");
                reply.bulk(b"__redis__:invalidate");
                write_keys(reply);
            })),
            Some(Protocol::Resp2) => {}
        }
    }
}
