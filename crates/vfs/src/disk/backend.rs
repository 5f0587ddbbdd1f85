//! The way in which system calls are made: one at a time, or many through a ring.

use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;

use super::batch;
#[cfg(all(target_os = "linux", feature = "io_uring"))]
use super::ring::Rings;
use crate::ReadOp;

/// How [`Disk`](crate::Disk) reads and writes.
///
/// # Example
///
/// ```
/// use weald_vfs::{Disk, DiskOptions, IoBackend};
///
/// let disk = Disk::with(DiskOptions { io: IoBackend::Uring, ..DiskOptions::default() });
/// // The ring, if this build and this kernel have it.
/// assert!(matches!(disk.backend(), IoBackend::Uring | IoBackend::Std));
/// println!("reads and writes through {}", disk.backend().name());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoBackend {
    /// `pread`, `pwrite` and their vectored forms.
    Std,
    /// io_uring for batches, where the crate is built with the feature `io_uring` and the kernel allows it;
    /// otherwise [`Std`](IoBackend::Std).
    Uring,
    /// io_uring for what gains from many requests under way at once: batches of reads, and direct writes. The
    /// page cache takes writes one by one at the speed of memory, and there the ring only costs.
    #[default]
    Auto,
}

impl IoBackend {
    /// For people to read.
    pub fn name(self) -> &'static str {
        match self {
            IoBackend::Std => "pread/pwrite",
            IoBackend::Uring => "io_uring",
            IoBackend::Auto => "pread/pwrite and io_uring",
        }
    }
}

/// One write of many slices, which lie one behind the other in the file.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) offset: u64,
    /// Which of the slices, at most as many as one system call takes.
    pub(super) slices: Range<usize>,
}

/// A backend that was found to work.
#[derive(Debug)]
pub(super) struct Io {
    backend: IoBackend,
    #[cfg(all(target_os = "linux", feature = "io_uring"))]
    rings: Rings,
}

impl Io {
    /// The backend asked for, or what this machine has in its place.
    #[cfg(all(target_os = "linux", feature = "io_uring"))]
    pub(super) fn new(wanted: IoBackend) -> Io {
        let rings = Rings::default();
        let works = wanted != IoBackend::Std && rings.probe();
        Io {
            backend: if works { wanted } else { IoBackend::Std },
            rings,
        }
    }

    /// The backend asked for, or what this build has in its place.
    #[cfg(not(all(target_os = "linux", feature = "io_uring")))]
    pub(super) fn new(_wanted: IoBackend) -> Io {
        Io {
            backend: IoBackend::Std,
        }
    }

    pub(super) fn backend(&self) -> IoBackend {
        self.backend
    }

    /// Whether many small direct writes are as good as a large one.
    pub(super) fn is_parallel(&self) -> bool {
        self.backend != IoBackend::Std
    }

    /// Writes all spans; none is under way any more when it returns.
    pub(super) fn write(
        &self,
        file: &File,
        direct: bool,
        slices: &mut [IoSlice<'_>],
        spans: &[Span],
    ) -> io::Result<()> {
        #[cfg(all(target_os = "linux", feature = "io_uring"))]
        if (self.backend == IoBackend::Uring
            || (self.backend == IoBackend::Auto && direct && spans.len() > 1))
            && let Some(done) = self.rings.write(file, slices, spans)
        {
            return done;
        }
        let _ = direct;
        for span in spans {
            batch::write_vectored(file, &mut slices[span.slices.clone()], span.offset)?;
        }
        Ok(())
    }

    /// Fills all buffers; `false` where that is better done one by one.
    pub(super) fn read(&self, file: &File, ops: &mut [ReadOp<'_>]) -> io::Result<bool> {
        #[cfg(all(target_os = "linux", feature = "io_uring"))]
        if (self.backend == IoBackend::Uring || (self.backend == IoBackend::Auto && ops.len() > 1))
            && let Some(done) = self.rings.read(file, ops)
        {
            return done.map(|()| true);
        }
        let _ = (file, ops);
        Ok(false)
    }
}
