//! Keys and entries of all shapes, from a seed.

use crate::ids::{PageId, PagePtr, TxId};
use crate::op::{Entry, LargeRef, Value};
use crate::tree::{max_inline, max_key_len};

/// A small, fast generator (SplitMix64).
#[derive(Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Keys {
    /// Sixteen random bytes.
    Random,
    /// Big-endian numbers, few of them.
    Dense,
    /// Few letters and zero bytes, any length: many equal heads, prefixes of each other, the empty key.
    Ragged,
    /// A hundred bytes in common.
    LongPrefix,
    /// As long as can be, or nearly.
    Longest,
    /// A few kinds of long prefixes that differ late.
    Nested,
}

pub(super) const ALL_KEYS: [Keys; 6] = [
    Keys::Random,
    Keys::Dense,
    Keys::Ragged,
    Keys::LongPrefix,
    Keys::Longest,
    Keys::Nested,
];

impl Keys {
    pub(super) fn make(self, random: &mut Random, page_size: usize) -> Vec<u8> {
        match self {
            Keys::Random => random.bytes(16),
            Keys::Dense => (random.below(3000) as u64).to_be_bytes().to_vec(),
            Keys::Ragged => {
                let len = random.below(12);
                (0..len).map(|_| [0, 0, b'a', 255][random.below(4)]).collect()
            }
            Keys::LongPrefix => {
                let mut key = vec![b'x'; 100];
                key.extend(random.bytes(3));
                key
            }
            Keys::Longest => {
                let max = max_key_len(page_size);
                let mut key = vec![b'k'; max - random.below(3)];
                let at = [0, max / 2, max - 6][random.below(3)];
                key[at] = random.next() as u8;
                key[at + 1] = random.next() as u8;
                key
            }
            Keys::Nested => {
                let mut key = vec![b'p'; [0, 30, 60, 90][random.below(4)]];
                key.push(random.below(3) as u8);
                key.extend(vec![b'q'; 20]);
                key.extend(&random.bytes(4)[..random.clone().below(5)]);
                key
            }
        }
    }
}

/// An entry that owns its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owned {
    Inline(Vec<u8>, Option<u64>),
    Large(LargeRef, Option<u64>),
}

impl Owned {
    pub(super) fn random(random: &mut Random, page_size: usize, key: &[u8]) -> Owned {
        let expires = random.chance(20).then(|| random.next());
        if random.chance(10) {
            let large = LargeRef {
                first: PagePtr::new(PageId(random.next() >> 24), TxId(random.next())),
                len: random.next(),
                checksum: random.next(),
            };
            return Owned::Large(large, expires);
        }
        let max = max_inline(page_size, key.len());
        let len = match random.below(10) {
            0 => max,
            1 => random.below(max + 1),
            2 => 0,
            _ => random.below(max.min(200) + 1),
        };
        Owned::Inline(random.bytes(len), expires)
    }

    pub(super) fn entry(&self) -> Entry<'_> {
        match self {
            Owned::Inline(bytes, expires) => Entry {
                value: Value::Inline(bytes),
                expires: *expires,
            },
            Owned::Large(large, expires) => Entry {
                value: Value::Large(*large),
                expires: *expires,
            },
        }
    }

    pub(super) fn large(&self) -> Option<LargeRef> {
        match self {
            Owned::Large(large, _) => Some(*large),
            Owned::Inline(..) => None,
        }
    }
}
