//! Makes the log durable: the rules of [`Group`] carried out by the threads that want to be acknowledged.
//!
//! There is no flushing thread. Who finds a free lane flushes for all whose records are in by then; the others spin for a moment, since a
//! flush is short, and then sleep.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::group::{Flight, Group, Turn};
use super::segment::Segment;
use crate::error::{Error, Result};
use crate::ids::Lsn;

/// How long a follower looks before it sleeps: about what waking a thread costs.
const SPIN: Duration = Duration::from_micros(20);

/// How far the log reaches, how far it is durable, and whether it still works.
#[derive(Debug)]
pub(super) struct Flusher {
    state: Mutex<State>,
    /// Stored with `Release` once the bytes before it are written; `flush` loads it with `Acquire`, so a flush that begins
    /// after that load has these bytes.
    end: AtomicU64,
    /// A copy of the group's, stored with `Release` after the flush returned.
    durable: AtomicU64,
    first_failure: OnceLock<Arc<Error>>,
    flushes: AtomicU64,
}

#[derive(Debug)]
struct State {
    group: Group<Arc<Waiter>>,
    /// The segments that may have bytes which are not durable, in order; the last one is being appended to.
    dirty: VecDeque<Arc<Segment>>,
}

impl Flusher {
    /// For a log that ends, and is durable, at `end`.
    pub(super) fn new(end: Lsn) -> Flusher {
        Flusher {
            state: Mutex::new(State {
                group: Group::new(end.0),
                dirty: VecDeque::new(),
            }),
            end: AtomicU64::new(end.0),
            durable: AtomicU64::new(end.0),
            first_failure: OnceLock::new(),
            flushes: AtomicU64::new(0),
        }
    }

    pub(super) fn end(&self) -> Lsn {
        Lsn(self.end.load(Ordering::Acquire))
    }

    pub(super) fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::Acquire))
    }

    /// Flushes carried out, each for a segment or more.
    pub(super) fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Relaxed)
    }

    /// From now on the log goes on in `segment`. Comes before the first [`wrote`](Self::wrote) there.
    pub(super) fn begin_segment(&self, segment: Arc<Segment>) {
        self.lock().dirty.push_back(segment);
    }

    /// Forgets the segments; the log is durable up to its end, and they are about to be removed.
    pub(super) fn end_segments(&self) {
        self.lock().dirty.clear();
    }

    /// The bytes before `end` are written.
    pub(super) fn wrote(&self, end: Lsn) {
        self.end.store(end.0, Ordering::Release);
    }

    /// `Err` once anything has failed.
    pub(super) fn check(&self) -> Result<()> {
        match self.first_failure.get() {
            None => Ok(()),
            Some(first) => Err(Error::Poisoned(first.clone())),
        }
    }

    /// Refuses everything from now on because of `cause`, and says so.
    pub(super) fn poison(&self, cause: Error) -> Error {
        let first = self.first_failure.get_or_init(|| Arc::new(cause)).clone();
        let mut wake = Vec::new();
        self.lock().group.fail(&mut wake);
        wake_all(&wake);
        Error::Poisoned(first)
    }

    /// Returns when the log is durable up to `upto` (at most its end).
    pub(super) fn flush(&self, upto: Lsn) -> Result<()> {
        let upto = upto.min(self.end());
        loop {
            if self.durable() >= upto {
                return Ok(());
            }
            let waiter = OnceLock::new();
            let mut state = self.lock();
            let turn = state.group.ask(upto.0, self.end().0, || {
                waiter.get_or_init(|| Arc::new(Waiter::new())).clone()
            });
            match turn {
                Turn::Durable => return Ok(()),
                Turn::Failed => {
                    drop(state);
                    self.check()?;
                }
                Turn::Lead(flight) => {
                    let segments: Vec<_> = state.dirty.iter().cloned().collect();
                    drop(state);
                    self.carry_out(flight, &segments)?;
                }
                Turn::Wait => {
                    drop(state);
                    waiter
                        .get()
                        .expect("the group took it when it said to wait")
                        .wait();
                }
            }
        }
    }

    fn carry_out(&self, flight: Flight, segments: &[Arc<Segment>]) -> Result<()> {
        let flushed = segments.iter().try_for_each(|s| s.flush(flight.lane));
        self.flushes.fetch_add(1, Ordering::Relaxed);
        if let Err(e) = flushed {
            return Err(self.poison(e));
        }
        let mut wake = Vec::new();
        let mut state = self.lock();
        state.group.finish(flight, true, &mut wake);
        let durable = Lsn(state.group.durable());
        while state.dirty.get(1).is_some_and(|next| next.start() <= durable) {
            state.dirty.pop_front();
        }
        self.durable.store(durable.0, Ordering::Release);
        drop(state);
        wake_all(&wake);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing that runs under this lock panics")
    }
}

fn wake_all(waiters: &[Arc<Waiter>]) {
    waiters.iter().for_each(|w| w.wake());
}

/// A thread that waits for its turn to be decided anew.
#[derive(Debug)]
struct Waiter {
    thread: Thread,
    woken: AtomicBool,
}

impl Waiter {
    fn new() -> Waiter {
        Waiter {
            thread: thread::current(),
            woken: AtomicBool::new(false),
        }
    }

    fn wake(&self) {
        // Pairs with the loads in `wait`: who is woken sees what was done before.
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }

    fn wait(&self) {
        let begin = Instant::now();
        while begin.elapsed() < SPIN {
            if self.woken.load(Ordering::Acquire) {
                return;
            }
            std::hint::spin_loop();
        }
        while !self.woken.load(Ordering::Acquire) {
            thread::park();
        }
    }
}
