//! A sorted list of operation numbers in blocks: a change moves at most one block, a look-up is two binary searches.

use std::cmp::Ordering;

use super::log::{Log, OpNumber};

/// Slots of a full block: 8 KiB.
const BLOCK: usize = 512;

/// A place in the order of the keys: a staged point, or a deleted range.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// The first bytes of the key, so that most comparisons need not go to the arena.
    pub(super) prefix: u64,
    /// The operation that has the key: for a range, the one that has its start.
    pub(super) op: OpNumber,
    /// For a range, the operation that has its end.
    pub(super) end: OpNumber,
}

impl Slot {
    #[inline]
    fn cmp(&self, log: &Log, prefix: u64, key: &[u8]) -> Ordering {
        self.prefix.cmp(&prefix).then_with(|| log.key(self.op).cmp(key))
    }
}

/// The place of a slot; of the end, when the block is one past the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    block: usize,
    slot: usize,
}

/// Slots in ascending order of their keys, no two with the same key.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// None of them is empty.
    blocks: Vec<Vec<Slot>>,
}

impl Slots {
    pub(super) fn from_sorted(slots: Vec<Slot>) -> Slots {
        let blocks = match slots.len() {
            0 => Vec::new(),
            1..=BLOCK => vec![slots],
            _ => slots.chunks(BLOCK).map(<[Slot]>::to_vec).collect(),
        };
        Slots { blocks }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.iter().map(Vec::len).sum()
    }

    pub(super) fn start(&self) -> Position {
        Position { block: 0, slot: 0 }
    }

    pub(super) fn end(&self) -> Position {
        Position {
            block: self.blocks.len(),
            slot: 0,
        }
    }

    /// The first slot whose key is not less than `key`.
    pub(super) fn lower_bound(&self, log: &Log, key: &[u8]) -> Position {
        self.partition_point(log, key, Ordering::is_lt)
    }

    /// The first slot whose key is greater than `key`.
    pub(super) fn upper_bound(&self, log: &Log, key: &[u8]) -> Position {
        self.partition_point(log, key, Ordering::is_le)
    }

    #[inline]
    fn partition_point(&self, log: &Log, key: &[u8], before: fn(Ordering) -> bool) -> Position {
        let prefix = log.prefix(key);
        let is_before = |slot: &Slot| before(slot.cmp(log, prefix, key));
        // Keys often come in order: then the end is the place.
        if let Some(last) = self.blocks.last().and_then(|block| block.last())
            && is_before(last)
        {
            return self.end();
        }
        let block = self
            .blocks
            .partition_point(|block| block.last().is_some_and(is_before));
        let slot = self
            .blocks
            .get(block)
            .map_or(0, |block| block.partition_point(is_before));
        Position { block, slot }
    }

    /// The slot of exactly this key.
    pub(super) fn find(&self, log: &Log, key: &[u8]) -> Result<Position, Position> {
        let at = self.lower_bound(log, key);
        match self.get(at) {
            Some(slot) if slot.cmp(log, log.prefix(key), key).is_eq() => Ok(at),
            _ => Err(at),
        }
    }

    pub(super) fn get(&self, at: Position) -> Option<&Slot> {
        self.blocks.get(at.block)?.get(at.slot)
    }

    pub(super) fn get_mut(&mut self, at: Position) -> Option<&mut Slot> {
        self.blocks.get_mut(at.block)?.get_mut(at.slot)
    }

    /// The place after a slot: the end after the last slot.
    pub(super) fn after(&self, at: Position) -> Position {
        let block = self.blocks.get(at.block).map_or(0, Vec::len);
        if at.slot + 1 < block {
            Position {
                block: at.block,
                slot: at.slot + 1,
            }
        } else {
            Position {
                block: (at.block + 1).min(self.blocks.len()),
                slot: 0,
            }
        }
    }

    /// The place before a slot or before the end; `None` before the first slot.
    pub(super) fn before(&self, at: Position) -> Option<Position> {
        if at.slot > 0 {
            return Some(Position {
                block: at.block,
                slot: at.slot - 1,
            });
        }
        let block = at.block.checked_sub(1)?;
        let slot = self.blocks[block].len() - 1;
        Some(Position { block, slot })
    }

    /// Puts a slot before the one at `at`, which a search for its key has given.
    pub(super) fn insert(&mut self, at: Position, slot: Slot) {
        if at == self.end() {
            // Blocks that are filled in order stay full.
            match self.blocks.last_mut() {
                Some(last) if last.len() < BLOCK => last.push(slot),
                _ => self.blocks.push(vec![slot]),
            }
            return;
        }
        let block = &mut self.blocks[at.block];
        if block.len() < BLOCK {
            block.insert(at.slot, slot);
            return;
        }
        let mut upper = block.split_off(BLOCK / 2);
        match at.slot.checked_sub(BLOCK / 2) {
            Some(i) => upper.insert(i, slot),
            None => block.insert(at.slot, slot),
        }
        self.blocks.insert(at.block + 1, upper);
    }

    pub(super) fn remove(&mut self, at: Position) {
        self.blocks[at.block].remove(at.slot);
        if self.blocks[at.block].is_empty() {
            self.blocks.remove(at.block);
        }
    }

    /// Takes out the slots from `from` up to but without `to`.
    pub(super) fn drain(&mut self, from: Position, to: Position) -> Vec<Slot> {
        if from >= to {
            return Vec::new();
        }
        if from.block == to.block {
            let removed = self.blocks[from.block].drain(from.slot..to.slot).collect();
            self.drop_empty(from.block);
            return removed;
        }
        let mut removed = self.blocks[from.block].split_off(from.slot);
        for block in self.blocks.drain(from.block + 1..to.block) {
            removed.extend(block);
        }
        // The middle is gone, so what was block `to` follows block `from` now.
        if let Some(last) = self.blocks.get_mut(from.block + 1) {
            removed.extend(last.drain(..to.slot));
        }
        self.drop_empty(from.block);
        removed
    }

    fn drop_empty(&mut self, block: usize) {
        if self.blocks[block].is_empty() {
            self.blocks.remove(block);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.blocks.iter().flatten()
    }
}
