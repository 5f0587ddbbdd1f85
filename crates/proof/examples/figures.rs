//! Sizes and times of proofs: 100,000 items with 32-byte keys and 100-byte values, in one tree in memory.
//!
//! `cargo run --release -p weald-proof --example figures`

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use weald_proof::{Direction, Element, Forest, PageChange, Query, Range, prove, update, verify};

const ITEMS: u32 = 100_000;

fn key(n: u32) -> Vec<u8> {
    blake3::hash(&n.to_le_bytes()).as_bytes().to_vec()
}

fn main() {
    let mut edits: BTreeMap<_, _> = (0..ITEMS)
        .map(|n| (key(n), Some(Element::Item(vec![n as u8; 100]))))
        .collect();
    let mut forest = Forest::new();
    let start = Instant::now();
    forest.apply(&[], std::mem::take(&mut edits)).expect("no sums");
    println!("built in {:.0} ms", start.elapsed().as_secs_f64() * 1e3);

    let sorted: Vec<Vec<u8>> = forest
        .elements(&[])
        .expect("the outermost tree")
        .keys()
        .cloned()
        .collect();
    let from = |n: u32| sorted[n as usize * 7919 % sorted.len()].clone();
    let hundred = |n: u32| {
        Query::entries([Range {
            start: from(n),
            end: None,
        }])
        .limit(100)
    };
    report("one key, present", &forest, |n| Query::key(&key(n)));
    report("one key, absent", &forest, |n| Query::key(&key(ITEMS + n)));
    report("100 keys of a range", &forest, hundred);
    report("the same, descending", &forest, |n| {
        hundred(n).direction(Direction::Descending)
    });
    report("100 keys anywhere", &forest, |n| {
        Query::keys((0..100).map(|i| key(n * 100 + i)))
    });
    report("rank", &forest, |n| Query::rank(&from(n)));
    report("totals of a range", &forest, |n| {
        let (a, b) = (from(n), from(n + 1));
        Query::totals(Range {
            start: a.clone().min(b.clone()),
            end: Some(a.max(b)),
        })
    });
    report("10 keys after 50,000", &forest, |_| {
        Query::all().offset(50_000).limit(10)
    });
    updates(&forest);
}

/// Means over many queries, so that no page stays in a cache close by for free; the best of some rounds,
/// because other programs run too.
fn report(what: &str, forest: &Forest, query: impl Fn(u32) -> Query) {
    let queries: Vec<Query> = (0..500).map(query).collect();
    let root = forest.root();
    let mut proofs = Vec::new();
    let proving = best(queries.len(), || {
        proofs = queries
            .iter()
            .map(|query| prove(forest, query).expect("a proof"))
            .collect();
    });
    let verifying = best(queries.len(), || {
        for (proof, query) in proofs.iter().zip(&queries) {
            black_box(verify(proof, &root, query)).expect("an honest proof");
        }
    });
    let lens = || proofs.iter().map(Vec::len);
    let (mean, max) = (lens().sum::<usize>() / proofs.len(), lens().max().unwrap_or(0));
    println!("{what:22} {mean:6} B, at most {max:6}; prove {proving:7.1} µs, verify {verifying:6.1} µs");
}

/// Microseconds for each of `count` that `work` does.
fn best(count: usize, mut work: impl FnMut()) -> f64 {
    let rounds = (0..15).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64() * 1e6 / count as f64
    });
    rounds.fold(f64::INFINITY, f64::min)
}

/// The work of an update before any storage: pages decided and hashed.
fn updates(forest: &Forest) {
    let pages = weald_proof::Trees::tree(forest, &[])
        .expect("in memory")
        .expect("the outermost tree");
    for size in [1, 1000] {
        let batch = |n: u32| {
            (0..size)
                .map(|i| (key(ITEMS + n * size + i), Some(Element::Item(vec![1; 100]))))
                .collect()
        };
        let batches: Vec<BTreeMap<_, _>> = (0..4000 / size).map(batch).collect();
        let mut changes = Vec::new();
        let time = best(4000, || {
            changes = batches
                .iter()
                .map(|batch| update(pages, batch).expect("no sums"))
                .collect()
        });
        let count = (batches.len() * size as usize) as f64;
        let hashes: u64 = changes.iter().map(|changes| changes.hashes).sum();
        let pages: Vec<_> = changes
            .iter()
            .flat_map(|changes| changes.pages.iter().filter_map(PageChange::after))
            .collect();
        let bytes: usize = pages.iter().map(|page| page.encode().len()).sum();
        println!(
            "insert, {size:4} a batch: {time:.1} µs, {:.1} hashes, {:.2} pages of {} B each",
            hashes as f64 / count,
            pages.len() as f64 / count,
            bytes / pages.len()
        );
    }
}
