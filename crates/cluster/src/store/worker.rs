//! A worker, and whose turn it is: what is quick first, all at once, and then one step of a walk.
//!
//! Jobs of a partition keep their order, so that what is quick may have to wait for walks that were asked for before. They wait for those of its own partition, and for one step of another's.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use weald_cluster_proto::{Completion, Partition, Space, StoreOp};

use super::execute::{Disk, Walk};
use super::{BATCH_MAX, Done, Finished, Job, carry_out};

/// Whether it touches a few keys only.
pub(super) fn is_quick(op: &StoreOp) -> bool {
    matches!(op, StoreOp::Change { .. } | StoreOp::Read { .. })
}

/// Works until nobody can ask for more, and all is done.
pub(super) fn work(disk: &Disk, jobs: &Receiver<Vec<Job>>, done: &Done) {
    let mut turns = Turns::default();
    loop {
        let mut batch = Vec::new();
        if turns.queues.is_empty() {
            let Ok(first) = jobs.recv() else { return };
            batch = first;
        }
        while batch.len() < BATCH_MAX
            && let Ok(more) = jobs.try_recv()
        {
            batch.extend(more);
        }
        if turns.queues.is_empty() && batch.iter().all(|(_, op)| is_quick(op)) {
            done(carry_out(disk, &batch));
            continue;
        }
        turns.take_in(batch);
        let quick = turns.quick();
        if !quick.is_empty() {
            done(carry_out(disk, &quick));
        }
        if let Some(finished) = turns.step(disk) {
            done(vec![finished]);
        }
    }
}

/// Jobs of one partition.
#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// How far the first of them has come.
    walk: Walk,
}

impl Queue {
    fn is_awaited(&self) -> bool {
        self.jobs.iter().any(|(_, op)| is_quick(op))
    }
}

#[derive(Default)]
struct Turns {
    /// None of them is empty, and each begins with a walk once what is quick was taken out.
    queues: BTreeMap<Option<Partition>, Queue>,
    /// Whose walk took the last step.
    last: Option<Partition>,
}

impl Turns {
    fn take_in(&mut self, batch: Vec<Job>) {
        for (token, op) in batch {
            let partition = match op.space() {
                Some(Space::Data(partition)) => Some(partition),
                _ => None,
            };
            let queue = self.queues.entry(partition).or_default();
            queue.jobs.push_back((token, op));
        }
    }

    /// Takes out what is quick and has nothing to wait for.
    fn quick(&mut self) -> Vec<Job> {
        let mut quick = Vec::new();
        self.queues.retain(|_, queue| {
            let before = queue
                .jobs
                .iter()
                .position(|(_, op)| !is_quick(op))
                .unwrap_or(queue.jobs.len());
            quick.extend(queue.jobs.drain(..before));
            !queue.jobs.is_empty()
        });
        quick
    }

    /// The next partition in turn, of those that something quick waits for if there are such.
    fn next(&self) -> Option<Option<Partition>> {
        let of = |awaited: bool| {
            let wanted = move |(partition, queue): (&Option<Partition>, &Queue)| {
                (!awaited || queue.is_awaited()).then_some(*partition)
            };
            let mut ahead = self.queues.range(self.last..).filter_map(wanted);
            let next = ahead.find(|partition| *partition > self.last);
            next.or_else(|| self.queues.iter().find_map(wanted))
        };
        of(true).or_else(|| of(false))
    }

    /// Does one step of a walk; what it came to if that was the last one.
    fn step(&mut self, disk: &Disk) -> Option<Finished> {
        let partition = self.next()?;
        self.last = partition;
        let queue = self.queues.get_mut(&partition)?;
        let (token, op) = queue.jobs.front()?;
        let completion = disk.step(op, &mut queue.walk)?;
        if completion == Completion::Failed {
            disk.failures.fetch_add(1, Ordering::Relaxed);
        }
        let finished = (*token, completion);
        queue.walk = Walk::default();
        queue.jobs.pop_front();
        if queue.jobs.is_empty() {
            self.queues.remove(&partition);
        }
        Some(finished)
    }
}
