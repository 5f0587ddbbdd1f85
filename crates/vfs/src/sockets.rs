//! Sockets through io_uring, for callers without `unsafe`.
//!
//! A [`SocketRing`] has many operations under way at once, and one call of the kernel begins those that were asked for and waits for any that ends. An
//! operation owns its buffer and a share of its socket until it has ended: nothing that a caller does or drops can take them from under the kernel.
//! The kernel's queues are in `kernel`; a [`Waker`] ends the waiting from another thread.

mod kernel;
#[cfg(test)]
mod tests;
mod waker;

use std::io;
use std::marker::PhantomData;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kernel::{Kernel, Operation};
pub use waker::Waker;

/// Operations that are submitted together at most; more than that may be under way.
const DEPTH: u32 = 256;

/// What an operation works on, kept for as long.
enum Held {
    Stream(Arc<TcpStream>),
    Listener(Arc<TcpListener>),
    Waker(Waker),
}

impl Held {
    fn fd(&self) -> RawFd {
        match self {
            Held::Stream(stream) => stream.as_raw_fd(),
            Held::Listener(listener) => listener.as_raw_fd(),
            Held::Waker(waker) => waker.fd(),
        }
    }
}

/// An operation that has ended.
#[derive(Debug)]
pub struct Ended {
    /// The caller's name for it.
    pub token: u64,
    /// How many bytes were transferred; 0 for a socket that has become ready. Receiving 0 bytes is the end of the stream.
    pub result: io::Result<usize>,
    /// The buffer, with what was received behind what it held. Empty where there was none.
    pub buffer: Vec<u8>,
}

/// Operations on sockets that are under way. It stays with the thread that made it.
///
/// ```
/// use std::net::{TcpListener, TcpStream};
/// use std::sync::Arc;
/// use std::time::{Duration, Instant};
/// use weald_vfs::SocketRing;
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let here = Arc::new(TcpStream::connect(listener.local_addr()?)?);
/// let there = Arc::new(listener.accept()?.0);
/// // A container or `kernel.io_uring_disabled` may forbid it.
/// if let Ok(mut ring) = SocketRing::new() {
///     ring.send(1, &here, b"hello".to_vec(), 0);
///     ring.receive(2, &there, Vec::with_capacity(100));
///     let mut ended = Vec::new();
///     while ended.len() < 2 {
///         ring.wait(Instant::now() + Duration::from_secs(10), &mut ended)?;
///     }
///     let received = ended.iter().find(|ended| ended.token == 2).expect("both have ended");
///     assert_eq!(received.buffer, b"hello");
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct SocketRing {
    kernel: Kernel<Held>,
    waker: Waker,
    /// Only the thread that made a ring may submit to it.
    stays: PhantomData<Rc<()>>,
}

impl SocketRing {
    /// Makes a ring, if this kernel has what is needed and lets this process have it: Linux 5.11 or later, `kernel.io_uring_disabled` at 0, and no filter
    /// of system calls against it, which containers often have.
    pub fn new() -> io::Result<SocketRing> {
        let mut ring = SocketRing {
            kernel: Kernel::new(DEPTH)?,
            waker: Waker::new()?,
            stays: PhantomData,
        };
        ring.listen_to_waker();
        Ok(ring)
    }

    /// What ends [`wait`](SocketRing::wait) from another thread.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Receives once, behind what the buffer holds, as much as there is and its capacity allows.
    pub fn receive(&mut self, token: u64, stream: &Arc<TcpStream>, mut buffer: Vec<u8>) {
        // To ask for nothing would look like the end of the stream.
        if buffer.len() == buffer.capacity() {
            buffer.reserve(1);
        }
        self.begin(token, Operation::Receive, Held::Stream(stream.clone()), buffer);
    }

    /// Sends what the buffer holds from a place on. It may end having sent less.
    pub fn send(&mut self, token: u64, stream: &Arc<TcpStream>, buffer: Vec<u8>, from: usize) {
        self.begin(
            token,
            Operation::Send { from },
            Held::Stream(stream.clone()),
            buffer,
        );
    }

    /// Waits until the stream may be written to, or is broken: the end of connecting.
    pub fn writable(&mut self, token: u64, stream: &Arc<TcpStream>) {
        self.begin(
            token,
            Operation::Writable,
            Held::Stream(stream.clone()),
            Vec::new(),
        );
    }

    /// Waits until there is a connection to accept.
    pub fn acceptable(&mut self, token: u64, listener: &Arc<TcpListener>) {
        self.begin(
            token,
            Operation::Readable,
            Held::Listener(listener.clone()),
            Vec::new(),
        );
    }

    /// How many operations are under way.
    pub fn under_way(&self) -> usize {
        // One of them is the ring's own, for the waker.
        self.kernel.under_way().saturating_sub(1)
    }

    /// Begins what was asked for, and waits until something has ended, the waker was called, or the time has come. Adds what has ended.
    pub fn wait(&mut self, until: Instant, ended: &mut Vec<Ended>) -> io::Result<()> {
        let left = if self.waker.may_sleep() {
            until.saturating_duration_since(Instant::now())
        } else {
            Duration::ZERO
        };
        let waited = self.kernel.submit_and_wait(left);
        self.waker.is_up();
        let mut woken = false;
        while let Some(done) = self.kernel.pop() {
            match done.held {
                Held::Waker(_) => woken = true,
                Held::Stream(_) | Held::Listener(_) => ended.push(Ended {
                    token: done.token,
                    result: done.result,
                    buffer: done.buffer,
                }),
            }
        }
        if woken {
            self.listen_to_waker();
        }
        waited
    }

    fn listen_to_waker(&mut self) {
        let held = Held::Waker(self.waker.clone());
        self.begin(0, Operation::Read, held, Vec::with_capacity(8));
    }

    fn begin(&mut self, token: u64, operation: Operation, held: Held, buffer: Vec<u8>) {
        let fd = held.fd();
        self.kernel.begin(token, operation, fd, held, buffer);
    }
}

impl std::fmt::Debug for SocketRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SocketRing").finish_non_exhaustive()
    }
}
