//! What the server knows of a client.

use std::collections::HashSet;
use std::sync::Arc;

use weald_resp::Protocol;

use crate::acl::User;
use crate::blocking::Blocked;
use crate::cluster::Levels;
use crate::config::Durability;
use crate::registry::Found;
use crate::tracking::Tracking;

/// A client's number: never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ClientId(pub(crate) u64);

/// How a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Tcp,
    Unix,
    /// It is another thread of this process.
    Internal,
}

/// Whether a client gets replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ReplyMode {
    #[default]
    On,
    Off,
    /// Not to the command that said so, and not to the next one.
    SkipNext,
    Skip,
}

/// Commands that wait for `EXEC`.
#[derive(Default)]
pub(crate) struct Multi {
    pub(crate) queued: Vec<Queued>,
    pub(crate) bytes: usize,
    /// One of them was refused, so `EXEC` will be.
    pub(crate) failed: bool,
}

/// A command that waits for `EXEC`.
pub(crate) struct Queued {
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) found: Found,
}

/// A key that a client watches.
pub(crate) struct Watched {
    pub(crate) db: usize,
    pub(crate) key: Vec<u8>,
    /// Whether it was there: one that has expired since was changed by that.
    pub(crate) existed: bool,
}

/// Channels and patterns that a client has subscribed to.
#[derive(Default)]
pub(crate) struct Subscriptions {
    pub(crate) channels: HashSet<Vec<u8>>,
    pub(crate) patterns: HashSet<Vec<u8>>,
    pub(crate) shards: HashSet<Vec<u8>>,
}

impl Subscriptions {
    /// How many channels and patterns, as replies to subscribing tell it.
    pub(crate) fn count(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    /// Whether there is any of any kind.
    pub(crate) fn any(&self) -> bool {
        self.count() + self.shards.len() > 0
    }
}

/// What the sizes of a client's buffers were when it was last looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) input: usize,
    pub(crate) input_free: usize,
    pub(crate) output: usize,
}

/// About what a name takes that a client wants to be told of: with it, and in a table for all clients.
pub(crate) fn bytes_of_name(name: &[u8]) -> usize {
    2 * (name.len() + 64)
}

/// What the server knows of a client.
pub(crate) struct Session {
    pub(crate) id: ClientId,
    pub(crate) link: Link,
    pub(crate) peer: String,
    pub(crate) local: String,
    /// The database that it has selected.
    pub(crate) db: usize,
    pub(crate) protocol: Protocol,
    pub(crate) user: Arc<User>,
    pub(crate) authenticated: bool,
    pub(crate) auth_failures: u32,
    pub(crate) name: Vec<u8>,
    pub(crate) lib_name: Vec<u8>,
    pub(crate) lib_ver: Vec<u8>,
    pub(crate) created_ms: u64,
    pub(crate) active_ms: u64,
    pub(crate) last_command: &'static str,
    /// The command that it waits in.
    pub(crate) blocked: Option<Blocked>,
    pub(crate) multi: Option<Multi>,
    pub(crate) watched: Vec<Watched>,
    /// About what keys that it watches, and names that it has subscribed to, take here and in the tables by which they are found.
    pub(crate) names_bytes: usize,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) reply_mode: ReplyMode,
    pub(crate) tracking: Option<Tracking>,
    /// What `CLIENT CACHING` said of the next command.
    pub(crate) caching: Option<bool>,
    pub(crate) monitor: bool,
    pub(crate) no_evict: bool,
    pub(crate) no_touch: bool,
    /// It is disconnected once it has what was written for it.
    pub(crate) closing: bool,
    /// What it asked for instead of the setting.
    pub(crate) durability: Option<Durability>,
    /// How many replicas its requests wait for, on a node of a cluster.
    pub(crate) levels: Levels,
    pub(crate) usage: Usage,
}

impl Session {
    pub(crate) fn new(id: ClientId, link: Link, user: Arc<User>, now_ms: u64) -> Session {
        let authenticated = user.needs_no_password();
        Session {
            id,
            link,
            peer: String::new(),
            local: String::new(),
            db: 0,
            protocol: Protocol::Resp2,
            user,
            authenticated,
            auth_failures: 0,
            name: Vec::new(),
            lib_name: Vec::new(),
            lib_ver: Vec::new(),
            created_ms: now_ms,
            active_ms: now_ms,
            last_command: "NULL",
            blocked: None,
            multi: None,
            watched: Vec::new(),
            names_bytes: 0,
            subscriptions: Subscriptions::default(),
            reply_mode: ReplyMode::On,
            tracking: None,
            caching: None,
            monitor: false,
            no_evict: false,
            no_touch: false,
            closing: false,
            durability: None,
            levels: Levels::default(),
            usage: Usage::default(),
        }
    }

    /// Whether it speaks RESP2 and has subscribed to something, so that it may send little else.
    pub(crate) fn only_listens(&self) -> bool {
        self.protocol == Protocol::Resp2 && self.subscriptions.any()
    }

    /// The class of its limits: `normal` or `pubsub`.
    pub(crate) fn class(&self) -> &'static str {
        if self.subscriptions.any() {
            "pubsub"
        } else {
            "normal"
        }
    }

    /// The line of `CLIENT LIST`.
    pub(crate) fn describe(&self, now_ms: u64) -> String {
        let mut flags = String::new();
        let mut flag = |letter: char, is: bool| {
            if is {
                flags.push(letter);
            }
        };
        flag('O', self.monitor);
        flag('P', self.subscriptions.any());
        flag('x', self.multi.is_some());
        flag('b', self.blocked.is_some());
        flag('t', self.tracking.is_some());
        flag(
            'R',
            self.tracking.as_ref().is_some_and(|tracking| tracking.broken),
        );
        flag('B', self.tracking.as_ref().is_some_and(|tracking| tracking.bcast));
        flag('U', self.link == Link::Unix);
        flag('c', self.closing);
        flag('e', self.no_evict);
        flag('T', self.no_touch);
        if flags.is_empty() {
            flags.push('N');
        }
        let usage = self.usage;
        let redirect = match &self.tracking {
            None => -1,
            Some(tracking) => tracking.redirect.map_or(0, |id| id.0 as i64),
        };
        format!(
            "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={flags} db={} sub={} psub={} ssub={} multi={} qbuf={} qbuf-free={} argv-mem={} multi-mem={} rbs={} rbp={} obl=0 oll=0 omem={} tot-mem={} events=r cmd={} user={} redir={redirect} resp={} lib-name={} lib-ver={} watch={}",
            self.id.0,
            self.peer,
            self.local,
            self.id.0,
            String::from_utf8_lossy(&self.name),
            now_ms.saturating_sub(self.created_ms) / 1000,
            now_ms.saturating_sub(self.active_ms) / 1000,
            self.db,
            self.subscriptions.channels.len(),
            self.subscriptions.patterns.len(),
            self.subscriptions.shards.len(),
            self.multi.as_ref().map_or(-1, |multi| multi.queued.len() as i64),
            usage.input,
            usage.input_free,
            self.blocked
                .as_ref()
                .map_or(0, |blocked| blocked.args.iter().map(Vec::len).sum::<usize>()),
            self.multi.as_ref().map_or(0, |multi| multi.bytes),
            usage.output,
            usage.output,
            usage.output,
            self.memory(),
            self.last_command,
            self.user.name(),
            self.protocol.number(),
            String::from_utf8_lossy(&self.lib_name),
            String::from_utf8_lossy(&self.lib_ver),
            self.watched.len(),
        )
    }

    /// About how much memory it takes.
    pub(crate) fn memory(&self) -> usize {
        let multi = self.multi.as_ref().map_or(0, |multi| multi.bytes);
        let blocked = self.blocked.iter().flat_map(|blocked| &blocked.args);
        let prefixes = self.tracking.iter().flat_map(|tracking| &tracking.prefixes);
        let names: usize = blocked.chain(prefixes).map(|name| bytes_of_name(name)).sum();
        let buffers = self.usage.input + self.usage.input_free + self.usage.output;
        size_of::<Session>() + buffers + multi + names + self.names_bytes
    }
}
