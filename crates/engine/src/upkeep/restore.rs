//! Makes a database from a full backup and the incremental ones after it.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use weald_vfs::Vfs;

use crate::checkpoint::write_metas;
use crate::core::now_ms;
use crate::error::{Error, Result};
use crate::free_list;
use crate::ids::{PageId, TxId};
use crate::meta::{Blob, Meta};
use crate::recovery::random_id;
use crate::store::{PageFile, PageStore, Space};
use crate::upkeep::backup::{END, FORMAT, Head, PAGES};
use crate::upkeep::blocks::BlockReader;
use crate::upkeep::nascent::Nascent;
use crate::upkeep::progress::Meter;
use crate::upkeep::report::CheckReport;
use crate::upkeep::walk::Walk;

/// What was restored; see [`Database::restore`](crate::Database::restore).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestoreInfo {
    /// The commit whose state the database now holds.
    pub txid: TxId,
    /// Pages in use.
    pub pages: u64,
    /// Keys.
    pub keys: u64,
}

/// How a backup is restored; see [`Database::restore`](crate::Database::restore).
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    vfs: Option<Arc<dyn Vfs>>,
    overwrite: bool,
}

impl RestoreOptions {
    /// Onto the real disk, and over no other database.
    pub fn new() -> RestoreOptions {
        RestoreOptions::default()
    }

    /// Whether the restored database takes the place of one that has the name already.
    pub fn overwrite(mut self, on: bool) -> RestoreOptions {
        self.overwrite = on;
        self
    }

    /// The file system that the database is put on.
    pub fn vfs(mut self, vfs: Arc<dyn Vfs>) -> RestoreOptions {
        self.vfs = Some(vfs);
        self
    }
}

pub(crate) fn restore(
    backups: &mut [&mut dyn Read],
    path: &Path,
    options: RestoreOptions,
    meter: &mut Meter<'_>,
) -> Result<RestoreInfo> {
    let vfs = or_disk(options.vfs);
    let nascent = Nascent::new(path, vfs, options.overwrite)?;
    let mut target: Option<(PageFile, Head)> = None;
    for backup in backups {
        let mut blocks = BlockReader::new(*backup, FORMAT)?;
        let head = Head::read(&mut blocks)?;
        let file = match target.take() {
            None if head.base != (TxId(0), 0) => {
                return Err(Error::bad_stream("the first backup is not a full one"));
            }
            None => nascent.create(head.page_size)?,
            Some((file, before)) => {
                check_order(&before, &head)?;
                file
            }
        };
        if head.end < 2 || head.end > PageId::MAX {
            return Err(blocks.damaged("it has an impossible number of pages"));
        }
        write_pages(&mut blocks, &head, &file, meter)?;
        target = Some((file, head));
    }
    let Some((file, head)) = target else {
        return Err(Error::bad_stream("there is no backup to restore"));
    };
    let info = complete(file, &head, path, meter)?;
    nascent.finish()?;
    meter.finish()?;
    Ok(info)
}

/// Each backup must stand on the very state that the one before it holds.
fn check_order(before: &Head, head: &Head) -> Result<()> {
    let point = before.point();
    if head.database != before.database || head.page_size != before.page_size {
        return Err(Error::bad_stream("the backups are of different databases"));
    }
    if head.base != (point.txid, point.digest) {
        let what = format!(
            "a backup stands on commit {}, but the one before it does not hold that state, it holds commit {}",
            head.base.0.0, point.txid.0
        );
        return Err(Error::bad_stream(what));
    }
    Ok(())
}

fn write_pages(
    blocks: &mut BlockReader<'_>,
    head: &Head,
    file: &PageFile,
    meter: &mut Meter<'_>,
) -> Result<()> {
    let size = head.page_size.bytes();
    let (mut pages, mut metered) = (0, 0);
    loop {
        let (kind, contents) = blocks.next()?;
        if kind == END {
            if *contents != u64::to_le_bytes(pages) {
                return Err(blocks.damaged("it does not hold what its end mark says"));
            }
            return Ok(());
        }
        let run = contents.split_first_chunk().filter(|_| kind == PAGES);
        let Some((first, bytes)) = run else {
            return Err(blocks.damaged("a block is of an unknown kind"));
        };
        let (first, count) = (u64::from_le_bytes(*first), (bytes.len() / size) as u64);
        let fits = first >= 2 && first.checked_add(count).is_some_and(|stop| stop <= head.end);
        if !fits || count == 0 || bytes.len() % size != 0 {
            return Err(blocks.damaged("it has pages that the database does not have"));
        }
        file.write(bytes, first * size as u64)?;
        pages += count;
        let read = blocks.bytes();
        meter.add(read - metered)?;
        metered = read;
    }
}

/// Verifies what the pages make up, and adds what a database has beside them.
fn complete(file: PageFile, head: &Head, path: &Path, meter: &mut Meter<'_>) -> Result<RestoreInfo> {
    let size = head.page_size.bytes();
    file.cut(head.end)?;
    let store = PageStore::new(file, Space::new(head.end, &[]), 1 << 20, 16 << 20);
    let (pin, ()) = store.readers.pin(|| (head.roots.txid, ()));
    let mut report = CheckReport::default();
    let mut walk = Walk::new(store.snapshot(&pin), &head.roots, head.end, meter, &mut report);
    walk.all()?;
    let used = walk.into_used();
    if let Some(problem) = report.problems.first() {
        let what = format!("the backups don't make up a database: {problem}");
        return Err(Error::bad_stream(what));
    }
    let mut space = Space::new(head.end, &used.gaps(head.end));
    space.trim_end();
    let bytes = free_list::bytes_max(space.extents_max());
    let list = space.take_run(bytes.div_ceil(size as u64));
    let bytes = free_list::encode(&space.free_as_of(head.roots.txid));
    store.file.write(&bytes, list.start * size as u64)?;
    // The file is as long as the meta page says.
    store.file.cut(space.end())?;
    store.file.sync()?;
    let meta = Meta {
        page_size: head.page_size,
        // Another database from here on, so that the log of none is taken for its own.
        database: random_id(path),
        checkpoint: 1,
        time_ms: now_ms(),
        end: space.end(),
        logged: false,
        free: Blob {
            extent: list,
            bytes: bytes.len() as u64,
            checksum: free_list::checksum(&bytes),
        },
        filters: Blob::EMPTY,
        roots: head.roots,
    };
    write_metas(&store.file, &meta)?;
    store.file.sync()?;
    Ok(RestoreInfo {
        txid: head.roots.txid,
        pages: used.len(),
        keys: report.keys,
    })
}

/// The file system that options name, or the real disk.
pub(crate) fn or_disk(vfs: Option<Arc<dyn Vfs>>) -> Arc<dyn Vfs> {
    vfs.unwrap_or_else(|| Arc::new(weald_vfs::Disk::new()))
}
