//! Layouts: which nodes own which partitions, as a sequence of versions that everybody agrees on.
//!
//! A change takes three steps, each a version of its own, agreed by a majority of the members of the one before ([`decision`]):
//!
//! ```text
//!   Stable ──► Moving ──► Settling ──► Stable
//!   writes     old+new    old+new      new
//!   reads      old        new          new
//! ```
//!
//! *Moving* ends when every new owner has [fetched](movement) its partitions, *Settling* when so many of the old owners know of it that no quorum is left that
//! would answer a reader of *Moving*. Both are what keeps a reader of one version from missing a writer of another: neighbours in the sequence share a side on which their quorums meet.
//!
//! Who owns what is computed once, by whoever [proposes](assignment), and travels in the layout. A node that is suspected stays an owner.

mod assignment;
mod decision;
mod movement;
mod proposal;

use std::collections::{BTreeMap, BTreeSet};

use crate::codec::{Bytes, DecodeError, Reader, Wire, Writer, wire_enum, wire_struct};
use crate::config::{Quorums, majority};
use crate::entry::key_hash;
use crate::id::{CopyId, NodeId, Owner, Partition};

pub use decision::Accepted;
pub(crate) use decision::{Decision, Vote};
pub(crate) use movement::Movement;
pub use proposal::{LayoutChange, LayoutError};

/// A node as a layout knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The copy of its data that counts.
    pub copy: CopyId,
    /// How much it takes, in proportion to the others.
    pub weight: u32,
    /// Where it stands.
    pub zone: u32,
    /// Where peers reach it.
    pub address: Bytes,
}

wire_struct!(Member {
    copy,
    weight,
    zone,
    address
});

/// How far a change of owners has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing moves.
    Stable,
    /// New owners fetch; reads go to the old ones.
    Moving,
    /// New owners have everything; some old ones may not know yet.
    Settling,
}

wire_enum!(Phase { 0 => Stable, 1 => Moving, 2 => Settling });

/// Members, and who of them owns each partition, the primary first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The nodes that take part.
    pub members: BTreeMap<NodeId, Member>,
    /// For each partition its owners.
    pub owners: Vec<Vec<NodeId>>,
}

wire_struct!(Assignment { members, owners });

impl Assignment {
    pub(crate) fn owners_of(&self, partition: Partition) -> Vec<Owner> {
        let owner = |node: &NodeId| Owner {
            node: *node,
            copy: self.members[node].copy,
        };
        self.owners[usize::from(partition.0)].iter().map(owner).collect()
    }

    fn is_valid(&self, partitions: usize, quorums: Quorums) -> bool {
        let replicas = usize::from(quorums.replica_count);
        let distinct = |owners: &Vec<NodeId>| owners.iter().collect::<BTreeSet<_>>().len() == owners.len();
        let known = |owners: &Vec<NodeId>| owners.iter().all(|node| self.members.contains_key(node));
        !self.members.is_empty()
            && self.members.values().all(|member| member.weight > 0)
            && self.owners.len() == partitions
            && self.owners.iter().all(|owners| {
                !owners.is_empty() && owners.len() <= replicas && distinct(owners) && known(owners)
            })
    }
}

/// One version of who owns what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// One more than that of the layout before.
    pub version: u64,
    /// How many partitions: 2 to this power.
    pub partition_bits: u8,
    /// What requests ask for that don't say.
    pub quorums: Quorums,
    /// How far the change has come.
    pub phase: Phase,
    /// Who owns what, or will.
    pub current: Assignment,
    /// Who owned it before; there unless the phase is stable.
    pub old: Option<Assignment>,
}

impl Wire for Layout {
    fn put(&self, out: &mut Writer) {
        self.version.put(out);
        self.partition_bits.put(out);
        self.quorums.put(out);
        self.phase.put(out);
        self.current.put(out);
        self.old.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let layout = Layout {
            version: Wire::take(from)?,
            partition_bits: Wire::take(from)?,
            quorums: Wire::take(from)?,
            phase: Wire::take(from)?,
            current: Wire::take(from)?,
            old: Wire::take(from)?,
        };
        if layout.is_valid() {
            Ok(layout)
        } else {
            Err(DecodeError::Invalid("a layout"))
        }
    }
}

/// The most partitions: 2 to this power.
pub const PARTITION_BITS_MAX: u8 = 14;

impl Layout {
    /// The first layout of a cluster: the same for the same members, so that every one of them can compute it.
    pub fn initial(
        partition_bits: u8,
        quorums: Quorums,
        members: BTreeMap<NodeId, Member>,
    ) -> Result<Layout, LayoutError> {
        if partition_bits > PARTITION_BITS_MAX || !quorums.is_valid() {
            return Err(LayoutError::Invalid);
        }
        let layout = Layout {
            version: 1,
            partition_bits,
            quorums,
            phase: Phase::Stable,
            current: assignment::assign(None, members, 1 << partition_bits, quorums.replica_count)?,
            old: None,
        };
        Ok(layout)
    }

    fn is_valid(&self) -> bool {
        let partitions = 1usize << self.partition_bits.min(PARTITION_BITS_MAX);
        self.partition_bits <= PARTITION_BITS_MAX
            && (1..u64::MAX).contains(&self.version)
            && self.quorums.is_valid()
            && self.current.is_valid(partitions, self.quorums)
            && self
                .old
                .as_ref()
                .is_none_or(|old| old.is_valid(partitions, self.quorums))
            && (self.phase == Phase::Stable) == self.old.is_none()
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> usize {
        1 << self.partition_bits
    }

    /// All partitions.
    pub fn all_partitions(&self) -> impl Iterator<Item = Partition> + use<> {
        (0..self.partitions() as u16).map(Partition)
    }

    /// Where a key belongs.
    pub fn partition_of(&self, key: &[u8]) -> Partition {
        match self.partition_bits {
            0 => Partition(0),
            bits => Partition((key_hash(key) >> (64 - u32::from(bits))) as u16),
        }
    }

    /// The owners that answer reads.
    pub fn readers(&self, partition: Partition) -> Vec<Owner> {
        match (&self.old, self.phase) {
            (Some(old), Phase::Moving) => old.owners_of(partition),
            _ => self.current.owners_of(partition),
        }
    }

    /// The sets of owners that each must have a quorum of a write: one, or while the partition moves two.
    pub fn writers(&self, partition: Partition) -> Vec<Vec<Owner>> {
        self.write_sets(partition).collect()
    }

    /// The same, one after the other.
    pub(crate) fn write_sets(&self, partition: Partition) -> impl Iterator<Item = Vec<Owner>> + use<> {
        let current = self.current.owners_of(partition);
        let old = self.old.as_ref().map(|old| old.owners_of(partition));
        let old = old.filter(|old| !same_set(old, &current));
        old.into_iter().chain([current])
    }

    /// Every owner, old or new.
    pub fn owners(&self, partition: Partition) -> BTreeSet<Owner> {
        self.write_sets(partition).flatten().collect()
    }

    /// Whether this copy of a node owns the partition, or did before the change that is going on.
    pub fn is_owner(&self, owner: Owner, partition: Partition) -> bool {
        self.owners(partition).contains(&owner)
    }

    /// Partitions that this copy gains by the change that is going on.
    pub(crate) fn gained(&self, owner: Owner) -> Vec<Partition> {
        let Some(old) = &self.old else { return Vec::new() };
        self.all_partitions()
            .filter(|&partition| {
                self.current.owners_of(partition).contains(&owner)
                    && !old.owners_of(partition).contains(&owner)
            })
            .collect()
    }

    /// Copies that gain something.
    pub(crate) fn gainers(&self) -> BTreeSet<Owner> {
        let Some(old) = &self.old else {
            return BTreeSet::new();
        };
        let gained = |partition| {
            let before = old.owners_of(partition);
            let after = self.current.owners_of(partition);
            after.into_iter().filter(move |owner| !before.contains(owner))
        };
        self.all_partitions().flat_map(gained).collect()
    }

    /// The copies that vote on the next version.
    pub(crate) fn voters(&self) -> BTreeSet<Owner> {
        let owner = |(&node, member): (&NodeId, &Member)| Owner {
            node,
            copy: member.copy,
        };
        self.current.members.iter().map(owner).collect()
    }

    /// Everyone the layout names.
    pub(crate) fn nodes(&self) -> BTreeSet<NodeId> {
        let old = self.old.iter().flat_map(|old| old.members.keys());
        self.current.members.keys().chain(old).copied().collect()
    }

    /// How the layout knows a copy of a node.
    pub(crate) fn knows(&self, owner: Owner) -> bool {
        let knows = |side: &Assignment| {
            side.members
                .get(&owner.node)
                .is_some_and(|member| member.copy == owner.copy)
        };
        knows(&self.current) || self.old.as_ref().is_some_and(knows)
    }

    /// How many of so many owners make sure that a quorum of writers can't be hidden behind the others: every strong write is on one of any so many. A partition has
    /// fewer owners than replicas are wanted while there are too few members.
    pub(crate) fn meets_writes(&self, owners: usize) -> usize {
        self.meets(self.quorums.write_quorum, owners)
    }

    /// The same for quorums of readers.
    pub(crate) fn meets_reads(&self, owners: usize) -> usize {
        self.meets(self.quorums.read_quorum, owners)
    }

    fn meets(&self, quorum: u8, owners: usize) -> usize {
        let Quorums {
            replica_count,
            write_quorum,
            read_quorum,
        } = self.quorums;
        let strong = write_quorum + read_quorum > replica_count;
        let smallest = if strong {
            quorum.min(majority(replica_count))
        } else {
            majority(replica_count)
        };
        (owners + 1).saturating_sub(usize::from(smallest)).max(1)
    }
}

fn same_set(a: &[Owner], b: &[Owner]) -> bool {
    a.len() == b.len() && a.iter().all(|owner| b.contains(owner))
}
