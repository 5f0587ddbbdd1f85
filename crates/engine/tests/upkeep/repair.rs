//! A repair saves what can be read, and says what can't.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use weald_engine::{
    Database, DatabaseOptions, Error, PageSize, Readable, RepairReport, SyncPolicy, Writable,
};
use weald_vfs::OpenMode;

use super::support::*;

fn repair(setup: &Setup) -> Result<RepairReport, Error> {
    let _ = setup.vfs.remove(&setup.path("repaired"));
    Database::repair(setup.path("db"), setup.path("repaired"), setup.options.clone())
}

fn read(setup: &Setup, at: u64, len: usize) -> Vec<u8> {
    let file = setup.vfs.open(&setup.path("db"), OpenMode::Read).unwrap();
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, at).unwrap();
    bytes
}

fn write(setup: &Setup, at: u64, bytes: &[u8]) {
    let file = setup.vfs.open(&setup.path("db"), OpenMode::Write).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

fn len(setup: &Setup) -> u64 {
    setup
        .vfs
        .open(&setup.path("db"), OpenMode::Read)
        .unwrap()
        .len()
        .unwrap()
}

#[test]
fn of_a_sound_database_nothing_is_lost() {
    for setup in setups() {
        let db = setup.open("db");
        for round in 0..3 {
            fill(&db, 300, round);
        }
        let before = contents(&db);
        db.close().unwrap();
        let report = repair(&setup).unwrap();
        assert!(report.is_complete() && !report.may_hold_old, "{report:?}");
        assert_eq!((report.stray_keys, report.unnamed_buckets), (0, 0));
        assert!(contents(&setup.open("repaired")) == before, "{}", setup.name);
        assert_sound_file(&setup.path("repaired"), &setup.options, &setup.name);
        assert!(contents(&setup.open("db")) == before, "{}", setup.name);
    }
}

#[test]
fn the_log_is_replayed_as_far_as_it_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let db = Database::open(&path).unwrap();
    fill(&db, 300, 0);
    db.checkpoint().unwrap();
    fill(&db, 300, 1);
    for n in 0..50u8 {
        let mut tx = db.write().unwrap();
        tx.put(&[n], &[n; 900]).unwrap();
        tx.commit_with(SyncPolicy::Immediate).unwrap();
    }
    let mut tx = db.write().unwrap();
    tx.delete_bucket(b"bucket 0").unwrap();
    tx.commit().unwrap();
    let before = contents(&db);
    let copy = tempfile::tempdir().unwrap();
    let copied = copy.path().join("db");
    std::fs::copy(&path, &copied).unwrap();
    std::fs::create_dir(copy.path().join("db-wal")).unwrap();
    let mut log = PathBuf::new();
    for entry in std::fs::read_dir(dir.path().join("db-wal")).unwrap() {
        let entry = entry.unwrap();
        let file = copy.path().join("db-wal").join(entry.file_name());
        std::fs::copy(entry.path(), &file).unwrap();
        if position(&file).is_some() {
            log = file;
        }
    }
    let repaired = copy.path().join("repaired");
    let report = Database::repair(&copied, &repaired, DatabaseOptions::new()).unwrap();
    assert!(report.is_complete() && report.log_commits == 52, "{report:?}");
    assert!(contents(&Database::open(&repaired).unwrap()) == before);

    // Half of the log is garbage: the commits before are there.
    let bytes = std::fs::read(&log).unwrap();
    let at = position(&log).unwrap();
    let mut bad = bytes.clone();
    bad[at] ^= 1;
    std::fs::write(&log, bad).unwrap();
    std::fs::remove_file(&repaired).unwrap();
    let report = Database::repair(&copied, &repaired, DatabaseOptions::new()).unwrap();
    assert!(!report.is_complete() && report.log_commits == 26, "{report:?}");
    let repaired = Database::open(&repaired).unwrap();
    assert!(repaired.get(&[24]).unwrap().is_some());
    assert!(repaired.get(&[25]).unwrap().is_none());
    assert_sound(&repaired, "with half of the log");
}

/// Where the log has the commit that the test damages.
fn position(log: &Path) -> Option<usize> {
    let bytes = std::fs::read(log).unwrap();
    bytes.windows(100).position(|w| w == [25; 100])
}

#[test]
fn each_page_that_is_lost_takes_only_its_own_with_it() {
    for size in [PageSize::Size4K, PageSize::Size16K] {
        let mut setup = memory(false);
        setup.options = setup.options.page_size(size);
        let db = setup.open("db");
        fill(&db, 300, 0);
        let mut tx = db.write().unwrap();
        for n in 0..3000u32 {
            tx.put(
                &[&b"plain"[..], &n.to_be_bytes()].concat(),
                &noise(u64::from(n), 40),
            )
            .unwrap();
        }
        tx.commit().unwrap();
        let before = contents(&db);
        db.close().unwrap();
        let page = size.bytes() as u64;
        let mut whole = 0;
        for id in 2..len(&setup) / page {
            let good = read(&setup, id * page, size.bytes());
            write(&setup, id * page, &vec![0x55; size.bytes()]);
            let report = repair(&setup).unwrap();
            let after = contents(&setup.open("repaired"));
            assert_sound_file(&setup.path("repaired"), &setup.options, "repaired");
            let mut kept = 0;
            for (key, value) in &after.keys {
                assert!(before.keys.get(key) == Some(value), "page {id}: {report:?}");
                kept += 1;
            }
            assert!(!report.may_hold_old || !report.is_complete());
            if after == before {
                whole += 1;
            } else {
                assert!(!report.is_complete(), "page {id}");
                assert!(
                    kept + 1000 > before.keys.len(),
                    "page {id}: {kept} of {}, {report:?}",
                    before.keys.len()
                );
            }
            write(&setup, id * page, &good);
        }
        // Inner pages and free ones: what they led to is found.
        assert!(whole > 0);
    }
}

#[test]
fn without_meta_pages_the_keys_are_found() {
    let setup = memory(false);
    let db = setup.open("db");
    fill(&db, 500, 0);
    let before = contents(&db);
    db.close().unwrap();
    write(&setup, 0, &[0; 8192]);
    assert!(matches!(
        Database::open_with_options(setup.path("db"), setup.options.clone()),
        Err(Error::NotADatabase { .. } | Error::Corrupt(_))
    ));
    let report = repair(&setup).unwrap();
    assert!(!report.is_complete() && report.may_hold_old);
    let repaired = setup.open("repaired");
    let tx = repaired.read().unwrap();
    let found = tx.bucket(b"lost+found").unwrap();
    for (key, (value, _)) in &before.keys {
        assert!(found.get(key).unwrap().as_ref() == Some(value));
    }
    assert_sound(&repaired, "without meta pages");
}

#[test]
fn any_byte_may_be_wrong() {
    let setup = memory(false);
    let db = setup.open("db");
    fill(&db, 30, 0);
    let before = contents(&db);
    db.close().unwrap();
    for at in (0..len(&setup)).filter(|at| at % 4096 < 40 || at % 1009 == 0) {
        let good = read(&setup, at, 1);
        write(&setup, at, &[good[0] ^ (1 << (at % 8))]);
        let report = repair(&setup).unwrap();
        let after = contents(&setup.open("repaired"));
        for (key, value) in &after.keys {
            assert!(before.keys.get(key) == Some(value), "at {at}: {report:?}");
        }
        assert!(!report.is_complete() || after == before, "at {at}");
        write(&setup, at, &good);
    }
}

#[test]
fn what_is_no_database_is_refused_and_nothing_is_overwritten() {
    let setup = memory(false);
    write_new(&setup, "db", &noise(3, 50_000));
    assert!(matches!(repair(&setup), Err(Error::NotADatabase { .. })));
    assert!(!setup.vfs.exists(&setup.path("repaired")).unwrap());
    setup.vfs.remove(&setup.path("db")).unwrap();
    assert!(matches!(repair(&setup), Err(Error::Io(_))));
    let db = setup.open("db");
    fill(&db, 100, 0);
    let refused = repair(&setup);
    assert!(
        matches!(refused, Err(Error::Locked { pid: Some(pid) }) if pid == std::process::id()),
        "{refused:?}"
    );
    drop(db);
    drop(setup.open("taken"));
    let taken = Database::repair(setup.path("db"), setup.path("taken"), setup.options.clone());
    assert!(matches!(taken, Err(Error::Exists { .. })));
    let cancelled = Database::repair_with(setup.path("db"), setup.path("new"), setup.options.clone(), |_| {
        ControlFlow::Break(())
    });
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    assert!(!setup.vfs.exists(&setup.path("new")).unwrap());
}

fn write_new(setup: &Setup, name: &str, bytes: &[u8]) {
    let file = setup.vfs.open(&setup.path(name), OpenMode::CreateNew).unwrap();
    file.write_all_at(bytes, 0).unwrap();
}
