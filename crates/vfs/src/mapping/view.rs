//! A read-only view of a file.

use std::fs::File;
use std::io;

use super::region::{Access, Region};

/// A read-only mapping of the beginning of a file; see [`File::map`](crate::File::map).
///
/// # When the file doesn't have the bytes
///
/// A page that can't be had (another program cut the file, the device failed) would end the process with
/// SIGBUS. The first mapping of the process therefore installs a handler, in front of the one that was there
/// before: it puts a page of zeros in the place of the missing one and sets a flag. What was read since may
/// be zeros that were never in the file, so check [`faulted`](Mapping::faulted) before an answer is given
/// out. The flag stays set: such a mapping is to be dropped, as that page, and after some hundred missing
/// ones every page, no longer shows the file.
///
/// The price: one more signal handler in the process; a program that installs its own SIGBUS handler later
/// and doesn't call the one before it switches the protection off.
///
/// # Example
///
/// ```
/// use std::path::Path;
/// use weald_vfs::{Disk, OpenMode, Vfs};
///
/// # fn main() -> std::io::Result<()> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("data");
/// let file = Disk::new().open(&path, OpenMode::Create)?;
/// let mapping = file.map(1 << 20)?.expect("a plain file can be mapped");
/// file.write_all_at(b"hello", 0)?; // the file grows into its mapping
/// // SAFETY: the bytes are there, and nobody changes them.
/// let bytes = unsafe { mapping.slice(0, 5) }.expect("within the mapping");
/// assert_eq!(bytes, b"hello");
/// assert!(!mapping.faulted());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Mapping {
    region: Region,
    capacity: u64,
}

impl Mapping {
    pub(crate) fn new(file: &File, capacity: u64) -> io::Result<Mapping> {
        let region = Region::new(file, capacity, Access::Read)?;
        Ok(Mapping { region, capacity })
    }

    /// The bytes that the mapping spans, whether the file has them or not.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Whether a page was missing when it was read, so that zeros were seen in its place.
    ///
    /// Call it after the bytes were used and before the answer is given out. It costs one load.
    pub fn faulted(&self) -> bool {
        self.region.faulted()
    }

    /// The bytes from `offset` on, or `None` where they lie outside of the mapping.
    ///
    /// # Safety
    ///
    /// The file must have had these bytes when they were last looked at, and nobody in this process may
    /// change them while the slice lives.
    pub unsafe fn slice(&self, offset: u64, len: usize) -> Option<&[u8]> {
        if offset.checked_add(len as u64)? > self.capacity {
            return None;
        }
        let start = self.region.range(offset, len)?;
        // SAFETY: in bounds as checked by `range`; mapped until `self` drops; that the bytes stay is the
        // caller's promise.
        Some(unsafe { std::slice::from_raw_parts(start.as_ptr(), len) })
    }
}
