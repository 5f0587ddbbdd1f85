//! Checkpoints: the state of one commit written to the file, while others go on.
//!
//! ```text
//!  1  under the state's lock   take the newest roots and the list of dirty pages; from here on the checkpoint counts as a snapshot
//!  2  beside everybody         write the pages, in order, in large pieces; write the list of free pages; flush the log and the file.
//!                              Where memory runs short meanwhile, what was written so far is flushed and let go before the rest
//!  3                           write a meta page, flush: now it counts
//!  4                           the pages are read from the file, their memory and the log before them are used again
//! ```
//!
//! A crash before 3 is over leaves the last checkpoint, none of whose pages was touched, and the log after it.

use std::time::{Duration, Instant};

use weald_vfs::WriteOp;

use crate::core::{Core, now_ms};
use crate::error::{Error, Result};
use crate::free_list;
use crate::ids::{Lsn, PageId, TxId};
use crate::meta::{self, Blob, Meta};
use crate::roots::Roots;
use crate::store::{Captured, Extent, PageFile, Space};
use crate::tree::page;
use crate::wal::Wal;

/// Bytes that are gathered for one batch of writes.
const BATCH: usize = 1 << 20;
/// A checkpoint that lets go of pages before its end does so in this many parts of what may be in memory: each costs a flush.
const PARTS: u64 = 8;
/// Large values that are written as one batch.
const RUNS: usize = 64;
/// Free runs of at least this many bytes are given back to the file system.
const HOLE: u64 = 64 << 10;
/// How many of them one checkpoint gives back at most: on some devices each takes milliseconds.
const HOLES_MAX: usize = 16;
/// How long one gives them back at most.
const HOLES_TIME: Duration = Duration::from_secs(1);

/// The last durable checkpoint.
pub(crate) struct Checkpoints {
    pub(crate) meta: Meta,
    began: Instant,
    /// Runs of free pages whose blocks were given back already.
    punched: Vec<Extent>,
}

/// What a checkpoint did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckpointInfo {
    /// The commit that the file now holds.
    pub txid: TxId,
    /// Where the log goes on.
    pub lsn: Lsn,
    /// Pages that were written.
    pub pages: u64,
    /// How long it took.
    pub elapsed: Duration,
}

impl Checkpoints {
    pub(crate) fn new(meta: Meta) -> Checkpoints {
        Checkpoints {
            meta,
            began: Instant::now(),
            punched: Vec::new(),
        }
    }

    pub(crate) fn durable_txid(&self) -> TxId {
        self.meta.roots.txid
    }

    /// How long ago the last one began.
    pub(crate) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// Makes `meta` the one that counts.
    pub(crate) fn write_meta(&mut self, file: &PageFile, mut meta: Meta) -> Result<()> {
        meta.checkpoint = self.meta.checkpoint + 1;
        meta.time_ms = now_ms();
        write_metas(file, &meta)?;
        self.meta = meta;
        Ok(())
    }
}

/// Writes and flushes the first meta page, then writes the second. Whatever was written to the file before must have been flushed.
pub(crate) fn write_metas(file: &PageFile, meta: &Meta) -> Result<()> {
    let bytes = meta.encode();
    file.write(&bytes, 0)?;
    file.sync()?;
    file.write(&bytes, meta.page_size.bytes() as u64)
}

/// What step 1 took.
struct Capture {
    roots: Roots,
    dirty: Vec<PageId>,
    /// Large values that only memory and the log have.
    runs: Vec<Captured>,
    free: Vec<Extent>,
    /// The run that the list of free pages goes to.
    list: Extent,
    /// The run that the filters go to; none where that would cost too much.
    filters: Extent,
    end: u64,
}

/// What step 2 has written of the pages.
#[derive(Default)]
struct Written {
    /// How many.
    pages: u64,
    /// Those that are not known to be on the disk, and their slots.
    unflushed: Vec<(PageId, u32)>,
}

impl Capture {
    fn run_pages(&self) -> u64 {
        self.runs.iter().map(|captured| captured.run.extent.len).sum()
    }
}

impl Core {
    /// Writes the newest state to the file. Returns at once where the file has it already.
    pub(crate) fn checkpoint(&self) -> Result<CheckpointInfo> {
        if !self.options.background {
            self.tend_filters(&|_| false)?;
        }
        self.checkpoint_with(false)
    }

    /// With `closing` the filters are written whatever they cost.
    pub(crate) fn checkpoint_with(&self, closing: bool) -> Result<CheckpointInfo> {
        let mut checkpoints = self.checkpoints.lock().expect("no panic during a checkpoint");
        self.checkpoint_as(&mut checkpoints, closing)
    }

    /// The same for one who holds the lock of the checkpoints, so that nobody else makes one before or after.
    pub(crate) fn checkpoint_as(
        &self,
        checkpoints: &mut Checkpoints,
        closing: bool,
    ) -> Result<CheckpointInfo> {
        self.check_writable()?;
        self.catch_up()?;
        let began = Instant::now();
        checkpoints.began = began;
        let Some(capture) = self.capture(&checkpoints.meta, closing) else {
            // What became free since it was made may still take up blocks: what a large commit replaced does, while readers saw it.
            self.punch_holes(checkpoints, closing)
                .map_err(|e| self.poison.set(e))?;
            let roots = checkpoints.meta.roots;
            return Ok(CheckpointInfo {
                txid: roots.txid,
                lsn: roots.lsn,
                ..CheckpointInfo::default()
            });
        };
        let old = checkpoints.meta;
        let (written, meta) = match self.write(&capture, &old) {
            Ok(written) => written,
            Err(e) => {
                self.give_up(capture);
                return Err(self.poison.set_unless_full(e));
            }
        };
        self.make_durable(checkpoints, meta)
            .map_err(|e| self.poison.set(e))?;
        self.adopt(&capture, &written, &old)
            .and_then(|()| self.punch_holes(checkpoints, closing))
            .map_err(|e| self.poison.set(e))?;
        let info = CheckpointInfo {
            txid: capture.roots.txid,
            lsn: capture.roots.lsn,
            pages: written.pages + capture.run_pages(),
            elapsed: began.elapsed(),
        };
        self.counters.checkpoints.add(1);
        self.counters.checkpoint_pages.add(info.pages);
        self.counters.checkpoint_us.add(info.elapsed.as_micros() as u64);
        Ok(info)
    }

    /// Step 1. `None` where the file is up to date.
    fn capture(&self, last: &Meta, closing: bool) -> Option<Capture> {
        let mut state = self.state();
        let mut roots = state.head;
        if let Some(wal) = &self.wal {
            roots.lsn = wal.end();
        }
        self.store.space().reconsider();
        self.reclaim(&state);
        let mut space = self.store.space();
        space.trim_end();
        let shrinks = space.end() < last.end;
        if roots.txid == last.roots.txid && roots.lsn == last.roots.lsn && !shrinks {
            return None;
        }
        state.under_way = Some(roots.txid);
        let dirty = std::mem::take(&mut state.dirty);
        let bytes = free_list::bytes_max(space.extents_max());
        let list = space.take_run(bytes.div_ceil(self.store.page_size() as u64));
        let filters = self.room_for_filters(&mut space, dirty.len(), closing);
        let runs = self.store.held_as_of(&space, roots.txid);
        let mut free = space.free_as_of(roots.txid);
        // What the last checkpoint has of these is of no use once this one is durable.
        free.extend([last.free.extent, last.filters.extent]);
        Some(Capture {
            roots,
            dirty,
            runs,
            free,
            list,
            filters,
            end: space.end(),
        })
    }

    /// Filters can be made anew, so a checkpoint takes them along only where they are small beside its pages.
    fn room_for_filters(&self, space: &mut Space, dirty_pages: usize, closing: bool) -> Extent {
        let size = self.store.page_size() as u64;
        let pages = self.filters.encoded_len().div_ceil(size);
        if pages > 0 && (closing || pages * 8 <= dirty_pages as u64) {
            space.take_run(pages)
        } else {
            Extent { start: 0, len: 0 }
        }
    }

    /// Step 2, but for the flushes. Gives the meta page that will say so.
    fn write(&self, capture: &Capture, old: &Meta) -> Result<(Written, Meta)> {
        let written = self.write_pages(capture)?;
        self.write_runs(&capture.runs)?;
        let meta = Meta {
            end: capture.end,
            free: self.write_list(capture)?,
            filters: self.write_filters(capture.filters, capture.roots.txid)?,
            roots: capture.roots,
            ..*old
        };
        Ok((written, meta))
    }

    /// Step 2, the pages.
    fn write_pages(&self, capture: &Capture) -> Result<Written> {
        let size = self.store.page_size();
        let mut written = Written::default();
        let mut buffer = vec![0; (BATCH as u64).min(self.part_bytes()).max(size as u64) as usize];
        let mut ids = capture.dirty.clone();
        ids.sort_unstable();
        ids.dedup();
        let mut ids = ids.into_iter().peekable();
        while ids.peek().is_some() {
            // Neighbours in the file are neighbours in the buffer, and make one operation.
            let mut runs: Vec<(u64, usize, usize)> = Vec::new();
            let mut filled = 0;
            for id in ids.by_ref() {
                let Some((slot, bytes)) = self.store.dirty_page(id, capture.roots.txid) else {
                    continue;
                };
                let copy = &mut buffer[filled..filled + size];
                copy.copy_from_slice(bytes);
                page::seal(copy);
                filled += size;
                written.pages += 1;
                written.unflushed.push((id, slot));
                let offset = id.0 * size as u64;
                match runs.last_mut() {
                    Some((start, from, to)) if *start + (*to - *from) as u64 == offset => *to = filled,
                    _ => runs.push((offset, filled - size, filled)),
                }
                if filled + size > buffer.len() {
                    break;
                }
            }
            let ops: Vec<_> = runs
                .iter()
                .map(|&(offset, from, to)| WriteOp {
                    offset,
                    bytes: &buffer[from..to],
                })
                .collect();
            if !ops.is_empty() {
                self.store.file.write_batch(&ops)?;
            }
            self.let_go(&mut written)?;
        }
        Ok(written)
    }

    /// Bytes of pages that a checkpoint lets go of at once.
    fn part_bytes(&self) -> u64 {
        self.options.dirty_bytes_max / PARTS
    }

    /// Step 2, where changed pages fill much of the memory that they may: flushes what was written, if it is enough for the price of that, and gives its memory
    /// to writers, who would have to wait for all of the checkpoint otherwise. Not before the flush: what it fails to write only memory has.
    fn let_go(&self, written: &mut Written) -> Result<()> {
        let size = self.store.page_size() as u64;
        let is_short = self.store.dirty_pages() * size > self.options.dirty_bytes_max / 2;
        if !is_short || (written.unflushed.len() as u64) * size < self.part_bytes() {
            return Ok(());
        }
        let file = &self.store.file;
        // Whatever the reason is, as for the last flush.
        file.sync().map_err(|e| self.poison.set(e))?;
        file.measure()?;
        self.store.written(&written.unflushed);
        written.unflushed.clear();
        Ok(())
    }

    /// Step 2, large values.
    fn write_runs(&self, runs: &[Captured]) -> Result<()> {
        let size = self.store.page_size() as u64;
        let ops: Vec<_> = runs
            .iter()
            .map(|captured| WriteOp {
                offset: captured.run.extent.start * size,
                bytes: &captured.run.bytes,
            })
            .collect();
        ops.chunks(RUNS)
            .try_for_each(|ops| self.store.file.write_batch(ops))
    }

    /// Step 2, the list of free pages.
    fn write_list(&self, capture: &Capture) -> Result<Blob> {
        let bytes = free_list::encode(&capture.free);
        self.store
            .file
            .write(&bytes, capture.list.start * self.store.page_size() as u64)?;
        Ok(Blob {
            extent: capture.list,
            bytes: bytes.len() as u64,
            checksum: free_list::checksum(&bytes),
        })
    }

    /// Steps 2, the flushes, and 3.
    fn make_durable(&self, checkpoints: &mut Checkpoints, meta: Meta) -> Result<()> {
        if let Some(wal) = &self.wal {
            // The log must reach the place from which it is replayed.
            wal.flush(meta.roots.lsn)?;
        }
        self.store.file.sync()?;
        checkpoints.write_meta(&self.store.file, meta)
    }

    /// Step 4.
    fn adopt(&self, capture: &Capture, written: &Written, old: &Meta) -> Result<()> {
        let file = &self.store.file;
        if capture.end < old.end {
            // Under the lock, so that nobody takes pages past the end and writes to them meanwhile. What was taken before lies before the
            // end, though the file may not have been measured since it was written.
            let space = self.store.space();
            let end = space.end().max(capture.end);
            if end < file.pages() {
                file.cut(end)?;
            }
        }
        file.measure()?;
        self.store.written(&written.unflushed);
        self.store.runs_written(&capture.runs);
        let mut state = self.state();
        state.durable = capture.roots.txid;
        state.under_way = None;
        let mut space = self.store.space();
        space.give_back(old.free.extent);
        space.give_back(old.filters.extent);
        space.reconsider();
        drop(space);
        self.reclaim(&state);
        drop(state);
        self.counters.checkpoint_lsn.set(capture.roots.lsn.0);
        if let Some(wal) = &self.wal {
            wal.recycle_before(capture.roots.lsn)?;
            if wal.end() > capture.roots.lsn {
                // Others go on meanwhile; where nobody does, the log ends where the checkpoint is.
                self.note_checkpoint(wal, capture.roots)?;
            }
        }
        Ok(())
    }

    /// Notes the checkpoint in the log, for those who read that.
    fn note_checkpoint(&self, wal: &Wal, roots: Roots) -> Result<()> {
        // Records are appended by one at a time.
        let _state = self.state();
        match wal.append_checkpoint(roots.txid, roots.lsn) {
            // The note is of use only where there is room for it.
            Err(Error::DiskFull { .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    /// The checkpoint failed before anything counted: as if it had not begun.
    fn give_up(&self, capture: Capture) {
        let mut state = self.state();
        state.under_way = None;
        state.dirty.extend(capture.dirty);
        let mut space = self.store.space();
        space.give_back(capture.list);
        space.give_back(capture.filters);
    }

    /// Gives blocks of long free runs back to the file system, once, those of the longest first: on closing, when nobody waits for pages, as many as there is time for.
    fn punch_holes(&self, checkpoints: &mut Checkpoints, closing: bool) -> Result<()> {
        let pages = HOLE / self.store.page_size() as u64;
        let space = self.store.space();
        let mut free: Vec<Extent> = space.extents(pages.max(1)).collect();
        free.sort_unstable_by_key(|extent| std::cmp::Reverse(extent.len));
        let punched = std::mem::take(&mut checkpoints.punched);
        let is_punched = |extent: &Extent| {
            let before = &punched[..punched.partition_point(|p| p.start <= extent.start)];
            before
                .last()
                .is_some_and(|p| p.start + p.len >= extent.start + extent.len)
        };
        let (mut left, began) = (if closing { usize::MAX } else { HOLES_MAX }, Instant::now());
        for extent in free {
            if !is_punched(&extent) {
                if left == 0 || began.elapsed() > HOLES_TIME {
                    continue;
                }
                left -= 1;
                // Under the lock of the space, so that nobody takes and writes these pages meanwhile.
                self.store.file.punch(extent.start, extent.len)?;
            }
            checkpoints.punched.push(extent);
        }
        checkpoints.punched.sort_unstable();
        Ok(())
    }

    /// Notes in the file that there is a log, before the first commit that is in it alone is acknowledged.
    pub(crate) fn note_log(&self, logged: bool) -> Result<()> {
        let mut checkpoints = self.checkpoints.lock().expect("no panic during a checkpoint");
        if checkpoints.meta.logged == logged {
            return Ok(());
        }
        self.store.file.sync()?;
        let meta = Meta {
            logged,
            ..checkpoints.meta
        };
        checkpoints.write_meta(&self.store.file, meta)
    }
}

const _: () = assert!(meta::LEN <= 4096);
