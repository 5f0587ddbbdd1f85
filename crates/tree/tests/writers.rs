//! Many writers at once: no update lost, no anomaly let through, no root torn.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use weald_engine::{Database, DatabaseOptions, SyncPolicy};
use weald_proof::Forest;
use weald_tree::{Element, Error, Query, Range, Result, TreeKind, TreeStore, TreeTx, verify};
use weald_vfs::Memory;

fn store() -> TreeStore {
    let options = DatabaseOptions::new()
        .sync(SyncPolicy::None)
        .vfs(Arc::new(Memory::new()));
    let db = Database::open_with_options("trees.weald", options).unwrap();
    TreeStore::open(db).unwrap()
}

fn number(tx: &TreeTx<'_>, path: &[&[u8]], key: &[u8]) -> Result<i64> {
    Ok(match tx.get(path, key)? {
        Some(Element::SumItem(n)) => n,
        _ => 0,
    })
}

fn counters(keys: u64, increments: u64) {
    const THREADS: u64 = 4;
    let store = store();
    store
        .transact(|tx| tx.create_tree(&[], b"counters", TreeKind::Sum))
        .unwrap();
    let path: &[&[u8]] = &[b"counters"];
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let store = &store;
                scope.spawn(move || {
                    for n in 0..increments {
                        let key = ((n * 7 + thread * 13) % keys).to_be_bytes();
                        store
                            .transact(|tx| {
                                let n = number(tx, path, &key)?;
                                tx.put(path, &key, Element::SumItem(n + 1))
                            })
                            .unwrap();
                    }
                })
            })
            .collect();
        // Meanwhile whatever is committed has a root that proves it.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let snapshot = store.snapshot().unwrap();
                let query = Query::all().below(Query::totals(Range::all()));
                let proof = snapshot.prove(&query).unwrap();
                let answer = verify(&proof, &snapshot.root().unwrap(), &query).unwrap();
                assert_eq!(answer, snapshot.query(&query).unwrap());
            }
        });
        let ends: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Ordering::Relaxed);
        ends.into_iter().for_each(|end| end.unwrap());
    });
    let snapshot = store.snapshot().unwrap();
    let sum = snapshot.get(&[], b"counters").unwrap().unwrap().sum();
    assert_eq!(sum, i128::from(THREADS * increments));
    agrees_with_a_forest(&store, path);
}

/// The root is that of a forest of the same contents.
fn agrees_with_a_forest(store: &TreeStore, path: &[&[u8]]) {
    let snapshot = store.snapshot().unwrap();
    let held = snapshot.get(&[], path[0]).unwrap().unwrap();
    let all = snapshot.query(&Query::all().at(path)).unwrap();
    let mut forest = Forest::new();
    forest.put(&[], path[0], held).unwrap();
    let edits: BTreeMap<_, _> = all
        .entries()
        .iter()
        .map(|entry| (entry.key.clone(), Some(entry.element.clone())))
        .collect();
    forest.apply(path, edits).unwrap();
    assert_eq!(forest.root(), snapshot.root().unwrap());
}

#[test]
fn no_increment_of_one_key_is_lost() {
    counters(1, 250);
}

#[test]
fn no_increment_of_a_thousand_keys_is_lost() {
    counters(1_000, 500);
}

#[test]
fn writers_in_different_subtrees_never_conflict() {
    let store = store();
    let names: [&[u8]; 3] = [b"a", b"b", b"c"];
    store
        .transact(|tx| {
            for name in names {
                tx.create_tree(&[], name, TreeKind::Count)?;
            }
            Ok(())
        })
        .unwrap();
    std::thread::scope(|scope| {
        for name in names {
            let store = &store;
            scope.spawn(move || {
                for n in 0..200u32 {
                    let mut tx = store.begin().unwrap();
                    let last = number(&tx, &[name], b"last").unwrap();
                    assert_eq!(last, i64::from(n));
                    tx.put(&[name], b"last", Element::SumItem(last + 1)).unwrap();
                    tx.put(&[name], &n.to_be_bytes(), Element::Item(vec![1])).unwrap();
                    tx.commit().unwrap();
                }
            });
        }
    });
    // Each had its own tree ready before its turn, whatever the others did.
    let turns = store.turns();
    assert!(turns.ahead >= 600 && turns.again <= 100, "{turns:?}");
    let mut forest = Forest::new();
    let snapshot = store.snapshot().unwrap();
    for name in names {
        let held = snapshot.get(&[], name).unwrap().unwrap();
        assert!(matches!(held, Element::CountTree { count: 201, .. }));
        forest.put(&[], name, held).unwrap();
        for n in 0..200u32 {
            forest
                .put(&[name], &n.to_be_bytes(), Element::Item(vec![1]))
                .unwrap();
        }
        forest.put(&[name], b"last", Element::SumItem(200)).unwrap();
    }
    assert_eq!(forest.root(), snapshot.root().unwrap());
}

/// Two transactions side by side; whether the second is refused.
fn race(
    prepare: impl Fn(&mut TreeTx<'_>) -> Result<()>,
    first: impl Fn(&mut TreeTx<'_>) -> Result<()>,
    second: impl Fn(&mut TreeTx<'_>) -> Result<()>,
) -> bool {
    let store = store();
    store
        .transact(|tx| {
            tx.create_tree(&[], b"t", TreeKind::Sum)?;
            prepare(tx)
        })
        .unwrap();
    let (mut a, mut b) = (store.begin().unwrap(), store.begin().unwrap());
    first(&mut a).unwrap();
    second(&mut b).unwrap();
    a.commit().unwrap();
    match b.commit() {
        Ok(_) => false,
        Err(Error::Conflict) => true,
        Err(other) => panic!("{other}"),
    }
}

const T: &[&[u8]] = &[b"t"];

fn put(tx: &mut TreeTx<'_>, key: &[u8]) -> Result<()> {
    tx.put(T, key, Element::SumItem(1))
}

fn nothing(_: &mut TreeTx<'_>) -> Result<()> {
    Ok(())
}

#[test]
fn write_skew_is_refused() {
    let reads_one_writes_other = |read: &'static [u8], write: &'static [u8]| {
        move |tx: &mut TreeTx<'_>| {
            tx.get(T, read)?;
            put(tx, write)
        }
    };
    assert!(race(
        nothing,
        reads_one_writes_other(b"x", b"y"),
        reads_one_writes_other(b"y", b"x")
    ));
    assert!(!race(
        nothing,
        reads_one_writes_other(b"x", b"y"),
        reads_one_writes_other(b"x", b"z")
    ));
}

#[test]
fn phantoms_are_refused() {
    let scan = |tx: &mut TreeTx<'_>| {
        tx.query(&Query::entries([Range::of(&b"a"[..]..b"m")]).at(T))?;
        put(tx, b"z")
    };
    assert!(race(nothing, |tx| put(tx, b"b"), scan));
    assert!(!race(nothing, |tx| put(tx, b"n"), scan));
    let total = |tx: &mut TreeTx<'_>| {
        tx.query(&Query::totals(Range::all()).at(T))?;
        put(tx, b"z")
    };
    assert!(race(nothing, |tx| put(tx, b"b"), total));
}

#[test]
fn whoever_reads_a_subtree_or_the_root_reads_all_that_is_in_it() {
    let sum = |tx: &mut TreeTx<'_>| {
        tx.get(&[], b"t")?;
        tx.put(&[], b"copy", Element::SumItem(0))
    };
    let root = |tx: &mut TreeTx<'_>| {
        tx.root()?;
        tx.put(&[], b"copy", Element::SumItem(0))
    };
    assert!(race(nothing, |tx| put(tx, b"k"), sum));
    assert!(race(nothing, |tx| put(tx, b"k"), root));
}

#[test]
fn a_drop_and_a_write_into_what_is_dropped_do_not_both_commit_in_the_wrong_order() {
    let drop_it = |tx: &mut TreeTx<'_>| tx.drop_tree(&[], b"t").map(drop);
    assert!(race(nothing, drop_it, |tx| put(tx, b"k")));
    let again = |tx: &mut TreeTx<'_>| {
        tx.drop_tree(&[], b"t")?;
        tx.create_tree(&[], b"t", TreeKind::Sum).map(drop)
    };
    assert!(race(nothing, again, |tx| put(tx, b"k")));
    // The other way round there is an order in which both happened: first the write, then the drop.
    assert!(!race(nothing, |tx| put(tx, b"k"), drop_it));
}

#[test]
fn a_blind_write_conflicts_only_with_the_creation_of_a_subtree_in_its_place() {
    assert!(!race(nothing, |tx| put(tx, b"k"), |tx| put(tx, b"k")));
    let create = |tx: &mut TreeTx<'_>| tx.create_tree(T, b"k", TreeKind::Plain).map(drop);
    assert!(race(nothing, create, |tx| put(tx, b"k")));
    assert!(race(nothing, |tx| put(tx, b"k"), create));
}
