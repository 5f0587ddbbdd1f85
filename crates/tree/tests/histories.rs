//! Random histories of transactions that meet: those that commit did and saw what they would have done and seen one after the other, in the
//! order of their commits; contents, sums, counts and root hash are those of a forest in memory that did so; and none is refused without a cause.
//! With threads, with power cuts, and after opening again.

mod chance;
#[path = "histories/serial.rs"]
mod serial;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chance::Chance;
use serial::{Footprint, Record, Step, replay};
use weald_engine::{Database, DatabaseOptions, SyncPolicy};
use weald_proof::{Forest, Hash};
use weald_tree::{Answer, Error, Query, Result, TreeStore, TreeTx, verify};
use weald_vfs::{Memory, SimDisk, SimOptions, Vfs};

fn open(vfs: Arc<dyn Vfs>, policy: SyncPolicy) -> Result<TreeStore> {
    let options = DatabaseOptions::new()
        .vfs(vfs)
        .sync(policy)
        .background(false)
        .wal_segment_bytes(1 << 16)
        .mmap(false);
    // Small enough for pages to be thrown out, and put together again.
    TreeStore::with_cache(Database::open_with_options("trees.weald", options)?, 20_000)
}

/// Everything there is, three trees deep, and the root hash that proves it.
fn all(store: &TreeStore) -> (Hash, Answer) {
    let snapshot = store.snapshot().unwrap();
    let root = snapshot.root().unwrap();
    let query = Query::all().below(Query::all().below(Query::all()));
    let answer = snapshot.query(&query).unwrap();
    let proof = snapshot.prove(&query).unwrap();
    assert_eq!(verify(&proof, &root, &query).unwrap(), answer);
    (root, answer)
}

fn agrees(store: &TreeStore, forest: &Forest) {
    let query = Query::all().below(Query::all().below(Query::all()));
    let (root, answer) = all(store);
    assert_eq!(root, forest.root());
    let proof = weald_proof::prove(forest, &query).unwrap();
    assert_eq!(verify(&proof, &root, &query).unwrap(), answer);
}

fn step(chance: &mut Chance, tx: &mut TreeTx<'_>, record: &mut Record) -> Result<()> {
    let step = Step::random(chance);
    let seen = step.take(tx)?;
    record.push((step, seen));
    Ok(())
}

/// A transaction that is under way, how many commits there were when it began, and what they came to.
struct Open<'s> {
    tx: TreeTx<'s>,
    record: Record,
    began: usize,
    state: Forest,
}

/// Five transactions side by side, one step of any at a time. How many committed though others had since they began, and how many
/// were refused.
fn interleaved(seed: u64) -> (usize, usize) {
    println!("seed {seed}");
    let mut chance = Chance::new(seed);
    let vfs = Arc::new(Memory::new());
    let mut store = open(vfs.clone(), SyncPolicy::None).unwrap();
    let mut forest = Forest::new();
    let mut commits: Vec<Footprint> = Vec::new();
    let (mut met, mut refused) = (0, 0);
    for _ in 0..8 {
        let mut open_ones: Vec<Open<'_>> = Vec::new();
        for _ in 0..300 {
            if open_ones.len() < 5 {
                open_ones.push(Open {
                    tx: store.begin().unwrap(),
                    record: Record::new(),
                    began: commits.len(),
                    state: forest.clone(),
                });
            }
            let at = chance.below(open_ones.len());
            if open_ones[at].record.len() < 1 + chance.below(12) {
                let Open { tx, record, .. } = &mut open_ones[at];
                step(&mut chance, tx, record).unwrap();
                continue;
            }
            let Open {
                tx,
                record,
                began,
                mut state,
            } = open_ones.swap_remove(at);
            replay(&mut state, &record)
                .expect("what it saw is what was there when it began, and its own writes");
            let footprint = Footprint::of(&record);
            let may_conflict = commits[began..]
                .iter()
                .any(|other| footprint.may_conflict_with(other));
            match tx.commit() {
                Ok(_) if Step::writes(&record) => {
                    met += usize::from(commits.len() > began);
                    replay(&mut forest, &record).expect("what it saw is what it would see now");
                    commits.push(footprint);
                }
                Ok(_) => {}
                Err(Error::Conflict) => {
                    assert!(may_conflict, "refused without a cause: {record:?}");
                    refused += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
        drop(open_ones);
        agrees(&store, &forest);
        drop(store);
        store = open(vfs.clone(), SyncPolicy::None).unwrap();
        store.reclaim(1 + chance.below(100) as u64).unwrap();
        agrees(&store, &forest);
    }
    (met, refused)
}

#[test]
fn transactions_side_by_side_commit_as_if_one_after_the_other_or_are_refused_for_a_cause() {
    let (mut met, mut refused) = (0, 0);
    for seed in 0..6 {
        let (a, b) = interleaved(seed);
        (met, refused) = (met + a, refused + b);
    }
    println!("{met} committed though others had since they began, {refused} were refused");
    assert!(met > 200 && refused > 200, "{met}, {refused}");
}

/// What became of a transaction of a thread.
struct Ended {
    /// The number of its commit; not known if the power went meanwhile.
    txid: Option<u64>,
    record: Record,
}

/// Runs transactions until there were so many, or the power goes.
fn work(store: &TreeStore, seed: u64, transactions: usize) -> Vec<Ended> {
    let mut chance = Chance::new(seed);
    let mut ended = Vec::new();
    for _ in 0..transactions {
        let Ok(mut tx) = store.begin() else { break };
        let mut record = Record::new();
        let steps = 2 + chance.below(6);
        if (0..steps).any(|_| step(&mut chance, &mut tx, &mut record).is_err()) {
            break;
        }
        let txid = match tx.commit() {
            Ok(committed) => Some(committed.txid.0),
            Err(Error::Conflict) => continue,
            Err(_) => None,
        };
        if Step::writes(&record) {
            ended.push(Ended { txid, record });
        }
        if txid.is_none() {
            break;
        }
    }
    ended
}

/// Three threads that work, and one that looks on.
fn threads(store: &TreeStore, seed: u64, transactions: usize) -> Vec<Ended> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|thread| scope.spawn(move || work(store, seed * 3 + thread + 1_000, transactions)))
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let Ok(snapshot) = store.snapshot() else { break };
                let query = Query::all().below(Query::all());
                let (Ok(root), Ok(proof)) = (snapshot.root(), snapshot.prove(&query)) else {
                    break;
                };
                verify(&proof, &root, &query).expect("whatever is committed has a root that proves it");
            }
        });
        let ended: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        done.store(true, Ordering::Relaxed);
        ended.into_iter().flat_map(|ended| ended.unwrap()).collect()
    })
}

/// Those that committed, in the order of their commits, and those of which nobody knows.
fn in_order(ended: Vec<Ended>) -> (Vec<Record>, Vec<Record>) {
    let (mut known, unknown): (Vec<_>, Vec<_>) = ended.into_iter().partition(|end| end.txid.is_some());
    known.sort_by_key(|end| end.txid);
    let records = |ended: Vec<Ended>| ended.into_iter().map(|end| end.record).collect();
    (records(known), records(unknown))
}

fn serially(records: &[Record]) -> Option<Forest> {
    let mut forest = Forest::new();
    for record in records {
        replay(&mut forest, record).ok()?;
    }
    Some(forest)
}

#[test]
fn threads_commit_as_if_one_after_the_other() {
    for seed in 0..3 {
        println!("seed {seed}");
        let vfs = Arc::new(Memory::new());
        let store = open(vfs.clone(), SyncPolicy::None).unwrap();
        let (records, unknown) = in_order(threads(&store, seed, 200));
        let turns = store.turns();
        assert!(turns.ahead > 100, "{turns:?}");
        assert!(unknown.is_empty() && records.len() > 100, "{}", records.len());
        let mut forest = Forest::new();
        for record in &records {
            replay(&mut forest, record).expect("what it saw is what it would see now");
        }
        agrees(&store, &forest);
        drop(store);
        agrees(&open(vfs, SyncPolicy::None).unwrap(), &forest);
        // The test can fail: of those that changed something hardly one can be left out without a trace.
        let out: Vec<usize> = (0..records.len()).step_by(records.len() / 10).collect();
        let noticed = out.iter().filter(|out| {
            let rest: Vec<Record> = [&records[..**out], &records[**out + 1..]].concat();
            serially(&rest).is_none_or(|without| without.root() != forest.root())
        });
        assert!(noticed.count() >= out.len() / 3);
    }
}

/// Whether a root hash is that of the known ones and some of the unknown ones, which come anywhere near the end.
fn explained(root: Hash, known: &[Record], unknown: &[Record]) -> bool {
    if serially(known).is_some_and(|forest| forest.root() == root) {
        return true;
    }
    unknown.iter().enumerate().any(|(next, record)| {
        let rest: Vec<Record> = [&unknown[..next], &unknown[next + 1..]].concat();
        (known.len().saturating_sub(3)..=known.len()).any(|at| {
            let with: Vec<Record> = [&known[..at], std::slice::from_ref(record), &known[at..]].concat();
            explained(root, &with, &rest)
        })
    })
}

#[test]
fn after_a_power_cut_there_is_all_that_threads_committed_and_a_root_that_proves_it() {
    let whole = SimDisk::new(0, SimOptions::default());
    drop(threads(
        &open(Arc::new(whole.clone()), SyncPolicy::Immediate).unwrap(),
        1,
        40,
    ));
    let operations = whole.operations();
    let mut longest = 0;
    for case in 0..30u64 {
        println!("case {case}");
        let disk = SimDisk::new(case, SimOptions::default());
        disk.crash_after(operations * case / 30);
        let ended = match open(Arc::new(disk.clone()), SyncPolicy::Immediate) {
            Ok(store) => threads(&store, case, 40),
            Err(_) => Vec::new(),
        };
        let (known, unknown) = in_order(ended);
        let store = open(Arc::new(disk.after_crash(case)), SyncPolicy::Immediate).unwrap();
        let (root, _) = all(&store);
        assert!(
            explained(root, &known, &unknown),
            "{} commits, {} that may be",
            known.len(),
            unknown.len()
        );
        longest = longest.max(known.len());
        // And it goes on.
        let more = threads(&store, case + 100, 5);
        assert!(more.iter().all(|end| end.txid.is_some()));
        all(&store);
    }
    assert!(longest > 30, "the power went too early to show anything");
}
