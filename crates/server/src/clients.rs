//! All clients: their sessions, and the bytes that wait to be sent to each.

use std::collections::HashMap;

use weald_resp::{Protocol, Reply};

use crate::cluster::Replies;
use crate::config::{OutputLimit, Settings};
use crate::net::Connection;
use crate::session::{ClientId, Session};

/// A client: what is known of it, where its bytes come from, and what it is to get.
pub(crate) struct Client {
    pub(crate) session: Session,
    pub(crate) connection: Connection,
    /// What it is to get and has not been sent.
    pub(crate) out: Vec<u8>,
    /// On a node of a cluster: the replies that come later, in their order. They go to `out` from there.
    pub(crate) replies: Replies,
    /// Replies of this tick that stand on what the tick wrote, as ranges of `out`: errors take their place if that can't be committed.
    pub(crate) uncertain: Vec<(usize, usize)>,
    /// Since when it has had more to read than the soft limit, in milliseconds since 1970.
    pub(crate) behind_since: Option<u64>,
}

impl Client {
    pub(crate) fn new(session: Session, connection: Connection) -> Box<Client> {
        Box::new(Client {
            session,
            connection,
            out: Vec::new(),
            replies: Replies::default(),
            uncertain: Vec::new(),
            behind_since: None,
        })
    }

    /// Whether it has more to read than it may have.
    pub(crate) fn over_limit(&mut self, unsent: usize, settings: &Settings, now_ms: u64) -> bool {
        let limit = self.output_limit(settings);
        if limit.soft == 0 || unsent <= limit.soft {
            self.behind_since = None;
        }
        if limit.hard > 0 && unsent > limit.hard {
            return true;
        }
        if limit.soft > 0 && unsent > limit.soft {
            let since = *self.behind_since.get_or_insert(now_ms);
            return now_ms.saturating_sub(since) >= limit.seconds * 1000;
        }
        false
    }

    /// Whether it is to get more at once than its limit lets it, whether or not it would read that.
    pub(crate) fn over_hard_limit(&self, unsent: usize, settings: &Settings) -> bool {
        let hard = self.output_limit(settings).hard;
        hard > 0 && unsent > hard
    }

    fn output_limit(&self, settings: &Settings) -> OutputLimit {
        if self.session.subscriptions.any() || self.session.monitor {
            settings.output_pubsub
        } else {
            settings.output_normal
        }
    }
}

/// All clients but the one whose command is being run, which its caller has.
#[derive(Default)]
pub(crate) struct Clients {
    by_id: HashMap<ClientId, Box<Client>>,
    /// Clients that have got something to be sent, or have to be looked at for another reason, at the end of the tick.
    due: Vec<ClientId>,
    /// What clients got while their commands were run.
    aside: Vec<(ClientId, Vec<u8>)>,
    /// Clients that are not in `by_id` because their commands are being run, with what is needed to write for them.
    running: Vec<(ClientId, Protocol)>,
    /// Clients to be disconnected at once, with the reason for the log.
    pub(crate) doomed: Vec<(ClientId, &'static str)>,
    next_id: u64,
}

impl Clients {
    /// A number for a client to come.
    pub(crate) fn new_id(&mut self) -> ClientId {
        self.next_id += 1;
        ClientId(self.next_id)
    }

    pub(crate) fn insert(&mut self, client: Box<Client>) {
        self.by_id.insert(client.session.id, client);
    }

    pub(crate) fn remove(&mut self, id: ClientId) -> Option<Box<Client>> {
        self.by_id.remove(&id)
    }

    pub(crate) fn get(&self, id: ClientId) -> Option<&Client> {
        self.by_id.get(&id).map(|client| &**client)
    }

    pub(crate) fn get_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        self.by_id.get_mut(&id).map(|client| &mut **client)
    }

    /// All that are connected, those whose commands are being run included.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len() + self.running.len()
    }

    /// All but those whose commands are being run, in the order in which they came.
    pub(crate) fn sorted(&self) -> Vec<&Client> {
        let mut all: Vec<&Client> = self.by_id.values().map(|client| &**client).collect();
        all.sort_unstable_by_key(|client| client.session.id);
        all
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Client> {
        self.by_id.values().map(|client| &**client)
    }

    /// Those to look at: only they can have replies of this tick.
    pub(crate) fn due_ids(&mut self) -> Vec<ClientId> {
        self.due.sort_unstable();
        self.due.dedup();
        self.due.clone()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Client> {
        self.by_id.values_mut().map(|client| &mut **client)
    }

    /// Takes a client out, to run its commands.
    pub(crate) fn take(&mut self, id: ClientId) -> Option<Box<Client>> {
        let client = self.by_id.remove(&id)?;
        self.running.push((id, client.session.protocol));
        Some(client)
    }

    /// The protocol of the client whose command is being run has changed.
    pub(crate) fn speaks(&mut self, id: ClientId, protocol: Protocol) {
        for running in self.running.iter_mut().filter(|(running, _)| *running == id) {
            running.1 = protocol;
        }
    }

    /// Puts a client back that was taken.
    pub(crate) fn put_back(&mut self, mut client: Box<Client>) {
        let id = client.session.id;
        let aside = self.take_aside(id);
        client.out.extend_from_slice(&aside);
        self.running.retain(|(running, _)| *running != id);
        self.due.push(id);
        self.by_id.insert(id, client);
    }

    /// What a client got from others, or from itself, while its command was run.
    pub(crate) fn take_aside(&mut self, id: ClientId) -> Vec<u8> {
        if self.aside.is_empty() {
            return Vec::new();
        }
        let mut found = Vec::new();
        self.aside.retain(|(of, bytes)| {
            if *of == id {
                found.extend_from_slice(bytes);
            }
            *of != id
        });
        found
    }

    /// Writes something for a client, whoever it is; whether there is such a client.
    pub(crate) fn write(&mut self, id: ClientId, write: impl FnOnce(&mut Reply)) -> bool {
        if let Some(client) = self.by_id.get_mut(&id) {
            let mut reply = Reply::onto(std::mem::take(&mut client.out), client.session.protocol);
            write(&mut reply);
            client.out = reply.into_bytes();
            self.due.push(id);
            return true;
        }
        let Some((_, protocol)) = self.running.iter().find(|(running, _)| *running == id) else {
            return false;
        };
        let mut reply = Reply::new(*protocol);
        write(&mut reply);
        self.aside.push((id, reply.into_bytes()));
        true
    }

    /// Looks at all of them at the end of the tick.
    pub(crate) fn all_due(&mut self) {
        self.due.extend(self.by_id.keys());
    }

    /// Looks at a client at the end of the tick.
    pub(crate) fn is_due(&mut self, id: ClientId) {
        self.due.push(id);
    }

    /// Clients to look at, each once.
    pub(crate) fn take_due(&mut self) -> Vec<ClientId> {
        let mut due = std::mem::take(&mut self.due);
        if due.len() > 1 {
            due.sort_unstable();
            due.dedup();
        }
        due
    }

    /// Gives the memory of the list back for the next tick.
    pub(crate) fn keep_due(&mut self, mut due: Vec<ClientId>) {
        due.clear();
        if self.due.is_empty() {
            self.due = due;
        }
    }

    /// The protocol of a client, wherever it is.
    pub(crate) fn protocol(&self, id: ClientId) -> Option<Protocol> {
        let running = || {
            self.running
                .iter()
                .find(|(running, _)| *running == id)
                .map(|(_, protocol)| *protocol)
        };
        self.get(id)
            .map(|client| client.session.protocol)
            .or_else(running)
    }
}
