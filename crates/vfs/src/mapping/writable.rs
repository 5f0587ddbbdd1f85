//! A mapping that is written to.

use std::fs::File;
use std::io;

use super::region::{Access, Region};

/// A shared writable mapping of the beginning of a file: a copy into it is a write to the file.
#[derive(Debug)]
pub(crate) struct WriteMapping {
    region: Region,
}

impl WriteMapping {
    pub(crate) fn new(file: &File, len: u64) -> io::Result<WriteMapping> {
        let region = Region::new(file, len, Access::Write)?;
        Ok(WriteMapping { region })
    }

    /// Copies `bytes` to `offset`; `None` where they don't fit in the mapping.
    ///
    /// It takes `&mut self` so that two copies through one mapping never race.
    pub(crate) fn copy_in(&mut self, bytes: &[u8], offset: u64) -> Option<io::Result<()>> {
        let target = self.region.range(offset, bytes.len())?;
        // SAFETY: the target is in bounds and writable; the source is a live slice. They don't overlap:
        // nobody is lent a slice of this region. Readers of the same file pages through a `Mapping` have
        // promised that these bytes don't change under them.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target.as_ptr(), bytes.len()) };
        Some(match self.region.faulted() {
            false => Ok(()),
            true => Err(missing_page()),
        })
    }

    /// Whether a page was missing when it was written, so that the bytes went nowhere.
    pub(crate) fn faulted(&self) -> bool {
        self.region.faulted()
    }

    pub(crate) fn len(&self) -> u64 {
        self.region.len() as u64
    }
}

/// The error for a write that met a page that could not be had.
pub(crate) fn missing_page() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}
