//! Large values: runs of pages, read in place.
//!
//! The run of a value that is not too large for the log goes there, and is held in memory until a checkpoint writes it to its pages. A larger one is
//! written to them at once, before the commit that refers to it.

use std::io::Read;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::ids::{PageId, TxId};
use crate::large::format::{self, CHUNK, HEADER, Header, LEN_MAX, LargeError, Trailer};
use crate::large::writer::{RunWriter, run_of_value};
use crate::op::LargeRef;
use crate::store::{Extent, HeldRun, Keep, PageStore, run_of};

impl PageStore {
    /// Makes the run of a value in memory, which belongs to nobody until a commit owns it.
    pub(crate) fn hold_large(&self, birth: TxId, value: &[u8]) -> Result<LargeRef> {
        let size = self.page_size();
        let failed = |e: LargeError| self.large_error(0, &e);
        let pages = format::pages_needed(value.len() as u64, size).map_err(failed)?;
        let extent = self.space().take_unowned(pages);
        if !PageStore::has_places(extent) {
            self.space().disown(extent);
            return Err(self.is_full());
        }
        let (large, bytes) = run_of_value(PageId(extent.start), birth, value, size).map_err(failed)?;
        self.hold(HeldRun {
            large,
            extent,
            bytes: Arc::new(bytes),
            since: birth,
        });
        Ok(large)
    }

    /// Holds a run that the log has, once its pages are taken: `bytes` without the zeros at the end.
    pub(crate) fn hold_logged(&self, large: LargeRef, mut bytes: Vec<u8>) -> Result<()> {
        let size = self.page_size();
        let extent = run_of(large, size);
        let whole = bytes.len().next_multiple_of(size);
        bytes.reserve_exact(whole - bytes.len());
        bytes.resize(whole, 0);
        format::check(&bytes, &large, size).map_err(|e| self.large_error(extent.start, &e))?;
        if !PageStore::has_places(extent) {
            return Err(self.is_full());
        }
        self.hold(HeldRun {
            large,
            extent,
            bytes: Arc::new(bytes),
            // Who reads what was replayed may do so over the state of the checkpoint before.
            since: TxId(0),
        });
        Ok(())
    }

    /// Writes a value of exactly `len` bytes into a run of its own, which belongs to nobody until a commit owns it.
    pub(crate) fn write_large(&self, birth: TxId, len: u64, source: &mut dyn Read) -> Result<LargeRef> {
        if len > LEN_MAX {
            return Err(Error::too_large("a value", len, LEN_MAX));
        }
        let size = self.page_size();
        let pages = format::pages_needed(len, size).map_err(|e| self.large_error(0, &e))?;
        let extent = self.space().take_unowned(pages);
        self.fill_run(extent, birth, len, source)
            .inspect_err(|_| self.disown(extent))
    }

    /// Like [`write_large`](Self::write_large), into pages that all lie below `bound`; `None` where there is no room.
    pub(crate) fn write_large_below(
        &self,
        bound: u64,
        birth: TxId,
        len: u64,
        source: &mut dyn Read,
    ) -> Result<Option<LargeRef>> {
        let size = self.page_size();
        let pages = format::pages_needed(len, size).map_err(|e| self.large_error(0, &e))?;
        let Some(extent) = self.space().take_unowned_below(pages, bound) else {
            return Ok(None);
        };
        self.fill_run(extent, birth, len, source)
            .inspect_err(|_| self.disown(extent))
            .map(Some)
    }

    fn fill_run(&self, extent: Extent, birth: TxId, len: u64, source: &mut dyn Read) -> Result<LargeRef> {
        let size = self.page_size();
        let start = extent.start * size as u64;
        let failed = |e: LargeError| match e {
            LargeError::Source(source) => Error::io("read the value for", self.file.path(), None, source),
            // The same as for a short value: the caller's stream is at fault, not the file.
            e @ LargeError::SourceEnded { .. } => {
                let source = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, e);
                Error::io("read the value for", self.file.path(), None, source)
            }
            e => self.large_error(extent.start, &e),
        };
        let mut run = RunWriter::new(PageId(extent.start), birth, len, size).map_err(failed)?;
        while let Some(piece) = run.next(source).map_err(failed)? {
            self.file.write(piece.bytes, start + piece.offset)?;
        }
        self.file.measure()?;
        Ok(run.finish().expect("a run that has no more pieces is complete"))
    }

    /// The whole value. `keep` holds it where it can't be lent by the mapping.
    pub(crate) fn read_large<'t>(&'t self, large: LargeRef, keep: &'t Keep) -> Result<&'t [u8]> {
        let size = self.page_size();
        if let Some(held) = self.held_run(large) {
            return Ok(&held.bytes[HEADER..HEADER + large.len as usize]);
        }
        let extent = self.run(large)?;
        let (offset, len) = (extent.start * size as u64, extent.len as usize * size);
        if self.file.is_mapped()
            && let Some(run) = self.mapped_run(extent)
        {
            if self.is_verified(large.first.id()) {
                let value = HEADER..HEADER + large.len as usize;
                return Ok(&run[value]);
            }
            let value = format::check(run, &large, size);
            if self.file.faulted() {
                let what = "the pages of a large value could not be read through the mapping";
                return Err(Error::corrupt_page(self.file.path(), extent.start, what));
            }
            let value = value.map_err(|e| self.large_error(extent.start, &e))?;
            self.set_verified(large.first.id());
            return Ok(value);
        }
        let mut run = vec![0; len];
        self.file.read(&mut run, offset)?;
        format::check(&run, &large, size).map_err(|e| self.large_error(extent.start, &e))?;
        let run = keep.keep(run.into_boxed_slice());
        Ok(&run[HEADER..HEADER + large.len as usize])
    }

    /// The run of a value, if the file has it.
    fn run(&self, large: LargeRef) -> Result<Extent> {
        let extent = run_of(large, self.page_size());
        let stop = extent.start.checked_add(extent.len);
        if extent.start < 2 || extent.len == 0 || stop.is_none_or(|stop| stop > self.file.pages()) {
            let what = format!(
                "a large value is said to be there, but the file has {} pages",
                self.file.pages()
            );
            return Err(Error::corrupt_page(self.file.path(), extent.start, what));
        }
        Ok(extent)
    }

    fn large_error(&self, page: u64, e: &LargeError) -> Error {
        Error::corrupt_page(self.file.path(), page, format!("a large value: {e}"))
    }
}

/// A large value as a stream: verified piece by piece, never whole in memory.
///
/// It is given by [`Bucket::get_reader`](crate::Bucket::get_reader). Damage is an error of kind
/// [`InvalidData`](std::io::ErrorKind::InvalidData).
pub struct ValueReader<'t> {
    source: Source<'t>,
    len: u64,
    at: u64,
}

enum Source<'t> {
    Inline(&'t [u8]),
    Large(Box<LargeSource<'t>>),
}

struct LargeSource<'t> {
    store: &'t PageStore,
    start: u64,
    header: Header,
    trailer: Vec<u8>,
    chunk: Vec<u8>,
    /// The chunk that the buffer holds.
    index: Option<u64>,
}

impl<'t> ValueReader<'t> {
    pub(crate) fn inline(value: &'t [u8]) -> ValueReader<'t> {
        ValueReader {
            source: Source::Inline(value),
            len: value.len() as u64,
            at: 0,
        }
    }

    pub(crate) fn large(store: &'t PageStore, large: LargeRef) -> Result<ValueReader<'t>> {
        if let Some(held) = store.held_run(large) {
            return Ok(ValueReader::inline(
                &held.bytes[HEADER..HEADER + large.len as usize],
            ));
        }
        let extent = store.run(large)?;
        let start = extent.start * store.page_size() as u64;
        let mut head = [0; HEADER];
        store.file.read(&mut head, start)?;
        let failed = |e: LargeError| store.large_error(extent.start, &e);
        let header = Header::decode(&head, &large).map_err(failed)?;
        let range = header.trailer();
        let mut trailer = vec![0; (range.end - range.start) as usize];
        store.file.read(&mut trailer, start + range.start)?;
        Trailer::decode(&trailer, &header).map_err(failed)?;
        let source = LargeSource {
            store,
            start,
            header,
            trailer,
            chunk: Vec::new(),
            index: None,
        };
        Ok(ValueReader {
            source: Source::Large(Box::new(source)),
            len: large.len,
            at: 0,
        })
    }

    /// Bytes of the whole value.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the value has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl LargeSource<'_> {
    /// The chunk that has byte `at` of the value, verified, from there on.
    fn from(&mut self, at: u64) -> Result<&[u8]> {
        let index = at / CHUNK as u64;
        if self.index != Some(index) {
            self.index = None;
            let range = self.header.chunk(index);
            self.chunk.resize((range.end - range.start) as usize, 0);
            self.store.file.read(&mut self.chunk, self.start + range.start)?;
            let failed = |e: LargeError| self.store.large_error(self.header.page.0, &e);
            let trailer = Trailer::decode(&self.trailer, &self.header).map_err(failed)?;
            trailer.verify(index, &self.chunk).map_err(failed)?;
            self.index = Some(index);
        }
        Ok(&self.chunk[(at % CHUNK as u64) as usize..])
    }
}

impl Read for ValueReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.len {
            return Ok(0);
        }
        let rest = match &mut self.source {
            Source::Inline(value) => &value[self.at as usize..],
            Source::Large(large) => large
                .from(self.at)
                .map_err(|e| std::io::Error::new(std::io::ErrorKind::InvalidData, e))?,
        };
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        self.at += n as u64;
        Ok(n)
    }
}
