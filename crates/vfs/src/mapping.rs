//! A read-only view of a file's bytes in the address space.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

/// A read-only mapping of the beginning of a file; see [`File::map`](crate::File::map).
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    capacity: usize,
}

// SAFETY: the mapping is plain memory that nobody unmaps before it drops; what may be read through it at which time is
// the contract of `slice`.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(crate) fn new(file: &File, capacity: u64) -> io::Result<Mapping> {
        let capacity = usize::try_from(capacity).map_err(|_| io::ErrorKind::OutOfMemory)?;
        // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory that anybody owns.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                capacity,
                libc::PROT_READ,
                libc::MAP_SHARED | libc::MAP_NORESERVE,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { start, capacity })
    }

    /// The bytes that the mapping spans, whether the file has them or not.
    pub fn capacity(&self) -> u64 {
        self.capacity as u64
    }

    /// The bytes from `offset` on, or `None` where they lie outside of the mapping.
    ///
    /// # Safety
    ///
    /// The file must have these bytes, and nobody may change them while the slice lives.
    pub unsafe fn slice(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let offset = usize::try_from(offset).ok()?;
        if offset.checked_add(len)? > self.capacity {
            return None;
        }
        // SAFETY: in bounds as checked above; that the file has the bytes and that they stay is the caller's promise.
        Some(unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(offset), len) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is the one that `mmap` gave, and no slice of it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.capacity) };
    }
}
