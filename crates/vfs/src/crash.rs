//! A simulated disk that loses, tears and reorders what was not flushed, and fails on demand.
//!
//! [`SimDisk`] is the handle, `state` what all handles share. A file is an `inode`: its contents as programs
//! see them, as they are surely on the medium, and every version in between, each a persistent tree of
//! sectors (`contents`). Names are a `directory` with the same three parts. A crash chooses (`chance`) for
//! every sector, length and change of a name which version is found afterwards; `faults` fail single calls.

mod chance;
mod contents;
mod directory;
mod faults;
mod inode;
mod state;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::rules::{not_writable, plain};
use crate::{File, LockHeld, Mapping, OpenMode, Vfs, WriteOp};
use chance::{AllKept, AllLost, ByChance, Choose, Odometer};
use contents::SECTOR;
pub use faults::{Call, Fault, FaultKind};
pub use state::PowerCut;
use state::State;

/// How a [`SimDisk`] behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SimOptions {
    /// The space for the contents of files, in bytes; what doesn't fit gets `ENOSPC`. `None` is endless.
    pub space: Option<u64>,
    /// One read or write in so many is shorter than asked for; never for 0.
    pub short_io_one_in: u32,
    /// One read or write in so many is interrupted (`EINTR`) instead of done; never for 0.
    pub interrupt_one_in: u32,
    /// Whether [`SimDisk::history`] remembers the operations.
    pub history: bool,
}

/// How far [`SimDisk::each_crash`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explored {
    /// The number of states that were shown.
    pub states: usize,
    /// Whether that were all.
    pub complete: bool,
}

/// A disk in memory on which the power can be cut at any operation.
///
/// # What is simulated
///
/// - Each 512-byte sector written since the last [`sync_data`](File::sync_data) of its file that returned
///   `Ok` is found after a crash in any of the versions it had since, independently of all others; bytes
///   within a sector are never torn.
/// - So is the length of the file. What a longer file gains without having been written reads as zeros.
/// - Any subset of the names created, renamed and removed since the last [`sync_dir`](Vfs::sync_dir) of their
///   directory survives. A name is bound to its file, so flushing the file doesn't save the name, nor the
///   other way round. A rename is done or not done, never half; between two directories it is durable with
///   that of the new name.
/// - A failed flush leaves each sector written, unwritten, or taken for written although it isn't: a later
///   flush returns `Ok` and the data is lost.
///
/// What isn't: misdirected writes and rot, for which there are [`flip`](SimDisk::flip) and
/// [`write_file`](SimDisk::write_file); time; and mappings ([`map`](File::map) gives `None`).
///
/// Clones are handles to the same disk. All handles and files can be used from many threads; the same seed
/// then gives the same disk only as far as the calls come in the same order.
///
/// # Example
///
/// A name that was not flushed may be gone after a crash, and the check that looks at every state finds out:
///
/// ```
/// use std::path::Path;
/// use weald_vfs::{OpenMode, SimDisk, SimOptions, Vfs};
///
/// # fn main() -> std::io::Result<()> {
/// let disk = SimDisk::new(7, SimOptions::default());
/// let file = disk.open(Path::new("/log"), OpenMode::CreateNew)?;
/// file.write_all_at(b"paid", 0)?;
/// file.sync_data()?; // but no disk.sync_dir(Path::new("/"))
///
/// let mut lost = 0;
/// disk.each_crash(1000, |found| lost += usize::from(found.read_file("/log").is_err()));
/// assert_eq!(lost, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    /// An empty disk. The seed decides what the failures on demand leave behind.
    pub fn new(seed: u64, options: SimOptions) -> SimDisk {
        SimDisk::from_state(State::new(seed, options))
    }

    fn from_state(state: State) -> SimDisk {
        SimDisk {
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of operations so far: calls that change something or flush. A batch of writes is one.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Cuts the power at operation `index`, counted from 0 since the disk was made. That operation still
    /// happens as one that was not flushed, so that any part of it may be found afterwards, but it fails, and
    /// all calls after it fail without doing anything.
    pub fn crash_after(&self, index: u64) {
        self.state().crash_at = Some(index);
    }

    /// Cuts the power now.
    pub fn crash(&self) {
        self.state().crashed = true;
    }

    /// Whether the power was cut.
    pub fn crashed(&self) -> bool {
        self.state().crashed
    }

    /// The disk as it is found after the power is cut now, or was, with everything that isn't certain decided
    /// by `seed`.
    ///
    /// The disk it is called on stays as it is and can be asked again. Locks, faults and a crash to come
    /// aren't taken over.
    pub fn after_crash(&self, seed: u64) -> SimDisk {
        self.found(seed, &mut ByChance::new(seed))
    }

    /// The disk after a crash that lost all it could.
    pub fn after_crash_all_lost(&self) -> SimDisk {
        self.found(0, &mut AllLost)
    }

    /// The disk after a crash that lost nothing. All of it is durable now; see
    /// [`after_kill`](SimDisk::after_kill).
    pub fn after_crash_all_kept(&self) -> SimDisk {
        self.found(0, &mut AllKept)
    }

    /// The disk after the process, not the machine, was stopped: nothing is lost, and what was not flushed
    /// can still be lost later.
    pub fn after_kill(&self) -> SimDisk {
        SimDisk::from_state(self.state().after_kill())
    }

    /// Shows `check` every state that a crash now may leave, or the first `states_max` of them.
    ///
    /// Their number is the product of the numbers of versions of all sectors, lengths and names that aren't
    /// flushed, so this is for small cases.
    pub fn each_crash(&self, states_max: usize, mut check: impl FnMut(SimDisk)) -> Explored {
        let mut odometer = Odometer::default();
        for states in 1..=states_max {
            check(self.found(states as u64, &mut odometer));
            if !odometer.turn() {
                return Explored {
                    states,
                    complete: true,
                };
            }
        }
        Explored {
            states: states_max,
            complete: false,
        }
    }

    fn found(&self, seed: u64, choose: &mut dyn Choose) -> SimDisk {
        SimDisk::from_state(self.state().after_crash(seed, choose))
    }

    /// Makes a call fail that is yet to come.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.add(fault);
    }

    /// Forgets the faults that are still to come.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Changes the space for the contents of files, as if others had used or freed some.
    pub fn set_space(&self, space: Option<u64>) {
        self.state().options.space = space;
    }

    /// The bytes that the contents of files take, removed ones that are still open included.
    pub fn used(&self) -> u64 {
        self.state().recount() * SECTOR as u64
    }

    /// One line for each operation so far, in order, if [`SimOptions::history`] asks for it.
    pub fn history(&self) -> Vec<String> {
        self.state().history.clone()
    }

    /// All files, in order of name.
    pub fn files(&self) -> Vec<PathBuf> {
        self.state()
            .directory
            .files(None)
            .map(Path::to_path_buf)
            .collect()
    }

    /// What is in a file. Like the other methods that look at or change files from outside it works after a
    /// crash too, and isn't counted.
    pub fn read_file(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        let inode = state.file(&plain(path.as_ref()))?;
        let mut bytes = vec![0; usize::try_from(inode.len()).map_err(|_| io::ErrorKind::OutOfMemory)?];
        inode.read(&mut bytes, 0);
        Ok(bytes)
    }

    /// Puts a file with these bytes on the medium, name and all, or replaces what is in it.
    pub fn write_file(&self, path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
        let path = plain(path.as_ref());
        let mut state = self.state();
        state.settle(&path)?.alter(|inode| {
            inode.set_len(0);
            inode.write(bytes, 0);
        });
        Ok(())
    }

    /// Turns those bits of a byte of a file around that are set in `mask`, on the medium. What else was
    /// written to the file becomes durable.
    pub fn flip(&self, path: impl AsRef<Path>, byte: u64, mask: u8) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.file(&plain(path.as_ref()))?;
        let mut old = [0];
        if inode.read(&mut old, byte) == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        inode.alter(|inode| {
            inode.write(&[old[0] ^ mask], byte);
        });
        Ok(())
    }

    /// Cuts a file on the medium, or extends it with zeros. What else was written to it becomes durable.
    pub fn truncate(&self, path: impl AsRef<Path>, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state
            .file(&plain(path.as_ref()))?
            .alter(|inode| inode.set_len(len));
        Ok(())
    }
}

/// The parts of `bytes` that lie in different sectors if they are put at `offset`, and where each goes.
fn sectors(bytes: &[u8], offset: u64) -> impl Iterator<Item = (u64, &[u8])> {
    let mut rest = bytes;
    let mut at = offset;
    std::iter::from_fn(move || {
        let room = SECTOR - (at % SECTOR as u64) as usize;
        let (part, more) = rest.split_at(room.min(rest.len()));
        let here = at;
        rest = more;
        at += part.len() as u64;
        (!part.is_empty()).then_some((here, part))
    })
}

impl Vfs for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let path = plain(path);
        let inode = self.state().open(&path, mode)?;
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            inode,
            path,
            writable: mode != OpenMode::Read,
        }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.state().remove(&plain(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state().rename(&plain(from), &plain(to))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.state();
        state.check_power()?;
        Ok(state.directory.get(&plain(path)).is_some())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.state();
        state.check_power()?;
        let plain_dir = plain(dir);
        state.check_dir(&plain_dir)?;
        let files = state.directory.files(Some(&plain_dir));
        Ok(files
            .filter_map(Path::file_name)
            .map(|name| dir.join(name))
            .collect())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.state().create_dir(&plain(dir))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.state().remove_dir(&plain(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.state().sync_dir(&plain(dir))
    }

    fn lock(&self, path: &Path, exclusive: bool) -> io::Result<Box<dyn Send + Sync>> {
        // The handle keeps the lock file open, and with that its inode from being given to another file.
        let opened = self.open(path, OpenMode::Create)?;
        let path = plain(path);
        if let Some(pid) = self.state().lock(&path, exclusive) {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, LockHeld { pid }));
        }
        Ok(Box::new(SimLock {
            disk: self.clone(),
            path,
            _opened: opened,
        }))
    }

    fn io_name(&self) -> &'static str {
        "simulated"
    }
}

struct SimLock {
    disk: SimDisk,
    path: PathBuf,
    _opened: Arc<dyn File>,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.disk.state().unlock(&self.path);
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: usize,
    path: PathBuf,
    writable: bool,
}

impl SimFile {
    /// The state, for a call that changes the file.
    fn changing(&self) -> io::Result<MutexGuard<'_, State>> {
        if self.writable {
            Ok(self.disk.state())
        } else {
            Err(not_writable())
        }
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.disk.state().close(self.inode);
    }
}

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.check_power()?;
        Ok(state.inodes[self.inode].len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.state().read(self.inode, &self.path, buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.changing()?.write(self.inode, &self.path, buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.state().sync(self.inode, &self.path)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.changing()?.set_len(self.inode, &self.path, len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.changing()?.allocate(self.inode, &self.path, offset, len)
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        self.changing()?.punch_hole(self.inode, &self.path, offset, len)
    }

    fn write_batch(&self, ops: &[WriteOp<'_>]) -> io::Result<()> {
        self.changing()?.write_batch(self.inode, &self.path, ops)
    }

    fn map(&self, _capacity: u64) -> io::Result<Option<Arc<Mapping>>> {
        self.disk.state().check_power()?;
        Ok(None)
    }

    fn map_writes(&self, len: u64) -> io::Result<()> {
        let state = self.changing()?;
        state.check_power()?;
        match len <= state.inodes[self.inode].len() {
            true => Ok(()),
            false => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}
