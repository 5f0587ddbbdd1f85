//! The YCSB core workloads, each operation a transaction of its own.

use super::commits::put_all;
use super::{Bench, read_verified, wrong_read};
use crate::engine::{Engine, Reader, Result};
use crate::measure::Clock;
use crate::workload::{self, Rng, VALUE_BYTES, Zipf};

/// A workload: the share of each kind of operation in a hundred, the rest being read-modify-writes.
struct Mix {
    row: &'static str,
    reads: u64,
    updates: u64,
    scans: u64,
    inserts: u64,
}

const fn mix(row: &'static str, reads: u64, updates: u64, scans: u64, inserts: u64) -> Mix {
    Mix {
        row,
        reads,
        updates,
        scans,
        inserts,
    }
}

/// The longest scan of workload E.
const SCAN_MAX: u64 = 100;

pub(super) fn unsynced<E: Engine>(bench: &Bench<'_>) -> Result<()> {
    let mixes = [
        mix("ycsb-c", 100, 0, 0, 0),
        mix("ycsb-b", 95, 5, 0, 0),
        mix("ycsb-a", 50, 50, 0, 0),
        mix("ycsb-f", 50, 0, 0, 0),
        mix("ycsb-e", 0, 0, 95, 5),
    ];
    run::<E>(bench, false, &mixes)
}

pub(super) fn durable<E: Engine>(bench: &Bench<'_>) -> Result<()> {
    let mixes = [
        mix("ycsb-a-durable", 50, 50, 0, 0),
        mix("ycsb-f-durable", 50, 0, 0, 0),
    ];
    run::<E>(bench, true, &mixes)
}

fn run<E: Engine>(bench: &Bench<'_>, durable: bool, mixes: &[Mix]) -> Result<()> {
    let db: E = bench.open_loaded(durable)?;
    let mut client = Client {
        zipf: Zipf::new(bench.keys()),
        rng: Rng::new(6),
        versions: vec![0; bench.keys() as usize],
        db: &db,
    };
    for mix in mixes {
        let clock = Clock::start();
        let ops = super::repeat(&clock, bench.limit(), bench.keys(), |_| client.operation(mix))?;
        bench.rate(mix.row, ops, clock.lap());
    }
    drop(client);
    db.close()
}

struct Client<'e, E> {
    db: &'e E,
    zipf: Zipf,
    rng: Rng,
    /// What each key was set to last.
    versions: Vec<u32>,
}

impl<E: Engine> Client<'_, E> {
    fn operation(&mut self, mix: &Mix) -> Result<()> {
        let mut dice = self.rng.below(100);
        let n = self.zipf.draw(&mut self.rng);
        let mut is = |share: u64| {
            let hit = dice < share;
            dice = dice.wrapping_sub(share);
            hit
        };
        if is(mix.reads) {
            self.read(n)
        } else if is(mix.updates) {
            self.versions[n as usize] += 1;
            put_all(self.db, n..n + 1, self.versions[n as usize])
        } else if is(mix.scans) {
            self.scan(n)
        } else if is(mix.inserts) {
            let new = self.versions.len() as u64;
            self.versions.push(0);
            put_all(self.db, new..new + 1, 0)
        } else {
            self.read_modify_write(n)
        }
    }

    fn read(&self, n: u64) -> Result<()> {
        let version = read_verified(&self.db.reader()?, n)?;
        if version == self.versions[n as usize] { Ok(()) } else { Err(wrong_read(n)) }
    }

    fn scan(&mut self, n: u64) -> Result<()> {
        let limit = 1 + self.rng.below(SCAN_MAX);
        let mut lens = 0;
        let seen = self.db.reader()?.scan(&workload::key(n), limit as usize, |key, value| {
            lens += usize::from(key.len() == workload::KEY_BYTES) * value.len();
        })?;
        if seen > 0 && lens == seen * VALUE_BYTES { Ok(()) } else { Err(wrong_read(n)) }
    }

    fn read_modify_write(&mut self, n: u64) -> Result<()> {
        let version = &mut self.versions[n as usize];
        let key = workload::key(n);
        self.db.write(|tx| {
            let mut found = None;
            tx.get(&key, &mut |value| found = workload::version_of(n, value, VALUE_BYTES))?;
            if found != Some(*version) {
                return Err(wrong_read(n));
            }
            *version += 1;
            let mut value = [0; VALUE_BYTES];
            workload::fill(n, *version, &mut value);
            tx.put(&key, &value)
        })
    }
}
