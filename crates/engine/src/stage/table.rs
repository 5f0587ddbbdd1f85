//! Where the last operation on each key is, as long as nobody asks for an order: a hash table over the log.
//!
//! A transaction that looks up what it has written, and writes by keys only, pays a probe for each instead of a place in the order. The order is made once, when
//! it commits.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::log::{Log, NO_OP, OpNumber};
use crate::ids::TreeId;

/// Slots of the smallest table.
const SLOTS_MIN: usize = 16;

/// Half of the hash of a key and the number of the last operation on it; the number is [`NO_OP`] in a free slot.
#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    op: OpNumber,
}

const FREE: Slot = Slot { hash: 0, op: NO_OP };

/// The last operation on each key of a log that has only puts, deletes and merges.
#[derive(Debug)]
pub(super) struct Table {
    /// A power of two of them, at most half of which are taken.
    slots: Vec<Slot>,
    taken: usize,
}

impl Table {
    pub(super) fn of(log: &Log) -> Table {
        let slots = (log.len() * 2).next_power_of_two().max(SLOTS_MIN);
        let mut table = Table {
            slots: vec![FREE; slots],
            taken: 0,
        };
        (0..log.len() as OpNumber).for_each(|op| table.insert(log, op));
        table
    }

    /// Takes in an operation of the log: from now on it is the last one on its key.
    pub(super) fn insert(&mut self, log: &Log, op: OpNumber) {
        if self.taken * 2 >= self.slots.len() {
            self.grow();
        }
        let (tree, key) = (log.tree(op), log.key(op));
        let hash = hash(tree, key);
        let at = self.place(log, tree, key, hash);
        self.taken += usize::from(self.slots[at].op == NO_OP);
        self.slots[at] = Slot { hash, op };
    }

    /// The last operation on `key`.
    pub(super) fn find(&self, log: &Log, tree: TreeId, key: &[u8]) -> Option<OpNumber> {
        let at = self.place(log, tree, key, hash(tree, key));
        let op = self.slots[at].op;
        (op != NO_OP).then_some(op)
    }

    /// The slot of a key, or the free one where it belongs.
    fn place(&self, log: &Log, tree: TreeId, key: &[u8], hash: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            let is_it = slot.hash == hash && slot.op != NO_OP;
            if slot.op == NO_OP || is_it && log.tree(slot.op) == tree && log.key(slot.op) == key {
                return at;
            }
            at = (at + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let slots = vec![FREE; self.slots.len() * 2];
        let old = std::mem::replace(&mut self.slots, slots);
        let mask = self.slots.len() - 1;
        for slot in old.into_iter().filter(|slot| slot.op != NO_OP) {
            let mut at = slot.hash as usize & mask;
            while self.slots[at].op != NO_OP {
                at = (at + 1) & mask;
            }
            self.slots[at] = slot;
        }
    }

    /// Bytes of memory that it fills.
    pub(super) fn bytes(&self) -> usize {
        self.slots.len() * size_of::<Slot>()
    }
}

fn hash(tree: TreeId, key: &[u8]) -> u32 {
    // Nobody outside knows it, so nobody can choose keys that meet in one slot.
    static SEED: OnceLock<u64> = OnceLock::new();
    let seed = SEED.get_or_init(|| RandomState::new().build_hasher().finish());
    (xxh3_64_with_seed(key, seed ^ tree.0) >> 32) as u32
}
