//! What a replica holds under a key, and which of two wins.
//!
//! An entry is a record and, where the key was used for compare-and-set, the state of its register: what was promised to whom, and under which
//! ballot the record was accepted. Entries are ordered by (accepted ballot, version), and replicas keep the greatest.

use xxhash_rust::xxh3::{Xxh3, xxh3_128_with_seed};

use crate::clock::Version;
use crate::codec::{Bytes, wire_struct};

/// A value with its version, or the mark of a deletion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// When it was written, and by whom.
    pub version: Version,
    /// From when on it counts as deleted, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// The value; `None` where the key was deleted.
    pub value: Option<Bytes>,
}

wire_struct!(Record {
    version,
    expires_ms,
    value
});

impl Record {
    /// The value that a reader sees at that time.
    pub fn live(&self, now_ms: u64) -> Option<&Bytes> {
        self.value
            .as_ref()
            .filter(|_| self.expires_ms.is_none_or(|expires| now_ms < expires))
    }

    /// Whether it can be forgotten once every owner has it: it is a deletion, or has expired by then.
    pub fn is_spent(&self, mark: Version) -> bool {
        self.version <= mark && self.live(mark.ms()).is_none()
    }
}

/// One attempt to decide a register's value. It is a version, so that what is older than a settled mark can be told.
pub type Ballot = Version;

/// What a register's value came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// The version of the plain write that the register started from.
    pub floor: Version,
    /// The versions of the latest values, the newest last; at most [`Past::LEN`].
    pub versions: Vec<Version>,
}

wire_struct!(Past { floor, versions });

impl Past {
    /// How many versions are remembered.
    pub const LEN: usize = 8;

    /// The past of the value that follows this one.
    pub(crate) fn followed_by(&self, version: Version) -> Past {
        let mut versions = self.versions.clone();
        versions.push(version);
        let excess = versions.len().saturating_sub(Past::LEN);
        versions.drain(..excess);
        Past {
            floor: self.floor,
            versions,
        }
    }
}

/// The state of a register at one replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Register {
    /// No ballot below this one is accepted any more.
    pub promised: Ballot,
    /// The ballot under which the record was accepted; zero if it was not written through the register.
    pub accepted: Ballot,
    /// What came before the record.
    pub past: Past,
}

wire_struct!(Register {
    promised,
    accepted,
    past
});

/// What a replica holds under a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The value. Its version is zero where only a promise was made.
    pub record: Record,
    /// There once the key was used as a register, until it is deleted and settled.
    pub register: Option<Register>,
}

wire_struct!(Entry { record, register });

/// The place of an entry in the order of entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    /// The accepted ballot; zero for plain records.
    pub accepted: Ballot,
    /// The record's version.
    pub version: Version,
}

wire_struct!(Rank { accepted, version });

impl Rank {
    /// Of a key that isn't there.
    pub const ABSENT: Rank = Rank {
        accepted: Version::ZERO,
        version: Version::ZERO,
    };

    /// The time that says whether this is settled.
    pub fn newest(self) -> Version {
        self.accepted.max(self.version)
    }
}

impl Entry {
    /// A record of a key that is no register.
    pub fn plain(record: Record) -> Entry {
        Entry {
            record,
            register: None,
        }
    }

    /// Its place among the entries of its key.
    pub fn rank(&self) -> Rank {
        Rank {
            accepted: self
                .register
                .as_ref()
                .map_or(Version::ZERO, |register| register.accepted),
            version: self.record.version,
        }
    }

    /// Whether it can be dropped when everything up to the mark is settled.
    pub fn is_spent(&self, mark: Version) -> bool {
        let quiet = self
            .register
            .as_ref()
            .is_none_or(|register| register.promised <= mark && register.accepted <= mark);
        quiet && self.record.is_spent(mark)
    }

    /// What counts of it when everything up to the mark is settled at this replica: nothing of what is spent, and of a register that was promised since only the promise. So the replica answers
    /// the same before and after it drops what is spent.
    pub(crate) fn unsettled(self, mark: Version) -> Option<Entry> {
        if !self.is_over(mark) {
            return Some(self);
        }
        let promised = self.register?.promised;
        (promised > mark).then(|| Entry {
            record: Record::default(),
            register: Some(Register {
                promised,
                ..Register::default()
            }),
        })
    }

    /// Whether its value is spent, even if the register was promised since.
    pub(crate) fn is_over(&self, mark: Version) -> bool {
        self.rank().accepted <= mark && self.record.is_spent(mark)
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        80 + self.record.value.as_ref().map_or(0, |value| value.len())
    }
}

/// Where a key lies: the high bits say the partition, the next ones the leaf of its tree.
pub fn key_hash(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}

/// What a key and the rank of its entry add to the sums of a tree.
pub(crate) fn digest(key: &[u8], rank: Rank) -> u128 {
    const SEED: u64 = 0x7765_616c_6400;
    const SHORT: usize = 192;
    let Rank { accepted, version } = rank;
    let numbers = [accepted.stamp, accepted.node.0, version.stamp, version.node.0];
    let mut end = [0; 32];
    for (place, number) in end.chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    let len = (key.len() as u64).to_le_bytes();
    // In one go, where it fits: a hasher that is fed is large, and takes long to set up.
    let mut short = [0; SHORT];
    let all = len.len() + key.len() + end.len();
    if let Some(short) = short.get_mut(..all) {
        short[..8].copy_from_slice(&len);
        short[8..all - 32].copy_from_slice(key);
        short[all - 32..].copy_from_slice(&end);
        return xxh3_128_with_seed(short, SEED);
    }
    let mut hasher = Xxh3::with_seed(SEED);
    for part in [&len[..], key, &end] {
        hasher.update(part);
    }
    hasher.digest128()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Wire;
    use crate::id::NodeId;

    #[test]
    fn a_digest_is_the_same_however_it_is_made() {
        let version = |stamp| Version {
            stamp,
            node: NodeId(7),
        };
        let rank = Rank {
            accepted: version(5),
            version: version(1 << 60),
        };
        for len in [0, 1, 16, 151, 152, 153, 1000] {
            let key = vec![b'k'; len];
            let mut hasher = Xxh3::with_seed(0x7765_616c_6400);
            hasher.update(&(len as u64).to_le_bytes());
            hasher.update(&key);
            hasher.update(&rank.to_bytes());
            assert_eq!(digest(&key, rank), hasher.digest128(), "{len}");
        }
    }
}
