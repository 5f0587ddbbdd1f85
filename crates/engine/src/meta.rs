//! The two meta pages: which checkpoint the file holds.
//!
//! A checkpoint writes the first one and flushes, which is the moment that it counts; then it writes the second one too, which the next flush
//! takes along, and that comes before the first one is written again. So one is valid at any time, at rest both say the same, and one that goes bad then is no loss.

use xxhash_rust::xxh3::xxh3_64;

use crate::ids::{Lsn, TreeId, TxId};
use crate::options::PageSize;
use crate::roots::Roots;
use crate::store::Extent;

/// "WEALDDB" and a byte that text transfers would change.
const MAGIC: [u8; 8] = *b"WEALDDB\x8a";
/// The format that is written, and the newest that is read. Entries of more than a quarter of a page came with the second.
pub(crate) const FORMAT: u32 = 2;
/// Meta page `i` begins at `i` times the page size; this much of it is used.
pub(crate) const LEN: usize = 512;

/// A run of pages that holds a list of the free pages, or one of filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) extent: Extent,
    pub(crate) bytes: u64,
    pub(crate) checksum: u64,
}

impl Blob {
    pub(crate) const EMPTY: Blob = Blob {
        extent: Extent { start: 0, len: 0 },
        bytes: 0,
        checksum: 0,
    };
}

/// What a meta page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) page_size: PageSize,
    /// Random, so that files of two databases are not taken for one another.
    pub(crate) database: u128,
    /// Counts checkpoints: the greater one is the newer one.
    pub(crate) checkpoint: u64,
    /// When the checkpoint was made, in milliseconds since 1970.
    pub(crate) time_ms: u64,
    /// Pages of the file that are in use or free; what lies beyond is of no meaning.
    pub(crate) end: u64,
    /// Whether there is a log, so that its absence is noticed. A database that was closed has none.
    pub(crate) logged: bool,
    pub(crate) free: Blob,
    pub(crate) filters: Blob,
    pub(crate) roots: Roots,
}

/// Why a meta page can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetaFault {
    /// These are not the bytes of a meta page.
    Foreign,
    /// They were, and are damaged.
    Damaged,
    /// A later version of Weald wrote them.
    Format(u32),
}

impl Meta {
    /// Where the log has to be replayed from.
    pub(crate) fn replay_from(&self) -> Lsn {
        self.roots.lsn
    }

    pub(crate) fn encode(&self) -> [u8; LEN] {
        let mut out = Vec::with_capacity(LEN);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&(self.page_size.bytes() as u32).to_le_bytes());
        out.extend_from_slice(&self.database.to_le_bytes());
        let blob = |b: Blob| [b.extent.start, b.extent.len, b.bytes, b.checksum];
        let words = [self.checkpoint, self.time_ms, self.end, u64::from(self.logged)].into_iter();
        let words = words
            .chain(blob(self.free))
            .chain(blob(self.filters))
            .chain(self.roots.to_words());
        words.for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
        out.resize(LEN - 8, 0);
        out.extend_from_slice(&xxh3_64(&out).to_le_bytes());
        out.try_into()
            .expect("the fields and the padding make up the length")
    }

    pub(crate) fn decode(bytes: &[u8; LEN]) -> Result<Meta, MetaFault> {
        if bytes[..8] != MAGIC {
            return Err(MetaFault::Foreign);
        }
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if xxh3_64(&bytes[..LEN - 8]) != word(LEN - 8) {
            return Err(MetaFault::Damaged);
        }
        let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        if !(1..=FORMAT).contains(&half(8)) {
            return Err(MetaFault::Format(half(8)));
        }
        let page_size = PageSize::from_bytes(u64::from(half(12))).ok_or(MetaFault::Damaged)?;
        let blob = |at: usize| Blob {
            extent: Extent {
                start: word(at),
                len: word(at + 8),
            },
            bytes: word(at + 16),
            checksum: word(at + 24),
        };
        let roots: [u64; Roots::WORDS] = std::array::from_fn(|i| word(128 + i * 8));
        let roots = Roots::from_words(&roots);
        let checkpoint = word(32);
        let counted = checkpoint <= TxId::MAX.0
            && roots.txid <= TxId::MAX
            && roots.lsn <= Lsn::MAX
            && roots.next_tree <= TreeId::MAX.0;
        if !counted {
            return Err(MetaFault::Damaged);
        }
        Ok(Meta {
            page_size,
            database: u128::from_le_bytes(bytes[16..32].try_into().expect("sixteen bytes")),
            checkpoint,
            time_ms: word(40),
            end: word(48),
            logged: word(56) != 0,
            free: blob(64),
            filters: blob(96),
            roots,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        let mut roots = Roots::empty();
        roots.txid = TxId(3);
        roots.lsn = Lsn(4);
        Meta {
            page_size: PageSize::Size8K,
            database: 1 << 100 | 5,
            checkpoint: 6,
            time_ms: 7,
            end: 8,
            logged: true,
            free: Blob {
                extent: Extent { start: 9, len: 10 },
                bytes: 11,
                checksum: 12,
            },
            filters: Blob {
                extent: Extent { start: 13, len: 14 },
                bytes: 15,
                checksum: 16,
            },
            roots,
        }
    }

    #[test]
    fn encoded_and_back() {
        assert_eq!(Meta::decode(&meta().encode()), Ok(meta()));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = meta().encode();
        for bit in 0..LEN * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Meta::decode(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn numbers_that_nothing_counts_up_to_are_damage() {
        let spoilt: [fn(&mut Meta); 4] = [
            |meta| meta.checkpoint = u64::MAX,
            |meta| meta.roots.txid = TxId(u64::MAX),
            |meta| meta.roots.lsn = Lsn(u64::MAX - 7),
            |meta| meta.roots.next_tree = u64::MAX,
        ];
        for (at, spoil) in spoilt.into_iter().enumerate() {
            let mut meta = meta();
            spoil(&mut meta);
            assert_eq!(Meta::decode(&meta.encode()), Err(MetaFault::Damaged), "{at}");
        }
    }

    #[test]
    fn a_later_format_says_so() {
        let mut later = meta().encode();
        later[8] = FORMAT as u8 + 1;
        let checksum = xxh3_64(&later[..LEN - 8]).to_le_bytes();
        later[LEN - 8..].copy_from_slice(&checksum);
        assert_eq!(Meta::decode(&later), Err(MetaFault::Format(FORMAT + 1)));
    }
}
