//! Power cuts at any operation: what is found is a committed state, with the root hash that belongs to it.

mod chance;

use std::sync::Arc;

use chance::Chance;
use weald_engine::{Database, DatabaseOptions, Error as EngineError};
use weald_proof::{Forest, Hash};
use weald_tree::{Element, Error, Query, Result, TreeKind, TreeStore, verify};
use weald_vfs::{SimDisk, SimOptions};

fn open(disk: &SimDisk) -> Result<TreeStore> {
    let options = DatabaseOptions::new()
        .vfs(Arc::new(disk.clone()))
        .background(false)
        .wal_segment_bytes(1 << 16)
        .mmap(false);
    TreeStore::open(Database::open_with_options("trees.weald", options).map_err(Error::from)?)
}

/// Commits until the power goes; the roots of the model after each, and how many were acknowledged.
fn play(disk: &SimDisk, seed: u64, roots: &mut Vec<Hash>, acknowledged: &mut usize) -> Result<()> {
    let store = open(disk)?;
    let mut chance = Chance::new(seed);
    let mut forest = Forest::new();
    roots.push(forest.root());
    for round in 0..30 {
        let mut tx = store.begin()?;
        if round == 0 {
            tx.create_tree(&[], b"t", TreeKind::Sum)?;
            let empty = weald_proof::Node::root(None);
            let held = Element::SumTree { root: empty, sum: 0 };
            forest.put(&[], b"t", held).expect("the outermost tree is there");
        }
        for _ in 0..1 + chance.below(30) {
            let (mut key, n) = (chance.key(), chance.below(1000) as i64);
            key.push(chance.below(200) as u8);
            tx.put(&[b"t"], &key, Element::SumItem(n))?;
            forest
                .put(&[b"t"], &key, Element::SumItem(n))
                .expect("the tree is there");
        }
        roots.push(forest.root());
        tx.commit()?;
        *acknowledged = roots.len() - 1;
        if chance.below(6) == 0 {
            store.database().checkpoint().map_err(Error::from)?;
        }
    }
    Ok(())
}

#[test]
fn after_a_power_cut_root_and_contents_belong_to_one_commit_and_no_acknowledged_one_is_lost() {
    let whole = SimDisk::new(0, SimOptions::default());
    play(&whole, 3, &mut Vec::new(), &mut 0).unwrap();
    let operations = whole.operations();
    let mut seen = 0;
    for case in 0..60u64 {
        println!("case {case}");
        let disk = SimDisk::new(case, SimOptions::default());
        disk.crash_after(operations * case / 60);
        let (mut roots, mut acknowledged) = (Vec::new(), 0);
        let ended = play(&disk, 3, &mut roots, &mut acknowledged);
        // The last cuts come while the database is closed.
        assert!(
            matches!(&ended, Err(Error::Engine(_))) || ended.is_ok() && acknowledged == 30,
            "{ended:?}"
        );
        assert!(!matches!(&ended, Err(Error::Engine(EngineError::Corrupt(_)))));
        let found = disk.after_crash(case);
        let store = open(&found).unwrap();
        let snapshot = store.snapshot().unwrap();
        let root = snapshot.root().unwrap();
        let index = roots.iter().position(|known| *known == root);
        match index {
            Some(index) => assert!(index >= acknowledged, "commit {acknowledged} is lost"),
            // The crash came before the first state was noted.
            None => assert!(roots.is_empty() && root == Forest::new().root()),
        }
        let query = Query::all().below(Query::all());
        let proof = snapshot.prove(&query).unwrap();
        assert_eq!(
            verify(&proof, &root, &query).unwrap(),
            snapshot.query(&query).unwrap()
        );
        seen = seen.max(acknowledged);
        drop(snapshot);
        // And it goes on.
        let mut tx = store.begin().unwrap();
        tx.put(&[], b"after", Element::Item(vec![])).unwrap();
        tx.commit().unwrap();
    }
    assert!(seen > 20, "the power went too early to show anything");
}
