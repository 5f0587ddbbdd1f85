//! What the database counts, and what it tells of itself.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::core::Core;
use crate::ids::{Lsn, TreeId, TxId};

/// A number that goes up, or is set.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that many threads count up at once, each mostly on a line of its own.
#[derive(Default)]
pub(crate) struct SpreadCounter([Line; SpreadCounter::LINES]);

#[derive(Default)]
#[repr(align(64))]
struct Line(AtomicU64);

impl SpreadCounter {
    const LINES: usize = 8;

    pub(crate) fn add_one(&self) {
        thread_local!(static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SpreadCounter::LINES);
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        self.0[MINE.with(|mine| *mine)].0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.iter().map(|line| line.0.load(Ordering::Relaxed)).sum()
    }
}

/// Everything that is counted where it happens.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) commits: Counter,
    pub(crate) direct_commits: Counter,
    pub(crate) conflicts: Counter,
    pub(crate) spills: Counter,
    pub(crate) throttled_us: Counter,
    pub(crate) checkpoints: Counter,
    pub(crate) checkpoint_pages: Counter,
    pub(crate) checkpoint_us: Counter,
    /// Where the log must be replayed from.
    pub(crate) checkpoint_lsn: Counter,
    /// Where the log ended when its thread was last called.
    pub(crate) log_tended: Counter,
    pub(crate) replayed_commits: Counter,
    pub(crate) expired: Counter,
}

/// What a database tells of itself; see [`Database::stats`](crate::Database::stats).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// The newest commit that readers see.
    pub txid: TxId,
    /// Keys in the root bucket.
    pub keys: u64,
    /// Bytes of a page.
    pub page_size: u64,
    /// Bytes of the file, up to the last page in use.
    pub file_bytes: u64,
    /// Bytes of pages that can be reused at once.
    pub free_bytes: u64,
    /// Bytes of pages that are free but for a reader or a checkpoint that still needs them.
    pub pending_bytes: u64,
    /// Bytes of changed pages that are in memory only.
    pub dirty_bytes: u64,
    /// Bytes of memory that pages take or took: dirty ones, cached ones, and slots kept for reuse.
    pub pool_bytes: u64,
    /// Bytes of pages of the file that are cached, where it is not mapped.
    pub cached_bytes: u64,
    /// Bytes of memory that the filters of absent keys take.
    pub filter_bytes: u64,
    /// Whether every tree that is large enough for a filter has one that is complete.
    pub filters_ready: bool,
    /// The share of absent keys of the root bucket that its filter does not recognise; 1 where there is none.
    pub filter_false_positives: f64,
    /// Look-ups of absent keys that ended at a filter.
    pub filter_hits: u64,
    /// Whether the file is read through a mapping.
    pub mapped: bool,
    /// Bytes of memory that wait for transactions to stage writes in.
    pub staging_bytes: u64,
    /// Pieces of such memory that were allocated, used again, and given back to the system.
    pub staging_chunks: StagingChunks,
    /// Open read and write transactions.
    pub readers: u64,
    /// How many commits ago the oldest of them began.
    pub oldest_reader_commits: u64,
    /// Commits since the database was opened.
    pub commits: u64,
    /// Those of them that wrote their pages to the file at once.
    pub direct_commits: u64,
    /// Optimistic transactions that were refused because of a conflict.
    pub conflicts: u64,
    /// Times that a large transaction put its writes into pages of its own before it was committed.
    pub spills: u64,
    /// Time that commits were held back because changed pages piled up.
    pub throttled: Duration,
    /// Checkpoints since the database was opened.
    pub checkpoints: u64,
    /// Pages that they wrote.
    pub checkpoint_pages: u64,
    /// Time that they took.
    pub checkpoint_time: Duration,
    /// Commits that were replayed from the log when the database was opened.
    pub replayed_commits: u64,
    /// Keys that were collected after they had expired.
    pub expired: u64,
    /// The log; `None` where there is none.
    pub log: Option<LogStats>,
}

/// How the memory of transactions was used since the database was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StagingChunks {
    /// Allocated.
    pub created: u64,
    /// Taken from those that waited.
    pub reused: u64,
    /// Given back to the system.
    pub freed: u64,
}

/// What the log tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogStats {
    /// Where it ends.
    pub end: Lsn,
    /// Up to where it is on the disk. Damage before that is noticed when the log is read, but for that of the last group of commits, which looks like a
    /// torn end.
    pub durable: Lsn,
    /// Bytes that would have to be replayed after a crash.
    pub replay_bytes: u64,
    /// Bytes written since the database was opened.
    pub appended_bytes: u64,
    /// Flushes since then: where commits are concurrent, fewer than there were commits.
    pub flushes: u64,
    /// Files that hold records which may be needed.
    pub segments: u64,
    /// Files that were used again.
    pub recycled: u64,
}

impl Core {
    pub(crate) fn stats(&self) -> Stats {
        // The number of keys is known when all is in the trees. If that fails, whoever writes is told.
        let _ = self.catch_up();
        let roots = self.published.load();
        let page = self.store.page_size() as u64;
        let counters = &self.counters;
        let active = self.store.readers.active();
        let oldest = active.iter().map(|reader| reader.snapshot).min();
        let (end, free, pending) = {
            let space = self.store.space();
            (space.end(), space.free_pages(), space.pending_pages())
        };
        let arenas = self.arenas.stats();
        Stats {
            txid: roots.txid,
            keys: roots.fixed[0].len,
            page_size: page,
            file_bytes: end * page,
            free_bytes: free * page,
            pending_bytes: pending * page,
            dirty_bytes: self.store.dirty_pages() * page,
            pool_bytes: self.store.pool_bytes(),
            cached_bytes: self.store.cached_bytes(),
            filter_bytes: self.filters.bytes(),
            filters_ready: self.filters.are_ready(),
            filter_false_positives: self.filters.false_positive_rate(TreeId::ROOT),
            filter_hits: self.filters.hits.get(),
            mapped: self.store.file.is_mapped(),
            staging_bytes: arenas.pooled_bytes as u64,
            staging_chunks: StagingChunks {
                created: arenas.created,
                reused: arenas.reused,
                freed: arenas.freed,
            },
            readers: active.len() as u64,
            oldest_reader_commits: oldest.map_or(0, |oldest| roots.txid.0.saturating_sub(oldest)),
            commits: counters.commits.get(),
            direct_commits: counters.direct_commits.get(),
            conflicts: counters.conflicts.get(),
            spills: counters.spills.get(),
            throttled: Duration::from_micros(counters.throttled_us.get()),
            checkpoints: counters.checkpoints.get(),
            checkpoint_pages: counters.checkpoint_pages.get(),
            checkpoint_time: Duration::from_micros(counters.checkpoint_us.get()),
            replayed_commits: counters.replayed_commits.get(),
            expired: counters.expired.get(),
            log: self.wal.as_ref().map(|wal| {
                let stats = wal.stats();
                LogStats {
                    end: wal.end(),
                    durable: wal.durable(),
                    replay_bytes: self.logged_bytes(),
                    appended_bytes: stats.appended_bytes,
                    flushes: stats.flushes,
                    segments: stats.segments,
                    recycled: stats.recycled,
                }
            }),
        }
    }
}
