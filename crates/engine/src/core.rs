//! What all handles of an open database share.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use weald_vfs::Vfs;

use crate::background::Wake;
use crate::checkpoint::Checkpoints;
use crate::error::{Error, Result};
use crate::filters::Filters;
use crate::gate::Gate;
use crate::ids::{Lsn, PageId, TreeId, TxId};
use crate::merge::EXPIRY_PREFIX;
use crate::meta::Meta;
use crate::options::DatabaseOptions;
use crate::published::Published;
use crate::replayed::{Backlog, Replayed};
use crate::roots::Roots;
use crate::stage::{ArenaPool, Stage};
use crate::stats::Counters;
use crate::store::{PageStore, Pin};
use crate::tree;
use crate::wal::{BatchEncoder, Wal};

/// An open database.
///
/// Locks are taken in this order: `gate`, `checkpoints`, that of the backlog, `state`, the space of the store, `unpublished`.
pub(crate) struct Core {
    pub(crate) options: DatabaseOptions,
    pub(crate) path: PathBuf,
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) database: u128,
    pub(crate) store: PageStore,
    pub(crate) filters: Filters,
    /// `None` where commits are made durable by checkpoints alone.
    pub(crate) wal: Option<Wal>,
    /// What new readers see.
    pub(crate) published: Published,
    /// What the log had at the opening and the trees do not have yet. Only readers look over it; all others catch up first.
    pub(crate) backlog: Backlog,
    /// Held by whoever writes, from its first read to the end of its commit.
    pub(crate) gate: Gate,
    pub(crate) state: Mutex<State>,
    /// The buffer of the last commit, for the next one.
    pub(crate) spare_encoder: Mutex<Option<BatchEncoder>>,
    unpublished: Mutex<VecDeque<Unpublished>>,
    pub(crate) checkpoints: Mutex<Checkpoints>,
    pub(crate) arenas: Arc<ArenaPool>,
    /// The id of the next tree that is created; those of transactions that rolled back are skipped.
    next_tree: AtomicU64,
    /// Whether the file says that there is a log.
    pub(crate) log_noted: AtomicBool,
    /// Where the last commit ends in the log that is to be flushed in a batch.
    pub(crate) batched: AtomicU64,
    pub(crate) poison: Poison,
    pub(crate) counters: Counters,
    pub(crate) wake: Wake,
    /// Held while the database is open; shuts out other writers.
    pub(crate) _lock: Option<Box<dyn Send + Sync>>,
}

/// The newest state, which no reader may see yet.
pub(crate) struct State {
    pub(crate) head: Roots,
    /// Pages built since the last checkpoint began, those included that are gone again.
    pub(crate) dirty: Vec<PageId>,
    /// The commits whose pages in the file must stay: of the last durable checkpoint, and of the one under way.
    pub(crate) durable: TxId,
    pub(crate) under_way: Option<TxId>,
}

/// A commit that is in the tree, and that readers see once the log is durable up to `until`.
struct Unpublished {
    until: Option<Lsn>,
    roots: Roots,
}

/// The first failure of a write or flush, after which nothing is accepted.
#[derive(Default)]
pub(crate) struct Poison(OnceLock<Arc<Error>>);

impl Poison {
    pub(crate) fn check(&self) -> Result<()> {
        match self.0.get() {
            Some(cause) => Err(Error::Poisoned(Arc::clone(cause))),
            None => Ok(()),
        }
    }

    /// Remembers that `error` left files in an unknown state, and gives the error to report.
    pub(crate) fn set(&self, error: Error) -> Error {
        let cause = match error {
            Error::Poisoned(cause) => cause,
            other => Arc::new(other),
        };
        Error::Poisoned(Arc::clone(self.0.get_or_init(|| cause)))
    }

    /// Like [`set`](Self::set), but for an error after which everything is as it was.
    pub(crate) fn set_unless_full(&self, error: Error) -> Error {
        if matches!(error, Error::DiskFull { .. }) {
            error
        } else {
            self.set(error)
        }
    }
}

/// What [`Core::new`] is made from.
pub(crate) struct Parts {
    pub(crate) options: DatabaseOptions,
    pub(crate) path: PathBuf,
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) database: u128,
    pub(crate) store: PageStore,
    pub(crate) filters: Filters,
    pub(crate) wal: Option<Wal>,
    /// What goes over the state of the checkpoint.
    pub(crate) replayed: Option<Replayed>,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) lock: Option<Box<dyn Send + Sync>>,
}

impl Core {
    pub(crate) fn new(parts: Parts) -> Core {
        let arenas = ArenaPool::new(4 << 20, parts.options.secure_memory);
        let Meta { logged, roots, .. } = parts.checkpoints.meta;
        Core {
            published: Published::new(roots),
            backlog: Backlog::new(parts.replayed),
            state: Mutex::new(State {
                head: roots,
                dirty: Vec::new(),
                durable: parts.checkpoints.durable_txid(),
                under_way: None,
            }),
            next_tree: AtomicU64::new(roots.next_tree),
            options: parts.options,
            path: parts.path,
            vfs: parts.vfs,
            database: parts.database,
            store: parts.store,
            filters: parts.filters,
            wal: parts.wal,
            gate: Gate::default(),
            spare_encoder: Mutex::new(None),
            unpublished: Mutex::new(VecDeque::new()),
            checkpoints: Mutex::new(parts.checkpoints),
            arenas,
            log_noted: AtomicBool::new(logged),
            batched: AtomicU64::new(0),
            poison: Poison::default(),
            counters: Counters::default(),
            wake: Wake::default(),
            _lock: parts.lock,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the state is locked")
    }

    /// Pins the newest published state.
    pub(crate) fn pin(&self) -> (Pin<'_>, Roots) {
        self.store.readers.pin(|| {
            let roots = self.published.load();
            (roots.txid, roots)
        })
    }

    /// Pins the newest state of all, which only the holder of the gate may see.
    pub(crate) fn pin_head(&self) -> (Pin<'_>, Roots) {
        let head = self.state().head;
        self.store.readers.pin(|| (head.txid, head))
    }

    /// The id of a tree that is about to be created.
    pub(crate) fn new_tree(&self) -> TreeId {
        TreeId(self.next_tree.fetch_add(1, Ordering::Relaxed))
    }

    /// Sees to it that trees which are created get ids from `next` on.
    pub(crate) fn raise_next_tree(&self, next: u64) {
        self.next_tree.fetch_max(next, Ordering::Relaxed);
    }

    /// Refuses writes where there can't be any.
    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.options.read_only {
            return Err(Error::ReadOnly);
        }
        self.poison.check()
    }

    /// Puts pages back into use that nobody needs any more, if enough were freed for it to be worth a look.
    pub(crate) fn reclaim(&self, state: &State) {
        let mut space = self.store.space();
        if space.wants_reclaim() {
            let mut checkpoints = vec![state.durable.0];
            checkpoints.extend(state.under_way.map(|txid| txid.0));
            self.store
                .reclaim(&mut space, &checkpoints, self.published.txid());
            self.store.reap_retired();
        }
    }

    /// Puts all pages back into use that nobody needs any more.
    pub(crate) fn reclaim_all(&self) {
        let state = self.state();
        self.store.space().reconsider();
        self.reclaim(&state);
    }

    /// Lines a commit up for readers: behind all earlier ones, and once the log is durable up to `until`.
    pub(crate) fn enqueue(&self, roots: Roots, until: Option<Lsn>) {
        self.unpublished().push_back(Unpublished { until, roots });
    }

    /// Shows readers what is durable enough. Returns how far the log must be flushed before more can be shown.
    pub(crate) fn publish(&self) -> Option<Lsn> {
        let mut unpublished = self.unpublished();
        let durable = self.wal.as_ref().map_or(Lsn(u64::MAX), Wal::durable);
        let mut newest = None;
        while let Some(first) = unpublished.front() {
            if first.until.is_some_and(|until| until > durable) {
                break;
            }
            newest = unpublished.pop_front().map(|first| first.roots);
        }
        if let Some(roots) = newest {
            self.published.publish(roots);
        }
        unpublished.front().and_then(|first| first.until)
    }

    /// Shows readers a state before there are any commits.
    pub(crate) fn show(&self, roots: Roots) {
        let unpublished = self.unpublished();
        debug_assert!(unpublished.is_empty(), "nobody commits before all is caught up");
        self.published.publish(roots);
    }

    /// Puts what a large transaction has staged into pages that nobody else sees.
    pub(crate) fn spill(&self, base: Roots, txid: TxId, stage: &mut Stage) -> Result<(Roots, Vec<PageId>)> {
        self.check_writable()?;
        let mut state = self.state();
        self.reclaim(&state);
        let (roots, created) = self.merge_stage(&mut state, base, txid, stage, true)?;
        let mut space = self.store.space();
        space.spill(created.iter().copied());
        self.counters.spills.add(1);
        Ok((roots, created))
    }

    /// The longest key.
    pub(crate) fn key_max(&self) -> usize {
        // The index of expiry times has each key with a prefix.
        tree::max_key_len(self.store.page_size()) - EXPIRY_PREFIX
    }

    /// What was read through the mapping was not what the file has.
    #[cold]
    pub(crate) fn mapping_failed(&self) -> Error {
        let what = "its bytes could not be read through the mapping: the device failed, or another program cut the file";
        Error::corrupt(&self.path, None, what)
    }

    /// Makes all commits durable that were not.
    pub(crate) fn flush(&self) -> Result<()> {
        self.check_writable()?;
        match &self.wal {
            Some(wal) => {
                wal.flush(wal.end()).map_err(|e| self.poison.set(e))?;
                self.publish();
                Ok(())
            }
            None => self.checkpoint().map(drop),
        }
    }

    /// Leaves everything in the one file.
    pub(crate) fn close(&self) -> Result<()> {
        if self.options.read_only {
            return Ok(());
        }
        self.checkpoint_with(true)?;
        // The first one freed what the one before it had; without that the file is as short as it can be.
        self.checkpoint_with(true)?;
        let Some(wal) = &self.wal else { return Ok(()) };
        // First the file says that it needs no log, then the log goes.
        self.note_log(false)?;
        self.store.file.sync()?;
        wal.remove_all(wal.end())?;
        Ok(())
    }

    fn unpublished(&self) -> MutexGuard<'_, VecDeque<Unpublished>> {
        self.unpublished
            .lock()
            .expect("no panic while the line of commits is locked")
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
