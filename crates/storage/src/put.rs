//! Plain writes: values that replace what is older, decided by what stands before a value, so that nobody has to read that.

#[cfg(feature = "memory")]
use crate::item::Header;
use crate::item::{Item, Version};

/// A value, or a deletion, that replaces what is older.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Put<'p> {
    /// Where it goes.
    pub key: &'p [u8],
    /// When it was written.
    pub version: Version,
    /// From when on it counts as deleted, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// The value; `None` deletes.
    pub value: Option<&'p [u8]>,
}

/// What a key held, but for the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// When it was written.
    pub version: Version,
    /// What else its writer kept with it.
    pub note: Vec<u8>,
}

impl Put<'_> {
    /// Whether it takes the place of that: of nothing, and of what is older and has no note.
    pub fn replaces(&self, held: Option<&Held>) -> bool {
        held.is_none_or(|held| held.note.is_empty() && held.version < self.version)
    }

    /// The item that it makes.
    pub fn to_item(&self) -> Item {
        Item {
            version: self.version,
            expires_ms: self.expires_ms,
            value: self.value.map(<[u8]>::to_vec),
            note: Vec::new(),
        }
    }

    /// That item as backends store it.
    #[cfg(feature = "memory")]
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let header = Header {
            version: self.version,
            expires_ms: self.expires_ms,
            deleted: self.value.is_none(),
            note: &[],
        };
        header.encode(out);
        out.extend_from_slice(self.value.unwrap_or_default());
    }
}

impl Held {
    /// Of an item as backends store it.
    #[cfg(feature = "memory")]
    pub(crate) fn decode(key: &[u8], bytes: &[u8]) -> crate::error::Result<Held> {
        let (header, _) = Header::of(key, bytes)?;
        Ok(Held {
            version: header.version,
            note: header.note.to_vec(),
        })
    }
}
