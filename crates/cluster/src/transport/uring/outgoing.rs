//! Connections that we make, all on one thread: it connects, shakes hands, writes what waits in each link's lanes, and asks from time to time whether the
//! other side is still there.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use weald_vfs::{Ended, SocketRing};

use super::super::lanes::{Arrived, Assembly, PING};
use super::super::session::{HANDSHAKE_MAX, Handshake, RECORD_MAX, Session, SessionError, Shaken};
use super::super::tcp::add;
use super::link::Link;
use super::wire::Wire;
use super::{NEVER, Shared, Told, wait, wire};

/// Bytes that go into one write, as far as they wait.
const WRITE_BYTES: usize = 4 * RECORD_MAX;

pub(super) fn run(shared: &Arc<Shared>, ring: SocketRing) {
    let mut outgoing = Outgoing {
        shared,
        ring,
        flows: HashMap::new(),
        look_at: Instant::now() + NEVER,
    };
    let mut ended = Vec::new();
    while !shared.is_stopped() {
        wait(&mut outgoing.ring, outgoing.look_at, &mut ended);
        let told = std::mem::take(&mut *shared.told());
        told.into_iter().for_each(|told| outgoing.hear(told));
        ended.drain(..).for_each(|ended| outgoing.take(ended));
        if Instant::now() >= outgoing.look_at {
            outgoing.look();
        }
    }
    for flow in outgoing.flows.values() {
        flow.phase.close();
    }
}

struct Outgoing<'s> {
    shared: &'s Arc<Shared>,
    ring: SocketRing,
    /// By the link's number.
    flows: HashMap<u64, Flow>,
    /// Not later than the first time at which something is due.
    look_at: Instant,
}

/// What is being done for a link.
struct Flow {
    link: Arc<Link>,
    /// Counts connections, so that what comes of an earlier one is not taken for this one's.
    attempt: u32,
    phase: Phase,
    pause: Duration,
}

enum Phase {
    Idle {
        since: Instant,
    },
    /// A thread asks what the name stands for.
    Resolving,
    Connecting {
        socket: Arc<TcpStream>,
        rest: Vec<SocketAddr>,
        until: Instant,
    },
    /// The handshake is `None` only while a frame is taken.
    Shaking {
        wire: Wire,
        handshake: Option<Handshake>,
        until: Instant,
    },
    Open(Box<Open>),
}

/// A connection that is made.
struct Open {
    wire: Wire,
    session: Session,
    record: Vec<u8>,
    /// When it is to be checked again.
    check_at: Instant,
    /// Since when the other side was asked to show that it is there.
    asked: Option<Instant>,
    last_sent: Instant,
}

impl Phase {
    fn close(&self) {
        match self {
            Phase::Idle { .. } | Phase::Resolving => {}
            Phase::Connecting { socket, .. } => drop(socket.shutdown(std::net::Shutdown::Both)),
            Phase::Shaking { wire, .. } => wire.close(),
            Phase::Open(open) => open.wire.close(),
        }
    }
}

impl Flow {
    fn new(link: Arc<Link>, first_pause: Duration) -> Flow {
        Flow {
            link,
            attempt: 0,
            phase: Phase::Idle {
                since: Instant::now(),
            },
            pause: first_pause,
        }
    }

    /// What this attempt's operations are named by.
    fn name(&self) -> u64 {
        self.link.number << 31 | u64::from(self.attempt & 0x7fff_ffff)
    }

    /// When it has to be looked after.
    fn due(&self, shared: &Shared) -> Instant {
        let options = &shared.options;
        match &self.phase {
            Phase::Idle { since } => *since + options.idle_timeout,
            Phase::Resolving => Instant::now() + NEVER,
            Phase::Connecting { until, .. } | Phase::Shaking { until, .. } => *until,
            Phase::Open(open) => open.overdue_at(options.check_interval).min(open.check_at),
        }
    }
}

impl Open {
    /// When it is given up unless something comes before.
    fn overdue_at(&self, interval: Duration) -> Instant {
        let since = self.asked.into_iter().chain(self.wire.stuck_since()).min();
        since.map_or_else(|| self.check_at + NEVER, |since| since + interval * 3)
    }

    /// Seals what waits, as much as goes into one write, and begins to write it.
    fn fill(&mut self, link: &Link, shared: &Shared, ring: &mut SocketRing) -> Result<(), SessionError> {
        while self.wire.stuck_since().is_none() {
            let mut more = true;
            while more && self.wire.out.len() < WRITE_BYTES {
                let filled = link.fill(self.session.peer, &mut self.record);
                add(&shared.counts.dropped, filled.dropped);
                add(&shared.counts.sent, filled.sent);
                more = filled.more;
                if !self.record.is_empty() {
                    self.session.seal(&self.record, &mut self.wire.out)?;
                    self.last_sent = Instant::now();
                }
            }
            if !self.wire.out.is_empty() {
                self.wire.send(ring);
            } else if link.leave() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes in what the other side says: only that it is there.
    fn hear(&mut self) -> Result<(), SessionError> {
        while let Some(mut frame) = self.wire.frame(usize::MAX)? {
            self.session.read(&mut frame, &mut self.record)?;
            let asked = &mut self.asked;
            Assembly::default().take(&self.record, &mut |arrived| match arrived {
                Arrived::Pong if asked.take().is_some() => Ok(()),
                _ => Err(SessionError::Malformed),
            })?;
        }
        Ok(())
    }
}

impl Outgoing<'_> {
    fn hear(&mut self, told: Told) {
        let first_pause = self.shared.options.retry_max / 50;
        match told {
            Told::Waiting(link) => {
                let mut flow = self
                    .flows
                    .remove(&link.number)
                    .unwrap_or_else(|| Flow::new(link, first_pause));
                let done = self.attend(&mut flow);
                self.keep(flow, done);
            }
            Told::Resolved(number, attempt, found) => {
                let Some(mut flow) = self.flows.remove(&number) else {
                    return;
                };
                let done = if matches!(flow.phase, Phase::Resolving) && flow.attempt == attempt {
                    found
                        .map_err(SessionError::from)
                        .and_then(|found| self.connect(&mut flow, found))
                } else {
                    Ok(())
                };
                self.keep(flow, done);
            }
        }
    }

    fn take(&mut self, ended: Ended) {
        let name = wire::name(ended.token);
        // It may have been struck off since, or belong to an earlier attempt.
        let Some(mut flow) = self.flows.remove(&(name >> 31)) else {
            return;
        };
        let done = if flow.name() == name {
            self.advance(&mut flow, ended)
        } else {
            Ok(())
        };
        self.keep(flow, done);
    }

    /// Puts a flow back, or what is left of it after an error.
    fn keep(&mut self, mut flow: Flow, done: Result<(), SessionError>) {
        if let Err(error) = done {
            let counts = &self.shared.counts;
            let is_io = matches!(error, SessionError::Io(_));
            add(if is_io { &counts.broken } else { &counts.refused }, 1);
            log::debug!("{}: {error}", String::from_utf8_lossy(&flow.link.address));
            add(&counts.dropped, flow.link.fail(flow.pause));
            flow.pause = (flow.pause * 2).min(self.shared.options.retry_max);
            self.rest(&mut flow);
        }
        self.look_at = self.look_at.min(flow.due(self.shared));
        self.flows.insert(flow.link.number, flow);
    }

    /// Ends the connection, if there is one.
    fn rest(&self, flow: &mut Flow) {
        flow.phase.close();
        flow.attempt = flow.attempt.wrapping_add(1);
        flow.phase = Phase::Idle {
            since: Instant::now(),
        };
    }

    /// Somebody queued something.
    fn attend(&mut self, flow: &mut Flow) -> Result<(), SessionError> {
        match &mut flow.phase {
            Phase::Idle { .. } => self.begin(flow),
            Phase::Open(open) => open.fill(&flow.link, self.shared, &mut self.ring),
            // The lanes are looked at once that is over.
            Phase::Resolving | Phase::Connecting { .. } | Phase::Shaking { .. } => Ok(()),
        }
    }

    /// Finds out where the address is.
    fn begin(&mut self, flow: &mut Flow) -> Result<(), SessionError> {
        let invalid = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let address =
            String::from_utf8(flow.link.address.clone()).map_err(|error| invalid(error.utf8_error()))?;
        if let Ok(address) = address.parse() {
            return self.connect(flow, vec![address]);
        }
        flow.phase = Phase::Resolving;
        let (shared, number, attempt) = (self.shared.clone(), flow.link.number, flow.attempt);
        let waker = self.ring.waker();
        // Names are resolved by the system, which waits. Each link asks one at a time, and nobody waits for the answer at the end.
        std::thread::spawn(move || {
            let found = address.to_socket_addrs().map(Iterator::collect);
            shared.told().push(Told::Resolved(number, attempt, found));
            waker.wake();
        });
        Ok(())
    }

    /// Begins to connect to the first of these, in the order in which they were found.
    fn connect(&mut self, flow: &mut Flow, mut found: Vec<SocketAddr>) -> Result<(), SessionError> {
        let mut last = io::Error::from(io::ErrorKind::InvalidInput);
        while !found.is_empty() {
            match begin_to_connect(found.remove(0)) {
                Ok(socket) => {
                    let socket = Arc::new(socket);
                    flow.attempt = flow.attempt.wrapping_add(1);
                    self.ring.writable(wire::token(flow.name()), &socket);
                    flow.phase = Phase::Connecting {
                        socket,
                        rest: found,
                        until: Instant::now() + self.shared.options.connect_timeout,
                    };
                    return Ok(());
                }
                Err(error) => last = error,
            }
        }
        Err(last.into())
    }

    /// An operation of the flow's connection has ended.
    fn advance(&mut self, flow: &mut Flow, ended: Ended) -> Result<(), SessionError> {
        let counts = &self.shared.counts;
        match &mut flow.phase {
            Phase::Idle { .. } | Phase::Resolving => Ok(()),
            Phase::Connecting { socket, rest, .. } => {
                let socket = socket.clone();
                let made = ended.result.and_then(|_| finish_connecting(&socket));
                match made {
                    Ok(()) => self.shake(flow, socket),
                    Err(error) if rest.is_empty() => Err(error.into()),
                    Err(_) => {
                        let rest = std::mem::take(rest);
                        self.connect(flow, rest)
                    }
                }
            }
            Phase::Shaking { wire, .. } if wire::is_sent(ended.token) => {
                wire.sent(ended, &mut self.ring, counts)?;
                Ok(())
            }
            Phase::Shaking { wire, handshake, .. } => {
                wire.received(ended, counts)?;
                let session = loop {
                    let Some(frame) = wire.frame(HANDSHAKE_MAX)?.map(<[u8]>::to_vec) else {
                        wire.receive(&mut self.ring);
                        return Ok(());
                    };
                    let going = handshake.take().ok_or(SessionError::Malformed)?;
                    match going.take(&self.shared.noise, &frame[2..], &mut wire.out)? {
                        Shaken::Going(going) => *handshake = Some(going),
                        Shaken::Done(session) => break session,
                    }
                };
                self.open(flow, session)
            }
            Phase::Open(open) if wire::is_sent(ended.token) => {
                if open.wire.sent(ended, &mut self.ring, counts)? {
                    open.fill(&flow.link, self.shared, &mut self.ring)?;
                }
                Ok(())
            }
            Phase::Open(open) => {
                open.wire.received(ended, counts)?;
                open.hear()?;
                open.wire.receive(&mut self.ring);
                Ok(())
            }
        }
    }

    fn shake(&mut self, flow: &mut Flow, socket: Arc<TcpStream>) -> Result<(), SessionError> {
        let mut wire = Wire::new(flow.name(), socket);
        let handshake = Handshake::ask(&self.shared.noise, &mut wire.out)?;
        wire.send(&mut self.ring);
        wire.receive(&mut self.ring);
        flow.phase = Phase::Shaking {
            wire,
            handshake: Some(handshake),
            until: Instant::now() + self.shared.options.connect_timeout,
        };
        Ok(())
    }

    /// The peer is known: what waits goes out, behind the last frame of the handshake.
    fn open(&mut self, flow: &mut Flow, session: Session) -> Result<(), SessionError> {
        let now = Instant::now();
        let since = Phase::Idle { since: now };
        let Phase::Shaking { mut wire, .. } = std::mem::replace(&mut flow.phase, since) else {
            return Err(SessionError::Malformed);
        };
        add(&self.shared.counts.sessions, 1);
        flow.pause = self.shared.options.retry_max / 50;
        wire.receive(&mut self.ring);
        let mut open = Box::new(Open {
            wire,
            session,
            record: Vec::with_capacity(RECORD_MAX),
            // At once, as the other side may have taken our last frame for a stranger's.
            check_at: now,
            asked: None,
            last_sent: now,
        });
        let filled = open.fill(&flow.link, self.shared, &mut self.ring);
        flow.phase = Phase::Open(open);
        filled
    }

    /// Does what is due, and sees when the next thing will be.
    fn look(&mut self) {
        let now = Instant::now();
        self.look_at = now + NEVER;
        let numbers: Vec<u64> = self.flows.keys().copied().collect();
        for number in numbers {
            let Some(mut flow) = self.flows.remove(&number) else {
                continue;
            };
            if flow.due(self.shared) <= now {
                if self.is_struck_off(&flow) {
                    continue;
                }
                let done = self.tend(&mut flow, now);
                self.keep(flow, done);
            } else {
                self.keep(flow, Ok(()));
            }
        }
    }

    /// Takes a link that has been idle for long off the list, unless something was queued meanwhile.
    fn is_struck_off(&self, flow: &Flow) -> bool {
        if !matches!(flow.phase, Phase::Idle { .. }) {
            return false;
        }
        let mut links = self.shared.links();
        // Nobody can queue anything while the list is held.
        let unused = flow.link.is_empty();
        if unused {
            links.remove(&flow.link.address);
        }
        unused
    }

    fn tend(&mut self, flow: &mut Flow, now: Instant) -> Result<(), SessionError> {
        let options = &self.shared.options;
        let late = || Err(io::Error::from(io::ErrorKind::TimedOut).into());
        match &mut flow.phase {
            Phase::Idle { since } => {
                *since = now;
                Ok(())
            }
            Phase::Resolving => Ok(()),
            Phase::Connecting { rest, .. } if !rest.is_empty() => {
                let rest = std::mem::take(rest);
                flow.phase.close();
                self.connect(flow, rest)
            }
            Phase::Connecting { .. } | Phase::Shaking { .. } => late(),
            Phase::Open(open) => {
                if open.overdue_at(options.check_interval) <= now {
                    return late();
                }
                open.check_at = now + options.check_interval;
                let is_unused =
                    open.last_sent.elapsed() > options.idle_timeout && open.wire.stuck_since().is_none();
                if is_unused && flow.link.leave() {
                    self.rest(flow);
                    return Ok(());
                }
                if open.asked.is_none() {
                    open.session.seal(&[PING, 0, 0], &mut open.wire.out)?;
                    open.asked = Some(now);
                }
                open.wire.send(&mut self.ring);
                Ok(())
            }
        }
    }
}

fn begin_to_connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        // It goes on.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        Err(error) if error.raw_os_error() == Some(EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

/// What Linux says of a connection that goes on being made.
const EINPROGRESS: i32 = 115;

fn finish_connecting(socket: &TcpStream) -> io::Result<()> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    // The ring waits by itself only on sockets that would.
    socket.set_nonblocking(false)?;
    socket.set_nodelay(true)
}
