//! A segment: one file of the log, and the header that says which part of the log it holds.
//!
//! The header stands twice, 4 KiB apart, so that no single fault hides a segment. A file is used again and again; each use is
//! a generation with a salt of its own, and names the salt of the segment before it, so that the live segments form a chain.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use weald_vfs::{File, OpenMode, Vfs};
use xxhash_rust::xxh3::xxh3_64;

use super::frame::ALIGN;
use super::group::LANES;
use crate::error::{Error, Result};
use crate::ids::Lsn;

const MAGIC: &[u8; 8] = b"WealdWAL";
/// What is written, and the newest that is read. Values of more than a quarter of a page in line came with the second.
const VERSION: u32 = 2;
const ENCODED: usize = 80;
/// So that the next one never overflows.
const GENERATION_MAX: u64 = 1 << 62;
/// From one copy of the header to the other.
const COPY_STRIDE: u64 = 4096;
const COPIES: u64 = 2;

/// Bytes before the first frame.
pub(super) const SEGMENT_HEADER: u64 = COPY_STRIDE * COPIES;

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) database: u128,
    /// Higher than that of every segment begun before.
    pub(super) generation: u64,
    /// Seeds the checksums of the frames.
    pub(super) salt: u64,
    /// The salt of the segment that this one goes on from; 0 for none.
    pub(super) previous: u64,
    /// The position of the first frame.
    pub(super) start: Lsn,
    /// All below was durable when the segment was begun.
    pub(super) durable: Lsn,
}

impl SegmentHeader {
    fn encode(&self) -> [u8; ENCODED] {
        let mut out = [0; ENCODED];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&(SEGMENT_HEADER as u32).to_le_bytes());
        out[16..32].copy_from_slice(&self.database.to_le_bytes());
        let words = [
            self.generation,
            self.salt,
            self.previous,
            self.start.0,
            self.durable.0,
        ];
        for (i, word) in words.into_iter().enumerate() {
            out[32 + i * 8..40 + i * 8].copy_from_slice(&word.to_le_bytes());
        }
        let check = xxh3_64(&out[..72]);
        out[72..].copy_from_slice(&check.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8; ENCODED], path: &Path) -> Result<Option<SegmentHeader>> {
        let word = |i: usize| u64::from_le_bytes(bytes[i..i + 8].try_into().expect("eight bytes"));
        if &bytes[..8] != MAGIC || word(72) != xxh3_64(&bytes[..72]) {
            return Ok(None);
        }
        let version = word(8) as u32;
        if !(1..=VERSION).contains(&version) || word(8) >> 32 != SEGMENT_HEADER {
            let what = format!("its format version {version} is not one that this program reads");
            return Err(Error::corrupt(path, Some(8), what));
        }
        let header = SegmentHeader {
            database: u128::from(word(16)) | u128::from(word(24)) << 64,
            generation: word(32),
            salt: word(40),
            previous: word(48),
            start: Lsn(word(56)),
            durable: Lsn(word(64)),
        };
        let sound = header.start <= Lsn::MAX
            && header.durable <= header.start
            && header.start.0.is_multiple_of(ALIGN as u64)
            && (1..=GENERATION_MAX).contains(&header.generation);
        if !sound {
            return Err(Error::corrupt(
                path,
                Some(0),
                "its header holds numbers that can't be",
            ));
        }
        Ok(Some(header))
    }

    /// Writes both copies; they are durable with the next flush of the file.
    pub(super) fn write(&self, file: &dyn File, path: &Path) -> Result<()> {
        let bytes = self.encode();
        for copy in 0..COPIES {
            let at = copy * COPY_STRIDE;
            file.write_all_at(&bytes, at)
                .map_err(|e| Error::io("write", path, Some(at), e))?;
        }
        Ok(())
    }

    /// Reads the header of a file; `None` for one that no segment was begun in yet.
    ///
    /// The first copy is written before the second, and both are durable before anything in the segment is acknowledged. So a
    /// write that was cut short leaves the second copy blank or as it was, and two copies that are neither blank nor valid
    /// are damage.
    pub(super) fn read(file: &dyn File, path: &Path, len: u64) -> Result<Option<SegmentHeader>> {
        let mut newest: Option<SegmentHeader> = None;
        let mut blank = false;
        for copy in 0..COPIES {
            let at = copy * COPY_STRIDE;
            let mut bytes = [0; ENCODED];
            let there = len.saturating_sub(at).min(ENCODED as u64) as usize;
            file.read_exact_at(&mut bytes[..there], at)
                .map_err(|e| Error::io("read", path, Some(at), e))?;
            blank |= bytes.iter().all(|b| *b == 0);
            let header = SegmentHeader::decode(&bytes, path)?;
            newest = newest.into_iter().chain(header).max_by_key(|h| h.generation);
        }
        match newest {
            None if !blank => Err(Error::corrupt(
                path,
                Some(0),
                "neither copy of its header is valid",
            )),
            newest => Ok(newest),
        }
    }

    /// Makes a file one that no segment was begun in; durable with the next flush.
    pub(super) fn erase(file: &dyn File, path: &Path) -> Result<()> {
        for copy in 0..COPIES {
            let at = copy * COPY_STRIDE;
            file.write_all_at(&[0; ENCODED], at)
                .map_err(|e| Error::io("write", path, Some(at), e))?;
        }
        Ok(())
    }

    /// Whether the log leads from `before` to this segment.
    pub(super) fn goes_on_from(&self, before: &SegmentHeader) -> bool {
        self.previous == before.salt && before.start <= self.start
    }

    /// Where in the file the frame at `lsn` is.
    pub(super) fn offset(&self, lsn: Lsn) -> u64 {
        SEGMENT_HEADER + lsn.since(self.start)
    }
}

/// How a frame gets into the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By a copy into the mapping, without a system call, where the frame is short: for one that is not flushed soon.
    Mapped,
    /// By a system call. A flush then has no mapping to take the right to write from, which the next copy would have to ask for again: together
    /// they take more time than the call does.
    Call,
}

/// A copy of more bytes than this into the mapping takes longer than a system call, as the system is asked for each page.
const COPY_MAX: usize = 4096;

/// A segment of the live log.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) header: SegmentHeader,
    /// One for each lane: two flushes through the same handle could see one failure of the disk once between them, and the other would pass
    /// for a success. Mapped writes go through the first, others through the second.
    lanes: [Arc<dyn File>; LANES],
    /// Bytes of the file that are written and so may be overwritten without a change of metadata.
    prepared: AtomicU64,
    header_durable: AtomicBool,
    retired: AtomicBool,
}

impl Segment {
    /// Opens a file that is prepared up to `prepared` and begins a segment in it. On an error no frame can follow in
    /// this file before another segment is begun in it.
    pub(super) fn begin(vfs: &dyn Vfs, path: &Path, prepared: u64, header: SegmentHeader) -> Result<Segment> {
        let open = || {
            vfs.open(path, OpenMode::Write)
                .map_err(|e| Error::io("open", path, None, e))
        };
        let lanes = [open()?, open()?];
        // Through a handle whose writes are never mapped: a system call changes a page at once or not at all.
        header.write(&*lanes[1], path)?;
        Ok(Segment {
            path: path.to_owned(),
            header,
            lanes,
            prepared: AtomicU64::new(prepared),
            header_durable: AtomicBool::new(false),
            retired: AtomicBool::new(false),
        })
    }

    pub(super) fn start(&self) -> Lsn {
        self.header.start
    }

    /// Bytes that are ready to be written to. Pairs with the `Release` in [`set_prepared`](Self::set_prepared).
    pub(super) fn prepared(&self) -> u64 {
        self.prepared.load(Ordering::Acquire)
    }

    pub(super) fn set_prepared(&self, len: u64) {
        self.prepared.store(len, Ordering::Release);
    }

    pub(super) fn map_writes(&self, len: u64) -> Result<()> {
        self.lanes[0]
            .map_writes(len)
            .map_err(|e| Error::io("map", &self.path, None, e))
    }

    pub(super) fn write(&self, bytes: &[u8], offset: u64, way: Way) -> Result<()> {
        // Only the first has a mapping.
        let lane = usize::from(way == Way::Call || bytes.len() > COPY_MAX);
        self.lanes[lane]
            .write_all_at(bytes, offset)
            .map_err(|e| Error::io("write", &self.path, Some(offset), e))
    }

    pub(super) fn flush(&self, lane: usize) -> Result<()> {
        self.lanes[lane]
            .sync_data()
            .map_err(|e| Error::io("flush", &self.path, None, e))?;
        self.header_durable.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Whether a crash leaves this segment in place.
    pub(super) fn is_header_durable(&self) -> bool {
        self.header_durable.load(Ordering::Relaxed)
    }

    /// Says that the file may hold another segment from now on. The lock of the log's files orders this and
    /// [`is_retired`](Self::is_retired).
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }
}
