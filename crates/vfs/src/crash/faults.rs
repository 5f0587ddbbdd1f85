//! Failures on demand.

use std::io;
use std::path::{Path, PathBuf};

use crate::rules::plain;

/// A kind of call that a [`Fault`] can hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Opening a file.
    Open,
    /// Reading from a file.
    Read,
    /// Writing to a file, also in a batch.
    Write,
    /// Changing the length or the blocks of a file.
    Resize,
    /// Flushing a file.
    Sync,
    /// Creating, renaming or removing a name, other than by opening.
    Name,
    /// Flushing a directory.
    SyncDir,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// `EIO`. A write may have been done in part. A flush leaves each sector it was about in one of four
    /// states: on the medium, still to be written, or taken for written without being there, with programs
    /// still seeing it or not.
    Io,
    /// `ENOSPC`; like [`Io`](FaultKind::Io) otherwise.
    NoSpace,
    /// `EINTR`: nothing was done.
    Interrupted,
    /// A read or write of fewer bytes than asked for, and of at least one; other calls are not hit.
    Short,
}

impl FaultKind {
    pub(super) fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            FaultKind::Io | FaultKind::Short => libc::EIO,
            FaultKind::NoSpace => libc::ENOSPC,
            FaultKind::Interrupted => libc::EINTR,
        })
    }
}

/// A failure to come, for [`SimDisk::inject`](crate::SimDisk::inject).
///
/// # Example
///
/// ```
/// use std::path::Path;
/// use weald_vfs::{Call, Fault, FaultKind, OpenMode, SimDisk, SimOptions, Vfs};
///
/// # fn main() -> std::io::Result<()> {
/// let disk = SimDisk::new(1, SimOptions::default());
/// let file = disk.open(Path::new("/log"), OpenMode::Create)?;
/// disk.inject(Fault::new(Call::Sync, FaultKind::Io).after(1).on("/log"));
/// file.sync_data()?;
/// assert!(file.sync_data().is_err());
/// file.sync_data()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    call: Call,
    kind: FaultKind,
    after: u64,
    times: u64,
    path: Option<PathBuf>,
}

impl Fault {
    /// The next call of that kind fails, once.
    pub fn new(call: Call, kind: FaultKind) -> Fault {
        Fault {
            call,
            kind,
            after: 0,
            times: 1,
            path: None,
        }
    }

    /// Lets the first `calls` pass.
    pub fn after(mut self, calls: u64) -> Fault {
        self.after = calls;
        self
    }

    /// Fails that many times in a row.
    pub fn times(mut self, times: u64) -> Fault {
        self.times = times;
        self
    }

    /// Fails from then on.
    pub fn forever(self) -> Fault {
        self.times(u64::MAX)
    }

    /// Hits only the file that was opened as `path`, or the directory or name `path`.
    pub fn on(mut self, path: impl AsRef<Path>) -> Fault {
        self.path = Some(plain(path.as_ref()));
        self
    }
}

/// The failures that are still to come.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    to_come: Vec<Fault>,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.to_come.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.to_come.clear();
    }

    /// Counts a call, and says how it fails, if it does.
    pub(super) fn hit(&mut self, call: Call, path: &Path) -> Option<FaultKind> {
        let mut hit = None;
        for fault in &mut self.to_come {
            let meant = fault.call == call && fault.path.as_ref().is_none_or(|meant| meant == path);
            if !meant || fault.times == 0 {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
            } else if hit.is_none() {
                fault.times -= 1;
                hit = Some(fault.kind);
            }
        }
        self.to_come.retain(|fault| fault.times > 0);
        hit
    }
}
