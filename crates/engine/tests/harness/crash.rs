//! A power cut at every operation, and again during the recovery: what was acknowledged is there, and nothing is there by half.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use weald_vfs::{File, Mapping, OpenMode, SimDisk, SimOptions, Vfs, WriteOp};

use crate::accounting::check_empties;
use crate::history::Script;
use crate::seed::{Rng, asked, each_seed, is_exhaustive};

#[test]
fn a_power_cut_at_any_operation_leaves_a_prefix_of_the_commits() {
    each_seed("crash", 60, Duration::from_secs(18), |seed| {
        let script = Script::new(seed, 14, 40_000);
        let explored = explore(&script, seed, &|disk| Arc::new(disk));
        explored.unwrap_or_else(|e| panic!("{e}"));
    });
}

/// How a simulated disk is handed to the engine.
type Wrap = dyn Fn(SimDisk) -> Arc<dyn Vfs>;

/// Cuts the power at every operation, or at some of them.
fn explore(script: &Script, seed: u64, wrap: &Wrap) -> Result<(), String> {
    let whole = SimDisk::new(seed, SimOptions::default());
    let played = script.play(&wrap(whole.clone()));
    if let Some(e) = played.error {
        return Err(format!("without a power cut: {e}"));
    }
    let mut rng = Rng::new(seed);
    let operations = whole.operations();
    let samples = if is_exhaustive() {
        operations
    } else {
        60.min(operations)
    };
    for sample in 0..samples {
        let at = if samples == operations {
            sample
        } else {
            rng.below(operations)
        };
        let history = asked("WEALD_TRACE").is_some();
        let disk = SimDisk::new(
            seed,
            SimOptions {
                history,
                ..SimOptions::default()
            },
        );
        disk.crash_after(at);
        let played = script.play(&wrap(disk.clone()));
        let range = (played.durable, played.tried.max(played.committed));
        let say = |e: String| {
            disk.history().iter().for_each(|line| eprintln!("{line}"));
            format!("power cut at operation {at}, {played:?}: {e}")
        };
        for chance in 0..4 {
            let found = |seed| match chance {
                0 => disk.after_crash_all_lost(),
                1 => disk.after_crash_all_kept(),
                n => disk.after_crash(seed + n),
            };
            recover(script, &found(at), range, at + chance).map_err(say)?;
            if chance > 1 || is_exhaustive() {
                interrupt(script, &|| found(at), range, &mut rng).map_err(say)?;
            }
        }
    }
    Ok(())
}

/// Opens what was found, sees which commits it has, and goes on with it.
fn recover(script: &Script, disk: &SimDisk, range: (usize, usize), seed: u64) -> Result<(), String> {
    let vfs: Arc<dyn Vfs> = Arc::new(disk.clone());
    let opened = script.open(Arc::clone(&vfs));
    let db = opened.map_err(|e| format!("opening failed: {e} (files: {:?})", disk.files()))?;
    let place = script.place(&db, range.0, range.1)?;
    script.go_on(db, Arc::clone(&vfs), place, seed)?;
    if seed.is_multiple_of(16) {
        let db = script.open(vfs).map_err(|e| format!("opening failed: {e}"))?;
        let mortal = script
            .models
            .iter()
            .map(|m| m.pairs.values().filter(|v| v.mortal).count());
        check_empties(&db, mortal.sum::<usize>() as u64)?;
    }
    Ok(())
}

/// Cuts the power during the recovery, at some of its operations.
fn interrupt(
    script: &Script,
    found: &dyn Fn() -> SimDisk,
    range: (usize, usize),
    rng: &mut Rng,
) -> Result<(), String> {
    let disk = found();
    drop(script.open(Arc::new(disk.clone())));
    let operations = disk.operations();
    let samples = if is_exhaustive() {
        operations
    } else {
        2.min(operations)
    };
    for sample in 0..samples {
        let at = if samples == operations {
            sample
        } else {
            rng.below(operations)
        };
        let disk = found();
        disk.crash_after(at);
        drop(script.open(Arc::new(disk.clone())));
        let again = disk.after_crash(at);
        recover(script, &again, range, at)
            .map_err(|e| format!("and at operation {at} of the recovery: {e}"))?;
    }
    Ok(())
}

/// What a broken file system does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sin {
    /// Says that files of the log are flushed.
    LogUnflushed,
    /// Says that the file is flushed.
    FileUnflushed,
    /// Flushes the meta pages alone: what was written before them comes after them.
    MetaFirst,
    /// Forgets that names have to be flushed.
    NamesUnflushed,
}

#[test]
fn a_disk_that_does_not_flush_is_found_out() {
    for sin in [
        Sin::LogUnflushed,
        Sin::FileUnflushed,
        Sin::MetaFirst,
        Sin::NamesUnflushed,
    ] {
        let found = (0..40).find_map(|seed| {
            let script = Script::new(seed, 10, 2000);
            let wrap = move |disk: SimDisk| -> Arc<dyn Vfs> { Arc::new(Broken { disk, sin }) };
            let found = explore(&script, seed, &wrap).err();
            found.filter(|e| e.starts_with("power cut"))
        });
        assert!(found.is_some(), "{sin:?} was not found out");
    }
}

/// A file system that breaks a promise.
#[derive(Debug)]
struct Broken {
    disk: SimDisk,
    sin: Sin,
}

#[derive(Debug)]
struct BrokenFile {
    file: Arc<dyn File>,
    sin: Sin,
    is_log: bool,
    /// What was written before a meta page, and is held back until that one is flushed.
    held: Mutex<Vec<(u64, Vec<u8>)>>,
    meta: AtomicBool,
}

impl BrokenFile {
    /// Whether writes are held back: those to the file that are no meta page.
    fn holds(&self, offset: u64) -> bool {
        self.sin == Sin::MetaFirst && !self.is_log && offset > 0
    }

    fn release(&self) -> io::Result<()> {
        let held = std::mem::take(&mut *self.held.lock().unwrap());
        held.iter()
            .try_for_each(|(offset, bytes)| self.file.write_all_at(bytes, *offset))
    }
}

impl Vfs for Broken {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(BrokenFile {
            file: self.disk.open(path, mode)?,
            sin: self.sin,
            is_log: path.to_string_lossy().contains("-wal"),
            held: Mutex::default(),
            meta: AtomicBool::new(false),
        }))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.disk.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir(dir)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        match self.sin {
            Sin::NamesUnflushed => Ok(()),
            _ => self.disk.sync_dir(dir),
        }
    }

    fn lock(&self, path: &Path, exclusive: bool) -> io::Result<Box<dyn Send + Sync>> {
        self.disk.lock(path, exclusive)
    }

    fn io_name(&self) -> &'static str {
        "broken"
    }
}

impl File for BrokenFile {
    fn len(&self) -> io::Result<u64> {
        let held = self.held.lock().unwrap();
        let end = held
            .iter()
            .map(|(offset, bytes)| offset + bytes.len() as u64)
            .max();
        Ok(self.file.len()?.max(end.unwrap_or(0)))
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        // Whoever reads sees what was written.
        self.release()?;
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        if self.holds(offset) {
            self.held.lock().unwrap().push((offset, buf.to_vec()));
            return Ok(buf.len());
        }
        self.meta.store(true, Ordering::Relaxed);
        self.file.write_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.sin {
            Sin::LogUnflushed if self.is_log => Ok(()),
            Sin::FileUnflushed if !self.is_log => Ok(()),
            Sin::MetaFirst if !self.is_log => {
                self.file.sync_data()?;
                if self.meta.swap(false, Ordering::Relaxed) {
                    self.release()?;
                }
                Ok(())
            }
            _ => self.file.sync_data(),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.release()?;
        self.file.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.allocate(offset, len)
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        self.release()?;
        self.file.punch_hole(offset, len)
    }

    fn write_batch(&self, ops: &[WriteOp<'_>]) -> io::Result<()> {
        if self.sin == Sin::MetaFirst && !self.is_log {
            return ops
                .iter()
                .try_for_each(|op| self.write_all_at(op.bytes, op.offset));
        }
        self.file.write_batch(ops)
    }

    fn map(&self, capacity: u64) -> io::Result<Option<Arc<Mapping>>> {
        self.file.map(capacity)
    }

    fn map_writes(&self, len: u64) -> io::Result<()> {
        self.file.map_writes(len)
    }
}
