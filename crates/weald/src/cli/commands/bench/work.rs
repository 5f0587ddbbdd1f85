//! The kinds of work that are measured. Each checks what it gets, so that nothing fast and wrong looks good.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use weald::{Database, Readable, Writable};

use super::data::{Data, mix};

/// What came of a kind of work.
pub(super) struct Measured {
    pub(super) operations: u64,
    pub(super) elapsed: Duration,
    /// Of each commit or flush, in order of length; empty where single ones are too short to be timed.
    times: Vec<Duration>,
}

/// How long single operations took.
#[derive(Clone, Copy)]
pub(super) struct Latency {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) max: Duration,
}

impl Measured {
    fn new(operations: u64, elapsed: Duration, mut times: Vec<Duration>) -> Measured {
        times.sort_unstable();
        Measured {
            operations,
            elapsed,
            times,
        }
    }

    pub(super) fn per_second(&self) -> f64 {
        self.operations as f64 / self.elapsed.as_secs_f64()
    }

    pub(super) fn latency(&self) -> Option<Latency> {
        let max = *self.times.last()?;
        let at = |part: usize| self.times[(self.times.len() * part / 100).min(self.times.len() - 1)];
        Some(Latency {
            p50: at(50),
            p99: at(99),
            max,
        })
    }
}

/// The floor of a durable commit: a block of a file that is there already, written and flushed.
pub(super) fn flushes(path: &Path, time: Duration) -> io::Result<Measured> {
    const BLOCKS: u64 = 256;
    let file = File::create(path)?;
    let block = [0x5a; 4096];
    (0..BLOCKS).try_for_each(|n| file.write_all_at(&block, n * 4096))?;
    file.sync_all()?;
    let begun = Instant::now();
    let mut times = Vec::new();
    while times.is_empty() || begun.elapsed() < time {
        let one = Instant::now();
        file.write_all_at(&block, times.len() as u64 % BLOCKS * 4096)?;
        file.sync_data()?;
        times.push(one.elapsed());
    }
    Ok(Measured::new(times.len() as u64, begun.elapsed(), times))
}

/// All keys in random order, in one commit.
pub(super) fn load(db: &Database, data: &Data) -> weald::Result<Measured> {
    let begun = Instant::now();
    let mut tx = db.write()?;
    (0..data.keys).try_for_each(|n| tx.put(&data.key(n), data.value(n)))?;
    tx.commit()?;
    Ok(Measured::new(data.keys, begun.elapsed(), Vec::new()))
}

/// Commits of `puts` random keys each, each of them durable when it returns.
pub(super) fn commits(
    db: &Database,
    data: &Data,
    time: Duration,
    puts: u64,
    threads: u32,
) -> weald::Result<Measured> {
    let next = AtomicU64::new(0);
    let begun = Instant::now();
    let one_thread = || {
        let mut times = Vec::new();
        while times.is_empty() || begun.elapsed() < time {
            let one = Instant::now();
            let mut tx = db.write()?;
            for _ in 0..puts {
                let n = next.fetch_add(1, Ordering::Relaxed);
                tx.put(&data.key(mix(n) % data.keys), data.value(n))?;
            }
            tx.commit()?;
            times.push(one.elapsed());
        }
        weald::Result::<_>::Ok(times)
    };
    let mut times = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one_thread)).collect();
        for thread in threads {
            times.extend(thread.join().expect("the work does not panic")?);
        }
        weald::Result::<()>::Ok(())
    })?;
    Ok(Measured::new(times.len() as u64 * puts, begun.elapsed(), times))
}

/// Reads of random keys in one snapshot: of those that are there, or of others.
pub(super) fn reads(db: &Database, data: &Data, time: Duration, present: bool) -> weald::Result<Measured> {
    const BETWEEN_LOOKS_AT_THE_CLOCK: u64 = 1000;
    let tx = db.read()?;
    let first = if present { 0 } else { data.keys };
    let begun = Instant::now();
    let mut done = 0;
    while done == 0 || begun.elapsed() < time {
        for n in done..done + BETWEEN_LOOKS_AT_THE_CLOCK {
            let value = tx.get_ref(&data.key(first + mix(n) % data.keys))?;
            assert_eq!(
                value.is_some(),
                present,
                "a key that was put is there, another is not"
            );
        }
        done += BETWEEN_LOOKS_AT_THE_CLOCK;
    }
    Ok(Measured::new(done, begun.elapsed(), Vec::new()))
}

/// All keys in order, again and again.
pub(super) fn scan(db: &Database, time: Duration) -> weald::Result<Measured> {
    let tx = db.read()?;
    let keys = tx.len()?;
    let begun = Instant::now();
    let mut done = 0;
    while done == 0 || begun.elapsed() < time {
        let mut seen = 0;
        for pair in tx.iter() {
            pair?;
            seen += 1;
        }
        assert_eq!(seen, keys, "a scan sees every key");
        done += seen;
    }
    Ok(Measured::new(done, begun.elapsed(), Vec::new()))
}
