//! Many requests under way at once, through io_uring.
//!
//! [`drive`] keeps a [`Queue`] filled, goes on with what was done in part, and returns only when nothing is
//! under way any more, whatever failed: the buffers belong to the kernel until then, and a flush that is
//! asked for afterwards can't overtake a write. The queue is the kernel's in `kernel`, and one that completes
//! in a bad order in the tests.

mod kernel;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::backend::Span;
use crate::ReadOp;
use kernel::Ring;

/// How many requests are under way at once.
const DEPTH: usize = 64;

/// How many unused rings are kept.
const KEPT_MAX: usize = 4;

/// One read or write of many vectors.
#[derive(Clone, Debug)]
struct Request {
    fd: RawFd,
    writes: bool,
    offset: u64,
    vectors: Range<usize>,
}

/// Where requests go in and completions come out.
trait Queue {
    /// Takes a request; there are never more than `DEPTH` without a completion.
    ///
    /// # Safety
    ///
    /// `vectors` are those of the request; they and the memory they describe are to stay valid, and nobody
    /// else may use that memory, until the completion was popped or the queue was dropped with the request
    /// not yet submitted.
    unsafe fn push(&mut self, id: u64, request: &Request, vectors: *const libc::iovec);

    /// Submits what was pushed and waits for a completion.
    fn submit_and_wait(&mut self) -> io::Result<()>;

    /// How many of the requests pushed were never submitted.
    fn unsubmitted(&mut self) -> usize;

    /// The id and result of a request that is done.
    fn pop(&mut self) -> Option<(u64, i32)>;
}

/// Does all requests.
///
/// After an error the queue is not to be used again: it may hold requests that were not submitted.
///
/// # Safety
///
/// The memory that `vectors` describe is valid, writable where it is read into, and nobody else uses it until
/// this returns.
unsafe fn drive(
    queue: &mut impl Queue,
    vectors: &mut [libc::iovec],
    requests: &mut [Request],
) -> io::Result<()> {
    let mut fresh = 0..requests.len();
    let mut again = Vec::new();
    let mut under_way = 0;
    let mut failed = None;
    loop {
        while failed.is_none() && under_way < DEPTH {
            let Some(id) = again.pop().or_else(|| fresh.next()) else {
                break;
            };
            let first = vectors[requests[id].vectors.clone()].as_ptr();
            // SAFETY: the vectors outlive this function, which doesn't return while any request is under way,
            // and are changed only when the request is not.
            unsafe { queue.push(id as u64, &requests[id], first) };
            under_way += 1;
        }
        if under_way == 0 {
            break;
        }
        match queue.submit_and_wait() {
            Err(error) if !is_passing(&error) && failed.is_none() => failed = Some(error),
            Err(_) => std::thread::sleep(Duration::from_micros(50)),
            Ok(()) => {}
        }
        while let Some((id, result)) = queue.pop() {
            under_way -= 1;
            let request = &mut requests[id as usize];
            match settle(request, vectors, result) {
                Ok(true) => {}
                Ok(false) => again.push(id as usize),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if failed.is_some() && under_way == queue.unsubmitted() {
            break;
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Whether a failed submission may work the next time.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINTR | libc::EAGAIN | libc::EBUSY)
    )
}

/// Takes a completion in: whether the request is done, or has to go on.
fn settle(request: &mut Request, vectors: &mut [libc::iovec], result: i32) -> io::Result<bool> {
    let mut done = match usize::try_from(result) {
        Ok(0) if request.writes => return Err(io::ErrorKind::WriteZero.into()),
        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(done) => done,
        Err(_) => {
            let error = io::Error::from_raw_os_error(-result);
            return if is_passing(&error) { Ok(false) } else { Err(error) };
        }
    };
    request.offset += done as u64;
    while done > 0 {
        let vector = &mut vectors[request.vectors.start];
        if done >= vector.iov_len {
            done -= vector.iov_len;
            request.vectors.start += 1;
        } else {
            vector.iov_base = vector.iov_base.cast::<u8>().wrapping_add(done).cast();
            vector.iov_len -= done;
            done = 0;
        }
        if request.vectors.is_empty() {
            break;
        }
    }
    Ok(request.vectors.is_empty())
}

/// Rings that wait for the next batch.
#[derive(Debug, Default)]
pub(super) struct Rings {
    unused: Mutex<Vec<Ring>>,
}

impl Rings {
    /// Whether the kernel has what is needed.
    pub(super) fn probe(&self) -> bool {
        match Ring::new(DEPTH) {
            Ok(ring) => {
                let works = ring.can_transfer();
                self.give_back(ring);
                works
            }
            Err(_) => false,
        }
    }

    /// `None` where the system has no resources for another one now.
    fn take(&self) -> Option<Ring> {
        let unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner).pop();
        unused.or_else(|| Ring::new(DEPTH).ok())
    }

    fn give_back(&self, ring: Ring) {
        let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        if unused.len() < KEPT_MAX {
            unused.push(ring);
        }
    }

    /// Writes all spans; `None` where there is no ring to be had.
    pub(super) fn write(
        &self,
        file: &File,
        slices: &mut [IoSlice<'_>],
        spans: &[Span],
    ) -> Option<io::Result<()>> {
        let mut vectors: Vec<_> = slices
            .iter()
            .map(|slice| libc::iovec {
                iov_base: slice.as_ptr().cast_mut().cast(),
                iov_len: slice.len(),
            })
            .collect();
        let request = |span: &Span| Request {
            fd: file.as_raw_fd(),
            writes: true,
            offset: span.offset,
            vectors: span.slices.clone(),
        };
        let mut requests: Vec<_> = spans.iter().map(request).collect();
        let mut ring = self.take()?;
        // SAFETY: the slices are borrowed until this returns, and writing to a file only reads them.
        let done = unsafe { drive(&mut ring, &mut vectors, &mut requests) };
        Some(done.map(|()| self.give_back(ring)))
    }

    /// Fills all buffers; `None` where there is no ring to be had.
    pub(super) fn read(&self, file: &File, ops: &mut [ReadOp<'_>]) -> Option<io::Result<()>> {
        let (mut vectors, mut requests) = (Vec::new(), Vec::new());
        for op in ops.iter_mut().filter(|op| !op.bytes.is_empty()) {
            let place = vectors.len();
            vectors.push(libc::iovec {
                iov_base: op.bytes.as_mut_ptr().cast(),
                iov_len: op.bytes.len(),
            });
            requests.push(Request {
                fd: file.as_raw_fd(),
                writes: false,
                offset: op.offset,
                vectors: place..place + 1,
            });
        }
        let mut ring = self.take()?;
        // SAFETY: the buffers are borrowed exclusively until this returns.
        let done = unsafe { drive(&mut ring, &mut vectors, &mut requests) };
        Some(done.map(|()| self.give_back(ring)))
    }
}
