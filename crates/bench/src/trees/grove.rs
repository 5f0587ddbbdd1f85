//! The stores behind one interface, and what is measured of each.

use std::path::Path;

use super::{Asked, Bench};
use crate::engine::Result;
use crate::workload;

pub(crate) const KEY_BYTES: usize = 32;
pub(crate) const VALUE_BYTES: usize = 100;
/// Inserts of a commit in the row that has many.
const BATCH: u64 = 1000;
/// Single operations that are measured.
const SINGLES: u64 = 5_000;

pub(crate) type Key = [u8; KEY_BYTES];

/// The n-th key: random bytes.
pub(crate) fn key(n: u64) -> Key {
    let mut key = [0; KEY_BYTES];
    for (i, word) in key.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&workload::mix(n.wrapping_mul(4).wrapping_add(i as u64)).to_be_bytes());
    }
    key
}

/// The n-th value.
pub(crate) fn value(n: u64) -> Vec<u8> {
    let mut value = vec![0; VALUE_BYTES];
    workload::fill(n, 0, &mut value);
    value
}

/// A store with a root hash over keys and values.
pub(crate) trait Grove: Sized {
    type Proof;

    /// Begins one in an empty directory.
    fn open(dir: &Path, asked: &Asked) -> Result<Self>;

    /// Commits keys and values that are not there.
    fn insert(&mut self, from: u64, to: u64) -> Result<()>;

    /// The n-th value as it is stored now; many are read from one snapshot where there are such.
    fn get_all(&self, times: u64, n: &dyn Fn(u64) -> u64, measure: &mut Measure<'_>) -> Result<()>;

    /// Proves that the n-th key is there, or is not.
    fn prove(&self, n: u64) -> Result<Self::Proof>;

    /// Checks that the proof shows what the n-th key holds: its value, or nothing where it is not `present`.
    fn verify(&self, proof: &Self::Proof, n: u64, present: bool) -> Result<()>;

    /// The length of a proof as it is sent, with the value if there is one.
    fn proof_bytes(&self, proof: &Self::Proof, present: bool) -> Result<usize>;

    /// Measures what only this one has.
    fn more(&mut self, _bench: &mut Bench<'_>) -> Result<()> {
        Ok(())
    }
}

/// Measures so many calls.
pub(crate) type Measure<'m> = dyn FnMut(u64, &mut dyn FnMut(u64) -> Result<()>) -> Result<()> + 'm;

pub(crate) fn measure<G: Grove>(bench: &mut Bench<'_>) -> Result<()> {
    let dir = bench.dir.join("common");
    std::fs::create_dir(&dir)?;
    let mut grove = G::open(&dir, bench.asked)?;
    let items = bench.items.next_multiple_of(BATCH);
    bench.cpu("batch", items / BATCH, &mut |i| {
        grove.insert(i * BATCH, (i + 1) * BATCH)
    })?;
    bench
        .report
        .scale(bench.items, "batch", bench.store, 1.0 / BATCH as f64);
    let singles = SINGLES.min(items);
    if bench.wants("insert") {
        bench.cpu("insert", singles, &mut |i| grove.insert(items + i, items + i + 1))?;
    }
    let some = |i: u64| workload::mix(i) % items;
    if bench.wants("get") {
        grove.get_all(singles * 4, &some, &mut |times, each| {
            bench.cpu("get", times, each)
        })?;
    }
    let mut proofs = Vec::new();
    bench.cpu("prove", singles, &mut |i| {
        proofs.push((some(i), grove.prove(some(i))?));
        Ok(())
    })?;
    let mut proofs = proofs.into_iter();
    let mut bytes = 0;
    bench.cpu("verify", singles, &mut |_| {
        let (n, proof) = proofs.next().ok_or("a proof for each")?;
        bytes += grove.proof_bytes(&proof, true)?;
        grove.verify(&proof, n, true)
    })?;
    bench.add("proof", bytes as f64 / singles as f64);
    let mut bytes = 0;
    for i in 0..singles.min(500) {
        let n = 1 << 50 | i;
        let proof = grove.prove(n)?;
        grove.verify(&proof, n, false)?;
        bytes += grove.proof_bytes(&proof, false)?;
    }
    bench.add("absent", bytes as f64 / singles.min(500) as f64);
    grove.more(bench)
}
