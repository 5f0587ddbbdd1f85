//! The kernel's queues, and what its operations use until they have ended.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use io_uring::squeue::Entry;
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, opcode};

/// Names what is not one of the slots: requests to end another.
const NOBODY: u64 = u64::MAX;

/// How long ending everything may take before its memory is left to the kernel instead.
const END_MAX: Duration = Duration::from_secs(2);

/// What is asked of a descriptor.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    /// Receives behind what the buffer holds.
    Receive,
    /// Sends what the buffer holds from there on.
    Send { from: usize },
    /// Reads behind what the buffer holds.
    Read,
    /// Waits for something to read.
    Readable,
    /// Waits for room to write.
    Writable,
}

/// What an operation uses. The kernel may write to the buffer's spare capacity and read what it holds: it is not touched before the operation has ended.
struct Slot<H> {
    token: u64,
    operation: Operation,
    fd: RawFd,
    held: H,
    buffer: Vec<u8>,
}

/// An operation that has ended, and what it used.
pub(super) struct Done<H> {
    pub(super) token: u64,
    pub(super) result: io::Result<usize>,
    pub(super) held: H,
    pub(super) buffer: Vec<u8>,
}

pub(super) struct Kernel<H> {
    uring: IoUring,
    slots: Vec<Option<Slot<H>>>,
    free: Vec<usize>,
    /// Slots whose operation waits for room in the queue.
    waiting: VecDeque<usize>,
}

impl<H> Kernel<H> {
    pub(super) fn new(depth: u32) -> io::Result<Kernel<H>> {
        // Completions are handled when they are waited for, by the one thread that asks: it is not interrupted. Older kernels don't know that.
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(depth)
            .or_else(|error| match error.raw_os_error() {
                Some(libc::EINVAL) => IoUring::new(depth),
                _ => Err(error),
            })?;
        let mut probe = Probe::new();
        uring.submitter().register_probe(&mut probe)?;
        let needed = [
            opcode::Recv::CODE,
            opcode::Send::CODE,
            opcode::Read::CODE,
            opcode::PollAdd::CODE,
            opcode::AsyncCancel::CODE,
        ];
        let params = uring.params();
        // Without these, completions get lost, a wait has no end, and waiting for a peer takes a thread.
        let has = params.is_feature_nodrop() && params.is_feature_ext_arg() && params.is_feature_fast_poll();
        if !has || !needed.iter().all(|code| probe.is_supported(*code)) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Kernel {
            uring,
            slots: Vec::new(),
            free: Vec::new(),
            waiting: VecDeque::new(),
        })
    }

    pub(super) fn under_way(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Begins an operation at the next submission. `held` keeps the descriptor open.
    pub(super) fn begin(&mut self, token: u64, operation: Operation, fd: RawFd, held: H, buffer: Vec<u8>) {
        let slot = Some(Slot {
            token,
            operation,
            fd,
            held,
            buffer,
        });
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at] = slot;
                at
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        self.waiting.push_back(at);
    }

    /// Submits what was begun, and waits for any end until that time has passed.
    pub(super) fn submit_and_wait(&mut self, mut left: Duration) -> io::Result<()> {
        while let Some(&at) = self.waiting.front() {
            let slot = self.slots[at].as_mut().expect("what waits has a slot");
            let entry = entry(slot).user_data(at as u64);
            // SAFETY: the entry points into the slot's buffer, and names a descriptor that the slot holds open. The slot is neither dropped nor touched
            // before the completion was popped: `pop` is what empties it, and `drop` forgets those that have not ended. A buffer's memory doesn't move with
            // the slot.
            let pushed = unsafe { self.uring.submission().push(&entry) };
            if pushed.is_ok() {
                self.waiting.pop_front();
            } else {
                self.enter(Duration::ZERO)?;
                left = Duration::ZERO;
                if self.uring.submission().is_full() {
                    // The kernel is short of something, and what has ended must be taken first.
                    return Ok(());
                }
            }
        }
        self.enter(left)
    }

    /// Calls the kernel: to submit, to do what has come meanwhile, and to wait.
    fn enter(&mut self, left: Duration) -> io::Result<()> {
        let left = if self.uring.completion().is_empty() {
            left
        } else {
            Duration::ZERO
        };
        let time = Timespec::from(left);
        let args = SubmitArgs::new().timespec(&time);
        match self.uring.submitter().submit_with_args(1, &args) {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// The next that has ended.
    pub(super) fn pop(&mut self) -> Option<Done<H>> {
        loop {
            let completion = self.uring.completion().next()?;
            let (name, result) = (completion.user_data(), completion.result());
            if name == NOBODY {
                continue;
            }
            let at = name as usize;
            let mut slot = self.slots[at].take().expect("an operation ends once");
            if result == -libc::EINTR {
                self.slots[at] = Some(slot);
                self.waiting.push_back(at);
                continue;
            }
            self.free.push(at);
            let result = settle(&mut slot, result);
            return Some(Done {
                token: slot.token,
                result,
                held: slot.held,
                buffer: slot.buffer,
            });
        }
    }

    /// Ends all that is under way.
    fn end(&mut self) {
        let until = Instant::now() + END_MAX;
        // What the kernel never heard of has ended.
        for at in std::mem::take(&mut self.waiting) {
            self.slots[at] = None;
            self.free.push(at);
        }
        let mut ask: Vec<usize> = (0..self.slots.len())
            .filter(|&at| self.slots[at].is_some())
            .collect();
        while self.under_way() > 0 && Instant::now() < until {
            while let Some(at) = ask.pop() {
                let entry = opcode::AsyncCancel::new(at as u64).build().user_data(NOBODY);
                // SAFETY: it points to nothing.
                if unsafe { self.uring.submission().push(&entry) }.is_err() {
                    ask.push(at);
                    break;
                }
            }
            if self.enter(Duration::from_millis(50)).is_err() {
                return;
            }
            while self.pop().is_some() {}
            // Interrupted ones are not begun again.
            for at in std::mem::take(&mut self.waiting) {
                self.slots[at] = None;
                self.free.push(at);
            }
        }
    }
}

impl<H> Drop for Kernel<H> {
    fn drop(&mut self) {
        self.end();
        if self.under_way() > 0 {
            // The kernel may still use them.
            std::mem::forget(std::mem::take(&mut self.slots));
        }
    }
}

/// Describes an operation to the kernel.
fn entry<H>(slot: &mut Slot<H>) -> Entry {
    let fd = Fd(slot.fd);
    let len = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    match slot.operation {
        Operation::Receive => {
            let spare = slot.buffer.spare_capacity_mut();
            opcode::Recv::new(fd, spare.as_mut_ptr().cast(), len(spare.len())).build()
        }
        Operation::Read => {
            let spare = slot.buffer.spare_capacity_mut();
            opcode::Read::new(fd, spare.as_mut_ptr().cast(), len(spare.len())).build()
        }
        Operation::Send { from } => {
            let bytes = slot.buffer.get(from..).unwrap_or_default();
            // All of it, as far as the kernel knows how; a broken peer is an error and no signal.
            opcode::Send::new(fd, bytes.as_ptr(), len(bytes.len()))
                .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
                .build()
        }
        Operation::Readable => opcode::PollAdd::new(fd, libc::POLLIN as u32).build(),
        Operation::Writable => opcode::PollAdd::new(fd, libc::POLLOUT as u32).build(),
    }
}

/// Takes in what an operation came to.
fn settle<H>(slot: &mut Slot<H>, result: i32) -> io::Result<usize> {
    let count = usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))?;
    match slot.operation {
        Operation::Receive | Operation::Read => {
            let end = slot.buffer.len() + count;
            assert!(
                end <= slot.buffer.capacity(),
                "the kernel was told how much there is"
            );
            // SAFETY: the capacity allows it, and the kernel has written the bytes up to there.
            unsafe { slot.buffer.set_len(end) };
            Ok(count)
        }
        Operation::Send { .. } => Ok(count),
        Operation::Readable | Operation::Writable => Ok(0),
    }
}
