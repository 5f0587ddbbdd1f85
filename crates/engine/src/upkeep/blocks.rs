//! The frame that dumps and backups share: a header, then blocks with checksums.
//!
//! | at | bytes | header                 |   | at | bytes | block                                                       |
//! | -: | ----: | ---------------------- | - | -: | ----: | ----------------------------------------------------------- |
//! |  0 |     8 | magic number           |   |  0 |     4 | length of what follows the block's header                   |
//! |  8 |     4 | version                |   |  4 |     4 | kind                                                        |
//! | 12 |     4 | zero                   |   |  8 |     8 | checksum: XXH3-64 of kind and contents, seeded with the block's number |
//!
//! Blocks are numbered from 0, so one that is missing, doubled or moved does not match. Which kind comes last is up to those who use it.

use std::io::{self, Read, Write};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};

/// The most that a block holds.
pub(crate) const BLOCK_MAX: usize = 1 << 20;
const HEADER: usize = 16;

/// What kind of stream it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u32,
    /// "dump"
    pub(crate) name: &'static str,
}

fn checksum(number: u64, kind: u32, contents: &[u8]) -> u64 {
    let mut hasher = Xxh3::with_seed(number);
    hasher.update(&kind.to_le_bytes());
    hasher.update(contents);
    hasher.digest()
}

pub(crate) struct BlockWriter<'w> {
    sink: &'w mut dyn Write,
    format: Format,
    number: u64,
    bytes: u64,
}

impl<'w> BlockWriter<'w> {
    pub(crate) fn new(sink: &'w mut dyn Write, format: Format) -> Result<BlockWriter<'w>> {
        let mut writer = BlockWriter {
            sink,
            format,
            number: 0,
            bytes: 0,
        };
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(&format.magic);
        header[8..12].copy_from_slice(&format.version.to_le_bytes());
        writer.write(&header)?;
        Ok(writer)
    }

    /// Writes one block, of at most [`BLOCK_MAX`] bytes.
    pub(crate) fn block(&mut self, kind: u32, contents: &[u8]) -> Result<()> {
        debug_assert!(contents.len() <= BLOCK_MAX);
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&(contents.len() as u32).to_le_bytes());
        header[4..8].copy_from_slice(&kind.to_le_bytes());
        header[8..].copy_from_slice(&checksum(self.number, kind, contents).to_le_bytes());
        self.number += 1;
        self.write(&header)?;
        self.write(contents)
    }

    /// Bytes written so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        self.sink.flush().map_err(|e| self.failed(e))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.sink.write_all(bytes).map_err(|e| self.failed(e))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn failed(&self, e: io::Error) -> Error {
        Error::io("write the", Path::new(self.format.name), Some(self.bytes), e)
    }
}

pub(crate) struct BlockReader<'r> {
    source: &'r mut dyn Read,
    format: Format,
    number: u64,
    bytes: u64,
    contents: Vec<u8>,
}

impl<'r> BlockReader<'r> {
    pub(crate) fn new(source: &'r mut dyn Read, format: Format) -> Result<BlockReader<'r>> {
        let mut reader = BlockReader {
            source,
            format,
            number: 0,
            bytes: 0,
            contents: Vec::new(),
        };
        let mut header = [0; HEADER];
        reader.read(&mut header)?;
        if header[..8] != format.magic {
            return Err(Error::bad_stream(format!("this is no Weald {}", format.name)));
        }
        let version = u32::from_le_bytes(header[8..12].try_into().expect("four bytes"));
        if version != format.version || header[12..] != [0; 4] {
            let what = format!(
                "the {} has version {version}, this program reads version {}",
                format.name, format.version
            );
            return Err(Error::bad_stream(what));
        }
        Ok(reader)
    }

    /// The kind and the contents of the next block, verified.
    pub(crate) fn next(&mut self) -> Result<(u32, &[u8])> {
        let mut header = [0; HEADER];
        self.read(&mut header)?;
        let half = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let (len, kind) = (half(0) as usize, half(4));
        if len > BLOCK_MAX {
            return Err(self.damaged("a block says that it is longer than any can be"));
        }
        let mut contents = std::mem::take(&mut self.contents);
        contents.resize(len, 0);
        self.read(&mut contents)?;
        if checksum(self.number, kind, &contents).to_le_bytes() != header[8..] {
            return Err(self.damaged("the checksum of a block does not match"));
        }
        self.contents = contents;
        self.number += 1;
        Ok((kind, &self.contents))
    }

    /// Bytes read so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The error for contents that can't be right.
    pub(crate) fn damaged(&self, what: &str) -> Error {
        let (name, block, at) = (self.format.name, self.number, self.bytes);
        Error::bad_stream(format!(
            "the {name} is damaged in block {block} before byte {at}: {what}"
        ))
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<()> {
        let (name, at) = (self.format.name, self.bytes);
        self.source.read_exact(buf).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => {
                Error::bad_stream(format!("the {name} is cut: it has no end mark"))
            }
            _ => Error::io("read the", Path::new(name), Some(at), e),
        })?;
        self.bytes += buf.len() as u64;
        Ok(())
    }
}
