//! A database in the making: under a name of its own until it is whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use weald_vfs::{File, OpenMode, Vfs};

use crate::core::Core;
use crate::error::{Error, Result};
use crate::options::PageSize;
use crate::options::{DatabaseOptions, SyncPolicy};
use crate::recovery::{self, dir_of, log_dir, with_suffix};
use crate::store::PageFile;

/// The name that a database gets, kept for it, and the one that it has meanwhile. Dropped before [`finish`](Self::finish) it leaves
/// nothing.
pub(crate) struct Nascent {
    vfs: Arc<dyn Vfs>,
    temporary: PathBuf,
    path: PathBuf,
    finished: bool,
    _lock: Box<dyn Send + Sync>,
}

impl Nascent {
    /// Takes the name `path`. What has it already is an error unless it is to be replaced in the end.
    pub(crate) fn new(path: &Path, vfs: Arc<dyn Vfs>, replace: bool) -> Result<Nascent> {
        let lock_name = with_suffix(path, "-lock");
        let lock = vfs.lock(&lock_name, true).map_err(|e| match e.kind() {
            std::io::ErrorKind::WouldBlock => recovery::held(&e),
            _ => Error::io("lock", &lock_name, None, e),
        })?;
        for taken in [path.to_owned(), log_dir(path)] {
            let exists = vfs
                .exists(&taken)
                .map_err(|e| Error::io("look for", &taken, None, e))?;
            if exists && !replace {
                return Err(Error::Exists { path: taken });
            }
        }
        let nascent = Nascent {
            temporary: with_suffix(path, "-part"),
            path: path.to_owned(),
            vfs,
            finished: false,
            _lock: lock,
        };
        // What an earlier attempt left when the process died.
        nascent.remove();
        Ok(nascent)
    }

    /// An empty database to fill.
    pub(crate) fn open(&self, options: DatabaseOptions) -> Result<Core> {
        let mut options = options
            .wal(false)
            .sync(SyncPolicy::None)
            .background(false)
            .read_only(false);
        options.transaction_bytes_max = options.transaction_bytes_max.max(2 * BATCH as u64);
        recovery::open(&self.temporary, Arc::clone(&self.vfs), options)
    }

    /// Closes the filled database, with both meta pages on the disk.
    pub(crate) fn close(&self, core: Core) -> Result<()> {
        core.close()?;
        core.store.file.sync()?;
        drop(core);
        Ok(())
    }

    /// An empty file to fill.
    pub(crate) fn create(&self, size: PageSize) -> Result<PageFile> {
        let file = self
            .vfs
            .open(&self.temporary, OpenMode::CreateNew)
            .map_err(|e| Error::io("create", &self.temporary, None, e))?;
        PageFile::new(&self.temporary, file, size.bytes(), false)
    }

    /// Gives the finished file its name. It must have been flushed and closed.
    pub(crate) fn finish(mut self) -> Result<()> {
        let failed = |e| Error::io("rename to", &self.path, None, e);
        self.vfs.rename(&self.temporary, &self.path).map_err(failed)?;
        self.finished = true;
        self.remove_lock();
        let dir = dir_of(&self.path);
        self.vfs
            .sync_dir(dir)
            .map_err(|e| Error::io("flush", dir, None, e))?;
        self.remove_old_log()
    }

    /// The log of the database that was replaced. Until it is gone, opening the new one is refused, since it is another's.
    fn remove_old_log(&self) -> Result<()> {
        let dir = log_dir(&self.path);
        let failed = |e| Error::io("remove the old log in", &dir, None, e);
        if !self.vfs.exists(&dir).map_err(failed)? {
            return Ok(());
        }
        for file in self.vfs.list(&dir).map_err(failed)? {
            self.vfs.remove(&file).map_err(failed)?;
        }
        self.vfs.remove_dir(&dir).map_err(failed)
    }

    fn remove(&self) {
        // Absent is what they should be.
        let _ = self.vfs.remove(&self.temporary);
        self.remove_lock();
    }

    fn remove_lock(&self) {
        let _ = self.vfs.remove(&with_suffix(&self.temporary, "-lock"));
    }
}

impl Drop for Nascent {
    fn drop(&mut self) {
        if !self.finished {
            self.remove();
        }
    }
}

/// Bytes that are staged before they become a commit of the database in the making.
pub(crate) const BATCH: usize = 16 << 20;

/// A file that is written from its beginning to its end, and gets its name when it is whole.
pub(crate) struct NascentFile {
    vfs: Arc<dyn Vfs>,
    temporary: PathBuf,
    path: PathBuf,
    file: Arc<dyn File>,
    at: u64,
    finished: bool,
}

impl NascentFile {
    pub(crate) fn create(path: &Path, vfs: Arc<dyn Vfs>) -> Result<NascentFile> {
        let failed = |e| Error::io("create", path, None, e);
        if vfs.exists(path).map_err(failed)? {
            return Err(Error::Exists {
                path: path.to_owned(),
            });
        }
        let temporary = with_suffix(path, "-part");
        let file = vfs.open(&temporary, OpenMode::Create).map_err(failed)?;
        file.set_len(0).map_err(failed)?;
        Ok(NascentFile {
            vfs,
            temporary,
            path: path.to_owned(),
            file,
            at: 0,
            finished: false,
        })
    }

    pub(crate) fn finish(mut self) -> Result<()> {
        let failed = |e| Error::io("flush", &self.path, None, e);
        self.file.sync_data().map_err(failed)?;
        if self.vfs.exists(&self.path).map_err(failed)? {
            return Err(Error::Exists {
                path: self.path.clone(),
            });
        }
        self.vfs
            .rename(&self.temporary, &self.path)
            .map_err(|e| Error::io("rename to", &self.path, None, e))?;
        self.finished = true;
        self.vfs.sync_dir(dir_of(&self.path)).map_err(failed)
    }
}

impl std::io::Write for NascentFile {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write_at(buf, self.at)?;
        self.at += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for NascentFile {
    fn drop(&mut self) {
        if !self.finished {
            // The name is free for the next attempt anyhow.
            let _ = self.vfs.remove(&self.temporary);
        }
    }
}
