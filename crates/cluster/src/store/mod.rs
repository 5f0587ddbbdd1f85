//! Carries out what the protocol asks of a storage.
//!
//! The first worker does what is quick, of all partitions: it takes all that waits and makes one update of the changes among it, as durable as the strictest
//! asks, so that they share a flush. What walks a partition goes to the others. Whatever follows something in its partition follows it to its worker, so that
//! the operations of a partition take effect and complete in their order ([`mod@execute`] does them). What the node knows about itself ([`meta`]) has a worker
//! of its own, and so have scans across partitions, which are ordered in nothing. [`place`] says where things lie.
//!
//! A storage that is in this process's memory and promises nothing beyond it is changed and read at once, by whoever runs the protocol: handing a job over costs ten times what it takes to do. What walks a partition
//! goes to the workers there too.
//!
//! The price: operations that walk a whole partition, to clear it or to drop what is spent, hold up what follows in that partition. They go a step at a time, so that others wait for no more than a step ([`worker`]), and drop keys one at a time.

mod execute;
mod meta;
mod place;
mod worker;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use weald_cluster_proto::{Completion, Meta, Partition, Space, StoreOp, Token};
use weald_storage::{Result, Storage};

use execute::{Batch, Disk};
pub(crate) use place::{ROOM, data_key, to_entry};

/// Operations that one update takes in at most.
const BATCH_MAX: usize = 1024;

type Job = (Token, StoreOp);
type Finished = (Token, Completion);
type Done = Arc<dyn Fn(Vec<Finished>) + Send + Sync>;

/// A storage with its workers.
pub(crate) struct Store {
    disk: Arc<Disk>,
    data: Vec<Sender<Vec<Job>>>,
    meta: Sender<Vec<Job>>,
    scans: Sender<Vec<Job>>,
    threads: Vec<JoinHandle<()>>,
    /// What is quick is done at once.
    at_once: bool,
    /// Jobs of partitions that workers have.
    handed_over: HashMap<Token, Partition>,
    /// Which worker they are with, and how many.
    with: HashMap<Partition, (usize, usize)>,
}

impl Store {
    /// Starts the workers, and says what the storage has about the node. Completions go to `done`, and from there back to [`completed`](Store::completed).
    pub(crate) fn open(
        storage: Arc<dyn Storage>,
        workers: usize,
        done: impl Fn(Vec<Finished>) + Send + Sync + 'static,
    ) -> Result<(Store, Meta)> {
        let meta = meta::load(&*storage)?;
        let limits = storage.limits();
        let disk = Arc::new(Disk::new(storage));
        let done: Done = Arc::new(done);
        let mut threads = Vec::new();
        let mut start = |work: fn(&Disk, &Receiver<Vec<Job>>, &Done)| {
            let (sender, jobs) = mpsc::channel();
            let (disk, done) = (disk.clone(), done.clone());
            threads.push(std::thread::spawn(move || work(&disk, &jobs, &done)));
            sender
        };
        let data = (0..workers.max(1)).map(|_| start(worker::work)).collect();
        let store = Store {
            meta: start(keep_names),
            scans: start(worker::work),
            data,
            disk,
            threads,
            at_once: !limits.durable && !limits.shared,
            handed_over: HashMap::new(),
            with: HashMap::new(),
        };
        Ok((store, meta))
    }

    /// Takes operations that were asked for together: hands them to their workers, or does them. Those that were done are returned.
    pub(crate) fn submit(&mut self, jobs: Vec<Job>) -> Vec<Finished> {
        let mut now = Vec::new();
        let mut data: Vec<Vec<Job>> = self.data.iter().map(|_| Vec::new()).collect();
        let (mut meta, mut scans) = (Vec::new(), Vec::new());
        for (token, op) in jobs {
            match op.space() {
                Some(Space::Data(partition)) => match self.worker_for(token, partition, &op) {
                    Some(worker) => data[worker].push((token, op)),
                    None => now.push((token, op)),
                },
                Some(Space::Meta) => meta.push((token, op)),
                None => scans.push((token, op)),
            }
        }
        // First, as what a worker gets may have to follow it.
        let done = carry_out(&self.disk, &now);
        let workers = self.data.iter().chain([&self.meta, &self.scans]);
        for (worker, jobs) in workers.zip(data.into_iter().chain([meta, scans])) {
            if !jobs.is_empty() {
                worker
                    .send(jobs)
                    .expect("workers run as long as the store is open");
            }
        }
        done
    }

    /// The worker that an operation goes to: the one that has what it must follow, if there is such. None if it is to be done at once.
    fn worker_for(&mut self, token: Token, partition: Partition, op: &StoreOp) -> Option<usize> {
        let quick = worker::is_quick(op);
        let free = !self.with.contains_key(&partition);
        if free && quick && self.at_once {
            return None;
        }
        let others = self.data.len() - 1;
        let first = if quick || others == 0 {
            0
        } else {
            1 + usize::from(partition.0) % others
        };
        let (worker, count) = self.with.entry(partition).or_insert((first, 0));
        *count += 1;
        self.handed_over.insert(token, partition);
        Some(*worker)
    }

    /// A completion that a worker sent has been taken in.
    pub(crate) fn completed(&mut self, token: Token) {
        let Some(partition) = self.handed_over.remove(&token) else {
            return;
        };
        if let Entry::Occupied(mut with) = self.with.entry(partition) {
            with.get_mut().1 -= 1;
            if with.get().1 == 0 {
                with.remove();
            }
        }
    }

    /// Operations that failed.
    pub(crate) fn failures(&self) -> u64 {
        self.disk.failures.load(Ordering::Relaxed)
    }

    /// Finishes what was handed over, and closes the storage.
    pub(crate) fn close(self) -> Result<()> {
        drop((self.data, self.meta, self.scans));
        for thread in self.threads {
            thread.join().expect("workers don't panic");
        }
        self.disk.storage.close()
    }
}

/// The worker for what the node knows about itself.
fn keep_names(disk: &Disk, jobs: &Receiver<Vec<Job>>, done: &Done) {
    while let Ok(mut batch) = jobs.recv() {
        while batch.len() < BATCH_MAX
            && let Ok(more) = jobs.try_recv()
        {
            batch.extend(more);
        }
        done(carry_out(disk, &batch));
    }
}

/// Carries out operations so that those of one space keep their order.
fn carry_out(disk: &Disk, jobs: &[Job]) -> Vec<Finished> {
    let mut done = Vec::with_capacity(jobs.len());
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
                    change(disk, &mut changes, &mut done);
                }
                done.push((*token, disk.execute(other)));
            }
        }
    }
    change(disk, &mut changes, &mut done);
    change_names(disk, &names, &mut done);
    let failed = done
        .iter()
        .filter(|(_, completion)| matches!(completion, Completion::Failed));
    disk.failures.fetch_add(failed.count() as u64, Ordering::Relaxed);
    done
}

fn change(disk: &Disk, changes: &mut Vec<(Token, Batch<'_>)>, done: &mut Vec<Finished>) {
    let mut run: Vec<(Token, Batch<'_>)> = Vec::new();
    for (token, batch) in changes.drain(..) {
        if disk.takes(&batch) {
            run.push((token, batch));
        } else {
            // In its turn: what came before completes before it.
            change_all(disk, &mut run, done);
            done.push((token, Completion::Failed));
        }
    }
    change_all(disk, &mut run, done);
}

fn change_all(disk: &Disk, run: &mut Vec<(Token, Batch<'_>)>, done: &mut Vec<Finished>) {
    if run.is_empty() {
        return;
    }
    let (tokens, batches): (Vec<Token>, Vec<Batch<'_>>) = run.drain(..).unzip();
    done.extend(tokens.into_iter().zip(disk.change(&batches)));
}

fn change_names(disk: &Disk, jobs: &[&Job], done: &mut Vec<Finished>) {
    let mut changes = Vec::new();
    for (_, op) in jobs {
        if let StoreOp::Meta { changes: wanted } = op {
            changes.extend_from_slice(wanted);
        }
    }
    let result = match changes.is_empty() {
        true => Ok(()),
        false => meta::apply(&*disk.storage, &changes),
    };
    if let Err(error) = &result {
        log::error!("the node's own state could not be stored: {error}");
    }
    for (token, _) in jobs {
        let completion = if result.is_ok() {
            Completion::Done
        } else {
            Completion::Failed
        };
        done.push((*token, completion));
    }
}

#[cfg(test)]
mod tests;
