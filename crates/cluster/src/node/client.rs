//! The node as a client of its cluster: typed requests, each waiting for its answer, and [`Node::submit`] for those who don't wait.

use std::cell::RefCell;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;
use weald_cluster_proto::{
    Bytes, Entry, Error, Expect, Found, LayoutChange, Level, Owner, Partition, Reply, Request, Version,
};

use super::Node;
use super::inbox::Ask;
use crate::store::{data_key, to_entry};

/// How long a request waits for the node to get ready before it is handed over again.
const RETRY: Duration = Duration::from_millis(5);

/// Why a request was not done, or not known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    /// The cluster's answer. It says whether there may have been an effect.
    #[error(transparent)]
    Failed(#[from] Error),
    /// The node stops, or has stopped. Of a request that was on its way it is not known whether it had an effect.
    #[error("the node has stopped")]
    Stopped,
}

/// Why a node's own copy can't be told.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LocalError {
    /// The node has stopped, or has no layout yet.
    #[error(transparent)]
    Node(#[from] ClientError),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] weald_storage::Error),
}

type Take = dyn FnOnce(Result<Reply, ClientError>) + Send;

/// Where a thread waits for an answer: one at a time, so each thread has one of these and uses it again.
#[derive(Default)]
struct Slot {
    state: Mutex<Filling>,
    filled: Condvar,
}

#[derive(Default)]
struct Filling {
    answer: Option<Result<Reply, ClientError>>,
    /// The thread sleeps. To wake one that doesn't costs a system call too, and a thread may well answer itself.
    asleep: bool,
}

thread_local! {
    static SLOT: RefCell<Arc<Slot>> = RefCell::default();
}

impl Slot {
    /// The calling thread's, empty. Another one where somebody may still fill that: whoever handed over a request and panicked has not waited.
    fn of_this_thread() -> Arc<Slot> {
        let free = |slot: &RefCell<Arc<Slot>>| {
            let mut slot = slot.borrow_mut();
            match Arc::get_mut(&mut slot) {
                Some(free) => {
                    *free.state.get_mut().unwrap_or_else(PoisonError::into_inner) = Filling::default();
                }
                None => *slot = Arc::default(),
            }
            slot.clone()
        };
        // A thread that is ending has none any more.
        SLOT.try_with(free).unwrap_or_default()
    }

    fn fill(&self, result: Result<Reply, ClientError>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.answer = Some(result);
        let asleep = state.asleep;
        drop(state);
        if asleep {
            self.filled.notify_one();
        }
    }

    fn wait(&self) -> Result<Reply, ClientError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(result) = state.answer.take() {
                state.asleep = false;
                return result;
            }
            state.asleep = true;
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

enum Waits {
    Thread(Arc<Slot>),
    Call(Box<Take>),
}

/// What is done with the answer to a request: exactly once, whatever becomes of the node.
pub(crate) struct Answer(Option<Waits>);

impl Answer {
    fn new(take: impl FnOnce(Result<Reply, ClientError>) + Send + 'static) -> Answer {
        Answer(Some(Waits::Call(Box::new(take))))
    }

    pub(super) fn give(mut self, result: Result<Reply, ClientError>) {
        self.take(result);
    }

    fn take(&mut self, result: Result<Reply, ClientError>) {
        match self.0.take() {
            Some(Waits::Thread(slot)) => slot.fill(result),
            Some(Waits::Call(take)) => take(result),
            None => {}
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.take(Err(ClientError::Stopped));
    }
}

/// What a node's own store has of a key, whatever the others have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalCopy {
    /// Where the key belongs.
    pub partition: Partition,
    /// Whether the node owns that partition, by the layout that it has.
    pub owned: bool,
    /// What is stored: also deletions that are not settled yet, and what has expired.
    pub entry: Option<Entry>,
}

/// The protocol answers each request in kind.
fn other(reply: Reply) -> ClientError {
    match reply {
        Reply::Failed(error) => ClientError::Failed(error),
        other => unreachable!("an answer to something else: {other:?}"),
    }
}

fn single<T>(mut results: Vec<Result<T, Error>>) -> Result<T, ClientError> {
    let result = results.pop().expect("one key, one result");
    result.map_err(ClientError::Failed)
}

impl Node {
    /// Hands over a request as it is, and waits for the answer. While the node is not ready it is handed over again, for as long as a request may take:
    /// nothing was changed then, and a node that starts is ready soon.
    pub fn request(&self, request: &Request) -> Result<Reply, ClientError> {
        self.insist(|| request.clone())
    }

    /// Hands over a request, made anew each time, until the node is ready for it.
    fn insist(&self, make: impl Fn() -> Request) -> Result<Reply, ClientError> {
        let mut began = None;
        loop {
            let request = make();
            self.check(&request)?;
            let reply = self.hand_over(request)?;
            if !is_not_ready(&reply) {
                return Ok(reply);
            }
            if began.get_or_insert_with(Instant::now).elapsed() >= self.request_timeout {
                return Ok(reply);
            }
            std::thread::sleep(RETRY);
        }
    }

    /// Hands over a request, and waits for the answer.
    fn hand_over(&self, request: Request) -> Result<Reply, ClientError> {
        let slot = Slot::of_this_thread();
        let answer = Answer(Some(Waits::Thread(slot.clone())));
        // What is not taken is answered as well.
        let _ = self.turns.ask(Ask::Request(request, answer));
        slot.wait()
    }

    /// Hands over a request as it is. `answer` is called once, on a thread of the node, or on one that asks it something, this one before the call returns
    /// included: it must not wait for anything, and not for this node's answers above all. Nothing is tried again: [`Error::NotReady`] and [`Error::Contended`] are for the caller to retry.
    ///
    /// ```
    /// # use weald_cluster::{Identity, Keys, Node, Options, Tcp, TcpOptions, Transport, found};
    /// # use weald_cluster_proto::{Level, Quorums, Reply, Request};
    /// # let dir = tempfile::tempdir()?;
    /// # let keys = Keys::new(Identity::open(dir.path())?, "orchard", b"sixteen random bytes");
    /// # let transport = Tcp::bind(TcpOptions::new("127.0.0.1:0"), keys.clone())?;
    /// # let storage = weald_storage::Registry::compiled().open("file", &weald_storage::Options::in_dir(dir.path()))?;
    /// # let start = found(4, Quorums::balanced(1), [(keys.node(), transport.address())])?;
    /// # let node = Node::start(Options::new(keys, transport, storage, start))?;
    /// # node.wait_until_serving(std::time::Duration::from_secs(10))?;
    /// let (sender, answers) = std::sync::mpsc::channel();
    /// for key in [&b"apple"[..], b"pear"] {
    ///     let sender = sender.clone();
    ///     let request = Request::Get { keys: vec![key.into()], read: Level::Cluster };
    ///     node.submit(request, move |answer| drop(sender.send(answer)));
    /// }
    /// for _ in 0..2 {
    ///     assert!(matches!(answers.recv()??, Reply::Values(_)));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn submit(&self, request: Request, answer: impl FnOnce(Result<Reply, ClientError>) + Send + 'static) {
        let answer = Answer::new(answer);
        match self.check(&request) {
            // What is not taken is answered.
            Ok(()) => drop(self.turns.ask(Ask::Request(request, answer))),
            Err(error) => answer.give(Err(error)),
        }
    }

    /// What this node's own store has of a key: to see whether replicas agree. It asks nobody else.
    pub fn local_copy(&self, key: &[u8]) -> Result<LocalCopy, LocalError> {
        let layout = self
            .layout()?
            .ok_or(ClientError::Failed(weald_cluster_proto::Error::NotReady))?;
        let partition = layout.partition_of(key);
        let stored = data_key(partition, key);
        let item = self.storage.get(&stored)?;
        let is_own = |owner: &Owner| owner.node == self.id;
        Ok(LocalCopy {
            partition,
            owned: layout.owners(partition).iter().any(is_own),
            entry: item.map(|item| to_entry(&stored, item)).transpose()?,
        })
    }

    /// Refuses what this node's own storage would not take: better told at once than by a quorum that never comes about.
    fn check(&self, request: &Request) -> Result<(), ClientError> {
        let fits = |key: &Bytes, value: Option<&Bytes>| {
            let invalid = |what| Err(ClientError::Failed(Error::Invalid(what)));
            if key.len() > self.key_len_max {
                return invalid("the key is longer than the storage takes");
            }
            if value.is_some_and(|value| value.len() > self.value_len_max) {
                return invalid("the value is longer than the storage takes");
            }
            Ok(())
        };
        match request {
            Request::Put { items, .. } => items
                .iter()
                .try_for_each(|(key, value)| fits(key, value.as_ref())),
            Request::CompareAndSet { key, value, .. } => fits(key, value.as_ref()),
            Request::GetRegister { key } => fits(key, None),
            Request::Get { keys, .. } => keys.iter().try_for_each(|key| fits(key, None)),
            Request::Scan { .. } | Request::ChangeLayout(_) => Ok(()),
        }
    }

    /// Reads a key.
    pub fn get(&self, key: &[u8], level: Level) -> Result<Found, ClientError> {
        single(self.get_many(&[key], level)?)
    }

    /// Reads keys, each for itself: one message for each node that has any.
    pub fn get_many(&self, keys: &[&[u8]], level: Level) -> Result<Vec<Result<Found, Error>>, ClientError> {
        let request = || Request::Get {
            keys: keys.iter().map(|&key| key.into()).collect(),
            read: level,
        };
        match self.insist(request)? {
            Reply::Values(found) => Ok(found),
            reply => Err(other(reply)),
        }
    }

    /// Writes a key, durably on as many replicas as the level says; with a time to live it is gone after that.
    pub fn put(
        &self,
        key: &[u8],
        value: &[u8],
        ttl: Option<Duration>,
        level: Level,
    ) -> Result<Version, ClientError> {
        single(self.put_many(&[(key, Some(value))], ttl, level)?)
    }

    /// Deletes a key, durably on as many replicas as the level says.
    pub fn delete(&self, key: &[u8], level: Level) -> Result<Version, ClientError> {
        single(self.put_many(&[(key, None)], None, level)?)
    }

    /// Writes keys, or deletes them where there is no value; each for itself.
    pub fn put_many(
        &self,
        items: &[(&[u8], Option<&[u8]>)],
        ttl: Option<Duration>,
        level: Level,
    ) -> Result<Vec<Result<Version, Error>>, ClientError> {
        let request = || Request::Put {
            items: items
                .iter()
                .map(|&(key, value)| (key.into(), value.map(Bytes::from)))
                .collect(),
            ttl_ms: ttl.map(millis),
            write: level,
            durable: true,
        };
        match self.insist(request)? {
            Reply::Written(versions) => Ok(versions),
            reply => Err(other(reply)),
        }
    }

    /// Writes a key if it holds what is expected, and says whether it did and what it holds now. Linearizable; the key is a register from then on, which
    /// plain writes don't change.
    pub fn compare_and_set(
        &self,
        key: &[u8],
        expect: Expect,
        value: Option<&[u8]>,
        ttl: Option<Duration>,
    ) -> Result<(bool, Found), ClientError> {
        let request = Request::CompareAndSet {
            key: key.into(),
            expect,
            value: value.map(Bytes::from),
            ttl_ms: ttl.map(millis),
        };
        match self.request(&request)? {
            Reply::Compared { swapped, found } => Ok((swapped, found)),
            reply => Err(other(reply)),
        }
    }

    /// Reads a key that is a register, linearizably.
    pub fn get_register(&self, key: &[u8]) -> Result<Found, ClientError> {
        match self.request(&Request::GetRegister { key: key.into() })? {
            Reply::Register(found) => Ok(found),
            reply => Err(other(reply)),
        }
    }

    /// Reads keys in their order, at most so many, and says where to go on.
    #[expect(clippy::type_complexity, reason = "a page and the next key")]
    pub fn scan(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
        level: Level,
    ) -> Result<(Vec<(Bytes, Found)>, Option<Bytes>), ClientError> {
        let request = Request::Scan {
            start: start.into(),
            end: end.map(Bytes::from),
            limit,
            read: level,
        };
        match self.request(&request)? {
            Reply::Page { entries, next } => Ok((entries, next)),
            reply => Err(other(reply)),
        }
    }

    /// Begins to change who owns what, and says the version of the layout that has begun.
    pub fn change_layout(&self, change: LayoutChange) -> Result<u64, ClientError> {
        match self.request(&Request::ChangeLayout(change))? {
            Reply::LayoutChanged { version } => Ok(version),
            reply => Err(other(reply)),
        }
    }
}

/// Whether nothing at all of a request was done, because the node was not ready.
fn is_not_ready(reply: &Reply) -> bool {
    match reply {
        Reply::Failed(error) => *error == Error::NotReady,
        Reply::Written(results) => {
            !results.is_empty() && results.iter().all(|result| *result == Err(Error::NotReady))
        }
        _ => false,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
