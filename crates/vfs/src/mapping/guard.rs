//! The SIGBUS handler and the table of mappings that it looks faults up in.
//!
//! The handler runs in the thread that touched the missing page, so the mapping it is about can't go away
//! meanwhile; the table's other entries may change under it. Therefore each entry is a small sequence lock:
//! an entry that is changing is not the one looked for, and is passed over. Entries live in chunks that are
//! never freed, so walking them needs no lock. Everything that the handler does is atomic loads and stores,
//! `mmap`, and, to give up, `sigaction` and `raise`.
//!
//! All atomics of the table are `SeqCst`: they are touched when a mapping comes or goes and when something
//! went wrong.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicUsize, Ordering, compiler_fence, fence};
use std::sync::{Once, OnceLock};

const SLOTS: usize = 32;

/// How many pages of one mapping are replaced one by one.
const REPLACED_MAX: usize = 256;

/// One live mapping, or a free place.
#[derive(Debug)]
struct Slot {
    taken: AtomicBool,
    /// Odd while `start`, `len` and `protection` change.
    version: AtomicUsize,
    start: AtomicUsize,
    /// 0 while nothing is watched here.
    len: AtomicUsize,
    protection: AtomicI32,
    faulted: AtomicBool,
    /// How many pages were replaced one by one.
    replaced: AtomicUsize,
}

impl Slot {
    const fn free() -> Slot {
        Slot {
            taken: AtomicBool::new(false),
            version: AtomicUsize::new(0),
            start: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            protection: AtomicI32::new(0),
            faulted: AtomicBool::new(false),
            replaced: AtomicUsize::new(0),
        }
    }

    fn set(&self, start: usize, len: usize, protection: c_int) {
        self.version.fetch_add(1, Ordering::SeqCst);
        self.start.store(start, Ordering::SeqCst);
        self.len.store(len, Ordering::SeqCst);
        self.protection.store(protection, Ordering::SeqCst);
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// The mapping here, if it spans `address`.
    fn spans(&self, address: usize) -> Option<Range> {
        let version = self.version.load(Ordering::SeqCst);
        let start = self.start.load(Ordering::SeqCst);
        let len = self.len.load(Ordering::SeqCst);
        let protection = self.protection.load(Ordering::SeqCst);
        let steady = version.is_multiple_of(2) && self.version.load(Ordering::SeqCst) == version;
        (steady && address >= start && address - start < len).then_some(Range {
            start,
            len,
            protection,
        })
    }
}

/// Addresses, and what may be done with them.
#[derive(Clone, Copy, Debug)]
struct Range {
    start: usize,
    len: usize,
    protection: c_int,
}

#[derive(Debug)]
struct Chunk {
    slots: [Slot; SLOTS],
    next: AtomicPtr<Chunk>,
}

impl Chunk {
    const fn empty() -> Chunk {
        Chunk {
            slots: [const { Slot::free() }; SLOTS],
            next: AtomicPtr::new(ptr::null_mut()),
        }
    }

    fn next(&self) -> Option<&'static Chunk> {
        // SAFETY: null, or a chunk that was leaked and is never freed.
        unsafe { self.next.load(Ordering::SeqCst).as_ref() }
    }

    /// The chunk after this one, made where there is none.
    fn next_or_grow(&self) -> &'static Chunk {
        if let Some(next) = self.next() {
            return next;
        }
        let fresh = Box::into_raw(Box::new(Chunk::empty()));
        let link = self
            .next
            .compare_exchange(ptr::null_mut(), fresh, Ordering::SeqCst, Ordering::SeqCst);
        match link {
            // SAFETY: it comes from `Box::into_raw` and is from now on never freed.
            Ok(_) => unsafe { &*fresh },
            Err(other) => {
                // SAFETY: it comes from `Box::into_raw` just above and nobody else saw it.
                drop(unsafe { Box::from_raw(fresh) });
                // SAFETY: not null, as the exchange failed; linked chunks are never freed.
                unsafe { &*other }
            }
        }
    }
}

static TABLE: Chunk = Chunk::empty();
static PAGE_SIZE: AtomicUsize = AtomicUsize::new(4096);
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// A mapping's place in the table.
#[derive(Debug)]
pub(super) struct Watch {
    slot: &'static Slot,
}

impl Watch {
    /// Enters the mapping of `len` bytes at address `start`.
    pub(super) fn new(start: usize, len: usize, protection: c_int) -> Watch {
        let mut chunk = &TABLE;
        loop {
            for slot in &chunk.slots {
                let claim = slot
                    .taken
                    .compare_exchange(false, true, Ordering::SeqCst, Ordering::SeqCst);
                if claim.is_ok() {
                    slot.faulted.store(false, Ordering::SeqCst);
                    slot.replaced.store(0, Ordering::SeqCst);
                    slot.set(start, len, protection);
                    return Watch { slot };
                }
            }
            chunk = chunk.next_or_grow();
        }
    }

    /// Whether a page of it was missing.
    pub(super) fn faulted(&self) -> bool {
        // The accesses to the mapping that come before this call must not be moved behind the load. The
        // handler sets the flag before it puts the zeros there, so whoever has seen zeros sees the flag.
        compiler_fence(Ordering::SeqCst);
        fence(Ordering::Acquire);
        self.slot.faulted.load(Ordering::Relaxed)
    }

    /// Leaves the table. To be called once, before the addresses are given back.
    pub(super) fn end(&self) {
        self.slot.set(0, 0, 0);
        self.slot.taken.store(false, Ordering::SeqCst);
    }
}

/// Installs the handler, once per process.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: `sysconf` has no preconditions.
        let page_size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        if let Ok(page_size @ 1..) = usize::try_from(page_size) {
            PAGE_SIZE.store(page_size, Ordering::SeqCst);
        }
        // SAFETY: both calls get a valid signal number and valid or null pointers; all-zero is a valid
        // `sigaction`. The handler has the signature that SA_SIGINFO asks for and does only what is allowed
        // in one. The previous action is stored before the handler that looks for it is installed.
        unsafe {
            let mut previous: libc::sigaction = std::mem::zeroed();
            libc::sigaction(libc::SIGBUS, ptr::null(), &mut previous);
            let _ = PREVIOUS.set(previous);
            let mut action: libc::sigaction = std::mem::zeroed();
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_sigbus;
            action.sa_sigaction = handler as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&mut action.sa_mask);
            libc::sigaction(libc::SIGBUS, &action, ptr::null_mut());
        }
    });
}

extern "C" fn on_sigbus(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel gives a valid `info`; `si_addr` is meaningful where the kernel itself raised the
    // signal, which a positive code says.
    let address = unsafe { ((*info).si_code > 0).then(|| (*info).si_addr() as usize) };
    if address.is_some_and(cover) {
        return;
    }
    pass_on(signal, info, context, address.is_some());
}

/// Puts zeros in the place of the missing page at `address`, if it is of a mapping in the table.
fn cover(address: usize) -> bool {
    let mut chunk = &TABLE;
    loop {
        for slot in &chunk.slots {
            if let Some(range) = slot.spans(address) {
                slot.faulted.store(true, Ordering::SeqCst);
                let page_size = PAGE_SIZE.load(Ordering::SeqCst);
                let page = Range {
                    start: address - address % page_size,
                    len: page_size,
                    ..range
                };
                // A process may have only so many separate mappings, and near that number the kernel makes
                // none at all. So after some pages the whole range becomes one of zeros: the flag is set
                // anyway.
                let few = slot.replaced.fetch_add(1, Ordering::SeqCst) < REPLACED_MAX;
                return (few && put_zeros(page)) || put_zeros(range);
            }
        }
        match chunk.next() {
            Some(next) => chunk = next,
            None => return false,
        }
    }
}

/// Puts zeros in the place of (a part of) a mapping in the table.
fn put_zeros(range: Range) -> bool {
    let errno = errno_place();
    // SAFETY: the pages belong to a mapping in the table, which is one whose owner is the thread in this
    // handler, or another thread that borrows from it: it is not unmapped meanwhile. Its bytes may turn into
    // zeros at any time, as its readers learn from the flag. `errno` is this thread's own.
    unsafe {
        let saved = *errno;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
        let put = libc::mmap(
            range.start as *mut c_void,
            range.len,
            range.protection,
            flags,
            -1,
            0,
        );
        *errno = saved;
        put != libc::MAP_FAILED
    }
}

/// Hands the signal to whoever had it before.
fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void, synchronous: bool) {
    let previous = PREVIOUS.get();
    match previous {
        Some(previous) if previous.sa_sigaction > libc::SIG_IGN => {
            // SAFETY: it is neither of the two special values, so it is a function, of the signature that its
            // flag says.
            unsafe {
                if previous.sa_flags & libc::SA_SIGINFO != 0 {
                    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                        std::mem::transmute(previous.sa_sigaction);
                    handler(signal, info, context);
                } else {
                    let handler: extern "C" fn(c_int) = std::mem::transmute(previous.sa_sigaction);
                    handler(signal);
                }
            }
        }
        Some(previous) if previous.sa_sigaction == libc::SIG_IGN && !synchronous => {}
        _ => {
            // SAFETY: all-zero is a valid `sigaction` and says SIG_DFL. A fault happens again on return and
            // then ends the process; a signal that was sent has to be sent again.
            unsafe {
                let action: libc::sigaction = std::mem::zeroed();
                libc::sigaction(signal, &action, ptr::null_mut());
                if !synchronous {
                    libc::raise(signal);
                }
            }
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn errno_place() -> *mut c_int {
    // SAFETY: no preconditions.
    unsafe {
        #[cfg(target_os = "linux")]
        return libc::__errno_location();
        #[cfg(target_os = "android")]
        return libc::__errno();
    }
}

#[cfg(any(target_os = "macos", target_os = "ios", target_os = "freebsd"))]
fn errno_place() -> *mut c_int {
    // SAFETY: no preconditions.
    unsafe { libc::__error() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_mappings_come_and_go_and_each_is_found() {
        // Addresses that no mapping of this process can have, so that the test disturbs nobody.
        let base = usize::MAX / 2 + 1;
        let place = |i: usize| base + i * 0x10000;
        let found = |address: usize| {
            let mut chunk = Some(&TABLE as &Chunk);
            while let Some(this) = chunk {
                if this.slots.iter().any(|slot| slot.spans(address).is_some()) {
                    return true;
                }
                chunk = this.next();
            }
            false
        };
        let watches: Vec<Watch> = (0..3 * SLOTS).map(|i| Watch::new(place(i), 0x8000, 1)).collect();
        assert!((0..watches.len()).all(|i| found(place(i)) && found(place(i) + 0x7fff)));
        assert!((0..watches.len()).all(|i| !found(place(i) + 0x8000)));
        for (i, watch) in watches.iter().enumerate() {
            watch.end();
            assert!(!found(place(i)));
        }
    }
}
