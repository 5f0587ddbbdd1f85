//! A sound database has no problems, whatever was done to it, and a damaged one has.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use weald_engine::{Database, DatabaseOptions, Error, Place, Readable, Writable};
use weald_vfs::OpenMode;

use super::support::*;

#[test]
fn a_sound_database_has_no_problems() {
    for setup in setups() {
        let db = setup.open("db");
        assert_sound(&db, "empty");
        for round in 0..6 {
            fill(&db, 300, round);
            assert_sound(&db, &setup.name);
            if round == 3 {
                let mut tx = db.write().unwrap();
                tx.delete_bucket(b"bucket 0").unwrap();
                tx.delete(b"large").unwrap();
                tx.commit().unwrap();
                db.checkpoint().unwrap();
                assert_sound(&db, &setup.name);
            }
        }
        let report = db.check().unwrap();
        assert!(report.large_values >= 2 && report.buckets >= 10, "{report:?}");
        db.close().unwrap();
        assert_sound_file(&setup.path("db"), &setup.options, &setup.name);
        let db = setup.open("db");
        fill(&db, 300, 9);
        assert_sound(&db, &setup.name);
    }
}

#[test]
fn pages_of_a_large_transaction_are_not_free_after_it() {
    for wal in [true, false] {
        let setup = memory(wal);
        let options = DatabaseOptions::low_memory().wal(wal).vfs(setup.vfs());
        let path = setup.path("db");
        let db = Database::open_with_options(&path, options.clone()).unwrap();
        let mut tx = db.write().unwrap();
        for n in 0..60_000u64 {
            tx.put(&n.to_be_bytes(), &noise(n, 100)).unwrap();
            if n % 1000 == 0 {
                tx.put(&(n | 1 << 40).to_be_bytes(), &noise(n, 10_000)).unwrap();
            }
        }
        tx.commit().unwrap();
        assert!(db.stats().spills > 0);
        assert_sound(&db, "after the commit");
        db.close().unwrap();
        assert_sound_file(&path, &options, "after closing");
    }
}

#[test]
fn writers_go_on_while_it_checks() {
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open_with_options(
        dir.path().join("db"),
        DatabaseOptions::low_memory()
            .wal_segment_bytes(64 << 10)
            .checkpoint_wal_bytes(256 << 10),
    )
    .unwrap();
    fill(&db, 1000, 0);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for t in 0..3u64 {
            let (db, stop) = (&db, &stop);
            scope.spawn(move || {
                let mut n = t;
                while !stop.load(Ordering::Relaxed) {
                    n += 3;
                    let mut tx = db.write().unwrap();
                    tx.put(&noise(n % 5000, 12), &noise(n, (n % 2000) as usize))
                        .unwrap();
                    tx.delete(&noise((n * 31) % 5000, 12)).unwrap();
                    tx.commit().unwrap();
                }
            });
        }
        for _ in 0..30 {
            let report = db.check();
            if !report.as_ref().is_ok_and(|r| r.is_sound()) {
                stop.store(true, Ordering::Relaxed);
                panic!("{report:#?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn an_open_transaction_is_no_problem() {
    let db = Database::in_memory().unwrap();
    fill(&db, 100, 0);
    let mut tx = db.write().unwrap();
    tx.put(b"large", &noise(5, 50_000)).unwrap();
    assert_sound(&db, "with a run that is nobody's yet");
    drop(tx);
    assert_sound(&db, "after the roll-back");
}

#[test]
fn every_damaged_byte_is_found_and_none_is_a_panic() {
    let setup = memory(false);
    let path = setup.path("db");
    let db = setup.open("db");
    fill(&db, 40, 1);
    db.close().unwrap();
    let vfs = setup.vfs();
    let file = vfs.open(&path, OpenMode::Write).unwrap();
    let len = file.len().unwrap();
    let report = Database::check_file(&path, setup.options.clone(), |_| ControlFlow::Continue(())).unwrap();
    assert!(report.is_sound());
    let mut missed = 0;
    // Every byte of the first pages, then every hundredth.
    for at in (0..len).filter(|at| at % 4096 < 64 || at % 101 == 0) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x20], at).unwrap();
        match Database::check_file(&path, setup.options.clone(), |_| ControlFlow::Continue(())) {
            Ok(report) => missed += u64::from(report.is_sound()),
            Err(Error::Corrupt(_) | Error::NotADatabase { .. } | Error::UnsupportedFormat { .. }) => {}
            Err(e) => panic!("at {at}: {e}"),
        }
        file.write_all_at(&byte, at).unwrap();
    }
    // What is not used of the meta pages, of the list of free pages, and all of the free ones may be anything.
    let tried = (0..len).filter(|at| at % 4096 < 64 || at % 101 == 0).count() as u64;
    assert!(missed * 2 < tried, "{missed} of {tried} missed");
}

#[test]
fn damage_is_named_with_its_place() {
    let setup = memory(true);
    let path = setup.path("db");
    let db = setup.open("db");
    fill(&db, 3000, 1);
    db.close().unwrap();
    let vfs = setup.vfs();
    let file = vfs.open(&path, OpenMode::Write).unwrap();
    let mut page = vec![0; 4096];
    let leaf = (2..file.len().unwrap() / 4096)
        .find(|id| {
            file.read_exact_at(&mut page, id * 4096).unwrap();
            let report = {
                file.write_all_at(&[page[3000] ^ 1], id * 4096 + 3000).unwrap();
                let report =
                    Database::check_file(&path, setup.options.clone(), |_| ControlFlow::Continue(()))
                        .unwrap();
                file.write_all_at(&page[3000..3001], id * 4096 + 3000).unwrap();
                report
            };
            let named = Place::Pages { first: *id, count: 1 };
            report.problems.len() == 1 && report.problems[0].place == named
        })
        .expect("a page whose damage is named");
    assert!(leaf >= 2);
}

#[test]
fn it_can_be_cancelled() {
    let db = Database::in_memory().unwrap();
    fill(&db, 2000, 0);
    let mut calls = 0;
    let result = db.check_with(|progress| {
        calls += 1;
        assert!(progress.done <= progress.total.unwrap() + 1000);
        if calls == 2 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert!(calls < 2 || matches!(result, Err(Error::Cancelled)));
    assert!(db.read().unwrap().get(b"").unwrap().is_some());
}
