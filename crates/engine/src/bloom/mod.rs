//! A blocked Bloom filter over the keys of one tree: most look-ups of absent keys end here, after one cache line.
//!
//! All bits of a key are in one block of 64 bytes. Bits are set and never cleared, so that the filter holds for every snapshot from
//! [`valid_from`](Bloom::valid_from) on; deleted keys stay in it until it is rebuilt. [`format`] has its bytes in the file: they
//! can be taken in piece by piece while keys are inserted, and until all of them are in, the filter answers "maybe" to everything.
//!
//! **Orderings.** Bits are set and read relaxed. What makes them visible is the publication of the root that has the key: the writer
//! inserts, then stores the root with release; a reader loads the root with acquire, then asks. Threads that insert for one
//! commit must join its publisher in the same way. An insert does not write where all bits are set already: that is sound
//! because a relaxed load that saw a bit happens before the publication too, so that a later load of the same word can't see an
//! older value. Loading pairs apart from that, through `missing` and `ready`.
//!
//! **Price.** At 10 bits per key about 1 % of the absent keys still go to the tree. A blocked filter needs about a tenth more bits
//! than a plain one for that, and touches one cache line instead of seven.

pub(crate) mod format;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::ids::{TreeId, TxId};

const BLOCK_WORDS: usize = 8;
const BLOCK_BITS: u64 = 512;

/// Bits that a 64-bit hash yields, at nine bits of hash each.
const PROBES_MAX: u32 = 7;

/// Bits per key for about 1 % false positives.
pub(crate) const BITS_PER_KEY: u32 = 10;

#[derive(Debug, Default)]
#[repr(align(64))]
struct Block([AtomicU64; BLOCK_WORDS]);

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Bloom {
    tree: TreeId,
    blocks: Box<[Block]>,
    probes: u32,
    seed: u64,
    capacity: u64,
    valid_from: AtomicU64,
    inserted: AtomicU64,
    deleted: AtomicU64,
    /// A bit for each group of persisted blocks that is still to be taken in.
    missing: Box<[AtomicU64]>,
    missing_len: AtomicU64,
    ready: AtomicBool,
}

impl Bloom {
    /// An empty filter for `capacity` keys of a tree. `valid_from` is the first commit whose snapshots may ask it: the caller inserts the keys
    /// of that commit and of all later ones.
    ///
    /// Bits per key are taken as 1 to 64. The caller bounds `capacity × bits_per_key`: it is memory.
    pub(crate) fn new(tree: TreeId, capacity: u64, bits_per_key: u32, seed: u64, valid_from: TxId) -> Bloom {
        let bits_per_key = bits_per_key.clamp(1, 64);
        // ln 2 × bits per key is the optimum of a plain filter; a blocked one is past it a little earlier.
        let probes = (bits_per_key * 6 / 10).clamp(1, PROBES_MAX);
        let blocks = capacity
            .saturating_mul(bits_per_key.into())
            .div_ceil(BLOCK_BITS)
            .max(1);
        let bloom = Bloom::with_blocks(tree, blocks, probes, seed, capacity, valid_from);
        bloom.ready.store(true, Ordering::Relaxed);
        bloom
    }

    fn with_blocks(
        tree: TreeId,
        blocks: u64,
        probes: u32,
        seed: u64,
        capacity: u64,
        valid_from: TxId,
    ) -> Bloom {
        Bloom {
            tree,
            blocks: (0..blocks).map(|_| Block::default()).collect(),
            probes,
            seed,
            capacity,
            valid_from: AtomicU64::new(valid_from.0),
            inserted: AtomicU64::new(0),
            deleted: AtomicU64::new(0),
            missing: Box::default(),
            missing_len: AtomicU64::new(0),
            ready: AtomicBool::new(false),
        }
    }

    /// The hash by which this filter knows a key.
    #[inline]
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        xxh3_64_with_seed(key, self.seed)
    }

    #[inline]
    fn block(&self, hash: u64) -> &Block {
        // The high half of the product is an even choice of a block, by the high bits of the hash.
        let block = (u128::from(hash) * self.blocks.len() as u128) >> 64;
        &self.blocks[block as usize]
    }

    /// The bits of a key, as (word, mask) pairs. They come from all bits of the hash, mixed anew, so that keys of one block
    /// differ in them.
    #[inline]
    fn bits(&self, hash: u64) -> impl Iterator<Item = (usize, u64)> + use<> {
        let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = mixed ^ (mixed >> 29);
        (0..self.probes).map(move |probe| {
            let bit = (mixed >> (probe * 9)) & (BLOCK_BITS - 1);
            ((bit >> 6) as usize, 1 << (bit & 63))
        })
    }

    /// Adds a key by its hash.
    #[inline]
    pub(crate) fn insert(&self, hash: u64) {
        let block = self.block(hash);
        let mut added = false;
        for (word, mask) in self.bits(hash) {
            let word = &block.0[word];
            if word.load(Ordering::Relaxed) & mask == 0 {
                added |= word.fetch_or(mask, Ordering::Relaxed) & mask == 0;
            }
        }
        if added {
            self.inserted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The same in a filter that nobody else has yet. Atomic changes would make each key wait for the memory of the one before.
    #[inline]
    pub(crate) fn insert_alone(&self, hash: u64) {
        let block = self.block(hash);
        let mut added = 0;
        for (word, mask) in self.bits(hash) {
            let word = &block.0[word];
            let was = word.load(Ordering::Relaxed);
            added |= mask & !was;
            word.store(was | mask, Ordering::Relaxed);
        }
        let inserted = self.inserted() + u64::from(added != 0);
        self.inserted.store(inserted, Ordering::Relaxed);
    }

    /// Whether the key with this hash may be there; `false` is certain.
    #[inline]
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        let block = self.block(hash);
        let mut missing = 0;
        for (word, mask) in self.bits(hash) {
            missing |= !block.0[word].load(Ordering::Relaxed) & mask;
        }
        missing == 0 || !self.is_ready()
    }

    /// Whether all persisted blocks are in. Until then every key may be there.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        // Pairs with the release store in `absorb`.
        self.ready.load(Ordering::Acquire)
    }

    /// The first commit whose snapshot this filter speaks for: keys that were deleted before it are not in it.
    pub(crate) fn valid_from(&self) -> TxId {
        TxId(self.valid_from.load(Ordering::Relaxed))
    }

    /// Moves [`valid_from`](Self::valid_from), before anybody asks the filter: the snapshot that it is filled from is known later than it begins to take in
    /// the keys of commits.
    pub(crate) fn set_valid_from(&self, txid: TxId) {
        self.valid_from.store(txid.0, Ordering::Relaxed);
    }

    /// Whether look-ups in this snapshot may ask the filter.
    pub(crate) fn speaks_for(&self, snapshot: TxId) -> bool {
        snapshot >= self.valid_from()
    }

    #[cfg(test)]
    /// How many keys it was made for.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// How many keys were inserted, without those that changed nothing: keys that were there already, and the few that looked like it.
    pub(crate) fn inserted(&self) -> u64 {
        self.inserted.load(Ordering::Relaxed)
    }

    /// Notes that `keys` keys of the tree were deleted. They stay in the filter.
    pub(crate) fn note_deleted(&self, keys: u64) {
        self.deleted.fetch_add(keys, Ordering::Relaxed);
    }

    /// Whether a rebuilt filter would pay: it holds more keys than it was made for, or half of what it holds is gone.
    pub(crate) fn is_spoilt(&self) -> bool {
        let inserted = self.inserted();
        inserted > self.capacity || self.deleted.load(Ordering::Relaxed) > inserted / 2
    }

    /// The share of absent keys that the filter does not recognise, from 0 to 1, by how full its blocks are.
    pub(crate) fn false_positive_rate(&self) -> f64 {
        if !self.is_ready() {
            return 1.0;
        }
        // A thousand blocks, evenly spread, are as good as all.
        let step = self.blocks.len().div_ceil(1024);
        let mut sampled = 0;
        let mut sum = 0.0;
        for block in self.blocks.iter().step_by(step) {
            let set: u32 = block
                .0
                .iter()
                .map(|word| word.load(Ordering::Relaxed).count_ones())
                .sum();
            sum += (f64::from(set) / BLOCK_BITS as f64).powi(self.probes as i32);
            sampled += 1;
        }
        sum / f64::from(sampled)
    }

    /// Bytes of memory of the blocks.
    pub(crate) fn bytes(&self) -> usize {
        self.blocks.len() * size_of::<Block>()
    }
}
