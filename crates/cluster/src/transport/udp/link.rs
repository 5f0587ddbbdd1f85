//! What goes to one address: a session that is begun when something waits, and the datagrams of its messages.
//!
//! Not more than a window of datagrams is on its way without a receipt, so that a peer which takes little gets little, and the rest waits in the lanes. A datagram that is lost stays lost.
//! A receipt is asked for from time to time; when none comes, another session is begun beside the old one, as the peer may have been started anew. Nothing that isn't genuine ends a session.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use snow::{HandshakeState, StatelessTransportState};
use weald_cluster_proto::{NodeId, WIRE_VERSION};

use super::super::lanes::Lanes;
use super::super::session::{Noise, SessionError};
use super::packet::{self, ASKS, HEADER, PADDING, TAG};

/// Datagrams on their way, at most.
const WINDOW: u64 = 64;
/// How long a receipt may take before what is on its way counts as lost, at first.
const PATIENCE: Duration = Duration::from_millis(60);
/// After this long without a receipt the next datagram asks for one.
const ASK_AFTER: Duration = Duration::from_millis(50);
/// How often a handshake's datagram is sent again.
const RESEND: Duration = Duration::from_millis(100);

/// A session that was confirmed.
struct Out {
    peer: NodeId,
    /// The session's name at the other side.
    remote: u64,
    cipher: StatelessTransportState,
    /// The number of the next datagram.
    next: u64,
    /// One more than the greatest that a receipt named, or that counts as lost.
    past: u64,
    /// Receipts that came: their numbers only grow.
    receipts: u64,
    /// Since when a receipt is waited for, and when the patience is over.
    asked: Option<(Instant, Instant)>,
    patience: Duration,
    heard: Instant,
}

/// A handshake that was begun.
struct Greeting {
    name: u64,
    stage: Stage,
    packet: Vec<u8>,
    resend_at: Instant,
    until: Instant,
}

enum Stage {
    Hello(Box<HandshakeState>),
    /// The third message is sent until a receipt says that it came.
    Confirm(Box<Out>),
}

/// What waits for one address, and how far the session with it is.
pub(super) struct Link {
    pub(super) lanes: Lanes,
    pub(super) messages: u64,
    /// Where that is, once it was looked up.
    pub(super) socket: Option<SocketAddr>,
    /// Until then nothing is taken.
    pub(super) down_until: Option<Instant>,
    pause: Duration,
    name: u64,
    out: Option<Out>,
    greeting: Option<Greeting>,
    greet_at: Instant,
    pub(super) last_used: Instant,
}

/// What a step came to.
#[derive(Default)]
pub(super) struct Step {
    pub(super) datagrams: Vec<Vec<u8>>,
    pub(super) sent: u64,
    pub(super) dropped: u64,
    /// A name that answers will carry, where a handshake was begun.
    pub(super) named: Option<u64>,
    pub(super) broken: bool,
}

/// Times that follow from the options.
pub(super) struct Times {
    pub(super) connect: Duration,
    pub(super) silence_max: Duration,
    pub(super) retry_max: Duration,
    pub(super) room: usize,
}

impl Link {
    pub(super) fn new(now: Instant) -> Link {
        Link {
            lanes: Lanes::default(),
            messages: 0,
            socket: None,
            down_until: None,
            pause: Duration::ZERO,
            name: 0,
            out: None,
            greeting: None,
            greet_at: now,
            last_used: now,
        }
    }

    /// The name under which receipts of the session come.
    pub(super) fn name(&self) -> u64 {
        self.name
    }

    /// The name of a handshake that is going on.
    pub(super) fn greeting_name(&self) -> Option<u64> {
        self.greeting.as_ref().map(|greeting| greeting.name)
    }

    /// Does what is due.
    pub(super) fn step(
        &mut self,
        noise: &Noise,
        times: &Times,
        now: Instant,
        fresh: impl FnOnce() -> u64,
    ) -> Result<Step, SessionError> {
        let mut step = Step::default();
        self.lose_patience(now, times, &mut step);
        let doubtful = self.out.as_ref().is_none_or(|out| out.patience > PATIENCE);
        let wanted = !self.lanes.is_empty() || self.out.is_some();
        if doubtful && wanted && self.greeting.is_none() && now >= self.greet_at {
            let name = fresh();
            self.greeting = Some(greet(noise, name, now, times.connect)?);
            self.greet_at = now + times.retry_max;
            step.named = Some(name);
        }
        if let Some(greeting) = &mut self.greeting
            && now >= greeting.resend_at
        {
            greeting.resend_at = now + RESEND;
            step.datagrams.push(greeting.packet.clone());
        }
        if self.greeting.take_if(|greeting| now >= greeting.until).is_some() && self.out.is_none() {
            self.fail(now, times, &mut step);
        }
        if let Some(out) = &mut self.out {
            while out.next - out.past < WINDOW && !self.lanes.is_empty() {
                let asks = out.asks(now);
                let mut plain = vec![if asks { ASKS } else { 0 }];
                let (sent, dropped) = self.lanes.fill_whole(out.peer, times.room, &mut plain);
                (step.sent, step.dropped) = (step.sent + sent, step.dropped + dropped);
                self.messages = self.messages.saturating_sub(sent + dropped);
                if sent == 0 {
                    continue;
                }
                step.datagrams.push(out.seal(&plain, asks, now)?);
                self.last_used = now;
            }
        }
        Ok(step)
    }

    /// Without a receipt for what was asked, what is on its way counts as lost; after long, the session too.
    fn lose_patience(&mut self, now: Instant, times: &Times, step: &mut Step) {
        let Some(out) = &mut self.out else { return };
        let Some((since, over)) = out.asked else { return };
        if now < over {
            return;
        }
        if now >= since + times.silence_max {
            self.out = None;
            step.broken = true;
            return;
        }
        out.past = out.next;
        out.patience = (out.patience * 2).min(times.silence_max / 2);
        // An empty datagram asks again.
        if let Ok(probe) = out.seal(&[ASKS], true, now) {
            step.datagrams.push(probe);
        }
    }

    /// Gives up what waits, and the address for a while.
    fn fail(&mut self, now: Instant, times: &Times, step: &mut Step) {
        self.lanes.clear();
        step.dropped += std::mem::take(&mut self.messages);
        step.broken = true;
        self.pause = (self.pause * 2).clamp(times.retry_max / 50, times.retry_max);
        self.down_until = Some(now + self.pause);
        self.greet_at = now;
    }

    /// The address can't be had.
    pub(super) fn unreachable(&mut self, now: Instant, times: &Times) -> Step {
        let mut step = Step::default();
        self.fail(now, times, &mut step);
        step
    }

    /// When something is due without anything coming in.
    pub(super) fn due(&self) -> Option<Instant> {
        let resend = self
            .greeting
            .as_ref()
            .map(|greeting| greeting.resend_at.min(greeting.until));
        let receipt = self.out.as_ref().and_then(|out| Some(out.asked?.1));
        let begin = (self.greeting.is_none() && self.out.is_none() && !self.lanes.is_empty())
            .then_some(self.greet_at);
        [resend, receipt, begin].into_iter().flatten().min()
    }

    /// The second message of the handshake came: the third goes out.
    pub(super) fn answered(
        &mut self,
        noise: &Noise,
        responder: u64,
        message: &[u8],
        now: Instant,
    ) -> Result<(), SessionError> {
        let Some(greeting) = &mut self.greeting else {
            return Ok(());
        };
        let Stage::Hello(handshake) = &mut greeting.stage else {
            return Ok(());
        };
        let mut payload = vec![0; message.len()];
        // What isn't genuine leaves the handshake as it was.
        let len = handshake.read_message(message, &mut payload)?;
        let peer = noise.peer(handshake, &payload[..len])?;
        let mut third = vec![0; 512];
        let len = handshake.write_message(noise.binding(), &mut third)?;
        let Stage::Hello(handshake) =
            std::mem::replace(&mut greeting.stage, Stage::Hello(Box::new(noise.initiator()?)))
        else {
            return Ok(());
        };
        let out = Out {
            peer,
            remote: responder,
            cipher: handshake.into_stateless_transport_mode()?,
            next: 0,
            past: 0,
            receipts: 0,
            asked: None,
            patience: PATIENCE,
            heard: now,
        };
        greeting.packet = packet::confirm(responder, &third[..len]);
        greeting.resend_at = now;
        greeting.stage = Stage::Confirm(Box::new(out));
        Ok(())
    }

    /// A receipt came, for the session, or for the handshake that ends with it. Says whether a session was made.
    pub(super) fn receipt(
        &mut self,
        name: u64,
        number: u64,
        sealed: &[u8],
        now: Instant,
    ) -> Result<bool, SessionError> {
        if self.greeting_name() == Some(name) {
            let Some(Greeting {
                stage: Stage::Confirm(out),
                ..
            }) = &mut self.greeting
            else {
                return Ok(false);
            };
            out.receipt(number, sealed, now)?;
            let Some(Greeting {
                stage: Stage::Confirm(out),
                ..
            }) = self.greeting.take()
            else {
                return Ok(false);
            };
            (self.out, self.name, self.pause) = (Some(*out), name, Duration::ZERO);
            (self.last_used, self.greet_at) = (now, now + RESEND);
            return Ok(true);
        }
        if let Some(out) = self.out.as_mut().filter(|_| self.name == name) {
            out.receipt(number, sealed, now)?;
        }
        Ok(false)
    }
}

fn greet(noise: &Noise, name: u64, now: Instant, limit: Duration) -> Result<Greeting, SessionError> {
    let mut handshake = noise.initiator()?;
    let mut first = vec![0; 512];
    let mut spoken = [0; PADDING];
    spoken[0] = WIRE_VERSION;
    let len = handshake.write_message(&spoken, &mut first)?;
    Ok(Greeting {
        name,
        stage: Stage::Hello(Box::new(handshake)),
        packet: packet::hello(name, &first[..len]),
        resend_at: now,
        until: now + limit,
    })
}

impl Out {
    /// Whether the next datagram asks for a receipt: the first after a while, and each time that half of the window is used up.
    fn asks(&self, now: Instant) -> bool {
        let used = self.next - self.past;
        let idle = self.asked.is_none() && now >= self.heard + ASK_AFTER;
        idle || used == WINDOW / 2 || used == WINDOW - 1
    }

    fn seal(&mut self, plain: &[u8], asks: bool, now: Instant) -> Result<Vec<u8>, SessionError> {
        let mut datagram = vec![0; HEADER + plain.len() + TAG];
        datagram[..HEADER].copy_from_slice(&packet::header(false, self.remote, self.next));
        let len = self
            .cipher
            .write_message(self.next, plain, &mut datagram[HEADER..])?;
        datagram.truncate(HEADER + len);
        self.next += 1;
        if asks {
            let since = self.asked.map_or(now, |(since, _)| since);
            self.asked = Some((since, now + self.patience));
        }
        Ok(datagram)
    }

    fn receipt(&mut self, number: u64, sealed: &[u8], now: Instant) -> Result<(), SessionError> {
        let mut plain = vec![0; sealed.len()];
        let len = self.cipher.read_message(number, sealed, &mut plain)?;
        let greatest: [u8; 8] = plain[..len].try_into().map_err(|_| SessionError::Malformed)?;
        // A repeated one says nothing.
        if number < self.receipts {
            return Ok(());
        }
        self.receipts = number + 1;
        let past = u64::from_le_bytes(greatest);
        if past > self.next {
            return Err(SessionError::Malformed);
        }
        self.past = self.past.max(past);
        (self.heard, self.patience) = (now, PATIENCE);
        self.asked = None;
        Ok(())
    }
}
