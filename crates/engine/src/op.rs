//! One change to one tree: what a transaction stages, the log records and a tree applies.

use crate::ids::{PagePtr, TreeId};

/// What a key is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) value: Value<'a>,
    /// When the key stops being visible, in milliseconds since 1970; `None` for never.
    pub(crate) expires: Option<u64>,
}

/// A value as a leaf holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// In the leaf itself.
    Inline(&'a [u8]),
    /// In a run of pages of its own.
    Large(LargeRef),
}

impl Value<'_> {
    /// How much of a leaf it takes.
    pub(crate) fn bytes_in_leaf(&self) -> usize {
        match self {
            Value::Inline(value) => value.len(),
            Value::Large(_) => LargeRef::LEN,
        }
    }
}

/// Where a large value is: a run of contiguous pages that begins with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LargeRef {
    pub(crate) first: PagePtr,
    /// Bytes of the value, without the header and the checksums of the run.
    pub(crate) len: u64,
    /// Of the run's header, which in turn vouches for the rest.
    pub(crate) checksum: u64,
}

impl LargeRef {
    /// Bytes of its encoding.
    pub(crate) const LEN: usize = 24;

    pub(crate) fn encode(self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..8].copy_from_slice(&self.first.to_bits().to_le_bytes());
        out[8..16].copy_from_slice(&self.len.to_le_bytes());
        out[16..].copy_from_slice(&self.checksum.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8; Self::LEN]) -> LargeRef {
        let word = |i: usize| u64::from_le_bytes(bytes[i * 8..i * 8 + 8].try_into().expect("eight bytes"));
        LargeRef {
            first: PagePtr::from_bits(word(0)),
            len: word(1),
            checksum: word(2),
        }
    }
}

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op<'a> {
    Put {
        tree: TreeId,
        key: &'a [u8],
        entry: Entry<'a>,
    },
    Delete {
        tree: TreeId,
        key: &'a [u8],
    },
    /// Deletes the keys from `start` (included) up to `end` (excluded; `None` for no end).
    DeleteRange {
        tree: TreeId,
        start: &'a [u8],
        end: Option<&'a [u8]>,
    },
    /// Forgets the whole tree.
    DropTree {
        tree: TreeId,
    },
    /// Changes no tree: the run of a large value that an operation after this one puts, without the zeros at the end of its last page. It is not in
    /// the file before the next checkpoint.
    Run {
        large: LargeRef,
        bytes: &'a [u8],
    },
}
