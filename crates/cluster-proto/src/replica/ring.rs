//! The latest changes of a node, in a ring: who was away for a short while asks for those instead of comparing everything.

use std::collections::VecDeque;

use crate::codec::Bytes;
use crate::id::Partition;

#[derive(Debug)]
pub(crate) struct Ring {
    entries: VecDeque<(Partition, Bytes)>,
    /// The place of the first entry; places are counted from the start of the node.
    first: u64,
    max: usize,
}

impl Ring {
    pub(crate) fn new(max: usize) -> Ring {
        Ring {
            entries: VecDeque::new(),
            first: 0,
            max: max.max(1),
        }
    }

    pub(crate) fn push(&mut self, partition: Partition, key: &Bytes) {
        if self.entries.len() == self.max {
            self.entries.pop_front();
            self.first += 1;
        }
        self.entries.push_back((partition, key.clone()));
    }

    /// The place after the last entry.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// What came since a place, up to a limit; `None` if it has been forgotten, or never was.
    pub(crate) fn since(&self, place: u64, limit: usize) -> Option<Vec<(Partition, Bytes)>> {
        if place < self.first || place > self.end() {
            return None;
        }
        let skip = (place - self.first) as usize;
        Some(self.entries.iter().skip(skip).take(limit).cloned().collect())
    }

    pub(crate) fn forget(&mut self) {
        self.first = self.end();
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_out_is_not_passed_over_in_silence() {
        let mut ring = Ring::new(3);
        for number in 0..5u8 {
            ring.push(Partition(0), &[number].to_vec().into());
        }
        assert_eq!(ring.end(), 5);
        assert_eq!(ring.since(1, 9), None);
        assert_eq!(ring.since(6, 9), None);
        assert_eq!(ring.since(2, 2).map(|entries| entries.len()), Some(2));
        assert_eq!(ring.since(5, 9), Some(Vec::new()));
    }
}
