//! An address range that shows a file.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

use super::guard::{self, Watch};

/// What a region may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// A shared mapping of the beginning of a file, watched for pages that can't be had.
#[derive(Debug)]
pub(super) struct Region {
    start: NonNull<u8>,
    len: usize,
    watch: Watch,
}

// SAFETY: the region is plain memory that nobody unmaps before it drops; what may be accessed when is up to
// its owners.
unsafe impl Send for Region {}
// SAFETY: as above; `Region` itself accesses nothing.
unsafe impl Sync for Region {}

impl Region {
    pub(super) fn new(file: &File, len: u64, access: Access) -> io::Result<Region> {
        // A mapping of no bytes is refused by the kernel, and one of a byte does no harm.
        let len = usize::try_from(len.max(1)).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let protection = match access {
            Access::Read => libc::PROT_READ,
            Access::Write => libc::PROT_READ | libc::PROT_WRITE,
        };
        guard::install();
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory that anybody owns.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                protection,
                libc::MAP_SHARED | libc::MAP_NORESERVE,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let watch = Watch::new(start.as_ptr() as usize, len, protection);
        Ok(Region { start, len, watch })
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The address of byte `offset`, or `None` where `len` bytes from there don't lie in the region.
    pub(super) fn range(&self, offset: u64, len: usize) -> Option<NonNull<u8>> {
        let offset = usize::try_from(offset).ok()?;
        if offset.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: `offset` is at most the length of the region, which is one allocation.
        Some(unsafe { self.start.add(offset) })
    }

    pub(super) fn faulted(&self) -> bool {
        self.watch.faulted()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // First out of the table: the next mapping may get the same addresses as soon as these are free.
        self.watch.end();
        // SAFETY: the range is the one that `mmap` gave, and no slice of it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
