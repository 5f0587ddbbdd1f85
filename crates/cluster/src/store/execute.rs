//! One operation at a time on a storage, and many changes as one update.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use weald_cluster_proto::{
    Bytes, Change, Completion, Decision, Entry, Partition, Rank, Record, StoreOp, Version,
};
use weald_storage::{Durability, Error, Held, Put, Range, Result, Storage};

use super::place::{self, ROOM};

/// Keys that are looked at, and forgotten, in one step.
const PURGE_PAGE: usize = 256;
/// Bytes that a scan across partitions holds of each.
const CURSOR_BYTES: usize = 64 << 10;

/// Changes of one operation.
pub(super) struct Batch<'o> {
    pub(super) partition: Partition,
    pub(super) changes: &'o [(Bytes, Change)],
    pub(super) durable: bool,
}

/// A storage, and what is known about how durable its contents are.
pub(super) struct Disk {
    pub(super) storage: Arc<dyn Storage>,
    /// Changes that were made without a flush, or whose flush failed. What an earlier run left counts as one.
    loose: AtomicU64,
    /// Up to which of them a flush reached.
    flushed: AtomicU64,
    /// Operations that failed.
    pub(super) failures: AtomicU64,
}

impl Disk {
    pub(super) fn new(storage: Arc<dyn Storage>) -> Disk {
        Disk {
            storage,
            loose: AtomicU64::new(1),
            flushed: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// Whether the storage takes all of an operation's keys and values.
    pub(super) fn takes(&self, batch: &Batch<'_>) -> bool {
        let limits = self.storage.limits();
        place::is_partition(batch.partition)
            && batch.changes.iter().all(|(key, change)| {
                key.len() + 2 <= limits.key_len_max
                    && place::value_len(change).saturating_add(ROOM) <= limits.value_len_max
            })
    }

    /// All changes as one update, as durable as the strictest of them asks. One answer for each batch.
    pub(super) fn change(&self, batches: &[Batch<'_>]) -> Vec<Completion> {
        match self.update(batches) {
            Ok(completions) => completions,
            // Nothing was done, because of one of them.
            Err(error)
                if !matches!(error, Error::Backend { .. })
                    && batches.len() > 1
                    && self.storage.limits().atomic =>
            {
                batches
                    .iter()
                    .flat_map(|batch| self.change(std::slice::from_ref(batch)))
                    .collect()
            }
            // Something may have been done: nobody is told that it was.
            Err(error) => {
                log::error!("changes could not be stored: {error}");
                batches.iter().map(|_| Completion::Failed).collect()
            }
        }
    }

    fn update(&self, batches: &[Batch<'_>]) -> Result<Vec<Completion>> {
        let flat = || {
            batches
                .iter()
                .flat_map(|batch| batch.changes.iter().map(move |change| (batch, change)))
        };
        // One after the other in one buffer.
        let mut keys = Vec::with_capacity(flat().map(|(_, (key, _))| key.len() + 2).sum());
        for (batch, (key, _)) in flat() {
            place::put_data_key(batch.partition, key, &mut keys);
        }
        let mut rest = &keys[..];
        let names: Vec<&[u8]> = flat()
            .map(|(_, (key, _))| {
                let (name, after) = rest.split_at(key.len() + 2);
                rest = after;
                name
            })
            .collect();
        let changes: Vec<(&Change, bool)> = flat()
            .map(|(batch, (_, change))| (change, batch.durable))
            .collect();
        let durable = batches.iter().any(|batch| batch.durable);
        let (durability, loose) = match durable {
            true => (Durability::Immediate, 0),
            false => (Durability::Batched, 1),
        };
        self.loose.fetch_add(loose, Ordering::SeqCst);
        let plain: Option<Vec<&Record>> = changes.iter().map(|(change, _)| as_put(change)).collect();
        let decided = match plain {
            Some(records) => self.put(&names, &records, durability),
            None => self.decide(&names, &changes, durability),
        };
        let decisions = match decided {
            Ok(decisions) => decisions,
            Err(error) => {
                self.loose.fetch_add(1, Ordering::SeqCst);
                return Err(error);
            }
        };
        let kept = |(decision, change): (&Decision, &(&Change, bool))| change.1 && decision.write.is_none();
        if decisions.iter().zip(&changes).any(kept) {
            self.flush_loose()?;
        }
        let mut decisions = decisions.into_iter().map(|mut decision| {
            decision.write = None;
            decision
        });
        let take =
            |batch: &Batch<'_>| Completion::Changed(decisions.by_ref().take(batch.changes.len()).collect());
        Ok(batches.iter().map(take).collect())
    }

    /// Plain writes, for which the storage need not read what is there. Of those that were written, `write` is something.
    fn put(&self, names: &[&[u8]], records: &[&Record], durability: Durability) -> Result<Vec<Decision>> {
        let puts: Vec<Put<'_>> = names
            .iter()
            .zip(records)
            .map(|(name, record)| place::to_put(name, record))
            .collect();
        let before = self.storage.put(&puts, durability)?;
        let decide = |(put, (record, held)): (&Put<'_>, (&&Record, Option<Held>))| {
            let written = put.replaces(held.as_ref());
            let held = held.map(|held| place::to_rank(put.key, &held)).transpose()?;
            let (before, is_register) = held.unwrap_or((Rank::ABSENT, false));
            let mut decision = Decision::of_put(record.version, before, is_register);
            decision.write = written.then(Entry::default);
            Ok(decision)
        };
        puts.iter().zip(records.iter().zip(before)).map(decide).collect()
    }

    /// Changes of any kind. Of those that were written, `write` is something.
    fn decide(
        &self,
        names: &[&[u8]],
        changes: &[(&Change, bool)],
        durability: Durability,
    ) -> Result<Vec<Decision>> {
        let mut decisions: Vec<Option<Decision>> = vec![None; changes.len()];
        self.storage.update(names, durability, &mut |at, old| {
            let current = old.map(|item| place::to_entry(names[at], item)).transpose()?;
            let mut decision = changes[at].0.decide(current.as_ref());
            let write = decision.write.as_ref().map(place::to_item);
            // What is kept must be as durable as what is written.
            if write.is_some() {
                decision.write = Some(Entry::default());
            }
            decisions[at] = Some(decision);
            Ok(write)
        })?;
        let decisions = decisions.into_iter();
        Ok(decisions
            .map(|decision| decision.expect("the storage asks about every key"))
            .collect())
    }

    /// Makes durable what isn't yet, if there is any.
    fn flush_loose(&self) -> Result<()> {
        let loose = self.loose.load(Ordering::SeqCst);
        if self.flushed.load(Ordering::SeqCst) < loose {
            self.storage.flush()?;
            self.flushed.fetch_max(loose, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Everything but changes, what the node knows about itself, and what takes several [steps](Disk::step).
    pub(super) fn execute(&self, op: &StoreOp) -> Completion {
        self.try_execute(op).unwrap_or_else(|error| failed(&error))
    }

    fn try_execute(&self, op: &StoreOp) -> Result<Completion> {
        match op {
            StoreOp::Read { partition, keys } => self.read(*partition, keys),
            StoreOp::ScanPartition {
                partition,
                after,
                upto,
                limit,
                bytes,
            } => {
                let mut range = place::all_of(*partition);
                if let Some(after) = after {
                    range.from = Bound::Excluded(place::data_key(*partition, after));
                }
                if let Some(upto) = upto {
                    range.to = Bound::Included(place::data_key(*partition, upto));
                }
                let (entries, done) = self.page(&range, *limit, *bytes)?;
                Ok(Completion::Scanned { entries, done })
            }
            StoreOp::ScanKeys {
                partitions,
                start,
                end,
                limit,
                bytes,
            } => self.scan_keys(partitions, start, end.as_ref(), *limit, *bytes),
            StoreOp::Sync { .. } => self.flush_loose().map(|()| Completion::Done),
            // Those are done otherwise.
            StoreOp::Change { .. }
            | StoreOp::Meta { .. }
            | StoreOp::Clear { .. }
            | StoreOp::DropSpent { .. } => Ok(Completion::Failed),
        }
    }

    fn read(&self, partition: Partition, keys: &[Bytes]) -> Result<Completion> {
        let places: Vec<Vec<u8>> = keys.iter().map(|key| place::data_key(partition, key)).collect();
        let names: Vec<&[u8]> = places.iter().map(Vec::as_slice).collect();
        let items = self.storage.get_many(&names)?;
        let entry =
            |(place, item): (&Vec<u8>, Option<_>)| item.map(|item| place::to_entry(place, item)).transpose();
        let entries: Result<Vec<Option<Entry>>> = places.iter().zip(items).map(entry).collect();
        entries.map(Completion::Read)
    }

    /// Entries in order until there are enough; and whether that was all.
    fn page(&self, range: &Range, limit: usize, bytes: usize) -> Result<(Vec<(Bytes, Entry)>, bool)> {
        let mut entries = Vec::new();
        let mut size = 0;
        let mut done = true;
        self.storage.scan(range, &mut |stored, item| {
            if entries.len() >= limit || size >= bytes {
                done = false;
                return Ok(false);
            }
            let entry = place::to_entry(stored, item)?;
            let key = place::client_key(stored);
            size += key.len() + entry.size();
            entries.push((key, entry));
            Ok(true)
        })?;
        Ok((entries, done))
    }

    fn scan_keys(
        &self,
        partitions: &[Partition],
        start: &Bytes,
        end: Option<&Bytes>,
        limit: usize,
        bytes: usize,
    ) -> Result<Completion> {
        let share = (2 * limit / partitions.len().max(1)).clamp(8, limit.max(8));
        let mut cursors: Vec<Cursor> = partitions
            .iter()
            .map(|&partition| Cursor::new(partition, start, end))
            .collect();
        let mut heads = BinaryHeap::new();
        for (at, cursor) in cursors.iter_mut().enumerate() {
            heads.extend(cursor.head(self, share)?.map(|key| Reverse((key, at))));
        }
        let mut entries = Vec::new();
        let mut size = 0;
        while let Some(Reverse((_, at))) = heads.pop() {
            if entries.len() >= limit || size >= bytes {
                return Ok(Completion::Scanned { entries, done: false });
            }
            let (key, entry) = cursors[at].entries.pop_front().expect("it has a head");
            size += key.len() + entry.size();
            entries.push((key, entry));
            heads.extend(cursors[at].head(self, share)?.map(|key| Reverse((key, at))));
        }
        Ok(Completion::Scanned { entries, done: true })
    }

    /// One page of what walks a partition; what it came to, when that was the last one.
    pub(super) fn step(&self, op: &StoreOp, walk: &mut Walk) -> Option<Completion> {
        let done = match op {
            StoreOp::Clear { partition } => self.clear_some(*partition),
            StoreOp::DropSpent { partition, mark } => self.drop_some_spent(*partition, *mark, walk),
            other => return Some(self.execute(other)),
        };
        done.unwrap_or_else(|error| Some(failed(&error)))
    }

    fn clear_some(&self, partition: Partition) -> Result<Option<Completion>> {
        let (entries, done) = self.page(&place::all_of(partition), PURGE_PAGE, usize::MAX)?;
        for (key, entry) in &entries {
            self.purge(partition, key, entry)?;
        }
        if !done {
            return Ok(None);
        }
        self.flush_loose()?;
        Ok(Some(Completion::Done))
    }

    fn drop_some_spent(
        &self,
        partition: Partition,
        mark: Version,
        walk: &mut Walk,
    ) -> Result<Option<Completion>> {
        let mut range = place::all_of(partition);
        if let Some(after) = &walk.after {
            range.from = Bound::Excluded(place::data_key(partition, after));
        }
        let (entries, done) = self.page(&range, PURGE_PAGE, 1 << 20)?;
        for (key, entry) in entries.iter().filter(|(_, entry)| entry.is_spent(mark)) {
            if self.purge(partition, key, entry)? {
                walk.spent.push((key.clone(), entry.rank()));
            }
        }
        if let Some((last, _)) = entries.last().filter(|_| !done) {
            walk.after = Some(last.clone());
            return Ok(None);
        }
        self.flush_loose()?;
        Ok(Some(Completion::Dropped(std::mem::take(&mut walk.spent))))
    }

    /// The key's worker is the only one that changes it, so that it still holds what was just read.
    fn purge(&self, partition: Partition, key: &[u8], entry: &Entry) -> Result<bool> {
        self.loose.fetch_add(1, Ordering::SeqCst);
        let version = place::item_version(entry.record.version);
        self.storage.purge(&place::data_key(partition, key), version)
    }
}

fn as_put(change: &Change) -> Option<&Record> {
    match change {
        Change::Put(record) => Some(record),
        _ => None,
    }
}

fn failed(error: &Error) -> Completion {
    log::error!("a storage operation failed: {error}");
    Completion::Failed
}

/// How far an operation has come that walks a partition.
#[derive(Default)]
pub(super) struct Walk {
    after: Option<Bytes>,
    spent: Vec<(Bytes, Rank)>,
}

/// Where a scan across partitions is in one of them.
struct Cursor {
    rest: Option<Range>,
    partition: Partition,
    entries: VecDeque<(Bytes, Entry)>,
}

impl Cursor {
    fn new(partition: Partition, start: &[u8], end: Option<&Bytes>) -> Cursor {
        let mut range = place::all_of(partition);
        range.from = Bound::Included(place::data_key(partition, start));
        if let Some(end) = end {
            range.to = Bound::Excluded(place::data_key(partition, end));
        }
        Cursor {
            rest: Some(range),
            partition,
            entries: VecDeque::new(),
        }
    }

    /// The next key, read from the storage if need be.
    fn head(&mut self, disk: &Disk, share: usize) -> Result<Option<Bytes>> {
        if self.entries.is_empty()
            && let Some(mut range) = self.rest.take()
        {
            let (entries, done) = disk.page(&range, share, CURSOR_BYTES)?;
            if let Some((last, _)) = entries.last().filter(|_| !done) {
                range.from = Bound::Excluded(place::data_key(self.partition, last));
                self.rest = Some(range);
            }
            self.entries = entries.into();
        }
        Ok(self.entries.front().map(|(key, _)| key.clone()))
    }
}
