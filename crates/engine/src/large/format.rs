//! The bytes of a run: a header, the value in one piece across the pages, so that it can be lent whole, and the checksums of its
//! chunks. `docs/format-large.md` has the tables.
//!
//! Whoever has a [`LargeRef`] has the header's checksum, and by it the trailer's, and by that every chunk's: a chunk can be verified
//! when it is first read, without the others.

use std::io;
use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use crate::ids::{PageId, PagePtr, TxId};
use crate::op::LargeRef;

/// Bytes of the header.
pub(crate) const HEADER: usize = 64;

/// Bytes of the value that share a checksum.
pub(crate) const CHUNK: usize = 64 << 10;

/// Bytes of the longest value.
pub(crate) const LEN_MAX: u64 = 4 << 30;

const MAGIC: [u8; 8] = *b"WealdLrg";
const VERSION: u32 = 1;
const CHECKED: usize = HEADER - 8;

/// What is wrong with a large value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LargeError {
    #[error("a large value has at most {LEN_MAX} bytes, not {0}")]
    TooLong(u64),
    #[error("the value was to have {expected} bytes, but its reader ended after {actual}")]
    SourceEnded { expected: u64, actual: u64 },
    #[error("can't read the value that is to be stored")]
    Source(#[from] io::Error),
    #[error("the large value has {actual} bytes of pages instead of {expected}")]
    RunLength { expected: u64, actual: u64 },
    #[error("the large value does not begin with its magic number")]
    Magic,
    #[error("the header of the large value does not match its checksum")]
    Header,
    #[error("the large value has version {0}, which this program does not know")]
    Version(u32),
    #[error("the header of the large value has an impossible length or number of chunks")]
    Shape,
    #[error("the pages have another large value than the one that was meant")]
    Mismatch,
    #[error("the checksums of the large value do not match theirs")]
    Trailer,
    #[error("chunk {0} of the large value does not match its checksum")]
    Chunk(u64),
    #[error("there is something behind the end of the large value")]
    Padding,
}

/// How many pages the run of a value of `len` bytes has.
pub(crate) fn pages_needed(len: u64, page_size: usize) -> Result<u64, LargeError> {
    if len > LEN_MAX {
        return Err(LargeError::TooLong(len));
    }
    Ok(run_len(len).div_ceil(page_size as u64))
}

/// Bytes of the run of a value of `len` bytes, at most [`LEN_MAX`], without the zeros at the end of its last page.
pub(crate) fn run_len(len: u64) -> u64 {
    trailer_start(len) + trailer_len(len)
}

pub(super) fn trailer_start(len: u64) -> u64 {
    HEADER as u64 + len
}

pub(super) fn trailer_len(len: u64) -> u64 {
    len.div_ceil(CHUNK as u64) * 8
}

/// What a run begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) page: PageId,
    pub(crate) birth: TxId,
    /// Bytes of the value.
    pub(crate) len: u64,
    trailer_checksum: u64,
}

impl Header {
    /// The header of a value whose chunks have the checksums in `trailer`.
    pub(super) fn new(page: PageId, birth: TxId, len: u64, trailer: &[u8]) -> Header {
        Header {
            page,
            birth,
            len,
            trailer_checksum: xxh3_64(trailer),
        }
    }

    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&(self.chunks() as u32).to_le_bytes());
        out[16..24].copy_from_slice(&self.page.0.to_le_bytes());
        out[24..32].copy_from_slice(&self.birth.0.to_le_bytes());
        out[32..40].copy_from_slice(&self.len.to_le_bytes());
        out[40..48].copy_from_slice(&self.trailer_checksum.to_le_bytes());
        let checksum = xxh3_64(&out[..CHECKED]);
        out[CHECKED..].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads the header that is meant by `large`.
    pub(crate) fn decode(bytes: &[u8; HEADER], large: &LargeRef) -> Result<Header, LargeError> {
        let header = Header::salvage(bytes)?;
        // Compared apart: a checksum of 64 bits can be the same by chance or by intent.
        let is_meant = header.page == large.first.id()
            && large.first.is_birth(header.birth)
            && header.len == large.len
            && header.reference().checksum == large.checksum;
        if is_meant {
            Ok(header)
        } else {
            Err(LargeError::Mismatch)
        }
    }

    /// Reads a header that nothing is known about.
    pub(crate) fn salvage(bytes: &[u8; HEADER]) -> Result<Header, LargeError> {
        let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if bytes[..8] != MAGIC {
            return Err(LargeError::Magic);
        }
        if xxh3_64(&bytes[..CHECKED]) != word(CHECKED) {
            return Err(LargeError::Header);
        }
        if half(8) != VERSION {
            return Err(LargeError::Version(half(8)));
        }
        let header = Header {
            page: PageId(word(16)),
            birth: TxId(word(24)),
            len: word(32),
            trailer_checksum: word(40),
        };
        let is_possible = header.page.0 <= PageId::MAX
            && header.len <= LEN_MAX
            && header.chunks() == u64::from(half(12))
            && word(48) == 0;
        if is_possible {
            Ok(header)
        } else {
            Err(LargeError::Shape)
        }
    }

    /// What a leaf keeps of the value.
    pub(crate) fn reference(&self) -> LargeRef {
        let bytes = self.encode();
        LargeRef {
            first: PagePtr::new(self.page, self.birth),
            len: self.len,
            checksum: u64::from_le_bytes(bytes[CHECKED..].try_into().expect("eight bytes")),
        }
    }

    pub(crate) fn chunks(&self) -> u64 {
        self.len.div_ceil(CHUNK as u64)
    }

    /// Where the value is in the run.
    pub(crate) fn value(&self) -> Range<u64> {
        HEADER as u64..trailer_start(self.len)
    }

    /// Where a chunk of the value is in the run; empty for a chunk that it does not have.
    pub(crate) fn chunk(&self, chunk: u64) -> Range<u64> {
        let start = chunk.saturating_mul(CHUNK as u64).min(self.len);
        let end = start.saturating_add(CHUNK as u64).min(self.len);
        HEADER as u64 + start..HEADER as u64 + end
    }

    /// Where the checksums of the chunks are in the run.
    pub(crate) fn trailer(&self) -> Range<u64> {
        let start = trailer_start(self.len);
        start..start + trailer_len(self.len)
    }
}

/// The checksums of a value's chunks, themselves verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trailer<'a> {
    checksums: &'a [u8],
}

impl<'a> Trailer<'a> {
    pub(crate) fn decode(bytes: &'a [u8], header: &Header) -> Result<Trailer<'a>, LargeError> {
        let is_right =
            bytes.len() as u64 == trailer_len(header.len) && xxh3_64(bytes) == header.trailer_checksum;
        if is_right {
            Ok(Trailer { checksums: bytes })
        } else {
            Err(LargeError::Trailer)
        }
    }

    /// Verifies one chunk of the value.
    pub(crate) fn verify(&self, chunk: u64, bytes: &[u8]) -> Result<(), LargeError> {
        let checksum = usize::try_from(chunk)
            .ok()
            .and_then(|chunk| self.checksums.chunks_exact(8).nth(chunk));
        match checksum {
            Some(checksum) if *checksum == xxh3_64(bytes).to_le_bytes() => Ok(()),
            _ => Err(LargeError::Chunk(chunk)),
        }
    }
}

/// Verifies all of a run, and lends the value.
pub(crate) fn check<'a>(run: &'a [u8], large: &LargeRef, page_size: usize) -> Result<&'a [u8], LargeError> {
    let Some(head) = run.first_chunk::<HEADER>() else {
        return Err(LargeError::RunLength {
            expected: HEADER as u64,
            actual: run.len() as u64,
        });
    };
    let header = Header::decode(head, large)?;
    let expected = pages_needed(header.len, page_size)? * page_size as u64;
    if run.len() as u64 != expected {
        return Err(LargeError::RunLength {
            expected,
            actual: run.len() as u64,
        });
    }
    // The run has been seen to be as long as its header says, so these are within it, and within usize.
    let within = |range: Range<u64>| &run[range.start as usize..range.end as usize];
    let value = within(header.value());
    let trailer = Trailer::decode(within(header.trailer()), &header)?;
    for (i, chunk) in value.chunks(CHUNK).enumerate() {
        trailer.verify(i as u64, chunk)?;
    }
    if within(header.trailer().end..expected)
        .iter()
        .any(|byte| *byte != 0)
    {
        return Err(LargeError::Padding);
    }
    Ok(value)
}
