//! What waits for the protocol. Completions are as many as the node asked for; requests and messages are bounded, the first by refusing, the
//! second by letting the peer wait ([`Turns`](super::turns::Turns) does).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use weald_cluster_proto::{
    Completion, Error, Layout, Message, NodeId, PartitionStats, PeerStatus, Request, Status, Token,
};

use super::{Answer, ClientError, Metrics};
use crate::transport::Refused;

/// A question to the protocol.
pub(crate) enum Ask {
    Request(Request, Answer),
    Status(Sender<Status>),
    Layout(Sender<Option<Layout>>),
    Partitions(Sender<Vec<PartitionStats>>),
    Peers(Sender<Vec<PeerStatus>>),
    Metrics(Sender<Metrics>),
}

/// All that waits at one moment.
#[derive(Default)]
pub(super) struct Mail {
    pub(super) completions: Vec<(Token, Completion)>,
    pub(super) messages: Vec<(NodeId, Message)>,
    pub(super) asks: Vec<Ask>,
    /// The time has come for something.
    pub(super) is_time: bool,
}

impl Mail {
    pub(super) fn is_empty(&self) -> bool {
        self.completions.is_empty() && self.messages.is_empty() && self.asks.is_empty() && !self.is_time
    }
}

/// The inbox while it is held.
pub(super) struct State {
    pub(super) mail: Mail,
    bytes: usize,
    /// Somebody runs the protocol, and looks at the mail again before ending.
    pub(super) running: bool,
    pub(super) stopping: bool,
    pub(super) closed: bool,
    /// When time matters next, as far as that is known: whoever runs says it in the end.
    pub(super) due: Option<Instant>,
    /// Clients that waited for an answer when somebody last ran.
    pub(super) clients: usize,
    /// Requests came since the node's thread last looked.
    pub(super) asked: bool,
    /// Until when the node's thread sleeps. Waking it costs a system call whether it sleeps or not.
    pub(super) asleep_until: Option<Instant>,
    /// Peers' threads that wait for room.
    crowd: usize,
}

pub(super) struct Inbox {
    state: Mutex<State>,
    /// The node's thread waits here.
    sleeper: Condvar,
    /// Peers wait for room.
    room: Condvar,
    bytes_max: usize,
    asks_max: usize,
    malformed: AtomicU64,
}

impl Inbox {
    /// Somebody runs from the start, so that what comes waits.
    pub(super) fn new(bytes_max: usize, asks_max: usize) -> Inbox {
        Inbox {
            state: Mutex::new(State {
                mail: Mail::default(),
                bytes: 0,
                running: true,
                stopping: false,
                closed: false,
                due: None,
                clients: 0,
                asked: false,
                asleep_until: None,
                crowd: 0,
            }),
            sleeper: Condvar::new(),
            room: Condvar::new(),
            bytes_max,
            asks_max,
            malformed: AtomicU64::new(0),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a question in, or hands it back.
    pub(super) fn ask(&self, ask: Ask) -> Result<MutexGuard<'_, State>, (Ask, ClientError)> {
        let mut state = self.lock();
        if state.stopping || state.closed {
            return Err((ask, ClientError::Stopped));
        }
        if state.mail.asks.len() >= self.asks_max {
            return Err((ask, ClientError::Failed(Error::Overloaded)));
        }
        state.asked |= matches!(ask, Ask::Request(..));
        state.mail.asks.push(ask);
        Ok(state)
    }

    /// Takes all that waits, which makes room.
    pub(super) fn take(&self, mut state: MutexGuard<'_, State>) -> Mail {
        state.bytes = 0;
        if state.mail.is_time {
            state.due = None;
        }
        let mail = std::mem::take(&mut state.mail);
        let crowd = state.crowd;
        drop(state);
        if crowd > 0 {
            self.room.notify_all();
        }
        mail
    }

    /// Takes no more; whoever waits is sent away.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let mail = std::mem::take(&mut state.mail);
        drop(state);
        self.room.notify_all();
        self.sleeper.notify_all();
        // Not under the lock: requests in it are answered as they are dropped, and what that does is not ours to know.
        drop(mail);
    }

    /// Wakes the node's thread, if it sleeps longer than that.
    pub(super) fn wake_before(&self, mut state: MutexGuard<'_, State>, time: Instant) {
        let wake = state.asleep_until.is_some_and(|until| time < until);
        if wake {
            state.asleep_until = None;
        }
        drop(state);
        if wake {
            self.sleeper.notify_one();
        }
    }

    /// The node's thread sleeps, until then at most.
    pub(super) fn sleep<'s>(
        &self,
        mut state: MutexGuard<'s, State>,
        until: Instant,
    ) -> MutexGuard<'s, State> {
        state.asleep_until = Some(until);
        let left = until.saturating_duration_since(Instant::now());
        let (mut state, _) = self
            .sleeper
            .wait_timeout(state, left.max(Duration::from_micros(1)))
            .unwrap_or_else(PoisonError::into_inner);
        state.asleep_until = None;
        state
    }

    /// Whether there is room for a message of that length, or no use in waiting for any.
    pub(super) fn has_room(&self, state: &State, len: usize) -> bool {
        state.closed || state.bytes == 0 || state.bytes + weight(len) <= self.bytes_max
    }

    /// Waits until somebody has taken what waits.
    pub(super) fn wait_for_room<'s>(&self, mut state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        state.crowd += 1;
        state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        state.crowd -= 1;
        state
    }

    /// Puts a message with what waits.
    pub(super) fn put(
        &self,
        state: &mut State,
        from: NodeId,
        message: Message,
        len: usize,
    ) -> Result<(), Refused> {
        if state.closed {
            return Err(Refused);
        }
        state.bytes += weight(len);
        state.mail.messages.push((from, message));
        Ok(())
    }

    /// Reads a message.
    pub(super) fn decode(&self, bytes: &[u8]) -> Result<Message, Refused> {
        Message::decode(bytes).map_err(|_| {
            self.malformed.fetch_add(1, Ordering::Relaxed);
            Refused
        })
    }

    pub(super) fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }
}

/// Short messages take memory too.
fn weight(len: usize) -> usize {
    len + 256
}
