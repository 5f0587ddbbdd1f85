//! The thread that works while commits go on: checkpoints, flushes of the log, preparing the log's files, expired keys.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::TxId;
use crate::options::SyncPolicy;

/// How others tell the thread what there is to do.
#[derive(Default)]
pub(crate) struct Wake {
    asked: Mutex<Asked>,
    bell: Condvar,
}

#[derive(Default)]
struct Asked {
    checkpoint: bool,
    stop: bool,
    /// Why the last checkpoint failed, until somebody is told.
    failure: Option<Error>,
}

impl Wake {
    /// Asks for a checkpoint.
    pub(crate) fn checkpoint(&self) {
        let mut asked = self.asked();
        if !asked.checkpoint {
            asked.checkpoint = true;
            self.bell.notify_all();
        }
    }

    /// The reason why there was no checkpoint, for a writer that waits for one.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.asked().failure.take()
    }

    fn stop(&self) {
        self.asked().stop = true;
        self.bell.notify_all();
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().expect("no panic while a wish is noted")
    }
}

/// The thread, ended on drop.
pub(crate) struct Background {
    core: Arc<Core>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    pub(crate) fn start(core: &Arc<Core>) -> Background {
        let works = Arc::clone(core);
        let thread = std::thread::Builder::new()
            .name("weald".into())
            .spawn(move || run(&works));
        Background {
            core: Arc::clone(core),
            thread: thread.ok(),
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.core.wake.stop();
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the thread itself; what was acknowledged is in the log.
            let _ = thread.join();
        }
    }
}

fn run(core: &Core) {
    let flush_every = match core.options.sync {
        SyncPolicy::Batched(interval) => Some(interval),
        _ => None,
    };
    let tick = flush_every
        .unwrap_or(Duration::from_millis(100))
        .min(Duration::from_millis(100));
    let mut collected = Instant::now();
    let mut flushed = Instant::now();
    let mut idle = Idle::default();
    loop {
        let checkpoint = {
            let mut asked = core.wake.asked();
            if !asked.checkpoint && !asked.stop {
                asked = core
                    .wake
                    .bell
                    .wait_timeout(asked, tick)
                    .expect("no panic while a wish is noted")
                    .0;
            }
            if asked.stop {
                return;
            }
            std::mem::take(&mut asked.checkpoint)
        };
        if core.poison.check().is_err() {
            continue;
        }
        if let Some(interval) = flush_every
            && flushed.elapsed() >= interval
        {
            flushed = Instant::now();
            core.flush_log();
        }
        if checkpoint || core.is_checkpoint_overdue() || idle.is_time(core) {
            let result = core.checkpoint();
            core.wake.asked().failure = result.err();
        }
        core.prepare_log();
        if collected.elapsed() >= core.options.expiry_interval {
            collected = Instant::now();
            // It is tried again the next time; a failure that lasts shows in commits.
            let _ = core.collect_expired();
        }
    }
}

/// Notices when nobody commits, which is a good time for a checkpoint: an opening after a crash then has little to replay.
#[derive(Default)]
struct Idle {
    txid: TxId,
    since: Option<Instant>,
}

impl Idle {
    const QUIET: Duration = Duration::from_millis(500);
    /// A log shorter than this is replayed in no time.
    const LOG_BYTES: u64 = 1 << 20;

    fn is_time(&mut self, core: &Core) -> bool {
        let txid = core.published.txid();
        if txid != self.txid {
            *self = Idle {
                txid,
                since: Some(Instant::now()),
            };
        }
        let quiet = self.since.is_some_and(|since| since.elapsed() >= Idle::QUIET);
        if quiet {
            self.since = None;
        }
        quiet && core.logged_bytes() >= Idle::LOG_BYTES
    }
}

impl Core {
    fn is_checkpoint_overdue(&self) -> bool {
        let checkpoints = self.checkpoints.lock().expect("no panic during a checkpoint");
        let roots = checkpoints.meta.roots;
        checkpoints.age() >= self.options.checkpoint_interval && self.published.txid() != roots.txid
    }

    fn flush_log(&self) {
        if let Some(wal) = &self.wal
            && let Err(e) = wal.flush(wal.end())
        {
            self.poison.set(e);
        }
    }

    /// Has the log's next blocks written before they are needed.
    fn prepare_log(&self) {
        if let Some(wal) = &self.wal {
            // What fails here is tried again, and reported, by the append that needs it.
            let _: Result<bool> = wal.prepare();
        }
    }
}
