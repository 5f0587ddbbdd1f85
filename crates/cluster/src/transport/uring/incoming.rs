//! Connections that others make, all on one thread: it accepts them, shakes hands, and hands on what they send.

use std::collections::HashMap;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use weald_vfs::{Ended, SocketRing};

use super::super::lanes::{Arrived, Assembly, PONG};
use super::super::session::{HANDSHAKE_MAX, Handshake, Session, SessionError, Shaken};
use super::super::tcp::add;
use super::super::{Messages, Receive};
use super::wire::{TooLong, Wire};
use super::{NEVER, REST, Shared, wait, wire};

/// The listener's name; connections have others.
const LISTENER: u64 = 0;
/// Connections that are taken in before others are looked after.
const ACCEPTED_MAX: usize = 64;

impl From<TooLong> for SessionError {
    fn from(_: TooLong) -> SessionError {
        SessionError::Malformed
    }
}

pub(super) fn run(shared: &Shared, ring: SocketRing, listener: TcpListener, receiver: Arc<dyn Receive>) {
    let mut incoming = Incoming {
        shared,
        ring,
        listener: Arc::new(listener),
        receiver,
        peers: HashMap::new(),
        next: LISTENER + 1,
        shaking: 0,
        record: Vec::new(),
        accept_at: None,
        look_at: Instant::now() + NEVER,
    };
    incoming
        .ring
        .acceptable(wire::token(LISTENER), &incoming.listener);
    let mut ended = Vec::new();
    while !shared.is_stopped() {
        wait(&mut incoming.ring, incoming.look_at, &mut ended);
        for ended in ended.drain(..) {
            if shared.is_stopped() {
                break;
            }
            incoming.take(ended);
        }
        if Instant::now() >= incoming.look_at {
            incoming.look();
        }
    }
    incoming.peers.values().for_each(|peer| peer.wire.close());
}

struct Incoming<'s> {
    shared: &'s Shared,
    ring: SocketRing,
    listener: Arc<TcpListener>,
    receiver: Arc<dyn Receive>,
    peers: HashMap<u64, Peer>,
    next: u64,
    /// Peers that have not proved who they are.
    shaking: usize,
    record: Vec<u8>,
    /// When accepting is tried again, after the system had no resources for it.
    accept_at: Option<Instant>,
    /// Not later than the first time at which something is overdue.
    look_at: Instant,
}

/// Somebody who connected.
struct Peer {
    wire: Wire,
    phase: Phase,
    /// When it must have shaken hands, or said something.
    until: Instant,
}

enum Phase {
    /// `None` only while a frame is taken.
    Shaking(Option<Handshake>),
    Open(Box<(Session, Assembly)>),
}

impl Incoming<'_> {
    fn take(&mut self, ended: Ended) {
        let name = wire::name(ended.token);
        if name == LISTENER {
            return self.accept();
        }
        // It may have been given up since.
        let Some(mut peer) = self.peers.remove(&name) else {
            return;
        };
        let was_shaking = matches!(peer.phase, Phase::Shaking(_));
        let done = self.advance(&mut peer, ended);
        if was_shaking && (done.is_err() || matches!(peer.phase, Phase::Open(_))) {
            self.shaking -= 1;
        }
        match done {
            Ok(()) => {
                self.look_at = self.look_at.min(peer.until);
                self.peers.insert(name, peer);
            }
            Err(error) => self.end(&peer, &error),
        }
    }

    fn advance(&mut self, peer: &mut Peer, ended: Ended) -> Result<(), SessionError> {
        let counts = &self.shared.counts;
        if wire::is_sent(ended.token) {
            if peer.wire.sent(ended, &mut self.ring, counts)? {
                peer.wire.send(&mut self.ring);
            }
            return Ok(());
        }
        peer.wire.received(ended, counts)?;
        loop {
            match &mut peer.phase {
                Phase::Shaking(handshake) => {
                    let Some(frame) = peer.wire.frame(HANDSHAKE_MAX)?.map(<[u8]>::to_vec) else {
                        break;
                    };
                    let going = handshake.take().ok_or(SessionError::Malformed)?;
                    match going.take(&self.shared.noise, &frame[2..], &mut peer.wire.out)? {
                        Shaken::Going(going) => *handshake = Some(going),
                        Shaken::Done(session) => {
                            add(&counts.sessions, 1);
                            peer.phase = Phase::Open(Box::new((session, Assembly::default())));
                        }
                    }
                }
                Phase::Open(open) => {
                    let Some(mut frame) = peer.wire.frame(usize::MAX)? else {
                        break;
                    };
                    let (session, assembly) = &mut **open;
                    session.read(&mut frame, &mut self.record)?;
                    if hand_on(&self.record, session, assembly, self.shared, &*self.receiver)? {
                        let waits = peer.wire.stuck_since().is_some() && !peer.wire.out.is_empty();
                        // One answer is as good as two to somebody who reads none.
                        if !waits {
                            session.seal(&[PONG, 0, 0], &mut peer.wire.out)?;
                        }
                    }
                }
            }
        }
        if matches!(peer.phase, Phase::Open(_)) {
            peer.until = Instant::now() + self.silence_max();
        }
        peer.wire.send(&mut self.ring);
        peer.wire.receive(&mut self.ring);
        Ok(())
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTED_MAX {
            match self.listener.accept() {
                Ok((stream, _)) => self.admit(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // It was gone before it was taken.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    // Out of descriptors, most likely: others must close some first.
                    let at = Instant::now() + REST;
                    self.accept_at = Some(at);
                    self.look_at = self.look_at.min(at);
                    return;
                }
            }
        }
        self.ring.acceptable(wire::token(LISTENER), &self.listener);
    }

    fn admit(&mut self, stream: TcpStream) {
        let options = &self.shared.options;
        let full = self.peers.len() >= options.incoming_max || self.shaking >= options.handshakes_max;
        let handshake = Handshake::answer(&self.shared.noise);
        let (false, Ok(handshake), Ok(())) = (full, handshake, stream.set_nodelay(true)) else {
            return add(&self.shared.counts.refused, 1);
        };
        let name = self.next;
        self.next += 1;
        let until = Instant::now() + options.connect_timeout;
        let mut wire = Wire::new(name, Arc::new(stream));
        wire.receive(&mut self.ring);
        self.peers.insert(
            name,
            Peer {
                wire,
                phase: Phase::Shaking(Some(handshake)),
                until,
            },
        );
        self.shaking += 1;
        self.look_at = self.look_at.min(until);
    }

    fn silence_max(&self) -> Duration {
        self.shared.options.check_interval * 3
    }

    /// Gives up whoever is overdue, and sees when the next will be.
    fn look(&mut self) {
        let now = Instant::now();
        if self.accept_at.is_some_and(|at| at <= now) {
            self.accept_at = None;
            self.accept();
        }
        let silence_max = self.silence_max();
        let due = |peer: &Peer| match peer.wire.stuck_since() {
            Some(since) => peer.until.min(since + silence_max),
            None => peer.until,
        };
        let overdue: Vec<Peer> = self
            .peers
            .extract_if(|_, peer| due(peer) <= now)
            .map(|(_, peer)| peer)
            .collect();
        for peer in overdue {
            self.shaking -= usize::from(matches!(peer.phase, Phase::Shaking(_)));
            self.end(&peer, &io::Error::from(io::ErrorKind::TimedOut).into());
        }
        let first = self.peers.values().map(due).chain(self.accept_at).min();
        self.look_at = first.unwrap_or(now + NEVER);
    }

    fn end(&self, peer: &Peer, error: &SessionError) {
        peer.wire.close();
        if let SessionError::Io(error) = error {
            add(&self.shared.counts.broken, 1);
            log::debug!("a peer's connection broke: {error}");
        } else {
            add(&self.shared.counts.refused, 1);
            log::warn!("a connection was refused: {error}");
        }
    }
}

/// Hands on a record's messages. Whether it asks for a sign of life.
fn hand_on(
    record: &[u8],
    session: &Session,
    assembly: &mut Assembly,
    shared: &Shared,
    receiver: &dyn Receive,
) -> Result<bool, SessionError> {
    let (mut pinged, mut messages) = (false, Messages::default());
    let ended = assembly.take(record, &mut |arrived| match arrived {
        Arrived::Message(message) => {
            messages.push(message);
            Ok(())
        }
        Arrived::Ping => {
            pinged = true;
            Ok(())
        }
        Arrived::Pong => Err(SessionError::Malformed),
    });
    // What came before something went wrong counts.
    if !messages.is_empty() {
        add(&shared.counts.received, messages.len() as u64);
        let taken = receiver.receive_all(session.peer, &messages);
        taken.map_err(|_| SessionError::Malformed)?;
    }
    ended.map(|()| pinged)
}
