//! Commits: large ones, single ones, and from many threads.

use std::thread;

use super::{Bench, read_verified};
use crate::engine::{Engine, Result};
use crate::measure::Clock;
use crate::workload::{self, VALUE_BYTES};

/// Puts of a commit in the row that has many.
pub(super) const BATCH: u64 = 1000;
const THREADS: u64 = 8;

pub(super) fn durable<E: Engine>(bench: &Bench<'_>) -> Result<()> {
    let keys = bench.keys();
    let db: E = bench.open(true)?;
    let clock = Clock::start();
    let batches = repeat_often(&clock, bench.limit() * 5, keys / BATCH, |i| {
        put_all(&db, i * BATCH..(i + 1) * BATCH, 0)
    })?;
    let loaded = batches * BATCH;
    bench.rate("commit-1000", loaded, clock.lap());

    let clock = Clock::start();
    let commits = repeat_often(&clock, bench.limit(), keys, |i| put_all(&db, keys + i..keys + i + 1, 0))?;
    bench.rate("commit-1", commits, clock.lap());

    let clock = Clock::start();
    let counts = in_threads(bench, &db, &clock)?;
    bench.rate("commit-threads", counts.iter().sum(), clock.lap());

    let reader = db.reader()?;
    for n in (0..loaded).step_by(97).chain(keys..keys + commits) {
        read_verified(&reader, n)?;
    }
    for (t, count) in counts.iter().enumerate() {
        for i in 0..*count {
            read_verified(&reader, thread_key(keys, t as u64, i))?;
        }
    }
    drop(reader);
    db.close()
}

pub(super) fn unsynced<E: Engine>(bench: &Bench<'_>) -> Result<()> {
    let keys = bench.keys();
    let db: E = bench.open_loaded(false)?;
    let clock = Clock::start();
    let commits = super::repeat(&clock, bench.limit(), keys, |i| {
        put_all(&db, keys + i..keys + i + 1, 0)
    })?;
    bench.rate("unsynced", commits, clock.lap());
    let reader = db.reader()?;
    for n in keys..keys + commits {
        read_verified(&reader, n)?;
    }
    drop(reader);
    db.close()
}

/// One commit that puts a version of all `keys`.
pub(super) fn put_all<E: Engine>(db: &E, keys: impl Iterator<Item = u64>, version: u32) -> Result<()> {
    db.write(|tx| {
        let mut value = [0; VALUE_BYTES];
        for n in keys {
            workload::fill(n, version, &mut value);
            tx.put(&workload::key(n), &value)?;
        }
        Ok(())
    })
}

fn thread_key(keys: u64, t: u64, i: u64) -> u64 {
    keys * (t + 2) + i
}

/// How many keys each thread put.
fn in_threads<E: Engine>(bench: &Bench<'_>, db: &E, clock: &Clock) -> Result<Vec<u64>> {
    let keys = bench.keys();
    thread::scope(|scope| {
        let work = |t: u64| {
            repeat_often(clock, bench.limit(), keys, |i| {
                let n = thread_key(keys, t, i);
                put_all(db, n..n + 1, 0)
            })
        };
        let threads: Vec<_> = (0..THREADS).map(|t| scope.spawn(move || work(t))).collect();
        let counts = threads.into_iter().map(|thread| thread.join().expect("no panic in a thread"));
        counts.collect()
    })
}

/// Like [`super::repeat`] for work that takes so long that the time is looked at after each.
pub(super) fn repeat_often(
    clock: &Clock,
    limit: std::time::Duration,
    max: u64,
    mut each: impl FnMut(u64) -> Result<()>,
) -> Result<u64> {
    let mut done = 0;
    while done < max && clock.elapsed() < limit {
        each(done)?;
        done += 1;
    }
    Ok(done)
}
