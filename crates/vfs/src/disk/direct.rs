//! Writes that go past the page cache (`O_DIRECT`), through aligned buffers that are pooled.

use std::fs::File;
use std::io;
use std::sync::{Mutex, PoisonError};

/// What direct writes are aligned to, in memory, in the file and in length. It is a whole page, so that
/// direct and buffered writes never share one.
pub(super) const ALIGNMENT: usize = 4096;

/// The size of a pooled buffer.
pub(super) const BUFFER: usize = 1 << 20;

/// How many unused buffers are kept.
const KEPT_MAX: usize = 4;

#[derive(Clone, Copy)]
#[repr(C, align(4096))]
struct Page([u8; ALIGNMENT]);

/// An aligned buffer.
pub(super) struct Buffer {
    pages: Vec<Page>,
}

impl Buffer {
    fn new() -> Buffer {
        Buffer {
            pages: vec![Page([0; ALIGNMENT]); BUFFER / ALIGNMENT],
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the pages are initialised bytes without gaps, as their size is their alignment, and live as
        // long as the result.
        unsafe { std::slice::from_raw_parts(self.pages.as_ptr().cast(), self.pages.len() * ALIGNMENT) }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `bytes`; the borrow is exclusive, and any byte is valid in a page.
        unsafe {
            std::slice::from_raw_parts_mut(self.pages.as_mut_ptr().cast(), self.pages.len() * ALIGNMENT)
        }
    }
}

/// Buffers that wait for the next batch.
#[derive(Default)]
pub(super) struct Pool {
    unused: Mutex<Vec<Buffer>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Pool {
    pub(super) fn take(&self) -> Buffer {
        let unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner).pop();
        unused.unwrap_or_else(Buffer::new)
    }

    pub(super) fn give_back(&self, buffers: impl IntoIterator<Item = Buffer>) {
        let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        unused.extend(buffers);
        unused.truncate(KEPT_MAX);
    }
}

/// Opens the same file again for direct writes; `None` where the file system refuses.
#[cfg(target_os = "linux")]
pub(super) fn reopen(file: &File) -> Option<File> {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;

    // By way of the open file, as its name may by now be another one's.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    File::options()
        .write(true)
        .custom_flags(libc::O_DIRECT)
        .open(path)
        .ok()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn reopen(_file: &File) -> Option<File> {
    None
}

/// Whether the file system refused a write because it was direct.
pub(super) fn refused(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP))
}
