//! Requests of one tick that are alike go to the cluster as one: a message for each node in place of one for each key.
//!
//! Keys of a request don't depend on each other, but it is answered as a whole: one that can't have its quorum holds the others up. So nothing is put together for a
//! while after that has happened.

use std::collections::HashSet;

use weald_cluster::ClientError;
use weald_cluster::proto::{Bytes, Level, Reply as Answer, Request};

use super::{Arrival, Arrivals, OperationId};

/// Keys of one request.
const KEYS_MAX: usize = 128;
/// Bytes of its values, about.
const BYTES_MAX: usize = 1 << 20;

/// What requests have to have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Like {
    Get(Level),
    Put(Level, Option<u64>, bool),
}

struct Group {
    like: Like,
    ids: Vec<OperationId>,
    items: Vec<(Bytes, Option<Bytes>)>,
    keys: HashSet<Bytes>,
    bytes: usize,
}

/// Requests that wait for the end of the tick.
#[derive(Default)]
pub(super) struct Batch {
    groups: Vec<Group>,
}

impl Batch {
    /// Takes a request of one key in; others are given back.
    pub(super) fn add(&mut self, id: OperationId, request: Request) -> Option<Request> {
        let (like, key, value) = match request {
            Request::Get { mut keys, read } if keys.len() == 1 => (Like::Get(read), keys.pop(), None),
            Request::Put {
                mut items,
                ttl_ms,
                write,
                durable,
            } if items.len() == 1 => {
                let (key, value) = items.pop().unzip();
                (Like::Put(write, ttl_ms, durable), key, value.flatten())
            }
            request => return Some(request),
        };
        self.join(id, like, key?, value);
        None
    }

    /// Takes in a request of that kind of one key.
    pub(super) fn join(&mut self, id: OperationId, like: Like, key: Bytes, value: Option<Bytes>) {
        let bytes = key.len() + value.as_ref().map_or(0, |value| value.len());
        // A key that is there already goes into a request of its own: two writes of one in a request have no order.
        let fits = |group: &Group| {
            group.like == like
                && group.ids.len() < KEYS_MAX
                && group.bytes + bytes <= BYTES_MAX
                && !group.keys.contains(&key)
        };
        let at = self.groups.iter().position(fits).unwrap_or_else(|| {
            self.groups.push(Group {
                like,
                ids: Vec::new(),
                items: Vec::new(),
                keys: HashSet::new(),
                bytes: 0,
            });
            self.groups.len() - 1
        });
        let group = &mut self.groups[at];
        group.ids.push(id);
        group.bytes += bytes;
        group.keys.insert(key.clone());
        group.items.push((key, value));
    }

    /// What has come together, each with what to do with its answer.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (Request, Vec<OperationId>)> + use<> {
        std::mem::take(&mut self.groups).into_iter().map(|group| {
            let request = match group.like {
                Like::Get(read) => Request::Get {
                    keys: group.items.into_iter().map(|(key, _)| key).collect(),
                    read,
                },
                Like::Put(write, ttl_ms, durable) => Request::Put {
                    items: group.items,
                    ttl_ms,
                    write,
                    durable,
                },
            };
            (request, group.ids)
        })
    }
}

/// Gives each operation its part of an answer.
pub(super) fn deal(arrivals: &Arrivals, ids: &[OperationId], answer: Result<Answer, ClientError>) {
    let each: Vec<Result<Answer, ClientError>> = match answer {
        Ok(Answer::Values(results)) => results
            .into_iter()
            .map(|result| Ok(Answer::Values(vec![result])))
            .collect(),
        Ok(Answer::Written(results)) => results
            .into_iter()
            .map(|result| Ok(Answer::Written(vec![result])))
            .collect(),
        Ok(other) => ids.iter().map(|_| Ok(other.clone())).collect(),
        Err(error) => ids.iter().map(|_| Err(error)).collect(),
    };
    arrivals.add_all(ids.iter().copied().zip(each.into_iter().map(Arrival::Answer)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(key: &[u8], read: Level) -> Request {
        Request::Get {
            keys: vec![key.into()],
            read,
        }
    }

    fn put(key: &[u8], ttl_ms: Option<u64>) -> Request {
        Request::Put {
            items: vec![(key.into(), Some((&b"v"[..]).into()))],
            ttl_ms,
            write: Level::Cluster,
            durable: true,
        }
    }

    #[test]
    fn what_is_alike_goes_together_and_no_key_twice() {
        let mut batch = Batch::default();
        let several = Request::Get {
            keys: vec![(&b"a"[..]).into(), (&b"b"[..]).into()],
            read: Level::Cluster,
        };
        assert_eq!(batch.add(1, several.clone()), Some(several));
        for (id, request) in [
            (2, get(b"a", Level::Cluster)),
            (3, put(b"a", None)),
            (4, get(b"b", Level::Cluster)),
            (5, get(b"c", Level::Strong)),
            (6, put(b"a", None)),
            (7, put(b"b", Some(5))),
            (8, put(b"b", None)),
        ] {
            assert_eq!(batch.add(id, request), None);
        }
        let ids: Vec<Vec<OperationId>> = batch.take().map(|(_, ids)| ids).collect();
        assert_eq!(ids, [vec![2, 4], vec![3, 8], vec![5], vec![6], vec![7]]);
        assert_eq!(batch.take().count(), 0);
    }
}
