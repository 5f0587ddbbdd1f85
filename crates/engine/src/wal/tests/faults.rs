//! Calls that fail: after every one of them, what was acknowledged is there, and nothing else than what was appended.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use weald_vfs::{File, Mapping};

use super::*;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// The call of that number, counted down, fails; it is one that changes something.
    Call(u64),
    /// There is no space for new files or blocks.
    Full,
    /// Flushes take a while.
    SlowFlush,
    FailFlush,
}

/// Files in memory whose calls can fail.
#[derive(Debug)]
pub(super) struct FaultyVfs {
    inner: Arc<Memory>,
    fault: Arc<Mutex<Fault>>,
}

#[derive(Debug)]
struct FaultyFile {
    inner: Arc<dyn File>,
    fault: Arc<Mutex<Fault>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Call {
    Space,
    Write,
    Flush,
}

fn fails(fault: &Mutex<Fault>, call: Call) -> io::Result<()> {
    let mut fault = fault.lock().unwrap();
    let failed = match &mut *fault {
        Fault::None | Fault::SlowFlush => false,
        Fault::Call(0) => {
            *fault = Fault::None;
            true
        }
        Fault::Call(n) => {
            *n -= 1;
            false
        }
        Fault::Full if call == Call::Space => return Err(io::ErrorKind::StorageFull.into()),
        Fault::Full => false,
        Fault::FailFlush => call == Call::Flush,
    };
    if *fault == Fault::SlowFlush && call == Call::Flush {
        drop(fault);
        std::thread::sleep(Duration::from_millis(2));
    }
    if failed {
        Err(io::Error::from_raw_os_error(5))
    } else {
        Ok(())
    }
}

impl FaultyVfs {
    pub(super) fn new(inner: Arc<Memory>, fault: Fault) -> FaultyVfs {
        FaultyVfs {
            inner,
            fault: Arc::new(Mutex::new(fault)),
        }
    }

    pub(super) fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    fn has_struck(&self) -> bool {
        *self.fault.lock().unwrap() == Fault::None
    }
}

impl Vfs for FaultyVfs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        fails(
            &self.fault,
            if mode == OpenMode::CreateNew {
                Call::Space
            } else {
                Call::Write
            },
        )?;
        Ok(Arc::new(FaultyFile {
            inner: self.inner.open(path, mode)?,
            fault: self.fault.clone(),
        }))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        fails(&self.fault, Call::Write)?;
        self.inner.remove(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.inner.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fails(&self.fault, Call::Space)?;
        self.inner.create_dir(dir)
    }
    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fails(&self.fault, Call::Write)?;
        self.inner.remove_dir(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fails(&self.fault, Call::Write)?;
        self.inner.sync_dir(dir)
    }
    fn lock(&self, path: &Path, exclusive: bool) -> io::Result<Box<dyn Send + Sync>> {
        self.inner.lock(path, exclusive)
    }
}

impl File for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let grows = offset + buf.len() as u64 > self.inner.len()?;
        if let Err(e) = fails(&self.fault, if grows { Call::Space } else { Call::Write }) {
            // Part of it is there.
            self.inner.write_at(&buf[..buf.len() / 2], offset)?;
            return Err(e);
        }
        self.inner.write_at(buf, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        fails(&self.fault, Call::Flush)?;
        self.inner.sync_data()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let grows = offset + len > self.inner.len()?;
        fails(&self.fault, if grows { Call::Space } else { Call::Write })?;
        self.inner.allocate(offset, len)
    }
    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        self.inner.punch_hole(offset, len)
    }
    fn map(&self, capacity: u64) -> io::Result<Option<Arc<Mapping>>> {
        self.inner.map(capacity)
    }
    fn map_writes(&self, len: u64) -> io::Result<()> {
        fails(&self.fault, Call::Write)?;
        self.inner.map_writes(len)
    }
}

/// What a history left behind: what was appended, how much of it was acknowledged, and the last checkpoint.
#[derive(Default)]
struct Told {
    appended: Vec<Commit>,
    acknowledged: usize,
    checkpoint: Lsn,
    closed: bool,
}

/// Commits, checkpoints and a removal, until something fails.
fn history(wal: &Wal, first: u64, told: &mut Told) -> Result<()> {
    for i in 0..40 {
        let txid = first + i;
        let size = if i % 13 == 5 { 20_000 } else { 700 };
        // What a failed append left may or may not be there, so it counts as appended.
        let end = match try_commit(wal, txid, size) {
            Ok(commit) => {
                told.appended.push(commit);
                wal.end()
            }
            Err(e) => return Err(e),
        };
        if i % 3 == 0 {
            wal.flush(end)?;
            told.acknowledged = told.appended.len();
        }
        if i % 8 == 7 {
            wal.flush(end)?;
            told.acknowledged = told.appended.len();
            told.checkpoint = told.appended[told.appended.len() - 3].end;
            wal.recycle_before(told.checkpoint)?;
            wal.prepare()?;
        }
    }
    wal.flush(wal.end())?;
    told.acknowledged = told.appended.len();
    told.checkpoint = wal.end();
    told.closed = true;
    wal.remove_all(told.checkpoint)?;
    Ok(())
}

fn verify(told: &Told, found: &[Commit], context: &str) {
    let start = told
        .appended
        .iter()
        .position(|c| c.end > told.checkpoint)
        .unwrap_or(told.appended.len());
    let expected = &told.appended[start..];
    assert!(
        found.len() <= expected.len() && found == &expected[..found.len()],
        "{context}: not a prefix"
    );
    assert!(
        start + found.len() >= told.acknowledged,
        "{context}: lost what was acknowledged"
    );
}

#[test]
fn a_failure_of_any_call_loses_nothing_that_was_acknowledged() {
    for n in 0.. {
        let memory = memory();
        let vfs = Arc::new(FaultyVfs::new(memory.clone(), Fault::Call(n)));
        let (wal, _) = open_as(vfs.clone(), config(), Lsn(0), false).unwrap();
        let mut told = Told::default();
        let outcome = history(&wal, 1, &mut told);
        if !vfs.has_struck() {
            outcome.unwrap();
            assert!(n > 100, "{n} calls only");
            return;
        }
        let context = format!("call {n}");
        let error = outcome.expect_err(&context);
        let poisoned = matches!(error, Error::Poisoned(_));
        assert_eq!(poisoned, wal.check().is_err(), "{context}: {error}");
        assert!(poisoned || matches!(error, Error::Io(_)), "{context}: {error}");
        if poisoned {
            assert!(matches!(try_commit(&wal, 1000, 10), Err(Error::Poisoned(_))));
        } else if !told.closed {
            // Nothing was appended by the call that failed, and the log goes on.
            told.appended.push(durable_commit(&wal, 1000, 10));
            told.acknowledged = told.appended.len();
        }
        drop(wal);
        let (wal, found) = open(&memory, told.checkpoint);
        verify(&told, &found, &context);
        // What comes after the recovery is there as well, twice.
        let next = durable_commit(&wal, 2000, 10);
        drop(wal);
        let (_, again) = open(&memory, told.checkpoint);
        assert_eq!(again[..again.len() - 1], found, "{context}");
        assert_eq!(again.last(), Some(&next), "{context}");
    }
}

#[test]
fn a_failure_of_any_call_during_recovery_is_harmless() {
    let original = memory();
    let (wal, _) = open(&original, Lsn(0));
    let all: Vec<_> = (1..=30)
        .map(|t| {
            if t % 3 == 0 {
                durable_commit(&wal, t, 700)
            } else {
                commit(&wal, t, 700)
            }
        })
        .collect();
    drop(wal);
    for n in 0.. {
        let memory = copy(&original);
        let vfs = Arc::new(FaultyVfs::new(memory.clone(), Fault::Call(n)));
        let opened = open_as(vfs.clone(), config(), Lsn(0), false);
        if !vfs.has_struck() {
            assert!(n > 3);
            return;
        }
        assert!(matches!(opened, Err(Error::Io(_))));
        assert_eq!(open(&memory, Lsn(0)).1, all, "call {n}");
    }
}

#[test]
fn a_full_disk_is_an_error_and_the_log_goes_on_when_there_is_space() {
    let memory = memory();
    let vfs = Arc::new(FaultyVfs::new(memory.clone(), Fault::Full));
    let (wal, _) = open_as(vfs.clone(), config(), Lsn(0), false).unwrap();
    let mut all = Vec::new();
    for txid in 0..200 {
        match try_commit(&wal, txid, 700) {
            Ok(commit) => all.push(commit),
            Err(Error::DiskFull { source: e }) => {
                assert_eq!(e.source.kind(), io::ErrorKind::StorageFull);
                vfs.set(Fault::None);
                all.push(durable_commit(&wal, txid, 700));
                vfs.set(Fault::Full);
            }
            Err(e) => panic!("{e}"),
        }
    }
    wal.flush(wal.end()).unwrap();
    assert_eq!(open(&memory, Lsn(0)).1, all);
}
