//! A dump that is loaded gives what was dumped; one that is not whole gives nothing.

use std::ops::ControlFlow;
use std::time::Duration;

use weald_engine::{Database, Error, LoadOptions, Readable, Writable};

use super::support::*;

fn dump(db: &Database) -> Vec<u8> {
    let mut dump = Vec::new();
    db.dump(&mut dump).unwrap();
    dump
}

#[test]
fn what_was_dumped_is_loaded() {
    for setup in setups() {
        let db = setup.open("db");
        for round in 0..3 {
            fill(&db, 500, round);
        }
        let dump = dump(&db);
        for (i, options) in [LoadOptions::new(), LoadOptions::new().batch_bytes(10_000)]
            .into_iter()
            .enumerate()
        {
            let other = setup.open(&format!("other {i}"));
            let info = other.load(&mut &dump[..], options).unwrap();
            assert!(info.keys > 500 && info.buckets == 9, "{info:?}");
            assert!(contents(&other) == contents(&db), "{}", setup.name);
            assert_sound(&other, &setup.name);
        }
    }
}

#[test]
fn names_values_and_depth_are_free() {
    let db = Database::in_memory().unwrap();
    let mut tx = db.write().unwrap();
    let mut bucket = tx.create_bucket(&[0]).unwrap();
    for depth in 0..300u32 {
        bucket.put(&[0; 40], &depth.to_le_bytes()).unwrap();
        bucket.create_bucket(&[0, 0]).unwrap();
        bucket.create_bucket(&[255; 255]).unwrap();
        bucket.create_bucket(&[0]).unwrap();
        bucket = bucket.into_bucket_mut(&[0]).unwrap();
    }
    tx.commit().unwrap();
    let other = Database::in_memory().unwrap();
    let info = other.load(&mut &dump(&db)[..], LoadOptions::new()).unwrap();
    assert_eq!(info.buckets, 901);
    assert!(dump(&other) == dump(&db));
}

#[test]
fn an_existing_database_keeps_what_the_dump_does_not_name() {
    let db = Database::in_memory().unwrap();
    let mut tx = db.write().unwrap();
    tx.put(b"both", b"dumped").unwrap();
    tx.put_with_ttl(b"gone", b"", Duration::from_millis(1)).unwrap();
    tx.create_bucket(b"b").unwrap().next_sequence().unwrap();
    tx.commit().unwrap();
    std::thread::sleep(Duration::from_millis(5));
    let dump = dump(&db);
    let other = Database::in_memory().unwrap();
    let mut tx = other.write().unwrap();
    tx.put(b"both", b"before").unwrap();
    tx.put(b"kept", b"before").unwrap();
    let mut b = tx.create_bucket(b"b").unwrap();
    b.put(b"x", b"y").unwrap();
    for _ in 0..5 {
        b.next_sequence().unwrap();
    }
    tx.commit().unwrap();
    other.load(&mut &dump[..], LoadOptions::new()).unwrap();
    let tx = other.read().unwrap();
    assert_eq!(tx.get(b"both").unwrap().unwrap(), b"dumped");
    assert_eq!(tx.get(b"kept").unwrap().unwrap(), b"before");
    assert_eq!(tx.get(b"gone").unwrap(), None);
    assert_eq!(tx.bucket(b"b").unwrap().sequence().unwrap(), 5);
    assert_eq!(tx.bucket(b"b").unwrap().get(b"x").unwrap().unwrap(), b"y");
}

#[test]
fn a_dump_that_is_cut_or_damaged_anywhere_changes_nothing() {
    let db = Database::in_memory().unwrap();
    fill(&db, 20, 0);
    let dump = dump(&db);
    let other = Database::in_memory().unwrap();
    let refused = |bytes: &[u8], what: usize| {
        let result = other.load(&mut &bytes[..], LoadOptions::new());
        assert!(
            matches!(result, Err(Error::BadStream { .. })),
            "{what}: {result:?}"
        );
    };
    let places = || (0..dump.len()).filter(|at| *at < 600 || at % 97 == 0 || *at + 100 > dump.len());
    for at in places() {
        refused(&dump[..at], at);
        let mut bad = dump.clone();
        bad[at] ^= 1 << (at % 8);
        refused(&bad, at);
    }
    assert!(contents(&other) == Contents::default());
    assert_sound(&other, "after all that was refused");
    other.load(&mut &dump[..], LoadOptions::new()).unwrap();
    assert!(contents(&other) == contents(&db));
}

#[test]
fn a_cancelled_load_changes_nothing() {
    let db = Database::in_memory().unwrap();
    fill(&db, 20_000, 0);
    let other = Database::in_memory().unwrap();
    let mut calls = 0;
    let result = other.load_with(&mut &dump(&db)[..], LoadOptions::new(), |_| {
        calls += 1;
        if calls == 2 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    assert!(contents(&other) == Contents::default());
    let cancelled = db.dump_with(&mut Vec::new(), |_| ControlFlow::Break(()));
    assert!(matches!(cancelled, Err(Error::Cancelled)));
}

#[test]
fn a_failing_writer_is_an_error() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let db = Database::in_memory().unwrap();
    fill(&db, 20, 0);
    assert!(matches!(db.dump(&mut Full), Err(Error::DiskFull { .. })));
    assert!(matches!(db.backup(&mut Full), Err(Error::DiskFull { .. })));
    assert_sound(&db, "afterwards");
}
