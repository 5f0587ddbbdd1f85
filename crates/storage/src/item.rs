//! What a key holds, and which of two items wins.

use std::cmp::Ordering;
use std::fmt;

use crate::error::{Error, Result};

/// When something was written, and by whom: the greater wins. The node settles what two nodes wrote at the same time, everywhere the
/// same way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// A hybrid logical clock's reading: 48 bits of milliseconds, 16 of counter.
    pub time: u64,
    /// The node that made it.
    pub node: u64,
}

impl Version {
    /// A version from its parts.
    pub const fn new(time: u64, node: u64) -> Version {
        Version { time, node }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}@{:x}", self.time >> 16, self.time & 0xffff, self.node)
    }
}

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// When it was written.
    pub version: Version,
    /// From when on it counts as deleted, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// The value; `None` where the key was deleted.
    pub value: Option<Vec<u8>>,
    /// What else the writer keeps with the key, such as what was promised to whom in an agreement about it. Empty for most.
    pub note: Vec<u8>,
}

impl Item {
    /// A value that doesn't expire.
    pub fn value(version: Version, value: impl Into<Vec<u8>>) -> Item {
        Item {
            version,
            expires_ms: None,
            value: Some(value.into()),
            note: Vec::new(),
        }
    }

    /// The mark of a deletion.
    pub fn tombstone(version: Version) -> Item {
        Item {
            version,
            expires_ms: None,
            value: None,
            note: Vec::new(),
        }
    }

    /// The same, gone from then on.
    pub fn expiring(mut self, expires_ms: u64) -> Item {
        self.expires_ms = Some(expires_ms);
        self
    }

    /// Whether a reader at that time sees a value.
    pub fn is_live(&self, now_ms: u64) -> bool {
        self.value.is_some() && self.expires_ms.is_none_or(|expires| now_ms < expires)
    }

    /// Whether this replaces the other. Two items of one version are the same item unless somebody broke the rules; then too every
    /// store picks the same one: the deletion, or else the greater bytes.
    pub fn supersedes(&self, other: &Item) -> bool {
        let rank = |item: &Item| (item.version, item.value.is_none());
        rank(self)
            .cmp(&rank(other))
            .then_with(|| self.value.cmp(&other.value))
            .then_with(|| self.expires_ms.cmp(&other.expires_ms))
            .then_with(|| self.note.cmp(&other.note))
            == Ordering::Greater
    }

    /// The item as backends store it: a byte of flags, which also says the layout; the version; the expiry and the note,
    /// with its length, where there are any; the value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let header = Header {
            version: self.version,
            expires_ms: self.expires_ms,
            deleted: self.value.is_none(),
            note: &self.note,
        };
        header.encode(out);
        out.extend(self.value.iter().flatten());
    }

    /// The most bytes that it takes when stored.
    pub fn size(&self) -> usize {
        OVERHEAD_MAX + self.note.len() + self.value.as_ref().map_or(0, Vec::len)
    }

    /// The stored form, as bytes of their own.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.size());
        self.encode(&mut out);
        out
    }

    /// Reads what [`encode`](Item::encode) wrote. The key is only for the error.
    pub fn decode(key: &[u8], bytes: &[u8]) -> Result<Item> {
        let (header, value) = Header::of(key, bytes)?;
        Ok(Item {
            version: header.version,
            expires_ms: header.expires_ms,
            value: (!header.deleted).then(|| value.to_vec()),
            note: header.note.to_vec(),
        })
    }
}

const LAYOUT: u8 = 0x10;
const DELETED: u8 = 1;
const EXPIRES: u8 = 2;
const NOTED: u8 = 4;

/// The most bytes that an item takes beside its value and note.
pub(crate) const OVERHEAD_MAX: usize = 33;

/// What stands before the value of a stored item.
pub(crate) struct Header<'b> {
    pub(crate) version: Version,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) deleted: bool,
    pub(crate) note: &'b [u8],
}

impl Header<'_> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut flags = LAYOUT;
        flags |= if self.deleted { DELETED } else { 0 };
        flags |= if self.expires_ms.is_some() { EXPIRES } else { 0 };
        flags |= if self.note.is_empty() { 0 } else { NOTED };
        out.push(flags);
        out.extend_from_slice(&self.version.time.to_be_bytes());
        out.extend_from_slice(&self.version.node.to_be_bytes());
        if let Some(expires_ms) = self.expires_ms {
            out.extend_from_slice(&expires_ms.to_be_bytes());
        }
        if !self.note.is_empty() {
            out.extend_from_slice(&(self.note.len() as u64).to_be_bytes());
            out.extend_from_slice(self.note);
        }
    }

    /// Of what a key holds, and the value after it. The key is only for the error.
    pub(crate) fn of<'b>(key: &[u8], bytes: &'b [u8]) -> Result<(Header<'b>, &'b [u8])> {
        Header::read(bytes).map_err(|problem| Error::Corrupt {
            key: key.to_vec(),
            problem,
        })
    }

    fn read(bytes: &[u8]) -> Result<(Header<'_>, &[u8]), &'static str> {
        let (&flags, rest) = bytes.split_first().ok_or("it is empty")?;
        if flags & !(DELETED | EXPIRES | NOTED) != LAYOUT {
            return Err("its layout is unknown");
        }
        let (time, rest) = number(rest)?;
        let (node, rest) = number(rest)?;
        let (expires_ms, rest) = if flags & EXPIRES == 0 {
            (None, rest)
        } else {
            let (expires, rest) = number(rest)?;
            (Some(expires), rest)
        };
        let (note, rest) = if flags & NOTED == 0 {
            (&[][..], rest)
        } else {
            let (len, rest) = number(rest)?;
            let len = usize::try_from(len)
                .ok()
                .filter(|len| *len > 0)
                .ok_or("the length of its note is impossible")?;
            rest.split_at_checked(len).ok_or("it is cut short")?
        };
        let deleted = flags & DELETED != 0;
        if deleted && !rest.is_empty() {
            return Err("it is deleted and has a value");
        }
        let header = Header {
            version: Version { time, node },
            expires_ms,
            deleted,
            note,
        };
        Ok((header, rest))
    }
}

fn number(bytes: &[u8]) -> Result<(u64, &[u8]), &'static str> {
    let (number, rest) = bytes.split_first_chunk().ok_or("it is cut short")?;
    Ok((u64::from_be_bytes(*number), rest))
}

/// A key and what it holds, or shall hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Vec<u8>,
    /// The item.
    pub item: Item,
}

impl Entry {
    /// An item under a key.
    pub fn new(key: impl Into<Vec<u8>>, item: Item) -> Entry {
        Entry {
            key: key.into(),
            item,
        }
    }
}

/// What became of an entry that was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is what the key holds now.
    Applied,
    /// The key holds something newer, or this already.
    Stale,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(item: &Item) {
        let bytes = item.to_bytes();
        assert_eq!(Item::decode(b"k", &bytes).unwrap(), *item);
        let value_at = bytes.len() - item.value.as_ref().map_or(0, Vec::len);
        for cut in 0..value_at {
            assert!(Item::decode(b"k", &bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn items_are_read_back_as_they_were_and_cut_ones_refused() {
        let version = Version::new(0x0123_4567_89ab_cdef, u64::MAX);
        check(&Item::value(version, ""));
        check(&Item::value(version, "value").expiring(77));
        check(&Item {
            note: b"promised".to_vec(),
            ..Item::tombstone(version)
        });
        check(&Item {
            note: vec![7; 300],
            ..Item::value(version, "value").expiring(u64::MAX)
        });
        check(&Item::tombstone(version));
        check(&Item::tombstone(version).expiring(0));
    }

    #[test]
    fn unknown_layouts_and_deleted_values_are_refused() {
        let mut bytes = Item::tombstone(Version::new(1, 1)).to_bytes();
        bytes.push(0);
        assert!(Item::decode(b"k", &bytes).is_err());
        for flags in (0..=255).filter(|flags| flags & 0xf8 != LAYOUT) {
            let mut bytes = Item::value(Version::new(1, 1), "v").to_bytes();
            bytes[0] = flags;
            assert!(Item::decode(b"k", &bytes).is_err(), "flags {flags:#x}");
        }
    }

    #[test]
    fn of_two_items_exactly_one_wins_unless_they_are_the_same() {
        let mut items = Vec::new();
        for (time, node) in [(1, 1), (1, 2), (2, 1)] {
            let version = Version::new(time, node);
            items.push(Item::tombstone(version));
            items.push(Item::value(version, "a"));
            items.push(Item::value(version, "b"));
            items.push(Item::value(version, "b").expiring(5));
        }
        for one in &items {
            for other in &items {
                let wins = usize::from(one.supersedes(other)) + usize::from(other.supersedes(one));
                assert_eq!(wins, usize::from(one != other), "{one:?} and {other:?}");
            }
        }
    }
}
