//! What waits for the node's thread. Completions are as many as the node asked for; requests and messages are bounded, the first by refusing, the
//! second by letting the peer wait. Waking a thread costs a system call whether anybody sleeps or not, so it is done only where somebody does.

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
    /// The node's thread sleeps, and has not been woken.
    asleep: bool,
    /// Peers' threads that wait for room.
    crowd: usize,
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
                self.wake(state);
                return Ok(());
            }
        };
        if let Ask::Request(_, answer) = ask {
            answer.give(Err(error));
        }
        Err(error)
    }

    /// Wakes the node's thread, if it sleeps.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let asleep = std::mem::take(&mut state.asleep);
        drop(state);
        if asleep {
            self.mail.notify_one();
        }
    }

    pub(super) fn complete(&self, completed: Vec<(Token, Completion)>) {
        let mut state = self.lock();
        if !state.closed {
            state.mail.completions.extend(completed);
            self.wake(state);
        }
    }

    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        self.wake(state);
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
            state = self.sleep(state, left);
        }
        if state.stopping && state.mail.is_empty() {
            // It is told again and again, but not in a tight loop.
            let pause = until
                .saturating_duration_since(Instant::now())
                .min(Duration::from_millis(1));
            state = self.sleep(state, pause);
        }
        state.bytes = 0;
        let mut mail = std::mem::take(&mut state.mail);
        mail.stopping = state.stopping;
        let crowd = state.crowd;
        drop(state);
        if crowd > 0 {
            self.room.notify_all();
        }
        mail
    }

    fn sleep<'s>(&self, mut state: MutexGuard<'s, State>, limit: Duration) -> MutexGuard<'s, State> {
        state.asleep = true;
        let (mut state, _) = self
            .mail
            .wait_timeout(state, limit)
            .unwrap_or_else(PoisonError::into_inner);
        state.asleep = false;
        state
    }

    /// Reads a message.
    fn decode(&self, bytes: &[u8]) -> Result<Message, Refused> {
        Message::decode(bytes).map_err(|_| {
            self.malformed.fetch_add(1, Ordering::Relaxed);
            Refused
        })
    }

    /// Puts a message with what waits, when there is room; the thread is yet to be woken.
    fn put<'s>(
        &'s self,
        mut state: MutexGuard<'s, State>,
        from: NodeId,
        message: Message,
        len: usize,
    ) -> Result<MutexGuard<'s, State>, Refused> {
        // Short messages take memory too.
        let size = len + 256;
        while !state.closed && state.bytes > 0 && state.bytes + size > self.bytes_max {
            // What is there already must not wait for this one.
            if std::mem::take(&mut state.asleep) {
                self.mail.notify_one();
            }
            state.crowd += 1;
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.crowd -= 1;
        }
        if state.closed {
            return Err(Refused);
        }
        state.bytes += size;
        state.mail.messages.push((from, message));
        Ok(state)
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
        let message = self.decode(bytes)?;
        let state = self.put(self.lock(), from, message, bytes.len())?;
        self.wake(state);
        Ok(())
    }

    fn receive_all(&self, from: NodeId, messages: &[Vec<u8>]) -> Result<(), Refused> {
        // Not under the lock. What comes before one that is no message counts.
        let decoded = messages.iter().map(|bytes| (self.decode(bytes), bytes.len()));
        let decoded: Vec<(Result<Message, Refused>, usize)> = decoded.collect();
        let mut state = self.lock();
        for (message, len) in decoded {
            match message {
                Ok(message) => state = self.put(state, from, message, len)?,
                Err(refused) => {
                    self.wake(state);
                    return Err(refused);
                }
            }
        }
        self.wake(state);
        Ok(())
    }
}
