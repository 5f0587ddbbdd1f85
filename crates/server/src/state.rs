//! What the server remembers beside the data: clients, watched keys, subscriptions, users, statistics.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use weald_engine::Database;
use weald_tree::TreeStore;

use crate::acl::{AclLog, User, Users};
use crate::blocking::Waiting;
use crate::clients::Clients;
use crate::cluster::Cluster;
use crate::config::{Config, Settings};
use crate::eviction::Room;
use crate::net::{Bound, Listening, Tls};
use crate::notify::Event;
use crate::pubsub::{PubSub, Topic};
use crate::registry::{CommandId, Renames, registry};
use crate::session::{ClientId, Session, bytes_of_name};
use crate::slowlog::Slowlog;
use crate::stats::{CommandStats, LatencyEvents, Stats};
use crate::tracking::TrackingTable;
use crate::watch::Watches;

/// The server is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With a checkpoint, so that the next start has nothing to replay.
    Clean,
    /// Without one.
    Fast,
}

/// Clients are not served for a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pause {
    pub(crate) until_ms: u64,
    /// Only commands that write wait.
    pub(crate) writes_only: bool,
}

/// What the file of the configuration says, and what else was said when it was read.
pub(crate) struct Written {
    pub(crate) config: Config,
    /// The users' lines, without the word `user`.
    pub(crate) users: Vec<String>,
}

/// What the server remembers beside the data.
pub(crate) struct State {
    pub(crate) db: Arc<Database>,
    /// Where it is a node of a cluster. The database holds nothing then.
    pub(crate) cluster: Option<Cluster>,
    /// Opened when it is first needed.
    pub(crate) trees: Option<TreeStore>,
    pub(crate) config: Config,
    pub(crate) settings: Settings,
    pub(crate) clients: Clients,
    pub(crate) users: Users,
    /// What the configuration and the users were at the start, or when they were last written to its file.
    pub(crate) written: Written,
    pub(crate) renames: Renames,
    pub(crate) acl_log: AclLog,
    pub(crate) waiting: Waiting,
    pub(crate) watches: Watches,
    pub(crate) pubsub: PubSub,
    pub(crate) tracking: TrackingTable,
    pub(crate) monitors: Vec<ClientId>,
    pub(crate) slowlog: Slowlog,
    pub(crate) latency: LatencyEvents,
    pub(crate) stats: Arc<Stats>,
    pub(crate) command_stats: Vec<CommandStats>,
    /// How many errors of each code were given.
    pub(crate) error_codes: BTreeMap<String, u64>,
    /// Set by a handler whose client has to wait.
    pub(crate) stays_blocked: bool,
    pub(crate) pause: Option<Pause>,
    pub(crate) room: Room,
    pub(crate) ending: Option<Ending>,
    pub(crate) started_ms: u64,
    pub(crate) last_save_s: u64,
    /// Changes of keys since then.
    pub(crate) changes: u64,
    pub(crate) run_id: String,
    pub(crate) port: u16,
    /// Where it listens.
    pub(crate) bound: Vec<Bound>,
    /// Where it is to listen from the end of this tick on.
    pub(crate) listen: Option<Vec<Listening>>,
    /// Where the data are.
    pub(crate) dir: PathBuf,
    /// Whether `DEBUG SET-ACTIVE-EXPIRE 0` was said.
    pub(crate) no_active_expiry: bool,
    /// What encrypted connections begin with, where there are any.
    pub(crate) tls: Option<Tls>,
    /// The user of the process's own threads, which may do everything whatever `default` may.
    pub(crate) internal_user: Arc<User>,
}

impl State {
    pub(crate) fn new(db: Arc<Database>, config: Config, settings: Settings, now_ms: u64) -> State {
        let run_id = crate::random::hex(40);
        State {
            db,
            cluster: None,
            trees: None,
            users: Users::new(config.text("acl-pubsub-default") == "allchannels"),
            written: Written {
                config: config.clone(),
                users: Vec::new(),
            },
            renames: Renames::default(),
            config,
            settings,
            clients: Clients::default(),
            acl_log: AclLog::default(),
            waiting: Waiting::default(),
            watches: Watches::default(),
            pubsub: PubSub::default(),
            tracking: TrackingTable::default(),
            monitors: Vec::new(),
            slowlog: Slowlog::default(),
            latency: LatencyEvents::default(),
            stats: Arc::default(),
            command_stats: vec![CommandStats::default(); registry().all().len()],
            error_codes: BTreeMap::new(),
            stays_blocked: false,
            pause: None,
            room: Room::default(),
            ending: None,
            started_ms: now_ms,
            last_save_s: now_ms / 1000,
            changes: 0,
            run_id,
            port: 0,
            bound: Vec::new(),
            listen: None,
            dir: PathBuf::new(),
            no_active_expiry: false,
            tls: None,
            internal_user: Arc::new(User::default_user()),
        }
    }

    /// It listens there now.
    pub(crate) fn is_bound_to(&mut self, bound: Vec<Bound>) {
        let of_tcp = |bound: &Bound| match bound {
            Bound::Tcp(address) => Some(address.port()),
            Bound::Tls(_) | Bound::Unix(_) => None,
        };
        self.port = bound.iter().find_map(of_tcp).unwrap_or(0);
        self.bound = bound;
    }

    /// Reads certificates again, and tells the log what came of it.
    pub(crate) fn renew_certificates(&self) {
        match self.tls.as_ref().map(|tls| tls.renew(&self.config)) {
            None => {}
            Some(Ok(())) => log::info!("certificates were read again"),
            Some(Err(e)) => log::error!("certificates could not be read again, those before are used: {e}"),
        }
    }

    /// What is counted of a command.
    pub(crate) fn stats_of(&mut self, id: CommandId) -> &mut CommandStats {
        &mut self.command_stats[id.0 as usize]
    }

    /// A reply is an error with this code.
    pub(crate) fn count_error(&mut self, code: &str) {
        self.stats.errors.add(1);
        if let Some(count) = self.error_codes.get_mut(code) {
            *count += 1;
        } else if self.error_codes.len() < 128 {
            // As many as Redis keeps: a bound, should texts be made of what clients send.
            self.error_codes.insert(code.to_owned(), 1);
        }
    }

    /// Something took that long: an event for `LATENCY`, if it is looked at and was long enough.
    #[inline]
    pub(crate) fn note_latency(&mut self, event: &'static str, us: u64, now_ms: u64) {
        let threshold = self.settings.latency_threshold_ms;
        if threshold > 0 && us / 1000 >= threshold {
            self.latency.add(event, us / 1000, now_ms / 1000);
        }
    }

    /// A key was changed by a client.
    #[inline]
    pub(crate) fn touched(&mut self, db: usize, key: &[u8], by: ClientId) {
        self.changes += 1;
        self.waiting.touched(db, key);
        self.watches.touched(db, key);
        if !self.tracking.is_empty() {
            self.tracking.touched(&mut self.clients, key, by);
        }
    }

    /// A key was deleted because its time was up.
    pub(crate) fn expired(&mut self, db: usize, key: &[u8]) {
        self.stats.expired_keys.add(1);
        self.changes += 1;
        self.watches.expired(db, key);
        if !self.tracking.is_empty() {
            self.tracking.touched(&mut self.clients, key, ClientId(0));
        }
        self.notify(Event::EXPIRED, "expired", key, db);
    }

    /// A key was deleted to make room.
    pub(crate) fn evicted(&mut self, db: usize, key: &[u8]) {
        self.stats.evicted_keys.add(1);
        self.changes += 1;
        self.watches.touched(db, key);
        if !self.tracking.is_empty() {
            self.tracking.touched(&mut self.clients, key, ClientId(0));
        }
        self.notify(Event::EVICTED, "evicted", key, db);
    }

    /// All keys of a database are gone by the doing of a client.
    pub(crate) fn flushed(&mut self, db: usize, by: ClientId) {
        self.watches.flushed(db);
        self.tracking.touched_all(&mut self.clients, by);
    }

    /// Two databases changed places by the doing of a client; `exists` says which keys a database has now.
    pub(crate) fn swapped(
        &mut self,
        (a, b): (usize, usize),
        by: ClientId,
        exists: impl Fn(usize, &[u8]) -> bool,
    ) {
        for db in [a, b] {
            self.watches.replaced(db, |key| exists(db, key));
            self.waiting.touched_all(db);
        }
        self.tracking.touched_all(&mut self.clients, by);
    }

    /// An event of a key.
    #[inline]
    pub(crate) fn notify(&mut self, event: Event, name: &str, key: &[u8], db: usize) {
        if self.settings.notified.wants(event) {
            self.publish_event(name, key, db);
        }
    }

    fn publish_event(&mut self, name: &str, key: &[u8], db: usize) {
        let notified = self.settings.notified;
        if notified.keyspace {
            let channel = [format!("__keyspace@{db}__:").as_bytes(), key].concat();
            self.pubsub.publish(&mut self.clients, &channel, name.as_bytes());
        }
        if notified.keyevent {
            let channel = format!("__keyevent@{db}__:{name}");
            self.pubsub.publish(&mut self.clients, channel.as_bytes(), key);
        }
    }

    /// Takes a client out of everything that it is in but the list of clients: it is gone, or begins anew.
    pub(crate) fn forget_client(&mut self, session: &mut Session) {
        let id = session.id;
        self.unwatch(session);
        if let Some(blocked) = session.blocked.take() {
            self.waiting.remove(id, &blocked);
        }
        let subscriptions = std::mem::take(&mut session.subscriptions);
        subscriptions
            .channels
            .iter()
            .for_each(|name| self.pubsub.remove(Topic::Channel, name, id));
        subscriptions
            .patterns
            .iter()
            .for_each(|name| self.pubsub.remove(Topic::Pattern, name, id));
        subscriptions
            .shards
            .iter()
            .for_each(|name| self.pubsub.remove(Topic::Shard, name, id));
        session.names_bytes = 0;
        if session.tracking.take().is_some() {
            self.tracking.disable(id);
        }
        if session.monitor {
            session.monitor = false;
            self.monitors.retain(|monitor| *monitor != id);
        }
        session.multi = None;
    }

    /// A client watches nothing any more.
    pub(crate) fn unwatch(&mut self, session: &mut Session) {
        if !session.watched.is_empty() {
            let watched = std::mem::take(&mut session.watched);
            let bytes: usize = watched.iter().map(|watched| bytes_of_name(&watched.key)).sum();
            session.names_bytes = session.names_bytes.saturating_sub(bytes);
            self.watches.remove(
                session.id,
                watched.iter().map(|watched| (watched.db, watched.key.as_slice())),
            );
        }
    }

    /// A user was changed: clients who are that user are the changed one from now on; those who are nobody any more are disconnected.
    pub(crate) fn user_changed(&mut self, user: Option<&Arc<User>>, name: &[u8], own: &mut Session) {
        if own.user.name_bytes() == name
            && let Some(user) = user
        {
            own.user = user.clone();
        }
        let mut gone = Vec::new();
        for client in self
            .clients
            .iter_mut()
            .filter(|client| client.session.user.name_bytes() == name)
        {
            match user {
                Some(user) => client.session.user = user.clone(),
                None => gone.push(client.session.id),
            }
        }
        for id in gone {
            self.clients.doomed.push((id, "its user was deleted"));
        }
    }
}
