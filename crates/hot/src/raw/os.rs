//! The system calls that a region needs beside `mmap`.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use crate::error::{Error, Result};

const MEMBARRIER_CMD_GLOBAL_EXPEDITED: i32 = 1 << 1;
const MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED: i32 = 1 << 2;

/// Registers this process so that [`barrier_everywhere`] reaches its threads. Returns whether the kernel can do it.
pub(crate) fn register_barrier() -> bool {
    // SAFETY: `membarrier` takes integers only and touches no memory.
    unsafe {
        libc::syscall(
            libc::SYS_membarrier,
            MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED,
            0,
            0,
        ) == 0
    }
}

/// Makes every running thread of every registered process execute a full memory barrier before it returns. `false` if the kernel could not.
#[must_use]
pub(crate) fn barrier_everywhere() -> bool {
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0 }
}

/// Creates an anonymous file in memory; `huge_flags` asks for huge pages.
pub(crate) fn memfd(name: &CStr, huge_flags: u32) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING | huge_flags;
    // SAFETY: the name is a C string that outlives the call.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is fresh and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Forbids for ever that the file changes its length.
pub(crate) fn seal_length(fd: BorrowedFd<'_>) -> io::Result<()> {
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: takes integers only.
    match unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Reserves the blocks of a range, so that touching it can't fail later for want of space.
pub(crate) fn allocate(file: &File, offset: u64, len: u64) -> Result<()> {
    loop {
        // SAFETY: takes integers only.
        let rc = unsafe {
            libc::fallocate(
                file.as_raw_fd(),
                libc::FALLOC_FL_KEEP_SIZE,
                offset as i64,
                len as i64,
            )
        };
        if rc == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EOPNOTSUPP) => return fill_with_zeros(file, offset, len),
            _ => return Err(Error::io("reserve space for a volume", error)),
        }
    }
}

/// What [`allocate`] does on a file system that can't reserve.
fn fill_with_zeros(file: &File, offset: u64, len: u64) -> Result<()> {
    let zeros = [0; 65536];
    let mut at = offset;
    while at < offset + len {
        let n = zeros.len().min((offset + len - at) as usize);
        file.write_all_at(&zeros[..n], at)
            .map_err(|e| Error::io("write a volume's blocks", e))?;
        at += n as u64;
    }
    Ok(())
}

/// Gives the blocks of a range back; it reads as zeros afterwards. `false` where the file system can't.
pub(crate) fn punch_hole(file: &File, offset: u64, len: u64) -> bool {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: takes integers only.
    unsafe { libc::fallocate(file.as_raw_fd(), mode, offset as i64, len as i64) == 0 }
}

/// How a file is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    /// With nobody else.
    Sole,
    /// With others that share it.
    Shared,
}

/// Takes the file's advisory lock without waiting, or changes the one that we have; the kernel releases it when the last descriptor closes or its
/// process dies. `Ok(false)` means that another has it.
pub(crate) fn try_lock(file: &File, lock: Lock) -> Result<bool> {
    let operation = match lock {
        Lock::Sole => libc::LOCK_EX,
        Lock::Shared => libc::LOCK_SH,
    };
    // SAFETY: takes integers only.
    if unsafe { libc::flock(file.as_raw_fd(), operation | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EWOULDBLOCK | libc::EINTR) => Ok(false),
        _ => Err(Error::io("lock the region's file", error)),
    }
}

/// Releases what [`try_lock`] took.
pub(crate) fn unlock(file: &File) {
    // SAFETY: takes integers only.
    unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_UN) };
}

/// The unit in which the file's blocks come: the page size, or the huge page size on hugetlbfs.
pub(crate) fn block_size(file: &File) -> u64 {
    // SAFETY: `fstatfs` fills the zeroed structure, which outlives the call.
    let mut info: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: as above; the descriptor is open.
    let rc = unsafe { libc::fstatfs(file.as_raw_fd(), &raw mut info) };
    const HUGETLBFS_MAGIC: i64 = 0x9584_58f6;
    if rc == 0 && info.f_type as i64 == HUGETLBFS_MAGIC {
        info.f_bsize as u64
    } else {
        4096
    }
}

/// Asks that a range of the address space live on NUMA node `node`. Best effort.
pub(crate) fn bind_to_node(address: usize, len: u64, node: u32) -> bool {
    const MPOL_PREFERRED: i32 = 1;
    if node >= 64 {
        return false;
    }
    let mask: u64 = 1 << node;
    // SAFETY: the mask outlives the call and has as many bits as said; the policy changes where pages come from, not what they hold.
    unsafe {
        libc::syscall(
            libc::SYS_mbind,
            address,
            len,
            MPOL_PREFERRED,
            &raw const mask,
            65u64,
            0u32,
        ) == 0
    }
}

/// How many NUMA nodes the machine has; 1 where it doesn't say.
pub(crate) fn numa_nodes() -> u32 {
    let text = std::fs::read_to_string("/sys/devices/system/node/online").unwrap_or_default();
    let last = text
        .trim()
        .rsplit([',', '-'])
        .next()
        .and_then(|n| n.parse::<u32>().ok());
    last.map_or(1, |n| n.saturating_add(1)).min(64)
}

/// 16 bytes that nobody can guess.
pub(crate) fn random_words() -> Result<[u64; 2]> {
    let mut words = [0u64; 2];
    // SAFETY: the buffer has 16 bytes and outlives the call.
    let n = unsafe { libc::getrandom(words.as_mut_ptr().cast(), 16, 0) };
    if n == 16 {
        Ok(words)
    } else {
        Err(Error::last_os("draw a random key"))
    }
}
