//! The threads that work while commits go on: one for the log, which must not wait for the other, one for all that takes longer.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{Lsn, TxId};
use crate::options::SyncPolicy;

/// How often the threads look around when nobody calls them.
const TICK: Duration = Duration::from_millis(100);

/// How others tell the threads what there is to do.
#[derive(Default)]
pub(crate) struct Wake {
    asked: Mutex<Asked>,
    bell: Condvar,
}

#[derive(Default)]
struct Asked {
    checkpoint: bool,
    log: bool,
    stop: bool,
    /// Why the last checkpoint failed, until somebody is told.
    failure: Option<Error>,
}

impl Wake {
    /// Asks for a checkpoint.
    pub(crate) fn checkpoint(&self) {
        self.ask(|asked| !std::mem::replace(&mut asked.checkpoint, true));
    }

    /// Asks for the log's next blocks to be prepared.
    pub(crate) fn log(&self) {
        self.ask(|asked| !std::mem::replace(&mut asked.log, true));
    }

    /// The reason why there was no checkpoint, for a writer that waits for one.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.asked().failure.take()
    }

    fn ask(&self, is_news: impl FnOnce(&mut Asked) -> bool) {
        if is_news(&mut self.asked()) {
            self.bell.notify_all();
        }
    }

    /// Waits until `take` finds something to do, but no longer than `at_most`; `None` when it is time to stop.
    fn wait(&self, at_most: Duration, take: impl Fn(&mut Asked) -> bool) -> Option<bool> {
        let until = Instant::now() + at_most;
        let mut asked = self.asked();
        loop {
            if asked.stop {
                return None;
            }
            if take(&mut asked) {
                return Some(true);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Some(false);
            }
            asked = self
                .bell
                .wait_timeout(asked, left)
                .expect("no panic while a wish is noted")
                .0;
        }
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().expect("no panic while a wish is noted")
    }
}

/// The threads, ended on drop.
pub(crate) struct Background {
    core: Arc<Core>,
    threads: Vec<JoinHandle<()>>,
}

impl Background {
    pub(crate) fn start(core: &Arc<Core>) -> std::io::Result<Background> {
        let mut background = Background {
            core: Arc::clone(core),
            threads: Vec::new(),
        };
        background.spawn("weald-log", tend_log)?;
        background.spawn("weald-pages", tend_pages)?;
        Ok(background)
    }

    fn spawn(&mut self, name: &str, work: fn(&Core)) -> std::io::Result<()> {
        let core = Arc::clone(&self.core);
        let thread = std::thread::Builder::new().name(name.into());
        self.threads.push(thread.spawn(move || work(&core))?);
        Ok(())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.core.wake.ask(|asked| {
            asked.stop = true;
            true
        });
        for thread in self.threads.drain(..) {
            // A panic there has been reported by the thread itself; what was acknowledged is in the log.
            let _ = thread.join();
        }
    }
}

/// Flushes the log as often as the policy asks, if commits came that ask for it, and has its next blocks written before they are needed.
fn tend_log(core: &Core) {
    let Some(wal) = &core.wal else { return };
    let flush_every = match core.options.sync {
        SyncPolicy::Batched(interval) => Some(interval),
        _ => None,
    };
    let mut flushed = Instant::now();
    // What is left until the next flush: whoever calls meanwhile does not put it off.
    let left = |flushed: Instant| flush_every.map_or(TICK, |every| every.saturating_sub(flushed.elapsed()));
    while core
        .wake
        .wait(left(flushed), |asked| std::mem::take(&mut asked.log))
        .is_some()
    {
        let is_due = flush_every.is_some_and(|every| flushed.elapsed() >= every);
        if is_due {
            flushed = Instant::now();
        }
        if core.poison.check().is_err() {
            continue;
        }
        // What fails here is tried again, and reported, by the append that needs it.
        let _: Result<bool> = wal.prepare();
        if is_due {
            // Commits of another policy pay for their own flush, or asked for none.
            let upto = Lsn(core.batched.load(Ordering::Acquire));
            if let Err(e) = wal.flush(upto) {
                core.poison.set(e);
            }
        }
    }
}

/// Checkpoints, expired keys, filters.
fn tend_pages(core: &Core) {
    let mut collected = Instant::now();
    let mut idle = Idle::default();
    // What fails in these shows when it is read for its own sake; without them everything works.
    if core.catch_up().is_ok() {
        let _ = core.survey_filters();
    }
    while let Some(asked) = core
        .wake
        .wait(TICK, |asked| std::mem::take(&mut asked.checkpoint))
    {
        // What could not be merged into the trees is tried again by those who write.
        if core.poison.check().is_err() || core.backlog.exists() {
            continue;
        }
        if asked || core.is_checkpoint_overdue() || idle.is_time(core) {
            checkpoint(core);
        }
        if collected.elapsed() >= core.options.expiry_interval {
            collected = Instant::now();
            let _ = core.collect_expired();
        }
        let _ = core.tend_filters(&|pause| rest(core, pause));
    }
}

fn checkpoint(core: &Core) {
    let result = core.checkpoint();
    core.wake.asked().failure = result.err();
}

/// Lets others have the disk for so long, but not wait for a checkpoint. Whether it is time to stop.
fn rest(core: &Core, pause: Duration) -> bool {
    let asked = core
        .wake
        .wait(pause, |asked| std::mem::take(&mut asked.checkpoint));
    if asked == Some(true) && core.poison.check().is_ok() && !core.backlog.exists() {
        checkpoint(core);
    }
    asked.is_none()
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
}
