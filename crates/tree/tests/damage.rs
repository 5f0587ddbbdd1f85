//! Damage below the checksums of the engine: whatever becomes of a stored record, what verifies is right, and nothing panics.

use std::collections::BTreeMap;
use std::sync::Arc;

use weald_engine::{Database, DatabaseOptions, Readable, SyncPolicy, Writable};
use weald_tree::{
    Answer, Element, Error, Hash, Query, Range, Reference, Result, TreeKind, TreeStore, TreeSync, verify,
};
use weald_vfs::Memory;

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

const ALL: &[u8] = b"weald tree all";

fn database() -> Arc<Database> {
    let options = DatabaseOptions::new()
        .vfs(Arc::new(Memory::new()))
        .background(false)
        .sync(SyncPolicy::None);
    Arc::new(Database::open_with_options("trees.weald", options).unwrap())
}

fn fill(store: &TreeStore) -> Result<()> {
    let mut tx = store.begin()?;
    tx.create_tree(&[], b"sums", TreeKind::Sum)?;
    tx.create_tree(&[b"sums"], b"counts", TreeKind::Count)?;
    tx.create_tree(&[], b"gone", TreeKind::Plain)?;
    for n in 0..40u8 {
        tx.put(&[b"sums"], &[n], Element::SumItem(i64::from(n)))?;
        tx.put(&[b"sums", b"counts"], &[b'k', n], Element::Item(vec![n; 3]))?;
    }
    let to = Reference::Relative {
        up: 1,
        down: vec![b"item".to_vec()],
    };
    tx.put(&[b"sums"], b"there", Element::Reference(to))?;
    tx.put(&[], b"item", Element::Item(b"here".to_vec()))?;
    tx.drop_tree(&[], b"gone")?;
    tx.commit()?;
    Ok(())
}

fn queries() -> Vec<Query> {
    vec![
        Query::all().below(Query::all().below(Query::all())),
        Query::key(&[7]).at(["sums"]),
        Query::key(b"absent").at(["sums"]),
        Query::totals(Range::of(&[b'k', 3][..]..&[b'k', 30][..])).at(["sums", "counts"]),
        Query::entries([Range::of(&[5][..]..)])
            .at(["sums"])
            .offset(3)
            .limit(4),
        Query::all().at(["gone"]),
    ]
}

fn records(db: &Database) -> Records {
    let tx = db.read().unwrap();
    let all = tx.bucket(ALL).unwrap();
    all.iter()
        .map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap())
        .collect()
}

fn set(db: &Database, changes: &[(&[u8], Option<&[u8]>)]) {
    let mut tx = db.write().unwrap();
    let mut all = tx.root_mut().into_bucket_mut(ALL).unwrap();
    for (key, value) in changes {
        match value {
            Some(value) => all.put(key, value).unwrap(),
            None => all.discard(key).unwrap(),
        }
    }
    tx.commit().unwrap();
}

struct Honest {
    root: Hash,
    answers: Vec<(Query, Answer)>,
}

/// How much was told and refused.
#[derive(Debug, Default)]
struct Outcome {
    right: usize,
    refused: usize,
}

/// Asks a store whose records were tampered with: nothing panics, and what is proven under the honest root is the honest answer.
fn examine(db: &Arc<Database>, honest: &Honest, outcome: &mut Outcome) {
    // Without a cache, so that everything is read.
    let store = TreeStore::with_cache(db.clone(), 0).unwrap();
    let snapshot = store.snapshot().unwrap();
    for (query, answer) in &honest.answers {
        let _ = snapshot.query(query);
        match snapshot
            .prove(query)
            .map(|proof| verify(&proof, &honest.root, query))
        {
            Ok(Ok(told)) => {
                assert_eq!(told, *answer);
                outcome.right += 1;
            }
            Ok(Err(_)) => outcome.refused += 1,
            Err(Error::Damaged(_)) => outcome.refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    let _ = snapshot.follow(&[b"sums"], b"there");
    let _ = snapshot.diff(&snapshot);
    let mut tx = store.begin().unwrap();
    for n in [0, 7, 39, 200] {
        let _ = tx.put(&[b"sums"], &[n], Element::SumItem(-1));
        let _ = tx.delete(&[b"sums", b"counts"], &[b'k', n]);
    }
    match tx.root() {
        Ok(_) | Err(Error::Damaged(_) | Error::NoSubtree { .. } | Error::Overflow) => {}
        Err(other) => panic!("{other}"),
    }
    tx.rollback();
}

fn honest() -> (Arc<Database>, Records, Honest) {
    let db = database();
    let store = TreeStore::open(db.clone()).unwrap();
    fill(&store).unwrap();
    let snapshot = store.snapshot().unwrap();
    let answers = queries()
        .into_iter()
        .map(|query| {
            let answer = snapshot.query(&query).unwrap();
            (query, answer)
        })
        .collect();
    let root = snapshot.root().unwrap();
    let records = records(&db);
    drop(snapshot);
    (db, records, Honest { root, answers })
}

#[test]
fn a_flipped_byte_of_any_record_gives_an_error_or_the_right_answer() {
    let (db, records, honest) = honest();
    let mut outcome = Outcome::default();
    for (key, value) in &records {
        for at in 0..value.len() {
            let mut flipped = value.clone();
            flipped[at] ^= 1 << (at % 8);
            set(&db, &[(key, Some(&flipped))]);
            examine(&db, &honest, &mut outcome);
        }
        set(&db, &[(key, Some(value))]);
    }
    assert!(outcome.right > 1_000 && outcome.refused > 1_000, "{outcome:?}");
}

#[test]
fn a_record_under_another_key_or_gone_gives_an_error_or_the_right_answer() {
    let (db, records, honest) = honest();
    let mut outcome = Outcome::default();
    for (key, value) in &records {
        // The first 32 bytes are the tree; one of them does for all.
        for at in [0].into_iter().chain(32..key.len()) {
            let mut flipped = key.clone();
            flipped[at] ^= 1 << (at % 8);
            set(&db, &[(key, None), (&flipped, Some(value))]);
            examine(&db, &honest, &mut outcome);
            set(
                &db,
                &[
                    (&flipped, records.get(&flipped).map(Vec::as_slice)),
                    (key, Some(value)),
                ],
            );
        }
        set(&db, &[(key, None)]);
        examine(&db, &honest, &mut outcome);
        for cut in [0, 1, value.len() / 2, value.len() - 1] {
            set(&db, &[(key, Some(&value[..cut]))]);
            examine(&db, &honest, &mut outcome);
        }
        set(&db, &[(key, Some(value))]);
    }
    assert!(outcome.right > 1_000 && outcome.refused > 1_000, "{outcome:?}");
}

#[test]
fn records_that_change_places_give_an_error_or_the_right_answer() {
    let (db, records, honest) = honest();
    let mut outcome = Outcome::default();
    let list: Vec<(&Vec<u8>, &Vec<u8>)> = records.iter().collect();
    for (index, (key, value)) in list.iter().enumerate() {
        for step in [1, 2, 17, 40] {
            let (other_key, other) = list[(index + step) % list.len()];
            set(&db, &[(key, Some(other)), (other_key, Some(value))]);
            examine(&db, &honest, &mut outcome);
            set(&db, &[(key, Some(value)), (other_key, Some(other))]);
        }
    }
    assert!(outcome.right > 100 && outcome.refused > 100, "{outcome:?}");
}

#[test]
fn a_dropped_tree_that_is_noted_under_another_prefix_is_an_error() {
    let db = database();
    let store = TreeStore::open(db.clone()).unwrap();
    fill(&store).unwrap();
    let name = b"weald tree dropped";
    let read = db.read().unwrap();
    let (key, path) = read.bucket(name).unwrap().first().unwrap().unwrap();
    let mut tx = db.write().unwrap();
    let mut dropped = tx.root_mut().into_bucket_mut(name).unwrap();
    dropped.discard(key).unwrap();
    dropped.put(&[7; 32], path).unwrap();
    tx.commit().unwrap();
    assert!(matches!(store.reclaim(10), Err(Error::Damaged(_))));
}

#[test]
fn a_sync_whose_subtree_has_no_place_is_an_error_to_abandon() {
    let source = TreeStore::open(database()).unwrap();
    fill(&source).unwrap();
    let snapshot = source.snapshot().unwrap();
    let db = database();
    let store = TreeStore::open(db.clone()).unwrap();
    let sync = TreeSync::begin(&store, snapshot.root().unwrap()).unwrap();
    let id = sync.wanted(1).unwrap().remove(0);
    sync.apply(&snapshot.chunk(&id).unwrap()).unwrap();
    let place = records(&db)
        .into_keys()
        .find(|key| key.ends_with(b"gsums"))
        .unwrap();
    set(&db, &[(&place, None)]);
    assert!(matches!(TreeSync::abandon(&store), Err(Error::Damaged(_))));
}
