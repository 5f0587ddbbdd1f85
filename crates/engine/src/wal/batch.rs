//! The operations of one commit as the log holds them.
//!
//! Operations stand one after the other, without a count: a tag, numbers as LEB128 of the shortest form, keys and values as
//! length and bytes. Encoding needs no lock and no knowledge of the place in the log, so each committer does it for itself.

use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::frame::{FRAME_HEADER, MAX_PAYLOAD, padded};
use crate::error::{Error, Result};
use crate::ids::TreeId;
use crate::op::{Entry, LargeRef, Op, Value};

const PUT: u8 = 1;
const PUT_LARGE: u8 = 2;
const DELETE: u8 = 3;
const DELETE_RANGE: u8 = 4;
const DELETE_FROM: u8 = 5;
const DROP_TREE: u8 = 6;
const RUN: u8 = 7;
/// Set beside `PUT` and `PUT_LARGE` where a time of expiry follows the tree.
const EXPIRES: u8 = 0x80;

/// Gathers the operations of a commit in a buffer that begins with room for the frame's header.
#[derive(Debug)]
pub(crate) struct BatchEncoder {
    frame: Vec<u8>,
}

impl BatchEncoder {
    pub(crate) fn new() -> BatchEncoder {
        BatchEncoder {
            frame: vec![0; FRAME_HEADER],
        }
    }

    #[cfg(test)]
    /// Whether no operation was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.frame.len() == FRAME_HEADER
    }

    /// Bytes of the operations so far.
    pub(crate) fn payload_len(&self) -> usize {
        self.frame.len() - FRAME_HEADER
    }

    pub(crate) fn push(&mut self, op: &Op<'_>) {
        match *op {
            Op::Put { tree, key, entry } => self.put(tree, key, entry),
            Op::Delete { tree, key } => {
                self.head(DELETE, tree);
                self.bytes(key);
            }
            Op::DeleteRange {
                tree,
                start,
                end: Some(end),
            } => {
                self.head(DELETE_RANGE, tree);
                self.bytes(start);
                self.bytes(end);
            }
            Op::DeleteRange {
                tree,
                start,
                end: None,
            } => {
                self.head(DELETE_FROM, tree);
                self.bytes(start);
            }
            Op::DropTree { tree } => self.head(DROP_TREE, tree),
            Op::Run { large, bytes } => {
                self.frame.push(RUN);
                self.frame.extend_from_slice(&large.encode());
                self.bytes(bytes);
            }
        }
    }

    /// Completes the batch. The price of the hash is paid here, outside of every lock.
    pub(crate) fn finish(mut self) -> Result<EncodedBatch> {
        let len = self.payload_len();
        if len > MAX_PAYLOAD {
            return Err(Error::too_large("a commit", len as u64, MAX_PAYLOAD as u64));
        }
        let hash = xxh3_64(&self.frame[FRAME_HEADER..]);
        self.frame.resize(FRAME_HEADER + padded(len), 0);
        Ok(EncodedBatch {
            frame: self.frame,
            len,
            hash,
        })
    }

    fn put(&mut self, tree: TreeId, key: &[u8], entry: Entry<'_>) {
        let tag = match entry.value {
            Value::Inline(_) => PUT,
            Value::Large(_) => PUT_LARGE,
        };
        match entry.expires {
            None => self.head(tag, tree),
            Some(at) => {
                self.head(tag | EXPIRES, tree);
                self.number(at);
            }
        }
        self.bytes(key);
        match entry.value {
            Value::Inline(value) => self.bytes(value),
            Value::Large(large) => self.frame.extend_from_slice(&large.encode()),
        }
    }

    fn head(&mut self, tag: u8, tree: TreeId) {
        self.frame.push(tag);
        self.number(tree.0);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.frame.extend_from_slice(bytes);
    }

    fn number(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.frame.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.frame.push(n as u8);
    }
}

/// A batch ready to be appended; only its place in the log is missing.
#[derive(Debug)]
pub(crate) struct EncodedBatch {
    /// Room for the header, the operations, zeros up to the next multiple of eight.
    pub(super) frame: Vec<u8>,
    /// Bytes of the operations.
    pub(super) len: usize,
    pub(super) hash: u64,
}

impl EncodedBatch {
    #[cfg(test)]
    /// Bytes that the log grows by.
    pub(crate) fn frame_len(&self) -> usize {
        self.frame.len()
    }

    /// Bytes of the operations.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// An empty encoder that has this batch's buffer.
    pub(crate) fn into_encoder(mut self) -> BatchEncoder {
        self.frame.truncate(FRAME_HEADER);
        BatchEncoder { frame: self.frame }
    }
}

/// The operations of a commit that was read from the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'a> {
    bytes: &'a [u8],
    /// Where the bytes are from, for errors.
    path: &'a Path,
    offset: u64,
}

impl<'a> Batch<'a> {
    pub(super) fn new(bytes: &'a [u8], path: &'a Path, offset: u64) -> Batch<'a> {
        Batch { bytes, path, offset }
    }

    /// The operations in order; ends after the first error.
    pub(crate) fn ops(self) -> Ops<'a> {
        Ops {
            batch: self,
            rest: self.bytes,
        }
    }
}

/// The iterator of [`Batch::ops`].
#[derive(Debug)]
pub(crate) struct Ops<'a> {
    batch: Batch<'a>,
    rest: &'a [u8],
}

impl<'a> Iterator for Ops<'a> {
    type Item = Result<Op<'a>>;

    fn next(&mut self) -> Option<Result<Op<'a>>> {
        if self.rest.is_empty() {
            return None;
        }
        let at = self.batch.offset + (self.batch.bytes.len() - self.rest.len()) as u64;
        Some(self.decode().map_err(|what| {
            self.rest = &[];
            Error::corrupt(self.batch.path, Some(at), what)
        }))
    }
}

type Decoded<T> = std::result::Result<T, &'static str>;

impl<'a> Ops<'a> {
    fn decode(&mut self) -> Decoded<Op<'a>> {
        let tag = self.take(1)?[0];
        if tag == RUN {
            return Ok(Op::Run {
                large: self.large()?,
                bytes: self.bytes()?,
            });
        }
        let tree = TreeId(self.number()?);
        Ok(match tag {
            DELETE => Op::Delete {
                tree,
                key: self.bytes()?,
            },
            DELETE_RANGE => Op::DeleteRange {
                tree,
                start: self.bytes()?,
                end: Some(self.bytes()?),
            },
            DELETE_FROM => Op::DeleteRange {
                tree,
                start: self.bytes()?,
                end: None,
            },
            DROP_TREE => Op::DropTree { tree },
            _ => self.put(tag, tree)?,
        })
    }

    fn put(&mut self, tag: u8, tree: TreeId) -> Decoded<Op<'a>> {
        let kind = tag & !EXPIRES;
        if kind != PUT && kind != PUT_LARGE {
            return Err("an operation of the log has an unknown tag");
        }
        let expires = match tag & EXPIRES {
            0 => None,
            _ => Some(self.number()?),
        };
        let key = self.bytes()?;
        let value = if kind == PUT {
            Value::Inline(self.bytes()?)
        } else {
            Value::Large(self.large()?)
        };
        Ok(Op::Put {
            tree,
            key,
            entry: Entry { value, expires },
        })
    }

    fn large(&mut self) -> Decoded<LargeRef> {
        let bytes = self.take(LargeRef::LEN)?;
        Ok(LargeRef::decode(
            bytes.try_into().expect("as many bytes as were taken"),
        ))
    }

    fn bytes(&mut self) -> Decoded<&'a [u8]> {
        let len = self.number()?;
        self.take(usize::try_from(len).map_err(|_| "an operation of the log ends too early")?)
    }

    fn take(&mut self, n: usize) -> Decoded<&'a [u8]> {
        let (taken, rest) = self
            .rest
            .split_at_checked(n)
            .ok_or("an operation of the log ends too early")?;
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Decoded<u64> {
        let mut n = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err("a number in the log is too large");
            }
            n |= bits << shift;
            if byte < 0x80 {
                // Each number has one form only, so a batch that decodes is the batch that was encoded.
                return if byte == 0 && shift > 0 {
                    Err("a number in the log has a needless byte")
                } else {
                    Ok(n)
                };
            }
        }
        Err("a number in the log is too long")
    }
}

#[cfg(test)]
mod tests;
