//! How figures change with the size of the database and with the number of threads.

use std::thread;
use std::time::{Duration, Instant};

use super::commits::{put_all, repeat_often};
use super::{Bench, read_verified};
use crate::engine::{Engine, Result};
use crate::measure::{self, Clock, Lap};
use crate::workload::Rng;

const THREADS: [u64; 3] = [1, 2, 4];
/// Puts of a commit whose time is taken.
const BATCH: u64 = 100;
/// Reads in a snapshot.
const READS: u64 = 100;
/// The share of the limit that one row with threads takes: there are nine of them.
const SHARE: u32 = 2;

/// What a thread does again and again.
#[derive(Clone, Copy)]
enum Work {
    Reads,
    Commits,
    /// Nine reads for each commit of one put.
    Mixed,
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Work::Reads => "reads",
            Work::Commits => "commits",
            Work::Mixed => "mixed",
        }
    }
}

pub(super) fn steps<E: Engine>(bench: &Bench<'_>) -> Result<()> {
    let db: E = bench.open_loaded(false)?;
    for work in [Work::Reads, Work::Commits, Work::Mixed] {
        for threads in THREADS {
            let (ops, lap) = in_threads(bench, &db, work, threads)?;
            bench.rate(&format!("growth-{}-{threads}", work.name()), ops, lap);
        }
    }
    latencies(bench, &db)?;
    bench.value("growth-memory", measure::private_bytes()? as f64 / 1e6, None);
    db.close()
}

fn in_threads<E: Engine>(bench: &Bench<'_>, db: &E, work: Work, threads: u64) -> Result<(u64, Lap)> {
    let (keys, limit) = (bench.keys(), bench.limit() / SHARE);
    let clock = Clock::start();
    let counts = thread::scope(|scope| {
        let one = |t: u64| {
            let mut rng = Rng::new(100 + t);
            repeat_often(&clock, limit, u64::MAX, |i| match work {
                Work::Reads => read_some(db, &mut rng, keys, READS),
                Work::Commits => put_all(db, std::iter::once(rng.below(keys)), i as u32),
                Work::Mixed => {
                    read_some(db, &mut rng, keys, 9)?;
                    put_all(db, std::iter::once(rng.below(keys)), i as u32)
                }
            })
        };
        let running: Vec<_> = (0..threads).map(|t| scope.spawn(move || one(t))).collect();
        let counts = running
            .into_iter()
            .map(|thread| thread.join().expect("no panic in a thread"));
        counts.collect::<Result<Vec<u64>>>()
    })?;
    let each = match work {
        Work::Reads => READS,
        Work::Commits => 1,
        Work::Mixed => 10,
    };
    Ok((counts.iter().sum::<u64>() * each, clock.lap()))
}

fn read_some<E: Engine>(db: &E, rng: &mut Rng, keys: u64, reads: u64) -> Result<()> {
    let reader = db.reader()?;
    (0..reads).try_for_each(|_| read_verified(&reader, rng.below(keys)).map(drop))
}

/// How long commits take while what they leave behind is tidied up: checkpoints, compactions.
fn latencies<E: Engine>(bench: &Bench<'_>, db: &E) -> Result<()> {
    let keys = bench.keys();
    let mut rng = Rng::new(7);
    let mut times: Vec<Duration> = Vec::new();
    let clock = Clock::start();
    repeat_often(&clock, bench.limit() * 2, u64::MAX, |i| {
        let began = Instant::now();
        put_all(db, (0..BATCH).map(|_| rng.below(keys)), i as u32)?;
        times.push(began.elapsed());
        Ok(())
    })?;
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    for (row, share) in [
        ("growth-latency-50", 0.5),
        ("growth-latency-99", 0.99),
        ("growth-latency-max", 1.0),
    ] {
        bench.value(row, at(share).as_secs_f64() * 1e3, None);
    }
    Ok(())
}
