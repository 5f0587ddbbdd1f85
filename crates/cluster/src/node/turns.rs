//! Who runs the protocol: whoever has brought something for it. If somebody runs it already, that one takes it too before ending. So one thread runs it at
//! a time, and what a message leads to is done by the thread that read it, where handing it over would cost more than doing it.
//!
//! ```text
//!  client: a request ──┐
//!  reader: messages ───┼─► inbox ─► nobody runs? ─► take all ─► driver: step ─► more? ─► send what came together ─► end
//!  worker: completions ┘                └► somebody does: it is taken there
//!  the node's thread: the time has come, or whoever ran has run for long
//! ```
//!
//! The price: a thread that came with little may do what others bring meanwhile, up to [`ROUNDS_MAX`] times.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use weald_cluster_proto::{Completion, Message, NodeId, Token};

use super::ClientError;
use super::driver::Driver;
use super::inbox::{Ask, Inbox, State};
use crate::transport::{Messages, Receive, Refused};

/// How often one thread takes what waits before the node's own goes on.
const ROUNDS_MAX: usize = 64;
/// How often it does before what is to be sent is.
const ROUNDS_UNSENT: usize = 4;
/// With more clients that wait the node's thread does all.
const CROWD: usize = 2;
/// How soon the node's thread looks again while requests come.
const BUSY_SLEEP: Duration = Duration::from_millis(3);
/// How often it looks whether a stop is over.
const STOP_SLEEP: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(3600);

pub(super) struct Turns {
    inbox: Inbox,
    driver: Mutex<Option<Driver>>,
    /// How long requests that were taken before a stop may still run.
    patience: Duration,
}

/// Nobody waits for a protocol that has panicked.
struct Panics<'t>(&'t Inbox);

impl Drop for Panics<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.close();
        }
    }
}

impl Turns {
    /// What comes waits until there is a [driver](Turns::begin).
    pub(super) fn new(bytes_max: usize, asks_max: usize, patience: Duration) -> Turns {
        Turns {
            inbox: Inbox::new(bytes_max, asks_max),
            driver: Mutex::default(),
            patience,
        }
    }

    /// Runs for the first time.
    pub(super) fn begin(&self, mut driver: Driver) {
        driver.carry_out();
        *self.driver() = Some(driver);
        self.turn();
    }

    fn driver(&self) -> MutexGuard<'_, Option<Driver>> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a question in. One that isn't taken is answered with the error as well, if it is a request.
    pub(super) fn ask(&self, ask: Ask) -> Result<(), ClientError> {
        match self.inbox.ask(ask) {
            Ok(state) => {
                self.hand_in(state);
                Ok(())
            }
            Err((ask, error)) => {
                if let Ask::Request(_, answer) = ask {
                    answer.give(Err(error));
                }
                Err(error)
            }
        }
    }

    pub(super) fn complete(&self, completed: Vec<(Token, Completion)>) {
        let mut state = self.inbox.lock();
        if !state.closed {
            state.mail.completions.extend(completed);
            self.hand_in(state);
        }
    }

    pub(super) fn stop(&self) {
        let mut state = self.inbox.lock();
        state.stopping = true;
        self.inbox.wake_before(state, Instant::now());
    }

    /// Sees that what waits is taken: here where few clients wait, so that no thread has to be woken, else by the node's thread, so that more comes together.
    fn hand_in(&self, state: MutexGuard<'_, State>) {
        if state.clients > CROWD {
            self.inbox.wake_before(state, Instant::now());
        } else {
            self.run(state);
        }
    }

    /// Runs the protocol on what waits, unless somebody does.
    fn run(&self, mut state: MutexGuard<'_, State>) {
        if !state.running && !state.closed {
            state.running = true;
            drop(state);
            self.turn();
        }
    }

    /// Runs the protocol, being the one who does, and ends.
    fn turn(&self) {
        let _panics = Panics(&self.inbox);
        let mut slot = self.driver();
        let Some(driver) = slot.as_mut() else { return };
        let mut rounds = 0;
        let mut state = loop {
            let state = self.inbox.lock();
            if !state.mail.is_empty() && rounds < ROUNDS_MAX {
                rounds += 1;
                driver.step(self.inbox.take(state), &self.inbox);
                if rounds % ROUNDS_UNSENT == 0 {
                    driver.send_letters();
                }
            } else if driver.has_letters() {
                drop(state);
                driver.send_letters();
            } else {
                break state;
            }
        };
        let due = driver.next_tick();
        (state.due, state.clients) = (Some(due), driver.clients());
        drop(slot);
        state.running = false;
        let next = if state.mail.is_empty() {
            due
        } else {
            Instant::now()
        };
        self.inbox.wake_before(state, next);
    }

    /// What the node's thread does, until the node stops.
    pub(super) fn tend(&self) -> Result<(), weald_storage::Error> {
        let mut stop_at = None;
        loop {
            let mut state = self.inbox.lock();
            if state.closed {
                break;
            }
            let now = Instant::now();
            let is_time = state.due.is_some_and(|due| due <= now);
            if state.stopping {
                let idle = !state.running && state.mail.is_empty();
                let stop_at = *stop_at.get_or_insert(now + self.patience);
                if idle && (state.clients == 0 || now >= stop_at) {
                    state.running = true;
                    break;
                }
            }
            if !state.running && (is_time || !state.mail.is_empty()) {
                state.mail.is_time |= is_time;
                self.run(state);
                continue;
            }
            let mut until = state.due.filter(|_| !is_time).unwrap_or(now + LONG);
            if std::mem::take(&mut state.asked) {
                until = until.min(now + BUSY_SLEEP);
            }
            if state.stopping {
                until = until.min(now + STOP_SLEEP);
            }
            drop(self.inbox.sleep(state, until));
        }
        self.end()
    }

    fn end(&self) -> Result<(), weald_storage::Error> {
        let driver = self.driver().take();
        let ended = driver.map_or(Ok(()), |driver| driver.stop(&self.inbox));
        self.inbox.close();
        ended
    }

    /// Makes room for a message: by doing what waits, or by letting others.
    fn make_room<'s>(&'s self, mut state: MutexGuard<'s, State>, len: usize) -> MutexGuard<'s, State> {
        while !self.inbox.has_room(&state, len) {
            state = if state.running {
                self.inbox.wait_for_room(state)
            } else {
                self.run(state);
                self.inbox.lock()
            };
        }
        state
    }

    fn take_in<'m>(&self, from: NodeId, messages: impl Iterator<Item = &'m [u8]>) -> Result<(), Refused> {
        // Not under the lock. What comes before one that is no message counts.
        let decoded = messages.map(|bytes| (self.inbox.decode(bytes), bytes.len()));
        let decoded: Vec<(Result<Message, Refused>, usize)> = decoded.collect();
        let mut state = self.inbox.lock();
        let mut taken = Ok(());
        for (message, len) in decoded {
            state = self.make_room(state, len);
            taken = message.and_then(|message| self.inbox.put(&mut state, from, message, len));
            if taken.is_err() {
                break;
            }
        }
        self.hand_in(state);
        taken
    }
}

impl Receive for Turns {
    fn receive(&self, from: NodeId, message: &[u8]) -> Result<(), Refused> {
        self.take_in(from, std::iter::once(message))
    }

    fn receive_all(&self, from: NodeId, messages: &Messages) -> Result<(), Refused> {
        self.take_in(from, messages.iter())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use weald_cluster_proto::{Level, Quorums, Reply, Request};
    use weald_storage::Registry;

    use crate::node::{Node, Options, found};
    use crate::transport::{MemoryNet, Transport};
    use crate::{Identity, Keys};

    const PATIENCE: Duration = Duration::from_secs(20);

    fn alone() -> Arc<Node> {
        let keys = Keys::new(Identity::from_seed(&[1; 32]), "orchard", b"sixteen random bytes");
        let transport = MemoryNet::default().attach(keys.node(), b"here");
        let start = found(2, Quorums::balanced(1), [(keys.node(), transport.address())]).expect("a layout");
        let storage = Registry::compiled()
            .open("memory", &weald_storage::Options::new())
            .expect("a store");
        let node = Node::start(Options::new(keys, transport, storage, start)).expect("started");
        node.wait_until_serving(PATIENCE).expect("serves");
        Arc::new(node)
    }

    fn get() -> Request {
        Request::Get {
            keys: vec![(&b"key"[..]).into()],
            read: Level::Cluster,
        }
    }

    #[test]
    fn who_asks_does_the_work() {
        let node = alone();
        let (sender, answers) = channel();
        let mut own = 0;
        for _ in 0..100 {
            let sender = sender.clone();
            node.submit(get(), move |answer| {
                drop(sender.send((std::thread::current().id(), answer)));
            });
            let (thread, answer) = answers.recv_timeout(PATIENCE).expect("answered");
            assert!(matches!(answer, Ok(Reply::Values(_))));
            own += usize::from(thread == std::thread::current().id());
        }
        // The node's thread is in between now and then, to see to the time.
        assert!(own > 50, "{own} of 100");
    }

    #[test]
    fn an_answer_may_ask_the_next_thing() {
        let node = alone();
        let (sender, answers) = channel();
        let next = node.clone();
        node.submit(get(), move |_| {
            next.submit(get(), move |answer| drop(sender.send(answer)));
        });
        let answer = answers.recv_timeout(PATIENCE).expect("answered");
        assert!(matches!(answer, Ok(Reply::Values(_))));
    }

    #[test]
    fn threads_that_ask_at_once_are_all_answered_and_a_stop_leaves_nobody_waiting() {
        let node = alone();
        std::thread::scope(|scope| {
            for thread in 0..8u8 {
                let node = &node;
                scope.spawn(move || {
                    for number in 0..200u8 {
                        let key = [thread, number];
                        node.put(&key, b"value", None, Level::Cluster).expect("written");
                    }
                });
            }
        });
        assert!(node.metrics().expect("told").node.requests >= 1600);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let node = &node;
                // Each ends with an error, once the node has stopped.
                scope.spawn(move || while node.get(b"key", Level::Cluster).is_ok() {});
            }
            std::thread::sleep(Duration::from_millis(20));
            node.stop().expect("stopped");
        });
    }
}
