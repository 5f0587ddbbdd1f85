//! What the protocol asks of a node's storage.
//!
//! Operations are asynchronous: each carries a [`Token`](crate::Token), and the host hands the [`Completion`] back. What the host owes:
//!
//! - Operations of one [`Space`] take effect, and complete, in the order in which they were asked for. Different spaces may overlap.
//! - A change is [decided](Change::decide) under the key's lock, on what the store holds at that moment, so that the greatest version wins whoever comes last.
//! - `durable` means: completed only once it would survive a power cut. A change that is not durable may be lost with the power, never half of it. Where a durable change writes nothing, as the key holds something greater, that is durable
//!   first: a write is acknowledged on the strength of it.
//! - [`Completion::Failed`] means that it is not known whether anything changed; the protocol then acknowledges nothing.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::clock::Version;
use crate::codec::Bytes;
use crate::entry::{Ballot, Entry, Past, Rank, Record, Register};
use crate::id::Partition;

/// An independent part of the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Space {
    /// The keys of a partition.
    Data(Partition),
    /// What the node must know about itself after a restart. It is small, and read as a whole when the node starts.
    Meta,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOp {
    /// Applies changes, each under its key's lock, and completes with an [`Outcome`] for each.
    Change {
        /// Where.
        partition: Partition,
        /// Keys, and what is to happen to them.
        changes: Vec<(Bytes, Change)>,
        /// Whether it must survive a power cut before it completes.
        durable: bool,
    },
    /// Reads keys; completes with what is there.
    Read {
        /// Where.
        partition: Partition,
        /// Which.
        keys: Vec<Bytes>,
    },
    /// Reads a partition in the order of its keys.
    ScanPartition {
        /// Where.
        partition: Partition,
        /// Only keys after this one.
        after: Option<Bytes>,
        /// Only keys up to this one.
        upto: Option<Bytes>,
        /// At most so many entries.
        limit: usize,
        /// Stop once they are so many bytes.
        bytes: usize,
    },
    /// Reads several partitions in the order of keys, merged.
    ScanKeys {
        /// Which partitions.
        partitions: Vec<Partition>,
        /// Only keys from this one on.
        start: Bytes,
        /// Only keys before this one.
        end: Option<Bytes>,
        /// At most so many entries.
        limit: usize,
        /// Stop once they are so many bytes.
        bytes: usize,
    },
    /// Forgets all keys of a partition, durably.
    Clear {
        /// Which.
        partition: Partition,
    },
    /// Makes durable all that was done to a partition before.
    Sync {
        /// Which.
        partition: Partition,
    },
    /// Drops entries that are spent as of the mark, as [`Entry::is_spent`] says. Completes with what was dropped.
    DropSpent {
        /// Where.
        partition: Partition,
        /// How far everything is settled.
        mark: Version,
    },
    /// Stores, or with `None` removes, what the node must know about itself; durably, and all or nothing.
    Meta {
        /// Names and values.
        changes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    },
}

impl StoreOp {
    /// The space that it is ordered in. A scan across partitions is ordered in none.
    pub fn space(&self) -> Option<Space> {
        Some(match self {
            StoreOp::Change { partition, .. }
            | StoreOp::Read { partition, .. }
            | StoreOp::ScanPartition { partition, .. }
            | StoreOp::Clear { partition }
            | StoreOp::Sync { partition }
            | StoreOp::DropSpent { partition, .. } => Space::Data(*partition),
            StoreOp::Meta { .. } => Space::Meta,
            StoreOp::ScanKeys { .. } => return None,
        })
    }
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A plain write. A key that is a register refuses it.
    Put(Record),
    /// An entry that another replica has: the greater stays.
    Merge(Entry),
    /// The first half of a register's ballot.
    Promise(Ballot),
    /// The second half.
    Accept(Ballot, Record, Past),
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The key holds it, or held the same already.
    Applied,
    /// The key holds something greater.
    Superseded(Rank),
    /// A plain write met a register.
    IsRegister,
    /// The ballot was promised: what the replica has accepted so far.
    Promised(Entry),
    /// A greater ballot was promised to somebody else.
    Outbid(Ballot),
}

/// What a change does to an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What the key holds from now on, where that differs.
    pub write: Option<Entry>,
    /// What to complete with.
    pub outcome: Outcome,
    /// The rank before, for the sums of the partition's tree.
    pub before: Rank,
    /// The rank after.
    pub after: Rank,
}

impl Change {
    /// About how many bytes it brings.
    pub(crate) fn size(&self) -> usize {
        let value = |record: &Record| record.value.as_ref().map_or(0, |value| value.len());
        80 + match self {
            Change::Put(record) | Change::Accept(_, record, _) => value(record),
            Change::Merge(entry) => value(&entry.record),
            Change::Promise(_) => 0,
        }
    }

    /// Decides under the key's lock, given what the key holds.
    pub fn decide(&self, current: Option<&Entry>) -> Decision {
        let before = current.map_or(Rank::ABSENT, Entry::rank);
        let keep = |outcome| Decision {
            write: None,
            outcome,
            before,
            after: before,
        };
        let write = |entry: Entry, outcome| Decision {
            before,
            after: entry.rank(),
            write: Some(entry),
            outcome,
        };
        let register = current.and_then(|entry| entry.register.clone());
        match self {
            Change::Put(record) => match put(record.version, before, register.is_some()) {
                Put::Written => write(Entry::plain(record.clone()), Outcome::Applied),
                Put::Kept(outcome) => keep(outcome),
            },
            Change::Merge(entry) => merge(entry, before, register.as_ref(), keep, write),
            Change::Promise(ballot) => {
                let mut entry = current.cloned().unwrap_or_default();
                let mut state = register.unwrap_or_default();
                // The same ballot again is the same question again.
                if *ballot < state.promised {
                    return keep(Outcome::Outbid(state.promised));
                }
                state.promised = *ballot;
                entry.register = Some(state);
                write(entry.clone(), Outcome::Promised(entry))
            }
            Change::Accept(ballot, record, past) => {
                let state = register.unwrap_or_default();
                if *ballot < state.promised {
                    return keep(Outcome::Outbid(state.promised));
                }
                let register = Some(Register {
                    promised: *ballot,
                    accepted: *ballot,
                    past: past.clone(),
                });
                let record = record.clone();
                write(Entry { record, register }, Outcome::Applied)
            }
        }
    }
}

/// Whether a plain write is written.
enum Put {
    Written,
    Kept(Outcome),
}

fn put(version: Version, before: Rank, is_register: bool) -> Put {
    match version.cmp(&before.version) {
        _ if is_register => Put::Kept(Outcome::IsRegister),
        Ordering::Greater => Put::Written,
        Ordering::Equal => Put::Kept(Outcome::Applied),
        Ordering::Less => Put::Kept(Outcome::Superseded(before)),
    }
}

impl Decision {
    /// What [`Change::decide`] says of a plain write, for a store that replaces what is older and no register, and knows no more of what the key held than that: `write` is
    /// left out.
    pub fn of_put(version: Version, before: Rank, is_register: bool) -> Decision {
        let (outcome, after) = match put(version, before, is_register) {
            Put::Written => {
                let accepted = Version::ZERO;
                (Outcome::Applied, Rank { accepted, version })
            }
            Put::Kept(outcome) => (outcome, before),
        };
        Decision {
            write: None,
            outcome,
            before,
            after,
        }
    }
}

/// What another replica has accepted is taken even where a greater ballot was promised: it is no vote for that ballot, only knowledge, and whoever was promised has
/// seen it, or something greater, at a majority if it was ever decided. The promise itself stays.
fn merge(
    entry: &Entry,
    before: Rank,
    register: Option<&Register>,
    keep: impl Fn(Outcome) -> Decision,
    write: impl Fn(Entry, Outcome) -> Decision,
) -> Decision {
    let rank = entry.rank();
    if rank == before {
        return keep(Outcome::Applied);
    }
    if rank < before {
        return keep(Outcome::Superseded(before));
    }
    let promised = register
        .as_ref()
        .map_or(Version::ZERO, |register| register.promised);
    let mut merged = entry.clone();
    merged.register = match (entry.register.clone(), register.cloned()) {
        (Some(theirs), _) if theirs.accepted > Version::ZERO => Some(Register {
            promised: promised.max(theirs.accepted),
            ..theirs
        }),
        (_, ours) => ours,
    };
    let outcome = match register {
        // Whoever was promised has not seen it: it is kept, and does not count as one more that holds it.
        Some(_) if rank.accepted == Version::ZERO => Outcome::IsRegister,
        _ => Outcome::Applied,
    };
    write(merged, outcome)
}

/// The answer to an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    /// Of a change: one decision for each, in order. `write` need not be filled in.
    Changed(Vec<Decision>),
    /// Of a read: one for each key, in order.
    Read(Vec<Option<Entry>>),
    /// Of a scan, in the order of keys; and whether that was all.
    Scanned {
        /// What is there.
        entries: Vec<(Bytes, Entry)>,
        /// Nothing follows in the range.
        done: bool,
    },
    /// Of dropping what is spent.
    Dropped(Vec<(Bytes, Rank)>),
    /// Of the others.
    Done,
    /// The storage failed.
    Failed,
}

/// What the store had under [`StoreOp::Meta`] when the node starts.
pub type Meta = BTreeMap<Vec<u8>, Vec<u8>>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;

    fn version(stamp: u64) -> Version {
        Version {
            stamp,
            node: NodeId(1),
        }
    }

    fn record(stamp: u64) -> Record {
        Record {
            version: version(stamp),
            expires_ms: None,
            value: Some(stamp.to_le_bytes().to_vec().into()),
        }
    }

    /// Applies changes one after the other; the outcomes.
    fn run(changes: &[Change]) -> (Option<Entry>, Vec<Outcome>) {
        let mut entry: Option<Entry> = None;
        let mut outcomes = Vec::new();
        for change in changes {
            let decision = change.decide(entry.as_ref());
            entry = decision.write.or(entry);
            assert_eq!(entry.as_ref().map_or(Rank::ABSENT, Entry::rank), decision.after);
            outcomes.push(decision.outcome);
        }
        (entry, outcomes)
    }

    #[test]
    fn the_greatest_version_stays_whoever_comes_last() {
        let (entry, outcomes) = run(&[
            Change::Put(record(5)),
            Change::Put(record(3)),
            Change::Put(record(5)),
        ]);
        assert_eq!(entry, Some(Entry::plain(record(5))));
        let by = Rank {
            accepted: Version::ZERO,
            version: version(5),
        };
        assert_eq!(
            outcomes,
            [Outcome::Applied, Outcome::Superseded(by), Outcome::Applied]
        );
    }

    #[test]
    fn a_plain_write_comes_to_the_same_without_the_value() {
        let register = Some(Register::default());
        let held = [
            None,
            Some(Entry::plain(record(5))),
            Some(Entry {
                register,
                ..Entry::plain(record(5))
            }),
        ];
        for held in held {
            for stamp in [4, 5, 6] {
                let before = held.as_ref().map_or(Rank::ABSENT, Entry::rank);
                let is_register = held.as_ref().is_some_and(|entry| entry.register.is_some());
                let mut decided = Change::Put(record(stamp)).decide(held.as_ref());
                let written = decided.write.take().is_some();
                let told = Decision::of_put(version(stamp), before, is_register);
                assert_eq!(told, decided, "{held:?} {stamp}");
                assert_eq!(written, told.before != told.after);
            }
        }
    }

    #[test]
    fn a_promise_refuses_what_is_older() {
        let (entry, outcomes) = run(&[
            Change::Put(record(1)),
            Change::Promise(version(9)),
            Change::Promise(version(8)),
            Change::Accept(version(7), record(7), Past::default()),
            Change::Put(record(20)),
            Change::Accept(version(9), record(8), Past::default()),
        ]);
        assert!(matches!(outcomes[1], Outcome::Promised(_)));
        assert_eq!(outcomes[2], Outcome::Outbid(version(9)));
        assert_eq!(outcomes[3], Outcome::Outbid(version(9)));
        assert_eq!(outcomes[4], Outcome::IsRegister);
        assert_eq!(outcomes[5], Outcome::Applied);
        assert_eq!(entry.map(|entry| entry.record), Some(record(8)));
    }

    #[test]
    fn a_merge_does_not_break_a_promise() {
        let accepted = run(&[
            Change::Promise(version(5)),
            Change::Accept(version(5), record(6), Past::default()),
        ])
        .0;
        let merge = Change::Merge(accepted.expect("accepted"));
        let late = Change::Accept(version(7), record(7), Past::default());
        let (entry, outcomes) = run(&[Change::Promise(version(9)), merge.clone(), late]);
        assert_eq!(outcomes[1..], [Outcome::Applied, Outcome::Outbid(version(9))]);
        assert_eq!(
            entry.map(|entry| entry.record),
            Some(record(6)),
            "what was decided elsewhere is not missed"
        );
        let (entry, _) = run(&[Change::Put(record(50)), Change::Promise(version(4)), merge]);
        assert_eq!(
            entry.map(|entry| entry.record),
            Some(record(6)),
            "a register's value outranks a plain one"
        );
    }

    #[test]
    fn merges_converge_in_any_order() {
        let entries: Vec<Change> = [3, 9, 4]
            .map(|stamp| Change::Merge(Entry::plain(record(stamp))))
            .into();
        let (forth, _) = run(&entries);
        let (back, _) = run(&entries.iter().rev().cloned().collect::<Vec<_>>());
        assert_eq!(forth, back);
        assert_eq!(forth, Some(Entry::plain(record(9))));
    }
}
