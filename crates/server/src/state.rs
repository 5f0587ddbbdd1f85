//! What the server remembers beside the data: clients that wait, watched keys, subscriptions, users, statistics.

use crate::blocking::Waiting;
use crate::notify::{Event, Notified};
use crate::session::ClientId;

/// What the server remembers beside the data.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) waiting: Waiting,
    pub(crate) notified: Notified,
    /// Set by a handler whose client has to wait.
    pub(crate) stays_blocked: bool,
}

impl State {
    /// A key was changed by a client.
    pub(crate) fn touched(&mut self, db: usize, key: &[u8], _by: ClientId) {
        self.waiting.touched(db, key);
    }

    /// An event of a key.
    pub(crate) fn notify(&mut self, event: Event, _name: &str, _key: &[u8], _db: usize) {
        if !self.notified.wants(event) {}
    }

    /// All keys of a database are gone.
    pub(crate) fn flushed(&mut self, _db: usize) {}

    /// Two databases changed places.
    pub(crate) fn swapped(&mut self, a: usize, b: usize) {
        self.waiting.touched_all(a);
        self.waiting.touched_all(b);
    }
}
