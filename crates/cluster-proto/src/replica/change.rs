//! Storage operations of a replica on their way, and what they lead to when they complete.

use super::Summed;
use crate::bugs::Bug;
use crate::clock::Version;
use crate::codec::Bytes;
use crate::entry::{Entry, Rank};
use crate::few::Few;
use crate::id::{NodeId, Partition, RequestId};
use crate::message::{Body, ReadItem, Refusal, Summary, Written};
use crate::node::{Node, Pending};
use crate::store::{Change, Completion, Decision, Outcome, StoreOp};

/// An operation that was asked for.
#[derive(Debug)]
pub(crate) enum ReplicaPending {
    /// Changes of these keys, in order.
    Changed(Partition, Few<Bytes>, Then),
    /// Keys of a request that were read: their numbers, and whether to send them whole.
    Read(u64, Partition, Vec<u16>, bool),
    /// Part of a promise without memory, which only a planted bug makes.
    ReadOnlyPromise(NodeId, RequestId),
    Scanned(NodeId, RequestId),
    Pulled(NodeId, RequestId, Partition),
    /// A page for the sums of a partition, after this key.
    Summed(Partition, Option<Bytes>),
    Exchanged(Box<Exchange>),
    Dropped(Partition),
    Changes(u64, Vec<Bytes>),
}

/// What a completed change leads to.
#[derive(Debug)]
pub(crate) enum Then {
    /// One part of the answer to a write: the numbers of its items.
    Written(u64, Few<u16>),
    Promise(NodeId, RequestId),
    Accept(NodeId, RequestId),
    /// Something of this node's own.
    Own(Box<Pending>),
}

/// The question of a peer that is compared with.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) to: NodeId,
    pub(crate) request: RequestId,
    pub(crate) partition: Partition,
    pub(crate) leaves: Vec<u16>,
    pub(crate) upto: Option<Bytes>,
    pub(crate) summaries: Vec<Summary>,
}

/// An answer that is put together from several operations.
#[derive(Debug)]
pub(crate) struct Gather {
    pub(crate) to: NodeId,
    pub(crate) request: RequestId,
    pub(crate) left: usize,
    pub(crate) answer: Answer,
}

#[derive(Debug)]
pub(crate) enum Answer {
    Write(Vec<(u16, Written)>),
    Read(Vec<ReadItem>),
    Changes { entries: Vec<(Bytes, Entry)>, upto: u64 },
}

impl Node {
    /// Applies entries that other replicas have, durably; then goes on with `then`.
    pub(crate) fn replica_merge(
        &mut self,
        partition: Partition,
        changes: Vec<(Bytes, Change)>,
        then: Pending,
    ) {
        self.replica_change(partition, changes, true, Then::Own(Box::new(then)));
    }

    pub(crate) fn replica_change(
        &mut self,
        partition: Partition,
        changes: Vec<(Bytes, Change)>,
        durable: bool,
        then: Then,
    ) {
        let keys = changes.iter().map(|(key, _)| key.clone()).collect();
        self.replica_store(
            StoreOp::Change {
                partition,
                changes,
                durable,
            },
            ReplicaPending::Changed(partition, keys, then),
        );
    }

    pub(crate) fn replica_store(&mut self, op: StoreOp, pending: ReplicaPending) {
        self.replica.in_flight += 1;
        self.store(op, Pending::Replica(pending));
    }

    pub(crate) fn gather(&mut self, to: NodeId, request: RequestId, left: usize, answer: Answer) -> u64 {
        self.replica.next_gather += 1;
        let id = self.replica.next_gather;
        let gather = Gather {
            to,
            request,
            left,
            answer,
        };
        self.replica.gathers.insert(id, gather);
        self.finish_gather(id);
        id
    }

    pub(crate) fn replica_completed(&mut self, pending: ReplicaPending, completion: Completion) {
        self.replica.in_flight = self.replica.in_flight.saturating_sub(1);
        match (pending, completion) {
            (ReplicaPending::Changed(partition, keys, then), Completion::Changed(decisions)) => {
                for (key, decision) in keys.as_slice().iter().zip(&decisions) {
                    self.sum_up(partition, key, decision.before, decision.after);
                }
                self.changed(partition, then, Some(decisions));
            }
            (ReplicaPending::Changed(partition, _, then), _) => {
                // Nobody knows what was applied, so the sums are not known either.
                self.doubt_sums(partition);
                self.changed(partition, then, None);
            }
            (ReplicaPending::Read(gather, partition, indices, whole), completion) => {
                self.gathered_read(gather, partition, &indices, whole, completion)
            }
            (ReplicaPending::ReadOnlyPromise(to, request), Completion::Read(entries)) => {
                let entry = entries.into_iter().flatten().next().unwrap_or_default();
                self.send(to, Body::Promise { request, entry });
            }
            (ReplicaPending::Scanned(to, request), Completion::Scanned { entries, done }) => {
                let upto = entries.last().filter(|_| !done).map(|(key, _)| key.clone());
                let entries = entries
                    .into_iter()
                    .filter_map(|(key, entry)| {
                        let settled = self.settled(self.partition_of(&key));
                        Some((key, entry.unsettled(settled)?))
                    })
                    .collect();
                self.send(
                    to,
                    Body::ScanDone {
                        request,
                        entries,
                        upto,
                    },
                );
            }
            (ReplicaPending::Pulled(to, request, partition), Completion::Scanned { entries, done }) => {
                self.send_page(to, request, partition, entries, done);
            }
            (ReplicaPending::Summed(partition, after), Completion::Scanned { entries, done }) => {
                self.sum_page(partition, after.as_ref(), &entries, done);
            }
            (ReplicaPending::Summed(partition, _), _) => self.doubt_sums(partition),
            (ReplicaPending::Exchanged(exchange), Completion::Scanned { entries, done }) => {
                self.answer_exchange(*exchange, entries, done);
            }
            (ReplicaPending::Dropped(partition), Completion::Dropped(dropped)) => {
                self.stats.dropped += dropped.len() as u64;
                for (key, rank) in dropped {
                    self.sum_up(partition, &key, rank, Rank::ABSENT);
                }
            }
            (ReplicaPending::Dropped(partition), _) => self.doubt_sums(partition),
            (ReplicaPending::Changes(gather, keys), completion) => {
                self.gathered_changes(gather, &keys, completion)
            }
            (
                ReplicaPending::Scanned(to, request)
                | ReplicaPending::Pulled(to, request, _)
                | ReplicaPending::ReadOnlyPromise(to, request),
                _,
            ) => self.refuse(to, request, Refusal::Failed),
            (ReplicaPending::Exchanged(exchange), _) => {
                self.refuse(exchange.to, exchange.request, Refusal::Failed)
            }
        }
    }

    /// Up to where a partition is settled here: what is spent by then counts no more, dropped or not.
    pub(crate) fn settled(&self, partition: Partition) -> Version {
        if self.has_bug(Bug::EarlyDrop) {
            return Version::ZERO;
        }
        self.replica.marks(partition).settled
    }

    /// A page for a new owner.
    fn send_page(
        &mut self,
        to: NodeId,
        request: RequestId,
        partition: Partition,
        entries: Vec<(Bytes, Entry)>,
        done: bool,
    ) {
        let settled = self.settled(partition);
        let last = entries.len().saturating_sub(1);
        let counts = |(place, (key, entry)): (usize, (Bytes, Entry))| match entry.unsettled(settled) {
            // The new owner goes on from the last key of a page.
            None => (place == last && !done).then(|| (key, Entry::default())),
            Some(entry) => Some((key, entry)),
        };
        let entries = entries.into_iter().enumerate().filter_map(counts).collect();
        self.send(
            to,
            Body::Pulled {
                request,
                entries,
                done,
            },
        );
    }

    pub(crate) fn refuse(&mut self, to: NodeId, request: RequestId, reason: Refusal) {
        self.stats.refused += 1;
        self.send(to, Body::Refused { request, reason });
    }

    fn changed(&mut self, partition: Partition, then: Then, decisions: Option<Vec<Decision>>) {
        match then {
            Then::Written(id, indices) => {
                let Some(gather) = self.replica.gathers.get_mut(&id) else {
                    return;
                };
                let Answer::Write(items) = &mut gather.answer else {
                    return;
                };
                let indices = indices.as_slice().iter().copied();
                match decisions {
                    Some(decisions) => {
                        let outcomes = decisions.iter().map(|decision| written(&decision.outcome));
                        items.extend(indices.zip(outcomes));
                    }
                    None => items.extend(indices.map(|index| (index, Written::Failed))),
                }
                gather.left -= 1;
                self.finish_gather(id);
            }
            Then::Promise(to, request) | Then::Accept(to, request) => {
                let outcome = decisions
                    .and_then(|decisions| decisions.into_iter().next())
                    .map(|decision| decision.outcome);
                let body = match outcome {
                    Some(Outcome::Promised(entry)) => Body::Promise {
                        request,
                        entry: entry.unsettled(self.settled(partition)).unwrap_or_default(),
                    },
                    Some(Outcome::Applied) => Body::AcceptDone { request },
                    Some(Outcome::Outbid(promised)) => Body::Outbid { request, promised },
                    _ => Body::Refused {
                        request,
                        reason: Refusal::Failed,
                    },
                };
                self.send(to, body);
            }
            Then::Own(pending) => {
                let completion = decisions.map_or(Completion::Failed, Completion::Changed);
                self.completed(*pending, completion);
            }
        }
    }

    fn gathered_read(
        &mut self,
        id: u64,
        partition: Partition,
        indices: &[u16],
        whole: bool,
        completion: Completion,
    ) {
        let settled = self.settled(partition);
        let Some(gather) = self.replica.gathers.get_mut(&id) else {
            return;
        };
        let Completion::Read(entries) = completion else {
            let (to, request) = (gather.to, gather.request);
            self.replica.gathers.remove(&id);
            self.refuse(to, request, Refusal::Failed);
            return;
        };
        if let Answer::Read(items) = &mut gather.answer {
            let entries = entries
                .into_iter()
                .map(|entry| entry.and_then(|entry| entry.unsettled(settled)));
            items.extend(indices.iter().zip(entries).map(|(&index, entry)| ReadItem {
                index,
                rank: entry.as_ref().map_or(Rank::ABSENT, Entry::rank),
                register: entry.as_ref().is_some_and(|entry| entry.register.is_some()),
                entry: entry.filter(|_| whole),
            }));
        }
        gather.left -= 1;
        self.finish_gather(id);
    }

    fn gathered_changes(&mut self, id: u64, keys: &[Bytes], completion: Completion) {
        let settled = keys
            .first()
            .map_or(Version::ZERO, |key| self.settled(self.partition_of(key)));
        let Some(gather) = self.replica.gathers.get_mut(&id) else {
            return;
        };
        let (Completion::Read(found), Answer::Changes { entries, .. }) = (completion, &mut gather.answer)
        else {
            self.replica.gathers.remove(&id);
            return;
        };
        let there = keys
            .iter()
            .zip(found)
            .filter_map(|(key, entry)| Some((key.clone(), entry?.unsettled(settled)?)));
        entries.extend(there);
        gather.left -= 1;
        self.finish_gather(id);
    }

    fn finish_gather(&mut self, id: u64) {
        if self.replica.gathers.get(&id).is_none_or(|gather| gather.left > 0) {
            return;
        }
        let Some(gather) = self.replica.gathers.remove(&id) else {
            return;
        };
        let request = gather.request;
        let body = match gather.answer {
            Answer::Write(items) => Body::WriteDone { request, items },
            Answer::Read(items) => Body::ReadDone { request, items },
            Answer::Changes { entries, upto } => Body::ChangesDone {
                request,
                boot: self.announcement.boot,
                upto,
                complete: true,
                entries,
            },
        };
        self.send(gather.to, body);
    }

    fn sum_up(&mut self, partition: Partition, key: &Bytes, before: Rank, after: Rank) {
        if before == after {
            return;
        }
        let bits = self.replica.partition_bits;
        let stale = self.has_bug(Bug::StaleSums);
        let Some(part) = self.replica.parts.get_mut(&partition) else {
            return;
        };
        part.changes += 1;
        match &mut part.summed {
            _ if stale => {}
            Summed::Fully(tree) => tree.change(key, bits, before, after),
            Summed::Partly(tree, upto) if upto.as_ref().is_some_and(|upto| key <= upto) => {
                tree.change(key, bits, before, after);
            }
            _ => {}
        }
        if after != Rank::ABSENT {
            self.replica.ring.push(partition, key);
        }
    }

    fn doubt_sums(&mut self, partition: Partition) {
        if let Some(part) = self.replica.parts.get_mut(&partition) {
            part.summed = Summed::Unknown;
        }
    }

    /// Begins to compute the sums of a partition, unless they are known or being computed.
    pub(crate) fn want_sums(&mut self, partition: Partition) {
        let Some(part) = self.replica.parts.get_mut(&partition) else {
            return;
        };
        if matches!(part.summed, Summed::Unknown) {
            part.summed = Summed::Partly(Box::default(), None);
            self.scan_for_sums(partition, None);
        }
    }

    fn scan_for_sums(&mut self, partition: Partition, after: Option<Bytes>) {
        let op = StoreOp::ScanPartition {
            partition,
            after: after.clone(),
            upto: None,
            limit: 4 * self.config.page_entries,
            bytes: self.config.page_bytes,
        };
        self.replica_store(op, ReplicaPending::Summed(partition, after));
    }

    fn sum_page(
        &mut self,
        partition: Partition,
        after: Option<&Bytes>,
        entries: &[(Bytes, Entry)],
        done: bool,
    ) {
        let bits = self.replica.partition_bits;
        let Some(part) = self.replica.parts.get_mut(&partition) else {
            return;
        };
        let Summed::Partly(tree, upto) = &mut part.summed else {
            return;
        };
        // A page of a computation that was given up.
        if upto.as_ref() != after {
            return;
        }
        for (key, entry) in entries {
            tree.change(key, bits, Rank::ABSENT, entry.rank());
        }
        if let Some((last, _)) = entries.last() {
            *upto = Some(last.clone());
        }
        if done {
            part.summed = Summed::Fully(std::mem::take(tree));
        } else {
            let after = upto.clone();
            self.scan_for_sums(partition, after);
        }
    }
}

fn written(outcome: &Outcome) -> Written {
    match outcome {
        Outcome::Applied => Written::Applied,
        Outcome::Superseded(by) => Written::Superseded { by: *by },
        Outcome::IsRegister | Outcome::Promised(_) | Outcome::Outbid(_) => Written::IsRegister,
    }
}
