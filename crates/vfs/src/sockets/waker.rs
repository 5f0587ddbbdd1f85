//! Ends the waiting of a ring: a counter of the kernel's that the ring reads, written to only if the ring's thread may be asleep.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Nobody sleeps, and nobody called.
const AWAKE: u32 = 0;
/// Somebody called since the ring last waited.
const CALLED: u32 = 1;
/// The ring waits, or is about to.
const ASLEEP: u32 = 2;

struct Shared {
    state: AtomicU32,
    counter: OwnedFd,
}

/// Wakes the thread that waits at a [`SocketRing`](super::SocketRing), or makes its next wait none.
#[derive(Clone)]
pub struct Waker {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waker").finish_non_exhaustive()
    }
}

impl Waker {
    pub(super) fn new() -> io::Result<Waker> {
        // SAFETY: it takes two numbers and returns a descriptor or -1.
        let counter = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if counter < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it was opened just now, and nobody else knows its number.
        let counter = unsafe { OwnedFd::from_raw_fd(counter) };
        Ok(Waker {
            shared: Arc::new(Shared {
                state: AtomicU32::new(AWAKE),
                counter,
            }),
        })
    }

    pub(super) fn fd(&self) -> RawFd {
        self.shared.counter.as_raw_fd()
    }

    /// Wakes the ring's thread. What was stored before is seen by it after its wait.
    pub fn wake(&self) {
        // Release, for `may_sleep` and `is_up`, which acquire.
        if self.shared.state.swap(CALLED, Ordering::AcqRel) == ASLEEP {
            let one = 1u64.to_ne_bytes();
            // SAFETY: the descriptor is open, and the eight bytes are readable.
            let written = unsafe { libc::write(self.fd(), one.as_ptr().cast(), one.len()) };
            debug_assert_eq!(written, 8, "a counter far from its end takes one more");
        }
    }

    /// Whether the ring may sleep: nobody called since it last waited.
    pub(super) fn may_sleep(&self) -> bool {
        let slept = self
            .shared
            .state
            .compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire);
        slept.is_ok()
    }

    /// The ring sleeps no more; whoever called before is heard now.
    pub(super) fn is_up(&self) {
        self.shared.state.swap(AWAKE, Ordering::AcqRel);
    }
}
