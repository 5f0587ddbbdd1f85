//! From the arguments of a request to its reply.
//!
//! ```text
//!  run ─► found? right number? known? allowed? ─► MULTI? queued
//!                                                    └► invoke ─► handler ─► counted, told to monitors and trackers
//!                                                                               └► wake who waits for a key
//! ```

use std::time::Instant;

use weald_engine::Database;
use weald_resp::Reply;

use crate::acl::{Denied, LogEntry, Reason};
use crate::call::Call;
use crate::clients::Client;
use crate::error::{CommandError, CommandResult};
use crate::keyspace::Keyspace;
use crate::notify::Event;
use crate::registry::{Action, Command, Flags, Found, Recent, registry};
use crate::session::{Link, Queued, ReplyMode, Session};
use crate::slowlog::redacted;
use crate::state::State;
use crate::tick::{Tick, failure};

/// Arguments of a request, lent.
pub(crate) type Args<'a> = smallvec::SmallVec<[&'a [u8]; 8]>;

/// A queued command has at most these bytes together with those before it.
const MULTI_BYTES_MAX: usize = 256 << 20;

/// Runs commands, one after the other.
pub(crate) struct Executor<'db> {
    pub(crate) keyspace: Keyspace<'db>,
    pub(crate) state: State,
    /// The time of the tick.
    pub(crate) now_ms: u64,
    /// When the last command ended, which is when the next one begins.
    pub(crate) clock: Instant,
    recent: Recent,
}

impl<'db> Executor<'db> {
    pub(crate) fn new(db: &'db Database, state: State, now_ms: u64) -> Result<Executor<'db>, CommandError> {
        let mut keyspace = Keyspace::open(Tick::new(db), state.settings.databases)?;
        keyspace.encodings = state.settings.encodings.clone();
        keyspace.uses.counting.set(state.settings.counting);
        let notified = state.settings.notified;
        keyspace
            .lookups
            .notes(notified.wants(Event::NEW), notified.wants(Event::MISS));
        Ok(Executor {
            keyspace,
            state,
            now_ms,
            clock: Instant::now(),
            recent: Recent::default(),
        })
    }

    /// A tick begins.
    pub(crate) fn begin_tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.keyspace.now_ms = now_ms;
        self.clock = Instant::now();
    }

    /// Runs the command of a client that was taken out of the list of clients. Its reply is at the end of `client.out` then, or on a node of a cluster comes later.
    pub(crate) fn run(&mut self, client: &mut Client, args: &[&[u8]]) {
        if self.state.cluster.is_some() {
            self.run_on_node(client, args);
        } else {
            self.run_here(client, args);
        }
    }

    /// Runs a command on what this server has.
    pub(crate) fn run_here(&mut self, client: &mut Client, args: &[&[u8]]) {
        if args.is_empty() {
            return;
        }
        let start = client.out.len();
        client.session.active_ms = self.now_ms;
        let found = match self.admit(&client.session, args) {
            Ok(found) => found,
            Err(e) => return self.refuse(client, args, &e),
        };
        client.session.last_command = found.command.name;
        if client.session.multi.is_some() && !found.command.flags.has(Flags::NOT_QUEUED) {
            if let Err(e) = queue(&mut client.session, found, args) {
                return self.refuse(client, args, &e);
            }
            client.out.extend_from_slice(b"+QUEUED\r\n");
            return skip(client, start, None);
        }
        if found.command.flags.has(Flags::ALONE) || self.keyspace.tick().is_full() {
            self.end_tick(Some(client));
        }
        let mut reply = Reply::onto(std::mem::take(&mut client.out), client.session.protocol);
        let mut call = Call {
            args,
            reply: &mut reply,
            session: &mut client.session,
            keyspace: &mut self.keyspace,
            state: &mut self.state,
            found,
            now_ms: self.now_ms,
            in_exec: false,
            retry: false,
        };
        self.clock = invoke(&mut call, self.clock);
        client.out = reply.into_bytes();
        // Afterwards, as Redis does: so a transaction is shown before its EXEC.
        tell_monitors(&mut self.state, &client.session, found, args, self.now_ms);
        if let Some(mut blocked) = client.session.blocked.take() {
            blocked.db = client.session.db;
            self.state.waiting.add(client.session.id, &blocked);
            client.session.blocked = Some(blocked);
        }
        self.finish(client, start, found);
        self.wake_waiting();
    }

    /// What is to be done after a reply: with who else got something, and with whether the reply is sure.
    fn finish(&mut self, client: &mut Client, start: usize, found: Found) {
        let id = client.session.id;
        let before = self.state.clients.take_aside(id);
        let mut start = start;
        if !before.is_empty() {
            let len = before.len();
            client.out.splice(start..start, before);
            start += len;
        }
        if self.keyspace.tick().is_writing() && found.command.flags.touches_data() && client.out.len() > start
        {
            client.uncertain.push((start, client.out.len()));
        }
        skip(client, start, Some(found));
        if !self.state.tracking.is_empty() {
            self.state.tracking.tell_own(&mut self.state.clients);
            client.out.extend_from_slice(&self.state.clients.take_aside(id));
        }
    }

    /// Whether a command is known, complete and allowed.
    pub(crate) fn admit(&mut self, session: &Session, args: &[&[u8]]) -> Result<Found, CommandError> {
        let found = match self.recent.find(args[0]) {
            // HTTP's routes and the library call commands by their own names, which clients may not know.
            _ if session.link == Link::Internal => find(args)?,
            Some(found) => found,
            None => {
                let found = self.state.renames.find(args)?;
                self.recent.keep(args[0], found);
                found
            }
        };
        let command = found.command;
        if !command.takes(args.len()) {
            return Err(CommandError::arity(command.name));
        }
        let flags = command.flags;
        if !session.authenticated && !flags.has(Flags::NO_AUTH) {
            return Err(CommandError::new("NOAUTH Authentication required."));
        }
        if let Err(denied) = session.user.check(found, args) {
            return Err(self.denied(session, found, denied));
        }
        if session.only_listens() && !flags.has(Flags::WHILE_LISTENING) {
            return Err(CommandError::new(format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
                command.name
            )));
        }
        if session.multi.is_some() && flags.has(Flags::NO_MULTI) {
            return Err(CommandError::new("ERR Command not allowed inside a transaction"));
        }
        if (flags.has(Flags::DENYOOM) || command.name == "exec" && grows(session)) && self.lacks_room() {
            return Err(CommandError::new(
                "OOM command not allowed when used memory > 'maxmemory'.",
            ));
        }
        Ok(found)
    }

    fn denied(&mut self, session: &Session, found: Found, denied: Denied) -> CommandError {
        let name = found.command.name;
        let (reason, object, text) = match denied {
            Denied::Command => (
                Reason::Command,
                name.as_bytes().to_vec(),
                format!(
                    "NOPERM User {} has no permissions to run the '{name}' command",
                    session.user.name()
                ),
            ),
            Denied::Key(key) => (
                Reason::Key,
                key,
                "NOPERM No permissions to access a key".to_owned(),
            ),
            Denied::Channel(channel) => (
                Reason::Channel,
                channel,
                "NOPERM No permissions to access a channel".to_owned(),
            ),
        };
        let entry = LogEntry {
            count: 1,
            reason,
            in_multi: session.multi.is_some(),
            object,
            user: session.user.name_bytes().to_vec(),
            client: session.describe(self.now_ms),
            id: 0,
            created_ms: self.now_ms,
            updated_ms: self.now_ms,
        };
        self.state.acl_log.add(entry, self.state.settings.acl_log_len);
        self.state.stats.acl_denied.add(1);
        CommandError::new(text)
    }

    /// Answers a command that is not run with an error.
    pub(crate) fn refuse(&mut self, client: &mut Client, args: &[&[u8]], e: &CommandError) {
        let start = client.out.len();
        let found = self.state.renames.find(args).ok();
        if let Some(found) = found {
            self.state.stats_of(found.id).rejected += 1;
        }
        let ended;
        let e = if found.is_some_and(|found| found.command.name == "exec") {
            client.session.multi = None;
            self.state.unwatch(&mut client.session);
            ended = transaction_ended_by(e);
            &ended
        } else {
            if let Some(multi) = &mut client.session.multi {
                multi.failed = true;
            }
            e
        };
        let mut reply = Reply::onto(std::mem::take(&mut client.out), client.session.protocol);
        write_error(&mut reply, &mut self.state, e);
        client.out = reply.into_bytes();
        skip(client, start, None);
    }

    /// Runs the commands again of clients that wait for keys that were touched.
    pub(crate) fn wake_waiting(&mut self) {
        while let Some(key) = self.state.waiting.next_ready() {
            for id in self.state.waiting.queue(&key) {
                let there = self.keyspace.tick().prepare_read().is_ok()
                    && self
                        .keyspace
                        .find(key.0, &key.1)
                        .is_ok_and(|found| found.is_some());
                if !there {
                    break;
                }
                let Some(mut client) = self.state.clients.take(id) else {
                    continue;
                };
                self.run_again(&mut client);
                self.state.clients.put_back(client);
            }
        }
    }

    fn run_again(&mut self, client: &mut Client) {
        let Some(blocked) = client.session.blocked.take() else {
            return;
        };
        let args: Args<'_> = blocked.args.iter().map(Vec::as_slice).collect();
        let start = client.out.len();
        let selected = std::mem::replace(&mut client.session.db, blocked.db);
        self.state.stays_blocked = false;
        let mut reply = Reply::onto(std::mem::take(&mut client.out), client.session.protocol);
        let mut call = Call {
            args: &args,
            reply: &mut reply,
            session: &mut client.session,
            keyspace: &mut self.keyspace,
            state: &mut self.state,
            found: blocked.found,
            now_ms: self.now_ms,
            in_exec: false,
            retry: true,
        };
        self.clock = invoke(&mut call, self.clock);
        drop(args);
        client.out = reply.into_bytes();
        client.session.db = selected;
        if self.state.stays_blocked {
            self.state.stays_blocked = false;
            client.session.blocked = Some(blocked);
        } else {
            self.state.waiting.remove(client.session.id, &blocked);
            self.finish(client, start, blocked.found);
        }
    }

    /// Ends the wait of clients whose time is up.
    pub(crate) fn end_waits(&mut self) {
        while let Some(id) = self.state.waiting.next_late(self.now_ms) {
            let Some(client) = self.state.clients.get_mut(id) else {
                return;
            };
            let Some(blocked) = client.session.blocked.take() else {
                return;
            };
            self.state.waiting.remove(id, &blocked);
            self.state
                .clients
                .write(id, |reply| blocked.on_timeout.write(reply));
        }
    }

    /// Ends a tick whose transaction may go on in the next one: whether it does. Otherwise it is committed.
    pub(crate) fn pass_tick(&mut self) -> bool {
        let stays = self.state.ending.is_none()
            && self.state.cluster.is_none()
            && self.keyspace.tick().may_stay_open();
        if stays {
            self.state.tracking.tell_prefixes(&mut self.state.clients);
        } else {
            self.end_tick(None);
        }
        stays
    }

    /// Commits what the tick wrote. If that fails, errors take the place of all replies that stand on it.
    pub(crate) fn end_tick(&mut self, running: Option<&mut Client>) {
        self.state.tracking.tell_prefixes(&mut self.state.clients);
        if !self.keyspace.tick().is_writing() {
            // A snapshot is not kept: it would hold old pages back.
            let _ = self
                .keyspace
                .tick()
                .finish(self.state.settings.durability_interval);
            return;
        }
        let began = Instant::now();
        let committed = self
            .keyspace
            .tick()
            .finish(self.state.settings.durability_interval);
        let us = began.elapsed().as_micros() as u64;
        self.state.note_latency("commit", us, self.now_ms);
        let stats = &self.state.stats;
        stats.commit_us.add(us);
        match committed {
            Ok(_) => stats.commits.add(1),
            Err(_) => stats.failed_commits.add(1),
        }
        let why = committed.err();
        if let Some(why) = &why {
            log::error!("{why}");
            self.keyspace.forget();
        }
        for id in self.state.clients.due_ids() {
            if let Some(client) = self.state.clients.get_mut(id) {
                settle(client, why.as_deref());
            }
        }
        if let Some(client) = running {
            settle(client, why.as_deref());
        }
    }
}

/// The replies of a client are sure now, or errors.
fn settle(client: &mut Client, why: Option<&str>) {
    if let Some(why) = why {
        replace(&mut client.out, &client.uncertain, why);
    }
    client.uncertain.clear();
}

/// Puts an error in the place of each of some ranges.
fn replace(out: &mut Vec<u8>, ranges: &[(usize, usize)], why: &str) {
    for (start, end) in ranges.iter().rev() {
        let mut reply = Reply::new(weald_resp::Protocol::Resp2);
        reply.error(why);
        out.splice(*start..*end, reply.into_bytes());
    }
}

/// The command that arguments name, by its own name.
pub(crate) fn find(args: &[&[u8]]) -> Result<Found, CommandError> {
    let found = registry()
        .find(args[0])
        .filter(|found| !found.command.name.contains('|'));
    let Some(found) = found else {
        return Err(unknown(args));
    };
    let Action::Container(_, alone) = found.command.action else {
        return Ok(found);
    };
    let Some(word) = args.get(1) else {
        return alone
            .map(|_| found)
            .ok_or_else(|| CommandError::arity(found.command.name));
    };
    registry().find_sub(found.command, word).ok_or_else(|| {
        let word = String::from_utf8_lossy(&word[..word.len().min(128)]).into_owned();
        let name = found.command.name.to_ascii_uppercase();
        CommandError::new(format!("ERR unknown subcommand '{word}'. Try {name} HELP."))
    })
}

/// The error of a command that there is not.
pub(crate) fn unknown(args: &[&[u8]]) -> CommandError {
    let shown = |arg: &[u8], max: usize| String::from_utf8_lossy(&arg[..arg.len().min(max)]).into_owned();
    let name = args[0].to_ascii_lowercase();
    if let Some(family) = crate::commands::absent_family(&name) {
        return CommandError::new(format!(
            "ERR unknown command '{}': Weald has no {family} yet",
            shown(args[0], 128)
        ));
    }
    let mut rest = String::new();
    for arg in &args[1..] {
        let Some(room) = 128_usize.checked_sub(rest.len()).filter(|room| *room > 0) else {
            break;
        };
        rest.push_str(&format!("'{}' ", shown(arg, room)));
    }
    CommandError::new(format!(
        "ERR unknown command '{}', with args beginning with: {rest}",
        shown(args[0], 128)
    ))
}

/// What an `EXEC` says that is not even run.
fn transaction_ended_by(e: &CommandError) -> CommandError {
    let why = e.to_string();
    let why = why.strip_prefix("ERR ").unwrap_or(&why);
    CommandError::new(format!("EXECABORT Transaction discarded because of: {why}"))
}

/// Whether a transaction has a command that may make the data larger.
fn grows(session: &Session) -> bool {
    let mut queued = session.multi.iter().flat_map(|multi| &multi.queued);
    queued.any(|queued| queued.found.command.flags.has(Flags::DENYOOM))
}

/// Keeps a command for `EXEC`.
fn queue(session: &mut Session, found: Found, args: &[&[u8]]) -> CommandResult {
    let multi = session.multi.as_mut().expect("the caller has looked");
    multi.bytes += args
        .iter()
        .map(|arg| arg.len() + size_of::<Vec<u8>>())
        .sum::<usize>();
    if multi.bytes > MULTI_BYTES_MAX {
        return Err(CommandError::new("ERR the transaction is too large"));
    }
    let args = args.iter().map(|arg| arg.to_vec()).collect();
    multi.queued.push(Queued { args, found });
    Ok(())
}

/// Takes a reply back where the client wants none. That it has subscribed is a message rather than a reply, and stays.
fn skip(client: &mut Client, start: usize, found: Option<Found>) {
    let session = &mut client.session;
    match session.reply_mode {
        ReplyMode::On => return,
        ReplyMode::Off => {}
        ReplyMode::SkipNext => session.reply_mode = ReplyMode::Skip,
        ReplyMode::Skip => session.reply_mode = ReplyMode::On,
    }
    let subscribes = Flags::PUBSUB.and(Flags::WHILE_LISTENING);
    if found.is_some_and(|found| found.command.flags.has(subscribes)) {
        return;
    }
    client.out.truncate(start);
    client.uncertain.retain(|(from, _)| *from < start);
}

/// Runs a handler: in a transaction that does for it, with its errors written, and counted. `clock` is when it begins; the time when it ended.
pub(crate) fn invoke(call: &mut Call<'_, '_>, clock: Instant) -> Instant {
    let command = call.found.command;
    let mark = call.reply.len();
    call.keyspace.lookups.forget();
    let uses = if call.session.no_touch {
        command.name == "touch"
    } else {
        !command.flags.has(Flags::ASKS)
    };
    call.keyspace.uses.notes.set(uses);
    let result = prepare(call, command).and_then(|()| match command.action {
        Action::Run(handler) | Action::Container(_, Some(handler)) => handler(call),
        Action::Container(_, None) => Err(CommandError::arity(command.name)),
    });
    let failed = result.is_err();
    call.tell_noted();
    if let Err(e) = result {
        call.reply.truncate(mark);
        if let CommandError::Engine(engine) = &e
            && command.flags.has(Flags::WRITE)
        {
            call.keyspace.tick().fail(failure(engine));
        }
        write_error(call.reply, call.state, &e);
    } else if !call.state.tracking.is_empty() {
        remember(call);
    }
    let now = Instant::now();
    count(
        call,
        command,
        now.duration_since(clock).as_micros() as u64,
        failed,
    );
    now
}

#[inline]
fn prepare(call: &mut Call<'_, '_>, command: &Command) -> CommandResult {
    if command.flags.has(Flags::WRITE) {
        let durability = call.session.durability.unwrap_or(call.state.settings.durability);
        call.keyspace.tick().begin_write(durability)
    } else if command.flags.touches_data() {
        Ok(call.keyspace.tick().prepare_read()?)
    } else {
        Ok(())
    }
}

fn count(call: &mut Call<'_, '_>, command: &Command, us: u64, failed: bool) {
    let stats = &mut call.state.command_stats[call.found.id.0 as usize];
    stats.calls += 1;
    stats.us += us;
    stats.failed += u64::from(failed);
    if call.state.settings.latency_tracking {
        let bucket = crate::stats::bucket(us);
        stats.latency[bucket] = stats.latency[bucket].saturating_add(1);
    }
    call.state.stats.commands.add(1);
    call.state.stats.took(us);
    if command.flags.has(Flags::READONLY) || command.flags.has(Flags::LOOKS) {
        let (hits, misses) = call.keyspace.lookups.take();
        call.state.stats.keyspace_hits.add(hits);
        call.state.stats.keyspace_misses.add(misses);
    }
    let settings = &call.state.settings;
    let slow = settings.slowlog_slower_us >= 0 && us as i64 >= settings.slowlog_slower_us;
    if slow && !command.flags.has(Flags::SKIP_SLOWLOG) {
        let (args, max) = (redacted(command.name, call.args), settings.slowlog_len);
        let session = &call.session;
        call.state
            .slowlog
            .add(&args, us, call.now_ms / 1000, &session.peer, &session.name, max);
    }
    let event = if command.flags.has(Flags::FAST) {
        "fast-command"
    } else {
        "command"
    };
    call.state.note_latency(event, us, call.now_ms);
}

/// Remembers which keys a client has read that keeps copies of them.
fn remember(call: &mut Call<'_, '_>) {
    let Some(tracking) = &call.session.tracking else {
        return;
    };
    let caching = call.session.caching;
    let wanted = match (tracking.optin, tracking.optout) {
        _ if tracking.bcast => false,
        (true, _) => caching == Some(true),
        (_, true) => caching != Some(false),
        _ => true,
    };
    let command = call.found.command;
    if command.flags.has(Flags::READONLY) && wanted {
        for spec in command.keys {
            for at in spec.positions(call.args).unwrap_or_default() {
                call.state.tracking.remember(call.session.id, call.args[at]);
            }
        }
        call.state
            .tracking
            .shrink(&mut call.state.clients, call.state.settings.tracking_keys_max);
    }
    // CLIENT CACHING speaks of the one command after it, or of the transaction.
    if command.name != "client|caching" && !call.in_exec && call.session.multi.is_none() {
        call.session.caching = None;
    }
}

/// Writes an error and counts it.
pub(crate) fn write_error(reply: &mut Reply, state: &mut State, e: &CommandError) {
    let text = match e {
        CommandError::Refused(text) => text.as_ref().to_owned(),
        CommandError::Engine(e) => match **e {
            weald_engine::Error::TooLarge(_) => format!("ERR {e}"),
            _ => failure(e),
        },
    };
    state.count_error(text.split(' ').next().unwrap_or("ERR"));
    reply.error(&text);
}

/// Shows a command to those who watch all of them.
pub(crate) fn tell_monitors(state: &mut State, session: &Session, found: Found, args: &[&[u8]], now_ms: u64) {
    let flags = found.command.flags;
    if state.monitors.is_empty() || flags.has(Flags::SKIP_MONITOR) || flags.has(Flags::ADMIN) {
        return;
    }
    let line = monitor_line(session, found, args, now_ms);
    for monitor in state.monitors.clone() {
        state.clients.write(monitor, |reply| reply.simple(&line));
    }
}

fn monitor_line(session: &Session, found: Found, args: &[&[u8]], now_ms: u64) -> String {
    let micros = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(u128::from(now_ms) * 1000, |since| since.as_micros());
    let peer = match session.link {
        Link::Unix => "unix:",
        _ => &session.peer,
    };
    let mut line = format!(
        "{}.{:06} [{} {peer}]",
        micros / 1_000_000,
        micros % 1_000_000,
        session.db
    );
    for arg in redacted(found.command.name, args) {
        line.push(' ');
        line.push_str(&quoted(arg));
    }
    line
}

/// Bytes in quotes, as `MONITOR` and `DEBUG` show them.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for byte in bytes {
        match byte {
            b'"' | b'\\' => {
                text.push('\\');
                text.push(*byte as char);
            }
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            7 => text.push_str("\\a"),
            8 => text.push_str("\\b"),
            0x20..=0x7e => text.push(*byte as char),
            other => text.push_str(&format!("\\x{other:02x}")),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests;
