//! Large values that are in the log and in memory, and not yet in the file.

use std::io::Read;
use std::sync::Arc;

use weald_engine::{Database, DatabaseOptions, Error, Readable, Writable};
use weald_vfs::{Call, Fault, FaultKind, SimDisk, SimOptions};

const PATH: &str = "/db.weald";

fn open(disk: &SimDisk) -> Database {
    let options = DatabaseOptions::new()
        .background(false)
        .vfs(Arc::new(disk.clone()));
    Database::open_with_options(PATH, options).unwrap()
}

fn value(n: u8, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 ^ n).collect()
}

fn put(db: &Database, key: &[u8], value: &[u8]) -> Result<(), Error> {
    let mut tx = db.write()?;
    tx.put(key, value)?;
    tx.commit().map(drop)
}

/// Reads in every way.
fn read(db: &Database, key: &[u8]) -> Option<Vec<u8>> {
    let tx = db.read().unwrap();
    let lent = tx.get_ref(key).unwrap().map(<[u8]>::to_vec);
    let streamed = tx.get_reader(key).unwrap().map(|mut reader| {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        bytes
    });
    assert!(lent == streamed);
    lent
}

/// A disk whose database file can't be flushed any more.
fn without_flushes() -> (SimDisk, Database) {
    let disk = SimDisk::new(1, SimOptions::default());
    // It is created under another name.
    open(&disk).close().unwrap();
    let db = open(&disk);
    put(&db, b"first", b"so that the file says that there is a log").unwrap();
    disk.inject(Fault::new(Call::Sync, FaultKind::Io).on(PATH).forever());
    (disk, db)
}

#[test]
fn a_commit_needs_no_flush_of_the_file() {
    let (disk, db) = without_flushes();
    for (n, len) in [5000, 100_000, 256 << 10].into_iter().enumerate() {
        put(&db, &[n as u8], &value(n as u8, len)).unwrap();
        assert!(read(&db, &[n as u8]).unwrap() == value(n as u8, len));
    }
    put(&db, &[0], &value(9, 7000)).unwrap();
    let found = open(&disk.after_crash_all_lost());
    for (n, byte, len) in [(0, 9, 7000), (1, 1, 100_000), (2, 2, 256 << 10)] {
        assert!(read(&found, &[n]).unwrap() == value(byte, len));
    }
    assert!(found.check().unwrap().is_sound());
}

#[test]
fn longer_values_are_in_the_file_before_the_log_has_them() {
    let (_, db) = without_flushes();
    assert!(put(&db, b"long", &value(1, (256 << 10) + 1)).is_err());
}

#[test]
fn values_can_be_read_after_the_flush_that_was_to_put_them_into_the_file_has_failed() {
    let (disk, db) = without_flushes();
    put(&db, b"key", &value(3, 50_000)).unwrap();
    assert!(db.checkpoint().is_err());
    assert!(matches!(put(&db, b"key", b"no"), Err(Error::Poisoned(_))));
    assert!(read(&db, b"key").unwrap() == value(3, 50_000));
    drop(db);
    let found = open(&disk.after_crash_all_lost());
    assert!(read(&found, b"key").unwrap() == value(3, 50_000));
}

#[test]
fn checkpoints_move_values_to_the_file_under_readers() {
    let disk = SimDisk::new(1, SimOptions::default());
    let db = open(&disk);
    put(&db, b"key", &value(1, 30_000)).unwrap();
    let before = db.read().unwrap();
    let lent = before.get_ref(b"key").unwrap().unwrap();
    db.checkpoint().unwrap();
    let in_file = read(&db, b"key").unwrap();
    put(&db, b"key", &value(2, 40_000)).unwrap();
    db.checkpoint().unwrap();
    db.checkpoint().unwrap();
    assert!(lent == value(1, 30_000) && in_file == lent);
    assert!(before.get_ref(b"key").unwrap().unwrap() == lent);
    assert!(read(&db, b"key").unwrap() == value(2, 40_000));
    assert_eq!(db.stats().dirty_bytes, 0);
    drop(before);
    let found = open(&disk.after_crash_all_lost());
    assert!(read(&found, b"key").unwrap() == value(2, 40_000));
}

#[test]
fn values_that_are_rolled_back_or_overwritten_leave_memory() {
    let disk = SimDisk::new(1, SimOptions::default());
    let db = open(&disk);
    put(&db, b"key", &value(1, 30_000)).unwrap();
    db.checkpoint().unwrap();
    let mut tx = db.write().unwrap();
    tx.put(b"key", &value(2, 30_000)).unwrap();
    let saved = tx.savepoint();
    tx.put(b"key", &value(3, 30_000)).unwrap();
    assert!(tx.get_ref(b"key").unwrap().unwrap() == value(3, 30_000));
    tx.rollback_to(&saved).unwrap();
    assert!(tx.get_ref(b"key").unwrap().unwrap() == value(2, 30_000));
    drop(tx);
    assert_eq!(db.stats().dirty_bytes, 0);
    assert!(read(&db, b"key").unwrap() == value(1, 30_000));
}
