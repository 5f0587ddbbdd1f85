//! The loop: looks at the sockets, runs what was asked for, commits once, answers.

use std::collections::HashSet;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::{Events, Poll, Token};
use weald_engine::Database;
use weald_resp::{Frame, Limits, Protocol, ProtocolError, Reply, Step};

use crate::clients::Client;
use crate::cluster::Cluster;
use crate::dispatch::{Args, Executor};
use crate::error::CommandError;
use crate::handle::Caller;
use crate::net::connection::Connection;
use crate::net::listener::{Accepted, Listener};
use crate::net::places::Listening;
use crate::registry::Flags;
use crate::session::{ClientId, Link, Session};
use crate::state::{Ending, State};

/// Wakes the loop from another thread.
pub(crate) const WAKER: Token = Token(0);
const LISTENERS: usize = 16;

/// What is read of a client at once.
const READ_BYTES: usize = 128 << 10;
/// How often a client is read from before others have their turn.
const READS_PER_TURN: usize = 4;
/// Of a client that has that much to read no further command is run.
const UNSENT_MAX: usize = 1 << 20;
/// How long no client is accepted after the system had no room for one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How many clients are accepted before those that are there have their turn.
const ACCEPTS_PER_TURN: usize = 256;

/// What another thread asks for.
pub(crate) enum Message {
    /// To run a command.
    Run {
        args: Vec<Vec<u8>>,
        protocol: Protocol,
        /// Who asks; without, somebody who may do everything.
        caller: Option<Caller>,
        answer: SyncSender<Frame>,
    },
    /// To read certificates again.
    RenewCertificates,
    /// To end.
    End,
}

/// The loop, with all that it owns.
pub(crate) struct EventLoop<'db> {
    pub(super) poll: Poll,
    listeners: Vec<Listener>,
    messages: Receiver<Message>,
    pub(super) executor: Executor<'db>,
    scratch: Vec<u8>,
    /// Clients whose requests wait for their turn, though nothing new came.
    backlog: Vec<ClientId>,
    accept_again: Option<Instant>,
    pub(super) next_upkeep: Instant,
    pub(super) rates: super::upkeep::Rates,
}

impl<'db> EventLoop<'db> {
    pub(crate) fn new(
        poll: Poll,
        mut listeners: Vec<Listener>,
        messages: Receiver<Message>,
        db: &'db Database,
        state: State,
    ) -> Result<EventLoop<'db>, CommandError> {
        for (i, listener) in listeners.iter_mut().enumerate() {
            listener
                .register(poll.registry(), Token(1 + i))
                .map_err(|e| CommandError::new(format!("ERR can't listen: {e}")))?;
        }
        Ok(EventLoop {
            poll,
            listeners,
            messages,
            executor: Executor::new(db, state, now_ms())?,
            scratch: vec![0; READ_BYTES],
            backlog: Vec::new(),
            accept_again: None,
            next_upkeep: Instant::now(),
            rates: super::upkeep::Rates::default(),
        })
    }

    /// Runs until it is asked to end; how.
    pub(crate) fn run(&mut self) -> io::Result<Ending> {
        let mut events = Events::with_capacity(1024);
        let mut open = false;
        loop {
            let timeout = if open { Duration::ZERO } else { self.timeout() };
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
                _ => {}
            }
            if open && events.is_empty() && self.backlog.is_empty() {
                // Nobody asks for anything: the time for a commit that was put off.
                self.executor.end_tick(None);
                open = false;
                continue;
            }
            self.executor.begin_tick(now_ms());
            for event in &events {
                match event.token() {
                    WAKER => self.hear(),
                    Token(listener) if listener < LISTENERS => self.accept(listener - 1),
                    Token(client) => {
                        let id = ClientId((client - LISTENERS) as u64);
                        if event.is_readable() || event.is_read_closed() || event.is_error() {
                            self.read(id, event.is_read_closed());
                        }
                        if event.is_writable() {
                            self.executor.state.clients.is_due(id);
                        }
                    }
                }
            }
            for id in std::mem::take(&mut self.backlog) {
                self.go_on(id);
            }
            self.look_at_clock();
            self.executor.wake_waiting();
            self.expire_met();
            self.executor.flush_cluster();
            open = self.executor.pass_tick();
            self.answer();
            self.listen_elsewhere();
            if let Some(ending) = self.executor.state.ending {
                return Ok(ending);
            }
        }
    }

    /// What makes this server a node, to be stopped in order.
    pub(crate) fn take_cluster(&mut self) -> Option<Cluster> {
        self.executor.state.cluster.take()
    }

    /// How long to wait for something to happen.
    fn timeout(&self) -> Duration {
        if !self.backlog.is_empty() {
            return Duration::ZERO;
        }
        let now = Instant::now();
        let mut timeout = self.next_upkeep.saturating_duration_since(now);
        if let Some(again) = self.accept_again {
            timeout = timeout.min(again.saturating_duration_since(now));
        }
        let deadlines = [
            self.executor.state.waiting.next_deadline(),
            self.executor.state.pause.map(|pause| pause.until_ms),
        ];
        if let Some(deadline) = deadlines.into_iter().flatten().min() {
            timeout = timeout.min(Duration::from_millis(deadline.saturating_sub(now_ms())));
        }
        if let Some(again) = self
            .executor
            .state
            .cluster
            .as_ref()
            .and_then(|c| c.next_deadline())
        {
            // A millisecond is the least that the system waits: no shorter pause is asked for.
            timeout = timeout.min(again.saturating_duration_since(now));
        }
        timeout
    }

    fn look_at_clock(&mut self) {
        self.executor.end_waits();
        self.executor.hear_cluster();
        if self
            .executor
            .state
            .pause
            .is_some_and(|pause| pause.until_ms <= self.executor.now_ms)
        {
            self.executor.state.pause = None;
            self.executor.state.clients.all_due();
        }
        let now = Instant::now();
        if self.accept_again.is_some_and(|again| again <= now) {
            self.accept_again = None;
            (0..self.listeners.len()).for_each(|listener| self.accept(listener));
        }
        if self.next_upkeep <= now {
            self.upkeep(now);
        }
    }

    /// Does what other threads ask for.
    fn hear(&mut self) {
        while let Ok(message) = self.messages.try_recv() {
            match message {
                Message::RenewCertificates => self.executor.state.renew_certificates(),
                Message::End => self.executor.state.ending = Some(Ending::Clean),
                Message::Run {
                    args,
                    protocol,
                    caller,
                    answer,
                } => self.run_for_thread(&args, protocol, caller.as_ref(), answer),
            }
        }
    }

    fn run_for_thread(
        &mut self,
        args: &[Vec<u8>],
        protocol: Protocol,
        caller: Option<&Caller>,
        answer: SyncSender<Frame>,
    ) {
        let now_ms = self.executor.now_ms;
        let state = &mut self.executor.state;
        let id = state.clients.new_id();
        let user = match caller {
            None => state.internal_user.clone(),
            Some(_) => state.users.default_user().clone(),
        };
        if caller.is_some_and(|caller| !caller.is_local)
            && state.settings.protected_mode
            && user.needs_no_password()
        {
            let _ = answer.try_send(Frame::Error(
                "DENIED the server is in protected mode: the user default needs a password before other machines are served".to_owned(),
            ));
            return;
        }
        let mut session = Session::new(id, Link::Internal, user, now_ms);
        session.protocol = protocol;
        if let Some(caller) = caller {
            session.peer.clone_from(&caller.peer);
        }
        let connection = Connection::of_thread(answer);
        state.clients.insert(Client::new(session, connection));
        let Some(mut client) = state.clients.take(id) else {
            return;
        };
        let refused = caller.is_some_and(|caller| !self.introduce(&mut client, caller));
        if !refused {
            let args: Args<'_> = args.iter().map(Vec::as_slice).collect();
            self.executor.run(&mut client, &args);
        }
        // A thread gets one answer, at once: it can't wait for keys or listen.
        if let Some(blocked) = client.session.blocked.take() {
            self.executor.state.waiting.remove(id, &blocked);
            let mut reply = Reply::onto(std::mem::take(&mut client.out), protocol);
            blocked.on_timeout.write(&mut reply);
            client.out = reply.into_bytes();
        }
        if client.out.is_empty() && client.replies.is_empty() {
            client
                .out
                .extend_from_slice(b"-ERR this command can't be used here\r\n");
        }
        self.executor.state.clients.put_back(client);
    }

    /// Makes a client the user that a caller says it is, in the database that it asks for; whether that was let be. Otherwise the error is its answer.
    fn introduce(&mut self, client: &mut Client, caller: &Caller) -> bool {
        let db = caller.db.to_string();
        let mut steps: Vec<Args<'_>> = Vec::new();
        if let Some((name, password)) = &caller.login {
            steps.push([&b"AUTH"[..], name, password].into_iter().collect());
        }
        if caller.db != 0 {
            steps.push([&b"SELECT"[..], db.as_bytes()].into_iter().collect());
        }
        for step in &steps {
            self.executor.run_here(client, step);
            if client.out != b"+OK\r\n" {
                return false;
            }
            client.out.clear();
        }
        true
    }

    /// Listens where `CONFIG SET` has said; those who have connected stay.
    fn listen_elsewhere(&mut self) {
        let Some(wanted) = self.executor.state.listen.take() else {
            return;
        };
        let mut before = std::mem::take(&mut self.listeners);
        for listening in wanted {
            match listening {
                Listening::Anew(listener) => self.listeners.push(listener),
                Listening::Already(bound) => {
                    let at = before
                        .iter()
                        .position(|listener| listener.bound().is_ok_and(|is| is == bound));
                    self.listeners.extend(at.map(|at| before.swap_remove(at)));
                }
            }
        }
        for gone in &mut before {
            gone.deregister(self.poll.registry());
        }
        for (i, listener) in self.listeners.iter_mut().enumerate() {
            listener.deregister(self.poll.registry());
            if let Err(e) = listener.register(self.poll.registry(), Token(1 + i)) {
                log::error!("can't listen: {e}");
            }
        }
        let bound = self.listeners.iter().filter_map(|listener| listener.bound().ok());
        self.executor.state.is_bound_to(bound.collect());
    }

    fn accept(&mut self, listener: usize) {
        // It may have gone in this very turn.
        if listener >= self.listeners.len() {
            return;
        }
        for _ in 0..ACCEPTS_PER_TURN {
            match self.listeners[listener].accept() {
                Ok(Some(accepted)) => self.welcome(accepted),
                Ok(None) => return,
                Err(e)
                    if e.kind() == io::ErrorKind::Interrupted
                        || e.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(e) => {
                    log::warn!("can't accept a client: {e}");
                    break;
                }
            }
        }
        // No event comes for those who wait already.
        self.accept_again = Some(Instant::now() + ACCEPT_PAUSE);
    }

    fn welcome(&mut self, accepted: Accepted) {
        let state = &mut self.executor.state;
        state.stats.connections.add(1);
        accepted.stream.keep_alive(state.settings.keepalive);
        let mut connection = Connection::new(accepted.stream);
        if state.clients.len() >= state.settings.maxclients {
            state.stats.rejected_connections.add(1);
            let _ = connection.send(&mut b"-ERR max number of clients reached\r\n".to_vec());
            return;
        }
        let user = state.users.default_user().clone();
        if state.settings.protected_mode && !accepted.is_local && user.needs_no_password() {
            state.stats.rejected_connections.add(1);
            let _ = connection.send(&mut PROTECTED.as_bytes().to_vec());
            return;
        }
        let id = state.clients.new_id();
        let token = Token(id.0 as usize + LISTENERS);
        let Some(stream) = &mut connection.stream else {
            return;
        };
        if let Err(e) = stream.register(self.poll.registry(), token) {
            log::warn!("can't listen to a client: {e}");
            return;
        }
        let link = if accepted.is_unix { Link::Unix } else { Link::Tcp };
        let mut session = Session::new(id, link, user, self.executor.now_ms);
        session.peer = accepted.peer;
        session.local = accepted.local;
        state.clients.insert(Client::new(session, connection));
        state.stats.clients.set(state.clients.len() as u64);
    }

    /// Reads what a client has sent, and runs what that asks for.
    fn read(&mut self, id: ClientId, closed: bool) {
        let Some(mut client) = self.executor.state.clients.take(id) else {
            return;
        };
        client.connection.unread = true;
        // What it has sent after a command that waits is not read, so its end would not be seen.
        client.connection.ended |= closed && client.session.blocked.is_some();
        let mut scratch = std::mem::take(&mut self.scratch);
        self.read_turn(&mut client, &mut scratch);
        self.scratch = scratch;
        self.executor.state.clients.put_back(client);
    }

    fn read_turn(&mut self, client: &mut Client, scratch: &mut [u8]) {
        for _ in 0..READS_PER_TURN {
            if client.connection.waiting || client.session.closing {
                return;
            }
            let read = match client.connection.read(scratch) {
                Ok(Some(0)) => {
                    client.connection.ended = true;
                    client.connection.unread = false;
                    return;
                }
                Ok(Some(read)) => read,
                Ok(None) => {
                    client.connection.unread = false;
                    return;
                }
                Err(_) => {
                    self.executor
                        .state
                        .clients
                        .doomed
                        .push((client.session.id, "its connection failed"));
                    client.connection.unread = false;
                    return;
                }
            };
            self.executor.state.stats.bytes_in.add(read as u64);
            let new = &scratch[..read];
            if client.connection.input.is_empty() {
                // Most requests come whole: nothing is copied then.
                let consumed = self.serve(client, new);
                client.connection.input.extend_from_slice(&new[consumed..]);
            } else {
                client.connection.input.extend_from_slice(new);
                self.serve_input(client);
            }
            if read < scratch.len() && client.connection.ends_short() {
                client.connection.unread = false;
                return;
            }
        }
    }

    fn serve_input(&mut self, client: &mut Client) {
        let input = std::mem::take(&mut client.connection.input);
        let consumed = self.serve(client, &input);
        client.connection.input = input;
        client.connection.consumed(consumed);
    }

    /// Goes on with a client whose requests had to wait.
    fn go_on(&mut self, id: ClientId) {
        let Some(mut client) = self.executor.state.clients.take(id) else {
            return;
        };
        if client.connection.waiting {
            client.connection.waiting = false;
            self.serve_input(&mut client);
        }
        if client.connection.unread {
            let mut scratch = std::mem::take(&mut self.scratch);
            self.read_turn(&mut client, &mut scratch);
            self.scratch = scratch;
        }
        self.executor.state.clients.put_back(client);
    }

    /// Runs the requests in `input`, as far as may be now; how many bytes they have.
    fn serve(&mut self, client: &mut Client, input: &[u8]) -> usize {
        let mut parser = std::mem::take(&mut client.connection.parser);
        let mut consumed = 0;
        client.session.usage.input = input.len();
        loop {
            if consumed < input.len() && self.has_to_wait(client) {
                client.connection.waiting = true;
                break;
            }
            let limits = if client.session.authenticated {
                self.executor.state.settings.limits
            } else {
                Limits::unauthenticated()
            };
            let rest = &input[consumed..];
            match parser.next(rest, &limits) {
                Ok(Step::Incomplete) => break,
                Ok(Step::Request { consumed: len }) => {
                    let args: Args<'_> = parser.args(rest).collect();
                    if self.is_paused(&client.session, &args) {
                        client.connection.waiting = true;
                        break;
                    }
                    self.executor.run(client, &args);
                    consumed += len;
                }
                Err(e) => {
                    if matches!(e, ProtocolError::RequestTooLarge) {
                        self.executor.state.stats.query_limit_disconnections.add(1);
                    }
                    client.out.extend_from_slice(format!("-ERR {e}\r\n").as_bytes());
                    client.session.closing = true;
                    consumed = input.len();
                    break;
                }
            }
            if client.session.closing {
                consumed = input.len();
                break;
            }
        }
        let partial = consumed < input.len() && !client.connection.waiting;
        let now_ms = self.executor.now_ms;
        client.connection.partial_since = partial.then(|| {
            client
                .connection
                .partial_since
                .filter(|_| consumed == 0)
                .unwrap_or(now_ms)
        });
        parser.shrink();
        client.connection.parser = parser;
        consumed
    }

    fn has_to_wait(&self, client: &Client) -> bool {
        client.session.blocked.is_some()
            || client.replies.is_full()
            || client.connection.unsent(&client.out) > UNSENT_MAX
    }

    fn is_paused(&self, session: &Session, args: &[&[u8]]) -> bool {
        let Some(pause) = self.executor.state.pause else {
            return false;
        };
        if !pause.writes_only {
            return true;
        }
        let writes = |flags: Flags| flags.has(Flags::WRITE) || flags.has(Flags::PAUSED);
        match args.first().map(|_| self.executor.state.renames.find(args)) {
            Some(Ok(found)) if found.command.name == "exec" => {
                let queued = session.multi.iter().flat_map(|multi| &multi.queued);
                queued.map(|queued| queued.found.command.flags).any(writes)
            }
            Some(Ok(found)) => session.multi.is_none() && writes(found.command.flags),
            _ => false,
        }
    }

    /// Sends what clients are to get, and takes leave of those that are done.
    pub(super) fn answer(&mut self) {
        let due = self.executor.state.clients.take_due();
        for id in &due {
            self.answer_one(*id);
        }
        self.executor.state.clients.keep_due(due);
        let doomed: HashSet<(ClientId, &str)> = std::mem::take(&mut self.executor.state.clients.doomed)
            .into_iter()
            .collect();
        for (id, why) in doomed {
            log::debug!("client {} is disconnected: {why}", id.0);
            self.drop_client(id);
        }
    }

    fn answer_one(&mut self, id: ClientId) {
        let state = &mut self.executor.state;
        let Some(client) = state.clients.get_mut(id) else {
            return;
        };
        client.uncertain.clear();
        if client.connection.answer.is_some() && !client.replies.is_empty() {
            return;
        }
        if let Some(answer) = client.connection.answer.take() {
            let frame = Frame::read(&client.out).ok().flatten().map(|(frame, _)| frame);
            // Whoever asked may have gone.
            let _ = answer.try_send(frame.unwrap_or_else(|| Frame::Error("ERR no reply".to_owned())));
            return self.drop_client(id);
        }
        let too_much = client.over_hard_limit(client.connection.unsent(&client.out), &state.settings);
        let sent = if too_much {
            Ok(0)
        } else {
            client.connection.send(&mut client.out)
        };
        let unsent = client.connection.unsent(&client.out);
        client.session.usage.output = unsent;
        client.session.usage.input = client.connection.input.len();
        client.session.usage.input_free = client.connection.input.capacity() - client.connection.input.len();
        let over = client.over_limit(unsent, &state.settings, self.executor.now_ms);
        let goes_on = (client.connection.waiting || client.connection.unread)
            && client.session.blocked.is_none()
            && !client.replies.is_full()
            && unsent <= UNSENT_MAX
            && state.pause.is_none();
        let done =
            (client.session.closing || (client.connection.ended && !goes_on)) && client.replies.is_empty();
        match sent {
            Err(_) => return self.drop_client(id),
            Ok(sent) => state.stats.bytes_out.add(sent as u64),
        }
        if over {
            state.stats.output_limit_disconnections.add(1);
            log::warn!(
                "client {} did not read what it was sent, and is disconnected",
                id.0
            );
            return self.drop_client(id);
        }
        if done && (unsent == 0 || client.connection.ended && client.session.blocked.is_some()) {
            return self.drop_client(id);
        }
        if goes_on {
            self.backlog.push(id);
        }
    }

    pub(super) fn drop_client(&mut self, id: ClientId) {
        let Some(mut client) = self.executor.state.clients.remove(id) else {
            return;
        };
        if let Some(stream) = &mut client.connection.stream {
            stream.deregister(self.poll.registry());
        }
        self.executor.state.forget_client(&mut client.session);
        let clients = self.executor.state.clients.len() as u64;
        self.executor.state.stats.clients.set(clients);
    }
}

/// What somebody from another machine is told while there is no password.
const PROTECTED: &str = "-DENIED Weald is running in protected mode because protected mode is enabled and no password is set for the default user. \
In this mode connections are only accepted from the loopback interface. If you want to connect from external computers, set a password with requirepass, \
or turn protected mode off with protected-mode no\r\n";

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
