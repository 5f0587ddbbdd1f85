//! An open file of the operating system.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::{Shared, batch, direct};
use crate::mapping::{WriteMapping, missing_page};
use crate::{File, Mapping, ReadOp, WriteOp};

#[derive(Debug)]
pub(super) struct DiskFile {
    file: fs::File,
    shared: Arc<Shared>,
    /// The same file for direct writes, where they are asked for and possible.
    direct: OnceLock<Option<fs::File>>,
    direct_refused: AtomicBool,
    /// Where `map_writes` was asked for. The lock makes one copy at a time go in, and none while the file is
    /// cut.
    writes: Mutex<Option<WriteMapping>>,
    /// The length of `writes`, 0 where there is none, so that other writes needn't look behind the lock. It
    /// is only a hint: what it says is checked again there.
    writes_len: AtomicU64,
}

impl DiskFile {
    pub(super) fn new(file: fs::File, shared: Arc<Shared>) -> DiskFile {
        DiskFile {
            file,
            shared,
            direct: OnceLock::new(),
            direct_refused: AtomicBool::new(false),
            writes: Mutex::new(None),
            writes_len: AtomicU64::new(0),
        }
    }

    /// The file for direct writes. Not while there are mapped writes: the kernel would have to drop pages
    /// that are being written.
    fn direct(&self) -> Option<&fs::File> {
        let wanted = self.shared.direct_writes
            && !self.direct_refused.load(Ordering::Relaxed)
            && self.writes_len.load(Ordering::Relaxed) == 0;
        if !wanted {
            return None;
        }
        self.direct.get_or_init(|| direct::reopen(&self.file)).as_ref()
    }

    fn writes(&self) -> MutexGuard<'_, Option<WriteMapping>> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace_writes(&self, slot: &mut Option<WriteMapping>, mapping: Option<WriteMapping>) {
        self.writes_len
            .store(mapping.as_ref().map_or(0, WriteMapping::len), Ordering::Relaxed);
        *slot = mapping;
    }

    /// Copies `buf` into the write mapping; `None` where that doesn't reach.
    fn write_mapped(&self, buf: &[u8], offset: u64) -> Option<io::Result<()>> {
        let end = offset.checked_add(buf.len() as u64)?;
        if end > self.writes_len.load(Ordering::Relaxed) {
            return None;
        }
        self.writes().as_mut()?.copy_in(buf, offset)
    }
}

impl File for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        match self.write_mapped(buf, offset) {
            Some(done) => done.map(|()| buf.len()),
            None => self.file.write_at(buf, offset),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()?;
        let lost = self.writes_len.load(Ordering::Relaxed) > 0
            && self.writes().as_ref().is_some_and(WriteMapping::faulted);
        if lost { Err(missing_page()) } else { Ok(()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut writes = self.writes();
        if writes.as_ref().is_some_and(|mapping| mapping.len() > len) {
            self.replace_writes(&mut writes, None);
        }
        self.file.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        space::allocate(&self.file, offset, len)
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        space::punch_hole(&self.file, offset, len)
    }

    fn write_batch(&self, ops: &[WriteOp<'_>]) -> io::Result<()> {
        let Shared { io, pool, .. } = &*self.shared;
        let Some(direct) = self.direct() else {
            return batch::write_buffered(io, &self.file, ops);
        };
        if !batch::write_direct(io, &self.file, direct, pool, ops)? {
            self.direct_refused.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn read_batch(&self, ops: &mut [ReadOp<'_>]) -> io::Result<()> {
        if self.shared.io.read(&self.file, ops)? {
            return Ok(());
        }
        ops.iter_mut()
            .try_for_each(|op| self.file.read_exact_at(op.bytes, op.offset))
    }

    fn map(&self, capacity: u64) -> io::Result<Option<Arc<Mapping>>> {
        // Whatever the reason (a limit on addresses, a special file, a file system without mappings), reading
        // still works.
        Ok(Mapping::new(&self.file, capacity).ok().map(Arc::new))
    }

    fn map_writes(&self, len: u64) -> io::Result<()> {
        let mut writes = self.writes();
        if len > self.len()? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "mapped writes beyond the end of the file",
            ));
        }
        let mapping = if len == 0 {
            None
        } else {
            WriteMapping::new(&self.file, len).ok()
        };
        self.replace_writes(&mut writes, mapping);
        Ok(())
    }
}

/// Blocks reserved and given back.
mod space {
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::FileExt;

    pub(super) fn allocate(file: &File, offset: u64, len: u64) -> io::Result<()> {
        let Some(end) = offset.checked_add(len) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        if len == 0 {
            return Ok(());
        }
        if fallocate(file, 0, offset, len)? {
            return Ok(());
        }
        write_zeros(file, offset, end)
    }

    /// Reserves the part of the range behind the end of the file by writing it, where the file system knows
    /// no other way. What lies before the end is left alone: rewriting it could undo a write made meanwhile.
    fn write_zeros(file: &File, offset: u64, end: u64) -> io::Result<()> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        let mut at = file.metadata()?.len().max(offset);
        while at < end {
            let part = (end - at).min(ZEROS.len() as u64) as usize;
            file.write_all_at(&ZEROS[..part], at)?;
            at += part as u64;
        }
        Ok(())
    }

    pub(super) fn punch_hole(file: &File, offset: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        #[cfg(target_os = "linux")]
        fallocate(
            file,
            libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
            offset,
            len,
        )?;
        Ok(())
    }

    /// `Ok(false)` where the file system can't.
    #[cfg(target_os = "linux")]
    fn fallocate(file: &File, mode: libc::c_int, offset: u64, len: u64) -> io::Result<bool> {
        use std::os::fd::AsRawFd;

        let invalid = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let offset = libc::off64_t::try_from(offset).map_err(invalid)?;
        let len = libc::off64_t::try_from(len).map_err(invalid)?;
        loop {
            // SAFETY: the call touches no memory of ours.
            if unsafe { libc::fallocate64(file.as_raw_fd(), mode, offset, len) } == 0 {
                return Ok(true);
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EOPNOTSUPP | libc::ENOSYS) => return Ok(false),
                _ => return Err(error),
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn fallocate(_file: &File, _mode: libc::c_int, _offset: u64, _len: u64) -> io::Result<bool> {
        Ok(false)
    }
}
