//! Power cuts while a replica is filled: what was acknowledged is not fetched again, and the end is the same.

mod chance;

use std::sync::Arc;

use chance::Chance;
use weald_engine::{Database, DatabaseOptions};
use weald_tree::{Applied, ChunkId, Element, Error, Result, TreeKind, TreeSnapshot, TreeStore, TreeSync};
use weald_vfs::{SimDisk, SimOptions};

fn source() -> TreeStore {
    let store = TreeStore::open(Database::in_memory().unwrap()).unwrap();
    let mut chance = Chance::new(1);
    let mut tx = store.begin().unwrap();
    tx.create_tree(&[], b"sums", TreeKind::Sum).unwrap();
    for n in 0..60i64 {
        let key = [&chance.key()[..], &n.to_be_bytes()].concat();
        tx.put(&[], &key, Element::Item(vec![n as u8; 20])).unwrap();
        tx.put(&[b"sums"], &key, Element::SumItem(n)).unwrap();
    }
    tx.commit().unwrap();
    store
}

fn open(disk: &SimDisk) -> Result<TreeStore> {
    let options = DatabaseOptions::new()
        .vfs(Arc::new(disk.clone()))
        .background(false)
        .wal_segment_bytes(1 << 16)
        .mmap(false);
    TreeStore::open(Database::open_with_options("replica.weald", options).map_err(Error::from)?)
}

/// Fetches until the power goes, the subtree with the entry that holds it or apart. How many entries were acknowledged is counted, those of earlier
/// runs included.
fn fetch(disk: &SimDisk, source: &TreeSnapshot<'_>, within: bool, acknowledged: &mut u64) -> Result<()> {
    let replica = open(disk)?;
    let sync = TreeSync::begin(&replica, source.root()?)?;
    while let Some(id) = sync.wanted(1)?.pop() {
        let chunk = source.chunk(&ChunkId {
            limit: 7,
            within,
            ..id
        })?;
        match sync.apply(&chunk)? {
            Applied::New { entries } => *acknowledged += entries,
            Applied::NotWanted => panic!("what is wanted is taken"),
        }
    }
    sync.finish()?;
    assert_eq!(replica.root()?, source.root()?);
    assert_eq!(replica.snapshot()?.diff(source)?, []);
    Ok(())
}

#[test]
fn a_sync_goes_on_after_a_power_cut_at_any_operation() {
    cut_the_power(false, 7, 10);
}

#[test]
fn a_sync_whose_subtree_comes_along_goes_on_after_a_power_cut() {
    cut_the_power(true, 67, 3);
}

/// A commit has at most so many entries, and more than so many cuts leave something to go on with.
fn cut_the_power(within: bool, entries_max: u64, went_on_min: u64) {
    let source = source();
    let source = source.snapshot().unwrap();
    let whole = SimDisk::new(0, SimOptions::default());
    let mut entries = 0;
    fetch(&whole, &source, within, &mut entries).unwrap();
    assert_eq!(entries, 121);
    let operations = whole.operations();
    let mut went_on = 0;
    for case in 0..40u64 {
        println!("case {case}");
        let disk = SimDisk::new(case, SimOptions::default());
        disk.crash_after(operations * case / 40);
        let mut acknowledged = 0;
        let ended = fetch(&disk, &source, within, &mut acknowledged);
        assert!(
            matches!(&ended, Err(Error::Engine(_))) || ended.is_ok(),
            "{ended:?}"
        );
        let (found, before) = (disk.after_crash(case), acknowledged);
        if before == entries {
            // It may have been finished, which leaves nothing to go on with.
            match fetch(&found, &source, within, &mut acknowledged) {
                Err(Error::NotEmpty) => {
                    assert_eq!(open(&found).unwrap().root().unwrap(), source.root().unwrap())
                }
                other => other.unwrap(),
            }
            continue;
        }
        fetch(&found, &source, within, &mut acknowledged).unwrap();
        // A commit that was not acknowledged may have been made.
        assert!(
            acknowledged <= entries && acknowledged + entries_max >= entries,
            "{acknowledged} of {entries}"
        );
        went_on += u64::from(before > 0);
    }
    assert!(
        went_on > went_on_min,
        "the power went too early or too late to show anything"
    );
}
