//! Requests of coordinators and peers, turned into storage operations.

use std::collections::BTreeMap;

use super::change::{Answer, Exchange, ReplicaPending, Then};
use crate::bugs::Bug;
use crate::codec::Bytes;
use crate::config::{KEY_MAX, KEYS_MAX};
use crate::entry::{Ballot, Entry, Past, Record};
use crate::few::Few;
use crate::id::{NodeId, Partition, RequestId};
use crate::message::{Body, Origin, Refusal, Summary, WriteItem, Written};
use crate::node::Node;
use crate::store::{Change, StoreOp};

impl Node {
    fn owns(&self, partition: Partition) -> bool {
        self.replica.parts.contains_key(&partition)
    }

    pub(super) fn partition_of(&self, key: &[u8]) -> Partition {
        self.layout
            .as_ref()
            .map_or(Partition(0), |layout| layout.partition_of(key))
    }

    /// What stands against a write from outside, before the store is asked.
    fn objection(&self, origin: Origin, partition: Partition, entry: &Entry) -> Option<Written> {
        let newest = entry.rank().newest();
        if self.clock.is_ahead(newest.stamp) && !self.has_bug(Bug::UnboundedClock) {
            return Some(Written::Ahead);
        }
        let marks = self.replica.marks(partition);
        let mark = match origin {
            Origin::Client | Origin::Hint => marks.sealed,
            Origin::Reader | Origin::Repair => marks.settled,
        };
        (newest <= mark && !self.has_bug(Bug::NoMarks)).then_some(Written::TooOld)
    }

    pub(crate) fn serve_write(
        &mut self,
        from: NodeId,
        request: RequestId,
        origin: Origin,
        durable: bool,
        items: Vec<WriteItem>,
    ) {
        if items.len() > KEYS_MAX || items.iter().any(|item| item.key.len() > KEY_MAX) {
            return self.refuse(from, request, Refusal::Failed);
        }
        let mut answered = Vec::with_capacity(items.len());
        let mut wanted: Vec<(Partition, WriteItem)> = Vec::with_capacity(items.len());
        let mut refusal = None;
        for item in items {
            let partition = self.partition_of(&item.key);
            if !self.owns(partition) {
                refusal = refusal.or(Some(Refusal::NotOwner));
            } else if self.movement.is_unmarked(partition) {
                refusal = refusal.or(Some(Refusal::Layout));
            } else if let Some(objection) = self.objection(origin, partition, &item.entry) {
                answered.push((item.index, objection));
                continue;
            }
            wanted.push((partition, item));
        }
        if let Some(reason) = refusal {
            return self.refuse(from, request, reason);
        }
        if self.has_bug(Bug::AcknowledgeBeforeApply) {
            let early = wanted.iter().map(|(_, item)| (item.index, Written::Applied));
            let items = answered.iter().copied().chain(early).collect();
            self.send(from, Body::WriteDone { request, items });
        }
        // One operation for each partition, in the order of the items.
        wanted.sort_by_key(|(partition, _)| *partition);
        let parts = wanted.chunk_by(|one, other| one.0 == other.0).count();
        let id = self.gather(from, request, parts, Answer::Write(answered));
        let mut wanted = wanted.into_iter().peekable();
        while let Some((partition, item)) = wanted.next() {
            let mut indices = Few::One(item.index);
            let mut changes = vec![change_of(origin, item)];
            while let Some((_, item)) = wanted.next_if(|(next, _)| *next == partition) {
                indices.push(item.index);
                changes.push(change_of(origin, item));
            }
            self.replica_change(partition, changes, durable, Then::Written(id, indices));
        }
    }

    pub(crate) fn serve_read(
        &mut self,
        from: NodeId,
        request: RequestId,
        whole: bool,
        keys: Vec<(u16, Bytes)>,
    ) {
        if keys.len() > KEYS_MAX {
            return self.refuse(from, request, Refusal::Failed);
        }
        let mut parts: BTreeMap<Partition, (Vec<u16>, Vec<Bytes>)> = BTreeMap::new();
        for (index, key) in keys {
            let partition = self.partition_of(&key);
            if !self.owns(partition) {
                return self.refuse(from, request, Refusal::NotOwner);
            }
            let part = parts.entry(partition).or_default();
            part.0.push(index);
            part.1.push(key);
        }
        let id = self.gather(from, request, parts.len(), Answer::Read(Vec::new()));
        for (partition, (indices, keys)) in parts {
            self.replica_store(
                StoreOp::Read { partition, keys },
                ReplicaPending::Read(id, partition, indices, whole),
            );
        }
    }

    pub(crate) fn serve_scan(
        &mut self,
        from: NodeId,
        request: RequestId,
        start: Bytes,
        end: Option<Bytes>,
        limit: u32,
    ) {
        let Some(layout) = self.layout.clone() else { return };
        let mine = |partition: &Partition| layout.readers(*partition).contains(&self.owner);
        let op = StoreOp::ScanKeys {
            partitions: layout.all_partitions().filter(mine).collect(),
            start,
            end,
            limit: (limit as usize).clamp(1, KEYS_MAX),
            bytes: self.config.page_bytes,
        };
        self.replica_store(op, ReplicaPending::Scanned(from, request));
    }

    /// Whether a ballot is one that this replica may deal with.
    fn may_ballot(&self, partition: Partition, ballot: Ballot) -> Result<(), Refusal> {
        if !self.owns(partition) {
            return Err(Refusal::NotOwner);
        }
        if self.movement.is_unmarked(partition) {
            return Err(Refusal::Layout);
        }
        let old = ballot <= self.replica.marks(partition).sealed;
        if old || self.clock.is_ahead(ballot.stamp) {
            Err(Refusal::TooOld)
        } else {
            Ok(())
        }
    }

    pub(crate) fn serve_prepare(&mut self, from: NodeId, request: RequestId, key: Bytes, ballot: Ballot) {
        let partition = self.partition_of(&key);
        if let Err(reason) = self.may_ballot(partition, ballot) {
            return self.refuse(from, request, reason);
        }
        if self.has_bug(Bug::ForgottenPromise) {
            let keys = vec![key];
            let op = StoreOp::Read { partition, keys };
            return self.replica_store(op, ReplicaPending::ReadOnlyPromise(from, request));
        }
        let changes = vec![(key, Change::Promise(ballot))];
        self.replica_change(partition, changes, true, Then::Promise(from, request));
    }

    pub(crate) fn serve_accept(
        &mut self,
        from: NodeId,
        request: RequestId,
        key: Bytes,
        ballot: Ballot,
        record: Record,
        past: Past,
    ) {
        let partition = self.partition_of(&key);
        if let Err(reason) = self.may_ballot(partition, ballot) {
            return self.refuse(from, request, reason);
        }
        let changes = vec![(key, Change::Accept(ballot, record, past))];
        self.replica_change(partition, changes, true, Then::Accept(from, request));
    }

    pub(crate) fn serve_pull(
        &mut self,
        from: NodeId,
        request: RequestId,
        partition: Partition,
        after: Option<Bytes>,
    ) {
        let Some(layout) = self.layout.clone() else { return };
        let known = usize::from(partition.0) < layout.partitions();
        if !known || !layout.readers(partition).contains(&self.owner) {
            return self.refuse(from, request, Refusal::NotOwner);
        }
        let op = StoreOp::ScanPartition {
            partition,
            after,
            upto: None,
            limit: self.config.page_entries,
            bytes: self.config.page_bytes,
        };
        self.replica_store(op, ReplicaPending::Pulled(from, request, partition));
    }

    pub(crate) fn serve_compare(
        &mut self,
        from: NodeId,
        request: RequestId,
        partition: Partition,
        root: u128,
    ) {
        if !self.owns(partition) {
            return self.refuse(from, request, Refusal::NotOwner);
        }
        self.want_sums(partition);
        let Some(tree) = self.replica.tree(partition) else {
            return self.refuse(from, request, Refusal::NotReady);
        };
        let leaves = if tree.root == root {
            Vec::new()
        } else {
            tree.leaves.clone()
        };
        let (boot, ring) = (self.announcement.boot, self.replica.ring.end());
        self.send(
            from,
            Body::Differ {
                request,
                leaves,
                boot,
                ring,
            },
        );
    }

    #[expect(clippy::too_many_arguments, reason = "they are the fields of one message")]
    pub(crate) fn serve_exchange(
        &mut self,
        from: NodeId,
        request: RequestId,
        partition: Partition,
        leaves: Vec<u16>,
        after: Option<Bytes>,
        upto: Option<Bytes>,
        summaries: Vec<Summary>,
    ) {
        if !self.owns(partition) {
            return self.refuse(from, request, Refusal::NotOwner);
        }
        let op = StoreOp::ScanPartition {
            partition,
            after,
            upto: upto.clone(),
            limit: 4 * self.config.page_entries,
            bytes: self.config.page_bytes,
        };
        let exchange = Exchange {
            to: from,
            request,
            partition,
            leaves,
            upto,
            summaries,
        };
        self.replica_store(op, ReplicaPending::Exchanged(Box::new(exchange)));
    }

    pub(crate) fn answer_exchange(&mut self, exchange: Exchange, entries: Vec<(Bytes, Entry)>, done: bool) {
        let settled = self.settled(exchange.partition);
        // Beyond the last entry of a page that is cut short, nothing is known.
        let covered = if done {
            exchange.upto.clone()
        } else {
            entries.last().map(|(key, _)| key.clone())
        };
        let mut theirs: BTreeMap<Bytes, _> = exchange.summaries.into_iter().collect();
        let mut newer = Vec::new();
        let mut wanted = Vec::new();
        for (key, entry) in entries {
            let leaf = self.replica.leaf_of(&key);
            if exchange.leaves.binary_search(&leaf).is_err() {
                continue;
            }
            let (their, our) = (theirs.remove(&key).unwrap_or_default(), entry.rank());
            if our > their && !entry.is_over(settled) {
                newer.push((key, entry));
            } else if their > our {
                wanted.push(key);
            }
        }
        let within = |key: &Bytes| covered.as_ref().is_none_or(|covered| key <= covered);
        let missing = theirs
            .into_iter()
            .filter(|(key, rank)| within(key) && rank.newest() > settled);
        wanted.extend(missing.map(|(key, _)| key));
        let body = Body::Exchanged {
            request: exchange.request,
            newer,
            wanted,
            upto: covered,
            done,
        };
        self.send(exchange.to, body);
    }

    pub(crate) fn serve_changes(&mut self, from: NodeId, request: RequestId, boot: u64, since: u64) {
        let Some(layout) = self.layout.clone() else { return };
        let ours = self.announcement.boot;
        let end = self.replica.ring.end();
        let changes = if boot == ours {
            self.replica.ring.since(since, self.config.page_entries)
        } else {
            None
        };
        let Some(changes) = changes else {
            let (entries, complete) = (Vec::new(), false);
            self.send(
                from,
                Body::ChangesDone {
                    request,
                    boot: ours,
                    upto: end,
                    complete,
                    entries,
                },
            );
            return;
        };
        let upto = since + changes.len() as u64;
        let mut parts: BTreeMap<Partition, Vec<Bytes>> = BTreeMap::new();
        for (partition, key) in changes {
            let shared = layout.owners(partition).iter().any(|owner| owner.node == from);
            let keys = if shared && self.owns(partition) {
                parts.entry(partition).or_default()
            } else {
                continue;
            };
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let answer = Answer::Changes {
            entries: Vec::new(),
            upto,
        };
        let id = self.gather(from, request, parts.len(), answer);
        for (partition, keys) in parts {
            let pending = ReplicaPending::Changes(id, keys.clone());
            self.replica_store(StoreOp::Read { partition, keys }, pending);
        }
    }
}

/// What a write does to its key.
fn change_of(origin: Origin, item: WriteItem) -> (Bytes, Change) {
    let change = match origin {
        Origin::Client | Origin::Hint if item.entry.register.is_none() => Change::Put(item.entry.record),
        _ => Change::Merge(item.entry),
    };
    (item.key, change)
}
