//! The log as a whole, on files in memory, on files that fail, and on the real disk.

mod concurrency;
mod crash;
mod damage;
mod faults;
mod segments;
mod speed;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use weald_vfs::{Memory, OpenMode, Vfs};

use super::{BatchEncoder, Record, Wal, WalConfig, Way};
use crate::error::{Error, Result};
use crate::ids::{Lsn, TreeId, TxId};
use crate::op::{Entry, Op, Value};

const DATABASE: u128 = 0x0123_4567_89ab_cdef_1122_3344_5566_7788;

/// A commit as it was read back: its number, where it ends, and its values.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Commit {
    txid: u64,
    end: Lsn,
    value: Vec<u8>,
}

/// The smallest segments, with salts that are never the same.
fn config() -> WalConfig {
    static SEED: AtomicU64 = AtomicU64::new(1);
    WalConfig {
        segment_bytes: 16 << 10,
        step_bytes: 4 << 10,
        spares: 2,
        salt_seed: SEED.fetch_add(1, Ordering::Relaxed),
    }
}

fn dir() -> &'static Path {
    Path::new("/db-wal")
}

fn memory() -> Arc<Memory> {
    Arc::new(Memory::new())
}

fn open_as(vfs: Arc<dyn Vfs>, config: WalConfig, from: Lsn, read_only: bool) -> Result<(Wal, Vec<Commit>)> {
    let mut commits = Vec::new();
    let wal = Wal::open(vfs, dir(), config, DATABASE, from, read_only, &mut |record| {
        if let Record::Commit { end, txid, batch, .. } = record {
            for op in batch.ops() {
                let Op::Put {
                    entry:
                        Entry {
                            value: Value::Inline(value),
                            ..
                        },
                    ..
                } = op?
                else {
                    panic!("the tests write nothing else")
                };
                commits.push(Commit {
                    txid: txid.0,
                    end,
                    value: value.to_vec(),
                });
            }
        }
        Ok(())
    })?;
    Ok((wal, commits))
}

fn open(vfs: &Arc<Memory>, from: Lsn) -> (Wal, Vec<Commit>) {
    open_as(vfs.clone(), config(), from, false).unwrap()
}

fn value(txid: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (txid * 31 + i * 7) as u8).collect()
}

/// Both ways take turns.
fn way(txid: u64) -> Way {
    if txid.is_multiple_of(2) {
        Way::Call
    } else {
        Way::Mapped
    }
}

fn try_commit(wal: &Wal, txid: u64, len: usize) -> Result<Commit> {
    let value = value(txid, len);
    let mut encoder = BatchEncoder::new();
    encoder.push(&Op::Put {
        tree: TreeId(16),
        key: b"key",
        entry: Entry {
            value: Value::Inline(&value),
            expires: None,
        },
    });
    let end = wal.append(TxId(txid), &mut encoder.finish()?, way(txid))?;
    Ok(Commit { txid, end, value })
}

/// Appends without a flush.
fn commit(wal: &Wal, txid: u64, len: usize) -> Commit {
    try_commit(wal, txid, len).unwrap()
}

/// Appends and flushes.
fn durable_commit(wal: &Wal, txid: u64, len: usize) -> Commit {
    let commit = commit(wal, txid, len);
    wal.flush(commit.end).unwrap();
    assert!(wal.durable() >= commit.end);
    commit
}

fn files(vfs: &dyn Vfs) -> Vec<PathBuf> {
    if vfs.exists(dir()).unwrap() {
        vfs.list(dir()).unwrap()
    } else {
        Vec::new()
    }
}

/// A copy of all files.
fn copy(vfs: &Memory) -> Arc<Memory> {
    let to = memory();
    to.create_dir(dir()).unwrap();
    for path in files(vfs) {
        to.open(&path, OpenMode::CreateNew)
            .unwrap()
            .write_all_at(&bytes(vfs, &path), 0)
            .unwrap();
    }
    to
}

fn bytes(vfs: &dyn Vfs, path: &Path) -> Vec<u8> {
    let file = vfs.open(path, OpenMode::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn overwrite(vfs: &dyn Vfs, path: &Path, offset: u64, bytes: &[u8]) {
    vfs.open(path, OpenMode::Write)
        .unwrap()
        .write_all_at(bytes, offset)
        .unwrap();
}

#[test]
fn what_was_committed_is_there_after_a_reopening() {
    let vfs = memory();
    let (wal, found) = open(&vfs, Lsn(0));
    assert_eq!((found, wal.end()), (vec![], Lsn(0)));
    assert!(
        files(&*vfs).is_empty(),
        "the first append creates the log, not the opening"
    );
    let mut all: Vec<_> = (1..=100).map(|t| durable_commit(&wal, t, 300)).collect();
    drop(wal);
    for round in 0..5 {
        let (wal, found) = open(&vfs, Lsn(0));
        assert_eq!(found, all);
        assert_eq!(
            (wal.end(), wal.durable()),
            (all.last().unwrap().end, all.last().unwrap().end)
        );
        all.push(durable_commit(&wal, 1000 + round, 300));
    }
}

#[test]
fn replay_begins_at_the_checkpoint() {
    let vfs = memory();
    let (wal, _) = open(&vfs, Lsn(0));
    let all: Vec<_> = (1..=100).map(|t| durable_commit(&wal, t, 300)).collect();
    drop(wal);
    for (i, commit) in all.iter().enumerate() {
        assert_eq!(open(&vfs, commit.end).1, all[i + 1..]);
    }
}

#[test]
fn a_checkpoint_record_is_visited_in_its_place() {
    let vfs = memory();
    let (wal, _) = open(&vfs, Lsn(0));
    let first = durable_commit(&wal, 1, 10);
    let end = wal.append_checkpoint(TxId(1), first.end).unwrap();
    durable_commit(&wal, 2, 10);
    let mut seen = Vec::new();
    Wal::open(vfs, dir(), config(), DATABASE, Lsn(0), true, &mut |record| {
        seen.push(match record {
            Record::Commit { lsn, txid, .. } => (lsn, txid.0, None),
            Record::Checkpoint { lsn, txid, upto } => (lsn, txid.0, Some(upto)),
        });
        Ok(())
    })
    .unwrap();
    assert_eq!(
        seen,
        [(Lsn(0), 1, None), (first.end, 1, Some(first.end)), (end, 2, None)]
    );
}

#[test]
fn a_reader_changes_nothing_and_cannot_append() {
    let vfs = memory();
    let (wal, _) = open(&vfs, Lsn(0));
    let all: Vec<_> = (1..=5).map(|t| durable_commit(&wal, t, 300)).collect();
    let before: Vec<_> = files(&*vfs).iter().map(|p| bytes(&*vfs, p)).collect();
    let (reader, found) = open_as(vfs.clone(), config(), Lsn(0), true).unwrap();
    assert_eq!(found, all);
    assert!(matches!(try_commit(&reader, 6, 10), Err(Error::ReadOnly)));
    assert!(matches!(reader.remove_all(reader.end()), Err(Error::ReadOnly)));
    assert_eq!(
        files(&*vfs).iter().map(|p| bytes(&*vfs, p)).collect::<Vec<_>>(),
        before
    );
}

#[test]
fn a_visitor_that_fails_stops_the_opening() {
    let vfs = memory();
    let (wal, _) = open(&vfs, Lsn(0));
    (1..=5).for_each(|t| drop(durable_commit(&wal, t, 300)));
    let mut visits = 0;
    let opened = Wal::open(vfs, dir(), config(), DATABASE, Lsn(0), false, &mut |_| {
        visits += 1;
        Err(Error::ReadOnly)
    });
    assert!(matches!(opened, Err(Error::ReadOnly)));
    assert_eq!(visits, 1);
}

#[test]
fn positions_that_no_log_has_are_refused() {
    for from in [Lsn(1), Lsn(u64::MAX), Lsn((1 << 62) + 8)] {
        assert!(matches!(
            open_as(memory(), config(), from, false),
            Err(Error::Corrupt(_))
        ));
    }
    let (wal, _) = open_as(memory(), config(), Lsn::MAX, false).unwrap();
    assert!(matches!(try_commit(&wal, 1, 10), Err(Error::TooLarge(_))));
}
