//! Files in memory.
//!
//! [`Memory`] is names and locks, [`Contents`](contents::Contents) the bytes of one file.

mod contents;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::rules::{check_range, is_root, not_writable, parent, plain};
use crate::{File, LockHeld, Mapping, OpenMode, Vfs};
use contents::Contents;

/// A file system in memory, for tests and for databases that need not outlive the process.
///
/// Clones are handles to the same files: what one writes the other reads, so a database that is closed can be
/// opened again. Like a disk it wants directories to exist (`/` and the empty path always do), keeps a
/// removed file for those who have it open, and takes no memory for what was never written. It can't be
/// mapped.
///
/// # Example
///
/// ```
/// use std::path::Path;
/// use weald_vfs::{Memory, OpenMode, Vfs};
///
/// # fn main() -> std::io::Result<()> {
/// let memory = Memory::new();
/// let path = Path::new("/data");
/// memory.open(path, OpenMode::CreateNew)?.write_all_at(b"hello", 0)?;
///
/// let again = memory.clone();
/// let mut bytes = [0; 5];
/// again.open(path, OpenMode::Read)?.read_exact_at(&mut bytes, 0)?;
/// assert_eq!(&bytes, b"hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Memory {
    tree: Arc<Mutex<Tree>>,
}

#[derive(Debug, Default)]
struct Tree {
    files: BTreeMap<PathBuf, Arc<RwLock<Contents>>>,
    dirs: BTreeSet<PathBuf>,
    locks: HashMap<PathBuf, Holders>,
}

#[derive(Debug)]
enum Holders {
    One,
    Sharing(usize),
}

impl Memory {
    /// An empty file system.
    pub fn new() -> Memory {
        Memory::default()
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tree {
    fn is_dir(&self, dir: &Path) -> bool {
        is_root(dir) || self.dirs.contains(dir)
    }

    /// Whether a file or directory may get the name `path`.
    fn check_parent(&self, path: &Path) -> io::Result<()> {
        let dir = parent(path);
        if self.is_dir(dir) {
            Ok(())
        } else if self.files.contains_key(dir) {
            Err(io::ErrorKind::NotADirectory.into())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn open(&mut self, path: PathBuf, mode: OpenMode) -> io::Result<Arc<RwLock<Contents>>> {
        self.check_parent(&path)?;
        if self.is_dir(&path) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let found = self.files.get(&path);
        match (mode, found) {
            (OpenMode::CreateNew, Some(_)) => Err(io::ErrorKind::AlreadyExists.into()),
            (OpenMode::Read | OpenMode::Write, None) => Err(io::ErrorKind::NotFound.into()),
            (_, Some(contents)) => Ok(Arc::clone(contents)),
            (_, None) => Ok(Arc::clone(self.files.entry(path).or_default())),
        }
    }
}

impl Vfs for Memory {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let contents = self.tree().open(plain(path), mode)?;
        Ok(Arc::new(MemoryFile {
            contents,
            writable: mode != OpenMode::Read,
        }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = self.tree().files.remove(&plain(path));
        removed.map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (plain(from), plain(to));
        let mut tree = self.tree();
        tree.check_parent(&to)?;
        if tree.is_dir(&to) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let contents = tree.files.remove(&from).ok_or(io::ErrorKind::NotFound)?;
        tree.files.insert(to, contents);
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let path = plain(path);
        let tree = self.tree();
        Ok(tree.is_dir(&path) || tree.files.contains_key(&path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let plain_dir = plain(dir);
        let tree = self.tree();
        if !tree.is_dir(&plain_dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = tree.files.keys().filter(|path| parent(path) == plain_dir);
        Ok(inside
            .filter_map(|path| path.file_name())
            .map(|name| dir.join(name))
            .collect())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = plain(dir);
        let mut tree = self.tree();
        if is_root(&dir) {
            return Ok(());
        }
        tree.check_parent(&dir)?;
        if tree.files.contains_key(&dir) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        tree.dirs.insert(dir);
        Ok(())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = plain(dir);
        let mut tree = self.tree();
        let mut inside = tree.files.keys().chain(&tree.dirs);
        if inside.any(|path| path.parent() == Some(&dir)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        if tree.dirs.remove(&dir) {
            Ok(())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.tree().is_dir(&plain(dir)) {
            Ok(())
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn lock(&self, path: &Path, exclusive: bool) -> io::Result<Box<dyn Send + Sync>> {
        let path = plain(path);
        let mut tree = self.tree();
        tree.open(path.clone(), OpenMode::Create)?;
        match (tree.locks.get_mut(&path), exclusive) {
            (None, true) => drop(tree.locks.insert(path.clone(), Holders::One)),
            (None, false) => drop(tree.locks.insert(path.clone(), Holders::Sharing(1))),
            (Some(Holders::Sharing(count)), false) => *count += 1,
            (Some(holders), _) => {
                let pid = matches!(holders, Holders::One).then(std::process::id);
                return Err(io::Error::new(io::ErrorKind::WouldBlock, LockHeld { pid }));
            }
        }
        Ok(Box::new(MemoryLock {
            memory: self.clone(),
            path,
        }))
    }
}

struct MemoryLock {
    memory: Memory,
    path: PathBuf,
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        let mut tree = self.memory.tree();
        match tree.locks.get_mut(&self.path) {
            Some(Holders::Sharing(count)) if *count > 1 => *count -= 1,
            _ => drop(tree.locks.remove(&self.path)),
        }
    }
}

#[derive(Debug)]
struct MemoryFile {
    contents: Arc<RwLock<Contents>>,
    writable: bool,
}

impl MemoryFile {
    fn read(&self) -> RwLockReadGuard<'_, Contents> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> io::Result<RwLockWriteGuard<'_, Contents>> {
        if !self.writable {
            return Err(not_writable());
        }
        Ok(self.contents.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.read().len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(self.read().read_at(buf, offset))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        check_range(offset, buf.len() as u64)?;
        self.write()?.write_at(buf, offset);
        Ok(buf.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        check_range(len, 0)?;
        self.write()?.set_len(len);
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        check_range(offset, len)?;
        let mut contents = self.write()?;
        if len > 0 && offset + len > contents.len() {
            contents.set_len(offset + len);
        }
        Ok(())
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        self.write()?.zero(offset, offset.saturating_add(len));
        Ok(())
    }

    fn map(&self, _capacity: u64) -> io::Result<Option<Arc<Mapping>>> {
        Ok(None)
    }

    fn map_writes(&self, len: u64) -> io::Result<()> {
        let within = len <= self.write()?.len();
        if within {
            Ok(())
        } else {
            Err(io::ErrorKind::InvalidInput.into())
        }
    }
}
