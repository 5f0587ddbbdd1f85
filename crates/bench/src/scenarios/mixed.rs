//! One reader beside one writer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::commits::{put_all, repeat_often};
use super::{Bench, read_verified};
use crate::engine::{Engine, Result};
use crate::measure::Clock;
use crate::workload::Rng;

/// Puts of a commit.
const BATCH: u64 = 100;
/// Reads in a snapshot.
const READS: u64 = 1000;

pub(super) fn beside<E: Engine>(bench: &Bench<'_>) -> Result<()> {
    let keys = bench.keys();
    let db: E = bench.open_loaded(false)?;
    let over = AtomicBool::new(false);
    let clock = Clock::start();
    let (reads, writes) = thread::scope(|scope| -> Result<(u64, u64)> {
        let reading = scope.spawn(|| -> Result<u64> {
            let mut rng = Rng::new(4);
            let mut reads = 0;
            while !over.load(Ordering::Relaxed) {
                let reader = db.reader()?;
                for _ in 0..READS {
                    read_verified(&reader, rng.below(keys))?;
                }
                reads += READS;
            }
            Ok(reads)
        });
        let mut rng = Rng::new(5);
        let commits = repeat_often(&clock, bench.limit(), u64::MAX, |i| {
            put_all(&db, (0..BATCH).map(|_| rng.below(keys)), i as u32 + 1)
        });
        over.store(true, Ordering::Relaxed);
        let reads = reading.join().expect("no panic in the reader")?;
        Ok((reads, commits? * BATCH))
    })?;
    let lap = clock.lap();
    let seconds = lap.wall.as_secs_f64();
    // Both sides share the CPU time, so it is told once, for a read and a put together.
    let cpu_us = lap.cpu.as_secs_f64() * 1e6 / (reads + writes).max(1) as f64;
    bench.value("beside-reads", reads as f64 / seconds, Some(cpu_us));
    bench.value("beside-writes", writes as f64 / seconds, Some(cpu_us));
    db.close()
}
