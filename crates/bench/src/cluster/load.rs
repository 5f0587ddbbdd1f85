//! Tasks that write as fast as they are answered: each a thread of its own, with the next keys when the last ones are done.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use super::{Cluster, KEYS};
use crate::engine::{Error, Result};
use crate::workload::mix;

/// What a load came to.
pub(super) struct Load {
    pub(super) writes: u64,
    pub(super) wall: Duration,
    pub(super) cpu: Duration,
}

/// A task needs little.
const STACK_BYTES: usize = 256 << 10;

pub(super) fn run(cluster: &dyn Cluster, tasks: usize, depth: usize, time: Duration) -> Result<Load> {
    let (over, writes, failed) = (AtomicBool::new(false), AtomicU64::new(0), Mutex::new(None));
    let ready = Barrier::new(tasks + 1);
    std::thread::scope(|scope| -> Result<Load> {
        for task in 0..tasks {
            let (over, writes, failed, ready) = (&over, &writes, &failed, &ready);
            let work = move || {
                let done = work(cluster, task, depth, ready, over, writes);
                if let Err(error) = done {
                    over.store(true, Ordering::SeqCst);
                    failed.lock().expect("no panics").get_or_insert(error);
                }
            };
            std::thread::Builder::new()
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, work)?;
        }
        ready.wait();
        // The first moments connect, and don't count.
        std::thread::sleep(time / 8);
        let (began, cpu, before) = (Instant::now(), cluster.cpu()?, writes.load(Ordering::SeqCst));
        while began.elapsed() < time && !over.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let load = Load {
            writes: writes.load(Ordering::SeqCst) - before,
            wall: began.elapsed(),
            cpu: cluster.cpu()?.saturating_sub(cpu),
        };
        over.store(true, Ordering::SeqCst);
        Ok(load)
    })
    .and_then(|load| match failed.into_inner().expect("no panics") {
        Some(error) => Err(error),
        None => Ok(load),
    })
}

fn work(
    cluster: &dyn Cluster,
    task: usize,
    depth: usize,
    ready: &Barrier,
    over: &AtomicBool,
    writes: &AtomicU64,
) -> Result<()> {
    let client = cluster.client(task);
    ready.wait();
    let mut client = client?;
    let mut number = (task as u64) << 32;
    let mut keys = Vec::with_capacity(depth);
    while !over.load(Ordering::SeqCst) {
        keys.clear();
        keys.extend((0..depth as u64).map(|step| mix(number + step) % KEYS));
        number += depth as u64;
        client
            .write(&keys)
            .map_err(|error| Error::from(format!("task {task}: {error}")))?;
        writes.fetch_add(depth as u64, Ordering::Relaxed);
    }
    Ok(())
}
