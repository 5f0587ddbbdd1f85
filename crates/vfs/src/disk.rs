//! The real disk.
//!
//! [`Disk`] is names and locks; `file` is bytes, of which `batch` brings many writes into few calls and `lock` keeps
//! other processes out.

mod batch;
mod file;
mod lock;

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{File, OpenMode, Vfs};
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
#[derive(Clone, Debug, Default)]
pub struct Disk {}

impl Disk {
    /// The disk, with default options.
    pub fn new() -> Disk {
        Disk::default()
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
        Ok(Arc::new(DiskFile::new(options.open(path)?)))
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
}

/// The directory of a plain file name is written as an empty path; the system wants a dot.
fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    }
}
