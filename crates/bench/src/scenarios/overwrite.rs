//! Overwriting everything, alone and beside a reader that stays.

use super::commits::{BATCH, put_all};
use super::{Bench, read_verified, wrong_read};
use crate::engine::{Engine, Result};
use crate::measure::{self, Clock};
use crate::workload;

pub(super) fn everything<E: Engine>(bench: &Bench<'_>) -> Result<()> {
    let keys = bench.keys();
    // Loaded durably, since an engine may keep what is not synced in memory, and growth is told in times of what was on the disk.
    bench.open_loaded::<E>(true)?.close()?;
    let db: E = bench.open(false)?;
    let mut order: Vec<u64> = (0..keys).collect();
    order.sort_unstable_by_key(|n| workload::mix(*n ^ 55));

    let clock = Clock::start();
    overwrite(&db, &order, 1)?;
    bench.rate("overwrite", keys, clock.lap());

    let before = measure::disk_bytes(bench.dir())? as f64;
    // sled has no snapshots, so there nothing stays and nothing is kept.
    let reader = db.reader()?;
    order.sort_unstable_by_key(|n| workload::mix(*n ^ 66));
    let clock = Clock::start();
    overwrite(&db, &order, 2)?;
    bench.rate("overwrite-beside", keys, clock.lap());
    let during = measure::disk_bytes(bench.dir())? as f64;
    bench.value("overwrite-growth", during / before, None);
    drop(reader);

    let tenth = &order[..order.len() / 10];
    overwrite(&db, tenth, 3)?;
    let reader = db.reader()?;
    for (i, n) in order.iter().enumerate().step_by(101) {
        let expected = if i < tenth.len() { 3 } else { 2 };
        if read_verified(&reader, *n)? != expected {
            return Err(wrong_read(*n));
        }
    }
    drop(reader);
    db.close()?;
    let after = measure::disk_bytes(bench.dir())? as f64;
    bench.value("overwrite-after", after / before, None);
    Ok(())
}

fn overwrite<E: Engine>(db: &E, order: &[u64], version: u32) -> Result<()> {
    order
        .chunks(BATCH as usize)
        .try_for_each(|chunk| put_all(db, chunk.iter().copied(), version))
}
