//! Which clients watch which keys.

use std::collections::{HashMap, HashSet};

use crate::session::ClientId;

/// A database and a key in it.
type Key = (usize, Vec<u8>);

/// A client, and whether the key was there when it began to watch.
type Watcher = (ClientId, bool);

/// Which clients watch which keys, and whose keys were changed since.
#[derive(Default)]
pub(crate) struct Watches {
    by_key: HashMap<Key, Vec<Watcher>>,
    dirty: HashSet<ClientId>,
}

impl Watches {
    pub(crate) fn add(&mut self, client: ClientId, db: usize, key: &[u8], existed: bool) {
        self.by_key
            .entry((db, key.to_vec()))
            .or_default()
            .push((client, existed));
    }

    /// A client watches nothing any more.
    pub(crate) fn remove<'a>(&mut self, client: ClientId, keys: impl Iterator<Item = (usize, &'a [u8])>) {
        for (db, key) in keys {
            let key = (db, key.to_vec());
            if let Some(clients) = self.by_key.get_mut(&key) {
                clients.retain(|(watching, _)| *watching != client);
                if clients.is_empty() {
                    self.by_key.remove(&key);
                }
            }
        }
        self.dirty.remove(&client);
    }

    /// A key was changed.
    #[inline]
    pub(crate) fn touched(&mut self, db: usize, key: &[u8]) {
        if self.by_key.is_empty() {
            return;
        }
        if let Some(clients) = self.by_key.get(&(db, key.to_vec())) {
            self.dirty.extend(clients.iter().map(|(client, _)| client));
        }
    }

    /// A key is gone whose time was up: for those who began to watch it afterwards nothing has changed.
    pub(crate) fn expired(&mut self, db: usize, key: &[u8]) {
        if let Some(clients) = self.by_key.get(&(db, key.to_vec())) {
            let watching = clients.iter().filter(|(_, existed)| *existed);
            self.dirty.extend(watching.map(|(client, _)| client));
        }
    }

    /// All keys of a database are gone: for those that were not there nothing has changed.
    pub(crate) fn flushed(&mut self, db: usize) {
        let watching = self
            .by_key
            .iter()
            .filter(|(key, _)| key.0 == db)
            .flat_map(|(_, clients)| clients);
        self.dirty
            .extend(watching.filter(|(_, existed)| *existed).map(|(client, _)| client));
    }

    /// A database has other keys now, and `exists` says which: for those that were not there, and still are not, nothing has changed.
    pub(crate) fn replaced(&mut self, db: usize, mut exists: impl FnMut(&[u8]) -> bool) {
        for ((_, key), clients) in self.by_key.iter().filter(|(key, _)| key.0 == db) {
            let exists = exists(key);
            let changed = clients.iter().filter(|(_, existed)| *existed || exists);
            self.dirty.extend(changed.map(|(client, _)| client));
        }
    }

    /// Whether a key that a client watches was changed.
    pub(crate) fn is_dirty(&self, client: ClientId) -> bool {
        self.dirty.contains(&client)
    }

    /// How many keys are watched.
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }
}
