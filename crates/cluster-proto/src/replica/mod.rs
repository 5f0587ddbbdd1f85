//! What a node does as an owner of partitions: it applies, reads and scans for coordinators, and answers only when that is done.
//!
//! [`serve`] takes requests to the storage and [`change`] what came of them to the answers; [`tree`] sums up each partition for comparisons and [`ring`] remembers the latest changes,
//! both as changes complete.

mod change;
mod ring;
mod serve;
mod tree;

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Version;
use crate::codec::{Bytes, Wire, wire_struct};
use crate::config::Config;
use crate::id::{Owner, Partition};
use crate::layout::Layout;
use crate::node::{StartError, meta};
use crate::store::Meta;

pub(crate) use change::ReplicaPending;
pub(crate) use ring::Ring;
pub(crate) use tree::{Tree, leaf_of};

/// How old something may be before it is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Writes up to here that come from outside are refused.
    pub(crate) sealed: Version,
    /// Up to here every owner has everything, and what is spent is dropped: nothing of it is taken any more, wherever it comes from.
    pub(crate) settled: Version,
}

wire_struct!(Marks { sealed, settled });

/// A partition that this node owns.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) marks: Marks,
    pub(crate) summed: Summed,
    /// How many bytes and entries changes have added, as statistics say.
    pub(crate) changes: u64,
}

/// Whether the sums of a partition are known.
#[derive(Debug)]
pub(crate) enum Summed {
    /// Not since the node was started.
    Unknown,
    /// Being computed: up to this key they are right.
    Partly(Box<Tree>, Option<Bytes>),
    Fully(Box<Tree>),
}

#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) parts: BTreeMap<Partition, Part>,
    stored_marks: BTreeMap<Partition, Marks>,
    /// Cleared since the last layout was installed: their sums are those of nothing.
    cleared: BTreeSet<Partition>,
    pub(crate) ring: Ring,
    partition_bits: u8,
    gathers: BTreeMap<u64, change::Gather>,
    next_gather: u64,
    in_flight: usize,
}

fn marks_name(partition: Partition) -> Vec<u8> {
    [meta::MARKS, &partition.0.to_be_bytes()].concat()
}

impl Replica {
    pub(crate) fn restored(stored: &Meta, config: &Config) -> Result<Replica, StartError> {
        let damaged = |source| StartError::Damaged {
            name: "marks",
            source,
        };
        let mut stored_marks = BTreeMap::new();
        for (name, bytes) in stored.iter().filter(|(name, _)| name.starts_with(meta::MARKS)) {
            let number = name[meta::MARKS.len()..]
                .try_into()
                .map_err(|_| damaged(crate::codec::DecodeError::Short))?;
            let marks = Marks::from_bytes(bytes).map_err(damaged)?;
            stored_marks.insert(Partition(u16::from_be_bytes(number)), marks);
        }
        Ok(Replica {
            parts: BTreeMap::new(),
            stored_marks,
            cleared: BTreeSet::new(),
            ring: Ring::new(config.ring_entries),
            partition_bits: 0,
            gathers: BTreeMap::new(),
            next_gather: 0,
            in_flight: 0,
        })
    }

    /// Takes on the partitions of a layout, and lets the others go.
    pub(crate) fn own(&mut self, layout: &Layout, owner: Owner) {
        self.partition_bits = layout.partition_bits;
        let owned: BTreeSet<Partition> = layout
            .all_partitions()
            .filter(|&partition| layout.is_owner(owner, partition))
            .collect();
        self.parts.retain(|partition, _| owned.contains(partition));
        for &partition in &owned {
            let cleared = self.cleared.contains(&partition);
            if cleared {
                self.parts.remove(&partition);
                self.stored_marks.remove(&partition);
            }
            let marks = self.stored_marks.get(&partition).copied().unwrap_or_default();
            let summed = || {
                if cleared {
                    Summed::Fully(Box::default())
                } else {
                    Summed::Unknown
                }
            };
            self.parts.entry(partition).or_insert_with(|| Part {
                marks,
                summed: summed(),
                changes: 0,
            });
        }
        self.cleared.clear();
    }

    pub(crate) fn cleared(&mut self, partitions: &[Partition]) {
        self.cleared.extend(partitions);
    }

    pub(crate) fn forget_cleared_marks(&self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        self.cleared
            .iter()
            .map(|&partition| (marks_name(partition), None))
            .collect()
    }

    pub(crate) fn forget_marks(&mut self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        std::mem::take(&mut self.stored_marks)
            .into_keys()
            .map(|partition| (marks_name(partition), None))
            .collect()
    }

    pub(crate) fn forget_all(&mut self) {
        self.parts.clear();
        self.cleared.clear();
        self.gathers.clear();
        self.in_flight = 0;
        self.ring.forget();
    }

    /// Changes the marks, in memory at once; what to store is returned.
    pub(crate) fn mark(
        &mut self,
        partition: Partition,
        set: impl FnOnce(&mut Marks),
    ) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let part = self.parts.get_mut(&partition)?;
        set(&mut part.marks);
        self.stored_marks.insert(partition, part.marks);
        Some((marks_name(partition), Some(part.marks.to_bytes())))
    }

    pub(crate) fn marks(&self, partition: Partition) -> Marks {
        self.parts
            .get(&partition)
            .map_or_else(Marks::default, |part| part.marks)
    }

    pub(crate) fn load(&self) -> usize {
        self.in_flight
    }

    pub(crate) fn tree(&self, partition: Partition) -> Option<&Tree> {
        match &self.parts.get(&partition)?.summed {
            Summed::Fully(tree) => Some(tree),
            _ => None,
        }
    }

    pub(crate) fn leaf_of(&self, key: &[u8]) -> u16 {
        leaf_of(key, self.partition_bits)
    }
}
