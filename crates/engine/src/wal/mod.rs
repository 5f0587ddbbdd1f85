//! The write-ahead log: what makes a commit durable with one append and one flush.
//!
//! ```text
//!  committers        batch ──► EncodedBatch          encode and hash, outside of every lock
//!  one appender      Wal::append ──► segment         place, salt, checksum; a copy into a mapped file, or a write
//!  all committers    Wal::flush ──► flush ──► group  one flush for all whose records are in, two under way at once
//!  checkpoint        Wal::recycle_before ──► files   segments that nobody needs are used again
//!  open              Wal::read ──► replay            visits what the checkpoint doesn't have
//!                    Unsettled::settle               cuts the torn tail, makes durable what was visited
//! ```
//!
//! Positions ([`Lsn`]) count the bytes of frames since the database was created; where in which file they lie is said by the segments.
//! `frame` is the header that proves one record, `segment` the header of a file.
//!
//! A failed write or flush is final: the log is poisoned and acknowledges nothing further. A failure to get more space is not: nothing
//! was written then, and the append can be tried again.

mod batch;
mod files;
mod flush;
mod frame;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod group;
mod replay;
mod segment;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use weald_vfs::{OpenMode, Vfs};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

pub(crate) use batch::{Batch, BatchEncoder, EncodedBatch};
use files::Files;
use flush::Flusher;
use frame::{CHECKPOINT, COMMIT, FRAME_HEADER, FrameHeader};
use replay::{Directory, Tail};
pub(crate) use segment::Way;
use segment::{SEGMENT_HEADER, Segment, SegmentHeader};

use crate::error::{Error, Result};
use crate::ids::{Lsn, TxId};

/// What can be chosen about the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WalConfig {
    /// Bytes of a segment file, but for one that holds a commit larger than that. At least 16 KiB.
    pub(crate) segment_bytes: u64,
    /// Blocks are written beforehand in steps of this size. At least 4 KiB.
    pub(crate) step_bytes: u64,
    /// Files kept for later segments; those beyond are removed.
    pub(crate) spares: usize,
    /// Makes the salts of this opening differ from those of any other, so it must not be the same twice for one log.
    pub(crate) salt_seed: u64,
}

impl WalConfig {
    /// 16 MiB segments, written beforehand in steps of 1 MiB, two of them kept.
    pub(crate) fn new(salt_seed: u64) -> WalConfig {
        WalConfig {
            segment_bytes: 16 << 20,
            step_bytes: 1 << 20,
            spares: 2,
            salt_seed,
        }
    }

    fn clamped(mut self) -> WalConfig {
        self.step_bytes = self.step_bytes.clamp(4 << 10, 64 << 20);
        self.segment_bytes = self.segment_bytes.clamp(16 << 10, 1 << 40);
        self
    }
}

/// A record as [`Wal::read`] visits it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Record<'a> {
    Commit {
        lsn: Lsn,
        /// Where the next record begins.
        end: Lsn,
        txid: TxId,
        batch: Batch<'a>,
    },
    /// All before `upto` is in the database's pages.
    Checkpoint { lsn: Lsn, txid: TxId, upto: Lsn },
}

/// What the log did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WalStats {
    pub(crate) commits: u64,
    /// Bytes of frames.
    pub(crate) appended_bytes: u64,
    /// `commits / flushes` is how many commits share a flush.
    pub(crate) flushes: u64,
    /// Segments that were given back for others.
    pub(crate) recycled: u64,
    /// Segments that hold records which may be needed.
    pub(crate) segments: u64,
    /// Bytes from the beginning of the oldest of them to the end of the log.
    pub(crate) log_bytes: u64,
}

/// The write-ahead log of one database.
#[derive(Debug)]
pub(crate) struct Wal {
    config: WalConfig,
    database: u128,
    read_only: bool,
    /// Taken before `files` where both are.
    writer: Mutex<Writer>,
    files: Mutex<Files>,
    flusher: Flusher,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    commits: AtomicU64,
    appended_bytes: AtomicU64,
    recycled: AtomicU64,
    segments: AtomicU64,
    start: AtomicU64,
}

/// What appending needs.
#[derive(Debug)]
struct Writer {
    /// The segments that may be needed, oldest first. The newest is never given back: it says how far the log goes.
    live: VecDeque<Live>,
    /// The one that takes appends, which is the last live one; none before the first append.
    current: Option<Arc<Segment>>,
    /// Bytes of it that writes go to through a mapping.
    mapped: u64,
    end: Lsn,
    generation: u64,
    /// The salt of the newest segment.
    previous: u64,
}

#[derive(Debug)]
struct Live {
    path: PathBuf,
    start: Lsn,
    /// Of the file, where this process didn't write it.
    len: u64,
    segment: Option<Arc<Segment>>,
}

impl Live {
    fn len(&self) -> u64 {
        self.segment.as_ref().map_or(self.len, |s| s.prepared())
    }

    fn is_durable(&self) -> bool {
        self.segment.as_ref().is_none_or(|s| s.is_header_durable())
    }
}

/// A log whose records were visited, and about whose end nothing was done yet.
#[derive(Debug)]
pub(crate) struct Unsettled {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    config: WalConfig,
    database: u128,
    read_only: bool,
    directory: Directory,
    tail: Tail,
}

impl Unsettled {
    /// Whether there is any file that [`settle`](Self::settle) looks at.
    pub(crate) fn has_files(&self) -> bool {
        self.directory.exists
    }

    /// Looks whether the log may end where it does, cuts what is torn, and makes durable what was visited. With `read_only` it only looks.
    pub(crate) fn settle(self) -> Result<Wal> {
        let (directory, tail) = (&self.directory, &self.tail);
        replay::check_promises(directory, tail)?;
        if !self.read_only {
            replay::erase(directory, tail)?;
            replay::rewrite(&directory.chain[..tail.dead_from], tail.durable, tail.end)?;
        }
        Ok(Wal::recovered(self))
    }
}

impl Wal {
    /// Opens the log in `dir`, visits its records from `from` on in order, and cuts a torn tail.
    ///
    /// `from` is the position of the checkpoint that the database is opened at. The log must have been flushed up to there
    /// before that checkpoint was made durable. A log that doesn't exist is empty and is created by the first append. Damage before the
    /// tail is an error; the records before it have been visited then.
    ///
    /// With `read_only` no file is changed. Otherwise what is not known to be durable is written and flushed again, so all that was visited
    /// is durable when this returns.
    pub(crate) fn open(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        config: WalConfig,
        database: u128,
        from: Lsn,
        read_only: bool,
        visit: &mut dyn FnMut(Record<'_>) -> Result<()>,
    ) -> Result<Wal> {
        Wal::read(vfs, dir, config, database, from, read_only, visit)?.settle()
    }

    /// The first half of opening, which only reads: visits the records. What follows from where they end is left to
    /// [`Unsettled::settle`], which mostly waits for the disk, so that the caller can order what it was shown meanwhile.
    pub(crate) fn read(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        config: WalConfig,
        database: u128,
        from: Lsn,
        read_only: bool,
        visit: &mut dyn FnMut(Record<'_>) -> Result<()>,
    ) -> Result<Unsettled> {
        if from > Lsn::MAX || !from.0.is_multiple_of(frame::ALIGN as u64) {
            let what = format!("a log has no position {}", from.0);
            return Err(Error::corrupt(dir, None, what));
        }
        let mode = if read_only {
            OpenMode::Read
        } else {
            OpenMode::Write
        };
        let directory = Directory::read(&*vfs, dir, database, from, mode)?;
        let tail = replay::replay(&directory, from, visit)?;
        Ok(Unsettled {
            vfs,
            dir: dir.to_owned(),
            config: config.clamped(),
            database,
            read_only,
            directory,
            tail,
        })
    }

    fn recovered(unsettled: Unsettled) -> Wal {
        let Unsettled {
            vfs,
            dir,
            config,
            database,
            read_only,
            directory,
            tail,
        } = unsettled;
        let (generation, exists, next_number) =
            (directory.generation, directory.exists, directory.next_number);
        let mut spares = directory.others;
        let mut live = VecDeque::new();
        let mut previous = 0;
        let unused = directory.torn.into_iter().map(|l| l.found).chain(directory.blank);
        spares.extend(unused.map(|f| (f.path, f.len)));
        for (i, link) in directory.chain.into_iter().enumerate() {
            if (tail.needed_from..tail.dead_from).contains(&i) {
                previous = link.header.salt;
                live.push_back(Live {
                    path: link.found.path,
                    start: link.header.start,
                    len: link.found.len,
                    segment: None,
                });
            } else {
                spares.push((link.found.path, link.found.len));
            }
        }
        let wal = Wal {
            config,
            database,
            read_only,
            writer: Mutex::new(Writer {
                live,
                current: None,
                mapped: 0,
                end: tail.end,
                generation,
                previous,
            }),
            files: Mutex::new(Files::new(vfs, &dir, config, spares, next_number, exists)),
            flusher: Flusher::new(tail.end),
            counters: Counters::default(),
        };
        wal.count_segments(&wal.writer());
        wal
    }

    /// Appends a commit; returns the end of the log after it. It is durable once [`flush`](Self::flush) up to there has returned.
    ///
    /// Callers are expected one at a time. `Err(Poisoned)` leaves the log without the commit until it is opened again, when the
    /// commit may be there or not; after any other error nothing was appended.
    pub(crate) fn append(&self, txid: TxId, batch: &mut EncodedBatch, way: Way) -> Result<Lsn> {
        let end = self.append_frame(COMMIT, txid, &mut batch.frame, batch.len, batch.hash, way)?;
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        Ok(end)
    }

    /// Appends the note that all before `upto` is in the database's pages.
    pub(crate) fn append_checkpoint(&self, txid: TxId, upto: Lsn) -> Result<Lsn> {
        let mut frame = [0; FRAME_HEADER + 8];
        frame[FRAME_HEADER..].copy_from_slice(&upto.0.to_le_bytes());
        let hash = xxh3_64(&frame[FRAME_HEADER..]);
        self.append_frame(CHECKPOINT, txid, &mut frame, 8, hash, Way::Mapped)
    }

    /// Returns when everything before `upto` is durable; `upto` beyond the end means the end.
    pub(crate) fn flush(&self, upto: Lsn) -> Result<()> {
        self.flusher.flush(upto)
    }

    /// Everything before is durable.
    pub(crate) fn durable(&self) -> Lsn {
        self.flusher.durable()
    }

    /// Where the next record goes.
    pub(crate) fn end(&self) -> Lsn {
        self.flusher.end()
    }

    /// The first failure, where there was one.
    #[cfg(test)]
    pub(crate) fn check(&self) -> Result<()> {
        self.flusher.check()
    }

    /// Gives back the segments that hold nothing from `lsn` on; returns how many.
    ///
    /// The caller's checkpoint at `lsn` must be durable.
    pub(crate) fn recycle_before(&self, lsn: Lsn) -> Result<usize> {
        self.check_writable()?;
        let given_back = {
            let mut writer = self.writer();
            // The next segment must survive a crash, or the log would not be seen to reach the checkpoint.
            let n = (1..writer.live.len())
                .take_while(|&i| writer.live[i].start <= lsn && writer.live[i].is_durable())
                .count();
            let given_back: Vec<Live> = writer.live.drain(..n).collect();
            self.count_segments(&writer);
            given_back
        };
        let mut files = self.files();
        for live in &given_back {
            if let Some(segment) = &live.segment {
                segment.retire();
            }
            files.put_back(&live.path, live.len())?;
        }
        files.trim()?;
        self.counters
            .recycled
            .fetch_add(given_back.len() as u64, Ordering::Relaxed);
        Ok(given_back.len())
    }

    /// Prepares blocks that will be needed soon, so that no append has to; true if there was anything to do.
    ///
    /// For a thread that has the time: an append that finds nothing prepared does it itself, and takes milliseconds.
    pub(crate) fn prepare(&self) -> Result<bool> {
        self.check_writable()?;
        let (segment, used) = {
            let writer = self.writer();
            let Some(segment) = writer.current.clone() else {
                return Ok(false);
            };
            let used = segment.header.offset(writer.end);
            (segment, used)
        };
        let mut files = self.files();
        if segment.is_retired() {
            return Ok(false);
        }
        let ahead = segment.prepared().saturating_sub(used);
        if ahead >= self.config.step_bytes / 2 {
            return Ok(false);
        }
        if segment.prepared() < self.config.segment_bytes {
            self.extend(&files, &segment, segment.prepared() + 1)?;
            return Ok(true);
        }
        let lacking = files.spares() == 0;
        files.stock()?;
        Ok(lacking)
    }

    /// Removes all files of the log, and its directory, if the checkpoint at `checkpointed` has everything;
    /// whether that was so. The checkpoint must be durable. An append afterwards begins the log anew.
    pub(crate) fn remove_all(&self, checkpointed: Lsn) -> Result<bool> {
        self.check_writable()?;
        self.flush(self.end())?;
        let mut writer = self.writer();
        if writer.end > checkpointed {
            return Ok(false);
        }
        let mut files = self.files();
        // The newest goes last: a crash in between must not leave a log that ends before the checkpoint.
        while writer.live.len() > 1 {
            files.remove(&writer.live[0].path)?;
            Writer::forget_oldest(&mut writer);
        }
        files.remove_spares()?;
        if let Some(newest) = writer.live.front() {
            files.sync_dir()?;
            files.remove(&newest.path)?;
            writer.current = None;
            Writer::forget_oldest(&mut writer);
            files.sync_dir()?;
        }
        writer.current = None;
        writer.mapped = 0;
        writer.previous = 0;
        self.flusher.end_segments();
        self.count_segments(&writer);
        files.remove_dir()?;
        Ok(true)
    }

    pub(crate) fn stats(&self) -> WalStats {
        let counters = &self.counters;
        WalStats {
            commits: counters.commits.load(Ordering::Relaxed),
            appended_bytes: counters.appended_bytes.load(Ordering::Relaxed),
            flushes: self.flusher.flushes(),
            recycled: counters.recycled.load(Ordering::Relaxed),
            segments: counters.segments.load(Ordering::Relaxed),
            log_bytes: self
                .end()
                .0
                .saturating_sub(counters.start.load(Ordering::Relaxed)),
        }
    }

    /// `frame` is room for the header, `len` bytes of payload, and zeros up to the alignment.
    fn append_frame(
        &self,
        kind: u16,
        txid: TxId,
        frame: &mut [u8],
        len: usize,
        payload_hash: u64,
        way: Way,
    ) -> Result<Lsn> {
        self.check_writable()?;
        let mut writer = self.writer();
        let size = frame.len() as u64;
        let left = Lsn::MAX.since(writer.end);
        if size > left {
            return Err(Error::too_large("a commit", size, left));
        }
        let segment = self.make_room(&mut writer, size)?;
        let header = FrameHeader {
            len: len as u32,
            kind,
            lsn: writer.end,
            durable: self.flusher.durable(),
            txid,
            payload_hash,
        };
        frame[..FRAME_HEADER].copy_from_slice(&header.encode(segment.header.salt));
        segment
            .write(frame, segment.header.offset(writer.end), way)
            .map_err(|e| self.flusher.poison(e))?;
        writer.end = writer.end.plus(size);
        self.flusher.wrote(writer.end);
        self.counters.appended_bytes.fetch_add(size, Ordering::Relaxed);
        Ok(writer.end)
    }

    /// The segment that the next `size` bytes go to, ready to be written.
    fn make_room(&self, writer: &mut Writer, size: u64) -> Result<Arc<Segment>> {
        if let Some(segment) = writer.current.clone() {
            let to = segment.header.offset(writer.end) + size;
            if to <= writer.mapped {
                return Ok(segment);
            }
            if to <= self.config.segment_bytes.max(segment.prepared()) {
                if to > segment.prepared() {
                    self.extend(&self.files(), &segment, to)?;
                }
                let prepared = segment.prepared();
                segment.map_writes(prepared)?;
                writer.mapped = prepared;
                return Ok(segment);
            }
        }
        self.begin_segment(writer, size)
    }

    fn begin_segment(&self, writer: &mut Writer, size: u64) -> Result<Arc<Segment>> {
        let mut files = self.files();
        let spare = files.take(SEGMENT_HEADER + size)?;
        // The header says that the segment before ends here. It may be in the file even if writing it fails, so there is no way back
        // to that segment, and the next attempt supersedes this one.
        writer.generation += 1;
        writer.current = None;
        writer.mapped = 0;
        let header = SegmentHeader {
            database: self.database,
            generation: writer.generation,
            salt: self.salt(writer),
            previous: writer.previous,
            start: writer.end,
            durable: self.flusher.durable(),
        };
        let begun = Segment::begin(files.vfs(), &spare.path, spare.len, header)
            .and_then(|segment| segment.map_writes(spare.len).map(|()| Arc::new(segment)));
        let segment = match begun {
            Ok(segment) => segment,
            Err(e) => {
                files.give_back(spare);
                return Err(e);
            }
        };
        drop(files);
        writer.live.push_back(Live {
            path: segment.path.clone(),
            start: header.start,
            len: spare.len,
            segment: Some(segment.clone()),
        });
        writer.current = Some(segment.clone());
        writer.mapped = spare.len;
        writer.previous = header.salt;
        self.flusher.begin_segment(segment.clone());
        self.count_segments(writer);
        Ok(segment)
    }

    /// Prepares more of a segment, up to `to` at least.
    fn extend(&self, files: &Files, segment: &Segment, to: u64) -> Result<()> {
        if to <= segment.prepared() {
            return Ok(());
        }
        let prepared = files.grow(&segment.path, segment.prepared(), to)?;
        // The file holds records: what failed to be flushed may be theirs.
        files.flush(&segment.path).map_err(|e| self.flusher.poison(e))?;
        segment.set_prepared(prepared);
        Ok(())
    }

    /// A salt that no other use of any file has, short of a collision of 64 bits.
    fn salt(&self, writer: &Writer) -> u64 {
        let words = [
            self.database as u64,
            (self.database >> 64) as u64,
            writer.generation,
            writer.end.0,
            writer.previous,
        ];
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        xxh3_64_with_seed(&bytes, self.config.salt_seed).max(1)
    }

    fn check_writable(&self) -> Result<()> {
        if self.read_only {
            return Err(Error::ReadOnly);
        }
        self.flusher.check()
    }

    fn count_segments(&self, writer: &Writer) {
        let start = writer.live.front().map_or(writer.end, |l| l.start);
        self.counters.start.store(start.0, Ordering::Relaxed);
        self.counters
            .segments
            .store(writer.live.len() as u64, Ordering::Relaxed);
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer
            .lock()
            .expect("nothing that runs under this lock panics")
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files
            .lock()
            .expect("nothing that runs under this lock panics")
    }
}

impl Writer {
    /// Drops the oldest segment, whose file was removed.
    fn forget_oldest(&mut self) {
        if let Some(Live {
            segment: Some(segment),
            ..
        }) = self.live.pop_front()
        {
            segment.retire();
        }
    }
}

#[cfg(test)]
mod tests;
