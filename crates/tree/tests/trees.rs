//! Long random histories against a model in memory: contents, root hash, queries, proofs; savepoints, drops, reopening.

mod chance;

use std::collections::BTreeMap;
use std::sync::Arc;

use chance::Chance;
use weald_engine::{Database, DatabaseOptions, SyncPolicy};
use weald_proof::{Forest, prove};
use weald_tree::{
    Answer, Difference, Direction, Element, Error, Query, Range, Reference, Result, TreeKind, TreeStore,
    TreeTx, verify,
};
use weald_vfs::Memory;

fn open(vfs: &Arc<Memory>) -> TreeStore {
    let options = DatabaseOptions::new()
        .vfs(vfs.clone())
        .sync(SyncPolicy::None)
        .background(false);
    // Small enough for pages to be thrown out, and put together again.
    TreeStore::with_cache(
        Database::open_with_options("trees.weald", options).unwrap(),
        200_000,
    )
    .unwrap()
}

type Path = Vec<Vec<u8>>;

fn segments(path: &Path) -> Vec<&[u8]> {
    path.iter().map(Vec::as_slice).collect()
}

/// The model, and the paths of its trees.
#[derive(Clone)]
struct Model {
    forest: Forest,
    trees: Vec<Path>,
}

impl Model {
    fn new() -> Model {
        Model {
            forest: Forest::new(),
            trees: vec![vec![]],
        }
    }

    fn set(&mut self, path: &Path, key: &[u8], element: Option<Element>) {
        let edits = BTreeMap::from([(key.to_vec(), element)]);
        self.forest.apply(&segments(path), edits).unwrap();
        self.trees
            .retain(|tree| self.forest.elements(&segments(tree)).is_some());
    }

    fn has(&self, path: &Path, key: &[u8]) -> Option<&Element> {
        self.forest.elements(&segments(path))?.get(key)
    }
}

/// One random operation on both.
fn step(chance: &mut Chance, tx: &mut TreeTx<'_>, model: &mut Model) -> Result<()> {
    // Often the deepest, so that some trees come to lie eight deep.
    let path = match chance.below(3) {
        0 => model
            .trees
            .iter()
            .max_by_key(|path| path.len())
            .cloned()
            .unwrap_or_default(),
        _ => model.trees[chance.below(model.trees.len())].clone(),
    };
    let at = segments(&path);
    let key = chance.key();
    let held = model.has(&path, &key);
    let is_tree = held.is_some_and(|held| held.subtree().is_some());
    match chance.below(20) {
        0 if path.len() < 8 && held.is_none() => {
            let kind = [TreeKind::Plain, TreeKind::Sum, TreeKind::Count][chance.below(3)];
            assert!(tx.create_tree(&at, &key, kind)?);
            let empty = weald_proof::Node::root(None);
            let element = match kind {
                TreeKind::Plain => Element::Tree(empty),
                TreeKind::Sum => Element::SumTree { root: empty, sum: 0 },
                TreeKind::Count => Element::CountTree {
                    root: empty,
                    count: 0,
                },
            };
            model.set(&path, &key, Some(element));
            model.trees.push(path.iter().cloned().chain([key]).collect());
        }
        1 | 2 if is_tree && chance.below(3) == 0 => {
            assert!(tx.drop_tree(&at, &key)?);
            model.set(&path, &key, None);
        }
        _ if is_tree => {
            let refused = tx.put(&at, &key, Element::SumItem(1));
            assert!(matches!(refused, Err(Error::Occupied { .. })));
            assert!(matches!(tx.delete(&at, &key), Err(Error::Occupied { .. })));
        }
        3..6 => {
            assert_eq!(tx.delete(&at, &key)?, held.is_some());
            model.set(&path, &key, None);
        }
        6 => {
            let mut down = model.trees[chance.below(model.trees.len())].clone();
            down.push(chance.key());
            let target = match chance.below(3) {
                0 => Reference::Absolute(down),
                up => Reference::Relative {
                    up: up as u64 - 1,
                    down: down.split_off(down.len() - 1),
                },
            };
            tx.put(&at, &key, Element::Reference(target.clone()))?;
            model.set(&path, &key, Some(Element::Reference(target)));
        }
        n if n % 2 == 0 => {
            let element = Element::SumItem(chance.below(2_000) as i64 - 1_000);
            tx.put(&at, &key, element.clone())?;
            model.set(&path, &key, Some(element));
        }
        _ => {
            let element = Element::Item(vec![7; chance.below(200)]);
            tx.put(&at, &key, element.clone())?;
            model.set(&path, &key, Some(element));
        }
    }
    Ok(())
}

/// What references from a key lead to; the error is whether there are too many.
fn followed(model: &Model, path: &Path, key: &[u8]) -> std::result::Result<Option<Element>, bool> {
    let (mut path, mut key) = (path.clone(), key.to_vec());
    for hop in 0..=16 {
        let Some(element) = model.has(&path, &key) else {
            return if hop == 0 { Ok(None) } else { Err(false) };
        };
        let Element::Reference(reference) = element else {
            return Ok(Some(element.clone()));
        };
        (path, key) = reference.target(&path).ok_or(false)?;
    }
    Err(true)
}

fn query(chance: &mut Chance, model: &Model) -> Query {
    let mut path = model.trees[chance.below(model.trees.len())].clone();
    if chance.below(10) == 0 {
        path.push(chance.key());
    }
    let (a, b) = (chance.key(), chance.key());
    let range = match chance.below(4) {
        0 => Range::all(),
        1 => Range::key(&a),
        _ if a < b => Range::of(&a[..]..&b[..]),
        _ => Range::of(&b[..]..=&a[..]),
    };
    if chance.below(5) == 0 {
        return Query::totals(range).at(path);
    }
    let mut query = Query::entries([range]).at(path);
    if chance.below(2) == 0 {
        query = query.direction(Direction::Descending);
    }
    if chance.below(2) == 0 {
        query = query.limit(1 + chance.below(5) as u64);
    }
    if chance.below(3) == 0 {
        query = query.offset(chance.below(5) as u64);
    }
    if chance.below(3) == 0 {
        query = query.below(Query::all().limit(3));
    }
    query
}

/// Everything that is committed is what the model has.
fn compare(chance: &mut Chance, store: &TreeStore, model: &Model) {
    let snapshot = store.snapshot().unwrap();
    let root = model.forest.root();
    assert_eq!(snapshot.root().unwrap(), root);
    for path in &model.trees {
        let all = snapshot.query(&Query::all().at(path)).unwrap();
        let stored = all.entries().iter().map(|entry| (&entry.key, &entry.element));
        assert!(stored.eq(model.forest.elements(&segments(path)).unwrap()));
    }
    for path in &model.trees {
        for key in model.forest.elements(&segments(path)).unwrap().keys() {
            let found = snapshot.follow(&segments(path), key);
            match (followed(model, path, key), found) {
                (Ok(expected), Ok(found)) => assert_eq!(expected, found),
                (Err(false), Err(Error::DanglingReference))
                | (Err(true), Err(Error::ReferenceLoop { .. })) => {}
                (expected, found) => panic!("{expected:?}, but {found:?}"),
            }
        }
    }
    for _ in 0..10 {
        let query = query(chance, model);
        let answer = snapshot.query(&query).unwrap();
        let proof = snapshot.prove(&query).unwrap();
        assert_eq!(verify(&proof, &root, &query).unwrap(), answer, "{query:?}");
        assert_eq!(proof, prove(&model.forest, &query).unwrap());
    }
}

/// How deep its trees came to lie.
fn history(seed: u64, commits: usize) -> usize {
    println!("seed {seed}");
    let mut chance = Chance::new(seed);
    let vfs = Arc::new(Memory::new());
    let mut store = open(&vfs);
    let mut model = Model::new();
    let mut deepest = 0;
    for round in 0..commits {
        let mut tx = store.begin().unwrap();
        let mut next = model.clone();
        for _ in 0..1 + chance.below(40) {
            step(&mut chance, &mut tx, &mut next).unwrap();
        }
        if chance.below(3) == 0 {
            let (savepoint, kept) = (tx.savepoint().unwrap(), next.clone());
            for _ in 0..1 + chance.below(20) {
                step(&mut chance, &mut tx, &mut next).unwrap();
            }
            tx.rollback_to(&savepoint).unwrap();
            next = kept;
        }
        if chance.below(2) == 0 {
            assert_eq!(tx.root().unwrap(), next.forest.root());
            let query = query(&mut chance, &next);
            let proof = prove(&next.forest, &query).unwrap();
            let expected: Answer = verify(&proof, &next.forest.root(), &query).unwrap();
            assert_eq!(tx.query(&query).unwrap(), expected, "{query:?}");
        }
        if chance.below(8) == 0 {
            drop(tx);
        } else {
            tx.commit().unwrap();
            model = next;
            deepest = deepest.max(model.trees.iter().map(Vec::len).max().unwrap_or(0));
        }
        if chance.below(10) == 0 {
            store.reclaim(chance.below(30) as u64).unwrap();
        }
        if chance.below(20) == 0 {
            drop(store);
            store = open(&vfs);
        }
        if round % 5 == 0 {
            compare(&mut chance, &store, &model);
        }
    }
    compare(&mut chance, &store, &model);
    assert!(store.reclaim(u64::MAX).unwrap().complete);
    compare(&mut chance, &store, &model);
    deepest
}

#[test]
fn random_histories_agree_with_a_forest_in_memory() {
    let deepest = (0..8).map(|seed| history(seed, 120)).max();
    assert_eq!(deepest, Some(8));
}

#[test]
fn the_root_is_the_same_for_any_order_and_batching() {
    let entries: Vec<(Vec<u8>, Element)> = (0..500u32)
        .map(|n| {
            (
                n.wrapping_mul(2_654_435_761).to_be_bytes().to_vec(),
                Element::SumItem(n.into()),
            )
        })
        .collect();
    let root = |order: &[(Vec<u8>, Element)], batch: usize| {
        let store = open(&Arc::new(Memory::new()));
        store
            .transact(|tx| tx.create_tree(&[], b"sums", TreeKind::Sum))
            .unwrap();
        for entries in order.chunks(batch) {
            let mut tx = store.begin().unwrap();
            for (key, element) in entries {
                tx.put(&[b"sums"], key, element.clone()).unwrap();
            }
            tx.commit().unwrap();
        }
        let sum = store
            .snapshot()
            .unwrap()
            .get(&[], b"sums")
            .unwrap()
            .unwrap()
            .sum();
        assert_eq!(sum, (0..500).sum::<i128>());
        store.root().unwrap()
    };
    let expected = root(&entries, 500);
    let mut sorted = entries.clone();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(root(&sorted, 7), expected);
    sorted.reverse();
    assert_eq!(root(&sorted, 100), expected);
}

#[test]
fn a_dropped_tree_leaves_nothing_that_comes_back_and_its_space_is_reclaimed() {
    let store = open(&Arc::new(Memory::new()));
    let empty = {
        store
            .transact(|tx| tx.create_tree(&[], b"a", TreeKind::Plain))
            .unwrap();
        store.root().unwrap()
    };
    let fill = |tx: &mut TreeTx<'_>| {
        tx.create_tree(&[b"a"], b"b", TreeKind::Sum)?;
        for n in 0..300u32 {
            tx.put(&[b"a", b"b"], &n.to_be_bytes(), Element::SumItem(1))?;
        }
        Ok(())
    };
    store.transact(fill).unwrap();
    let full = store.root().unwrap();
    store
        .transact(|tx| {
            assert!(tx.drop_tree(&[], b"a")?);
            assert!(!tx.drop_tree(&[], b"a")?);
            assert!(matches!(
                tx.get(&[b"a"], b"b"),
                Err(Error::NoSubtree { depth: 0 })
            ));
            tx.create_tree(&[], b"a", TreeKind::Plain)
        })
        .unwrap();
    assert_eq!(store.root().unwrap(), empty);
    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.get(&[b"a"], b"b").unwrap(), None);
    // The same again, in the same places.
    store.transact(fill).unwrap();
    assert_eq!(store.root().unwrap(), full);
    let mut entries = 0;
    loop {
        let reclaimed = store.reclaim(70).unwrap();
        entries += reclaimed.entries;
        assert_eq!(store.root().unwrap(), full);
        if reclaimed.complete {
            break;
        }
    }
    assert_eq!(entries, 301);
    let answer = store
        .snapshot()
        .unwrap()
        .query(&Query::all().at(["a", "b"]))
        .unwrap();
    assert_eq!(answer.entries().len(), 300);
}

#[test]
fn keys_of_any_length_that_is_accepted_can_be_committed() {
    let store = open(&Arc::new(Memory::new()));
    let Err(Error::KeyTooLong { max, .. }) =
        store.transact(|tx| tx.put(&[], &[0; 2_000], Element::SumItem(1)))
    else {
        panic!("too long a key is refused");
    };
    let mut forest = Forest::new();
    for n in 0..100u8 {
        let key = vec![n; max - usize::from(n) % 3];
        store
            .transact(|tx| tx.put(&[], &key, Element::SumItem(1)))
            .unwrap();
        forest.put(&[], &key, Element::SumItem(1)).unwrap();
    }
    assert_eq!(store.root().unwrap(), forest.root());
}

#[test]
fn references_are_followed_and_loops_refused() {
    let store = open(&Arc::new(Memory::new()));
    let to = |key: &str| {
        Element::Reference(Reference::Relative {
            up: 0,
            down: vec![key.as_bytes().to_vec()],
        })
    };
    store
        .transact(|tx| {
            tx.create_tree(&[], b"t", TreeKind::Plain)?;
            tx.put(&[b"t"], b"a", to("b"))?;
            tx.put(
                &[b"t"],
                b"b",
                Element::Reference(Reference::Absolute(vec![b"x".to_vec()])),
            )?;
            tx.put(&[], b"x", Element::Item(b"end".to_vec()))?;
            tx.put(&[b"t"], b"loop", to("loop"))?;
            tx.put(&[b"t"], b"lost", to("nothing"))?;
            let nameless = Element::Reference(Reference::Absolute(vec![]));
            assert!(matches!(
                tx.put(&[], b"y", nameless),
                Err(Error::InvalidElement { .. })
            ));
            Ok(())
        })
        .unwrap();
    let snapshot = store.snapshot().unwrap();
    let end = snapshot.follow(&[b"t"], b"a").unwrap();
    assert_eq!(end, Some(Element::Item(b"end".to_vec())));
    assert!(matches!(
        snapshot.follow(&[b"t"], b"loop"),
        Err(Error::ReferenceLoop { .. })
    ));
    assert!(matches!(
        snapshot.follow(&[b"t"], b"lost"),
        Err(Error::DanglingReference)
    ));
    assert_eq!(snapshot.follow(&[b"t"], b"absent").unwrap(), None);
}

/// What differs between two models, by looking at everything.
fn differences(before: &Model, after: &Model) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut paths = vec![Path::new()];
    while let Some(path) = paths.pop() {
        let [was, is] = [before, after].map(|model| model.forest.elements(&segments(&path)).unwrap());
        let keys: std::collections::BTreeSet<_> = was.keys().chain(is.keys()).cloned().collect();
        let mut below = Vec::new();
        for key in keys {
            let (was, is) = (was.get(&key).cloned(), is.get(&key).cloned());
            match (&was, &is) {
                (Some(was), Some(is))
                    if was.subtree().is_some()
                        && std::mem::discriminant(was) == std::mem::discriminant(is) =>
                {
                    below.push(path.iter().cloned().chain([key]).collect());
                }
                _ if was != is => found.push(Difference {
                    path: path.clone(),
                    key,
                    before: was,
                    after: is,
                }),
                _ => {}
            }
        }
        paths.extend(below.into_iter().rev());
    }
    found
}

#[test]
fn a_diff_tells_all_that_differs_and_nothing_else() {
    let mut chance = Chance::new(99);
    let store = open(&Arc::new(Memory::new()));
    let mut states = vec![(store.snapshot().unwrap(), Model::new())];
    for _ in 0..60 {
        let mut tx = store.begin().unwrap();
        let mut model = states.last().unwrap().1.clone();
        for _ in 0..1 + chance.below(25) {
            step(&mut chance, &mut tx, &mut model).unwrap();
        }
        tx.commit().unwrap();
        states.push((store.snapshot().unwrap(), model));
    }
    for _ in 0..100 {
        let (a, b) = (
            &states[chance.below(states.len())],
            &states[chance.below(states.len())],
        );
        assert_eq!(a.0.diff(&b.0).unwrap(), differences(&a.1, &b.1));
    }
}

#[test]
fn a_diff_of_large_trees_finds_a_few_changes() {
    let store = open(&Arc::new(Memory::new()));
    store
        .transact(|tx| {
            tx.create_tree(&[], b"t", TreeKind::Count)?;
            (0..5_000u32).try_for_each(|n| tx.put(&[b"t"], &n.to_be_bytes(), Element::SumItem(1)))
        })
        .unwrap();
    let before = store.snapshot().unwrap();
    let changed = [0u32, 17, 18, 2_500, 4_999, 5_000];
    store
        .transact(|tx| {
            changed
                .iter()
                .try_for_each(|n| tx.put(&[b"t"], &n.to_be_bytes(), Element::SumItem(2)))?;
            tx.delete(&[b"t"], &3_000u32.to_be_bytes()).map(drop)
        })
        .unwrap();
    let told = before.diff(&store.snapshot().unwrap()).unwrap();
    let keys: Vec<u32> = told
        .iter()
        .map(|d| u32::from_be_bytes(d.key[..].try_into().unwrap()))
        .collect();
    assert_eq!(keys, [0, 17, 18, 2_500, 3_000, 4_999, 5_000]);
    assert!(before.diff(&before).unwrap().is_empty());
}
