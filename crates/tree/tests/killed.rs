//! Processes that are killed while they write: the root hash that the next one finds is that of the contents it finds, and nothing
//! that was acknowledged is gone.
//!
//! The writer is this very binary, run again with only [`writer_process`] and told by the environment where the database is.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use weald_engine::{Database, DatabaseOptions};
use weald_proof::{Forest, Hash, Node};
use weald_tree::{Element, Query, Result, TreeKind, TreeStore, verify};

fn open(path: &Path) -> TreeStore {
    // Small enough for checkpoints to be under way whenever the end comes.
    let options = DatabaseOptions::new()
        .wal_segment_bytes(64 << 10)
        .checkpoint_wal_bytes(200_000)
        .checkpoint_interval(Duration::from_millis(20));
    let db = Database::open_with_options(path, options).expect("no lock of the dead is in the way");
    TreeStore::open(db).expect("what the dead left is a store")
}

fn key(n: u64) -> Vec<u8> {
    blake3::hash(&n.to_le_bytes()).as_bytes()[..12].to_vec()
}

/// What commit `n` sets and removes in the tree of sums.
fn edits(n: u64) -> BTreeMap<Vec<u8>, Option<Element>> {
    let sets = (0..20).map(|i| (key(n * 20 + i), Some(Element::SumItem((n * i) as i64))));
    let removes = n.checked_sub(3).map(|before| (key(before * 20 + n % 20), None));
    sets.chain(removes).collect()
}

/// Whether commit `n` drops a tree and begins it anew.
fn renews(n: u64) -> bool {
    n % 7 == 1
}

fn commit(store: &TreeStore, n: u64) -> Result<()> {
    let mut tx = store.begin()?;
    tx.create_tree(&[], b"sums", TreeKind::Sum)?;
    for (key, element) in edits(n) {
        match element {
            Some(element) => tx.put(&[b"sums"], &key, element)?,
            None => drop(tx.delete(&[b"sums"], &key)?),
        }
    }
    if renews(n) {
        tx.drop_tree(&[], b"renewed")?;
        tx.create_tree(&[], b"renewed", TreeKind::Count)?;
    }
    tx.put(&[b"renewed"], &key(n), Element::Item(key(n)))?;
    tx.put(&[], b"n", Element::SumItem(n as i64))?;
    tx.commit()?;
    Ok(())
}

/// The root hash after so many commits, made anew in memory.
fn root_after(commits: u64) -> Hash {
    let (mut forest, root) = (Forest::new(), Node::root(None));
    let mut set = |path: &[&[u8]], edits| forest.apply(path, edits).expect("sums are small");
    for n in 1..=commits {
        if n == 1 {
            set(
                &[],
                BTreeMap::from([(b"sums".to_vec(), Some(Element::SumTree { root, sum: 0 }))]),
            );
        }
        set(&[b"sums"], edits(n));
        if renews(n) {
            set(&[], BTreeMap::from([(b"renewed".to_vec(), None)]));
            let empty = Element::CountTree { root, count: 0 };
            set(&[], BTreeMap::from([(b"renewed".to_vec(), Some(empty))]));
        }
        set(
            &[b"renewed"],
            BTreeMap::from([(key(n), Some(Element::Item(key(n))))]),
        );
        set(
            &[],
            BTreeMap::from([(b"n".to_vec(), Some(Element::SumItem(n as i64)))]),
        );
    }
    forest.root()
}

/// How many commits the store has, if its root hash is that of just these and proves all that is in it.
fn commits(store: &TreeStore) -> u64 {
    let snapshot = store.snapshot().expect("a store");
    let n = match snapshot.get(&[], b"n").expect("it can be read") {
        Some(Element::SumItem(n)) => n as u64,
        found => {
            assert_eq!(found, None);
            0
        }
    };
    let root = snapshot.root().expect("it can be read");
    assert_eq!(root, root_after(n), "after {n} commits");
    let all = Query::all().below(Query::all());
    let proof = snapshot.prove(&all).expect("it can be proven");
    let answer = verify(&proof, &root, &all).expect("it proves it");
    assert_eq!(answer, snapshot.query(&all).expect("it can be read"));
    n
}

/// No test of its own: what the other process does.
#[test]
fn writer_process() {
    let Some(path) = std::env::var_os("WEALD_TREE_WRITER") else {
        return;
    };
    let store = open(Path::new(&path));
    for n in commits(&store) + 1.. {
        commit(&store, n).expect("nobody else writes");
        println!("\ndone {n}");
        std::io::stdout()
            .flush()
            .expect("whoever kills listens until then");
    }
}

fn start(path: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "writer_process", "--nocapture", "--test-threads=1"])
        .env("WEALD_TREE_WRITER", path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("this binary runs")
}

#[test]
fn what_a_killed_writer_leaves_has_its_root_hash_and_all_that_was_acknowledged() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("trees.weald");
    let mut before = 0;
    for round in 0..6 {
        let mut writer = start(&path);
        let lines = BufReader::new(writer.stdout.take().expect("it is piped")).lines();
        let done = lines
            .map_while(std::result::Result::ok)
            .filter_map(|line| line.strip_prefix("done ")?.parse::<u64>().ok());
        let mut acknowledged = before;
        for n in done {
            // The first to come is the next one, and the last are read after the end.
            assert_eq!(n, acknowledged + 1);
            acknowledged = n;
            if n == before + 5 + 13 * round {
                std::thread::sleep(Duration::from_micros(300 * round));
                writer.kill().expect("it runs");
            }
        }
        let status = writer.wait().expect("it was started");
        assert!(acknowledged >= before + 5, "it ended by itself: {status}");
        let store = open(&path);
        let found = commits(&store);
        assert!(
            (acknowledged..=acknowledged + 1).contains(&found),
            "{found} commits, but {acknowledged} were acknowledged"
        );
        before = found;
    }
}
