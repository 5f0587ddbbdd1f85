//! Images on the simulated disk: a crash at every operation, calls that fail, and bytes that are wrong.

use std::collections::BTreeMap;
use std::path::Path;

use weald_vfs::{Call, Fault, FaultKind, SimDisk, SimOptions, Vfs};

use super::*;
use crate::error::Error;
use crate::region::{Region, RegionOptions};
use crate::session::Session;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn session() -> Session {
    let options = RegionOptions {
        capacity: 32 << 20,
        views: true,
        ..Default::default()
    };
    Region::anonymous(&options).unwrap().join("test").unwrap()
}

fn image() -> &'static Path {
    Path::new("/image")
}

/// Entries of many lengths, in several blocks: `seed` tells one set from another.
fn fill(session: &Session, seed: u64) -> Model {
    let mut model = Model::new();
    for n in 0..60u64 {
        let key = [&(n * seed).to_le_bytes()[..], b"key"].concat();
        let value = vec![(n + seed) as u8; (n * n * 11) as usize];
        session.put(&key, &value).unwrap();
        model.insert(key, value);
    }
    model
}

fn contents(session: &Session) -> Model {
    session.scan().map(Result::unwrap).collect()
}

fn restored(disk: &dyn Vfs) -> (Model, Option<Restored>) {
    let session = session();
    let restored = session.restore(disk, image()).unwrap();
    (contents(&session), restored)
}

#[test]
fn a_crash_at_every_operation_leaves_the_last_complete_point() {
    let source = session();
    let disk = SimDisk::new(1, SimOptions::default());
    assert_eq!(restored(&disk), (Model::new(), None));
    let first = fill(&source, 3);
    let point = source.save(&disk, image()).unwrap();
    assert_eq!((point.number, point.keys), (1, 60));
    let second = {
        let mut model = first.clone();
        model.extend(fill(&source, 1000));
        model
    };
    let mut crashes = 0;
    for operation in 0.. {
        let disk = disk.after_kill();
        let before = disk.operations();
        disk.crash_after(before + operation);
        let saved = source.save(&disk, image());
        let mut check = |found: &SimDisk| {
            let (model, restored) = restored(found);
            let restored = restored.expect("there has been a point");
            assert_eq!((restored.lost, restored.damaged_bytes), (Some(0), 0));
            let number = restored.point.unwrap().number;
            assert!(number == 2 || saved.is_err(), "what was acknowledged is there");
            assert!(
                model
                    == if number == 2 {
                        second.clone()
                    } else {
                        first.clone()
                    }
            );
            crashes += 1;
        };
        check(&disk.after_crash_all_lost());
        check(&disk.after_crash_all_kept());
        (0..12).for_each(|seed| check(&disk.after_crash(seed)));
        if saved.is_ok() {
            assert!(operation > 5, "there were operations to crash at");
            break;
        }
    }
    assert!(crashes > 100, "{crashes}");
}

#[test]
fn a_crash_before_the_first_point_leaves_none_or_all_of_it() {
    let source = session();
    let model = fill(&source, 3);
    for operation in 0.. {
        let disk = SimDisk::new(2, SimOptions::default());
        disk.crash_after(operation);
        let saved = source.save(&disk, image());
        for seed in 0..20 {
            let (found, restored) = restored(&disk.after_crash(seed));
            assert!(found == model || restored.is_none() && saved.is_err());
        }
        if saved.is_ok() {
            break;
        }
    }
}

#[test]
fn calls_that_fail_leave_the_point_before_and_the_next_one_works() {
    let source = session();
    let first = fill(&source, 3);
    let mut failed = 0;
    for call in [
        Call::Open,
        Call::Write,
        Call::Sync,
        Call::Read,
        Call::Resize,
        Call::Name,
        Call::SyncDir,
    ] {
        for kind in [FaultKind::Io, FaultKind::NoSpace] {
            let disk = SimDisk::new(3, SimOptions::default());
            source.save(&disk, image()).unwrap();
            disk.inject(Fault::new(call, kind));
            if source.save(&disk, image()).is_err() {
                failed += 1;
            }
            assert_eq!(restored(&disk).0, first, "{call:?} {kind:?}");
            disk.clear_faults();
            assert!(source.save(&disk, image()).unwrap().number >= 2);
            assert_eq!(restored(&disk.after_crash_all_lost()).0, first);
        }
    }
    assert!(failed > 8, "{failed}");
}

#[test]
fn damage_costs_what_it_hits_and_is_counted() {
    let source = session();
    let model = fill(&source, 3);
    let disk = SimDisk::new(4, SimOptions::default());
    source.save(&disk, image()).unwrap();
    let bytes = disk.read_file(image()).unwrap();
    assert!(bytes.len() > 2 * BLOCK_LEN, "several blocks");
    for at in (0..bytes.len()).step_by(4096 - 17) {
        let mut wrong = bytes.clone();
        wrong[at] ^= 0x20;
        disk.write_file(image(), &wrong).unwrap();
        let (found, restored) = restored(&disk);
        let restored = restored.unwrap();
        assert!(found.iter().all(|(key, value)| model.get(key) == Some(value)));
        assert_eq!(restored.keys, found.len() as u64);
        match restored.lost {
            Some(lost) => assert_eq!(lost, (model.len() - found.len()) as u64),
            None => assert_eq!((at, &found), (0, &model)),
        }
        assert_eq!(
            restored.lost.is_some_and(|lost| lost > 0),
            restored.damaged_bytes > 0
        );
    }
    for len in [1, 55, 56, 4095, 4096, 4100, 300_000, bytes.len() - 5000] {
        disk.write_file(image(), &bytes[..len]).unwrap();
        let session = session();
        match session.restore(&disk, image()) {
            Ok(restored) => assert_eq!(restored.unwrap().lost, Some(60 - session.len().unwrap())),
            Err(error) => assert!(matches!(error, Error::Corrupt(_)) && len < 56, "{len}: {error}"),
        }
    }
    disk.write_file(image(), b"a letter to my aunt").unwrap();
    assert!(matches!(
        session().restore(&disk, image()),
        Err(Error::Corrupt(_))
    ));
}

#[test]
fn lengths_that_lie_take_no_memory_and_do_no_harm() {
    let source = session();
    source.put(b"key", b"value").unwrap();
    let disk = SimDisk::new(5, SimOptions::default());
    source.save(&disk, image()).unwrap();
    let bytes = disk.read_file(image()).unwrap();
    for at in ALIGNMENT as usize..ALIGNMENT as usize + 80 {
        for byte in [0, 1, 0x7f, 0xff] {
            let mut wrong = bytes.clone();
            wrong[at] = byte;
            // With a checksum that fits, as a hostile hand would write it.
            let end = ALIGNMENT as usize
                + BLOCK_HEADER
                + number(&wrong[4096 + 24..4096 + 32]).min(1 << 40) as usize;
            if let Some(entries) = wrong.get(ALIGNMENT as usize + BLOCK_HEADER..end) {
                let sum = checksum(&[&wrong[4096..4096 + 40], entries]);
                wrong[4096 + 40..4096 + 48].copy_from_slice(&sum.to_le_bytes());
            }
            disk.write_file(image(), &wrong).unwrap();
            let _ = session().restore(&disk, image());
        }
    }
}

#[test]
fn a_point_is_one_instant_and_expiry_is_kept() {
    let source = session();
    let day = Duration::from_secs(86_400);
    source.put_expiring(b"later", b"1", day).unwrap();
    source
        .put_expiring(b"soon", b"2", Duration::from_millis(30))
        .unwrap();
    let disk = SimDisk::new(6, SimOptions::default());
    source.save(&disk, image()).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let target = session();
    let restored = target.restore(&disk, image()).unwrap().unwrap();
    assert_eq!(restored.keys + restored.expired, restored.point.unwrap().keys);
    assert_eq!(restored.lost, Some(0));
    assert!(target.contains(b"later").unwrap() && !target.contains(b"soon").unwrap());

    let plain = Region::anonymous(&RegionOptions::default()).unwrap();
    let refused = plain.join("test").unwrap().save(&disk, image());
    assert!(matches!(refused, Err(Error::Invalid(_))));
    let _lock = disk.lock(Path::new("/image.lock"), true).unwrap();
    assert!(matches!(source.save(&disk, image()), Err(Error::Again(_))));
}
