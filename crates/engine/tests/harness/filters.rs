//! A filter is made for a tree that one commit fills, however long the disk takes to flush that commit.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use weald_engine::{Database, DatabaseOptions, Readable, Writable};
use weald_vfs::{File, Mapping, Memory, OpenMode, Vfs};

/// Several times as long as the threads of a database wait between two looks around.
const FLUSH: Duration = Duration::from_millis(400);

#[test]
fn a_filter_is_made_for_a_commit_that_is_long_in_being_flushed() {
    let vfs: Arc<dyn Vfs> = Arc::new(Slow(Memory::new()));
    let db = Database::open_with_options("db", DatabaseOptions::new().vfs(vfs)).unwrap();
    let mut tx = db.write().unwrap();
    for n in 0..20_000u32 {
        tx.put(&n.to_be_bytes(), b"v").unwrap();
    }
    // Not so large that it goes into the file at once, with a filter of its own.
    tx.commit().unwrap();
    assert_eq!(db.stats().direct_commits, 0);
    let began = Instant::now();
    while db.stats().filter_bytes == 0 || !db.stats().filters_ready {
        assert!(began.elapsed() < Duration::from_secs(20), "no filter appeared");
        std::thread::sleep(Duration::from_millis(5));
    }
    let tx = db.read().unwrap();
    let absent = (20_000..30_000u32).filter(|n| !tx.contains_key(&n.to_be_bytes()).unwrap());
    assert_eq!(absent.count(), 10_000);
    assert!(db.stats().filter_hits > 9_000);
}

/// Takes its time to flush the log.
#[derive(Debug)]
struct Slow(Memory);

#[derive(Debug)]
struct SlowFile {
    file: Arc<dyn File>,
    is_log: bool,
}

impl Vfs for Slow {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(SlowFile {
            file: self.0.open(path, mode)?,
            is_log: path.to_string_lossy().contains("-wal"),
        }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.exists(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.0.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.create_dir(dir)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }

    fn lock(&self, path: &Path, exclusive: bool) -> io::Result<Box<dyn Send + Sync>> {
        self.0.lock(path, exclusive)
    }

    fn io_name(&self) -> &'static str {
        "slow"
    }
}

impl File for SlowFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.is_log {
            std::thread::sleep(FLUSH);
        }
        self.file.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.allocate(offset, len)
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.punch_hole(offset, len)
    }

    fn map(&self, capacity: u64) -> io::Result<Option<Arc<Mapping>>> {
        self.file.map(capacity)
    }

    fn map_writes(&self, len: u64) -> io::Result<()> {
        self.file.map_writes(len)
    }
}
