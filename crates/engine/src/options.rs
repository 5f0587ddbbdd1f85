//! How a database is opened.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use weald_vfs::Vfs;

use crate::bloom::BITS_PER_KEY;
use crate::error::{Error, Result};

/// The size of a page, fixed when the database is created.
///
/// Small pages make small commits cheap, since a commit rewrites each leaf that it touches; large ones make scans
/// and bulk loads cheaper, and allow longer keys (a quarter of the page).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum PageSize {
    /// 4 KiB, the default.
    #[default]
    Size4K,
    /// 8 KiB.
    Size8K,
    /// 16 KiB.
    Size16K,
    /// 32 KiB.
    Size32K,
    /// 64 KiB.
    Size64K,
}

impl PageSize {
    /// All sizes, smallest first.
    pub const ALL: [PageSize; 5] = [
        PageSize::Size4K,
        PageSize::Size8K,
        PageSize::Size16K,
        PageSize::Size32K,
        PageSize::Size64K,
    ];

    /// The size in bytes.
    pub const fn bytes(self) -> usize {
        4096 << self as u32
    }

    /// The page size of that many bytes, where there is one.
    pub fn from_bytes(bytes: u64) -> Option<PageSize> {
        PageSize::ALL
            .into_iter()
            .find(|size| size.bytes() as u64 == bytes)
    }
}

impl fmt::Display for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}K", self.bytes() / 1024)
    }
}

/// When a commit is durable: before it returns, soon after, or when the system pleases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncPolicy {
    /// A commit returns when it is on the disk, and is visible to others only then. Concurrent commits share a flush.
    #[default]
    Immediate,
    /// A commit returns at once; the log is flushed at least this often. A power cut loses at most that much, a killed
    /// process nothing. How often is up to the policy of the database: for a single commit on one that is opened with another policy
    /// it is the same as [`None`](SyncPolicy::None).
    Batched(Duration),
    /// A commit returns at once; the log is flushed by checkpoints only. A power cut loses what came after the last one,
    /// a killed process nothing. Without a log a killed process loses that too.
    None,
}

/// How a value is combined with operands that were merged into it; see [`DatabaseOptions::merge_operator`].
///
/// It gets the key, the value so far (`None` where the key is absent) and one operand, and gives the value that
/// follows, `None` to delete the key.
pub type MergeFn = dyn Fn(&[u8], Option<&[u8]>, &[u8]) -> Option<Vec<u8>> + Send + Sync;

/// How a database is opened.
///
/// ```
/// use std::time::Duration;
/// use weald_engine::{Database, DatabaseOptions, PageSize, SyncPolicy};
///
/// let dir = tempfile::tempdir()?;
/// let options = DatabaseOptions::new()
///     .page_size(PageSize::Size16K)
///     .sync(SyncPolicy::Batched(Duration::from_millis(10)));
/// let db = Database::open_with_options(dir.path().join("my.weald"), options)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DatabaseOptions {
    pub(crate) page_size: Option<PageSize>,
    pub(crate) sync: SyncPolicy,
    pub(crate) wal: bool,
    pub(crate) wal_segment_bytes: u64,
    pub(crate) overflow_threshold: Option<usize>,
    pub(crate) dirty_bytes_max: u64,
    pub(crate) checkpoint_wal_bytes: u64,
    pub(crate) checkpoint_interval: Duration,
    pub(crate) cache_bytes: u64,
    pub(crate) transaction_bytes_max: u64,
    pub(crate) bulk_bytes: u64,
    pub(crate) mmap: bool,
    pub(crate) bloom_bits_per_key: u32,
    pub(crate) background: bool,
    pub(crate) expiry_interval: Duration,
    pub(crate) secure_memory: bool,
    pub(crate) read_only: bool,
    pub(crate) merge_operators: Vec<(String, Arc<MergeFn>)>,
    pub(crate) vfs: Option<Arc<dyn Vfs>>,
}

impl fmt::Debug for DatabaseOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseOptions")
            .field("page_size", &self.page_size)
            .field("sync", &self.sync)
            .field("wal", &self.wal)
            .field("dirty_bytes_max", &self.dirty_bytes_max)
            .field("checkpoint_wal_bytes", &self.checkpoint_wal_bytes)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

impl Default for DatabaseOptions {
    fn default() -> DatabaseOptions {
        DatabaseOptions {
            page_size: None,
            sync: SyncPolicy::Immediate,
            wal: true,
            wal_segment_bytes: 16 << 20,
            overflow_threshold: None,
            dirty_bytes_max: 384 << 20,
            checkpoint_wal_bytes: 24 << 20,
            checkpoint_interval: Duration::from_secs(300),
            cache_bytes: 64 << 20,
            transaction_bytes_max: 256 << 20,
            bulk_bytes: 4 << 20,
            mmap: true,
            bloom_bits_per_key: BITS_PER_KEY,
            background: true,
            expiry_interval: Duration::from_secs(1),
            secure_memory: false,
            read_only: false,
            merge_operators: Vec::new(),
            vfs: None,
        }
    }
}

impl DatabaseOptions {
    /// The defaults: 4 KiB pages, every commit durable before it returns, at most 384 MiB of changed pages in memory.
    pub fn new() -> DatabaseOptions {
        DatabaseOptions::default()
    }

    /// For a fast SSD: 16 KiB pages, larger checkpoints.
    pub fn nvme_optimized() -> DatabaseOptions {
        DatabaseOptions::new()
            .page_size(PageSize::Size16K)
            .dirty_bytes_max(512 << 20)
            .checkpoint_wal_bytes(24 << 20)
    }

    /// For throughput before all else: commits return at once, the log is flushed every 10 ms, checkpoints are rare.
    /// A power cut may lose the last 10 ms; recovery takes longer.
    pub fn high_throughput() -> DatabaseOptions {
        DatabaseOptions::new()
            .sync(SyncPolicy::Batched(Duration::from_millis(10)))
            .dirty_bytes_max(1 << 30)
            .checkpoint_wal_bytes(256 << 20)
    }

    /// For small machines: some 10 MiB of memory in all.
    pub fn low_memory() -> DatabaseOptions {
        DatabaseOptions::new()
            .dirty_bytes_max(4 << 20)
            .checkpoint_wal_bytes(2 << 20)
            .wal_segment_bytes(1 << 20)
            .cache_bytes(4 << 20)
            .transaction_bytes_max(4 << 20)
            .bulk_bytes(1 << 20)
    }

    /// The page size of a database that is created. One that exists must have this size too, or opening it is refused;
    /// without this option any size is accepted, and a new database gets 4 KiB.
    pub fn page_size(mut self, size: PageSize) -> Self {
        self.page_size = Some(size);
        self
    }

    /// When commits are durable; single transactions can say otherwise.
    pub fn sync(mut self, policy: SyncPolicy) -> Self {
        self.sync = policy;
        self
    }

    /// Whether commits go through a write-ahead log (the default). Without one each commit writes its pages and a meta page,
    /// with two flushes: slower for small commits, but there is one file only.
    pub fn wal(mut self, on: bool) -> Self {
        self.wal = on;
        self
    }

    /// The size of a file of the log.
    pub fn wal_segment_bytes(mut self, bytes: u64) -> Self {
        self.wal_segment_bytes = bytes;
        self
    }

    /// Values longer than this are kept outside of the tree, in pages of their own. The default, and the greatest that is possible,
    /// is what lets two entries fit a page.
    pub fn overflow_threshold(mut self, bytes: usize) -> Self {
        self.overflow_threshold = Some(bytes);
        self
    }

    /// How much memory changed pages may take before a checkpoint writes them to the file; 384 MiB by default. It begins at three quarters of
    /// this, and commits are slowed down as the rest fills up. No more is taken than there are changed pages, so a database that
    /// is written little, or is small, stays far below; pages that were written once are kept for the next ones.
    pub fn dirty_bytes_max(mut self, bytes: u64) -> Self {
        self.dirty_bytes_max = bytes;
        self
    }

    /// How long the log may get before a checkpoint makes it superfluous; 24 MiB by default. It bounds the time that opening takes after a crash: some
    /// 1 to 2 ms a MiB until readers are served, and several times that until writers are.
    pub fn checkpoint_wal_bytes(mut self, bytes: u64) -> Self {
        self.checkpoint_wal_bytes = bytes;
        self
    }

    /// The longest time between a change and the checkpoint that has it.
    pub fn checkpoint_interval(mut self, interval: Duration) -> Self {
        self.checkpoint_interval = interval;
        self
    }

    /// How much memory pages read from the file may take where they can't be mapped. Pages that were evicted stay until the readers have gone that
    /// began before that, so beside a reader that stays for long it can become more.
    pub fn cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// How much memory the uncommitted writes of one transaction may take. A [`WriteTx`](crate::WriteTx) that has more
    /// merges them into pages of the file, unseen by others; an [`OptimisticTx`](crate::OptimisticTx) is refused.
    pub fn transaction_bytes_max(mut self, bytes: u64) -> Self {
        self.transaction_bytes_max = bytes;
        self
    }

    /// From this size on a transaction's pages are written to the file at once instead of to the log first.
    pub fn bulk_bytes(mut self, bytes: u64) -> Self {
        self.bulk_bytes = bytes;
        self
    }

    /// Whether the file is read through a memory mapping (the default), or with system calls through a cache of
    /// [`cache_bytes`](Self::cache_bytes).
    pub fn mmap(mut self, on: bool) -> Self {
        self.mmap = on;
        self
    }

    /// Bits of Bloom filter per key, 10 for one false positive in a hundred; 0 for no filters.
    pub fn bloom_bits_per_key(mut self, bits: u32) -> Self {
        self.bloom_bits_per_key = bits;
        self
    }

    /// Whether the database has a thread of its own (the default) for checkpoints, batched flushes and the collection of expired
    /// keys. Without one, the commits that cause such work do it.
    pub fn background(mut self, on: bool) -> Self {
        self.background = on;
        self
    }

    /// How often expired keys are collected.
    pub fn expiry_interval(mut self, interval: Duration) -> Self {
        self.expiry_interval = interval;
        self
    }

    /// Whether a transaction's memory is overwritten with zeros when it is released.
    pub fn secure_memory(mut self, on: bool) -> Self {
        self.secure_memory = on;
        self
    }

    /// Opens for reading only: nothing is written, not even to recover; what the log has is replayed in memory.
    pub fn read_only(mut self, on: bool) -> Self {
        self.read_only = on;
        self
    }

    /// Names a function for [`merge`](crate::Writable::merge). The result is stored, not the operands, so that the function may change later.
    pub fn merge_operator<F>(mut self, name: &str, merge: F) -> Self
    where
        F: Fn(&[u8], Option<&[u8]>, &[u8]) -> Option<Vec<u8>> + Send + Sync + 'static,
    {
        self.merge_operators.retain(|(n, _)| n != name);
        self.merge_operators.push((name.to_owned(), Arc::new(merge)));
        self
    }

    /// The file system that the database lives on; the real one by default.
    pub fn vfs(mut self, vfs: Arc<dyn Vfs>) -> Self {
        self.vfs = Some(vfs);
        self
    }

    /// Refuses what can't hold together.
    pub(crate) fn validate(&self) -> Result<()> {
        let refuse = |why: &str| Err(Error::InvalidOptions { why: why.to_owned() });
        let page = self.page_size.unwrap_or_default().bytes() as u64;
        if self.dirty_bytes_max < 64 * page {
            return refuse("dirty_bytes_max must be at least 64 pages");
        }
        if self.wal_segment_bytes < 4096 {
            return refuse("wal_segment_bytes must be at least 4096");
        }
        if self.checkpoint_wal_bytes < 4096 {
            return refuse("checkpoint_wal_bytes must be at least 4096");
        }
        if self.transaction_bytes_max < page {
            return refuse("transaction_bytes_max must be at least one page");
        }
        if self.bulk_bytes > self.transaction_bytes_max {
            return refuse("bulk_bytes must not be greater than transaction_bytes_max");
        }
        if !self.mmap && self.cache_bytes < 64 * page {
            return refuse("cache_bytes must be at least 64 pages where mmap is off");
        }
        if self.bloom_bits_per_key > 64 {
            return refuse("bloom_bits_per_key must be at most 64");
        }
        if !self.wal && !matches!(self.sync, SyncPolicy::Immediate | SyncPolicy::None) {
            return refuse(
                "without a log there is nothing to flush in batches: use SyncPolicy::Immediate or None",
            );
        }
        if !self.background && matches!(self.sync, SyncPolicy::Batched(_)) {
            return refuse("SyncPolicy::Batched needs the background thread");
        }
        if matches!(self.sync, SyncPolicy::Batched(d) if d.is_zero()) {
            return refuse("SyncPolicy::Batched needs an interval greater than zero");
        }
        Ok(())
    }
}
