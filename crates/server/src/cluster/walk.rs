//! Commands that go through all keys: `SCAN` a page of them, others page by page to the end.
//!
//! Keys come in their order. One that is there all the time comes exactly once; one that comes or goes meanwhile may come or not. Pages bring the values along, so
//! that counting all keys costs reading all values.

use std::collections::HashMap;
use std::collections::VecDeque;

use weald_cluster::proto::{Bytes, Error, Found as Held, Reply as Answer, Request};
use weald_resp::{Protocol, Reply};

use super::levels::Levels;
use super::value;
use crate::error::CommandError;
use crate::glob;

/// Keys of a page, where the whole is gone through.
const PAGE: usize = 1000;
/// Keys that `KEYS` gives at most.
const KEYS_MAX: usize = 1 << 20;
/// Cursors that a node remembers.
const CURSORS_MAX: usize = 10_000;

/// What a walk is for.
pub(super) enum Goal {
    /// `SCAN`: one page.
    Page {
        pattern: Option<Vec<u8>>,
        kind: Option<Vec<u8>>,
        count: usize,
    },
    /// `KEYS`.
    Keys { pattern: Vec<u8>, found: Vec<Bytes> },
    /// `DBSIZE`.
    Count(i64),
    /// `FLUSHALL` and `FLUSHDB`.
    Flush,
}

/// A walk through all keys.
pub(super) struct Walk {
    pub(super) start: Bytes,
    pub(super) goal: Goal,
    /// Keys to be deleted before it goes on.
    doomed: Vec<Bytes>,
    is_last: bool,
}

/// What comes after a page.
pub(super) enum Next {
    /// Another request.
    More,
    /// The reply.
    Done(Vec<u8>),
}

impl Walk {
    pub(super) fn new(start: Bytes, goal: Goal) -> Walk {
        Walk {
            start,
            goal,
            doomed: Vec::new(),
            is_last: false,
        }
    }

    pub(super) fn changes(&self) -> bool {
        matches!(self.goal, Goal::Flush)
    }

    pub(super) fn request(&self, levels: Levels, durable: bool) -> Request {
        if !self.doomed.is_empty() {
            return Request::Put {
                items: self.doomed.iter().map(|key| (key.clone(), None)).collect(),
                ttl_ms: None,
                write: levels.write,
                durable,
            };
        }
        Request::Scan {
            start: self.start.clone(),
            end: None,
            limit: match self.goal {
                Goal::Page { count, .. } => count.clamp(1, PAGE),
                _ => PAGE,
            },
            read: levels.read,
        }
    }

    /// Takes in an answer.
    pub(super) fn answered(
        &mut self,
        answer: Answer,
        cursors: &mut Cursors,
        protocol: Protocol,
    ) -> Result<Next, Error> {
        match answer {
            Answer::Page { entries, next } => Ok(self.page(entries, next, cursors, protocol)),
            Answer::Written(results) => {
                results.into_iter().find_map(Result::err).map_or(Ok(()), Err)?;
                self.doomed.clear();
                Ok(if self.is_last {
                    self.done(protocol)
                } else {
                    Next::More
                })
            }
            Answer::Failed(error) => Err(error),
            _ => Err(Error::Invalid("the answer was to something else")),
        }
    }

    fn page(
        &mut self,
        entries: Vec<(Bytes, Held)>,
        next: Option<Bytes>,
        cursors: &mut Cursors,
        protocol: Protocol,
    ) -> Next {
        match &mut self.goal {
            Goal::Page { pattern, kind, .. } => {
                let wanted = entries.iter().filter(|(key, held)| {
                    pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, key))
                        && kind.as_ref().is_none_or(|kind| is_kind(held, kind))
                });
                let keys: Vec<&Bytes> = wanted.map(|(key, _)| key).collect();
                let mut reply = Reply::new(protocol);
                reply.array(2);
                let cursor = next.map_or(0, |next| cursors.add(next));
                reply.bulk(cursor.to_string().as_bytes());
                reply.array(keys.len());
                keys.iter().for_each(|key| reply.bulk(key));
                return Next::Done(reply.into_bytes());
            }
            Goal::Keys { pattern, found } => {
                let wanted = entries
                    .into_iter()
                    .map(|(key, _)| key)
                    .filter(|key| glob::matches(pattern, key));
                found.extend(wanted);
                if found.len() > KEYS_MAX {
                    let mut reply = Reply::new(protocol);
                    reply.error("ERR there are too many keys for one reply: use SCAN");
                    return Next::Done(reply.into_bytes());
                }
            }
            Goal::Count(count) => *count += entries.len() as i64,
            Goal::Flush => self.doomed = entries.into_iter().map(|(key, _)| key).collect(),
        }
        match next {
            Some(next) => self.start = next,
            None => self.is_last = true,
        }
        if self.is_last && self.doomed.is_empty() {
            self.done(protocol)
        } else {
            Next::More
        }
    }

    fn done(&self, protocol: Protocol) -> Next {
        let mut reply = Reply::new(protocol);
        match &self.goal {
            Goal::Keys { found, .. } => {
                reply.array(found.len());
                found.iter().for_each(|key| reply.bulk(key));
            }
            Goal::Count(count) => reply.integer(*count),
            Goal::Flush | Goal::Page { .. } => reply.ok(),
        }
        Next::Done(reply.into_bytes())
    }
}

fn is_kind(held: &Held, wanted: &[u8]) -> bool {
    let kind = held.value.as_ref().and_then(|value| value::kind(value).ok());
    kind.is_some_and(|kind| wanted.eq_ignore_ascii_case(kind.name().as_bytes()))
}

/// Where scans go on. A cursor is a number, and keys are longer: the node remembers the latest.
#[derive(Default)]
pub(super) struct Cursors {
    places: HashMap<u64, Bytes>,
    order: VecDeque<u64>,
}

impl Cursors {
    fn add(&mut self, next: Bytes) -> u64 {
        // Random, so that a cursor of another node, or from before a restart, is not taken for one of these. Clients may read it as a signed number.
        let cursor = fastrand::u64(1..1 << 62);
        if self.places.insert(cursor, next).is_none() {
            self.order.push_back(cursor);
        }
        if self.order.len() > CURSORS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.places.remove(&oldest);
        }
        cursor
    }

    /// Where a cursor goes on.
    pub(super) fn find(&self, cursor: u64) -> Result<Bytes, CommandError> {
        if cursor == 0 {
            return Ok(Bytes::from(&b""[..]));
        }
        self.places.get(&cursor).cloned().ok_or_else(|| {
            CommandError::new("ERR this node does not know the cursor, or no longer: begin again with 0")
        })
    }
}
