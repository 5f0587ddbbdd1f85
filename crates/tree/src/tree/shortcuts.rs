//! What a proof takes over instead of looking for it, against proofs of a forest in memory; and that it matters which.

use weald_engine::{Database, Readable};
use weald_proof::{Direction, Element, Forest, Query, Range, prove};

use super::planted::{Planted, with};
use super::{TreeKind, TreeSnapshot, TreeStore};

const NAMES: [&[u8]; 3] = [b"a", b"b", b"c"];

fn key(n: u32) -> [u8; 4] {
    n.wrapping_mul(2_654_435_761).to_be_bytes()
}

/// Three trees in one, with different entries under the same keys, and keys beside them.
fn store_and_forest() -> (TreeStore, Forest) {
    let store = TreeStore::open(Database::in_memory().unwrap()).unwrap();
    let mut forest = Forest::new();
    store
        .transact(|tx| {
            for (tree, name) in (1..).zip(NAMES) {
                tx.create_tree(&[], name, TreeKind::Sum)?;
                for n in 0..300 {
                    tx.put(&[name], &key(n), Element::Item(vec![tree; 1 + n as usize % 7]))?;
                }
            }
            (0..40).try_for_each(|n| tx.put(&[], &key(n), Element::SumItem(i64::from(n))))
        })
        .unwrap();
    for (tree, name) in (1..).zip(NAMES) {
        forest.put(&[], name, TreeKind::Sum.element(None)).unwrap();
        for n in 0..300 {
            let element = Element::Item(vec![tree; 1 + n as usize % 7]);
            forest.put(&[name], &key(n), element).unwrap();
        }
    }
    for n in 0..40 {
        forest.put(&[], &key(n), Element::SumItem(i64::from(n))).unwrap();
    }
    (store, forest)
}

/// Queries that go from one value to the next, leave some out, and go from one tree to another.
fn queries() -> Vec<Query> {
    let (third, sparse) = ((0..300).step_by(3), (0..300).step_by(41));
    vec![
        Query::key(&key(7)).at([b"b"]),
        Query::key(b"absent").at([b"c"]),
        Query::all().at([b"a"]),
        Query::all().at([b"b"]).direction(Direction::Descending).limit(50),
        Query::all().at([b"b"]).offset(20).limit(50),
        Query::keys(third.map(key)).at([b"a"]),
        Query::keys(sparse.map(key)).at([b"c"]),
        Query::totals(Range::of(&key(3)[..]..)).at([b"a"]),
        Query::all().below(Query::all()),
        Query::keys([&b"a"[..], b"b", b"c"]).below(Query::key(&key(5))),
        Query::keys([&b"c"[..], b"a"])
            .direction(Direction::Descending)
            .below(Query::totals(Range::all())),
    ]
}

/// Which queries have another proof than that of the forest, or none.
fn wrong(snapshot: &TreeSnapshot<'_>, forest: &Forest) -> Vec<usize> {
    let is_wrong = |query: &Query| snapshot.prove(query).ok() != prove(forest, query).ok();
    let queries = queries();
    (0..queries.len()).filter(|at| is_wrong(&queries[*at])).collect()
}

#[test]
fn proofs_that_take_over_what_is_at_hand_are_those_of_a_forest() {
    let (store, forest) = store_and_forest();
    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.root().unwrap(), forest.root());
    assert_eq!(wrong(&snapshot, &forest), []);
}

#[test]
fn a_value_or_a_subtree_that_is_not_the_one_asked_for_makes_another_proof() {
    let (store, forest) = store_and_forest();
    let snapshot = store.snapshot().unwrap();
    let values = with(Planted::TakesNextValue, || wrong(&snapshot, &forest));
    assert_eq!(values, [5, 6]);
    let subtrees = with(Planted::TakesLastSubtree, || wrong(&snapshot, &forest));
    // Descending, the one that was looked at last comes first.
    assert_eq!(subtrees, [8, 9]);
}

/// Whether a snapshot that is made now need not look for the bucket of all trees.
fn is_known(store: &TreeStore) -> bool {
    store.found.of(&store.db.read().unwrap().root()).is_some()
}

#[test]
fn a_snapshot_finds_the_bucket_of_its_own_state() {
    let (store, mut forest) = store_and_forest();
    let before = store.snapshot().unwrap();
    assert_eq!(wrong(&before, &forest), []);
    assert!(is_known(&store), "what one snapshot has found, the next knows");
    let was = before.root().unwrap();
    store
        .transact(|tx| tx.put(&[b"a"], &key(2), Element::SumItem(9)))
        .unwrap();
    assert!(!is_known(&store), "but not one of a later state");
    forest.put(&[b"a"], &key(2), Element::SumItem(9)).unwrap();
    let after = store.snapshot().unwrap();
    assert_eq!(wrong(&after, &forest), []);
    assert!(is_known(&store));
    assert_eq!(
        (before.root().unwrap(), after.root().unwrap()),
        (was, forest.root())
    );
}
