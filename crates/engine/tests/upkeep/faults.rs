//! Calls that fail, and power that is cut, at every operation: whatever was to be made is there whole or not at all, and what was there stays.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use weald_engine::{Database, DatabaseOptions, Error, LoadOptions, RestoreOptions, Writable};
use weald_vfs::{Call, Fault, FaultKind, SimDisk, SimOptions, Vfs};

use super::support::*;

const DB: &str = "/db";
const TARGET: &str = "/target";

fn options(disk: &SimDisk, wal: bool) -> DatabaseOptions {
    let vfs: Arc<dyn Vfs> = Arc::new(disk.clone());
    DatabaseOptions::new()
        .wal(wal)
        .background(false)
        .wal_segment_bytes(64 << 10)
        .vfs(vfs)
}

/// A disk with a database of which a third is free.
fn disk(wal: bool) -> SimDisk {
    let disk = SimDisk::new(5, SimOptions::default());
    let db = Database::open_with_options(DB, options(&disk, wal)).unwrap();
    fill(&db, 200, 0);
    fill(&db, 200, 1);
    let mut tx = db.write().unwrap();
    tx.delete_bucket(b"bucket 0").unwrap();
    tx.delete(b"medium").unwrap();
    tx.commit().unwrap();
    db.close().unwrap();
    disk.after_crash_all_kept()
}

/// Something that makes [`TARGET`] from a database.
type Make = fn(&Database, &SimDisk, &DatabaseOptions) -> Result<(), Error>;

fn copy(db: &Database, _: &SimDisk, options: &DatabaseOptions) -> Result<(), Error> {
    db.compact_to(TARGET, options.clone()).map(drop)
}

fn restore(db: &Database, disk: &SimDisk, _: &DatabaseOptions) -> Result<(), Error> {
    let mut backup = Vec::new();
    db.backup(&mut backup)?;
    let options = RestoreOptions::new().vfs(Arc::new(disk.clone()));
    Database::restore(&mut [&mut &backup[..] as &mut dyn Read], TARGET, options).map(drop)
}

fn repair(_: &Database, _: &SimDisk, options: &DatabaseOptions) -> Result<(), Error> {
    Database::repair("/copy", TARGET, options.clone()).map(drop)
}

fn check_target(disk: &SimDisk, expected: &Contents, wal: bool) -> bool {
    if !disk.exists(Path::new(TARGET)).unwrap() {
        return false;
    }
    let options = options(disk, wal);
    assert_sound_file(Path::new(TARGET), &options, "the target");
    let target = Database::open_with_options(TARGET, options).unwrap();
    assert!(contents(&target) == *expected);
    true
}

#[test]
fn what_is_made_is_whole_or_absent_after_every_crash() {
    for (make, wal) in [
        (copy as Make, true),
        (copy, false),
        (restore, true),
        (repair, true),
    ] {
        let before = disk(wal);
        let (mut index, mut made) = (0, 0);
        loop {
            let disk = before.after_crash_all_kept();
            let db = Database::open_with_options(DB, options(&disk, wal)).unwrap();
            let expected = contents(&db);
            if make as usize == repair as Make as usize {
                db.compact_to("/copy", options(&disk, wal)).unwrap();
            }
            disk.crash_after(disk.operations() + index);
            let result = make(&db, &disk, &options(&disk, wal));
            std::mem::forget(db);
            for seed in 0..3 {
                made += u64::from(check_target(&disk.after_crash(seed), &expected, wal));
            }
            if result.is_ok() {
                assert!(
                    check_target(&disk.after_crash_all_lost(), &expected, wal),
                    "it was said to be there"
                );
                break;
            }
            index += 1;
        }
        assert!(index > 5 && made > 0, "{index} {made}");
    }
}

#[test]
fn a_call_that_fails_is_an_error_and_leaves_nothing() {
    for (make, wal) in [(copy as Make, true), (restore, false), (repair, true)] {
        for call in [
            Call::Write,
            Call::Sync,
            Call::Resize,
            Call::Name,
            Call::Open,
            Call::SyncDir,
        ] {
            for kind in [FaultKind::Io, FaultKind::NoSpace] {
                for skip in 0..40 {
                    let disk = disk(wal);
                    let db = Database::open_with_options(DB, options(&disk, wal)).unwrap();
                    let expected = contents(&db);
                    if make as usize == repair as Make as usize {
                        db.compact_to("/copy", options(&disk, wal)).unwrap();
                    }
                    disk.inject(Fault::new(call, kind).after(skip));
                    let result = make(&db, &disk, &options(&disk, wal));
                    disk.clear_faults();
                    let there = check_target(&disk, &expected, wal);
                    assert!(!disk.exists(Path::new("/target-part")).unwrap());
                    match result {
                        // The name is there, but not yet flushed: only then an error may leave it.
                        Err(e) => assert!(!there || call == Call::SyncDir, "{call:?} {skip}: {e}"),
                        Ok(()) => {
                            assert!(there);
                            break;
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_compaction_that_fails_or_is_cut_off_changes_nothing() {
    for wal in [true, false] {
        let before = disk(wal);
        let mut index = 0;
        loop {
            let disk = before.after_crash_all_kept();
            let db = Database::open_with_options(DB, options(&disk, wal)).unwrap();
            let expected = contents(&db);
            disk.crash_after(disk.operations() + index);
            let result = db.compact();
            std::mem::forget(db);
            for seed in 0..4 {
                let found = disk.after_crash(seed);
                let db = Database::open_with_options(DB, options(&found, true)).unwrap();
                assert!(contents(&db) == expected, "{index} {seed}");
                assert_sound(&db, "after a crash");
                db.close().unwrap();
                assert_sound_file(Path::new(DB), &options(&found, true), "and after closing");
            }
            if result.is_ok() {
                break;
            }
            index += 1;
        }
        assert!(index > 3, "{index}");
    }
}

#[test]
fn a_load_that_fails_is_there_whole_or_not_at_all() {
    let source = Database::in_memory().unwrap();
    fill(&source, 3000, 2);
    let mut dump = Vec::new();
    source.dump(&mut dump).unwrap();
    for wal in [true, false] {
        let before = disk(wal);
        let loaded = {
            let disk = before.after_crash_all_kept();
            let db = Database::open_with_options(DB, options(&disk, wal)).unwrap();
            db.load(&mut &dump[..], LoadOptions::new()).unwrap();
            contents(&db)
        };
        for skip in 0..60 {
            let disk = before.after_crash_all_kept();
            let db = Database::open_with_options(DB, options(&disk, wal)).unwrap();
            let expected = contents(&db);
            disk.inject(Fault::new(Call::Write, FaultKind::Io).after(skip));
            let result = db.load(&mut &dump[..], LoadOptions::new());
            disk.clear_faults();
            if result.is_ok() {
                break;
            }
            std::mem::forget(db);
            let found = disk.after_crash_all_kept();
            let db = Database::open_with_options(DB, options(&found, true)).unwrap();
            // As of any commit whose flush failed, nobody knows before the database is opened again.
            let found = contents(&db);
            assert!(found == expected || found == loaded, "{skip}");
            assert_sound(&db, "after a failed load");
        }
    }
}
