//! Loading in one transaction, then everything that reads, then removing.

use std::thread;

use super::{Bench, load_all, read_verified, wrong_read};
use crate::engine::{Compacted, Engine, Reader, Result};
use crate::measure::{self, Clock};
use crate::workload::{self, Rng, VALUE_BYTES};

/// Reads in threads of the row that has some.
const THREADS: u64 = 2;

pub(super) fn random<E: Engine>(bench: &Bench<'_>) -> Result<()> {
    let settings = bench.settings(true);
    let db: E = bench.open(true)?;
    let clock = Clock::start();
    load_all(&db, 0..bench.keys())?;
    bench.rate("load", bench.keys(), clock.lap());

    reads(bench, &db)?;
    db.close()?;

    let clock = Clock::start();
    let db: E = bench.open(true)?;
    read_verified(&db.reader()?, 1)?;
    bench.milliseconds("open", clock.lap());
    db.close()?;

    measure::drop_cached(bench.dir())?;
    let db: E = bench.open(true)?;
    cold_reads(bench, &db)?;

    let mut half: Vec<u64> = (0..bench.keys()).filter(|n| is_removed(*n)).collect();
    half.sort_unstable_by_key(|n| workload::mix(*n ^ 77));
    let clock = Clock::start();
    db.write(|tx| half.iter().try_for_each(|n| tx.remove(&workload::key(*n))))?;
    bench.rate("remove", half.len() as u64, clock.lap());
    check_removed(bench, &db)?;
    db.close()?;
    bench.value("disk-removed", measure::disk_bytes(bench.dir())? as f64 / 1e6, None);

    let db: E = bench.open(true)?;
    let clock = Clock::start();
    match db.compact(bench.dir(), &settings)? {
        Compacted::NotOffered(db) => db.close()?,
        Compacted::Done(db) => {
            bench.milliseconds("compact", clock.lap());
            check_removed(bench, &db)?;
            db.close()?;
            bench.value("disk-compacted", measure::disk_bytes(bench.dir())? as f64 / 1e6, None);
        }
    }
    Ok(())
}

pub(super) fn sorted<E: Engine>(bench: &Bench<'_>) -> Result<()> {
    let db: E = bench.open(true)?;
    let mut order: Vec<_> = (0..bench.keys()).map(|n| (workload::key(n), n)).collect();
    order.sort_unstable();
    let clock = Clock::start();
    load_all(&db, order.iter().map(|(_, n)| *n))?;
    bench.rate("load-sorted", bench.keys(), clock.lap());
    let reader = db.reader()?;
    for n in 0..bench.keys().min(1000) {
        read_verified(&reader, n)?;
    }
    drop(reader);
    db.close()
}

fn is_removed(n: u64) -> bool {
    workload::mix(n ^ 99) & 1 == 0
}

fn check_removed<E: Engine>(bench: &Bench<'_>, db: &E) -> Result<()> {
    let reader = db.reader()?;
    for n in 0..bench.keys().min(1000) {
        if is_removed(n) == reader.get(&workload::key(n), |_| ())? {
            return Err(wrong_read(n));
        }
    }
    Ok(())
}

/// The rows that read a loaded database.
fn reads<E: Engine>(bench: &Bench<'_>, db: &E) -> Result<()> {
    let keys = bench.keys();
    let before = measure::private_bytes()?;
    let clock = Clock::start();
    let reader = db.reader()?;
    let lens = super::repeat(&clock, bench.limit() / 8, 1000, |_| {
        if reader.len()? == keys { Ok(()) } else { Err("len() is wrong".into()) }
    })?;
    bench.rate("len", lens, clock.lap());

    let mut rng = Rng::new(1);
    let clock = Clock::start();
    let reads = super::repeat(&clock, bench.limit(), keys, |_| {
        read_verified(&reader, rng.below(keys)).map(drop)
    })?;
    bench.rate("get", reads, clock.lap());

    let clock = Clock::start();
    let absent = super::repeat(&clock, bench.limit(), keys, |_| {
        let n = rng.below(keys);
        if reader.get(&workload::absent_key(n), |_| ())? { Err(wrong_read(n)) } else { Ok(()) }
    })?;
    bench.rate("get-absent", absent, clock.lap());

    let clock = Clock::start();
    let seeks = super::repeat(&clock, bench.limit(), keys / 4, |_| seek(&reader, rng.below(keys)))?;
    bench.rate("seek", seeks, clock.lap());

    let clock = Clock::start();
    let scanned = scan(&reader)?;
    if scanned != keys {
        return Err(format!("the scan had {scanned} of {keys} keys").into());
    }
    bench.rate("scan", keys, clock.lap());
    drop(reader);

    let clock = Clock::start();
    let reads = super::repeat(&clock, bench.limit(), keys, |_| {
        read_verified(&db.reader()?, rng.below(keys)).map(drop)
    })?;
    bench.rate("get-snapshots", reads, clock.lap());

    let clock = Clock::start();
    let reads = in_threads(bench, db, &clock)?;
    bench.rate("get-threads", reads, clock.lap());
    let after = measure::private_bytes()?;
    bench.value("memory", after.saturating_sub(before.min(4 << 20)) as f64 / 1e6, None);
    Ok(())
}

/// Ten pairs from a key that is there; each in order, the first one verified.
fn seek(reader: &impl Reader, n: u64) -> Result<()> {
    let from = workload::key(n);
    let mut last = [0; workload::KEY_BYTES];
    let mut good = true;
    let mut first = true;
    let mut lens = 0;
    let seen = reader.scan(&from, 10, |key, value| {
        if first {
            good = key == from && workload::version_of(n, value, VALUE_BYTES).is_some();
            first = false;
        }
        good &= key > &last[..] && key.len() == last.len();
        if good {
            last.copy_from_slice(key);
        }
        lens += value.len();
    })?;
    if good && seen > 0 && lens == seen * VALUE_BYTES { Ok(()) } else { Err(wrong_read(n)) }
}

/// All pairs: that they are in order and that their lengths are right. Returns their number.
fn scan(reader: &impl Reader) -> Result<u64> {
    let mut last = [0; workload::KEY_BYTES];
    let mut good = true;
    let mut sum = 0u64;
    let seen = reader.scan(b"", usize::MAX, |key, value| {
        good &= key > &last[..] && key.len() == last.len() && value.len() == VALUE_BYTES;
        if good {
            last.copy_from_slice(key);
            // Touches the value, as whoever scans would.
            sum = sum.wrapping_add(u64::from(value[VALUE_BYTES / 2]));
        }
    })?;
    std::hint::black_box(sum);
    if good { Ok(seen as u64) } else { Err("the scan is out of order".into()) }
}

fn in_threads<E: Engine>(bench: &Bench<'_>, db: &E, clock: &Clock) -> Result<u64> {
    let keys = bench.keys();
    thread::scope(|scope| {
        let work = |t: u64| -> Result<u64> {
            let reader = db.reader()?;
            let mut rng = Rng::new(100 + t);
            super::repeat(clock, bench.limit(), keys, |_| {
                read_verified(&reader, rng.below(keys)).map(drop)
            })
        };
        let threads: Vec<_> = (0..THREADS).map(|t| scope.spawn(move || work(t))).collect();
        let counts = threads.into_iter().map(|thread| thread.join().expect("no panic in a thread"));
        counts.sum()
    })
}

/// Reads after the page cache was dropped, a twentieth of the keys at most, as each key shares its page with others.
fn cold_reads<E: Engine>(bench: &Bench<'_>, db: &E) -> Result<()> {
    let reader = db.reader()?;
    let mut rng = Rng::new(2);
    let clock = Clock::start();
    let reads = super::repeat(&clock, bench.limit(), bench.keys().div_ceil(20), |_| {
        read_verified(&reader, rng.below(bench.keys())).map(drop)
    })?;
    bench.rate("get-cold", reads, clock.lap());
    Ok(())
}
