//! What the file systems in memory have in common with each other and with the system: names and limits.

use std::io;
use std::path::{Component, Path, PathBuf};

/// `path` without detours: no `.`, no `..`, no doubled slashes.
pub(crate) fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            other => plain.push(other),
        }
    }
    plain
}

/// The directory of a plain path.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// Whether a plain path is a directory that is always there.
pub(crate) fn is_root(path: &Path) -> bool {
    path.parent().is_none()
}

/// What the system says to a write through a file opened for reading.
pub(crate) fn not_writable() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADF)
}

/// Whether a file may have bytes there: offsets are signed numbers to the system.
pub(crate) fn check_range(offset: u64, len: u64) -> io::Result<()> {
    match offset.checked_add(len) {
        Some(end) if end <= i64::MAX as u64 => Ok(()),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}
