//! Compaction gives space back and changes nothing else.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use weald_engine::{Database, DatabaseOptions, Error, PageSize, Readable, Writable};

use super::support::*;

#[test]
fn a_copy_holds_the_same() {
    for setup in setups() {
        let db = setup.open("db");
        for round in 0..3 {
            fill(&db, 500, round);
        }
        for size in [PageSize::Size4K, PageSize::Size64K] {
            let name = format!("copy {size}");
            let options = setup.options.clone().page_size(size);
            db.compact_to(setup.path(&name), options.clone()).unwrap();
            assert_sound_file(&setup.path(&name), &options, &setup.name);
            let copy = Database::open_with_options(setup.path(&name), options.clone()).unwrap();
            assert!(contents(&copy) == contents(&db), "{}", setup.name);
            fill(&copy, 100, 7);
            assert_sound(&copy, &setup.name);
            let again = db.compact_to(setup.path(&name), options);
            assert!(
                matches!(again, Err(Error::Exists { .. } | Error::Locked { .. })),
                "{again:?}"
            );
        }
    }
}

#[test]
fn a_cancelled_copy_leaves_nothing() {
    let setup = memory(true);
    let db = setup.open("db");
    fill(&db, 2000, 0);
    let result = db.compact_to_with(setup.path("copy"), setup.options.clone(), |_| {
        ControlFlow::Break(())
    });
    assert!(matches!(result, Err(Error::Cancelled)));
    let vfs = setup.vfs();
    let left: Vec<_> = vfs.list(&setup.dir).unwrap();
    assert!(
        left.iter()
            .all(|path| path.ends_with("copy-lock") || !path.to_string_lossy().contains("copy")),
        "{left:?}"
    );
}

#[test]
fn compaction_changes_nothing_but_the_file() {
    for setup in setups() {
        let db = setup.open("db");
        for round in 0..6 {
            fill(&db, 2000, round);
        }
        let mut tx = db.write().unwrap();
        for n in (0..2000).filter(|n| n % 3 != 0) {
            for round in 0..3 {
                tx.delete(&noise(n * 7 + round, 4 + (n % 20) as usize)).unwrap();
            }
        }
        tx.delete_bucket(b"bucket 0").unwrap();
        tx.commit().unwrap();
        let before = contents(&db);
        let info = db.compact().unwrap();
        assert!(info.bytes_after < info.bytes_before, "{}: {info:?}", setup.name);
        assert!(contents(&db) == before, "{}", setup.name);
        assert_sound(&db, &setup.name);
        let used = db.check().unwrap().pages * db.stats().page_size;
        assert!(
            info.bytes_after <= used + used / 8 + 32 * db.stats().page_size,
            "{}: {info:?} {used}",
            setup.name
        );
        db.close().unwrap();
        assert_sound_file(&setup.path("db"), &setup.options, &setup.name);
        let db = setup.open("db");
        assert!(contents(&db) == before, "{}", setup.name);
    }
}

#[test]
fn half_of_a_million_keys_removed_at_random() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let db = Database::open(&path).unwrap();
    let key = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    const KEYS: u64 = 1_000_000;
    let mut tx = db.write().unwrap();
    for n in 0..KEYS {
        tx.put(&key(n), &[n as u8; 100]).unwrap();
    }
    tx.commit().unwrap();
    let mut tx = db.write().unwrap();
    for n in (0..KEYS).filter(|n| n.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 63 == 0) {
        tx.discard(&key(n)).unwrap();
    }
    tx.commit().unwrap();
    let began = std::time::Instant::now();
    let info = db.compact().unwrap();
    let took = began.elapsed();
    let left = db.read().unwrap().len().unwrap();
    let live = left * 108;
    eprintln!(
        "{info:?} in {took:?}; {left} keys of {live} bytes, ratio {:.3}",
        info.bytes_after as f64 / live as f64
    );
    db.compact_to(dir.path().join("copy"), DatabaseOptions::new())
        .unwrap();
    let copy = std::fs::metadata(dir.path().join("copy")).unwrap().len();
    let file = std::fs::metadata(&path).unwrap().len();
    eprintln!("file {file}, copy {copy}");
    assert!(file as f64 <= 1.1 * copy as f64);
    assert_sound(&db, "afterwards");
}

#[test]
fn writers_and_readers_go_on_while_it_compacts() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open_with_options(dir.path().join("db"), DatabaseOptions::low_memory()).unwrap();
    for round in 0..4 {
        fill(&db, 5000, round);
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for t in 0..2u64 {
            let (db, stop) = (&db, &stop);
            scope.spawn(move || {
                let mut n = t;
                while !stop.load(Ordering::Relaxed) {
                    n += 2;
                    let mut tx = db.write().unwrap();
                    let key = [b"w", &n.to_be_bytes()[..]].concat();
                    tx.put(&key, &noise(n, (n % 5000) as usize)).unwrap();
                    tx.commit().unwrap();
                    if n > 104 {
                        let old = [b"w", &(n - 100).to_be_bytes()[..]].concat();
                        let value = db.get(&old).unwrap();
                        assert!(value == Some(noise(n - 100, ((n - 100) % 5000) as usize)));
                        db.delete(&old).unwrap();
                    }
                }
            });
        }
        for _ in 0..5 {
            db.compact().unwrap();
            let report = db.check().unwrap();
            if !report.is_sound() {
                stop.store(true, Ordering::Relaxed);
                panic!("{:#?}", report.problems);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_sound(&db, "afterwards");
}

#[test]
fn a_reader_sees_its_snapshot_through_a_compaction() {
    let db = Database::in_memory().unwrap();
    fill(&db, 3000, 0);
    let tx = db.read().unwrap();
    let before: Vec<_> = tx.iter().map(|pair| pair.unwrap()).collect();
    db.write().unwrap().commit().unwrap();
    let mut write = db.write().unwrap();
    write.delete_range(&b"a"[..]..).unwrap();
    write.commit().unwrap();
    db.compact().unwrap();
    let after: Vec<_> = tx.iter().map(|pair| pair.unwrap()).collect();
    assert!(before == after);
    assert_sound(&db, "with a reader");
}
