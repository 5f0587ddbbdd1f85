//! Values of 16 KB.

use super::commits::repeat_often;
use super::{Bench, wrong_read};
use crate::engine::{Engine, Reader, Result};
use crate::measure::Clock;
use crate::workload::{self, LARGE_BYTES, Rng};

/// So many are put at most.
const VALUES: u64 = 10_000;

pub(super) fn values<E: Engine>(bench: &Bench<'_>) -> Result<()> {
    let db: E = bench.open(true)?;
    let mut value = vec![0; LARGE_BYTES];
    let clock = Clock::start();
    let puts = repeat_often(&clock, bench.limit(), VALUES, |n| {
        workload::fill(n, 0, &mut value);
        db.write(|tx| tx.put(&workload::key(n), &value))
    })?;
    bench.throughput("large-put", puts, LARGE_BYTES, clock.lap());

    let reader = db.reader()?;
    let mut rng = Rng::new(7);
    let clock = Clock::start();
    let reads = super::repeat(&clock, bench.limit(), 20 * VALUES, |_| {
        let n = rng.below(puts);
        let mut found = None;
        reader.get(&workload::key(n), |value| {
            found = workload::version_of(n, value, LARGE_BYTES);
        })?;
        found.map(drop).ok_or_else(|| wrong_read(n))
    })?;
    bench.throughput("large-get", reads, LARGE_BYTES, clock.lap());
    drop(reader);
    db.close()
}
