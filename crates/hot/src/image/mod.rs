//! Persist points: images of a region's map in a file that survives the machine's restart.
//!
//! Memory that is mapped can't be made durable bit by bit: the kernel writes its pages when it likes, in no order. So a persist point is an image beside it:
//! everything that a view sees, written to a fresh file, flushed, and given the image's name. A crash at any instant leaves the last complete point
//! under that name. Tables, index and free lists aren't in it: they are built anew from the entries.
//!
//! ```text
//!  header    0  magic   8  version   16  number of the point   24  milliseconds since 1970   32  keys   40  bytes of the entries   48  checksum
//!  from 4096 on, each at a multiple of 4096, blocks:
//!            0  magic   8  number of the point   16  number of the block   24  length   32  entries   40  checksum of what is before and behind
//!           48  entries: length of the key (4), of the value (8), time of expiry or 0 (8), key, value
//! ```
//!
//! All numbers are little-endian; the checksums are XXH3. A block that is damaged takes its own entries with it and no others: the next one is found by its
//! magic and number.

mod persistent;
mod read;
mod write;

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use xxhash_rust::xxh3::Xxh3;

use crate::error::Error;

pub(crate) use persistent::Image;
pub use persistent::{Opened, Reason};

const MAGIC: &[u8; 8] = b"WEALDIMG";
const BLOCK_MAGIC: &[u8; 8] = b"WEALDBLK";
const VERSION: u64 = 1;
/// Blocks begin at multiples of this.
const ALIGNMENT: u64 = 4096;
const BLOCK_HEADER: usize = 48;
/// Bytes of entries after which a block ends. An entry lies in one block, however long it is.
const BLOCK_LEN: usize = 256 << 10;
const ENTRY_HEADER: usize = 20;

/// A persist point that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PersistPoint {
    /// Points are counted from 1.
    pub number: u64,
    /// When it was.
    pub time: SystemTime,
    /// Keys in it.
    pub keys: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// What came back from an image, and what did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The point, as its header says; `None` where that is damaged. What was written after it is lost.
    pub point: Option<PersistPoint>,
    /// Keys that are back.
    pub keys: u64,
    /// Keys that have expired since.
    pub expired: u64,
    /// Keys of the point that are lost with damaged parts of the image; `None` where the header, which has their number, is damaged.
    pub lost: Option<u64>,
    /// Bytes of the image that are damaged.
    pub damaged_bytes: u64,
}

fn io_error(operation: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::io(operation, source)
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// The header of an image; 56 bytes.
fn encode_header(point: &PersistPoint) -> Vec<u8> {
    let since = point.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let numbers = [
        VERSION,
        point.number,
        since.as_millis() as u64,
        point.keys,
        point.bytes,
    ];
    let mut header = MAGIC.to_vec();
    header.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    header.extend(checksum(&[&header]).to_le_bytes());
    header
}

fn decode_header(header: &[u8]) -> Option<PersistPoint> {
    let sum = checksum(&[header.get(..48)?]);
    let is_right = &header[..8] == MAGIC && number(header.get(48..56)?) == sum;
    let time = UNIX_EPOCH.checked_add(Duration::from_millis(number(&header[24..32])))?;
    (is_right && number(&header[8..16]) == VERSION).then_some(PersistPoint {
        number: number(&header[16..24]),
        time,
        keys: number(&header[32..40]),
        bytes: number(&header[40..48]),
    })
}

fn checksum(parts: &[&[u8]]) -> u64 {
    let mut sum = Xxh3::new();
    parts.iter().for_each(|part| sum.update(part));
    sum.digest()
}

#[cfg(test)]
mod tests;
