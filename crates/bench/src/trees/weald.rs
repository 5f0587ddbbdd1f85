//! Weald's trees, and the rows that only they have.

use std::cell::OnceCell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use weald_engine::{Database, DatabaseOptions, SyncPolicy};
use weald_tree::{Answer, Element, Hash, Query, Range, TreeKind, TreeSnapshot, TreeStore, TreeTx, verify};

use super::grove::{Grove, Measure, key, value};
use super::nested::{self, Nested};
use super::rows::{DEPTHS, WRITERS};
use super::{Asked, Bench};
use crate::engine::{Error, Result};
use crate::measure::{Clock, Lap};
use crate::report::median;
use crate::workload;

/// All items in one subtree.
pub(crate) struct Trees {
    store: TreeStore,
    /// How many there are.
    items: u64,
    /// The newest root hash, once it was asked for: those who verify have it from elsewhere.
    root: OnceCell<Hash>,
}

impl Trees {
    fn root(&self) -> Result<&Hash> {
        match self.root.get() {
            Some(root) => Ok(root),
            None => {
                let root = self.store.root()?;
                Ok(self.root.get_or_init(|| root))
            }
        }
    }
}

const TREE: &[&[u8]] = &[b"items"];

fn store(dir: &Path, cache_bytes: Option<usize>) -> Result<TreeStore> {
    let options = DatabaseOptions::new().sync(SyncPolicy::None);
    let db = Database::open_with_options(dir.join("trees.weald"), options)?;
    Ok(match cache_bytes {
        Some(bytes) => TreeStore::with_cache(Arc::new(db), bytes)?,
        None => TreeStore::open(Arc::new(db))?,
    })
}

fn put(store: &TreeStore, path: &[&[u8]], items: impl Iterator<Item = u64>) -> Result<()> {
    let mut tx = store.begin()?;
    for n in items {
        tx.put(path, &key(n), Element::Item(value(n)))?;
    }
    tx.commit()?;
    Ok(())
}

fn query(n: u64) -> Query {
    Query::key(&key(n)).at(TREE)
}

impl Grove for Trees {
    type Proof = Vec<u8>;

    fn open(dir: &Path, asked: &Asked) -> Result<Trees> {
        let store = store(dir, asked.cache_bytes)?;
        store.transact(|tx| tx.create_tree(&[], TREE[0], TreeKind::Plain))?;
        Ok(Trees {
            store,
            items: 0,
            root: OnceCell::new(),
        })
    }

    fn insert(&mut self, from: u64, to: u64) -> Result<()> {
        self.items = to;
        self.root.take();
        put(&self.store, TREE, from..to)
    }

    fn get_all(&self, times: u64, n: &dyn Fn(u64) -> u64, measure: &mut Measure<'_>) -> Result<()> {
        let snapshot = self.store.snapshot()?;
        measure(times, &mut |i| expect(&snapshot, n(i)))
    }

    fn prove(&self, n: u64) -> Result<Vec<u8>> {
        Ok(self.store.snapshot()?.prove(&query(n))?)
    }

    fn verify(&self, proof: &Vec<u8>, n: u64, present: bool) -> Result<()> {
        let answer = verify(proof, self.root()?, &query(n))?;
        let Answer::Entries(entries) = answer else {
            return Err("no entries".into());
        };
        let shown = entries.first().map(|entry| &entry.element);
        match (present, shown) {
            (true, Some(Element::Item(shown))) if *shown == value(n) => Ok(()),
            (false, None) => Ok(()),
            _ => Err(Error::from("another element")),
        }
    }

    fn proof_bytes(&self, proof: &Vec<u8>, _present: bool) -> Result<usize> {
        Ok(proof.len())
    }

    fn more(&mut self, bench: &mut Bench<'_>) -> Result<()> {
        let (store, items) = (&self.store, self.items);
        if bench.wants("get-new") {
            bench.cpu("get-new", 5_000, &mut |i| {
                expect(&store.snapshot()?, workload::mix(i) % items)
            })?;
        }
        ranges(bench, store, items)?;
        if bench.wants("drop-few") {
            drops(bench, store)?;
        }
        Ok(())
    }
}

fn expect(snapshot: &TreeSnapshot<'_>, n: u64) -> Result<()> {
    match snapshot.get(TREE, &key(n))? {
        Some(Element::Item(found)) if found == value(n) => Ok(()),
        _ => Err("another element".into()),
    }
}

fn ranges(bench: &mut Bench<'_>, store: &TreeStore, items: u64) -> Result<()> {
    let (snapshot, root) = (store.snapshot()?, store.root()?);
    let from = |i: u64| {
        let start = key(workload::mix(i) % items).to_vec();
        Query::entries([Range { start, end: None }]).at(TREE).limit(100)
    };
    let mut proofs = Vec::new();
    bench.cpu("range-prove", 500, &mut |i| {
        proofs.push(snapshot.prove(&from(i))?);
        Ok(())
    })?;
    bench.cpu("range-verify", 500, &mut |i| {
        verify(&proofs[i as usize], &root, &from(i))?;
        Ok(())
    })?;
    let bytes: usize = proofs.iter().map(Vec::len).sum();
    bench.add("range-proof", bytes as f64 / proofs.len() as f64);
    bench.cpu("sum", 500, &mut |i| {
        let mut start = key(i).to_vec();
        start[0] /= 2;
        let mut end = start.clone();
        end[0] += 128;
        let range = Range {
            start,
            end: Some(end),
        };
        snapshot.prove(&Query::totals(range).at(TREE))?;
        Ok(())
    })?;
    Ok(())
}

fn drops(bench: &mut Bench<'_>, store: &TreeStore) -> Result<()> {
    let few = |n: u64| [b"few".as_slice(), &n.to_be_bytes()].concat();
    for n in 0..500 {
        store.transact(|tx| tx.create_tree(&[], &few(n), TreeKind::Plain))?;
        put(store, &[&few(n)], 0..10)?;
    }
    let drop_tree = |name: &[u8]| -> Result<()> {
        let mut tx = store.begin()?;
        tx.drop_tree(&[], name)?;
        tx.commit()?;
        Ok(())
    };
    bench.cpu("drop-few", 500, &mut |n| drop_tree(&few(n)))?;
    bench.cpu("drop-all", 1, &mut |_| drop_tree(TREE[0]))
}

/// The rows that need trees of their own.
pub(crate) fn measure(bench: &mut Bench<'_>) -> Result<()> {
    if DEPTHS.iter().flatten().any(|row| bench.wants(row)) {
        nested::measure(bench, &Nest(fresh(bench, "depths")?))?;
    }
    if WRITERS.iter().any(|(_, rows)| bench.wants(rows[1])) {
        writers(bench)?;
    }
    if bench.wants("lost") {
        lost_updates(bench)?;
    }
    if bench.wants("roots") {
        orders(bench)?;
    }
    Ok(())
}

fn fresh(bench: &Bench<'_>, name: &str) -> Result<TreeStore> {
    let dir = bench.dir.join(name);
    std::fs::create_dir(&dir)?;
    store(&dir, bench.asked.cache_bytes)
}

/// Trees in trees.
struct Nest(TreeStore);

fn segments(path: &nested::Path) -> Vec<&[u8]> {
    path.iter().map(Vec::as_slice).collect()
}

impl Nested for Nest {
    fn insert(&self, path: &nested::Path, from: u64, to: u64) -> Result<()> {
        put(&self.0, &segments(path), from..to)
    }

    fn begin_below(&self, path: &nested::Path, key: &[u8]) -> Result<()> {
        let create = |tx: &mut TreeTx<'_>| tx.create_tree(&segments(path), key, TreeKind::Sum);
        self.0.transact(create)?;
        Ok(())
    }

    fn get(&self, path: &nested::Path, n: u64) -> Result<()> {
        match self.0.snapshot()?.get(&segments(path), &key(n))? {
            Some(Element::Item(found)) if found == value(n) => Ok(()),
            _ => Err("another element".into()),
        }
    }

    fn prove(&self, path: &nested::Path, n: u64) -> Result<()> {
        let query = Query::key(&key(n)).at(path.iter().cloned());
        self.0.snapshot()?.prove(&query)?;
        Ok(())
    }
}

/// Writers, and the next item of all, so that none comes twice.
struct Writers(AtomicU64);

const NAMES: [&[u8]; 2] = [b"a", b"b"];

impl Writers {
    /// Commits inserts of that many items into a tree.
    fn write(&self, store: &TreeStore, name: &[u8], commits: u64, inserts: u64) -> Result<()> {
        (0..commits).try_for_each(|_| {
            let from = self.0.fetch_add(inserts, Ordering::Relaxed);
            put(store, &[name], from..from + inserts)
        })
    }

    /// A function of its own, so that a profiler can be told to look at nothing else.
    #[inline(never)]
    fn one(&self, store: &TreeStore, name: &[u8], commits: u64, inserts: u64) -> Result<Lap> {
        let clock = Clock::start();
        self.write(store, name, commits, inserts)?;
        Ok(clock.lap())
    }

    fn two(&self, stores: [&TreeStore; 2], commits: u64, inserts: u64) -> Result<Lap> {
        let clock = Clock::start();
        thread::scope(|scope| {
            let threads = [0, 1].map(|i| {
                let (store, name) = (stores[i], NAMES[i]);
                scope.spawn(move || self.write(store, name, commits, inserts))
            });
            threads
                .into_iter()
                .try_for_each(|thread| thread.join().expect("no panic in a writer"))
        })?;
        Ok(clock.lap())
    }
}

/// What one writer takes, and what two take for as many each, in turns, so that whatever else the machine does meets both. Two that have a database each
/// show what the machine can do at best.
fn writers(bench: &mut Bench<'_>) -> Result<()> {
    let (store, apart) = (fresh(bench, "writers")?, fresh(bench, "apart")?);
    let writers = Writers(AtomicU64::new(0));
    for store in [&store, &apart] {
        for name in NAMES {
            store.transact(|tx| tx.create_tree(&[], name, TreeKind::Plain))?;
            writers.write(store, name, bench.few_items() / 1000, 1000)?;
        }
    }
    let rounds = bench.few_items().div_ceil(2000);
    for (inserts, rows) in WRITERS {
        if !bench.wants(rows[1]) {
            continue;
        }
        // About as long for each size.
        let commits = (1000 / inserts).clamp(2, 300);
        let us =
            |time: Duration, writers: u64| time.as_secs_f64() * 1e6 / (commits * inserts * writers) as f64;
        let mut laps: [Vec<f64>; 5] = Default::default();
        for round in 0..rounds {
            let one = writers.one(&store, NAMES[round as usize % 2], commits, inserts)?;
            let two = writers.two([&store, &store], commits, inserts)?;
            let best = writers.two([&store, &apart], commits, inserts)?;
            let (first, second) = (us(one.wall, 1), us(two.wall, 2));
            let values = [
                first,
                second,
                second / first,
                us(best.wall, 2) / first,
                us(two.cpu, 2),
            ];
            laps.iter_mut().zip(values).for_each(|(laps, lap)| laps.push(lap));
        }
        for (row, laps) in rows.into_iter().zip(laps) {
            bench.add(row, median(laps).ok_or("there was no round")?);
        }
    }
    // Nothing is damaged: every entry is proven.
    let (snapshot, root) = (store.snapshot()?, store.root()?);
    for name in NAMES {
        let query = Query::totals(Range::all()).at([name]);
        let answer = verify(&snapshot.prove(&query)?, &root, &query)?;
        if answer != snapshot.query(&query)? {
            return Err("the proof of a tree with two writers is wrong".into());
        }
    }
    Ok(())
}

fn lost_updates(bench: &mut Bench<'_>) -> Result<()> {
    const THREADS: u64 = 4;
    let store = fresh(bench, "lost")?;
    let commits = bench.few_items();
    thread::scope(|scope| {
        let add = || {
            (0..commits / THREADS).try_for_each(|_| -> Result<()> {
                Ok(store.transact(|tx| {
                    let n = match tx.get(&[], b"counter")? {
                        Some(Element::SumItem(n)) => n,
                        _ => 0,
                    };
                    tx.put(&[], b"counter", Element::SumItem(n + 1))
                })?)
            })
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(add)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("no panic in a writer"))
    })?;
    let counted = match store.snapshot()?.get(&[], b"counter")? {
        Some(Element::SumItem(n)) => n,
        _ => 0,
    };
    bench.add("lost", (commits / THREADS * THREADS) as f64 - counted as f64);
    Ok(())
}

fn orders(bench: &mut Bench<'_>) -> Result<()> {
    let items = bench.few_items();
    let mut roots = Vec::new();
    for (name, batch, backwards) in [("order", 1000, false), ("disorder", 7, true)] {
        let store = fresh(bench, name)?;
        let order: Vec<u64> = if backwards {
            (0..items).rev().collect()
        } else {
            (0..items).collect()
        };
        for batch in order.chunks(batch) {
            put(&store, &[], batch.iter().copied())?;
        }
        roots.push(store.root()?);
    }
    roots.dedup();
    bench.add("roots", roots.len() as f64);
    Ok(())
}
