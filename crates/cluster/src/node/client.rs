//! The node as a client of its cluster: typed requests, each waiting for its answer.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use thiserror::Error;
use weald_cluster_proto::{Bytes, Error, Expect, Found, LayoutChange, Level, Reply, Request, Version};

use super::Node;
use super::inbox::Ask;

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
        self.check(request)?;
        let until = Instant::now() + self.request_timeout;
        loop {
            let (sender, reply) = mpsc::channel();
            self.inbox.ask(Ask::Request(request.clone(), sender))?;
            let reply = reply.recv().map_err(|_| ClientError::Stopped)?;
            if !is_not_ready(&reply) || Instant::now() >= until {
                return Ok(reply);
            }
            std::thread::sleep(RETRY);
        }
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
        let keys = keys.iter().map(|&key| key.into()).collect();
        match self.request(&Request::Get { keys, read: level })? {
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
        let request = Request::Put {
            items: items
                .iter()
                .map(|&(key, value)| (key.into(), value.map(Bytes::from)))
                .collect(),
            ttl_ms: ttl.map(millis),
            write: level,
            durable: true,
        };
        match self.request(&request)? {
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
