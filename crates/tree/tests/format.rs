//! What is stored stays readable, and what another version stored is not taken for this.

use std::fmt::Write;
use std::sync::Arc;

use weald_engine::{Database, Readable, Writable};
use weald_tree::{Element, Error, Query, Reference, TreeKind, TreeStore};

const BUCKETS: [&str; 3] = ["weald tree all", "weald tree dropped", "weald tree format"];
const GOLDEN: &str = include_str!("golden/tree-records-1.txt");
const ROOT: &str = "251d737029043b2e";

fn fill(store: &TreeStore) {
    let mut tx = store.begin().unwrap();
    for (name, kind) in [
        ("plain", TreeKind::Plain),
        ("sum", TreeKind::Sum),
        ("count", TreeKind::Count),
    ] {
        tx.create_tree(&[], name.as_bytes(), kind).unwrap();
        for n in 0..20u8 {
            tx.put(&[name.as_bytes()], &[n], Element::SumItem(i64::from(n) - 5))
                .unwrap();
        }
    }
    tx.create_tree(&[b"sum"], b"within", TreeKind::Sum).unwrap();
    tx.put(&[b"sum", b"within"], b"", Element::Item(vec![1, 2]))
        .unwrap();
    let up = Reference::Relative {
        up: 1,
        down: vec![b"plain".to_vec(), vec![3]],
    };
    tx.put(&[b"sum"], b"to", Element::Reference(up)).unwrap();
    let absolute = Reference::Absolute(vec![b"sum".to_vec(), b"to".to_vec()]);
    tx.put(&[], b"to", Element::Reference(absolute)).unwrap();
    tx.commit().unwrap();
    store.transact(|tx| tx.drop_tree(&[], b"count")).unwrap();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .bytes()
        .map(|c| (c as char).to_digit(16).unwrap() as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn dump(db: &Database) -> String {
    let tx = db.read().unwrap();
    let mut out = String::new();
    for name in BUCKETS {
        writeln!(out, "[{name}]").unwrap();
        for pair in tx.bucket(name.as_bytes()).unwrap().iter() {
            let (key, value) = pair.unwrap();
            writeln!(out, "{} = {}", hex(key), hex(value)).unwrap();
        }
    }
    out
}

#[test]
fn what_is_written_is_what_was_written_when_the_format_was_fixed() {
    let db = Arc::new(Database::in_memory().unwrap());
    fill(&TreeStore::open(db.clone()).unwrap());
    assert_eq!(dump(&db), GOLDEN);
}

#[test]
fn what_was_written_when_the_format_was_fixed_is_read() {
    let db = Arc::new(Database::in_memory().unwrap());
    let mut tx = db.write().unwrap();
    let mut name = "";
    for line in GOLDEN.lines() {
        if let Some(bucket) = line.strip_prefix('[') {
            name = bucket.trim_end_matches(']');
            tx.create_bucket(name.as_bytes()).unwrap();
        } else {
            let (key, value) = line
                .split_once(" = ")
                .unwrap_or((line.trim_end_matches(" ="), ""));
            let mut bucket = tx.root_mut().into_bucket_mut(name.as_bytes()).unwrap();
            bucket.put(&bytes(key), &bytes(value)).unwrap();
        }
    }
    tx.commit().unwrap();
    let store = TreeStore::open(db).unwrap();
    let root = store.root().unwrap().to_string();
    assert_eq!(&root[..16], ROOT);
    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.follow(&[], b"to").unwrap(), Some(Element::SumItem(-2)));
    let query = Query::all().below(Query::all().below(Query::all()));
    let proof = snapshot.prove(&query).unwrap();
    let answer = weald_tree::verify(&proof, &store.root().unwrap(), &query).unwrap();
    assert_eq!(answer, snapshot.query(&query).unwrap());
    assert_eq!(store.reclaim(100).unwrap().entries, 20);
    store
        .transact(|tx| tx.put(&[b"sum"], &[1], Element::SumItem(1)))
        .unwrap();
}

#[test]
fn other_formats_are_refused() {
    let with_version = |version: Option<&[u8]>| {
        let db = Arc::new(Database::in_memory().unwrap());
        fill(&TreeStore::open(db.clone()).unwrap());
        let mut tx = db.write().unwrap();
        let mut format = tx.root_mut().into_bucket_mut(b"weald tree format").unwrap();
        match version {
            Some(version) => format.put(b"version", version).unwrap(),
            None => format.discard(b"version").unwrap(),
        }
        tx.commit().unwrap();
        TreeStore::open(db).map(drop)
    };
    let known = with_version(Some(b"weald tree \x01\0\0\0"));
    assert!(known.is_ok());
    let unknown = with_version(Some(b"weald tree \x07\0\0\0"));
    assert!(matches!(
        unknown,
        Err(Error::UnknownFormat { found: 7, known: 1 })
    ));
    for version in [
        None,
        Some(&b""[..]),
        Some(b"weald tree \x01\0\0"),
        Some(b"oaken tree \x01\0\0\0"),
    ] {
        assert!(matches!(with_version(version), Err(Error::Damaged(_))));
    }
}
