//! Being killed in the midst of writing, and opening after it.

use std::time::Duration;

use super::commits::{BATCH, put_all, repeat_often};
use super::{Bench, load_all, read_verified, wrong_read};
use crate::engine::{Engine, Result};
use crate::measure::Clock;

/// What [`fill`] prints when it is to be killed.
pub(crate) const READY: &str = "ready";
/// Commits after the load, and as many more at most until the engine has its longest recovery before it.
const COMMITS: u64 = 50;
const COMMITS_MAX: u64 = 400;

/// Fills a database, then waits to be killed.
pub(super) fn fill<E: Engine>(bench: &Bench<'_>) -> Result<()> {
    let keys = bench.keys();
    let db: E = bench.open(true)?;
    load_all(&db, 0..keys)?;
    let mut done = 0;
    let clock = Clock::start();
    while done < COMMITS || (done < COMMITS_MAX && !db.is_slowest_to_recover()) {
        put_all(&db, overwritten(keys, done), done as u32 + 1)?;
        done += 1;
    }
    println!("commits\t{done}");
    println!("{READY}");
    // Goes on without a promise, so that the kill comes in the midst of a commit; slowly, so that no checkpoint comes before it.
    repeat_often(&clock, Duration::from_secs(600), u64::MAX, |i| {
        std::thread::sleep(Duration::from_millis(20));
        let n = keys + i;
        put_all(&db, n..n + 1, 0)
    })?;
    db.close()
}

/// The keys that a commit overwrites.
fn overwritten(keys: u64, commit: u64) -> impl Iterator<Item = u64> {
    (0..BATCH).map(move |i| crate::workload::mix(commit * BATCH + i) % keys)
}

/// Opens what was killed, and looks whether it is all there.
pub(super) fn open<E: Engine>(bench: &Bench<'_>) -> Result<()> {
    let keys = bench.keys();
    let clock = Clock::start();
    let db: E = bench.open(true)?;
    read_verified(&db.reader()?, 1)?;
    bench.milliseconds("open-crash", clock.lap());
    // A key of its own, which nothing below looks at.
    put_all(&db, std::iter::once(u64::from(u32::MAX)), 0)?;
    bench.milliseconds("open-crash-write", clock.lap());

    let reader = db.reader()?;
    let mut versions = vec![0; keys as usize];
    for commit in 0..COMMITS {
        for n in overwritten(keys, commit) {
            versions[n as usize] = commit as u32 + 1;
        }
    }
    for n in 0..keys {
        // Commits after the first ones, of which there were as many as the engine needed, may have written a later version.
        let version = read_verified(&reader, n)?;
        if version < versions[n as usize] {
            return Err(wrong_read(n));
        }
    }
    drop(reader);
    db.close()
}
