//! The operations of a transaction in the order that they were made, with their bytes in the arena.

use std::sync::Arc;

use super::arena::{Arena, ArenaPool, Mark, Place};
use crate::ids::TreeId;
use crate::op::{Entry, LargeRef, Value};

/// What a staged operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Put,
    PutLarge,
    Delete,
    Merge,
    /// The key is the start, the value is the end.
    DeleteRange,
    /// The key is the start; there is no end.
    DeleteFrom,
    DropTree,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct StagedOp {
    tree: TreeId,
    /// When a put expires, or the operator of a merge.
    extra: u64,
    place: Place,
    key_len: u32,
    value_len: u32,
    kind: Kind,
    expires: bool,
}

/// The number of an operation in the log.
pub(super) type OpNumber = u32;

/// One more than any operation number.
pub(super) const NO_OP: OpNumber = u32::MAX;

pub(super) struct Log {
    arena: Arena,
    ops: Vec<StagedOp>,
    secure: bool,
}

/// An operation as the stage is told it.
pub(super) struct Change<'a> {
    pub(super) kind: Kind,
    pub(super) tree: TreeId,
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) expires: Option<u64>,
    pub(super) operator: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct LogMark {
    pub(super) len: usize,
    arena: Mark,
}

impl Log {
    pub(super) fn new(pool: &Arc<ArenaPool>) -> Log {
        Log {
            arena: Arena::new(pool),
            ops: Vec::new(),
            secure: pool.is_secure(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ops.len()
    }

    /// Bytes of memory that the log fills.
    pub(super) fn bytes(&self) -> usize {
        self.arena.bytes() + self.ops.len() * size_of::<StagedOp>()
    }

    #[inline]
    pub(super) fn push(&mut self, change: &Change<'_>) -> OpNumber {
        let number = self.ops.len();
        if number == self.ops.capacity() {
            self.grow();
        }
        assert!(
            number < NO_OP as usize,
            "a stage holds fewer than 2^32 operations"
        );
        // Lengths are checked before bytes are stored, so that the cast below can't cut one.
        assert!(
            change.key.len().max(change.value.len()) <= u32::MAX as usize / 2,
            "keys and values are bounded before they are staged"
        );
        let place = self.arena.push(change.key, change.value);
        self.ops.push(StagedOp {
            tree: change.tree,
            extra: change.expires.unwrap_or(change.operator.into()),
            place,
            key_len: change.key.len() as u32,
            value_len: change.value.len() as u32,
            kind: change.kind,
            expires: change.expires.is_some(),
        });
        number as OpNumber
    }

    #[cold]
    fn grow(&mut self) {
        if self.ops.capacity() == 0 {
            self.ops = self.arena.pool().take_log();
        }
        if self.ops.len() == self.ops.capacity() {
            self.ops.reserve(16);
        }
    }

    pub(super) fn tree(&self, op: OpNumber) -> TreeId {
        self.ops[op as usize].tree
    }

    pub(super) fn kind(&self, op: OpNumber) -> Kind {
        self.ops[op as usize].kind
    }

    #[inline]
    pub(super) fn key(&self, op: OpNumber) -> &[u8] {
        let op = &self.ops[op as usize];
        self.arena.bytes_at(op.place, 0, op.key_len)
    }

    /// The value of a put, the operand of a merge or the end of a range.
    pub(super) fn value(&self, op: OpNumber) -> &[u8] {
        let op = &self.ops[op as usize];
        self.arena.bytes_at(op.place, op.key_len, op.value_len)
    }

    /// The end of a range; `None` for a range without end.
    pub(super) fn range_end(&self, op: OpNumber) -> Option<&[u8]> {
        (self.kind(op) == Kind::DeleteRange).then(|| self.value(op))
    }

    /// The operator of a merge.
    pub(super) fn operator(&self, op: OpNumber) -> u32 {
        self.ops[op as usize].extra as u32
    }

    pub(super) fn large(&self, op: OpNumber) -> LargeRef {
        let bytes = self
            .value(op)
            .try_into()
            .expect("a staged large value is a reference");
        LargeRef::decode(bytes)
    }

    /// What a put sets its key to.
    pub(super) fn entry(&self, op: OpNumber) -> Entry<'_> {
        let staged = &self.ops[op as usize];
        let value = match staged.kind {
            Kind::PutLarge => Value::Large(self.large(op)),
            _ => Value::Inline(self.value(op)),
        };
        let expires = staged.expires.then_some(staged.extra);
        Entry { value, expires }
    }

    /// The first bytes of a key as a number that sorts like them. In secure mode there are none: key bytes stay in the arena, which
    /// is wiped, and every comparison goes there.
    #[inline]
    pub(super) fn prefix(&self, key: &[u8]) -> u64 {
        if self.secure {
            return 0;
        }
        match key.first_chunk::<8>() {
            Some(first) => u64::from_be_bytes(*first),
            None => {
                let mut padded = [0; 8];
                padded[..key.len()].copy_from_slice(key);
                u64::from_be_bytes(padded)
            }
        }
    }

    pub(super) fn is_secure(&self) -> bool {
        self.secure
    }

    pub(super) fn mark(&self) -> LogMark {
        LogMark {
            len: self.ops.len(),
            arena: self.arena.mark(),
        }
    }

    pub(super) fn rollback_to(&mut self, mark: LogMark) {
        self.ops.truncate(mark.len);
        self.arena.rollback_to(mark.arena);
    }

    pub(super) fn clear(&mut self) {
        self.arena.clear();
        let ops = std::mem::take(&mut self.ops);
        self.arena.pool().release_log(ops);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.clear();
    }
}
