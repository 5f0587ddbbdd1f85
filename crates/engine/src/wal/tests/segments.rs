//! Many segments: rotation, reuse, removal, and commits larger than a segment.

use super::*;

#[test]
fn a_commit_larger_than_a_segment_is_kept_whole() {
    let vfs = memory();
    let (wal, _) = open(&vfs, Lsn(0));
    let sizes = [10, 100_000, 10, 16_000, 300_000, 300_000, 1];
    let all: Vec<_> = sizes
        .iter()
        .zip(1..)
        .map(|(n, t)| durable_commit(&wal, t, *n))
        .collect();
    drop(wal);
    let (wal, found) = open(&vfs, Lsn(0));
    assert_eq!(found, all);
    let end = durable_commit(&wal, 100, 1).end;
    wal.recycle_before(end).unwrap();
    let largest = files(&*vfs).iter().map(|p| bytes(&*vfs, p).len()).max().unwrap();
    assert!(largest <= 16 << 10, "the large ones are not kept");
}

#[test]
fn segments_are_used_again_and_the_log_stays_small() {
    let vfs = memory();
    let (wal, _) = open(&vfs, Lsn(0));
    let mut most = 0;
    for txid in 1..=2000 {
        let end = durable_commit(&wal, txid, 500).end;
        if txid % 10 == 0 {
            wal.recycle_before(end).unwrap();
        }
        most = most.max(files(&*vfs).len());
    }
    assert!(wal.stats().recycled >= 2000 * 500 / (16 << 10));
    assert!(most <= 3, "{most} files");
    assert_eq!(wal.stats().segments, 1);
    assert!(wal.stats().log_bytes <= 16 << 10);
    assert_eq!(wal.stats().commits, 2000);
    assert_eq!(wal.stats().appended_bytes, wal.end().0);
}

#[test]
fn nothing_that_a_checkpoint_lacks_is_given_back() {
    let vfs = memory();
    let (wal, _) = open(&vfs, Lsn(0));
    let all: Vec<_> = (1..=300).map(|t| durable_commit(&wal, t, 500)).collect();
    for at in (0..300).step_by(7) {
        wal.recycle_before(all[at].end).unwrap();
        let (_, found) = open_as(copy(&vfs), config(), all[at].end, false).unwrap();
        assert_eq!(found, all[at + 1..]);
        let _ = wal.stats();
    }
}

#[test]
fn a_log_that_nobody_needs_is_removed_with_its_directory() {
    let vfs = memory();
    let (wal, _) = open(&vfs, Lsn(0));
    (1..=300).for_each(|t| drop(durable_commit(&wal, t, 500)));
    let end = wal.end();
    assert!(
        !wal.remove_all(Lsn(8)).unwrap(),
        "the checkpoint lacks some of it"
    );
    assert!(wal.remove_all(end).unwrap());
    assert!(!vfs.exists(dir()).unwrap());
    let commit = durable_commit(&wal, 301, 500);
    drop(wal);
    assert_eq!(open(&vfs, end).1, [commit]);
}

#[test]
fn what_others_put_into_the_directory_stays() {
    let vfs = memory();
    vfs.create_dir(dir()).unwrap();
    for name in [
        "notes.txt",
        "1.wal",
        "000000000000000G.wal",
        "0000000000000001.wal.bak",
    ] {
        vfs.open(&dir().join(name), OpenMode::CreateNew)
            .unwrap()
            .write_all_at(b"mine", 0)
            .unwrap();
    }
    let (wal, _) = open(&vfs, Lsn(0));
    let commit = durable_commit(&wal, 1, 10);
    drop(wal);
    let (wal, found) = open(&vfs, Lsn(0));
    assert_eq!(found, [commit]);
    assert!(wal.remove_all(wal.end()).unwrap());
    assert_eq!(files(&*vfs).len(), 4);
}

#[test]
fn blocks_prepared_in_the_background_are_the_ones_that_appends_use() {
    let vfs = memory();
    let (wal, _) = open(&vfs, Lsn(0));
    assert!(!wal.prepare().unwrap(), "there is no log yet");
    let mut all = Vec::new();
    for txid in 1..=500 {
        all.push(durable_commit(&wal, txid, 500));
        while wal.prepare().unwrap() {}
        if txid % 20 == 0 {
            wal.recycle_before(all[all.len() / 2].end).unwrap();
        }
    }
    assert_eq!(open(&vfs, all[250].end).1, all[251..]);
}

#[test]
fn a_log_continues_with_segments_of_another_size() {
    let vfs = memory();
    let mut all = Vec::new();
    for (round, segment_bytes) in [64 << 10, 16 << 10, 100_000, 20_000].into_iter().enumerate() {
        let config = WalConfig {
            segment_bytes,
            ..config()
        };
        let (wal, found) = open_as(vfs.clone(), config, Lsn(0), false).unwrap();
        assert_eq!(found, all);
        all.extend((0..200).map(|i| durable_commit(&wal, round as u64 * 1000 + i, 500)));
    }
}
