//! Backups that are restored give the state that was backed up; what is not whole, or does not follow, is refused.

use std::io::Read;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use weald_engine::{
    BackupPoint, Database, DatabaseOptions, Error, Readable, RestoreInfo, RestoreOptions, Writable,
};

use super::support::*;

fn on(_: weald_engine::Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn backup(db: &Database, base: Option<&BackupPoint>) -> (Vec<u8>, BackupPoint) {
    let mut bytes = Vec::new();
    let info = db.backup_with(&mut bytes, base, on).unwrap();
    assert_eq!(info.bytes, bytes.len() as u64);
    (bytes, info.point)
}

fn restore(setup: &Setup, name: &str, backups: &[&[u8]]) -> Result<RestoreInfo, Error> {
    let mut readers: Vec<&[u8]> = backups.to_vec();
    let mut readers: Vec<&mut dyn Read> = readers.iter_mut().map(|r| r as &mut dyn Read).collect();
    Database::restore(
        &mut readers,
        setup.path(name),
        RestoreOptions::new().overwrite(true).vfs(setup.vfs()),
    )
}

#[test]
fn a_chain_of_backups_gives_each_state() {
    for setup in setups() {
        let db = setup.open("db");
        let (mut chain, mut point) = (Vec::new(), None);
        for round in 0..5 {
            fill(&db, 300, round);
            if round == 3 {
                let mut tx = db.write().unwrap();
                tx.delete_bucket(b"bucket 1").unwrap();
                tx.delete_range(&b"m"[..]..).unwrap();
                tx.commit().unwrap();
            }
            if round == 4 {
                db.compact().unwrap();
            }
            let (bytes, taken) = backup(&db, point.as_ref());
            point = Some(taken);
            chain.push(bytes);
            let backups: Vec<&[u8]> = chain.iter().map(|b| &b[..]).collect();
            restore(&setup, "restored", &backups).unwrap();
            assert_sound_file(&setup.path("restored"), &setup.options, &setup.name);
            let restored = setup.open("restored");
            assert!(
                contents(&restored) == contents(&db),
                "{} round {round}",
                setup.name
            );
            fill(&restored, 100, 8);
            assert_sound(&restored, &setup.name);
        }
    }
}

#[test]
fn an_incremental_backup_is_small() {
    let setup = memory(true);
    let db = setup.open("db");
    fill(&db, 20_000, 0);
    let (full, point) = backup(&db, None);
    db.put(b"one", b"more").unwrap();
    let (incremental, _) = backup(&db, Some(&point));
    assert!(
        incremental.len() * 20 < full.len(),
        "{} of {}",
        incremental.len(),
        full.len()
    );
    restore(&setup, "restored", &[&full, &incremental]).unwrap();
    assert!(setup.open("restored").get(b"one").unwrap().is_some());
}

#[test]
fn a_crash_between_two_backups_changes_nothing() {
    for wal in [true, false] {
        let setup = memory(wal);
        let db = setup.open("db");
        fill(&db, 500, 0);
        let (full, point) = backup(&db, None);
        fill(&db, 500, 1);
        // The process dies: another opens the file and the log as they are.
        std::mem::forget(db);
        let copy = copy_of(&setup);
        let db = copy.open("db");
        fill(&db, 500, 2);
        let (incremental, _) = backup(&db, Some(&point));
        restore(&copy, "restored", &[&full, &incremental]).unwrap();
        assert!(contents(&copy.open("restored")) == contents(&db), "wal {wal}");
    }
}

/// The same files on another file system, where nobody holds a lock.
fn copy_of(setup: &Setup) -> Setup {
    let copy = memory(true);
    for dir in ["/", "/db-wal"] {
        let dir = std::path::Path::new(dir);
        if !setup.vfs.exists(dir).unwrap() {
            continue;
        }
        copy.vfs.create_dir(dir).unwrap();
        for path in setup.vfs.list(dir).unwrap() {
            let from = setup.vfs.open(&path, weald_vfs::OpenMode::Read).unwrap();
            let mut bytes = vec![0; from.len().unwrap() as usize];
            from.read_exact_at(&mut bytes, 0).unwrap();
            let to = copy.vfs.open(&path, weald_vfs::OpenMode::Create).unwrap();
            to.write_all_at(&bytes, 0).unwrap();
        }
    }
    copy
}

#[test]
fn a_large_value_of_a_transaction_that_was_open_is_in_the_next_backup() {
    let setup = memory(true);
    let db = setup.open("db");
    fill(&db, 100, 0);
    let mut tx = db.optimistic().unwrap();
    tx.put(b"early", &noise(1, 30_000)).unwrap();
    for n in 0..20u8 {
        db.put(&[n], b"in between").unwrap();
    }
    let (full, point) = backup(&db, None);
    tx.commit().unwrap();
    let (incremental, _) = backup(&db, Some(&point));
    restore(&setup, "restored", &[&full, &incremental]).unwrap();
    assert!(setup.open("restored").get(b"early").unwrap() == Some(noise(1, 30_000)));
}

#[test]
fn gaps_and_strangers_are_refused() {
    let setup = memory(true);
    let db = setup.open("db");
    fill(&db, 100, 0);
    let (full, first) = backup(&db, None);
    fill(&db, 100, 1);
    let (second, second_point) = backup(&db, Some(&first));
    fill(&db, 100, 2);
    let (third, _) = backup(&db, Some(&second_point));
    let stranger = Database::in_memory().unwrap();
    fill(&stranger, 100, 0);
    let (strange, _) = backup(&stranger, None);
    let wrong: [&[&[u8]]; 7] = [
        &[],
        &[&second],
        &[&full, &third],
        &[&full, &second, &second],
        &[&full, &full],
        &[&strange, &second],
        &[&full, &second[..second.len() - 1]],
    ];
    for (i, chain) in wrong.into_iter().enumerate() {
        let result = restore(&setup, "restored", chain);
        assert!(matches!(result, Err(Error::BadStream { .. })), "{i}: {result:?}");
        assert!(!setup.vfs.exists(&setup.path("restored")).unwrap());
        assert!(!setup.vfs.exists(&setup.path("restored-part")).unwrap());
    }
    restore(&setup, "restored", &[&full, &second, &third]).unwrap();
    let refused = stranger.backup_with(&mut Vec::new(), Some(&first), on);
    assert!(matches!(refused, Err(Error::BadStream { .. })));
}

#[test]
fn every_damaged_byte_of_a_backup_is_refused() {
    let setup = memory(true);
    let db = setup.open("db");
    fill(&db, 20, 0);
    let (full, _) = backup(&db, None);
    for at in (0..full.len()).filter(|at| *at < 700 || at % 211 == 0 || *at + 40 > full.len()) {
        let mut bad = full.clone();
        bad[at] ^= 1 << (at % 8);
        let result = restore(&setup, "restored", &[&bad]);
        assert!(matches!(result, Err(Error::BadStream { .. })), "{at}: {result:?}");
        let result = restore(&setup, "restored", &[&full[..at]]);
        assert!(matches!(result, Err(Error::BadStream { .. })), "{at}: {result:?}");
    }
}

#[test]
fn nothing_is_overwritten_unasked() {
    let setup = memory(true);
    let db = setup.open("db");
    fill(&db, 100, 0);
    let before = contents(&db);
    let (full, _) = backup(&db, None);
    let into = |name: &str, overwrite| {
        Database::restore(
            &mut [&mut &full[..]],
            setup.path(name),
            RestoreOptions::new().overwrite(overwrite).vfs(setup.vfs()),
        )
    };
    let refused = into("db", true);
    assert!(
        matches!(refused, Err(Error::Locked { pid: Some(pid) }) if pid == std::process::id()),
        "{refused:?}"
    );
    let other = setup.open("other");
    other.put(b"of", b"the other").unwrap();
    drop(other);
    assert!(matches!(into("other", false), Err(Error::Exists { .. })));
    assert_eq!(setup.open("other").get(b"of").unwrap().unwrap(), b"the other");
    into("other", true).unwrap();
    assert!(contents(&setup.open("other")) == before);

    db.backup_to(setup.path("file"), None, on).unwrap();
    assert!(matches!(
        db.backup_to(setup.path("file"), None, on),
        Err(Error::Exists { .. })
    ));
    let cancelled = db.backup_to(setup.path("another"), None, |_| ControlFlow::Break(()));
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    for absent in ["another", "another-part", "other-part"] {
        assert!(!setup.vfs.exists(&setup.path(absent)).unwrap(), "{absent}");
    }
}

#[test]
fn writers_go_on_while_it_is_backed_up() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open_with_options(dir.path().join("db"), DatabaseOptions::low_memory()).unwrap();
    fill(&db, 5000, 0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for t in 0..2u64 {
            let (db, stop) = (&db, &stop);
            scope.spawn(move || {
                // Each transaction keeps both halves the same.
                let mut n = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    let value = noise(n, (n % 3000) as usize);
                    let mut tx = db.write().unwrap();
                    for half in [b"a", b"b"] {
                        tx.put(&[half, &[t as u8][..], &(n % 500).to_be_bytes()].concat(), &value)
                            .unwrap();
                    }
                    tx.commit().unwrap();
                }
            });
        }
        let (mut chain, mut point) = (Vec::new(), None);
        for _ in 0..6 {
            let (bytes, taken) = backup(&db, point.as_ref());
            point = Some(taken);
            chain.push(bytes);
            let mut readers: Vec<&[u8]> = chain.iter().map(|b| &b[..]).collect();
            let mut readers: Vec<&mut dyn Read> = readers.iter_mut().map(|r| r as &mut dyn Read).collect();
            let path = dir.path().join("restored");
            Database::restore(&mut readers, &path, RestoreOptions::new().overwrite(true)).unwrap();
            let restored = Database::open(&path).unwrap();
            let tx = restored.read().unwrap();
            for t in 0..2u8 {
                let half = |half: &[u8]| -> Vec<(Vec<u8>, Vec<u8>)> {
                    let pairs = tx.root().prefix(&[half, &[t]].concat()).map(|pair| pair.unwrap());
                    pairs
                        .filter(|(k, _)| k.len() == 10)
                        .map(|(k, v)| (k[1..].to_vec(), v.to_vec()))
                        .collect()
                };
                assert!(half(b"a") == half(b"b"));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}
