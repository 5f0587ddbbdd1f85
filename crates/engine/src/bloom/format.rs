//! The bytes of a filter in the file: a header and groups of blocks, 4 KiB each, so that they fill pages of every size.
//!
//! `docs/format-bloom.md` has the tables.
//!
//! A group of another image does not pass, even one of the same filter: an older one lacks keys.

use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{BLOCK_WORDS, Bloom, PROBES_MAX};
use crate::ids::{TreeId, TxId};

/// Bytes of the header, and of each group.
pub(crate) const GROUP: usize = 4096;

const MAGIC: [u8; 8] = *b"WealdBlm";
const VERSION: u32 = 1;
const HEADER_FIELDS: usize = 80;
const BLOCK: usize = BLOCK_WORDS * 8;
const GROUP_BLOCKS: usize = 63;
const GROUP_DATA: usize = GROUP_BLOCKS * BLOCK;

/// What is wrong with the bytes of a filter. The tree is whole without it: a filter that can't be read is built anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BloomError {
    #[error("the Bloom filter does not begin with its magic number")]
    Magic,
    #[error("the Bloom filter has version {0}, which this program does not know")]
    Version(u32),
    #[error("the header of the Bloom filter does not match its checksum")]
    Header,
    #[error("the Bloom filter has impossible parameters")]
    Parameters,
    #[error("the Bloom filter has {actual} bytes instead of {expected}")]
    Length { expected: u64, actual: u64 },
    #[error("group {0} of the Bloom filter does not match its checksum")]
    Group(u64),
}

/// What a filter's image begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BloomHeader {
    probes: u32,
    seed: u64,
    blocks: u64,
    capacity: u64,
    inserted: u64,
    deleted: u64,
    valid_from: TxId,
    /// The commit up to which all keys are in the image. Those of later commits are to be inserted again.
    pub(crate) as_of: TxId,
    /// The tree whose keys these are.
    pub(crate) tree: TreeId,
    checksum: u64,
}

impl BloomHeader {
    /// How many groups follow the header.
    pub(crate) fn groups(&self) -> u64 {
        self.blocks.div_ceil(GROUP_BLOCKS as u64)
    }

    /// Bytes of the whole image.
    pub(crate) fn image_len(&self) -> u64 {
        (self.groups() + 1) * GROUP as u64
    }

    fn fields(&self) -> [u8; HEADER_FIELDS] {
        let mut out = [0; HEADER_FIELDS];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&self.probes.to_le_bytes());
        let words = [
            self.seed,
            self.blocks,
            self.capacity,
            self.inserted,
            self.deleted,
            self.valid_from.0,
            self.as_of.0,
            self.tree.0,
        ];
        for (field, word) in out[16..].chunks_exact_mut(8).zip(words) {
            field.copy_from_slice(&word.to_le_bytes());
        }
        out
    }

    pub(crate) fn encode(&self) -> [u8; GROUP] {
        let mut out = [0; GROUP];
        out[..HEADER_FIELDS].copy_from_slice(&self.fields());
        out[HEADER_FIELDS..HEADER_FIELDS + 8].copy_from_slice(&self.checksum.to_le_bytes());
        out
    }

    /// Reads the header of an image that has `image_len` bytes in the file, by which the memory for it is bounded.
    pub(crate) fn decode(bytes: &[u8; GROUP], image_len: u64) -> Result<BloomHeader, BloomError> {
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if bytes[..8] != MAGIC {
            return Err(BloomError::Magic);
        }
        let checksum = word(HEADER_FIELDS);
        let padding = &bytes[HEADER_FIELDS + 8..];
        if xxh3_64(&bytes[..HEADER_FIELDS]) != checksum || padding.iter().any(|byte| *byte != 0) {
            return Err(BloomError::Header);
        }
        // Version and probes share a word; little-endian, the version is the low half.
        let (version, probes) = (word(8) as u32, (word(8) >> 32) as u32);
        if version != VERSION {
            return Err(BloomError::Version(version));
        }
        let header = BloomHeader {
            probes,
            seed: word(16),
            blocks: word(24),
            capacity: word(32),
            inserted: word(40),
            deleted: word(48),
            valid_from: TxId(word(56)),
            as_of: TxId(word(64)),
            tree: TreeId(word(72)),
            checksum,
        };
        // A checksum can be forged, so the bounds of the arithmetic that follows are checked too.
        let blocks_max = (image_len / GROUP as u64).saturating_mul(GROUP_BLOCKS as u64);
        if !(1..=PROBES_MAX).contains(&probes) || header.blocks == 0 {
            return Err(BloomError::Parameters);
        }
        if header.blocks > blocks_max || header.image_len() != image_len {
            let expected = header.blocks.div_ceil(GROUP_BLOCKS as u64).saturating_add(1);
            return Err(BloomError::Length {
                expected: expected.saturating_mul(GROUP as u64),
                actual: image_len,
            });
        }
        Ok(header)
    }

    /// Reads the header of an image that is followed by others, all in `available` bytes.
    pub(crate) fn decode_within(bytes: &[u8; GROUP], available: u64) -> Result<BloomHeader, BloomError> {
        let blocks = u64::from_le_bytes(bytes[24..32].try_into().expect("eight bytes"));
        let groups = blocks.div_ceil(GROUP_BLOCKS as u64).saturating_add(1);
        let image_len = groups.saturating_mul(GROUP as u64);
        if image_len > available {
            return Err(BloomError::Length {
                expected: image_len,
                actual: available,
            });
        }
        BloomHeader::decode(bytes, image_len)
    }

    fn group_checksum(&self, group: u64, data: &[u8]) -> u64 {
        xxh3_64_with_seed(data, self.checksum.wrapping_add(group))
    }
}

impl Bloom {
    /// The header of an image of the filter, which has all keys up to `as_of`. Keys may go on being inserted while the groups are
    /// [encoded](Bloom::encode_group).
    pub(crate) fn header(&self, as_of: TxId) -> BloomHeader {
        let mut header = BloomHeader {
            probes: self.probes,
            seed: self.seed,
            blocks: self.blocks.len() as u64,
            capacity: self.capacity,
            inserted: self.inserted(),
            deleted: self.deleted.load(Ordering::Relaxed),
            valid_from: self.valid_from(),
            as_of,
            tree: self.tree,
            checksum: 0,
        };
        header.checksum = xxh3_64(&header.fields());
        header
    }

    /// The bytes of a group of the image that `header` begins. The filter must be [ready](Bloom::is_ready).
    pub(crate) fn encode_group(&self, header: &BloomHeader, group: u64) -> [u8; GROUP] {
        debug_assert!(
            self.is_ready(),
            "what is not loaded yet would be missing from the image"
        );
        let mut out = [0; GROUP];
        let blocks = self
            .blocks
            .chunks(GROUP_BLOCKS)
            .nth(group as usize)
            .unwrap_or_default();
        let words = blocks.iter().flat_map(|block| &block.0);
        for (bytes, word) in out.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        let checksum = header.group_checksum(group, &out[..GROUP_DATA]);
        out[GROUP_DATA..GROUP_DATA + 8].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// An empty filter that waits for the groups of its image. Keys can be inserted at once.
    pub(crate) fn from_header(header: &BloomHeader) -> Bloom {
        let groups = header.groups();
        let mut bloom = Bloom::with_blocks(
            header.tree,
            header.blocks,
            header.probes,
            header.seed,
            header.capacity,
            header.valid_from,
        );
        bloom.inserted = AtomicU64::new(header.inserted);
        bloom.deleted = AtomicU64::new(header.deleted);
        let missing_in = |word: u64| match groups - word * 64 {
            0..64 => (1 << (groups - word * 64)) - 1,
            _ => u64::MAX,
        };
        bloom.missing = (0..groups.div_ceil(64))
            .map(|word| AtomicU64::new(missing_in(word)))
            .collect();
        bloom.missing_len = AtomicU64::new(groups);
        bloom
    }

    /// Takes in a group of the image that `header` begins; once all are in, the filter is ready. Any thread may do it, in any order,
    /// twice too.
    pub(crate) fn absorb(
        &self,
        header: &BloomHeader,
        group: u64,
        bytes: &[u8; GROUP],
    ) -> Result<(), BloomError> {
        let (data, tail) = bytes.split_at(GROUP_DATA);
        let checksum = header.group_checksum(group, data).to_le_bytes();
        if group >= header.groups() || tail[..8] != checksum || tail[8..].iter().any(|byte| *byte != 0) {
            return Err(BloomError::Group(group));
        }
        if header.blocks != self.blocks.len() as u64
            || header.seed != self.seed
            || header.probes != self.probes
        {
            return Err(BloomError::Parameters);
        }
        let blocks = self
            .blocks
            .chunks(GROUP_BLOCKS)
            .nth(group as usize)
            .unwrap_or_default();
        let words = blocks.iter().flat_map(|block| &block.0);
        for (word, bytes) in words.zip(data.chunks_exact(8)) {
            let bits = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
            word.fetch_or(bits, Ordering::Relaxed);
        }
        let Some(missing) = self.missing.get((group / 64) as usize) else {
            return Ok(());
        };
        let bit = 1 << (group % 64);
        // The chain of decrements passes the bits of every group on to whoever takes in the last one, whose release store passes
        // them to the readers of `ready`.
        if missing.fetch_and(!bit, Ordering::Relaxed) & bit != 0
            && self.missing_len.fetch_sub(1, Ordering::AcqRel) == 1
        {
            self.ready.store(true, Ordering::Release);
        }
        Ok(())
    }
}
