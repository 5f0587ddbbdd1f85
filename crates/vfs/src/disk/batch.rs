//! Many writes brought into few large ones.
//!
//! ```text
//! ops -> in order of offset -> cut at page borders, if direct -> runs of adjacent ones -> spans -> Io
//!                               edges: buffered
//!                               whole pages: copied to aligned buffers, direct
//! ```

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;

use super::backend::{Io, Span};
use super::direct::{self, ALIGNMENT, BUFFER, Buffer, Pool};
use crate::WriteOp;

/// The most slices that one system call takes (`IOV_MAX`, the same on every Unix that matters).
const SLICES_MAX: usize = 1024;

/// How many buffers of direct writes are under way at once.
const BUFFERS_MAX: usize = 4;

/// A shorter run than this is not worth waiting for the device, unless many are waited for at once.
const DIRECT_ALONE_MIN: usize = 256 << 10;

/// Writes `ops` through the page cache.
pub(super) fn write_buffered(io: &Io, file: &File, ops: &[WriteOp<'_>]) -> io::Result<()> {
    write_sorted(io, file, &in_order(ops)?)
}

fn write_sorted(io: &Io, file: &File, sorted: &[WriteOp<'_>]) -> io::Result<()> {
    let mut slices: Vec<_> = sorted.iter().map(|op| IoSlice::new(op.bytes)).collect();
    let mut spans = Vec::new();
    let mut first = 0;
    for part in runs(sorted).flat_map(|run| run.chunks(SLICES_MAX)) {
        spans.push(Span {
            offset: part[0].offset,
            slices: first..first + part.len(),
        });
        first += part.len();
    }
    io.write(file, false, &mut slices, &spans)
}

/// Writes the whole pages of `ops` to `direct`, which is the same file opened for direct writes, and the rest
/// through the page cache. `Ok(false)` means that the file system refused direct writes, so that everything
/// went the other way.
pub(super) fn write_direct(
    io: &Io,
    file: &File,
    direct: &File,
    pool: &Pool,
    ops: &[WriteOp<'_>],
) -> io::Result<bool> {
    let sorted = in_order(ops)?;
    // Where writes overlap, those of the second group would undo those of the first.
    if sorted
        .windows(2)
        .any(|pair| pair[0].offset + pair[0].bytes.len() as u64 > pair[1].offset)
    {
        write_sorted(io, file, &sorted)?;
        return Ok(true);
    }
    let mut pages = Vec::new();
    let mut edges = Vec::new();
    let run_min = if io.is_parallel() {
        ALIGNMENT
    } else {
        DIRECT_ALONE_MIN
    };
    for run in runs(&sorted) {
        cut_at_pages(run, run_min, &mut pages, &mut edges);
    }
    write_sorted(io, file, &edges)?;

    let mut round = Round {
        io,
        direct,
        pool,
        buffers: Vec::new(),
        filled: BUFFER,
        parts: Vec::new(),
    };
    let written = pages
        .iter()
        .try_for_each(|op| round.add(*op))
        .and_then(|()| round.write());
    match written {
        Err(error) if direct::refused(&error) => write_sorted(io, file, &pages).map(|()| false),
        other => other.map(|()| true),
    }
}

/// Splits a run into its whole pages, if they are at least `run_min` bytes, and what lies before and behind
/// them.
fn cut_at_pages<'a>(
    run: &[WriteOp<'a>],
    run_min: usize,
    pages: &mut Vec<WriteOp<'a>>,
    edges: &mut Vec<WriteOp<'a>>,
) {
    const PAGE: u64 = ALIGNMENT as u64;
    let (first, last) = (run[0], run[run.len() - 1]);
    let end = last.offset + last.bytes.len() as u64;
    let from = first.offset.next_multiple_of(PAGE);
    let to = end - end % PAGE;
    if to < from + run_min as u64 {
        edges.extend_from_slice(run);
        return;
    }
    for op in run {
        let op_end = op.offset + op.bytes.len() as u64;
        let keep = |list: &mut Vec<WriteOp<'a>>, start: u64, stop: u64| {
            let (start, stop) = (start.max(op.offset), stop.min(op_end));
            if start < stop {
                let bytes = &op.bytes[(start - op.offset) as usize..(stop - op.offset) as usize];
                list.push(WriteOp { offset: start, bytes });
            }
        };
        keep(edges, 0, from);
        keep(pages, from, to);
        keep(edges, to, u64::MAX);
    }
}

/// Direct writes that go out together.
struct Round<'r> {
    io: &'r Io,
    direct: &'r File,
    pool: &'r Pool,
    buffers: Vec<Buffer>,
    /// How far the last buffer is filled.
    filled: usize,
    parts: Vec<Part>,
}

/// Bytes in a buffer and where in the file they go.
struct Part {
    offset: u64,
    buffer: usize,
    start: usize,
    len: usize,
}

impl Round<'_> {
    /// Copies a write into the buffers; what comes before must end, and a run must begin and end, at page
    /// borders.
    fn add(&mut self, op: WriteOp<'_>) -> io::Result<()> {
        let mut rest = op;
        while !rest.bytes.is_empty() {
            if self.filled == BUFFER {
                if self.buffers.len() == BUFFERS_MAX {
                    self.write()?;
                }
                self.buffers.push(self.pool.take());
                self.filled = 0;
            }
            let buffer = self.buffers.len() - 1;
            let start = self.filled;
            let (now, later) = rest.bytes.split_at(rest.bytes.len().min(BUFFER - start));
            self.buffers[buffer].bytes_mut()[start..start + now.len()].copy_from_slice(now);
            self.filled += now.len();
            match self.parts.last_mut() {
                Some(part) if part.buffer == buffer && part.offset + part.len as u64 == rest.offset => {
                    part.len += now.len();
                }
                _ => self.parts.push(Part {
                    offset: rest.offset,
                    buffer,
                    start,
                    len: now.len(),
                }),
            }
            rest = WriteOp {
                offset: rest.offset + now.len() as u64,
                bytes: later,
            };
        }
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        let slice = |part: &Part| IoSlice::new(&self.buffers[part.buffer].bytes()[part.start..][..part.len]);
        let mut slices: Vec<_> = self.parts.iter().map(slice).collect();
        let spans: Vec<_> = self
            .parts
            .iter()
            .enumerate()
            .map(|(i, part)| Span {
                offset: part.offset,
                slices: i..i + 1,
            })
            .collect();
        let written = self.io.write(self.direct, true, &mut slices, &spans);
        self.parts.clear();
        self.pool.give_back(self.buffers.drain(..));
        self.filled = BUFFER;
        written
    }
}

/// The writes that have bytes, in order of offset; of several to one place the later ones stay later.
fn in_order<'a>(ops: &[WriteOp<'a>]) -> io::Result<Vec<WriteOp<'a>>> {
    let mut sorted: Vec<_> = ops.iter().filter(|op| !op.bytes.is_empty()).copied().collect();
    // Offsets are signed numbers to the system.
    let fits = |op: &WriteOp<'_>| op.offset.saturating_add(op.bytes.len() as u64) <= i64::MAX as u64;
    if !sorted.iter().all(fits) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sorted.sort_by_key(|op| op.offset);
    Ok(sorted)
}

/// Groups sorted writes so that each begins where the one before it ends.
fn runs<'s, 'a>(sorted: &'s [WriteOp<'a>]) -> impl Iterator<Item = &'s [WriteOp<'a>]> {
    sorted.chunk_by(|a, b| a.offset + a.bytes.len() as u64 == b.offset)
}

/// Writes all of `slices`, at most `SLICES_MAX` of them, one behind the other from `offset` on.
pub(super) fn write_vectored(file: &File, mut slices: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
    while !slices.is_empty() {
        let at = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        let count = slices.len() as libc::c_int;
        // SAFETY: `IoSlice` has the layout of `iovec`, and each one is a live slice of bytes that are only
        // read.
        let written = unsafe { libc::pwritev(file.as_raw_fd(), slices.as_ptr().cast(), count, at) };
        match usize::try_from(written) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut slices, written);
            }
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}
