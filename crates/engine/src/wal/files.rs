//! The files of the log: names, blocks written beforehand, and what is kept for the next segment.
//!
//! A file keeps its name for as long as it exists; what it holds is said by its header. Blocks are allocated, written with
//! zeros and flushed in steps before the log reaches them, so that a commit changes no metadata: a flush into fresh blocks costs
//! twice as much.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use weald_vfs::{OpenMode, Vfs};

use super::WalConfig;
use crate::error::{Error, Result};

const EXTENSION: &str = "wal";
/// Zeros written by one call: a page of the cache at a time. Where the cache holds larger pieces together, a write through the mapping dirties the whole
/// piece, and a flush takes two to four times as long.
static ZEROS: [u8; 4096] = [0; 4096];

/// A file that holds nothing which is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spare {
    pub(super) path: PathBuf,
    pub(super) len: u64,
    /// Whether this process has seen to it that its blocks are allocated.
    allocated: bool,
}

/// The directory of the log.
#[derive(Debug)]
pub(super) struct Files {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    config: WalConfig,
    spares: Vec<Spare>,
    next_number: u64,
    dir_exists: bool,
    /// Whether the names of the directory and of all files in it survive a crash. Another process may have died between
    /// creating one and making it durable, so this isn't known at first.
    names_durable: bool,
}

/// The number in the name of a log file, or `None` for any other file.
pub(super) fn number(path: &Path) -> Option<u64> {
    let name = path
        .file_name()?
        .to_str()?
        .strip_suffix(EXTENSION)?
        .strip_suffix('.')?;
    let digits = name.len() == 16 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    digits.then(|| u64::from_str_radix(name, 16).ok()).flatten()
}

impl Files {
    /// The directory as it was found: `spares` are the files that nothing needs, `next_number` is above all numbers in names.
    pub(super) fn new(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        config: WalConfig,
        spares: Vec<(PathBuf, u64)>,
        next_number: u64,
        dir_exists: bool,
    ) -> Files {
        let spares = spares.into_iter().map(|(path, len)| Spare {
            path,
            len,
            allocated: false,
        });
        Files {
            vfs,
            dir: dir.to_owned(),
            config,
            spares: spares.collect(),
            next_number,
            dir_exists,
            names_durable: false,
        }
    }

    pub(super) fn vfs(&self) -> &dyn Vfs {
        &*self.vfs
    }

    pub(super) fn spares(&self) -> usize {
        self.spares.len()
    }

    /// A file in which a segment can be begun that has at least `needed` bytes ready.
    pub(super) fn take(&mut self, needed: u64) -> Result<Spare> {
        self.stock()?;
        self.make_names_durable()?;
        let mut spare = self.spares.pop().expect("there is one in stock");
        match self.ready(&mut spare, needed) {
            Ok(()) => Ok(spare),
            Err(e) => {
                self.spares.push(spare);
                Err(e)
            }
        }
    }

    /// Creates a file where there is no spare one, with a step of it ready.
    pub(super) fn stock(&mut self) -> Result<()> {
        if !self.spares.is_empty() {
            return Ok(());
        }
        self.create_dir()?;
        let path = self.dir.join(format!("{:016x}.{EXTENSION}", self.next_number));
        self.vfs
            .open(&path, OpenMode::CreateNew)
            .map_err(|e| Error::io("create", &path, None, e))?;
        self.next_number += 1;
        self.names_durable = false;
        // In stock from here on: what follows is tried again when the file is taken, if it fails.
        self.spares.push(Spare {
            path,
            len: 0,
            allocated: false,
        });
        self.make_names_durable()?;
        let mut spare = self.spares.pop().expect("just pushed");
        let ready = self.ready(&mut spare, self.config.step_bytes.min(self.config.segment_bytes));
        self.spares.push(spare);
        ready
    }

    /// Sees to it that the first `needed` bytes of a spare file can be written to.
    fn ready(&self, spare: &mut Spare, needed: u64) -> Result<()> {
        if !spare.allocated && spare.len > 0 {
            // Another process may have died between growing it and writing it, or somebody copied it with holes.
            let file = self
                .vfs
                .open(&spare.path, OpenMode::Write)
                .map_err(|e| Error::io("open", &spare.path, None, e))?;
            file.allocate(0, spare.len)
                .map_err(|e| Error::io("allocate", &spare.path, Some(0), e))?;
        }
        spare.allocated = true;
        if spare.len < needed {
            spare.len = self.grow(&spare.path, spare.len, needed)?;
            self.flush(&spare.path)?;
        }
        Ok(())
    }

    /// Allocates and writes zeros from `len` on, up to `needed` or the end of the step that it lies in, without a flush; the new length.
    pub(super) fn grow(&self, path: &Path, len: u64, needed: u64) -> Result<u64> {
        let step = self.config.step_bytes;
        let to = needed
            .next_multiple_of(step)
            .min(self.config.segment_bytes)
            .max(needed);
        let file = self
            .vfs
            .open(path, OpenMode::Write)
            .map_err(|e| Error::io("open", path, None, e))?;
        file.allocate(len, to - len)
            .map_err(|e| Error::io("allocate", path, Some(len), e))?;
        let mut at = len;
        while at < to {
            let n = (to - at).min(ZEROS.len() as u64);
            file.write_all_at(&ZEROS[..n as usize], at)
                .map_err(|e| Error::io("write", path, Some(at), e))?;
            at += n;
        }
        Ok(to)
    }

    /// Flushes a file through a handle of its own, so that a failure which a commit must learn of is not taken away from it.
    pub(super) fn flush(&self, path: &Path) -> Result<()> {
        let file = self
            .vfs
            .open(path, OpenMode::Write)
            .map_err(|e| Error::io("open", path, None, e))?;
        file.sync_data().map_err(|e| Error::io("flush", path, None, e))
    }

    /// Keeps a file for the next segment, or removes it where enough are kept; whether it was kept.
    ///
    /// Its removal need not be durable: a file that comes back has a header that the chain of live segments doesn't lead to.
    pub(super) fn put_back(&mut self, path: &Path, len: u64) -> Result<bool> {
        if self.spares.len() >= self.config.spares || len > self.config.segment_bytes {
            self.remove(path)?;
            return Ok(false);
        }
        self.spares.insert(
            0,
            Spare {
                path: path.to_owned(),
                len,
                allocated: true,
            },
        );
        Ok(true)
    }

    /// Takes back a file that no segment could be begun in.
    pub(super) fn give_back(&mut self, spare: Spare) {
        self.spares.push(spare);
    }

    /// Removes what is spare beyond what is to be kept.
    pub(super) fn trim(&mut self) -> Result<()> {
        while self.spares.len() > self.config.spares
            || self.spares.iter().any(|s| s.len > self.config.segment_bytes)
        {
            let worst = (0..self.spares.len())
                .max_by_key(|i| self.spares[*i].len)
                .expect("not empty");
            self.remove(&self.spares[worst].path)?;
            self.spares.swap_remove(worst);
        }
        Ok(())
    }

    /// Removes the spare files.
    pub(super) fn remove_spares(&mut self) -> Result<()> {
        while let Some(spare) = self.spares.last() {
            self.remove(&spare.path)?;
            self.spares.pop();
        }
        Ok(())
    }

    pub(super) fn remove(&self, path: &Path) -> Result<()> {
        self.vfs
            .remove(path)
            .map_err(|e| Error::io("remove", path, None, e))
    }

    pub(super) fn sync_dir(&self) -> Result<()> {
        self.vfs
            .sync_dir(&self.dir)
            .map_err(|e| Error::io("flush", &self.dir, None, e))
    }

    /// Removes the directory if nothing is left in it; what somebody else put there stays.
    pub(super) fn remove_dir(&mut self) -> Result<()> {
        if !self.dir_exists || !self.list()?.is_empty() {
            return Ok(());
        }
        self.vfs
            .remove_dir(&self.dir)
            .map_err(|e| Error::io("remove", &self.dir, None, e))?;
        self.dir_exists = false;
        self.sync_parent()
    }

    fn list(&self) -> Result<Vec<PathBuf>> {
        self.vfs
            .list(&self.dir)
            .map_err(|e| Error::io("list", &self.dir, None, e))
    }

    fn create_dir(&mut self) -> Result<()> {
        if self.dir_exists {
            return Ok(());
        }
        self.vfs
            .create_dir(&self.dir)
            .map_err(|e| Error::io("create", &self.dir, None, e))?;
        self.dir_exists = true;
        self.names_durable = false;
        Ok(())
    }

    fn make_names_durable(&mut self) -> Result<()> {
        if !self.names_durable {
            self.sync_parent()?;
            self.sync_dir()?;
            self.names_durable = true;
        }
        Ok(())
    }

    fn sync_parent(&self) -> Result<()> {
        let parent = match self.dir.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        self.vfs
            .sync_dir(parent)
            .map_err(|e| Error::io("flush", parent, None, e))
    }
}
