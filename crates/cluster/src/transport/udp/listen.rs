//! What comes in: handshakes, messages and receipts. One thread does all of it, and waits where the node has no room: then no receipts go out, and peers wait as well.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use snow::{HandshakeState, StatelessTransportState};
use weald_cluster_proto::NodeId;

use super::super::lanes::{Arrived, Assembly};
use super::super::session::{SessionError, check_versions};
use super::super::{Messages, Receive};
use super::packet::{self, ASKS, HEADER, Packet, Seen, TAG};
use super::{Shared, add, draw};

/// A handshake that somebody began.
struct Half {
    initiator: u64,
    from: SocketAddr,
    handshake: HandshakeState,
    answer: Vec<u8>,
    until: Instant,
}

/// A session that somebody began and proved.
struct In {
    peer: NodeId,
    initiator: u64,
    cipher: StatelessTransportState,
    seen: Seen,
    receipts: u64,
    last: Instant,
}

/// Sessions of others, by the names that this side gave them.
#[derive(Default)]
struct Doors {
    halves: HashMap<u64, Half>,
    open: HashMap<u64, In>,
}

pub(super) fn run(shared: &Shared, receiver: &Arc<dyn Receive>) {
    let mut doors = Doors::default();
    let mut buffer = vec![0; 1 << 16];
    let mut tidy_at = Instant::now();
    while !shared.is_stopped() {
        let received = shared.socket.recv_from(&mut buffer);
        if shared.is_stopped() {
            return;
        }
        let now = Instant::now();
        if now >= tidy_at {
            tidy_at = now + Duration::from_millis(500);
            doors.tidy(now, shared.options.tcp.idle_timeout * 2);
        }
        // Nothing for a while, or a peer's machine says that nobody is there.
        let Ok((len, from)) = received else { continue };
        add(&shared.counts.received_bytes, len as u64);
        let handled = match Packet::parse(&buffer[..len]) {
            Some(Packet::Hello { initiator, message }) => doors.hello(shared, from, initiator, message, now),
            Some(Packet::Confirm { responder, message }) => {
                doors.confirm(shared, from, responder, message, now)
            }
            Some(Packet::Data {
                responder,
                number,
                sealed,
            }) => doors.data(shared, from, (responder, number, sealed), &**receiver, now),
            Some(Packet::Answer {
                initiator,
                responder,
                message,
            }) => shared.answered(initiator, responder, message, now),
            Some(Packet::Receipt {
                initiator,
                number,
                sealed,
            }) => shared.receipt(initiator, number, sealed, now),
            None => Err(SessionError::Malformed),
        };
        if let Err(error) = handled {
            add(&shared.counts.refused, 1);
            log::debug!("{from}: a datagram was refused: {error}");
        }
    }
}

impl Doors {
    fn tidy(&mut self, now: Instant, idle: Duration) {
        self.halves.retain(|_, half| now < half.until);
        self.open.retain(|_, session| now < session.last + idle);
    }

    fn hello(
        &mut self,
        shared: &Shared,
        from: SocketAddr,
        initiator: u64,
        message: &[u8],
        now: Instant,
    ) -> Result<(), SessionError> {
        let same = |half: &&Half| (half.initiator, half.from) == (initiator, from);
        if let Some(half) = self.halves.values().find(same) {
            shared.send_to(&half.answer, from);
            return Ok(());
        }
        let mut handshake = shared.noise.responder()?;
        let mut payload = vec![0; message.len()];
        let len = handshake.read_message(message, &mut payload)?;
        if len != packet::PADDING {
            return Err(SessionError::Malformed);
        }
        check_versions(&payload[..len])?;
        let name = draw()?;
        let mut second = vec![0; 512];
        let len = handshake.write_message(shared.noise.binding(), &mut second)?;
        let half = Half {
            initiator,
            from,
            handshake,
            answer: packet::answer(initiator, name, &second[..len]),
            until: now + shared.options.tcp.connect_timeout,
        };
        shared.send_to(&half.answer, from);
        // Those that were begun first make room: they had the most time.
        if self.halves.len() >= shared.options.tcp.handshakes_max.max(1) {
            let first = self
                .halves
                .iter()
                .min_by_key(|(_, half)| half.until)
                .map(|(&name, _)| name);
            first.and_then(|name| self.halves.remove(&name));
        }
        self.halves.insert(name, half);
        Ok(())
    }

    fn confirm(
        &mut self,
        shared: &Shared,
        from: SocketAddr,
        responder: u64,
        message: &[u8],
        now: Instant,
    ) -> Result<(), SessionError> {
        if let Some(session) = self.open.get_mut(&responder) {
            // The receipt was lost.
            return session.send_receipt(shared, from);
        }
        let Some(half) = self.halves.get_mut(&responder) else {
            return Ok(());
        };
        let mut payload = vec![0; message.len()];
        let len = half.handshake.read_message(message, &mut payload)?;
        let peer = shared.noise.peer(&half.handshake, &payload[..len]);
        let Some(half) = self.halves.remove(&responder) else {
            return Ok(());
        };
        let mut session = In {
            peer: peer?,
            initiator: half.initiator,
            cipher: half.handshake.into_stateless_transport_mode()?,
            seen: Seen::new(),
            receipts: 0,
            last: now,
        };
        add(&shared.counts.sessions, 1);
        session.send_receipt(shared, from)?;
        if self.open.len() >= shared.options.tcp.incoming_max.max(1) {
            let least = self
                .open
                .iter()
                .min_by_key(|(_, session)| session.last)
                .map(|(&name, _)| name);
            least.and_then(|name| self.open.remove(&name));
        }
        self.open.insert(responder, session);
        Ok(())
    }

    fn data(
        &mut self,
        shared: &Shared,
        from: SocketAddr,
        (responder, number, sealed): (u64, u64, &[u8]),
        receiver: &dyn Receive,
        now: Instant,
    ) -> Result<(), SessionError> {
        // Of a session that is over: whoever sends finds out when no receipt comes.
        let Some(session) = self.open.get_mut(&responder) else {
            return Ok(());
        };
        if session.seen.has(number) {
            return Ok(());
        }
        let mut plain = vec![0; sealed.len()];
        let len = session.cipher.read_message(number, sealed, &mut plain)?;
        session.seen.add(number);
        session.last = now;
        let handed = hand_on(shared, session.peer, &plain[..len], receiver);
        match handed {
            Ok(true) => session.send_receipt(shared, from),
            Ok(false) => Ok(()),
            Err(error) => {
                self.open.remove(&responder);
                Err(error)
            }
        }
    }
}

/// Hands on the messages of a datagram, and says whether it asks for a receipt.
fn hand_on(
    shared: &Shared,
    peer: NodeId,
    plain: &[u8],
    receiver: &dyn Receive,
) -> Result<bool, SessionError> {
    let (&flags, chunks) = plain.split_first().ok_or(SessionError::Malformed)?;
    let mut assembly = Assembly::default();
    let mut messages = Messages::default();
    let ended = assembly.take(chunks, &mut |arrived| match arrived {
        Arrived::Message(message) => {
            messages.push(message);
            Ok(())
        }
        Arrived::Ping | Arrived::Pong => Err(SessionError::Malformed),
    });
    // What came before something went wrong counts.
    if !messages.is_empty() {
        add(&shared.counts.received, messages.len() as u64);
        receiver
            .receive_all(peer, &messages)
            .map_err(|_| SessionError::Malformed)?;
    }
    ended?;
    if assembly.is_empty() {
        Ok(flags & ASKS != 0)
    } else {
        Err(SessionError::Malformed)
    }
}

impl In {
    /// Says how far things have come, to where the last genuine datagram came from.
    fn send_receipt(&mut self, shared: &Shared, to: SocketAddr) -> Result<(), SessionError> {
        let past = self
            .seen
            .greatest()
            .map_or(0, |greatest| greatest.saturating_add(1));
        let mut datagram = vec![0; HEADER + 8 + TAG];
        datagram[..HEADER].copy_from_slice(&packet::header(true, self.initiator, self.receipts));
        self.cipher
            .write_message(self.receipts, &past.to_le_bytes(), &mut datagram[HEADER..])?;
        self.receipts += 1;
        shared.send_to(&datagram, to);
        Ok(())
    }
}
