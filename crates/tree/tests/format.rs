//! What is stored stays readable, is what the document says, and what another version stored is not taken for this.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

#[path = "../../proof/tests/trees/specified.rs"]
mod specified;

use weald_engine::{Database, Readable, Writable};
use weald_tree::{Element, Error, Query, Reference, TreeKind, TreeStore};

use specified::Held;

const BUCKETS: [&str; 3] = ["weald tree all", "weald tree dropped", "weald tree format"];
const GOLDEN: &str = include_str!("golden/tree-records-1.txt");

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

/// The records of what [`fill`] leaves, and its root hash: written after the table of `docs/tree.md`.
struct Specified {
    all: BTreeMap<Vec<u8>, Vec<u8>>,
    dropped: BTreeMap<Vec<u8>, Vec<u8>>,
    root: [u8; 32],
}

/// A tree: its path, each segment with its generation, and what its keys hold, to the trees above and in storage.
struct Tree {
    path: Vec<(&'static [u8], u64)>,
    held: Vec<(Held, Vec<u8>)>,
}

impl Specified {
    fn new() -> Specified {
        let mut specified = Specified {
            all: BTreeMap::new(),
            dropped: BTreeMap::new(),
            root: [0; 32],
        };
        let numbers = || (0..20u8).map(|n| stored(specified::sum_item(&[n], i64::from(n) - 5)));
        let within = specified.tree(Tree {
            path: vec![(b"sum", 0), (b"within", 0)],
            held: vec![stored(specified::item(b"", &[1, 2]))],
        });
        let plain = specified.tree(Tree {
            path: vec![(b"plain", 0)],
            held: numbers().collect(),
        });
        let to = specified::reference(b"to", Some(1), &[b"plain", &[3]]);
        let below = specified::subtree(b"within", 3, &within);
        let sum = specified.tree(Tree {
            path: vec![(b"sum", 0)],
            held: numbers().chain([stored(to), subtree(below, 3)]).collect(),
        });
        // Dropped, which leaves everything where it was.
        specified.tree(Tree {
            path: vec![(b"count", 0)],
            held: numbers().collect(),
        });
        let outermost = specified.tree(Tree {
            path: vec![],
            held: vec![
                subtree(specified::subtree(b"plain", 2, &plain), 2),
                subtree(specified::subtree(b"sum", 3, &sum), 3),
                stored(specified::reference(b"to", None, &[b"sum", b"to"])),
            ],
        });
        specified.root = specified::root(specified::topmost(&outermost));
        specified.place(&[], b"plain", 0, 2);
        specified.place(&[], b"sum", 0, 3);
        specified.place(&[], b"count", 1, 0);
        specified.place(&[(b"sum", 0)], b"within", 0, 3);
        let path = [&5u64.to_le_bytes()[..], b"count", &0u64.to_le_bytes()].concat();
        let prefix = specified::prefix(&[(b"count", 0)]).to_vec();
        specified.dropped.insert(prefix, path);
        specified
    }

    /// Adds the entries of a tree, those of its pages and its top; returns its levels.
    fn tree(&mut self, tree: Tree) -> Vec<Vec<specified::Entry>> {
        let prefix = specified::prefix(&tree.path);
        let (held, records): (Vec<Held>, Vec<Vec<u8>>) = tree.held.into_iter().unzip();
        for (held, record) in held.iter().zip(records) {
            self.all.insert([&prefix[..], b"e", &held.key].concat(), record);
        }
        let levels = specified::levels(&held);
        for (level, entries) in levels.iter().enumerate() {
            for entry in entries {
                let begins = if entry.begins { 0x80 } else { 0 };
                let mut record = vec![entry.height | begins];
                record.extend(entry.node.hash);
                if level > 0 {
                    record.extend(specified::varint(u128::from(entry.node.count)));
                }
                record.extend(specified::signed(entry.node.sum));
                self.all
                    .insert([&prefix[..], b"n", &[level as u8], &entry.key].concat(), record);
            }
        }
        let top = specified::topmost(&levels).expect("no tree here is empty");
        let record = [
            &[levels.len() as u8 - 1][..],
            &top.hash,
            &top.count.to_le_bytes(),
            &top.sum.to_le_bytes(),
        ];
        self.all.insert([&prefix[..], b"t"].concat(), record.concat());
        levels
    }

    fn place(&mut self, path: &[(&[u8], u64)], key: &[u8], generation: u64, tag: u8) {
        let record = [&generation.to_le_bytes()[..], &[tag]].concat();
        self.all
            .insert([&specified::prefix(path)[..], b"g", key].concat(), record);
    }
}

/// What is stored as it is.
fn stored(held: Held) -> (Held, Vec<u8>) {
    let record = held.value.clone();
    (held, record)
}

/// A subtree, which is stored by its tag and generation.
fn subtree(held: Held, tag: u8) -> (Held, Vec<u8>) {
    (held, [&[tag][..], &0u64.to_le_bytes()].concat())
}

#[test]
fn what_is_written_is_what_the_document_says() {
    let specified = Specified::new();
    let mut out = String::new();
    let format = BTreeMap::from([(b"version".to_vec(), b"weald tree \x01\0\0\0".to_vec())]);
    for (name, records) in BUCKETS.iter().zip([specified.all, specified.dropped, format]) {
        writeln!(out, "[{name}]").unwrap();
        for (key, value) in records {
            writeln!(out, "{} = {}", hex(&key), hex(&value)).unwrap();
        }
    }
    assert_eq!(out, GOLDEN);
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
    assert_eq!(store.root().unwrap().0, Specified::new().root);
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
