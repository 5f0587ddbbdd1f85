//! The real disk.
//!
//! [`Disk`] is names and locks; `file` is bytes. `batch` brings many writes into few, some of them past the
//! page cache (`direct`), which go out by way of a `backend`: system calls, or a `ring`. `lock` keeps other
//! processes out.

mod backend;
mod batch;
mod direct;
mod file;
mod lock;
#[cfg(all(target_os = "linux", feature = "io_uring"))]
mod ring;

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{File, OpenMode, Vfs};
pub use backend::IoBackend;
use file::DiskFile;

/// The files of the operating system.
///
/// # Example
///
/// ```
/// use weald_vfs::{Disk, OpenMode, Vfs};
///
/// # fn main() -> std::io::Result<()> {
/// # let dir = tempfile::tempdir()?;
/// # let dir = dir.path();
/// let disk = Disk::new();
/// let file = disk.open(&dir.join("data"), OpenMode::CreateNew)?;
/// file.write_all_at(b"hello", 0)?;
/// file.sync_data()?; // the bytes
/// disk.sync_dir(dir)?; // the name
/// assert_eq!(disk.list(dir)?, [dir.join("data")]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Disk {
    shared: Arc<Shared>,
}

/// How [`Disk`] reads and writes.
///
/// # Example
///
/// ```
/// use weald_vfs::{Disk, DiskOptions, IoBackend, OpenMode, Vfs, WriteOp};
///
/// # fn main() -> std::io::Result<()> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("data");
/// let disk = Disk::with(DiskOptions { direct_writes: true, io: IoBackend::Auto });
/// let file = disk.open(&path, OpenMode::Create)?;
/// let pages = vec![7; 1 << 20];
/// file.write_batch(&[WriteOp { offset: 4096, bytes: &pages }])?;
/// file.sync_data()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskOptions {
    /// Whether [`write_batch`](File::write_batch) writes whole pages past the page cache (`O_DIRECT`), where
    /// the file system can.
    ///
    /// Large batches then neither push out what others have cached nor wait as dirty pages for the next
    /// flush, but each one waits for the device, and what was written is not in the cache for those who read
    /// it next. With [`IoBackend::Std`] only runs of 256 KiB and more go this way.
    pub direct_writes: bool,
    /// How batches are brought to the kernel.
    pub io: IoBackend,
}

/// What the files of a disk have in common.
#[derive(Debug)]
struct Shared {
    direct_writes: bool,
    io: backend::Io,
    pool: direct::Pool,
}

impl Default for Disk {
    fn default() -> Disk {
        Disk::with(DiskOptions::default())
    }
}

impl Disk {
    /// The disk, with default options.
    pub fn new() -> Disk {
        Disk::default()
    }

    /// The disk, used in another way.
    pub fn with(options: DiskOptions) -> Disk {
        let DiskOptions { direct_writes, io } = options;
        let shared = Shared {
            direct_writes,
            io: backend::Io::new(io),
            pool: direct::Pool::default(),
        };
        Disk {
            shared: Arc::new(shared),
        }
    }

    /// How it reads and writes: what was asked for, or what this build and this kernel have in its place.
    pub fn backend(&self) -> IoBackend {
        self.shared.io.backend()
    }
}

impl Vfs for Disk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::Write => drop(options.write(true)),
            OpenMode::Create => drop(options.write(true).create(true).truncate(false)),
            OpenMode::CreateNew => drop(options.write(true).create_new(true)),
        }
        Ok(Arc::new(DiskFile::new(
            options.open(path)?,
            Arc::clone(&self.shared),
        )))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        or_here(path).try_exists()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(or_here(dir))? {
            let entry = entry?;
            // A link to a file counts as one; an entry that went away meanwhile is left out.
            let is_file = match entry.file_type()? {
                kind if kind.is_symlink() => fs::metadata(entry.path()).is_ok_and(|target| target.is_file()),
                kind => kind.is_file(),
            };
            if is_file {
                files.push(dir.join(entry.file_name()));
            }
        }
        files.sort();
        Ok(files)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        match fs::create_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
            other => other,
        }
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(or_here(dir))?.sync_all()
    }

    fn lock(&self, path: &Path, exclusive: bool) -> io::Result<Box<dyn Send + Sync>> {
        lock::lock(path, exclusive).map(|held| Box::new(held) as Box<dyn Send + Sync>)
    }

    fn io_name(&self) -> &'static str {
        self.backend().name()
    }
}

/// The directory of a plain file name is written as an empty path; the system wants a dot.
fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    }
}
