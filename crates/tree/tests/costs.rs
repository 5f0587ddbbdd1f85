//! Costs are what really changes in the storage, are told beforehand, and are the same wherever and whenever.

mod chance;

use std::collections::BTreeMap;
use std::sync::Arc;

use chance::Chance;
use weald_engine::{Database, DatabaseOptions, Readable, SyncPolicy};
use weald_proof::height;
use weald_tree::{Element, OperationCost, Query, Range, TreeKind, TreeStore};
use weald_vfs::Memory;

/// Stores that differ in all that must make no difference.
fn stores() -> (Vec<TreeStore>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let memory = || {
        let options = DatabaseOptions::new()
            .vfs(Arc::new(Memory::new()))
            .sync(SyncPolicy::None);
        Database::open_with_options("trees.weald", options).unwrap()
    };
    let options = DatabaseOptions::low_memory().sync(SyncPolicy::None);
    let file = Database::open_with_options(dir.path().join("trees.weald"), options).unwrap();
    let stores = vec![
        TreeStore::open(memory()).unwrap(),
        TreeStore::with_cache(memory(), 0).unwrap(),
        TreeStore::with_cache(file, 100_000).unwrap(),
    ];
    (stores, dir)
}

/// All bytes of keys and values that a store has.
fn stored_bytes(store: &TreeStore) -> u64 {
    let tx = store.database().read().unwrap();
    let mut bytes = 0;
    for name in [&b"weald tree all"[..], b"weald tree dropped"] {
        for pair in tx.bucket(name).unwrap().iter() {
            let (key, value) = pair.unwrap();
            bytes += (key.len() + value.len()) as u64;
        }
    }
    bytes
}

/// One transaction of random operations; what it cost in all, step by step.
fn transaction(store: &TreeStore, seed: u64) -> Vec<OperationCost> {
    let mut chance = Chance::new(seed);
    let mut tx = store.begin().unwrap().metered();
    let mut costs = Vec::new();
    let names: [&[u8]; 3] = [b"s", b"c", b"p"];
    for _ in 0..1 + chance.below(40) {
        let depth = chance.below(4);
        let path: Vec<&[u8]> = (0..depth).map(|_| names[chance.below(3)]).collect();
        let key = chance.key();
        let mut note = |cost| costs.push(cost);
        match chance.below(12) {
            0 | 1 => {
                let kind = [TreeKind::Sum, TreeKind::Count, TreeKind::Plain][chance.below(3)];
                note(tx.create_tree(&path, names[chance.below(3)], kind).cost);
            }
            2 if chance.below(4) == 0 => note(tx.drop_tree(&path, names[chance.below(3)]).cost),
            2 | 3 => note(tx.delete(&path, &key).cost),
            4 => note(tx.get(&path, &key).cost),
            5 => note(
                tx.query(&Query::entries([Range::of(&key[..]..)]).limit(5).at(&path))
                    .cost,
            ),
            _ => {
                let element = Element::Item(vec![1; chance.below(300)]);
                note(tx.put(&path, &key, element).cost);
            }
        }
    }
    let estimate = tx.estimate().unwrap();
    let commit = tx.commit();
    commit.value.unwrap();
    assert_eq!(
        commit.cost, estimate,
        "a commit without others costs what was told"
    );
    costs.push(commit.cost);
    costs
}

#[test]
fn costs_are_exact_told_beforehand_and_the_same_on_every_storage() {
    let (stores, _dir) = stores();
    let mut bytes = vec![0; stores.len()];
    let mut total = OperationCost::default();
    for seed in 1..120 {
        let costs: Vec<_> = stores.iter().map(|store| transaction(store, seed)).collect();
        assert!(costs.iter().all(|other| *other == costs[0]), "seed {seed}");
        let mut cost = OperationCost::default();
        costs[0].iter().for_each(|step| cost += *step);
        if seed % 20 == 0 {
            let reclaim = stores.iter().map(|store| store.metered().reclaim(u64::MAX));
            let costs: Vec<_> = reclaim.map(|reclaim| reclaim.cost).collect();
            assert!(costs.iter().all(|other| *other == costs[0]), "seed {seed}");
            cost += costs[0];
        }
        for (store, bytes) in stores.iter().zip(&mut bytes) {
            let after = stored_bytes(store);
            assert_eq!(
                *bytes + cost.added_bytes - cost.removed_bytes,
                after,
                "seed {seed}"
            );
            *bytes = after;
        }
        total += cost;
    }
    assert!(total.hash_calls > 1_000 && total.replaced_bytes > 1_000 && total.loaded_bytes > 1_000);
    for query in [Query::all().below(Query::all()), Query::totals(Range::all())] {
        let proofs = stores.iter().map(|store| {
            let snapshot = store.snapshot().unwrap();
            let (proof, answer) = (snapshot.metered().prove(&query), snapshot.metered().query(&query));
            assert_eq!(proof.cost.loaded_bytes, proof.value.unwrap().len() as u64);
            (proof.cost, answer.cost, snapshot.metered().root().cost)
        });
        let costs: Vec<_> = proofs.collect();
        assert!(costs.iter().all(|other| *other == costs[0]) && costs[0].0.seeks > 0);
    }
}

#[test]
fn dropping_costs_the_same_whatever_is_dropped() {
    let (stores, _dir) = stores();
    let mut costs = Vec::new();
    for n in [1u32, 3_000] {
        let store = &stores[0];
        store
            .transact(|tx| tx.create_tree(&[], b"t", TreeKind::Plain))
            .unwrap();
        store
            .transact(|tx| (0..n).try_for_each(|n| tx.put(&[b"t"], &n.to_be_bytes(), Element::SumItem(1))))
            .unwrap();
        let mut tx = store.begin().unwrap().metered();
        let dropped = tx.drop_tree(&[], b"t");
        assert!(dropped.value.unwrap());
        let commit = tx.commit();
        commit.value.unwrap();
        costs.push((dropped.cost.seeks, dropped.cost.hash_calls, commit.cost));
    }
    assert_eq!(costs[0], costs[1]);
}

#[test]
fn a_diff_costs_what_differs_and_not_what_there_is() {
    let (stores, _dir) = stores();
    let store = &stores[0];
    let (mut dearest, mut size) = (0, 0);
    for more in [1_000u32, 20_000] {
        store
            .transact(|tx| {
                (size..more).try_for_each(|n| tx.put(&[], &mix(n).to_be_bytes(), Element::SumItem(1)))
            })
            .unwrap();
        size = more;
        let before = store.snapshot().unwrap();
        store
            .transact(|tx| {
                (0..5).try_for_each(|n| {
                    tx.put(
                        &[],
                        &mix(n * 7).to_be_bytes(),
                        Element::SumItem(2 + i64::from(more)),
                    )
                })
            })
            .unwrap();
        let told = before.metered().diff(&store.snapshot().unwrap());
        assert_eq!(told.value.unwrap().len(), 5);
        dearest = told.cost.seeks;
    }
    // Two look-ups and the pages on the way for each, on both sides.
    assert!(dearest < 5 * 2 * 8, "{dearest}");
}

fn mix(n: u32) -> u32 {
    n.wrapping_mul(2_654_435_761)
}

#[test]
fn chosen_keys_make_no_insert_dear() {
    // Keys of height 0 only: one run, which is thinned.
    let keys: Vec<[u8; 4]> = (0u32..)
        .map(u32::to_be_bytes)
        .filter(|key| height(key) == 0)
        .take(6_000)
        .collect();
    let (stores, _dir) = stores();
    let store = &stores[0];
    let (first, rest) = keys.split_at(5_700);
    let all = |keys: &[[u8; 4]]| -> BTreeMap<Vec<u8>, Option<Element>> {
        keys.iter()
            .map(|key| (key.to_vec(), Some(Element::SumItem(1))))
            .collect()
    };
    let mut forest = weald_proof::Forest::new();
    forest.apply(&[], all(&keys)).unwrap();
    store
        .transact(|tx| {
            first
                .iter()
                .rev()
                .try_for_each(|key| tx.put(&[], key, Element::SumItem(1)))
        })
        .unwrap();
    for key in rest {
        let mut tx = store.begin().unwrap().metered();
        tx.put(&[], key, Element::SumItem(1)).value.unwrap();
        let commit = tx.commit();
        commit.value.unwrap();
        assert!(
            commit.cost.seeks < 200 && commit.cost.hash_calls < 300,
            "{:?}",
            commit.cost
        );
    }
    assert_eq!(store.root().unwrap(), forest.root());
}
