//! A connection that we make, and the messages that wait for it.
//!
//! Whoever has messages writes them, if the connection is idle, they are few, and the system takes them at once. Everything else is for the link's
//! thread: connecting, checking, what is long, and what the other side is slow to take.

use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use socket2::SockRef;
use weald_cluster_proto::{Lane, NodeId};

use super::super::lanes::{Arrived, Assembly, Lanes, PING};
use super::super::session::{RECORD_MAX, Session, SessionError};
use super::{Shared, add};

/// Bytes that go into one write, as far as they wait.
const WRITE_BYTES: usize = 4 * RECORD_MAX;

/// Takes what there is room for, and nothing more.
const AT_ONCE: i32 = libc::MSG_DONTWAIT;

/// The messages for one address.
pub(super) struct Link {
    address: Vec<u8>,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    lanes: Lanes,
    /// Until then the address is not tried again, and messages for it are dropped.
    down_until: Option<Instant>,
    /// The connection, while nobody uses it.
    idle: Option<Box<Connection>>,
    /// How it broke while others than the thread used it.
    broken: Option<SessionError>,
    /// The thread writes what it took from the lanes.
    writing: bool,
    /// The link's thread sleeps, and has not been woken.
    asleep: bool,
    messages: u64,
}

impl State {
    /// Whether the thread has something to do with the connection.
    fn is_due(&self, now: Instant) -> bool {
        let due = |connection: &Connection| now >= connection.check_at || !connection.out.is_empty();
        self.broken.is_some() || !self.lanes.is_empty() || self.idle.as_deref().is_some_and(due)
    }
}

impl Link {
    pub(super) fn new(address: &[u8]) -> Link {
        Link {
            address: address.to_vec(),
            state: Mutex::default(),
            wake: Condvar::new(),
        }
    }

    /// Queues messages, and says how many there was room for. Sends them, if that takes no waiting.
    pub(super) fn push(&self, shared: &Shared, to: Option<NodeId>, messages: Vec<(Lane, Vec<u8>)>) -> usize {
        let mut state = self.lock();
        if state.down_until.is_some_and(|until| Instant::now() < until) {
            return 0;
        }
        let lane_bytes_max = shared.options.lane_bytes_max;
        let mut queued = 0;
        for (lane, message) in messages {
            queued += usize::from(state.lanes.push(to, lane, message, lane_bytes_max));
        }
        state.messages += queued as u64;
        if state.lanes.bytes() <= WRITE_BYTES
            && let Some(mut connection) = state.idle.take_if(|connection| connection.out.is_empty())
        {
            match connection.send_at_once(shared, &mut state) {
                Ok(()) => state.idle = Some(connection),
                Err(error) => state.broken = Some(error),
            }
        }
        let left = !state.lanes.is_empty()
            || state.broken.is_some()
            || state.idle.as_ref().is_some_and(|idle| !idle.out.is_empty());
        // A thread that is awake looks again before it sleeps.
        let wake = left && std::mem::take(&mut state.asleep);
        drop(state);
        if wake {
            self.wake.notify_one();
        }
        queued
    }

    pub(super) fn is_busy(&self) -> bool {
        let state = self.lock();
        let unsent = state.idle.as_ref().is_some_and(|idle| !idle.out.is_empty());
        !state.lanes.is_empty() || state.writing || unsent
    }

    pub(super) fn wake(&self) {
        let state = self.lock();
        drop(state);
        self.wake.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is something for the thread to do, or the time has come.
    fn wait(&self, shared: &Shared, until: Instant) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let left = until.saturating_duration_since(now);
            if state.is_due(now) || left.is_zero() || shared.is_stopped() {
                return state;
            }
            state.asleep = true;
            state = self
                .wake
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            state.asleep = false;
        }
    }

    /// Gives up what waits, and the address for a while.
    fn fail(&self, shared: &Shared, pause: Duration) {
        let mut state = self.lock();
        state.lanes.clear();
        state.writing = false;
        add(&shared.counts.dropped, std::mem::take(&mut state.messages));
        state.down_until = Some(Instant::now() + pause);
    }
}

/// Connects whenever there is something to send, until nothing is for long.
pub(super) fn run(shared: &Arc<Shared>, link: &Arc<Link>) {
    let first = shared.options.retry_max / 50;
    let mut pause = first;
    while !shared.is_stopped() {
        let idle = link
            .wait(shared, Instant::now() + shared.options.idle_timeout)
            .lanes
            .is_empty();
        if idle {
            let mut links = shared.links.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody can queue anything while the list is held.
            if link.lock().lanes.is_empty() {
                if links
                    .get(&link.address)
                    .is_some_and(|listed| Arc::ptr_eq(listed, link))
                {
                    links.remove(&link.address);
                }
                return;
            }
            continue;
        }
        let ended = connect(shared, link).and_then(|(stream, session)| {
            pause = first;
            let _watched = shared.watch(&stream)?;
            add(&shared.counts.sessions, 1);
            let connection = Connection::new(stream, session, &shared.options)?;
            tend(shared, link, Box::new(connection))
        });
        if let Err(error) = ended {
            let count = if matches!(error, SessionError::Io(_)) {
                &shared.counts.broken
            } else {
                &shared.counts.refused
            };
            add(count, 1);
            log::debug!("{}: {error}", String::from_utf8_lossy(&link.address));
            link.fail(shared, pause);
            // What is queued after the pause wakes the link.
            pause = (pause * 2).min(shared.options.retry_max);
        }
    }
}

fn connect(shared: &Shared, link: &Link) -> Result<(TcpStream, Session), SessionError> {
    let limit = shared.options.connect_timeout;
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let address = std::str::from_utf8(&link.address).map_err(|_| invalid())?;
    let mut last = invalid();
    for socket in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&socket, limit) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                let session = shared.sessions.initiate(&stream, limit)?;
                return Ok((stream, session));
            }
            Err(error) => last = error,
        }
    }
    Err(last.into())
}

/// A connection that is made.
struct Connection {
    stream: TcpStream,
    session: Session,
    record: Vec<u8>,
    out: Vec<u8>,
    /// When it is to be checked again.
    check_at: Instant,
    /// Whether the other side was asked to show that it is there.
    asked: bool,
    last_sent: Instant,
}

/// Looks after a connection until the transport stops, nothing is sent for long, or it breaks.
fn tend(shared: &Shared, link: &Link, mut connection: Box<Connection>) -> Result<(), SessionError> {
    let options = &shared.options;
    while !shared.is_stopped() {
        let mut state = link.lock();
        if connection.out.is_empty() {
            connection.fill(shared, &mut state)?;
        }
        let check = Instant::now() >= connection.check_at;
        if connection.out.is_empty() && !check {
            if connection.last_sent.elapsed() > options.idle_timeout {
                return Ok(());
            }
            let check_at = connection.check_at;
            state.idle = Some(connection);
            drop(state);
            state = link.wait(shared, check_at);
            if let Some(error) = state.broken.take() {
                return Err(error);
            }
            let Some(idle) = state.idle.take() else {
                return Ok(());
            };
            connection = idle;
            continue;
        }
        state.writing = true;
        drop(state);
        if check {
            connection.check(options.check_interval)?;
        }
        connection.write(shared)?;
        link.lock().writing = false;
    }
    Ok(())
}

impl Connection {
    fn new(
        stream: TcpStream,
        session: Session,
        options: &super::TcpOptions,
    ) -> Result<Connection, SessionError> {
        stream.set_write_timeout(Some(options.check_interval * 3))?;
        stream.set_read_timeout(Some(options.check_interval * 2))?;
        Ok(Connection {
            stream,
            session,
            record: Vec::with_capacity(RECORD_MAX),
            out: Vec::new(),
            check_at: Instant::now(),
            asked: false,
            last_sent: Instant::now(),
        })
    }

    /// Seals what waits in the lanes, as much as one write takes.
    fn fill(&mut self, shared: &Shared, state: &mut State) -> Result<(), SessionError> {
        while self.out.len() < WRITE_BYTES && !state.lanes.is_empty() {
            let dropped = state.lanes.fill(self.session.peer, &mut self.record);
            add(&shared.counts.dropped, dropped);
            if !self.record.is_empty() {
                self.session.seal(&self.record, &mut self.out)?;
                self.last_sent = Instant::now();
            }
        }
        if state.lanes.is_empty() {
            add(&shared.counts.sent, std::mem::take(&mut state.messages));
        }
        Ok(())
    }

    /// Writes what was sealed, however long it takes.
    fn write(&mut self, shared: &Shared) -> Result<(), SessionError> {
        if !self.out.is_empty() {
            self.stream.write_all(&self.out)?;
            written(shared, self.out.len());
            self.out.clear();
        }
        Ok(())
    }

    /// Seals what waits, and writes as much of it as the system takes now.
    fn send_at_once(&mut self, shared: &Shared, state: &mut State) -> Result<(), SessionError> {
        self.fill(shared, state)?;
        if self.out.is_empty() {
            return Ok(());
        }
        match SockRef::from(&self.stream).send_with_flags(&self.out, AT_ONCE) {
            Ok(len) => {
                written(shared, len);
                self.out.drain(..len);
                Ok(())
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the answer to the last question, which had a whole interval to arrive, and asks again. Without one the other side is gone, whatever the
    /// socket says.
    fn check(&mut self, interval: Duration) -> Result<(), SessionError> {
        if std::mem::replace(&mut self.asked, true) {
            let mut answer = Vec::new();
            self.session.read(&mut &self.stream, &mut answer)?;
            Assembly::default().take(&answer, &mut |arrived| match arrived {
                Arrived::Pong => Ok(()),
                Arrived::Message(_) | Arrived::Ping => Err(SessionError::Malformed),
            })?;
        }
        self.session.seal(&[PING, 0, 0], &mut self.out)?;
        self.check_at = Instant::now() + interval;
        Ok(())
    }
}

fn written(shared: &Shared, len: usize) {
    add(&shared.counts.writes, 1);
    shared.counts.sent_bytes.fetch_add(len as u64, Ordering::Relaxed);
}
