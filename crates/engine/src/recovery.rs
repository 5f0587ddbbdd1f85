//! Opening: the newest checkpoint of the file, and what the log has after it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use weald_vfs::{File, LockHeld, OpenMode, Vfs};
use xxhash_rust::xxh3::xxh3_64;

use crate::checkpoint::{Checkpoints, write_metas};
use crate::core::{Core, Parts, now_ms};
use crate::error::{Error, Result};
use crate::filters::{self, Filters};
use crate::free_list;
use crate::meta::{self, Blob, Meta, MetaFault};
use crate::options::{DatabaseOptions, PageSize};
use crate::replayed::{Replay, Replayed};
use crate::roots::Roots;
use crate::store::{PageFile, PageStore, Space};
use crate::wal::{Wal, WalConfig};

/// Segments of the log that are kept to be used again, at most.
const SPARES_MAX: u64 = 4;

/// Opens the database at `path`, or creates it.
pub(crate) fn open(path: &Path, vfs: Arc<dyn Vfs>, options: DatabaseOptions) -> Result<Core> {
    options.validate()?;
    let lock = lock(path, &*vfs, &options)?;
    let file = open_or_create(path, &*vfs, &options)?;
    let meta = read_meta(path, &*file)?;
    if let Some(asked) = options.page_size
        && asked != meta.page_size
    {
        let (found, asked) = (meta.page_size.bytes() as u64, asked.bytes() as u64);
        return Err(Error::PageSizeMismatch { found, asked });
    }
    let file = PageFile::new(path, file, meta.page_size.bytes(), options.mmap)?;
    let space = read_space(&file, &meta)?;
    let store = PageStore::new(file, space, options.dirty_bytes_max, options.cache_bytes);
    let log_dir = log_dir(path);
    if !options.wal
        && vfs
            .exists(&log_dir)
            .map_err(|e| Error::io("look for", &log_dir, None, e))?
    {
        let why =
            "the database has a log that must be replayed first: open it with wal(true) once and close it";
        return Err(Error::InvalidOptions { why: why.into() });
    }
    let mut replay = Replay::new(&options, &store.file, meta.roots.txid);
    let wal = if options.wal {
        Some(open_log(&log_dir, &vfs, &options, &meta, &mut replay)?)
    } else {
        None
    };
    let replayed_commits = replay.commits();
    let replayed = replay.finish(&store)?;
    // Readers do without the merge until a thread of the database has made it.
    let is_urgent =
        options.read_only || !options.background || replayed.as_ref().is_some_and(Replayed::hides);
    let filters = read_filters(&store.file, &meta, &options);
    let core = Core::new(Parts {
        options,
        path: path.to_owned(),
        vfs,
        database: meta.database,
        store,
        filters,
        wal,
        replayed,
        checkpoints: Checkpoints::new(meta),
        lock,
    });
    core.counters.checkpoint_lsn.set(meta.roots.lsn.0);
    core.counters.replayed_commits.set(replayed_commits);
    if is_urgent {
        core.catch_up()?;
    }
    Ok(core)
}

/// The directory of the log that belongs to a file.
pub(crate) fn log_dir(path: &Path) -> PathBuf {
    with_suffix(path, "-wal")
}

/// The name of a file that lives beside another.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The directory that a file is in.
pub(crate) fn dir_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

fn lock(path: &Path, vfs: &dyn Vfs, options: &DatabaseOptions) -> Result<Option<Box<dyn Send + Sync>>> {
    let name = with_suffix(path, "-lock");
    if options.read_only {
        // A file that can't be locked, on a read-only file system say, has no writer either.
        return match vfs.lock(&name, false) {
            Ok(guard) => Ok(Some(guard)),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Err(held(&e)),
            Err(_) => Ok(None),
        };
    }
    match vfs.lock(&name, true) {
        Ok(guard) => Ok(Some(guard)),
        Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Err(held(&e)),
        Err(e) => Err(Error::io("lock", &name, None, e)),
    }
}

/// The error that names who holds a lock.
pub(crate) fn held(e: &std::io::Error) -> Error {
    let pid = e
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<LockHeld>())
        .and_then(|held| held.pid);
    Error::Locked { pid }
}

fn open_or_create(path: &Path, vfs: &dyn Vfs, options: &DatabaseOptions) -> Result<Arc<dyn File>> {
    let failed = |operation: &'static str| move |e| Error::io(operation, path, None, e);
    if options.read_only {
        return vfs.open(path, OpenMode::Read).map_err(failed("open"));
    }
    if vfs.exists(path).map_err(failed("look for"))? {
        let file = vfs.open(path, OpenMode::Write).map_err(failed("open"))?;
        if !file.is_empty().map_err(failed("measure"))? {
            return Ok(file);
        }
    }
    // The commits in such a log go on from a file that is not there: they fit no new one, and are not this program's to delete.
    let log = log_dir(path);
    if vfs.exists(&log).map_err(failed("look for"))?
        && !vfs.list(&log).map_err(failed("look for"))?.is_empty()
    {
        let what = "it is the log of a database whose file is not there: put the file back, or remove this directory";
        return Err(Error::corrupt(&log, None, what));
    }
    // Made under another name first, so that a file of this name is a database from its first moment on.
    let nascent = with_suffix(path, "-new");
    let file = vfs.open(&nascent, OpenMode::Create).map_err(failed("create"))?;
    file.set_len(0).map_err(failed("create"))?;
    let page_size = options.page_size.unwrap_or_default();
    let empty = PageFile::new(&nascent, Arc::clone(&file), page_size.bytes(), false)?;
    write_metas(&empty, &first_meta(path, page_size))?;
    empty.sync()?;
    vfs.rename(&nascent, path).map_err(failed("create"))?;
    vfs.sync_dir(dir_of(path)).map_err(failed("create"))?;
    Ok(file)
}

fn first_meta(path: &Path, page_size: PageSize) -> Meta {
    Meta {
        page_size,
        database: random_id(path),
        checkpoint: 1,
        time_ms: now_ms(),
        end: 2,
        logged: false,
        free: Blob::EMPTY,
        filters: Blob::EMPTY,
        roots: Roots::empty(),
    }
}

/// A number that no other database has: from the time, the process, the path, and where memory happened to be.
pub(crate) fn random_id(path: &Path) -> u128 {
    let here = &raw const path as usize;
    let seed = format!(
        "{path:?} {here:x} {} {:?}",
        std::process::id(),
        std::time::SystemTime::now()
    );
    u128::from(xxh3_64(seed.as_bytes())) << 64 | u128::from(xxh3_64(format!("{seed} again").as_bytes()))
}

/// The newest meta page that is whole.
fn read_meta(path: &Path, file: &dyn File) -> Result<Meta> {
    let read = |offset: u64| {
        let mut bytes = [0; meta::LEN];
        match file.read_exact_at(&mut bytes, offset) {
            Ok(()) => Ok(Meta::decode(&bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(Err(MetaFault::Foreign)),
            Err(e) => Err(Error::io("read", path, Some(offset), e)),
        }
    };
    let first = read(0)?;
    let sizes = PageSize::ALL.into_iter();
    let mut newest = first.ok();
    let mut faults = vec![first.err()];
    for size in sizes.filter(|size| first.map_or(true, |meta| meta.page_size == *size)) {
        match read(size.bytes() as u64)? {
            Ok(meta) if meta.page_size == size => {
                newest = newest
                    .into_iter()
                    .chain([meta])
                    .max_by_key(|meta| meta.checkpoint);
            }
            Ok(_) => faults.push(Some(MetaFault::Damaged)),
            Err(fault) => faults.push(Some(fault)),
        }
    }
    if let Some(meta) = newest {
        return Ok(meta);
    }
    for fault in faults.into_iter().flatten() {
        match fault {
            MetaFault::Format(found) => {
                return Err(Error::UnsupportedFormat {
                    found,
                    supported: meta::FORMAT,
                });
            }
            MetaFault::Damaged => return Err(Error::corrupt(path, None, "both meta pages are damaged")),
            MetaFault::Foreign => {}
        }
    }
    Err(Error::NotADatabase {
        path: path.to_owned(),
    })
}

pub(crate) fn read_space(file: &PageFile, meta: &Meta) -> Result<Space> {
    let damaged = |what: &str| Error::corrupt(file.path(), None, what);
    let blob = meta.free;
    let size = file.page_size() as u64;
    let stop = blob.extent.start.checked_add(blob.extent.len);
    if stop.is_none_or(|stop| stop > meta.end) || blob.bytes > blob.extent.len.saturating_mul(size) {
        return Err(damaged("the list of free pages is said to be where no pages are"));
    }
    let filters = meta.filters.extent;
    if filters
        .start
        .checked_add(filters.len)
        .is_none_or(|stop| stop > meta.end)
    {
        return Err(damaged("the filters are said to be where no pages are"));
    }
    if meta.end > crate::ids::PageId::MAX || blob.bytes > file.pages().saturating_mul(size) {
        return Err(damaged("the list of free pages is longer than the file"));
    }
    let mut bytes =
        vec![0; usize::try_from(blob.bytes).map_err(|_| damaged("the list of free pages is too long"))?];
    if !bytes.is_empty() {
        file.read(&mut bytes, blob.extent.start * size)?;
        if free_list::checksum(&bytes) != blob.checksum {
            return Err(damaged("the checksum of the list of free pages does not match"));
        }
    }
    let free = free_list::decode(&bytes, meta.end)
        .ok_or_else(|| damaged("the list of free pages makes no sense"))?;
    Ok(Space::new(meta.end, &free))
}

/// What the checkpoint has of filters. Without them everything works, only slower, so that damage is no error.
fn read_filters(file: &PageFile, meta: &Meta, options: &DatabaseOptions) -> Filters {
    let filters = Filters::new(options.bloom_bits_per_key, meta.database as u64);
    let size = file.page_size() as u64;
    let blob = meta.filters;
    let within = blob.bytes <= blob.extent.len.saturating_mul(size)
        && blob
            .extent
            .start
            .checked_add(blob.extent.len)
            .is_some_and(|stop| stop <= file.pages());
    if options.bloom_bits_per_key > 0 && within {
        let start = blob.extent.start * size;
        let headers = filters::headers(blob.bytes, |buf, at| file.read(buf, start + at));
        filters.expect(headers.unwrap_or_default(), start);
    }
    filters
}

fn open_log(
    dir: &Path,
    vfs: &Arc<dyn Vfs>,
    options: &DatabaseOptions,
    meta: &Meta,
    replay: &mut Replay,
) -> Result<Wal> {
    let seed = random_id(dir) as u64;
    let config = WalConfig {
        segment_bytes: options.wal_segment_bytes,
        // As many as one checkpoint gives back, so that a steady load finds blocks that were written before.
        spares: (options.checkpoint_wal_bytes / options.wal_segment_bytes).clamp(2, SPARES_MAX) as usize,
        ..WalConfig::new(seed)
    };
    let from = meta.replay_from();
    let unsettled = Wal::read(
        Arc::clone(vfs),
        dir,
        config,
        meta.database,
        from,
        options.read_only,
        &mut |record| replay.take(dir, &record),
    )?;
    let wal = if replay.commits() == 0 || !unsettled.has_files() {
        unsettled.settle()?
    } else {
        std::thread::scope(|scope| {
            let settling = scope.spawn(|| unsettled.settle());
            // The processor is free while the disk is waited for.
            replay.sort();
            settling
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?
    };
    if meta.logged && wal.stats().segments == 0 {
        return Err(Error::corrupt(
            dir,
            None,
            "the log that belongs to the database is not there",
        ));
    }
    Ok(wal)
}
