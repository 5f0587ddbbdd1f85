//! Keeping a database in order: checks, copies, repairs.
//!
//! ```text
//!  check      walk, accounting, report       what is wrong, and where
//!  compact    steps that move pages          copy: into a file of its own
//!  backup     pages of a checkpoint          restore: back into a file         blocks: the frame of both streams
//!  dump       keys and values                load: back into a database
//!  repair     what is readable of a damaged database, into another one
//! ```
//!
//! `progress` is how long work tells how far it is, `nascent` a file that has its name only once it is whole, `raw` a file in whatever state.

mod accounting;
mod backup;
mod blocks;
mod check;
mod compact;
mod copy;
mod dump;
mod load;
mod nascent;
mod progress;
mod raw;
mod repair;
mod report;
mod restore;
mod walk;

use std::io::{BufReader, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

pub use backup::{BackupInfo, BackupPoint};
pub use compact::CompactInfo;
pub use dump::DumpInfo;
pub use load::LoadOptions;
pub use progress::{Progress, Unit};
pub use repair::RepairReport;
pub use report::{CheckReport, Place, Problem};
pub use restore::{RestoreInfo, RestoreOptions};

use crate::db::Database;
use crate::error::Result;
use crate::options::DatabaseOptions;
use nascent::NascentFile;
use progress::Meter;

/// The callback of those who don't ask.
fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

impl Database {
    /// Checks everything: the checksum and structure of every page as the file has it, the order of all keys, all counts, large
    /// values, names, expiry times, that every page of the file belongs to one thing only, the meta pages, and the log. Damage is
    /// no error but part of the report.
    ///
    /// It reads the whole file, on a snapshot, beside readers and writers; no checkpoint is made while it reads the log.
    ///
    /// One thing it can't find, as nothing can: that the last group of commits was damaged after a crash and before the next opening. It looks like one
    /// that was torn by the crash, and the database is as of the commit before it.
    ///
    /// ```
    /// use weald_engine::Database;
    ///
    /// let db = Database::in_memory()?;
    /// db.put(b"key", b"value")?;
    /// let report = db.check()?;
    /// assert!(report.is_sound(), "{:?}", report.problems);
    /// assert_eq!(report.keys, 1);
    /// # Ok::<(), weald_engine::Error>(())
    /// ```
    pub fn check(&self) -> Result<CheckReport> {
        self.check_with(go_on)
    }

    /// [`check`](Self::check), telling how far it is.
    pub fn check_with(&self, mut progress: impl FnMut(Progress) -> ControlFlow<()>) -> Result<CheckReport> {
        check::check(
            self.caught_up()?,
            &mut Meter::new(Unit::Pages, None, &mut progress),
        )
    }

    /// Checks the database in a file that nobody has open for writing, without changing anything. What keeps it from being opened is a problem in
    /// the report, and then whatever can be reached is checked all the same.
    ///
    /// ```
    /// use weald_engine::{Database, DatabaseOptions};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let path = dir.path().join("my.weald");
    /// Database::open(&path)?.put(b"key", b"value")?;
    /// let report = Database::check_file(&path, DatabaseOptions::new(), |_| std::ops::ControlFlow::Continue(()))?;
    /// assert!(report.is_sound());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check_file(
        path: impl AsRef<Path>,
        options: DatabaseOptions,
        mut progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<CheckReport> {
        let vfs = restore::or_disk(options.vfs.clone());
        let mut meter = Meter::new(Unit::Pages, None, &mut progress);
        check::check_file(path.as_ref(), &vfs, options, &mut meter)
    }

    /// Makes the file smaller, beside readers and writers: packs what lies in sparse pages, moves pages from the end of the file to free
    /// places, and cuts the file. It goes in steps, each of which holds writers back for some milliseconds.
    ///
    /// What a reader still sees can't be reused, so one that lives through all of it keeps the file long. Cancelled or failed half
    /// way, the database holds what it held, in some other pages.
    ///
    /// ```
    /// use weald_engine::{Database, Writable};
    ///
    /// let db = Database::in_memory()?;
    /// let mut tx = db.write()?;
    /// for n in 0..10_000u32 {
    ///     tx.put(&n.to_be_bytes(), &[0; 100])?;
    /// }
    /// tx.commit()?;
    /// let mut tx = db.write()?;
    /// tx.delete_range(100u32.to_be_bytes()..)?;
    /// tx.commit()?;
    /// let info = db.compact()?;
    /// assert!(info.bytes_after * 10 < info.bytes_before);
    /// # Ok::<(), weald_engine::Error>(())
    /// ```
    pub fn compact(&self) -> Result<CompactInfo> {
        self.compact_with(go_on)
    }

    /// [`compact`](Self::compact), telling how far it is.
    pub fn compact_with(&self, mut progress: impl FnMut(Progress) -> ControlFlow<()>) -> Result<CompactInfo> {
        compact::compact(
            self.caught_up()?,
            &mut Meter::new(Unit::Pages, None, &mut progress),
        )
    }

    /// Copies the newest visible state into a new database at `path`, with full pages and no free ones. The way to another page
    /// size too: `options` are those that the copy is created with.
    ///
    /// The file has its name only when it is whole and flushed; one that has the name already is never touched. The number of keys is returned.
    ///
    /// ```
    /// use weald_engine::{Database, DatabaseOptions, PageSize};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Database::open(dir.path().join("my.weald"))?;
    /// db.put(b"key", b"value")?;
    /// let options = DatabaseOptions::new().page_size(PageSize::Size16K);
    /// db.compact_to(dir.path().join("copy.weald"), options)?;
    ///
    /// let copy = Database::open(dir.path().join("copy.weald"))?;
    /// assert_eq!(copy.get(b"key")?.as_deref(), Some(&b"value"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn compact_to(&self, path: impl AsRef<Path>, options: DatabaseOptions) -> Result<u64> {
        self.compact_to_with(path, options, go_on)
    }

    /// [`compact_to`](Self::compact_to), telling how far it is. Cancelled, it leaves nothing.
    pub fn compact_to_with(
        &self,
        path: impl AsRef<Path>,
        options: DatabaseOptions,
        mut progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<u64> {
        let mut meter = Meter::new(Unit::Keys, None, &mut progress);
        copy::compact_to(self.caught_up()?, path.as_ref(), options, &mut meter)
    }

    /// Writes a full backup of the newest state to `sink`, beside readers and writers. It begins with a checkpoint.
    ///
    /// ```
    /// use weald_engine::{Database, RestoreOptions};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Database::open(dir.path().join("my.weald"))?;
    /// db.put(b"key", b"1")?;
    /// let mut full = Vec::new();
    /// let info = db.backup(&mut full)?;
    ///
    /// db.put(b"key", b"2")?;
    /// let mut later = Vec::new();
    /// db.backup_with(&mut later, Some(&info.point), |_| std::ops::ControlFlow::Continue(()))?;
    ///
    /// let path = dir.path().join("restored.weald");
    /// Database::restore(&mut [&mut &full[..], &mut &later[..]], &path, RestoreOptions::new())?;
    /// assert_eq!(Database::open(&path)?.get(b"key")?.as_deref(), Some(&b"2"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn backup(&self, sink: &mut dyn Write) -> Result<BackupInfo> {
        self.backup_with(sink, None, go_on)
    }

    /// [`backup`](Self::backup), telling how far it is; with `base`, only of what an earlier backup does not have. Failed or
    /// cancelled, it leaves a stream without an end mark, which is refused.
    pub fn backup_with(
        &self,
        sink: &mut dyn Write,
        base: Option<&BackupPoint>,
        mut progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<BackupInfo> {
        backup::backup(
            self.caught_up()?,
            sink,
            base,
            &mut Meter::new(Unit::Pages, None, &mut progress),
        )
    }

    /// Writes a backup into a file of its own, on the file system that the database is on. The file has its name only when it is whole and
    /// flushed; one that has the name already is never touched.
    ///
    /// ```
    /// use weald_engine::Database;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Database::open(dir.path().join("my.weald"))?;
    /// db.put(b"key", b"value")?;
    /// let full = db.backup_to(dir.path().join("monday"), None, |_| std::ops::ControlFlow::Continue(()))?;
    /// db.put(b"key", b"another")?;
    /// db.backup_to(dir.path().join("tuesday"), Some(&full.point), |_| std::ops::ControlFlow::Continue(()))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn backup_to(
        &self,
        path: impl AsRef<Path>,
        base: Option<&BackupPoint>,
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<BackupInfo> {
        let mut file = NascentFile::create(path.as_ref(), Arc::clone(&self.core().vfs))?;
        let info = self.backup_with(&mut file, base, progress)?;
        file.finish()?;
        Ok(info)
    }

    /// Makes a database at `path` from a full backup and the incremental ones after it, in order. Each must stand on the one before;
    /// gaps, other databases' backups, and damaged or cut ones are refused. What they make up is checked like [`check`](Self::check) does.
    ///
    /// The file has its name only when all that is done. One that has the name already is never touched, unless the options say that it
    /// is to be replaced; then nobody may have it open. A restored database is one of its own: incremental backups of it begin with a full one.
    ///
    /// ```
    /// use weald_engine::{Database, RestoreOptions};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let db = Database::open(dir.path().join("my.weald"))?;
    /// db.put(b"key", b"value")?;
    /// let mut backup = Vec::new();
    /// db.backup(&mut backup)?;
    ///
    /// let path = dir.path().join("restored.weald");
    /// Database::restore(&mut [&mut &backup[..]], &path, RestoreOptions::new())?;
    /// assert_eq!(Database::open(&path)?.get(b"key")?.as_deref(), Some(&b"value"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn restore(
        backups: &mut [&mut dyn Read],
        path: impl AsRef<Path>,
        options: RestoreOptions,
    ) -> Result<RestoreInfo> {
        Database::restore_with(backups, path, options, go_on)
    }

    /// [`restore`](Self::restore), telling how far it is. Cancelled, it leaves nothing.
    pub fn restore_with(
        backups: &mut [&mut dyn Read],
        path: impl AsRef<Path>,
        options: RestoreOptions,
        mut progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<RestoreInfo> {
        let mut meter = Meter::new(Unit::Bytes, None, &mut progress);
        restore::restore(backups, path.as_ref(), options, &mut meter)
    }

    /// Writes everything that is visible now to `sink`, in a format that does not depend on how it is stored: buckets, keys, values,
    /// sequence numbers, and when keys expire. `docs/dump.md` describes it. Beside readers and writers.
    ///
    /// ```
    /// use weald_engine::{Database, LoadOptions};
    ///
    /// let db = Database::in_memory()?;
    /// db.put(b"key", b"value")?;
    /// let mut dump = Vec::new();
    /// db.dump(&mut dump)?;
    ///
    /// let other = Database::in_memory()?;
    /// other.load(&mut &dump[..], LoadOptions::new())?;
    /// assert_eq!(other.get(b"key")?.as_deref(), Some(&b"value"[..]));
    /// # Ok::<(), weald_engine::Error>(())
    /// ```
    pub fn dump(&self, sink: &mut dyn Write) -> Result<DumpInfo> {
        self.dump_with(sink, go_on)
    }

    /// [`dump`](Self::dump), telling how far it is. Failed or cancelled, it leaves a dump without an end mark, which is refused.
    pub fn dump_with(
        &self,
        sink: &mut dyn Write,
        mut progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<DumpInfo> {
        dump::dump(
            self.caught_up()?,
            sink,
            &mut Meter::new(Unit::Keys, None, &mut progress),
        )
    }

    /// Puts what a dump holds into this database: keys that are there are overwritten, others stay, buckets are created where
    /// they are absent, and sequence numbers never go down. No key of the dump is left out because it has expired since.
    ///
    /// In one transaction, as is the default, a dump that is cut or damaged, or a load that is cancelled, changes nothing; if writing to the
    /// database's own files fails, then, as with every commit, all of it or nothing is there when it is opened again. See
    /// [`dump`](Self::dump) for an example.
    pub fn load(&self, source: &mut dyn Read, options: LoadOptions) -> Result<DumpInfo> {
        self.load_with(source, options, go_on)
    }

    /// [`load`](Self::load), telling how far it is.
    pub fn load_with(
        &self,
        source: &mut dyn Read,
        options: LoadOptions,
        mut progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<DumpInfo> {
        let mut meter = Meter::new(Unit::Bytes, None, &mut progress);
        load::load(self.core(), &mut BufReader::new(source), options, &mut meter)
    }

    /// Copies what can be read of the damaged database at `from`, which nobody may have open, into a new one at `to`. The damaged one is not changed.
    ///
    /// What its trees still lead to is copied, and what the log has after the last checkpoint is replayed as far as it can be read; both are
    /// as they were committed. Where an inner page is lost, the leaves below it are looked for in all of the file: keys found that way are
    /// copied too. If the list of free pages is lost as well, some of those may be old, which the report says. What belongs nowhere any more is in the bucket
    /// `lost+found`. The report names all that is lost.
    ///
    /// The new file has its name only when it is whole and flushed; one that has the name already is never touched. Cancelled, it leaves nothing.
    ///
    /// ```
    /// use weald_engine::{Database, DatabaseOptions};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let (path, repaired) = (dir.path().join("my.weald"), dir.path().join("repaired.weald"));
    /// Database::open(&path)?.put(b"key", b"value")?;
    /// let report = Database::repair(&path, &repaired, DatabaseOptions::new())?;
    /// assert!(report.is_complete());
    /// assert_eq!(Database::open(&repaired)?.get(b"key")?.as_deref(), Some(&b"value"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn repair(
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
        options: DatabaseOptions,
    ) -> Result<RepairReport> {
        Database::repair_with(from, to, options, go_on)
    }

    /// [`repair`](Self::repair), telling how far it is.
    pub fn repair_with(
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
        options: DatabaseOptions,
        mut progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<RepairReport> {
        let vfs = restore::or_disk(options.vfs.clone());
        let mut meter = Meter::new(Unit::Pages, None, &mut progress);
        repair::repair(from.as_ref(), to.as_ref(), &vfs, options, &mut meter)
    }
}
