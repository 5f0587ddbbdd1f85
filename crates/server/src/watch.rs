//! Which clients watch which keys.

use std::collections::{HashMap, HashSet};

use crate::session::ClientId;

/// Which clients watch which keys, and whose keys were changed since.
#[derive(Default)]
pub(crate) struct Watches {
    by_key: HashMap<(usize, Vec<u8>), Vec<ClientId>>,
    dirty: HashSet<ClientId>,
}

impl Watches {
    pub(crate) fn add(&mut self, client: ClientId, db: usize, key: &[u8]) {
        self.by_key.entry((db, key.to_vec())).or_default().push(client);
    }

    /// A client watches nothing any more.
    pub(crate) fn remove<'a>(&mut self, client: ClientId, keys: impl Iterator<Item = (usize, &'a [u8])>) {
        for (db, key) in keys {
            let key = (db, key.to_vec());
            if let Some(clients) = self.by_key.get_mut(&key) {
                clients.retain(|watching| *watching != client);
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
            self.dirty.extend(clients);
        }
    }

    /// Keys of a database that somebody watches.
    pub(crate) fn keys(&self, db: usize) -> Vec<Vec<u8>> {
        self.by_key
            .keys()
            .filter(|key| key.0 == db)
            .map(|key| key.1.clone())
            .collect()
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
