//! Commits at every moment of a checkpoint, in so many that the log begins files anew; then the power goes, there or later.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use weald_engine::{Database, DatabaseOptions, Readable};
use weald_vfs::{SimDisk, SimOptions, Vfs};

use crate::hooked::{Call, Hooked};

/// How many commits there are before a checkpoint, and in the midst of it. The log's files take sixteen.
const COMMITS: u64 = 40;
/// A call may come under a lock that commits need; then they go on after it.
const PATIENCE: Duration = Duration::from_millis(40);
/// More calls than a checkpoint makes.
const CALLS_MAX: u64 = 200;

fn options(vfs: Arc<dyn Vfs>) -> DatabaseOptions {
    DatabaseOptions::new()
        .vfs(vfs)
        .background(false)
        .wal_segment_bytes(16 << 10)
}

/// A writer beside a checkpoint.
struct Story {
    disk: SimDisk,
    /// Before which call of the checkpoint the writer is let go.
    at: u64,
    calls: AtomicU64,
    checkpointer: Mutex<Option<ThreadId>>,
    to_writer: Sender<()>,
    done: Mutex<Receiver<()>>,
    acknowledged: AtomicU64,
    /// Whether the flushes of the file are left out: a bug to find.
    is_careless: bool,
    is_lost: AtomicBool,
}

impl Story {
    /// Before a call of whichever thread.
    fn hook(&self, call: Call, is_log: bool) -> bool {
        let me = Some(std::thread::current().id());
        let is_checkpoint = *self.checkpointer.lock().unwrap() == me;
        if is_checkpoint && self.calls.fetch_add(1, Ordering::Relaxed) == self.at {
            self.to_writer.send(()).unwrap();
            let _ = self.done.lock().unwrap().recv_timeout(PATIENCE);
            self.cut();
        }
        !(self.is_careless && is_checkpoint && call == Call::Flush && !is_log)
    }

    /// What is found if the power goes now.
    fn cut(&self) {
        // What is acknowledged while the disk is copied is of no concern.
        let acknowledged = self.acknowledged.load(Ordering::SeqCst);
        let disks = (0..3).map(|seed| self.disk.after_crash(seed));
        for disk in disks.chain([self.disk.after_crash_all_lost()]) {
            if let Err(what) = verify(disk, acknowledged) {
                assert!(self.is_careless, "call {} of a checkpoint: {what}", self.at);
                self.is_lost.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// Looks whether all acknowledged commits are there, and none without those before it.
fn verify(disk: SimDisk, acknowledged: u64) -> Result<(), String> {
    let failed = |e: weald_engine::Error| e.to_string();
    let db = Database::open_with_options("db", options(Arc::new(disk))).map_err(failed)?;
    let report = db.check().map_err(failed)?;
    if !report.is_sound() {
        return Err(format!("{:?}", report.problems));
    }
    let tx = db.read().map_err(failed)?;
    let len = tx.len().map_err(failed)?;
    if len < acknowledged {
        return Err(format!("{len} of {acknowledged} commits are left"));
    }
    for n in 0..len {
        let value = tx.get_ref(&n.to_be_bytes()).map_err(failed)?;
        if value != Some(&value_of(n)[..]) {
            return Err(format!("commit {n} is not as it was"));
        }
    }
    Ok(())
}

fn value_of(n: u64) -> [u8; 1000] {
    [n as u8; 1000]
}

/// The number of calls that the checkpoint made, and whether anything was lost.
fn play(at: u64, is_careless: bool) -> (u64, bool) {
    let (to_writer, begin) = channel();
    let (finished, done) = channel();
    let story = Arc::new(Story {
        disk: SimDisk::new(at, SimOptions::default()),
        at,
        calls: AtomicU64::new(0),
        checkpointer: Mutex::new(None),
        to_writer,
        done: Mutex::new(done),
        acknowledged: AtomicU64::new(0),
        is_careless,
        is_lost: AtomicBool::new(false),
    });
    let told = Arc::clone(&story);
    let hook = Arc::new(move |call, is_log| told.hook(call, is_log));
    let db = Database::open_with_options(Path::new("db"), options(Hooked::over(story.disk.clone(), hook)))
        .unwrap();
    let commit = || {
        for _ in 0..COMMITS {
            let n = story.acknowledged.load(Ordering::SeqCst);
            db.put(&n.to_be_bytes(), &value_of(n)).unwrap();
            story.acknowledged.store(n + 1, Ordering::SeqCst);
        }
    };
    commit();
    db.checkpoint().unwrap();
    commit();
    std::thread::scope(|scope| {
        let commit = &commit;
        scope.spawn(move || {
            if begin.recv().is_ok() {
                commit();
                let _ = finished.send(());
            }
        });
        *story.checkpointer.lock().unwrap() = Some(std::thread::current().id());
        db.checkpoint().unwrap();
        *story.checkpointer.lock().unwrap() = None;
        // Where the checkpoint was over before its turn came.
        let _ = story.to_writer.send(());
    });
    story.cut();
    commit();
    story.cut();
    (
        story.calls.load(Ordering::Relaxed),
        story.is_lost.load(Ordering::Relaxed),
    )
}

#[test]
fn commits_at_every_moment_of_a_checkpoint_survive_it() {
    let mut at = 0;
    loop {
        let (calls, _) = play(at, false);
        if at >= calls {
            break;
        }
        at += 1;
        assert!(at < CALLS_MAX, "a checkpoint makes {calls} calls");
    }
    assert!(at > 5, "only {at} calls");
}

#[test]
fn a_checkpoint_that_flushes_nothing_is_found_out() {
    let (calls, lost) = play(0, true);
    assert!(calls > 0 && lost);
}
