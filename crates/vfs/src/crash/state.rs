//! What all handles of a simulated disk share, and the calls on it.
//!
//! Each changing call begins with [`State::begin`], which counts it, remembers it, and says what stands in
//! its way.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::chance::{Choose, Dice};
use super::contents::SECTOR;
use super::directory::{Directory, Entry};
use super::faults::{Call, FaultKind, Faults};
use super::inode::Inode;
use super::{SimOptions, sectors};
use crate::rules::{check_range, is_root};
use crate::{OpenMode, WriteOp};

/// The inner value of the errors that a [`SimDisk`](crate::SimDisk) gives once its power is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerCut;

impl PowerCut {
    /// Whether that is why a call failed.
    ///
    /// ```
    /// use std::path::Path;
    /// use weald_vfs::{OpenMode, PowerCut, SimDisk, SimOptions, Vfs};
    ///
    /// let disk = SimDisk::new(1, SimOptions::default());
    /// disk.crash_after(0);
    /// let error = disk.open(Path::new("/data"), OpenMode::Create).unwrap_err();
    /// assert!(PowerCut::caused(&error));
    /// ```
    pub fn caused(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<PowerCut>())
    }

    fn error() -> io::Error {
        io::Error::other(PowerCut)
    }
}

impl fmt::Display for PowerCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the power of the simulated disk was cut")
    }
}

impl std::error::Error for PowerCut {}

/// What happens to a call that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is done.
    Done,
    /// It is done as something unflushed, and fails with the power.
    Last,
    /// It fails, perhaps in part.
    Fails(FaultKind),
}

impl Fate {
    /// The result of a call that was done, or would have been.
    fn result<T>(self, value: T) -> io::Result<T> {
        match self {
            Fate::Done | Fate::Fails(FaultKind::Short) => Ok(value),
            Fate::Last => Err(PowerCut::error()),
            Fate::Fails(kind) => Err(kind.error()),
        }
    }

    /// For calls that are done wholly or not at all: whether to do it.
    fn is_done(self) -> bool {
        !matches!(
            self,
            Fate::Fails(FaultKind::Io | FaultKind::NoSpace | FaultKind::Interrupted)
        )
    }
}

#[derive(Debug)]
struct Locked {
    path: PathBuf,
    /// 0 for an exclusive lock.
    sharing: u32,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) options: SimOptions,
    dice: Dice,
    pub(super) operations: u64,
    pub(super) crash_at: Option<u64>,
    pub(super) crashed: bool,
    pub(super) faults: Faults,
    pub(super) history: Vec<String>,
    pub(super) directory: Directory,
    pub(super) inodes: Vec<Inode>,
    /// Places in `inodes` that can be given to files to come.
    free: Vec<usize>,
    locks: Vec<Locked>,
    /// At least the number of sectors that take space.
    used: u64,
}

impl State {
    pub(super) fn new(seed: u64, options: SimOptions) -> State {
        State {
            options,
            dice: Dice::new(seed),
            operations: 0,
            crash_at: None,
            crashed: false,
            faults: Faults::default(),
            history: Vec::new(),
            directory: Directory::default(),
            inodes: Vec::new(),
            free: Vec::new(),
            locks: Vec::new(),
            used: 0,
        }
    }

    pub(super) fn after_crash(&self, seed: u64, choose: &mut dyn Choose) -> State {
        let mut found = State::new(seed, self.options);
        let inodes = &mut found.inodes;
        found.directory = self.directory.after_crash(choose, |old, choose| {
            inodes.push(self.inodes[old].after_crash(choose));
            inodes.len() - 1
        });
        found.after_restart()
    }

    pub(super) fn after_kill(&mut self) -> State {
        let mut found = State::new(self.dice.roll(), self.options);
        found.directory = self.directory.clone();
        found.inodes = self.inodes.clone();
        found.inodes.iter_mut().for_each(|inode| inode.open = 0);
        found.free = self.free.clone();
        found.collect();
        found.after_restart()
    }

    fn after_restart(mut self) -> State {
        if self.options.space.is_some() {
            self.recount();
        }
        self
    }

    pub(super) fn check_power(&self) -> io::Result<()> {
        if self.crashed {
            Err(PowerCut::error())
        } else {
            Ok(())
        }
    }

    /// Begins a call that changes or flushes something.
    fn begin(&mut self, call: Call, path: &Path, detail: impl FnOnce() -> String) -> io::Result<Fate> {
        self.check_power()?;
        let index = self.operations;
        self.operations += 1;
        let fate = if self.crash_at.is_some_and(|at| index >= at) {
            self.crashed = true;
            Fate::Last
        } else if let Some(kind) = self.faults.hit(call, path) {
            Fate::Fails(kind)
        } else {
            Fate::Done
        };
        if self.options.history {
            let end = if fate == Fate::Done {
                String::new()
            } else {
                format!(": {fate:?}")
            };
            self.history
                .push(format!("{index}: {call:?} {}{}{end}", path.display(), detail()));
        }
        Ok(fate)
    }

    pub(super) fn check_dir(&self, dir: &Path) -> io::Result<()> {
        match self.directory.get(dir) {
            Some(Entry::Dir) => Ok(()),
            Some(Entry::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn place(&self, path: &Path) -> io::Result<usize> {
        match self.directory.get(path) {
            Some(Entry::File(place)) => Ok(place),
            Some(Entry::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn file(&mut self, path: &Path) -> io::Result<&mut Inode> {
        let place = self.place(path)?;
        Ok(&mut self.inodes[place])
    }

    /// The file `path`, made where it is absent, with a name that is durable.
    pub(super) fn settle(&mut self, path: &Path) -> io::Result<&mut Inode> {
        self.directory.check_parent(path)?;
        let place = match self.place(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.create(path),
            other => other?,
        };
        self.directory.settle(path);
        Ok(&mut self.inodes[place])
    }

    fn create(&mut self, path: &Path) -> usize {
        let place = self.free.pop().unwrap_or_else(|| {
            self.inodes.push(Inode::default());
            self.inodes.len() - 1
        });
        self.directory.put(path, Entry::File(place));
        place
    }

    pub(super) fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<usize> {
        self.check_power()?;
        self.directory.check_parent(path)?;
        let place = match (mode, self.place(path)) {
            (OpenMode::CreateNew, Ok(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (OpenMode::Create | OpenMode::CreateNew, Err(e)) if e.kind() == io::ErrorKind::NotFound => {
                let fate = self.begin(Call::Open, path, || " (created)".into())?;
                if fate.is_done() {
                    self.create(path);
                }
                fate.result(())?;
                self.place(path)?
            }
            (_, found) => {
                let found = found?;
                if let Some(kind) = self.faults.hit(Call::Open, path) {
                    Fate::Fails(kind).result(())?;
                }
                found
            }
        };
        self.inodes[place].open += 1;
        Ok(place)
    }

    pub(super) fn close(&mut self, place: usize) {
        self.inodes[place].open -= 1;
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.check_power()?;
        let place = self.place(path)?;
        let fate = self.begin(Call::Name, path, || " removed".into())?;
        if fate.is_done() {
            self.directory.remove(path, Entry::File(place));
        }
        fate.result(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.check_power()?;
        let place = self.place(from)?;
        self.directory.check_parent(to)?;
        if self.directory.get(to) == Some(Entry::Dir) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let fate = self.begin(Call::Name, from, || format!(" renamed to {}", to.display()))?;
        if fate.is_done() && from != to {
            self.directory.rename(to, Entry::File(place));
        }
        fate.result(())
    }

    pub(super) fn create_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.check_power()?;
        match self.directory.get(dir) {
            Some(Entry::Dir) => return Ok(()),
            Some(Entry::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            None => self.directory.check_parent(dir)?,
        }
        let fate = self.begin(Call::Name, dir, || " directory created".into())?;
        if fate.is_done() {
            self.directory.put(dir, Entry::Dir);
        }
        fate.result(())
    }

    pub(super) fn remove_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.check_power()?;
        self.check_dir(dir)?;
        if is_root(dir) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        if !self.directory.is_empty(dir) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let fate = self.begin(Call::Name, dir, || " directory removed".into())?;
        if fate.is_done() {
            self.directory.remove(dir, Entry::Dir);
        }
        fate.result(())
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.check_power()?;
        self.check_dir(dir)?;
        let fate = self.begin(Call::SyncDir, dir, String::new)?;
        if fate == Fate::Done {
            self.directory.sync(dir);
            self.collect();
        }
        fate.result(())
    }

    /// Takes back the inodes that nothing can bring to light any more.
    fn collect(&mut self) {
        let mut needed: Vec<bool> = self.inodes.iter().map(|inode| inode.open > 0).collect();
        self.directory.reachable().for_each(|place| needed[place] = true);
        self.free.clear();
        for (place, _) in needed.iter().enumerate().filter(|(_, needed)| !**needed) {
            self.inodes[place] = Inode::default();
            self.free.push(place);
        }
    }

    /// Counts the sectors that take space.
    pub(super) fn recount(&mut self) -> u64 {
        let mut counted: Vec<bool> = self.inodes.iter().map(|inode| inode.open > 0).collect();
        for entry in self.directory.visible() {
            if let Entry::File(place) = entry {
                counted[place] = true;
            }
        }
        let sizes = self.inodes.iter().zip(counted).filter(|(_, counted)| *counted);
        self.used = sizes.map(|(inode, _)| inode.allocated()).sum();
        self.used
    }

    /// Whether there is space for so many sectors more.
    fn has_space(&mut self, sectors: u64) -> bool {
        let Some(space) = self.options.space.map(|bytes| bytes / SECTOR as u64) else {
            return true;
        };
        let fits = |used: u64| used.saturating_add(sectors) <= space;
        fits(self.used) || fits(self.recount())
    }

    pub(super) fn read(
        &mut self,
        place: usize,
        path: &Path,
        buf: &mut [u8],
        offset: u64,
    ) -> io::Result<usize> {
        self.check_power()?;
        let fault = self.faults.hit(Call::Read, path);
        let fault = fault.or_else(|| {
            self.dice
                .one_in(self.options.interrupt_one_in)
                .then_some(FaultKind::Interrupted)
        });
        let mut wanted = buf.len();
        match fault {
            Some(FaultKind::Short) => wanted = self.shorten(wanted),
            Some(kind) => return Err(kind.error()),
            None if self.dice.one_in(self.options.short_io_one_in) => wanted = self.shorten(wanted),
            None => {}
        }
        check_range(offset, wanted as u64)?;
        Ok(self.inodes[place].read(&mut buf[..wanted], offset))
    }

    /// A length from 1 to less than `len`, where there is one.
    fn shorten(&mut self, len: usize) -> usize {
        if len < 2 {
            len
        } else {
            1 + self.dice.below(len as u64 - 1) as usize
        }
    }

    pub(super) fn write(&mut self, place: usize, path: &Path, buf: &[u8], offset: u64) -> io::Result<usize> {
        check_range(offset, buf.len() as u64)?;
        let mut fate = self.begin(Call::Write, path, || format!(" {offset}+{}", buf.len()))?;
        if fate == Fate::Done && self.dice.one_in(self.options.interrupt_one_in) {
            fate = Fate::Fails(FaultKind::Interrupted);
        }
        let short = fate == Fate::Fails(FaultKind::Short)
            || (fate == Fate::Done && self.dice.one_in(self.options.short_io_one_in));
        let wanted = if short { self.shorten(buf.len()) } else { buf.len() };
        let written = self.put(place, &buf[..wanted], offset, fate);
        if fate.is_done() && written == 0 && wanted > 0 {
            return fate.result(()).and(Err(FaultKind::NoSpace.error()));
        }
        fate.result(written)
    }

    pub(super) fn write_batch(&mut self, place: usize, path: &Path, ops: &[WriteOp<'_>]) -> io::Result<()> {
        for op in ops {
            check_range(op.offset, op.bytes.len() as u64)?;
        }
        let fate = self.begin(Call::Write, path, || {
            let list: Vec<_> = ops
                .iter()
                .map(|op| format!("{}+{}", op.offset, op.bytes.len()))
                .collect();
            format!(" {}", list.join(" "))
        })?;
        for op in ops {
            let written = self.put(place, op.bytes, op.offset, fate);
            if fate.is_done() && written < op.bytes.len() {
                return fate.result(()).and(Err(FaultKind::NoSpace.error()));
            }
        }
        fate.result(())
    }

    /// Writes sector by sector, as far as there is space; of a failing write, some sectors. Returns the
    /// number of bytes written before the first that weren't.
    fn put(&mut self, place: usize, bytes: &[u8], offset: u64, fate: Fate) -> usize {
        let limited = self.options.space.is_some();
        if fate.is_done() && !limited {
            self.used += self.inodes[place].write(bytes, offset);
            return bytes.len();
        }
        let mut written = 0;
        for (at, part) in sectors(bytes, offset) {
            match fate {
                Fate::Fails(FaultKind::Interrupted) => break,
                Fate::Fails(FaultKind::Io | FaultKind::NoSpace) if self.dice.one_in(2) => continue,
                _ => {}
            }
            if limited && self.inodes[place].holes(at, at + 1) > 0 && !self.has_space(1) {
                break;
            }
            let took = self.inodes[place].write_in_sector(part, at);
            self.used += u64::from(took);
            written += part.len();
        }
        written
    }

    pub(super) fn sync(&mut self, place: usize, path: &Path) -> io::Result<()> {
        let fate = self.begin(Call::Sync, path, String::new)?;
        match fate {
            Fate::Done | Fate::Fails(FaultKind::Short) => self.inodes[place].sync(),
            Fate::Fails(FaultKind::Io | FaultKind::NoSpace) => {
                self.inodes[place].fail_sync(&mut self.dice);
            }
            Fate::Fails(FaultKind::Interrupted) | Fate::Last => {}
        }
        fate.result(())
    }

    pub(super) fn set_len(&mut self, place: usize, path: &Path, len: u64) -> io::Result<()> {
        check_range(len, 0)?;
        let fate = self.begin(Call::Resize, path, || format!(" to {len}"))?;
        if fate.is_done() {
            self.inodes[place].set_len(len);
        }
        fate.result(())
    }

    pub(super) fn allocate(&mut self, place: usize, path: &Path, offset: u64, len: u64) -> io::Result<()> {
        check_range(offset, len)?;
        let fate = self.begin(Call::Resize, path, || format!(" allocate {offset}+{len}"))?;
        if fate.is_done() && len > 0 {
            let end = offset + len;
            let more = self.inodes[place].holes(offset, end);
            if !self.has_space(more) {
                return fate.result(()).and(Err(FaultKind::NoSpace.error()));
            }
            self.inodes[place].allocate(offset, end);
            self.used += more;
        }
        fate.result(())
    }

    pub(super) fn punch_hole(&mut self, place: usize, path: &Path, offset: u64, len: u64) -> io::Result<()> {
        let fate = self.begin(Call::Resize, path, || format!(" hole {offset}+{len}"))?;
        let inode = &mut self.inodes[place];
        let end = offset
            .saturating_add(len)
            .min(inode.len().next_multiple_of(SECTOR as u64));
        if fate.is_done() && offset < end {
            inode.zero(offset, end);
        }
        fate.result(())
    }

    /// Takes a lock; if another is in the way, its holder.
    pub(super) fn lock(&mut self, path: &Path, exclusive: bool) -> Option<Option<u32>> {
        match self.locks.iter_mut().find(|lock| lock.path == path) {
            None => self.locks.push(Locked {
                path: path.into(),
                sharing: u32::from(!exclusive),
            }),
            Some(lock) if lock.sharing > 0 && !exclusive => lock.sharing += 1,
            Some(lock) => return Some((lock.sharing == 0).then(std::process::id)),
        }
        None
    }

    pub(super) fn unlock(&mut self, path: &Path) {
        for lock in &mut self.locks {
            if lock.path == path {
                lock.sharing = lock.sharing.saturating_sub(1);
            }
        }
        self.locks.retain(|lock| lock.path != path || lock.sharing > 0);
    }
}
