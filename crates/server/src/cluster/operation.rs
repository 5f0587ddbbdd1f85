//! A request of a client on its way through the cluster.

use std::sync::Arc;
use std::time::Instant;

use weald_cluster::proto::{Bytes, Expect, Found as Held, Request};
use weald_resp::Protocol;

use super::levels::Levels;
use super::replies::Footprint;
use super::walk::Walk;
use crate::registry::Found;
use crate::session::ClientId;

/// The words of a request, one after the other in one piece of memory.
#[derive(Clone, Debug)]
pub(super) struct Words {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Words {
    pub(super) fn new(args: &[&[u8]]) -> Words {
        let ends = args.iter().scan(0, |end, arg| {
            *end += arg.len();
            Some(*end)
        });
        Words {
            ends: ends.collect(),
            bytes: args.concat(),
        }
    }

    pub(super) fn lent(&self) -> Vec<&[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        let ranges = starts.zip(&self.ends).map(|(&start, &end)| start..end);
        ranges.map(|range| &self.bytes[range]).collect()
    }

    /// About how many bytes it takes.
    fn size(&self) -> usize {
        self.bytes.len() + self.ends.len() * size_of::<usize>()
    }
}

/// A request of a client, from its arguments to its reply.
pub(super) struct Operation {
    pub(super) client: ClientId,
    /// Where its reply goes.
    pub(super) slot: u64,
    pub(super) protocol: Protocol,
    pub(super) args: Words,
    pub(super) found: Found,
    pub(super) levels: Levels,
    /// Whether each replica flushes before it counts.
    pub(super) durable: bool,
    pub(super) footprint: Footprint,
    pub(super) work: Work,
    pub(super) began: Instant,
    /// How often the cluster's answer was to try again.
    pub(super) attempts: u32,
}

/// What is done with what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    /// The string.
    String,
    /// All strings.
    Strings,
    /// How many are there.
    Count,
    /// The command runs on copies.
    Copies,
}

/// The reply to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Ok,
    Count(i64),
}

/// What an operation does, and how far it is.
pub(super) enum Work {
    Read {
        keys: Vec<Bytes>,
        show: Show,
    },
    Write {
        items: Vec<(Bytes, Option<Bytes>)>,
        ttl_ms: Option<u64>,
        reply: Written,
    },
    /// Looks which keys are there, and then deletes them: what it counts.
    Delete {
        keys: Vec<Bytes>,
    },
    /// Runs the command on a copy of its key, and puts the key back unless another changed it meanwhile.
    Update {
        key: Bytes,
        /// Keys that it only reads.
        others: Vec<Bytes>,
        step: Step,
    },
    /// Goes through all keys.
    Walk(Walk),
    /// Asks the node about itself.
    Office,
}

/// How far an update is.
pub(super) enum Step {
    /// It reads.
    Reading,
    /// It knows what the key holds since the one before it, of this node, changed it.
    Inherited(Box<Held>),
    /// It has a reply, if the key still holds what it held.
    Comparing {
        reply: Vec<u8>,
        /// Updates of the same key that waited, and were run after it on the same copy: with their replies.
        riders: Vec<(Operation, Vec<u8>)>,
        expect: Expect,
        value: Option<Bytes>,
        expires: u64,
    },
}

impl Operation {
    /// About how many bytes it keeps.
    pub(super) fn bytes(&self) -> usize {
        256 + self.args.size()
    }

    /// What to ask the cluster next; nothing where it asks no replica.
    pub(super) fn request(&self, now_ms: u64) -> Option<Request> {
        Some(match &self.work {
            Work::Read { keys, .. } | Work::Delete { keys } => Request::Get {
                keys: keys.clone(),
                read: self.levels.read,
            },
            Work::Write { items, ttl_ms, .. } => Request::Put {
                items: items.clone(),
                ttl_ms: *ttl_ms,
                write: self.levels.write,
                durable: self.durable,
            },
            Work::Update {
                key,
                step:
                    Step::Comparing {
                        expect,
                        value,
                        expires,
                        ..
                    },
                ..
            } => Request::CompareAndSet {
                key: key.clone(),
                expect: expect.clone(),
                value: value.clone(),
                ttl_ms: (*expires > 0).then(|| expires.saturating_sub(now_ms).max(1)),
            },
            Work::Update { key, others, .. } => Request::Get {
                keys: std::iter::once(key).chain(others).map(Arc::clone).collect(),
                read: self.levels.for_update(),
            },
            Work::Walk(walk) => walk.request(self.levels, self.durable),
            Work::Office => return None,
        })
    }

    /// Whether an error may leave something changed.
    pub(super) fn changes(&self) -> bool {
        match &self.work {
            Work::Read { .. } | Work::Delete { .. } | Work::Office => false,
            Work::Write { .. } => true,
            Work::Update { step, .. } => matches!(step, Step::Comparing { .. }),
            Work::Walk(walk) => walk.changes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_lent_as_they_came() {
        for args in [&[][..], &[&b""[..]], &[b"set", b"", b"key", b"a long value"]] {
            assert_eq!(Words::new(args).lent(), args);
        }
    }
}
