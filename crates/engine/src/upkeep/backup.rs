//! Backups: the pages of a checkpoint as a stream, all of them or those that are younger than an earlier backup.
//! `docs/backup.md` has the format.
//!
//! A page that a commit builds names that commit, and no page is older than those below it. So the pages that an earlier
//! backup does not have are found from the roots, without a look at the others. That holds for pages as the file has them:
//! after a crash the log is replayed into other pages than there were before. Hence a backup is of a checkpoint, never of what is in
//! memory and the log alone, and begins with one.

use std::io::{Read, Write};

use xxhash_rust::xxh3::xxh3_64;

use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{PagePtr, TreeId, TxId};
use crate::meta::Meta;
use crate::op::LargeRef;
use crate::options::PageSize;
use crate::roots::Roots;
use crate::store::{Pin, Snapshot, run_of};
use crate::tree::{self, Leaf, PageRead, page};
use crate::upkeep::blocks::{BLOCK_MAX, BlockReader, BlockWriter, Format};
use crate::upkeep::progress::Meter;
use crate::upkeep::walk::catalog_entry;

pub(crate) const FORMAT: Format = Format {
    magic: *b"WEALDBAK",
    version: 1,
    name: "backup",
};

/// The first block: [`Head`].
pub(crate) const HEAD: u32 = 1;
/// Pages: the number of the first one, and the bytes of one or more.
pub(crate) const PAGES: u32 = 2;
/// The last block: how many pages there were.
pub(crate) const END: u32 = 3;

/// A state that was backed up, for an incremental backup to stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupPoint {
    pub(crate) database: u128,
    pub(crate) txid: TxId,
    /// Tells the state from others that have the same number, in a copy of the file that went its own way.
    pub(crate) digest: u64,
    /// Large values that were born later may have been committed after the backup.
    pub(crate) floor: TxId,
}

impl BackupPoint {
    /// The commit whose state it is.
    pub fn txid(&self) -> TxId {
        self.txid
    }

    /// Reads which state a backup holds from the beginning of its stream.
    ///
    /// ```
    /// use weald_engine::{BackupPoint, Database};
    ///
    /// let db = Database::in_memory()?;
    /// let mut backup = Vec::new();
    /// let info = db.backup(&mut backup)?;
    /// assert_eq!(BackupPoint::read(&mut &backup[..])?, info.point);
    /// # Ok::<(), weald_engine::Error>(())
    /// ```
    pub fn read(backup: &mut dyn Read) -> Result<BackupPoint> {
        let mut blocks = BlockReader::new(backup, FORMAT)?;
        Head::read(&mut blocks).map(|head| head.point())
    }
}

/// What a backup holds; see [`Database::backup`](crate::Database::backup).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupInfo {
    /// The state that it holds, for the next incremental one.
    pub point: BackupPoint,
    /// Pages in it, those of large values included.
    pub pages: u64,
    /// Bytes of the stream.
    pub bytes: u64,
}

/// What the first block says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) page_size: PageSize,
    pub(crate) database: u128,
    pub(crate) floor: TxId,
    /// Commit and digest of the state that it stands on; zeros for a full one.
    pub(crate) base: (TxId, u64),
    pub(crate) end: u64,
    pub(crate) roots: Roots,
}

impl Head {
    const WORDS: usize = 7 + Roots::WORDS;

    fn encode(&self) -> Vec<u8> {
        let (low, high) = (self.database as u64, (self.database >> 64) as u64);
        let (base, digest) = self.base;
        let words = [
            self.page_size.bytes() as u64,
            low,
            high,
            self.floor.0,
            base.0,
            digest,
            self.end,
        ];
        let words = words.into_iter().chain(self.roots.to_words());
        words.flat_map(u64::to_le_bytes).collect()
    }

    pub(crate) fn read(blocks: &mut BlockReader<'_>) -> Result<Head> {
        let (kind, contents) = blocks.next()?;
        let words: Vec<u64> = contents
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
            .collect();
        let is_head = kind == HEAD && contents.len() == Self::WORDS * 8;
        let size = words.first().and_then(|bytes| PageSize::from_bytes(*bytes));
        let (true, Some(page_size)) = (is_head, size) else {
            return Err(blocks.damaged("it does not begin with what it is"));
        };
        Ok(Head {
            page_size,
            database: u128::from(words[2]) << 64 | u128::from(words[1]),
            floor: TxId(words[3]),
            base: (TxId(words[4]), words[5]),
            end: words[6],
            roots: Roots::from_words(words[7..].try_into().expect("as many words as were counted")),
        })
    }

    pub(crate) fn point(&self) -> BackupPoint {
        BackupPoint {
            database: self.database,
            txid: self.roots.txid,
            digest: digest(self.database, &self.roots),
            floor: self.floor,
        }
    }
}

fn digest(database: u128, roots: &Roots) -> u64 {
    let words = roots.to_words().into_iter().flat_map(u64::to_le_bytes);
    xxh3_64(
        &database
            .to_le_bytes()
            .into_iter()
            .chain(words)
            .collect::<Vec<_>>(),
    )
}

/// Writes what the newest checkpoint has beyond `base`.
pub(crate) fn backup(
    core: &Core,
    sink: &mut dyn Write,
    base: Option<&BackupPoint>,
    meter: &mut Meter<'_>,
) -> Result<BackupInfo> {
    let (pin, meta, floor) = pinned_checkpoint(core)?;
    let head = Head {
        page_size: meta.page_size,
        database: meta.database,
        floor,
        base: base.map_or((TxId(0), 0), |base| (base.txid, base.digest)),
        end: meta.end,
        roots: meta.roots,
    };
    if let Some(base) = base {
        check_base(base, &head)?;
    }
    let mut blocks = BlockWriter::new(sink, FORMAT)?;
    blocks.block(HEAD, &head.encode())?;
    meter.set_total(core.store.space().used_pages());
    let mut backup = Backup {
        pages: core.store.snapshot(&pin),
        since: base.map_or(TxId(0), |base| TxId(base.txid.0 + 1)),
        large_since: base.map_or(TxId(0), |base| TxId(base.floor.0 + 1)),
        blocks,
        run: Vec::with_capacity(BLOCK_MAX),
        buffer: vec![0; core.store.page_size()],
        written: 0,
        meter,
    };
    backup.all(&meta.roots)?;
    backup.flush()?;
    let written = backup.written;
    backup.blocks.block(END, &written.to_le_bytes())?;
    backup.blocks.flush()?;
    let bytes = backup.blocks.bytes();
    meter.finish()?;
    Ok(BackupInfo {
        point: head.point(),
        pages: written,
        bytes,
    })
}

fn check_base(base: &BackupPoint, head: &Head) -> Result<()> {
    let point = head.point();
    if base.database != head.database {
        return Err(Error::bad_stream("the earlier backup is of another database"));
    }
    if base.txid > point.txid || (base.txid == point.txid && base.digest != point.digest) {
        let what = "the earlier backup holds commits that this database does not have";
        return Err(Error::bad_stream(what));
    }
    Ok(())
}

/// Makes a checkpoint and pins its state; also gives the commit that the oldest open transaction stands on.
fn pinned_checkpoint(core: &Core) -> Result<(Pin<'_>, Meta, TxId)> {
    if !core.options.read_only {
        core.checkpoint()?;
        // The checkpoint has flushed the log: readers that begin from now on see at least its state.
        core.settle_all()?;
    }
    let checkpoints = core.checkpoints.lock().expect("no panic during a checkpoint");
    let meta = checkpoints.meta;
    if core.options.read_only && core.published.txid() != meta.roots.txid {
        // What is in the log alone has no pages in the file.
        return Err(Error::ReadOnly);
    }
    let active = core
        .store
        .readers
        .active()
        .into_iter()
        .map(|reader| TxId(reader.snapshot));
    let floor = active.fold(meta.roots.txid, TxId::min);
    // The last checkpoint counts as a snapshot for as long as it is the last one, which it is under the lock.
    let (pin, ()) = core.store.readers.pin(|| (meta.roots.txid, ()));
    Ok((pin, meta, floor))
}

struct Backup<'b, 'p, 'm> {
    pages: Snapshot<'p>,
    /// Pages that were born earlier are in the backup that this one stands on.
    since: TxId,
    large_since: TxId,
    blocks: BlockWriter<'b>,
    /// The number of a page and the bytes of it and those after it, as far as they are neighbours.
    run: Vec<u8>,
    buffer: Vec<u8>,
    written: u64,
    meter: &'b mut Meter<'m>,
}

impl Backup<'_, '_, '_> {
    fn all(&mut self, roots: &Roots) -> Result<()> {
        for record in &roots.fixed {
            self.tree(record.root, record.large > 0)?;
        }
        self.tree(roots.catalog.root, false)?;
        let pages = self.pages;
        let mut catalog = tree::Cursor::new(pages, roots.catalog.root);
        while let Some((key, entry)) = catalog.next()? {
            let found: Option<(TreeId, _)> = catalog_entry(key, &entry);
            let (_, record) = found.ok_or_else(|| {
                pages.corrupt(
                    roots.catalog.root.ptr,
                    "the catalog has an entry that is no tree's",
                )
            })?;
            self.tree(record.root, record.large > 0)?;
        }
        Ok(())
    }

    fn tree(&mut self, root: tree::Root, has_large: bool) -> Result<()> {
        let (pages, since) = (self.pages, self.since);
        tree::pages(&pages, root, since, &mut |ptr, level| {
            self.page(ptr, level)?;
            if level == 0 && has_large {
                self.large_values()?;
            }
            Ok(true)
        })
    }

    fn page(&mut self, ptr: PagePtr, level: u8) -> Result<()> {
        self.meter.add(1)?;
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = self.pages.store().read_from_file(ptr, level, &mut buffer);
        let appended = read.and_then(|()| self.append(ptr.id().0, &buffer));
        self.buffer = buffer;
        appended
    }

    /// The runs of the large values of the leaf just written, but for those that the earlier backup has for certain.
    fn large_values(&mut self) -> Result<()> {
        // The leaf was read last, and is still in the buffer.
        let leaf = Leaf::new(&self.buffer);
        let birth = page::birth(&self.buffer);
        let young: Vec<LargeRef> = leaf
            .large_values(0, leaf.count())
            .filter(|large| tree::birth_before(large.first, birth) >= self.large_since)
            .collect();
        let size = self.pages.store().page_size();
        for large in young {
            let run = run_of(large, size);
            self.meter.add(run.len)?;
            for id in run.start..run.start.saturating_add(run.len) {
                let mut buffer = std::mem::take(&mut self.buffer);
                let read = self.pages.store().file.read(&mut buffer, id * size as u64);
                let appended = read.and_then(|()| self.append(id, &buffer));
                self.buffer = buffer;
                appended?;
            }
        }
        Ok(())
    }

    fn append(&mut self, id: u64, bytes: &[u8]) -> Result<()> {
        let held = (self.run.len().saturating_sub(8) / bytes.len()) as u64;
        let follows = self
            .run
            .first_chunk()
            .is_some_and(|first| u64::from_le_bytes(*first) + held == id);
        if !follows || self.run.len() + bytes.len() > BLOCK_MAX {
            self.flush()?;
            self.run.extend_from_slice(&id.to_le_bytes());
        }
        self.run.extend_from_slice(bytes);
        self.written += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if !self.run.is_empty() {
            self.blocks.block(PAGES, &self.run)?;
            self.run.clear();
        }
        Ok(())
    }
}
