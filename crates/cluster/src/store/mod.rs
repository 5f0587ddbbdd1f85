//! Carries out what the protocol asks of a storage.
//!
//! Each partition has one worker, so that its operations take effect and complete in their order ([`mod@execute`] does them). A worker takes all that waits and
//! makes one update of the changes among it, as durable as the strictest asks: they share a flush. What the node knows about itself ([`meta`]) has a worker
//! of its own, and so have scans across partitions, which are ordered in nothing. [`place`] says where things lie.
//!
//! The price: operations that walk a whole partition, to clear it or to drop what is spent, hold up the other partitions of that worker, and drop keys
//! one at a time.

mod execute;
mod meta;
mod place;

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use weald_cluster_proto::{Completion, Meta, Partition, Space, StoreOp, Token};
use weald_storage::{Result, Storage};

use execute::{Batch, Disk};
pub(crate) use place::{ROOM, data_key, to_entry};

/// Operations that one update takes in at most.
const BATCH_MAX: usize = 1024;

type Job = (Token, StoreOp);
type Done = Arc<dyn Fn(Token, Completion) + Send + Sync>;

/// A storage with its workers.
pub(crate) struct Store {
    storage: Arc<dyn Storage>,
    data: Vec<Sender<Job>>,
    meta: Sender<Job>,
    scans: Sender<Job>,
    threads: Vec<JoinHandle<()>>,
}

impl Store {
    /// Starts the workers, and says what the storage has about the node. Completions go to `done`.
    pub(crate) fn open(
        storage: Arc<dyn Storage>,
        workers: usize,
        done: impl Fn(Token, Completion) + Send + Sync + 'static,
    ) -> Result<(Store, Meta)> {
        let meta = meta::load(&*storage)?;
        let disk = Arc::new(Disk::new(storage.clone()));
        let done: Done = Arc::new(done);
        let mut threads = Vec::new();
        let mut start = || {
            let (sender, jobs) = mpsc::channel();
            let (disk, done) = (disk.clone(), done.clone());
            threads.push(std::thread::spawn(move || work(&disk, &jobs, &done)));
            sender
        };
        let data = (0..workers.max(1)).map(|_| start()).collect();
        let store = Store {
            meta: start(),
            scans: start(),
            data,
            storage,
            threads,
        };
        Ok((store, meta))
    }

    /// Hands an operation to its worker.
    pub(crate) fn submit(&self, token: Token, op: StoreOp) {
        let worker = match op.space() {
            Some(Space::Data(partition)) => &self.data[usize::from(partition.0) % self.data.len()],
            Some(Space::Meta) => &self.meta,
            None => &self.scans,
        };
        worker
            .send((token, op))
            .expect("workers run as long as the store is open");
    }

    /// Finishes what was handed over, and closes the storage.
    pub(crate) fn close(self) -> Result<()> {
        drop((self.data, self.meta, self.scans));
        for thread in self.threads {
            thread.join().expect("workers don't panic");
        }
        self.storage.close()
    }
}

fn work(disk: &Disk, jobs: &Receiver<Job>, done: &Done) {
    while let Ok(first) = jobs.recv() {
        let mut batch = vec![first];
        batch.extend(jobs.try_iter().take(BATCH_MAX - 1));
        carry_out(disk, &batch, done);
    }
}

/// Carries out operations so that those of one space keep their order.
fn carry_out(disk: &Disk, jobs: &[Job], done: &Done) {
    let mut changes: Vec<(Token, Batch<'_>)> = Vec::new();
    let mut names: Vec<&Job> = Vec::new();
    for job in jobs {
        let (token, op) = job;
        match op {
            StoreOp::Change {
                partition,
                changes: wanted,
                durable,
            } => {
                let batch = Batch {
                    partition: *partition,
                    changes: wanted,
                    durable: *durable,
                };
                changes.push((*token, batch));
            }
            StoreOp::Meta { .. } => names.push(job),
            other => {
                let waits =
                    |partition: Partition| changes.iter().any(|(_, batch)| batch.partition == partition);
                if matches!(other.space(), Some(Space::Data(partition)) if waits(partition)) {
                    change(disk, &mut changes, done);
                }
                done(*token, disk.execute(other));
            }
        }
    }
    change(disk, &mut changes, done);
    change_names(disk, &names, done);
}

fn change(disk: &Disk, changes: &mut Vec<(Token, Batch<'_>)>, done: &Done) {
    let mut run: Vec<(Token, Batch<'_>)> = Vec::new();
    for (token, batch) in changes.drain(..) {
        if disk.takes(&batch) {
            run.push((token, batch));
        } else {
            // In its turn: what came before completes before it.
            change_all(disk, &mut run, done);
            done(token, Completion::Failed);
        }
    }
    change_all(disk, &mut run, done);
}

fn change_all(disk: &Disk, run: &mut Vec<(Token, Batch<'_>)>, done: &Done) {
    if run.is_empty() {
        return;
    }
    let (tokens, batches): (Vec<Token>, Vec<Batch<'_>>) = run.drain(..).unzip();
    for (token, completion) in tokens.into_iter().zip(disk.change(&batches)) {
        done(token, completion);
    }
}

fn change_names(disk: &Disk, jobs: &[&Job], done: &Done) {
    let mut changes = Vec::new();
    for (_, op) in jobs {
        if let StoreOp::Meta { changes: wanted } = op {
            changes.extend_from_slice(wanted);
        }
    }
    if changes.is_empty() {
        jobs.iter().for_each(|(token, _)| done(*token, Completion::Done));
        return;
    }
    let result = meta::apply(&*disk.storage, &changes);
    if let Err(error) = &result {
        log::error!("the node's own state could not be stored: {error}");
    }
    for (token, _) in jobs {
        let completion = if result.is_ok() {
            Completion::Done
        } else {
            Completion::Failed
        };
        done(*token, completion);
    }
}

#[cfg(test)]
mod tests;
