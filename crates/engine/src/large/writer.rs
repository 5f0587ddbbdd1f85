//! Makes the bytes of a run from a reader, without the whole value in memory.

use std::io::{self, Read};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::format::{CHUNK, HEADER, Header, LargeError, pages_needed, trailer_len, trailer_start};
use crate::ids::{PageId, TxId};
use crate::op::LargeRef;

/// Bytes that are read before they are written, at least: what the largest page has if that is more.
const BUFFER: usize = 256 << 10;

/// The whole run of a value that is in memory, up to the end of its last page.
pub(crate) fn run_of_value(
    page: PageId,
    birth: TxId,
    value: &[u8],
    page_size: usize,
) -> Result<(LargeRef, Vec<u8>), LargeError> {
    let len = value.len() as u64;
    let run_len = pages_needed(len, page_size)? as usize * page_size;
    let mut run = Vec::with_capacity(run_len);
    run.extend_from_slice(&[0; HEADER]);
    run.extend_from_slice(value);
    for chunk in value.chunks(CHUNK) {
        run.extend_from_slice(&xxh3_64(chunk).to_le_bytes());
    }
    let header = Header::new(page, birth, len, &run[HEADER + value.len()..]);
    run[..HEADER].copy_from_slice(&header.encode());
    run.resize(run_len, 0);
    Ok((header.reference(), run))
}

/// Whole pages to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece<'a> {
    /// Where they go, in bytes from the beginning of the run.
    pub(crate) offset: u64,
    pub(crate) bytes: &'a [u8],
}

/// Gives a run piece by piece, ascending but for the first page: that has the checksum of all checksums, so it comes last. Until it
/// is written there is no run.
///
/// The memory it takes is a buffer, a page and eight bytes for each 64 KiB of the value: less than 1 MiB.
pub(crate) struct RunWriter {
    page: PageId,
    birth: TxId,
    len: u64,
    run_len: u64,
    /// Where the next piece begins.
    at: u64,
    buffer: Vec<u8>,
    first_page: Vec<u8>,
    page_size: usize,
    trailer: Vec<u8>,
    hasher: Xxh3,
    /// Bytes of the value that were read.
    read: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Writing,
    Done(LargeRef),
    Failed,
}

impl RunWriter {
    /// A run of [`pages_needed`] pages from `page` on, for a value of exactly `len` bytes. A reader whose length is not known is to be
    /// spooled first, as the pages of the run must be known.
    pub(crate) fn new(
        page: PageId,
        birth: TxId,
        len: u64,
        page_size: usize,
    ) -> Result<RunWriter, LargeError> {
        let run_len = pages_needed(len, page_size)? * page_size as u64;
        // Buffers have whole pages, and the first page is a part of the first.
        let buffer = BUFFER.next_multiple_of(page_size) as u64;
        Ok(RunWriter {
            page,
            birth,
            len,
            run_len,
            at: 0,
            buffer: vec![0; buffer.min(run_len) as usize],
            first_page: Vec::new(),
            page_size,
            trailer: Vec::with_capacity(trailer_len(len) as usize),
            hasher: Xxh3::new(),
            read: 0,
            state: State::Writing,
        })
    }

    /// Reads on and gives the next piece; `None` when there is no more. After an error there is no more either, and no run: what
    /// was written of it means nothing.
    pub(crate) fn next<R: Read + ?Sized>(&mut self, source: &mut R) -> Result<Option<Piece<'_>>, LargeError> {
        if self.state != State::Writing {
            return Ok(None);
        }
        if self.at < self.run_len {
            let (offset, from, to) = self.fill(source).inspect_err(|_| self.state = State::Failed)?;
            if from < to {
                let bytes = &self.buffer[from..to];
                return Ok(Some(Piece { offset, bytes }));
            }
        }
        let header = Header::new(self.page, self.birth, self.len, &self.trailer);
        self.first_page[..HEADER].copy_from_slice(&header.encode());
        self.state = State::Done(header.reference());
        Ok(Some(Piece {
            offset: 0,
            bytes: &self.first_page,
        }))
    }

    /// The reference to the value; `None` while there are pieces to come, or after an error.
    pub(crate) fn finish(self) -> Option<LargeRef> {
        match self.state {
            State::Done(large) => Some(large),
            State::Writing | State::Failed => None,
        }
    }

    /// Fills the buffer with the next part of the run, and says where in the run and in the buffer the pages to be written are.
    fn fill<R: Read + ?Sized>(&mut self, source: &mut R) -> Result<(u64, usize, usize), LargeError> {
        let start = self.at;
        let end = self.run_len.min(start + self.buffer.len() as u64);
        self.at = end;
        // Places in the run as places in the buffer; what is outside of it comes to one of its ends.
        let place = |at: u64| (at.clamp(start, end) - start) as usize;
        let value = place(HEADER as u64)..place(trailer_start(self.len));
        let trailer_end = trailer_start(self.len) + trailer_len(self.len);
        let trailer = value.end..place(trailer_end).max(value.end);

        self.buffer[..value.start].fill(0);
        self.read_value(source, value.clone())?;
        if !trailer.is_empty() {
            let from = (start + trailer.start as u64 - trailer_start(self.len)) as usize;
            let part = &self.trailer[from..from + trailer.len()];
            self.buffer[trailer.clone()].copy_from_slice(part);
        }
        self.buffer[trailer.end..].fill(0);

        let to = (end - start) as usize;
        if start > 0 {
            return Ok((start, 0, to));
        }
        self.first_page = self.buffer[..self.page_size].to_vec();
        Ok((self.page_size as u64, self.page_size, to))
    }

    fn read_value<R: Read + ?Sized>(
        &mut self,
        source: &mut R,
        place: std::ops::Range<usize>,
    ) -> Result<(), LargeError> {
        let mut rest = &mut self.buffer[place];
        while !rest.is_empty() {
            let chunk_rest = CHUNK - (self.read % CHUNK as u64) as usize;
            let wanted = chunk_rest.min(rest.len());
            let count = match source.read(&mut rest[..wanted]) {
                Ok(0) => {
                    return Err(LargeError::SourceEnded {
                        expected: self.len,
                        actual: self.read,
                    });
                }
                // A reader can claim what it likes.
                Ok(count) if count > wanted => {
                    let what = "the reader says that it read more than there was room for";
                    return Err(io::Error::other(what).into());
                }
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let (done, left) = rest.split_at_mut(count);
            self.hasher.update(done);
            self.read += count as u64;
            if self.read.is_multiple_of(CHUNK as u64) || self.read == self.len {
                self.trailer
                    .extend_from_slice(&self.hasher.digest().to_le_bytes());
                self.hasher.reset();
            }
            rest = left;
        }
        Ok(())
    }
}
