//! The record of a key: its type, when it expires, and its value or where that is.
//!
//! ```text
//! kind and flags    1 byte
//! expires           8 bytes, where the flag says so: milliseconds since 1970
//! length and key    4 bytes and the key, where it is too long for the record's own key
//! string            the value
//! packed            the elements: see `packed`
//! spread            id, number of elements; of a list also the index of the first and the bytes of all: 8 bytes each
//! ```

use crate::error::CommandError;
use crate::keyspace::layout::{self, HASH_LEN, RawKey};
use crate::keyspace::packed::Packed;

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    String,
    List,
    Set,
    Hash,
    ZSet,
}

impl Kind {
    const ALL: [Kind; 5] = [Kind::String, Kind::List, Kind::Set, Kind::Hash, Kind::ZSet];

    /// What `TYPE` calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::List => "list",
            Kind::Set => "set",
            Kind::Hash => "hash",
            Kind::ZSet => "zset",
        }
    }

    /// How many packed elements a member of it takes.
    pub(super) fn stride(self) -> usize {
        match self {
            Kind::Hash | Kind::ZSet => 2,
            Kind::String | Kind::List | Kind::Set => 1,
        }
    }
}

const KIND: u8 = 0b111;
const EXPIRES: u8 = 1 << 3;
const LONG_KEY: u8 = 1 << 4;
/// A collection that Redis would no longer keep as a listpack or intset; a string that was changed in place.
pub(super) const WIDE: u8 = 1 << 5;
/// A set of integers.
pub(super) const INTEGERS: u8 = 1 << 6;
/// The elements have records of their own.
const SPREAD: u8 = 1 << 7;
/// What of the flags belongs to the value, not to the record.
const OF_VALUE: u8 = WIDE | INTEGERS;

/// Where the elements are that have records of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spread {
    pub(super) id: u64,
    pub(super) count: u64,
    /// Of a list: the index of the first element.
    pub(super) head: i64,
    /// Of a list: the bytes of all elements.
    pub(super) bytes: u64,
}

/// The value in a record, or where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body<'a> {
    String(&'a [u8]),
    Packed(&'a [u8]),
    Spread(Spread),
}

/// A key's record, lent by the transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) kind: Kind,
    pub(super) flags: u8,
    /// In milliseconds since 1970; 0 for never.
    pub(crate) expires: u64,
    pub(super) long_key: Option<&'a [u8]>,
    pub(super) body: Body<'a>,
}

pub(super) fn damaged() -> CommandError {
    CommandError::new("ERR a record of the keyspace is damaged")
}

impl<'a> Record<'a> {
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Record<'a>, CommandError> {
        Record::parse(bytes).ok_or_else(damaged)
    }

    fn parse(bytes: &'a [u8]) -> Option<Record<'a>> {
        let (first, mut rest) = bytes.split_first()?;
        let kind = *Kind::ALL.get(usize::from(first & KIND))?;
        let mut expires = 0;
        if first & EXPIRES != 0 {
            expires = take(&mut rest)?;
        }
        let mut long_key = None;
        if first & LONG_KEY != 0 {
            let (len, after) = rest.split_first_chunk::<4>()?;
            let (key, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize)?;
            (long_key, rest) = (Some(key), after);
        }
        let body = match kind {
            Kind::String => Body::String(rest),
            _ if first & SPREAD == 0 => Body::Packed(rest),
            _ => {
                let (id, count) = (take(&mut rest)?, take(&mut rest)?);
                let (mut head, mut bytes) = (0, 0);
                if kind == Kind::List {
                    (head, bytes) = (take(&mut rest)? as i64, take(&mut rest)?);
                }
                Body::Spread(Spread {
                    id,
                    count,
                    head,
                    bytes,
                })
            }
        };
        Some(Record {
            kind,
            flags: first & OF_VALUE,
            expires,
            long_key,
            body,
        })
    }

    /// Writes the record.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let kind = Kind::ALL
            .iter()
            .position(|kind| *kind == self.kind)
            .expect("all are there") as u8;
        let mut first = kind | self.flags & OF_VALUE;
        first |= if self.expires != 0 { EXPIRES } else { 0 };
        first |= if self.long_key.is_some() { LONG_KEY } else { 0 };
        first |= if matches!(self.body, Body::Spread(_)) {
            SPREAD
        } else {
            0
        };
        out.push(first);
        if self.expires != 0 {
            out.extend_from_slice(&self.expires.to_le_bytes());
        }
        if let Some(key) = self.long_key {
            out.extend_from_slice(&(key.len() as u32).to_le_bytes());
            out.extend_from_slice(key);
        }
        match self.body {
            Body::String(bytes) | Body::Packed(bytes) => out.extend_from_slice(bytes),
            Body::Spread(spread) => {
                out.extend_from_slice(&spread.id.to_le_bytes());
                out.extend_from_slice(&spread.count.to_le_bytes());
                if self.kind == Kind::List {
                    out.extend_from_slice(&spread.head.to_le_bytes());
                    out.extend_from_slice(&spread.bytes.to_le_bytes());
                }
            }
        }
    }

    /// Whether its time is up.
    pub(crate) fn is_lapsed(&self, now_ms: u64) -> bool {
        self.expires != 0 && self.expires <= now_ms
    }

    /// The id of its elements, where they have records of their own.
    pub(super) fn id(&self) -> Option<u64> {
        match self.body {
            Body::Spread(spread) => Some(spread.id),
            _ => None,
        }
    }

    /// The key that it belongs to.
    pub(super) fn key(&self, raw: &'a [u8]) -> &'a [u8] {
        self.long_key
            .unwrap_or_else(|| raw.get(HASH_LEN..).unwrap_or_default())
    }

    /// The value of a string.
    pub(crate) fn string(&self) -> Result<&'a [u8], CommandError> {
        match self.body {
            Body::String(value) => Ok(value),
            _ => Err(CommandError::wrong_type()),
        }
    }

    /// Members of a collection, elements of a list; of a string 1.
    pub(crate) fn count(&self) -> u64 {
        match self.body {
            Body::String(_) => 1,
            Body::Packed(packed) => (Packed(packed).count() / self.kind.stride()) as u64,
            Body::Spread(spread) => spread.count,
        }
    }

    /// Whether its elements have records of their own.
    pub(crate) fn is_spread(&self) -> bool {
        matches!(self.body, Body::Spread(_))
    }

    /// Bytes of the record.
    pub(crate) fn len(&self) -> usize {
        match self.body {
            Body::String(bytes) | Body::Packed(bytes) => bytes.len() + 1,
            Body::Spread(_) => 33,
        }
    }
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let (number, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u64::from_le_bytes(*number))
}

/// The value of an [`Entry`].
#[derive(Clone, Debug)]
pub(super) enum Value {
    String(Vec<u8>),
    Packed(Vec<u8>),
    Spread(Spread),
}

/// What is stored under a key before a command changes it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Was {
    pub(super) exists: bool,
    pub(super) expires: u64,
    pub(super) id: Option<u64>,
    /// It had expired, so that for the command it was not there.
    pub(super) lapsed: bool,
}

impl Was {
    pub(super) fn of(record: &Record<'_>, now_ms: u64) -> Was {
        Was {
            exists: true,
            expires: record.expires,
            id: record.id(),
            lapsed: record.is_lapsed(now_ms),
        }
    }
}

/// A key and its value for a command that changes it: changed in memory, elements with records of their own apart, and then saved.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) db: usize,
    pub(crate) kind: Kind,
    pub(super) flags: u8,
    pub(crate) expires: u64,
    pub(super) raw: RawKey,
    pub(super) long_key: Option<Vec<u8>>,
    pub(super) was: Was,
    pub(super) value: Value,
}

impl Entry {
    pub(super) fn empty(db: usize, key: &[u8], raw: RawKey, kind: Kind, was: Was) -> Entry {
        let value = match kind {
            Kind::String => Value::String(Vec::new()),
            _ => Value::Packed(Vec::new()),
        };
        let long_key = layout::is_long(key).then(|| key.to_vec());
        Entry {
            db,
            kind,
            flags: 0,
            expires: 0,
            raw,
            long_key,
            was,
            value,
        }
    }

    pub(super) fn of(db: usize, raw: RawKey, record: &Record<'_>, was: Was) -> Entry {
        let value = match record.body {
            Body::String(bytes) => Value::String(bytes.to_vec()),
            Body::Packed(bytes) => Value::Packed(bytes.to_vec()),
            Body::Spread(spread) => Value::Spread(spread),
        };
        let long_key = record.long_key.map(<[u8]>::to_vec);
        Entry {
            db,
            kind: record.kind,
            flags: record.flags,
            expires: record.expires,
            raw,
            long_key,
            was,
            value,
        }
    }

    /// For reading.
    pub(crate) fn record(&self) -> Record<'_> {
        Record {
            kind: self.kind,
            flags: self.flags,
            expires: self.expires,
            long_key: self.long_key.as_deref(),
            body: match &self.value {
                Value::String(bytes) => Body::String(bytes),
                Value::Packed(bytes) => Body::Packed(bytes),
                Value::Spread(spread) => Body::Spread(*spread),
            },
        }
    }

    /// Members or elements.
    pub(crate) fn count(&self) -> u64 {
        self.record().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_cut_ones_do_not() {
        let spread = Spread {
            id: 7,
            count: 3,
            head: -2,
            bytes: 9,
        };
        let long = vec![1; 600];
        for body in [Body::String(b"v"), Body::Packed(b"\x01a"), Body::Spread(spread)] {
            for (expires, long_key) in [(0, None), (5, None), (u64::MAX, Some(&long[..]))] {
                let kind = if matches!(body, Body::String(_)) {
                    Kind::String
                } else {
                    Kind::List
                };
                let record = Record {
                    kind,
                    flags: WIDE,
                    expires,
                    long_key,
                    body,
                };
                let mut bytes = Vec::new();
                record.encode(&mut bytes);
                let back = Record::decode(&bytes).expect("it was written so");
                assert_eq!(format!("{record:?}"), format!("{back:?}"));
                let cut = 1 + if expires == 0 { 0 } else { 7 };
                assert!(
                    matches!(body, Body::String(_) | Body::Packed(_))
                        || Record::decode(&bytes[..cut]).is_err()
                );
            }
        }
        assert!(Record::decode(&[]).is_err());
        assert!(Record::decode(&[7]).is_err());
    }
}
