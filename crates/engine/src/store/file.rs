//! The file that the pages are in: reads by mapping where that is possible, and by system calls where not.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use weald_vfs::{File, Mapping, WriteOp};

use crate::error::{Error, Result};

/// The first mapping spans this much, or four times the file: what is not touched costs nothing but addresses.
const MAP_MIN: u64 = 64 << 30;
/// Each mapping is at least twice as long as the one before.
const MAPS: usize = 32;

/// A file of pages.
pub(crate) struct PageFile {
    path: PathBuf,
    file: Arc<dyn File>,
    page_size: usize,
    /// Pages that the file has: what lies beyond is not read.
    pages: AtomicU64,
    /// Mappings made so far, each longer than the last; older ones stay, since slices of them may be lent.
    maps: [OnceLock<Arc<Mapping>>; MAPS],
    newest_map: AtomicUsize,
    growing: Mutex<()>,
    use_map: AtomicBool,
}

impl PageFile {
    pub(crate) fn new(path: &Path, file: Arc<dyn File>, page_size: usize, use_map: bool) -> Result<PageFile> {
        let this = PageFile {
            path: path.to_owned(),
            file,
            page_size,
            pages: AtomicU64::new(0),
            maps: [const { OnceLock::new() }; MAPS],
            newest_map: AtomicUsize::new(0),
            growing: Mutex::new(()),
            use_map: AtomicBool::new(use_map),
        };
        this.measure()?;
        Ok(this)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn page_size(&self) -> usize {
        self.page_size
    }

    /// The file itself, for a thread that writes pages of its own.
    pub(super) fn handle(&self) -> Arc<dyn File> {
        Arc::clone(&self.file)
    }

    /// Pages that the file has.
    pub(crate) fn pages(&self) -> u64 {
        self.pages.load(Ordering::Acquire)
    }

    /// Whether pages are read through a mapping.
    pub(crate) fn is_mapped(&self) -> bool {
        self.use_map.load(Ordering::Relaxed)
    }

    /// Looks how long the file is, after it grew or was cut.
    pub(crate) fn measure(&self) -> Result<()> {
        let len = self
            .file
            .len()
            .map_err(|e| Error::io("measure", &self.path, None, e))?;
        self.pages.store(len / self.page_size as u64, Ordering::Release);
        self.cover(len)
    }

    /// Makes a mapping that spans `len` bytes, if there is none. Where it can't be had, pages are read by system calls.
    fn cover(&self, len: u64) -> Result<()> {
        if !self.is_mapped() {
            return Ok(());
        }
        let _growing = self.growing.lock().expect("no panic while a mapping is made");
        let newest = self.newest_map.load(Ordering::Acquire);
        let spans = self.maps[newest].get().map_or(0, |map| map.capacity());
        if spans >= len.max(1) {
            return Ok(());
        }
        let mut capacity = (len * 4).max(MAP_MIN).next_power_of_two();
        let index = if spans == 0 { 0 } else { newest + 1 };
        while capacity >= len.max(1 << 20) && index < MAPS {
            match self.file.map(capacity) {
                Ok(Some(map)) => {
                    self.maps[index]
                        .set(map)
                        .expect("the index is past the newest map");
                    self.newest_map.store(index, Ordering::Release);
                    return Ok(());
                }
                Ok(None) => capacity /= 2,
                Err(e) => return Err(Error::io("map", &self.path, None, e)),
            }
        }
        self.use_map.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// The bytes from `offset` on through the mapping; `None` where it does not span them or there is none.
    ///
    /// # Safety
    ///
    /// Nobody may write these bytes of the file while the slice lives, and the file must have been long enough when it was last measured.
    #[inline]
    pub(super) unsafe fn slice(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let map = self.maps[self.newest_map.load(Ordering::Acquire)].get()?;
        // SAFETY: that the file has the bytes and that they stay is the caller's promise.
        unsafe { map.slice(offset, len) }
    }

    /// Whether bytes that were read through a mapping were not those of the file: the device failed, or the file was cut.
    #[inline]
    pub(crate) fn faulted(&self) -> bool {
        match self.maps[self.newest_map.load(Ordering::Relaxed)].get() {
            Some(map) => map.faulted(),
            None => false,
        }
    }

    pub(crate) fn read(&self, buf: &mut [u8], offset: u64) -> Result<()> {
        self.file
            .read_exact_at(buf, offset)
            .map_err(|e| Error::io("read", &self.path, Some(offset), e))
    }

    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(|e| Error::io("write", &self.path, Some(offset), e))
    }

    pub(crate) fn write_batch(&self, ops: &[WriteOp<'_>]) -> Result<()> {
        let offset = ops.first().map(|op| op.offset);
        self.file
            .write_batch(ops)
            .map_err(|e| Error::io("write", &self.path, offset, e))
    }

    pub(crate) fn sync(&self) -> Result<()> {
        self.file
            .sync_data()
            .map_err(|e| Error::io("flush", &self.path, None, e))
    }

    /// Cuts the file after `pages` pages.
    pub(crate) fn cut(&self, pages: u64) -> Result<()> {
        self.pages.store(pages, Ordering::Release);
        let len = pages * self.page_size as u64;
        self.file
            .set_len(len)
            .map_err(|e| Error::io("cut", &self.path, Some(len), e))
    }

    /// Gives the blocks of these pages back to the file system.
    pub(crate) fn punch(&self, start: u64, pages: u64) -> Result<()> {
        let (offset, len) = (start * self.page_size as u64, pages * self.page_size as u64);
        self.file
            .punch_hole(offset, len)
            .map_err(|e| Error::io("punch a hole in", &self.path, Some(offset), e))
    }
}
