//! A file system that tells of each call before it makes it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weald_vfs::{File, Mapping, OpenMode, Vfs};

/// A call that is about to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Write,
    Flush,
    /// Whatever else changes a file or a name.
    Other,
}

/// What is told of a call, and whether it is one to the log. A flush is left out if the answer is no.
pub(crate) type Hook = Arc<dyn Fn(Call, bool) -> bool + Send + Sync>;

pub(crate) struct Hooked {
    inner: Arc<dyn Vfs>,
    hook: Hook,
}

struct HookedFile {
    file: Arc<dyn File>,
    hook: Hook,
    is_log: bool,
}

impl Hooked {
    pub(crate) fn over(inner: impl Vfs + 'static, hook: Hook) -> Arc<dyn Vfs> {
        Arc::new(Hooked {
            inner: Arc::new(inner),
            hook,
        })
    }

    fn tell(&self, path: &Path) {
        (self.hook)(Call::Other, is_log(path));
    }
}

fn is_log(path: &Path) -> bool {
    path.to_string_lossy().contains("-wal")
}

impl std::fmt::Debug for Hooked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Hooked").field(&self.inner).finish()
    }
}

impl std::fmt::Debug for HookedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HookedFile").field(&self.file).finish()
    }
}

impl Vfs for Hooked {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.tell(path);
        Ok(Arc::new(HookedFile {
            file: self.inner.open(path, mode)?,
            hook: Arc::clone(&self.hook),
            is_log: is_log(path),
        }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.tell(path);
        self.inner.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.tell(from);
        self.inner.rename(from, to)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.inner.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.tell(dir);
        self.inner.create_dir(dir)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.tell(dir);
        self.inner.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.tell(dir);
        self.inner.sync_dir(dir)
    }

    fn lock(&self, path: &Path, exclusive: bool) -> io::Result<Box<dyn Send + Sync>> {
        self.inner.lock(path, exclusive)
    }

    fn io_name(&self) -> &'static str {
        "hooked"
    }
}

impl File for HookedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        (self.hook)(Call::Write, self.is_log);
        self.file.write_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        if (self.hook)(Call::Flush, self.is_log) {
            self.file.sync_data()
        } else {
            Ok(())
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        (self.hook)(Call::Other, self.is_log);
        self.file.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        (self.hook)(Call::Other, self.is_log);
        self.file.allocate(offset, len)
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        (self.hook)(Call::Other, self.is_log);
        self.file.punch_hole(offset, len)
    }

    fn map(&self, capacity: u64) -> io::Result<Option<Arc<Mapping>>> {
        self.file.map(capacity)
    }

    fn map_writes(&self, len: u64) -> io::Result<()> {
        self.file.map_writes(len)
    }
}
