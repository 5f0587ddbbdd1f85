//! Trees in trees, eight of them, and what an operation costs in each.

use super::Bench;
use super::rows::DEPTHS;
use crate::engine::Result;
use crate::workload;

pub(crate) type Path = [Vec<u8>];

/// A store whose trees lie in each other.
pub(crate) trait Nested {
    /// Commits items that are not there into the tree at a path.
    fn insert(&self, path: &Path, from: u64, to: u64) -> Result<()>;

    /// Begins a tree of sums under a key of that tree.
    fn begin_below(&self, path: &Path, key: &[u8]) -> Result<()>;

    /// Looks up an item, and makes sure that it is what was put there.
    fn get(&self, path: &Path, n: u64) -> Result<()>;

    /// Proves that an item is there.
    fn prove(&self, path: &Path, n: u64) -> Result<()>;
}

/// The items are divided among the trees, all of which are there before anything is measured.
pub(crate) fn measure(bench: &mut Bench<'_>, store: &impl Nested) -> Result<()> {
    let items = (bench.items / DEPTHS.len() as u64).next_multiple_of(100);
    let mut path: Vec<Vec<u8>> = Vec::new();
    for _ in DEPTHS {
        for from in (0..items).step_by(1000) {
            store.insert(&path, from, (from + 1000).min(items))?;
        }
        store.begin_below(&path, b"below")?;
        path.push(b"below".to_vec());
    }
    let times = items.min(1_000);
    for (depth, [insert, get, prove]) in DEPTHS.into_iter().enumerate() {
        let path = &path[..depth];
        if bench.wants(insert) {
            bench.cpu(insert, times, &mut |i| {
                store.insert(path, items + i, items + i + 1)
            })?;
        }
        if bench.wants(get) {
            bench.cpu(get, times, &mut |i| store.get(path, workload::mix(i) % items))?;
        }
        if bench.wants(prove) {
            bench.cpu(prove, times, &mut |i| store.prove(path, workload::mix(i) % items))?;
        }
    }
    Ok(())
}
