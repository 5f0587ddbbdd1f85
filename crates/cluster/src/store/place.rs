//! Where things lie in the storage, and in which form: data under the partition's two bytes and the key, an entry as an item whose note is the register.
//!
//! There are at most 2^14 partitions, so that the places from `0x4000` on are free; the node's own state lies there.

use weald_cluster_proto::{
    Bytes, Change, Entry, NodeId, PARTITION_BITS_MAX, Partition, Rank, Record, Register, Version, Wire,
};
use weald_storage::{Error, Held, Item, Put, Range, Result};

/// Names of what the node knows about itself follow.
pub(super) const META: [u8; 2] = [0xff, 0xff];
/// Changes of several names that are being carried out.
pub(super) const JOURNAL: [u8; 2] = [0xff, 0xfe];

/// More bytes than a register's state and the partition's number take.
pub(crate) const ROOM: usize = 1 << 10;

pub(super) fn is_partition(partition: Partition) -> bool {
    partition.0 >> PARTITION_BITS_MAX == 0
}

pub(crate) fn data_key(partition: Partition, key: &[u8]) -> Vec<u8> {
    [&partition.0.to_be_bytes()[..], key].concat()
}

pub(super) fn put_data_key(partition: Partition, key: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&partition.0.to_be_bytes());
    out.extend_from_slice(key);
}

pub(super) fn meta_key(name: &[u8]) -> Vec<u8> {
    [&META[..], name].concat()
}

pub(super) fn all_of(partition: Partition) -> Range {
    Range::prefix(&partition.0.to_be_bytes())
}

/// The key that a client knows.
pub(super) fn client_key(stored: &[u8]) -> Bytes {
    Bytes::from(stored.get(2..).unwrap_or_default())
}

pub(super) fn to_item(entry: &Entry) -> Item {
    Item {
        version: item_version(entry.record.version),
        expires_ms: entry.record.expires_ms,
        value: entry.record.value.as_ref().map(|value| value.to_vec()),
        note: entry.register.as_ref().map(Wire::to_bytes).unwrap_or_default(),
    }
}

/// A plain write under a stored key.
pub(super) fn to_put<'p>(key: &'p [u8], record: &'p Record) -> Put<'p> {
    Put {
        key,
        version: item_version(record.version),
        expires_ms: record.expires_ms,
        value: record.value.as_deref(),
    }
}

/// The rank of what a key held, and whether that was a register.
pub(super) fn to_rank(key: &[u8], held: &Held) -> Result<(Rank, bool)> {
    let record = Record {
        version: version_of(held.version),
        ..Record::default()
    };
    let register = register_of(key, &held.note)?;
    let entry = Entry { record, register };
    Ok((entry.rank(), entry.register.is_some()))
}

fn version_of(version: weald_storage::Version) -> Version {
    Version {
        stamp: version.time,
        node: NodeId(version.node),
    }
}

fn register_of(key: &[u8], note: &[u8]) -> Result<Option<Register>> {
    let damaged = |_| Error::Corrupt {
        key: key.to_vec(),
        problem: "its note is no register",
    };
    match note {
        [] => Ok(None),
        note => Register::from_bytes(note).map(Some).map_err(damaged),
    }
}

pub(crate) fn to_entry(key: &[u8], item: Item) -> Result<Entry> {
    let register = register_of(key, &item.note)?;
    let record = Record {
        version: version_of(item.version),
        expires_ms: item.expires_ms,
        value: item.value.map(Bytes::from),
    };
    Ok(Entry { record, register })
}

pub(super) fn item_version(version: Version) -> weald_storage::Version {
    weald_storage::Version::new(version.stamp, version.node.0)
}

/// Bytes of the value that a change brings.
pub(super) fn value_len(change: &Change) -> usize {
    let record = match change {
        Change::Put(record) | Change::Accept(_, record, _) => record,
        Change::Merge(entry) => &entry.record,
        Change::Promise(_) => return 0,
    };
    record.value.as_ref().map_or(0, |value| value.len())
}

#[cfg(test)]
mod tests {
    use weald_cluster_proto::Past;

    use super::*;

    #[test]
    fn entries_come_back_as_they_were() {
        let version = Version {
            stamp: 9,
            node: NodeId(4),
        };
        let record = Record {
            version,
            expires_ms: Some(7),
            value: Some(Bytes::from(&b"value"[..])),
        };
        let register = Register {
            promised: version,
            accepted: version,
            past: Past {
                floor: version,
                versions: vec![version; 8],
            },
        };
        assert!(register.to_bytes().len() + 2 < ROOM);
        for register in [None, Some(Register::default()), Some(register)] {
            for record in [record.clone(), Record::default()] {
                let entry = Entry {
                    record,
                    register: register.clone(),
                };
                assert_eq!(to_entry(b"k", to_item(&entry)).expect("an entry"), entry);
            }
        }
        let mut item = to_item(&Entry::plain(record));
        item.note = b"junk".to_vec();
        assert!(matches!(to_entry(b"k", item), Err(Error::Corrupt { .. })));
    }
}
