//! A simulated disk: what was not made durable may be gone after a crash, and operations fail on demand.

use std::collections::{BTreeMap, BTreeSet};

use weald_cluster_proto::{
    Bytes, Change, Completion, Decision, Entry, Meta, Partition, Random, Rank, StoreOp,
};

type Data = BTreeMap<(Partition, Bytes), Entry>;

/// What a node has stored.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// What the node sees.
    pub data: Data,
    /// What a power cut leaves, but for chance.
    pub durable: Data,
    /// Keys that differ between the two.
    pub(crate) dirty: BTreeSet<(Partition, Bytes)>,
    /// The greatest that each key ever had durably, even if it is gone since, as when the partition moved away.
    pub proved: BTreeMap<(Partition, Bytes), Rank>,
    /// What the node knows about itself.
    pub meta: Meta,
    /// A planted bug: the last to arrive wins.
    pub last_wins: bool,
}

impl Disk {
    /// Carries out an operation.
    pub fn execute(&mut self, op: &StoreOp) -> Completion {
        match op {
            StoreOp::Change {
                partition,
                changes,
                durable,
            } => {
                let decide = |(key, change): &(Bytes, Change)| self.change(*partition, key, change, *durable);
                Completion::Changed(changes.iter().map(decide).collect())
            }
            StoreOp::Read { partition, keys } => {
                let get = |key: &Bytes| self.data.get(&(*partition, key.clone())).cloned();
                Completion::Read(keys.iter().map(get).collect())
            }
            StoreOp::ScanPartition {
                partition,
                after,
                upto,
                limit,
                bytes,
            } => {
                let past = |key: &Bytes| upto.as_ref().is_none_or(|upto| key <= upto);
                let entries = self
                    .partition(*partition)
                    .filter(|(key, _)| after.as_ref().is_none_or(|after| key > after) && past(key));
                page(entries, *limit, *bytes)
            }
            StoreOp::ScanKeys {
                partitions,
                start,
                end,
                limit,
                bytes,
            } => {
                let within = |key: &Bytes| key >= start && end.as_ref().is_none_or(|end| key < end);
                let mut entries: Vec<(Bytes, Entry)> = partitions
                    .iter()
                    .flat_map(|partition| self.partition(*partition))
                    .filter(|(key, _)| within(key))
                    .collect();
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                page(entries.into_iter(), *limit, *bytes)
            }
            StoreOp::Clear { partition } => {
                self.data.retain(|(other, _), _| other != partition);
                self.durable.retain(|(other, _), _| other != partition);
                self.dirty.retain(|(other, _)| other != partition);
                Completion::Done
            }
            StoreOp::Sync { partition } => {
                let place = |(other, _): &&(Partition, Bytes)| other == partition;
                for place in self.dirty.iter().filter(place).cloned().collect::<Vec<_>>() {
                    self.keep(&place);
                    self.dirty.remove(&place);
                }
                Completion::Done
            }
            StoreOp::DropSpent { partition, mark } => {
                let spent: Vec<(Bytes, Rank)> = self
                    .partition(*partition)
                    .filter(|(_, entry)| entry.is_spent(*mark))
                    .map(|(key, entry)| (key, entry.rank()))
                    .collect();
                for (key, _) in &spent {
                    let place = (*partition, key.clone());
                    self.data.remove(&place);
                    self.durable.remove(&place);
                    self.dirty.remove(&place);
                }
                Completion::Dropped(spent)
            }
            StoreOp::Meta { changes } => {
                for (name, value) in changes {
                    match value {
                        Some(value) => self.meta.insert(name.clone(), value.clone()),
                        None => self.meta.remove(name),
                    };
                }
                Completion::Done
            }
        }
    }

    fn change(&mut self, partition: Partition, key: &Bytes, change: &Change, durable: bool) -> Decision {
        let place = (partition, key.clone());
        let mut decision = change.decide(self.data.get(&place));
        if let (true, Change::Put(record)) = (self.last_wins, change) {
            let entry = Entry::plain(record.clone());
            decision.after = entry.rank();
            decision.outcome = weald_cluster_proto::Outcome::Applied;
            decision.write = Some(entry);
        }
        if let Some(entry) = decision.write.take() {
            self.data.insert(place.clone(), entry);
            self.dirty.insert(place.clone());
        }
        // A sync takes along what was written to the key before.
        if durable && self.dirty.remove(&place) {
            self.keep(&place);
        }
        decision
    }

    fn keep(&mut self, place: &(Partition, Bytes)) {
        let entry = self.data[place].clone();
        let proved = self.proved.entry(place.clone()).or_default();
        *proved = (*proved).max(entry.rank());
        self.durable.insert(place.clone(), entry);
    }

    /// The entries of a partition in order.
    pub fn partition(&self, partition: Partition) -> impl Iterator<Item = (Bytes, Entry)> + '_ {
        let from = (partition, Bytes::from([]));
        let range = self
            .data
            .range(from..)
            .take_while(move |((other, _), _)| *other == partition);
        range.map(|((_, key), entry)| (key.clone(), entry.clone()))
    }

    /// The power goes: each change that was not made durable is there or not. Says how many were lost.
    pub fn power_cut(&mut self, random: &mut Random) -> usize {
        let mut lost = 0;
        for place in std::mem::take(&mut self.dirty) {
            if random.chance(500) {
                self.keep(&place);
            } else {
                lost += 1;
            }
        }
        self.data = self.durable.clone();
        lost
    }
}

fn page(entries: impl Iterator<Item = (Bytes, Entry)>, limit: usize, bytes: usize) -> Completion {
    let mut page = Vec::new();
    let mut size = 0;
    for (key, entry) in entries {
        if page.len() >= limit || size >= bytes {
            return Completion::Scanned {
                entries: page,
                done: false,
            };
        }
        size += key.len() + entry.size();
        page.push((key, entry));
    }
    Completion::Scanned {
        entries: page,
        done: true,
    }
}
