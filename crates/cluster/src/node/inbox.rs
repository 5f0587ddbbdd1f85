//! What waits for the node's thread. Completions are as many as the node asked for; requests and messages are bounded, the first by refusing, the
//! second by letting the peer wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use weald_cluster_proto::{
    Completion, Error, Layout, Message, NodeId, PartitionStats, PeerStatus, Request, Status, Token,
};

use super::{Answer, ClientError, Metrics};
use crate::transport::{Receive, Refused};

/// A question to the node's thread.
pub(crate) enum Ask {
    Request(Request, Answer),
    Status(Sender<Status>),
    Layout(Sender<Option<Layout>>),
    Partitions(Sender<Vec<PartitionStats>>),
    Peers(Sender<Vec<PeerStatus>>),
    Metrics(Sender<Metrics>),
}

#[derive(Default)]
struct State {
    mail: Mail,
    bytes: usize,
    stopping: bool,
    closed: bool,
}

/// All that waits at one moment.
#[derive(Default)]
pub(super) struct Mail {
    pub(super) completions: Vec<(Token, Completion)>,
    pub(super) messages: Vec<(NodeId, Message)>,
    pub(super) asks: Vec<Ask>,
    pub(super) stopping: bool,
}

impl Mail {
    fn is_empty(&self) -> bool {
        self.completions.is_empty() && self.messages.is_empty() && self.asks.is_empty()
    }
}

pub(crate) struct Inbox {
    state: Mutex<State>,
    /// The node's thread waits for mail.
    mail: Condvar,
    /// Peers wait for room.
    room: Condvar,
    bytes_max: usize,
    asks_max: usize,
    malformed: AtomicU64,
}

impl Inbox {
    pub(super) fn new(bytes_max: usize, asks_max: usize) -> Inbox {
        Inbox {
            state: Mutex::default(),
            mail: Condvar::new(),
            room: Condvar::new(),
            bytes_max,
            asks_max,
            malformed: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a question in. One that isn't taken is answered with the error as well, if it is a request.
    pub(super) fn ask(&self, ask: Ask) -> Result<(), ClientError> {
        let error = {
            let mut state = self.lock();
            if state.stopping || state.closed {
                ClientError::Stopped
            } else if state.mail.asks.len() >= self.asks_max {
                ClientError::Failed(Error::Overloaded)
            } else {
                state.mail.asks.push(ask);
                self.mail.notify_one();
                return Ok(());
            }
        };
        if let Ask::Request(_, answer) = ask {
            answer.give(Err(error));
        }
        Err(error)
    }

    pub(super) fn complete(&self, token: Token, completion: Completion) {
        let mut state = self.lock();
        if !state.closed {
            state.mail.completions.push((token, completion));
            self.mail.notify_one();
        }
    }

    pub(super) fn stop(&self) {
        self.lock().stopping = true;
        self.mail.notify_one();
    }

    /// Takes no more; whoever waits is sent away.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let mail = std::mem::take(&mut state.mail);
        drop(state);
        self.room.notify_all();
        // Not under the lock: requests in it are answered as they are dropped, and what that does is not ours to know.
        drop(mail);
    }

    /// All that waits; if nothing does, waits until the given time.
    pub(super) fn take(&self, until: Instant) -> Mail {
        let mut state = self.lock();
        while state.mail.is_empty() && !state.stopping {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self
                .mail
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        if state.stopping && state.mail.is_empty() {
            // It is told again and again, but not in a tight loop.
            let pause = until
                .saturating_duration_since(Instant::now())
                .min(Duration::from_millis(1));
            state = self
                .mail
                .wait_timeout(state, pause)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state.bytes = 0;
        let mut mail = std::mem::take(&mut state.mail);
        mail.stopping = state.stopping;
        drop(state);
        self.room.notify_all();
        mail
    }

    pub(super) fn malformed(&self) -> u64 {
        self.malformed.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> usize {
        self.lock().bytes
    }
}

impl Receive for Inbox {
    fn receive(&self, from: NodeId, bytes: &[u8]) -> Result<(), Refused> {
        let message = Message::decode(bytes).map_err(|_| {
            self.malformed.fetch_add(1, Ordering::Relaxed);
            Refused
        })?;
        // Short messages take memory too.
        let size = bytes.len() + 256;
        let mut state = self.lock();
        while !state.closed && state.bytes > 0 && state.bytes + size > self.bytes_max {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return Err(Refused);
        }
        state.bytes += size;
        state.mail.messages.push((from, message));
        self.mail.notify_one();
        Ok(())
    }
}
