//! Many committers, with counts that prove that they share flushes.

use std::sync::Mutex;
use std::thread;

use super::faults::{Fault, FaultyVfs};
use super::*;

const THREADS: u64 = 8;
const COMMITS: u64 = 50;

#[test]
fn concurrent_commits_share_flushes_and_are_all_there() {
    let memory = memory();
    let vfs = Arc::new(FaultyVfs::new(memory.clone(), Fault::SlowFlush));
    let (wal, _) = open_as(vfs, config(), Lsn(0), false).unwrap();
    let appender = Mutex::new((0, Vec::new()));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..COMMITS {
                    let end = {
                        let mut appender = appender.lock().unwrap();
                        appender.0 += 1;
                        let commit = commit(&wal, appender.0, 200);
                        appender.1.push(commit.clone());
                        commit.end
                    };
                    wal.flush(end).unwrap();
                    assert!(wal.durable() >= end);
                }
            });
        }
    });
    let stats = wal.stats();
    assert_eq!(stats.commits, THREADS * COMMITS);
    assert!(stats.commits >= stats.flushes * 2, "{stats:?}");
    assert_eq!(open(&memory, Lsn(0)).1, appender.into_inner().unwrap().1);
}

#[test]
fn a_lone_committer_pays_one_flush_a_commit() {
    let (wal, _) = open(&memory(), Lsn(0));
    (1..=50).for_each(|t| drop(durable_commit(&wal, t, 10)));
    assert_eq!(wal.stats().flushes, 50);
    wal.flush(Lsn(u64::MAX)).unwrap();
    assert_eq!(wal.stats().flushes, 50, "nothing was left to flush");
}

#[test]
fn a_failed_flush_refuses_everyone_who_waits() {
    let memory = memory();
    let vfs = Arc::new(FaultyVfs::new(memory.clone(), Fault::SlowFlush));
    let (wal, _) = open_as(vfs.clone(), config(), Lsn(0), false).unwrap();
    let first = durable_commit(&wal, 1, 10);
    vfs.set(Fault::FailFlush);
    let ends: Vec<_> = (2..2 + THREADS).map(|t| commit(&wal, t, 10).end).collect();
    thread::scope(|scope| {
        for end in ends {
            let wal = &wal;
            scope.spawn(move || assert!(matches!(wal.flush(end), Err(Error::Poisoned(_)))));
        }
    });
    vfs.set(Fault::None);
    let Err(Error::Poisoned(cause)) = try_commit(&wal, 100, 10) else {
        panic!("the log is poisoned")
    };
    assert!(
        matches!(&*cause, Error::Io(e) if e.operation == "flush"),
        "{cause:?}"
    );
    assert!(matches!(wal.recycle_before(first.end), Err(Error::Poisoned(_))));
    assert_eq!(wal.durable(), first.end);
    wal.flush(first.end).unwrap();
    drop(wal);
    assert_eq!(open(&memory, Lsn(0)).1[0], first);
}

#[test]
fn blocks_are_prepared_while_commits_go_on() {
    let memory = memory();
    let (wal, _) = open(&memory, Lsn(0));
    let done = std::sync::atomic::AtomicBool::new(false);
    let kept = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                wal.prepare().unwrap();
                wal.recycle_before(Lsn(wal.durable().0 / 2 / 8 * 8)).unwrap();
                thread::yield_now();
            }
        });
        let all: Vec<_> = (1..=2000).map(|t| durable_commit(&wal, t, 200)).collect();
        done.store(true, Ordering::Relaxed);
        all
    });
    assert_eq!(open(&memory, kept[1000].end).1, kept[1001..]);
}
