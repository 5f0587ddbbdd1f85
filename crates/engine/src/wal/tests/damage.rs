//! Bytes that are not what was written: torn tails are cut, damage before them is an error, nothing is made up.

use proptest::prelude::*;

use super::super::files;
use super::super::frame::FRAME_HEADER;
use super::super::segment::SEGMENT_HEADER;
use super::*;

/// A log of one segment: five commits that are durable one after the other.
fn five() -> (Arc<Memory>, PathBuf, Vec<Commit>) {
    let vfs = memory();
    let (wal, _) = open(&vfs, Lsn(0));
    let all = (1..=5).map(|t| durable_commit(&wal, t, 61)).collect();
    let path = files(&*vfs)[0].clone();
    (vfs, path, all)
}

fn place(lsn: Lsn) -> u64 {
    SEGMENT_HEADER + lsn.0
}

fn reopen(vfs: &Arc<Memory>, from: Lsn) -> Result<Vec<Commit>> {
    open_as(vfs.clone(), config(), from, false).map(|(_, found)| found)
}

/// Opens, expects `found`, appends once more, and expects that too.
fn check_goes_on(vfs: &Arc<Memory>, found: &[Commit], context: &str) {
    let (wal, first) = open(vfs, Lsn(0));
    assert_eq!(first, found, "{context}");
    let next = durable_commit(&wal, 77, 61);
    drop(wal);
    let (_, second) = open(vfs, Lsn(0));
    assert_eq!(second[..found.len()], *found, "{context}");
    assert_eq!(second[found.len()..], [next], "{context}");
}

#[test]
fn a_tail_torn_at_any_byte_is_cut() {
    let (vfs, path, all) = five();
    let whole = bytes(&*vfs, &path);
    let (begin, end) = (place(all[3].end), place(all[4].end));
    for cut in begin..end {
        let mut torn = whole.clone();
        torn[cut as usize..end as usize].fill(0);
        let vfs = copy(&vfs);
        overwrite(&*vfs, &path, 0, &torn);
        let found = if torn == whole { &all[..] } else { &all[..4] };
        check_goes_on(&vfs, found, &format!("cut at {cut}"));
    }
}

#[test]
fn a_file_that_ends_within_the_last_frame_is_a_torn_tail() {
    let (vfs, path, all) = five();
    for cut in place(all[3].end)..place(all[4].end) {
        let vfs = copy(&vfs);
        vfs.open(&path, OpenMode::Write).unwrap().set_len(cut).unwrap();
        check_goes_on(&vfs, &all[..4], &format!("cut at {cut}"));
    }
}

#[test]
fn every_flipped_byte_is_harmless_cut_or_reported() {
    let (vfs, path, all) = five();
    let whole = bytes(&*vfs, &path);
    let padding = |at: u64| {
        // 61 bytes of value, 3 of key and 4 of tag, tree and lengths; then zeros.
        let into = (at - SEGMENT_HEADER) % all[0].end.0;
        into >= FRAME_HEADER as u64 + 68
    };
    for at in 0..place(all[4].end) + 100 {
        overwrite(&*vfs, &path, at, &[whole[at as usize] ^ 0x10]);
        let outcome = open_as(vfs.clone(), config(), Lsn(0), true).map(|(_, found)| found);
        overwrite(&*vfs, &path, at, &[whole[at as usize]]);
        if at < SEGMENT_HEADER || at >= place(all[4].end) || padding(at) {
            assert_eq!(outcome.unwrap(), all, "byte {at}");
        } else if at >= place(all[3].end) {
            assert_eq!(outcome.unwrap(), all[..4], "byte {at}");
        } else {
            let Err(Error::Corrupt(corruption)) = outcome else {
                panic!("byte {at}: {outcome:?}")
            };
            let begin = (at - SEGMENT_HEADER) / all[0].end.0 * all[0].end.0;
            assert_eq!(corruption.offset, Some(SEGMENT_HEADER + begin), "byte {at}");
        }
    }
}

#[test]
fn damage_before_the_checkpoint_does_not_matter() {
    let (vfs, path, all) = five();
    overwrite(&*vfs, &path, place(Lsn(0)), &vec![0xee; all[2].end.0 as usize]);
    assert_eq!(reopen(&vfs, all[2].end).unwrap(), all[3..]);
    assert!(matches!(reopen(&vfs, all[1].end), Err(Error::Corrupt(_))));
}

#[test]
fn records_that_reached_the_disk_out_of_order_are_a_torn_tail() {
    let vfs = memory();
    let (wal, _) = open(&vfs, Lsn(0));
    let first = durable_commit(&wal, 1, 61);
    let group: Vec<_> = (2..=4).map(|t| commit(&wal, t, 61)).collect();
    let path = &files(&*vfs)[0];
    // Of the group, the first record never got there; the others did.
    overwrite(
        &*vfs,
        path,
        place(first.end),
        &vec![0; group[0].end.since(first.end) as usize],
    );
    // The next record is just as long as the lost one, so that the others would fit on to it.
    check_goes_on(&vfs, &[first], "an earlier one lost");
}

#[test]
fn a_segment_begun_behind_a_torn_tail_is_not_the_log() {
    let vfs = memory();
    let (wal, _) = open(&vfs, Lsn(0));
    let first = durable_commit(&wal, 1, 61);
    (2..=30).for_each(|t| drop(commit(&wal, t, 1000)));
    let paths = files(&*vfs);
    assert!(paths.len() >= 3);
    let lost = bytes(&*vfs, &paths[0]).len() as u64 - place(first.end);
    overwrite(&*vfs, &paths[0], place(first.end), &vec![0; lost as usize]);
    drop(wal);
    check_goes_on(&vfs, std::slice::from_ref(&first), "later segments are left over");
    // Far enough to pass the positions of what was left over.
    let (wal, mut expected) = open(&vfs, Lsn(0));
    expected.extend((100..=160).map(|t| durable_commit(&wal, t, 1000)));
    drop(wal);
    assert_eq!(reopen(&vfs, Lsn(0)).unwrap(), expected);
}

#[test]
fn what_an_earlier_use_of_the_file_left_is_never_read() {
    let vfs = memory();
    let (wal, _) = open(&vfs, Lsn(0));
    // All frames are equally long, so old ones lie where new ones would.
    let mut all: Vec<_> = (1..=200).map(|t| durable_commit(&wal, t, 900)).collect();
    let checkpoint = wal.end();
    wal.recycle_before(checkpoint).unwrap();
    for txid in 201..=240 {
        all.push(durable_commit(&wal, txid, 900));
        let (_, found) = open_as(vfs.clone(), config(), checkpoint, true).unwrap();
        assert_eq!(found, all[200..]);
    }
    assert!(wal.stats().recycled > 5);
}

#[test]
fn a_torn_recycled_tail_with_old_records_is_cut() {
    let vfs = memory();
    let (wal, _) = open(&vfs, Lsn(0));
    (1..=100).for_each(|t| drop(durable_commit(&wal, t, 61)));
    wal.recycle_before(wal.end()).unwrap();
    let checkpoint = wal.end();
    let all: Vec<_> = (200..300).map(|t| durable_commit(&wal, t, 61)).collect();
    drop(wal);
    for path in files(&*vfs) {
        let now = bytes(&*vfs, &path);
        for cut in (SEGMENT_HEADER as usize..now.len()).step_by(512) {
            let vfs = copy(&vfs);
            // The old contents of the rest of the file: frames of another salt at fitting places.
            let old: Vec<u8> = now[SEGMENT_HEADER as usize..].iter().map(|b| b ^ 1).collect();
            overwrite(&*vfs, &path, cut as u64, &old[..now.len() - cut]);
            match reopen(&vfs, checkpoint) {
                Ok(found) => assert_eq!(found, all[..found.len()]),
                Err(e) => assert!(matches!(e, Error::Corrupt(_)), "{e}"),
            }
        }
    }
}

/// A log of several segments, all of it durable, each commit by itself.
fn several() -> (Arc<Memory>, Vec<PathBuf>, Vec<Commit>) {
    let vfs = memory();
    let (wal, _) = open(&vfs, Lsn(0));
    let all = (1..=60).map(|t| durable_commit(&wal, t, 1000)).collect();
    let paths = files(&*vfs);
    assert!(paths.len() > 5);
    (vfs, paths, all)
}

#[test]
fn a_missing_segment_is_reported() {
    let (vfs, paths, _) = several();
    for path in &paths[..paths.len() - 1] {
        let vfs = copy(&vfs);
        vfs.remove(path).unwrap();
        let outcome = reopen(&vfs, Lsn(0));
        assert!(
            matches!(&outcome, Err(Error::Corrupt(_))),
            "{path:?}: {outcome:?}"
        );
    }
}

#[test]
fn a_segment_cut_short_is_reported_unless_it_is_the_last() {
    let (vfs, paths, all) = several();
    for (i, path) in paths.iter().enumerate() {
        for len in [0, 100, 4096, 5000, 8192, 9000, 10_000] {
            let vfs = copy(&vfs);
            vfs.open(path, OpenMode::Write).unwrap().set_len(len).unwrap();
            match reopen(&vfs, Lsn(0)) {
                Ok(found) => {
                    assert_eq!(i, paths.len() - 1, "{path:?} of {len}");
                    assert_eq!(found, all[..found.len()]);
                }
                Err(e) => assert!(matches!(e, Error::Corrupt(_))),
            }
        }
    }
}

#[test]
fn a_checkpoint_that_the_log_does_not_reach_is_reported() {
    let (vfs, paths, all) = several();
    let end = all.last().unwrap().end;
    assert!(reopen(&vfs, end).unwrap().is_empty());
    assert!(matches!(reopen(&vfs, end.plus(1 << 20)), Err(Error::Corrupt(_))));
    for path in &paths[..3] {
        vfs.remove(path).unwrap();
    }
    let Err(Error::Corrupt(corruption)) = reopen(&vfs, Lsn(0)) else {
        panic!("the log begins later")
    };
    assert!(corruption.what.contains("after the checkpoint"), "{corruption}");
}

#[test]
fn one_copy_of_the_header_is_enough_and_without_any_it_is_damage() {
    let (vfs, path, all) = five();
    let header = bytes(&*vfs, &path)[..80].to_vec();
    let garbage = vec![0xa5; 4096];
    for (damaged, other) in [(0, 4096), (4096, 0)] {
        overwrite(&*vfs, &path, damaged, &garbage);
        assert_eq!(open_as(vfs.clone(), config(), Lsn(0), true).unwrap().1, all);
        overwrite(&*vfs, &path, other, &garbage);
        assert!(matches!(reopen(&vfs, Lsn(0)), Err(Error::Corrupt(_))));
        overwrite(&*vfs, &path, other, &header);
        assert_eq!(
            reopen(&vfs, Lsn(0)).unwrap(),
            all,
            "an opening for writing repairs the copy"
        );
        assert_eq!(bytes(&*vfs, &path)[damaged as usize..][..80], header);
    }
}

#[test]
fn a_log_of_another_database_is_reported() {
    let (vfs, _, _) = five();
    let opened = Wal::open(vfs, dir(), config(), DATABASE + 1, Lsn(0), false, &mut |_| Ok(()));
    let Err(Error::Corrupt(corruption)) = opened else {
        panic!("{opened:?}")
    };
    assert!(corruption.what.contains("another database"));
}

#[test]
fn names_of_log_files_are_told_from_others() {
    for (name, number) in [
        ("00000000000000ff.wal", Some(255)),
        ("ffffffffffffffff.wal", Some(u64::MAX)),
        ("+000000000000001.wal", None),
        ("00000000000000FF.wal", None),
        ("00000000000000ffwal", None),
        (".wal", None),
    ] {
        assert_eq!(files::number(&dir().join(name)), number, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_in_place_of_log_files_are_a_log_or_an_error(
        contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9000), 1..3),
    ) {
        let vfs = memory();
        vfs.create_dir(dir()).unwrap();
        for (i, bytes) in contents.iter().enumerate() {
            let path = dir().join(format!("{i:016x}.wal"));
            vfs.open(&path, OpenMode::CreateNew).unwrap().write_all_at(bytes, 0).unwrap();
        }
        if let Err(e) = reopen(&vfs, Lsn(0)) {
            prop_assert!(matches!(e, Error::Corrupt(_)));
        }
    }

    #[test]
    fn scribbles_are_never_read_as_records(
        scribbles in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..200)), 1..4),
    ) {
        let (vfs, paths, all) = several();
        for (file, at, junk) in &scribbles {
            let path = file.get(&paths);
            let len = bytes(&*vfs, path).len();
            overwrite(&*vfs, path, at.index(len - junk.len()) as u64, junk);
        }
        match reopen(&vfs, Lsn(0)) {
            Ok(found) => prop_assert_eq!(&found[..], &all[..found.len()]),
            Err(e) => prop_assert!(matches!(e, Error::Corrupt(_))),
        }
    }
}
