//! The two traits that all durable bytes pass through.

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Mapping;

/// The inner value of the error that [`Vfs::lock`] gives when another holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockHeld {
    /// The process that holds it, where that is known.
    pub pid: Option<u32>,
}

impl std::fmt::Display for LockHeld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "locked by process {pid}"),
            None => f.write_str("locked by another process"),
        }
    }
}

impl std::error::Error for LockHeld {}

/// How [`Vfs::open`] opens a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Reads only; the file must exist.
    Read,
    /// Reads and writes; the file must exist.
    Write,
    /// Reads and writes; the file is created where it is absent.
    Create,
    /// Reads and writes; the file must not exist yet.
    CreateNew,
}

/// One write of a batch given to [`File::write_batch`].
#[derive(Clone, Copy, Debug)]
pub struct WriteOp<'a> {
    /// Where in the file the bytes go.
    pub offset: u64,
    /// What is written.
    pub bytes: &'a [u8],
}

/// One read of a batch given to [`File::read_batch`].
#[derive(Debug)]
pub struct ReadOp<'a> {
    /// Where in the file the bytes are.
    pub offset: u64,
    /// Where they go; all of it is filled.
    pub bytes: &'a mut [u8],
}

/// A file system: names, directories and locks.
///
/// A name that was created, renamed or removed is durable only after [`sync_dir`](Vfs::sync_dir) of its
/// directory; until then a crash may keep or lose any subset of such changes.
pub trait Vfs: Send + Sync + Debug {
    /// Opens `path`.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// Removes the file `path`.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Gives the file `from` the name `to`, replacing what was there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Whether a file or directory of that name exists.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// The files in directory `dir`, full paths, in order of name.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;

    /// Creates directory `dir` where it is absent; its parent must exist.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Removes the empty directory `dir`.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes an advisory lock on the file `path` (created where absent), without waiting, held until the
    /// returned guard drops or the process dies. `exclusive` shuts out everyone, otherwise only exclusive
    /// ones. It conflicts with locks taken by this same process too. `Err` of kind
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) means that another holds it; the error's inner value is then
    /// a [`LockHeld`](crate::LockHeld).
    fn lock(&self, path: &Path, exclusive: bool) -> io::Result<Box<dyn Send + Sync>>;

    /// The way in which bytes come and go, for people to read.
    fn io_name(&self) -> &'static str {
        "custom"
    }
}

/// An open file: bytes at offsets.
///
/// Reads and writes may be short, as the system calls are; the `_exact` and `_all` forms are what callers
/// use. Nothing written is durable before [`sync_data`](File::sync_data) returned `Ok`.
pub trait File: Send + Sync + Debug {
    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads into `buf` from `offset`; 0 at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes `buf` at `offset`, growing the file as needed.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize>;

    /// Flushes the contents, and what of the metadata is needed to read them back.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts or extends the file, with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Reserves blocks for a range so that writing there can't run out of space; extends the file when it
    /// ends beyond.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Gives the blocks of a range back; it reads as zeros afterwards. A file system that can't do that
    /// leaves the range as it was.
    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Writes all of `ops`, in any order; adjacent ones may be joined, and several be under way at once. On
    /// `Err` any of them may have been done.
    fn write_batch(&self, ops: &[WriteOp<'_>]) -> io::Result<()> {
        ops.iter()
            .try_for_each(|op| self.write_all_at(op.bytes, op.offset))
    }

    /// Does all of `ops`, in any order, several at once where that is possible. On `Err` any of the buffers
    /// may have been changed.
    fn read_batch(&self, ops: &mut [ReadOp<'_>]) -> io::Result<()> {
        ops.iter_mut()
            .try_for_each(|op| self.read_exact_at(op.bytes, op.offset))
    }

    /// A read-only mapping of the first `capacity` bytes, which may lie beyond the end of the file: what the
    /// file grows into becomes readable through it. `Ok(None)` where this kind of file can't be mapped.
    fn map(&self, capacity: u64) -> io::Result<Option<Arc<Mapping>>>;

    /// From now on writes within the first `len` bytes, which must be allocated and written already, go
    /// through a shared mapping instead of a system call where that is possible; the meaning stays the same.
    ///
    /// `Err` of kind [`InvalidInput`](io::ErrorKind::InvalidInput) where the file is shorter. A length of 0
    /// goes back to system calls. The price: the first write to a page after it was flushed costs a page
    /// fault, and makes dirty all that the system keeps together with that page, which is what was written or
    /// read together when it came into memory. So a file that is to be written this way is best filled page
    /// by page; flushing a few bytes of one that was filled in large pieces can take three times as long.
    fn map_writes(&self, len: u64) -> io::Result<()>;

    /// Reads exactly `buf.len()` bytes, retrying short and interrupted reads.
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(buf, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    buf = &mut buf[n..];
                    offset += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Writes all of `buf`, retrying short and interrupted writes.
    fn write_all_at(&self, mut buf: &[u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            match self.write_at(buf, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    buf = &buf[n..];
                    offset += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}
