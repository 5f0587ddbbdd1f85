//! How the server keeps values in the cluster: a byte that says how, and the value.
//!
//! ```text
//! 0   a string, as it is
//! 1   any other value, as `DUMP` writes it, without version and checksum
//! ```
//!
//! A collection is one value: it changes by compare-and-set of the whole, so that a command on it is atomic and linearizable, and costs as much as the collection is long.

use weald_cluster::proto::Bytes;

use crate::commands::{pack, packed_kind, unpack};
use crate::error::CommandError;
use crate::keyspace::{Expiry, Keyspace, Kind};

const STRING: u8 = 0;
const PACKED: u8 = 1;

fn damaged() -> CommandError {
    CommandError::new("ERR the value was not written by a server of this version")
}

fn tagged(tag: u8, value: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(1 + value.len());
    bytes.push(tag);
    bytes.extend_from_slice(value);
    bytes.into()
}

pub(super) fn of_string(value: &[u8]) -> Bytes {
    tagged(STRING, value)
}

/// The string that was kept; an error where it is another type.
pub(super) fn string(value: &[u8]) -> Result<&[u8], CommandError> {
    match value.split_first() {
        Some((&STRING, string)) => Ok(string),
        Some((&PACKED, _)) => Err(CommandError::wrong_type()),
        _ => Err(damaged()),
    }
}

/// Its type.
pub(super) fn kind(value: &[u8]) -> Result<Kind, CommandError> {
    match value.split_first() {
        Some((&STRING, _)) => Ok(Kind::String),
        Some((&PACKED, packed)) => packed_kind(packed).ok_or_else(damaged),
        _ => Err(damaged()),
    }
}

/// Puts a value into the keyspace.
pub(super) fn load(
    keyspace: &mut Keyspace<'_>,
    key: &[u8],
    value: &[u8],
    expires: Option<u64>,
) -> Result<(), CommandError> {
    match value.split_first() {
        Some((&STRING, string)) => {
            keyspace.set_string(0, key, string, expires.map_or(Expiry::Never, Expiry::At))
        }
        Some((&PACKED, packed)) => unpack(keyspace, key, packed, expires.unwrap_or(0)),
        _ => Err(damaged()),
    }
}

/// What the keyspace has of a key, as it is to be kept, and when it expires; 0 for never.
pub(super) fn save(keyspace: &Keyspace<'_>, key: &[u8]) -> Result<Option<(Bytes, u64)>, CommandError> {
    let Some(record) = keyspace.find(0, key)? else {
        return Ok(None);
    };
    let bytes = match record.kind {
        Kind::String => tagged(STRING, record.string()?),
        _ => tagged(PACKED, &pack(keyspace, 0, &record)?),
    };
    Ok(Some((bytes, record.expires)))
}
