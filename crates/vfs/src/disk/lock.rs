//! Advisory locks between processes.
//!
//! They are bound to the open file (`F_OFD_SETLK`; `flock` where that is missing), so the kernel drops them
//! with their holder, however it ends, and two opens of one process shut each other out. The exclusive holder
//! writes its process id into the file, for those who are refused; the number says nothing about whether the
//! lock is held.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use crate::LockHeld;

/// A lock that is held.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    exclusive: bool,
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.exclusive {
            // So that nobody takes the number for that of a later holder. Not worth an error: it is only a
            // hint.
            let _ = self.file.set_len(0);
        }
        // Closing the file is not enough: a child that was forked meanwhile has it open too, until it runs another program.
        unlock(&self.file);
    }
}

pub(super) fn lock(path: &Path, exclusive: bool) -> io::Result<Lock> {
    let file = open(path, exclusive)?;
    if !try_lock(&file, exclusive)? {
        let held = LockHeld { pid: holder(&file) };
        return Err(io::Error::new(io::ErrorKind::WouldBlock, held));
    }
    if exclusive {
        // The lock is held whether or not there is space for the number.
        let _ = file
            .set_len(0)
            .and_then(|()| (&file).write_all(std::process::id().to_string().as_bytes()));
    }
    Ok(Lock { file, exclusive })
}

fn open(path: &Path, exclusive: bool) -> io::Result<File> {
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    match opened {
        // A reader of a directory that it can't write to needs no more than to read the lock file.
        Err(e) if !exclusive => File::open(path).map_err(|_| e),
        other => other,
    }
}

/// The process that the file names. It may just have taken the lock and be about to write its number, so an
/// empty file is looked at a few times.
fn holder(file: &File) -> Option<u32> {
    if !held_exclusively(file) {
        return None;
    }
    for _ in 0..5 {
        let mut text = [0; 16];
        let read = file.read_at(&mut text, 0).ok()?;
        if let Ok(pid) = std::str::from_utf8(&text[..read])
            .unwrap_or_default()
            .trim()
            .parse()
        {
            return Some(pid);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    None
}

#[cfg(target_os = "linux")]
fn whole_file(kind: libc::c_int) -> libc::flock {
    // SAFETY: all-zero is a valid `flock`: from 0 to the end, and process 0 as these locks demand.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock
}

/// `Ok(false)` where another holds it.
#[cfg(target_os = "linux")]
fn try_lock(file: &File, exclusive: bool) -> io::Result<bool> {
    let lock = whole_file(if exclusive { libc::F_WRLCK } else { libc::F_RDLCK });
    loop {
        // SAFETY: the command takes a pointer to a `flock`, which lives across the call.
        if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &lock) } == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EAGAIN | libc::EACCES) => return Ok(false),
            _ => return Err(error),
        }
    }
}

/// Gives the lock back for all that share the open file. It can fail only for what is no file.
#[cfg(target_os = "linux")]
fn unlock(file: &File) {
    let lock = whole_file(libc::F_UNLCK);
    // SAFETY: the command takes a pointer to a `flock`, which lives across the call.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &lock) };
}

/// Whether the lock in the way is an exclusive one: only such a holder wrote its number.
#[cfg(target_os = "linux")]
fn held_exclusively(file: &File) -> bool {
    let mut lock = whole_file(libc::F_RDLCK);
    // SAFETY: the command takes a pointer to a `flock`, which lives across the call and may be written to.
    let asked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) };
    asked == 0 && libc::c_int::from(lock.l_type) == libc::F_WRLCK
}

#[cfg(not(target_os = "linux"))]
fn try_lock(file: &File, exclusive: bool) -> io::Result<bool> {
    let kind = if exclusive { libc::LOCK_EX } else { libc::LOCK_SH };
    loop {
        // SAFETY: the call touches no memory of ours.
        if unsafe { libc::flock(file.as_raw_fd(), kind | libc::LOCK_NB) } == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EWOULDBLOCK) => return Ok(false),
            _ => return Err(error),
        }
    }
}

/// Whether the lock in the way is an exclusive one: only such a holder wrote its number.
#[cfg(not(target_os = "linux"))]
fn held_exclusively(file: &File) -> bool {
    match try_lock(file, false) {
        // It was free for sharing, so those in the way share it; give it back at once.
        Ok(true) => {
            unlock(file);
            false
        }
        _ => true,
    }
}

/// Gives the lock back for all that share the open file. It can fail only for what is no file.
#[cfg(not(target_os = "linux"))]
fn unlock(file: &File) {
    // SAFETY: the call touches no memory of ours.
    unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_UN) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_the_open_file_does_not_keep_the_lock() {
        let path = std::env::temp_dir().join(format!("weald-lock-{}", std::process::id()));
        let held = lock(&path, true).expect("nobody has it");
        // What a child has that was forked and did not yet run another program.
        let copy = held.file.try_clone().expect("a copy");
        assert!(lock(&path, true).is_err());
        drop(held);
        drop(lock(&path, true).expect("it was given back"));
        drop(copy);
        std::fs::remove_file(&path).expect("it is there");
    }
}
