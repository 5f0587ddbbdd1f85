//! The kernel's own queue.

use std::fmt;
use std::io;

use io_uring::{IoUring, Probe, opcode, types};

use super::{Queue, Request};

/// An io_uring.
pub(super) struct Ring {
    uring: IoUring,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

impl Ring {
    pub(super) fn new(depth: usize) -> io::Result<Ring> {
        let depth = u32::try_from(depth).map_err(|_| io::ErrorKind::InvalidInput)?;
        Ok(Ring {
            uring: IoUring::new(depth)?,
        })
    }

    /// Whether the kernel knows the requests that are made here.
    pub(super) fn can_transfer(&self) -> bool {
        let mut probe = Probe::new();
        self.uring.submitter().register_probe(&mut probe).is_ok()
            && probe.is_supported(opcode::Readv::CODE)
            && probe.is_supported(opcode::Writev::CODE)
    }
}

impl Queue for Ring {
    unsafe fn push(&mut self, id: u64, request: &Request, vectors: *const libc::iovec) {
        let fd = types::Fd(request.fd);
        let count = request.vectors.len() as u32;
        let entry = if request.writes {
            opcode::Writev::new(fd, vectors.cast(), count)
                .offset(request.offset)
                .build()
        } else {
            opcode::Readv::new(fd, vectors.cast(), count)
                .offset(request.offset)
                .build()
        };
        // SAFETY: that everything the entry points to stays valid is the promise of the caller.
        let pushed = unsafe { self.uring.submission().push(&entry.user_data(id)) };
        pushed.expect("the ring was made for as many requests as are ever under way");
    }

    fn submit_and_wait(&mut self) -> io::Result<()> {
        self.uring.submit_and_wait(1).map(drop)
    }

    fn unsubmitted(&mut self) -> usize {
        self.uring.submission().len()
    }

    fn pop(&mut self) -> Option<(u64, i32)> {
        let done = self.uring.completion().next()?;
        Some((done.user_data(), done.result()))
    }
}
