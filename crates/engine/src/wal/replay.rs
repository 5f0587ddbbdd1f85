//! Reads the log back: finds the chain of live segments, visits its records, and tells a torn tail from damage.
//!
//! ```text
//!   older use   gen 4 ──► gen 5 ──► gen 6 (newest)       each header names the salt of the one before
//!   of a file        from ┴─ frames ─┴─ frames … p ?
//! ```
//!
//! The chain is followed back from the newest segment, and from the newest one before if it breaks off before it reaches `from`:
//! a segment that nobody flushed can be missing in its midst.
//!
//! The frames are read from `from` on until one at `p` is not valid. What was never flushed may be missing in any
//! pattern, so valid frames after `p` prove nothing by themselves; but each frame and each header says how far the log was durable when it
//! was written. If one beyond `p` says that it was durable past `p`, then `p` is damage; otherwise it is where the log was torn.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use weald_vfs::{File, OpenMode, Vfs};
use xxhash_rust::xxh3::xxh3_64;

use super::Record;
use super::batch::Batch;
use super::files;
use super::frame::{ALIGN, CHECKPOINT, COMMIT, FRAME_HEADER, FrameHeader};
use super::segment::{SEGMENT_HEADER, SegmentHeader};
use crate::error::{Error, Result};
use crate::ids::Lsn;

/// Bytes read at a time: what a cache near the processor holds.
const CHUNK: usize = 256 * 1024;

/// A log file as it was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) len: u64,
    file: Arc<dyn File>,
}

impl Found {
    /// The position of the end of the file.
    fn limit(&self, header: &SegmentHeader) -> Lsn {
        header.start.plus(self.len.saturating_sub(SEGMENT_HEADER))
    }
}

/// A segment as it was found.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) found: Found,
    pub(super) header: SegmentHeader,
}

/// What the directory holds.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// The segments of the log, oldest first.
    pub(super) chain: Vec<Link>,
    /// Segments begun after those of the chain that don't go on from it, because one in between was never flushed.
    pub(super) torn: Vec<Link>,
    /// Files that no segment was begun in.
    pub(super) blank: Vec<Found>,
    /// Older segments, which the chain doesn't lead to.
    pub(super) others: Vec<(PathBuf, u64)>,
    pub(super) next_number: u64,
    /// The highest of all segments, live or not.
    pub(super) generation: u64,
    pub(super) exists: bool,
}

impl Directory {
    /// Reads the headers of all log files in `dir`. Other files are left alone; one that belongs to another database is an error.
    pub(super) fn read(
        vfs: &dyn Vfs,
        dir: &Path,
        database: u128,
        from: Lsn,
        mode: OpenMode,
    ) -> Result<Directory> {
        if !vfs.exists(dir).map_err(|e| Error::io("look for", dir, None, e))? {
            return Ok(Directory::default());
        }
        let mut directory = Directory {
            exists: true,
            ..Directory::default()
        };
        let mut begun = Vec::new();
        for path in vfs.list(dir).map_err(|e| Error::io("list", dir, None, e))? {
            let Some(number) = files::number(&path) else {
                continue;
            };
            directory.next_number = directory.next_number.max(number.saturating_add(1));
            let file = vfs
                .open(&path, mode)
                .map_err(|e| Error::io("open", &path, None, e))?;
            let len = file.len().map_err(|e| Error::io("measure", &path, None, e))?;
            match SegmentHeader::read(&*file, &path, len)? {
                None => directory.blank.push(Found { path, len, file }),
                Some(header) if header.database != database => {
                    return Err(Error::corrupt(&path, Some(16), "it belongs to another database"));
                }
                Some(header) => {
                    let found = Found { path, len, file };
                    begun.push(Link { found, header });
                }
            }
        }
        directory.link(begun, from);
        Ok(directory)
    }

    /// Follows the chain back from the newest segment. If it doesn't reach `from`, a segment that it leads through is not there: it
    /// was torn, or there is damage, which [`replay`] finds out. Then the newest of the others is where the chain ends.
    fn link(&mut self, mut begun: Vec<Link>, from: Lsn) {
        begun.sort_by_key(|l| std::cmp::Reverse(l.header.generation));
        self.generation = begun.first().map_or(0, |l| l.header.generation);
        while !begun.is_empty() {
            let mut rest = Vec::new();
            for link in begun {
                match self.chain.last() {
                    Some(next) if !next.header.goes_on_from(&link.header) => rest.push(link),
                    _ => self.chain.push(link),
                }
            }
            begun = rest;
            if self
                .chain
                .last()
                .is_some_and(|oldest| oldest.header.start <= from)
            {
                break;
            }
            self.torn.append(&mut self.chain);
        }
        self.chain.reverse();
        self.others
            .extend(begun.into_iter().map(|l| (l.found.path, l.found.len)));
    }
}

/// Where the log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) end: Lsn,
    /// The log was durable at least up to here.
    pub(super) durable: Lsn,
    /// The segments of the chain from here on hold nothing below `end` that matters.
    pub(super) dead_from: usize,
    /// The first segment that holds a record from `from` on.
    pub(super) needed_from: usize,
}

/// Visits the records from `from` on, and finds where they end. Whether they may end there, [`check_promises`] says.
pub(super) fn replay(
    directory: &Directory,
    from: Lsn,
    visit: &mut dyn FnMut(Record<'_>) -> Result<()>,
) -> Result<Tail> {
    let Directory { chain, torn, .. } = directory;
    if let (Some(last), []) = (chain.last(), &**torn)
        && from > last.found.limit(&last.header)
    {
        let what = format!("the log ends before the checkpoint at {}", from.0);
        return Err(Error::corrupt(&last.found.path, None, what));
    }
    let needed_from = chain.iter().rposition(|l| l.header.start <= from).unwrap_or(0);
    let mut tail = Tail {
        end: from,
        durable: from,
        dead_from: chain.len(),
        needed_from,
    };
    for (i, link) in chain.iter().enumerate().skip(needed_from) {
        let next = chain.get(i + 1);
        let limit = next.map_or(link.found.limit(&link.header), |n| n.header.start);
        tail.durable = tail.durable.max(link.header.durable);
        let mut window = Window::default();
        while let Some(frame) = read_frame(link, &mut window, tail.end, limit)? {
            visit(record(link, &mut window, &frame)?)?;
            tail.durable = tail.durable.max(frame.durable);
            tail.end = tail.end.plus(frame.frame_len());
        }
        if tail.end < limit {
            tail.dead_from = i + 1;
            break;
        }
    }
    Ok(tail)
}

/// Fails if anything beyond the end says that the log was durable further than that.
pub(super) fn check_promises(directory: &Directory, tail: &Tail) -> Result<()> {
    let p = tail.end;
    let mut furthest = p;
    if let Some(link) = tail.dead_from.checked_sub(1).and_then(|i| directory.chain.get(i)) {
        furthest = furthest.max(promised(link, p.plus(ALIGN as u64))?);
    }
    for link in directory.chain.iter().skip(tail.dead_from).chain(&directory.torn) {
        furthest = furthest
            .max(link.header.durable)
            .max(promised(link, link.header.start)?);
    }
    if furthest == p {
        return Ok(());
    }
    let what = format!(
        "the record at position {} is not valid, yet the log was durable up to {}",
        p.0, furthest.0
    );
    match tail.dead_from.checked_sub(1).and_then(|i| directory.chain.get(i)) {
        Some(link) => {
            let place = (p < link.found.limit(&link.header)).then(|| link.header.offset(p));
            Err(Error::corrupt(&link.found.path, place, what))
        }
        None => {
            let oldest = directory
                .torn
                .last()
                .expect("somebody said that the log was durable");
            let what = format!(
                "the log begins at {}, after the checkpoint at {}",
                oldest.header.start.0, p.0
            );
            Err(Error::corrupt(&oldest.found.path, None, what))
        }
    }
}

/// The frame at `at`, if there is a valid one that ends within `limit`.
fn read_frame(link: &Link, window: &mut Window, at: Lsn, limit: Lsn) -> Result<Option<FrameHeader>> {
    let offset = link.header.offset(at);
    let Some(bytes) = window.get(&link.found, offset, FRAME_HEADER)? else {
        return Ok(None);
    };
    let bytes = bytes.try_into().expect("as long as asked for");
    let Some(frame) = FrameHeader::decode(bytes, link.header.salt, at) else {
        return Ok(None);
    };
    if at.plus(frame.frame_len()) > limit {
        return Ok(None);
    }
    let payload = window.get(&link.found, offset + FRAME_HEADER as u64, frame.len as usize)?;
    Ok(payload
        .is_some_and(|p| xxh3_64(p) == frame.payload_hash)
        .then_some(frame))
}

/// The record in a valid frame.
fn record<'a>(link: &'a Link, window: &'a mut Window, frame: &FrameHeader) -> Result<Record<'a>> {
    let path = &*link.found.path;
    let offset = link.header.offset(frame.lsn) + FRAME_HEADER as u64;
    let payload = window
        .get(&link.found, offset, frame.len as usize)?
        .ok_or_else(|| Error::corrupt(path, Some(offset), "it was cut while it was read"))?;
    match frame.kind {
        COMMIT => Ok(Record::Commit {
            lsn: frame.lsn,
            end: frame.lsn.plus(frame.frame_len()),
            txid: frame.txid,
            batch: Batch::new(payload, path, offset),
        }),
        CHECKPOINT if payload.len() == 8 => Ok(Record::Checkpoint {
            lsn: frame.lsn,
            txid: frame.txid,
            upto: Lsn(u64::from_le_bytes(payload.try_into().expect("eight bytes"))),
        }),
        kind => {
            let what = format!(
                "its record is of kind {kind} with {} bytes, which this program can't read",
                frame.len
            );
            Err(Error::corrupt(path, Some(offset), what))
        }
    }
}

/// The furthest position that a frame's header from `at` on says was durable.
///
/// Headers are looked for at every place where one could be, since the lengths after a damaged frame can't be followed. The price is a
/// pass over what is left of the log, paid once when a log is opened.
fn promised(link: &Link, mut at: Lsn) -> Result<Lsn> {
    let mut furthest = Lsn(0);
    let mut window = Window::default();
    while let Some(bytes) = window.get(&link.found, link.header.offset(at), FRAME_HEADER)? {
        let bytes = bytes.try_into().expect("as long as asked for");
        if let Some(frame) = FrameHeader::decode(bytes, link.header.salt, at) {
            furthest = furthest.max(frame.durable);
        }
        at = at.plus(ALIGN as u64);
    }
    Ok(furthest)
}

/// Takes the headers off the segments that were begun behind the tail, so that they are never taken for a part of the log, however
/// it goes on. Those that have no header are treated so as well: a process that died may have taken it off without
/// a flush, and then it could come back.
pub(super) fn erase(directory: &Directory, tail: &Tail) -> Result<()> {
    let dead = directory
        .chain
        .iter()
        .skip(tail.dead_from)
        .chain(&directory.torn)
        .map(|l| &l.found);
    // No segment is begun in a file before that length is durable.
    let blank = directory.blank.iter().filter(|f| f.len >= SEGMENT_HEADER);
    for Found { path, file, .. } in dead.chain(blank) {
        SegmentHeader::erase(&**file, path)?;
        file.sync_data().map_err(|e| Error::io("flush", path, None, e))?;
    }
    Ok(())
}

/// Writes again what is not known to be durable, as it was read.
///
/// After a failed flush the system may hold pages that it takes for clean and that never reached the disk; a flush alone would pass over them.
pub(super) fn rewrite(chain: &[Link], durable: Lsn, end: Lsn) -> Result<()> {
    for (i, link) in chain.iter().enumerate() {
        let path = &link.found.path;
        let limit = chain.get(i + 1).map_or(end, |n| n.header.start.min(end));
        let mut at = durable.max(link.header.start);
        // A segment without records counts too: the chain leads through it.
        if at >= limit && link.header.start < durable {
            continue;
        }
        link.header.write(&*link.found.file, path)?;
        let mut window = Window::default();
        while at < limit {
            let offset = link.header.offset(at);
            let n = limit.since(at).min(CHUNK as u64);
            let bytes = window
                .get(&link.found, offset, n as usize)?
                .ok_or_else(|| Error::corrupt(path, Some(offset), "it was cut while it was read"))?;
            let file = &link.found.file;
            file.write_all_at(bytes, offset)
                .map_err(|e| Error::io("write", path, Some(offset), e))?;
            at = at.plus(n);
        }
        link.found
            .file
            .sync_data()
            .map_err(|e| Error::io("flush", path, None, e))?;
    }
    Ok(())
}

/// The part of one file that is in memory.
#[derive(Debug, Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// `n` bytes at `offset`, or `None` where the file ends before.
    fn get(&mut self, found: &Found, offset: u64, n: usize) -> Result<Option<&[u8]>> {
        let Some(left) = found.len.checked_sub(offset).filter(|left| *left >= n as u64) else {
            return Ok(None);
        };
        let buffered = self.start..=self.start + self.bytes.len() as u64;
        if !buffered.contains(&offset) || !buffered.contains(&(offset + n as u64)) {
            // What is in memory already of it moves to the front, so that no byte is read twice.
            let kept = match offset.checked_sub(self.start) {
                Some(from) if from < self.bytes.len() as u64 => {
                    self.bytes.drain(..from as usize);
                    self.bytes.len()
                }
                _ => {
                    self.bytes.clear();
                    0
                }
            };
            self.start = offset;
            let read = left.min(n.max(CHUNK) as u64) as usize;
            self.bytes.try_reserve(read - kept).map_err(|_| {
                Error::io(
                    "read",
                    &found.path,
                    Some(offset),
                    std::io::ErrorKind::OutOfMemory.into(),
                )
            })?;
            self.bytes.resize(read, 0);
            let from = offset + kept as u64;
            if let Err(e) = found.file.read_exact_at(&mut self.bytes[kept..], from) {
                self.bytes.clear();
                return Err(Error::io("read", &found.path, Some(from), e));
            }
        }
        let from = (offset - self.start) as usize;
        Ok(Some(&self.bytes[from..from + n]))
    }
}
