//! Where everything is as of one commit: the roots of all trees.

use crate::ids::{Lsn, PagePtr, TreeId, TxId};
use crate::tree::Root;

/// What is kept of a tree beside its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TreeRecord {
    pub(crate) root: Root,
    /// Keys in the tree, those included that have expired and were not collected yet.
    pub(crate) len: u64,
    /// Values that are stored in runs of pages of their own: where there are none, dropping the tree need not read its leaves.
    pub(crate) large: u64,
}

impl TreeRecord {
    pub(crate) const EMPTY: TreeRecord = TreeRecord {
        root: Root::EMPTY,
        len: 0,
        large: 0,
    };
    /// Words of its encoding.
    const WORDS: usize = 4;
    /// Bytes of its encoding.
    pub(crate) const LEN: usize = Self::WORDS * 8;

    fn to_words(self) -> [u64; Self::WORDS] {
        [
            self.root.ptr.to_bits(),
            u64::from(self.root.level),
            self.len,
            self.large,
        ]
    }

    fn from_words(words: &[u64]) -> TreeRecord {
        // A level that no tree has reads as one that every page contradicts.
        let level = u8::try_from(words[1]).unwrap_or(u8::MAX);
        TreeRecord {
            root: Root {
                ptr: PagePtr::from_bits(words[0]),
                level,
            },
            len: words[2],
            large: words[3],
        }
    }

    pub(crate) fn encode(self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        for (chunk, word) in out.chunks_exact_mut(8).zip(self.to_words()) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<TreeRecord> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        let mut words = [0; Self::WORDS];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
        }
        Some(TreeRecord::from_words(&words))
    }
}

/// The state of the database as of one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Roots {
    pub(crate) txid: TxId,
    /// Where the log goes on after this commit.
    pub(crate) lsn: Lsn,
    /// The id of the next tree that is created.
    pub(crate) next_tree: u64,
    /// The trees that every database has: see [`TreeId`].
    pub(crate) fixed: [TreeRecord; Self::FIXED],
    /// Tree id → [`TreeRecord`], of the trees of all buckets but the root.
    pub(crate) catalog: TreeRecord,
}

impl Roots {
    const FIXED: usize = 4;
    pub(crate) const WORDS: usize = 3 + (Self::FIXED + 1) * TreeRecord::WORDS;

    pub(crate) fn empty() -> Roots {
        Roots {
            txid: TxId(0),
            lsn: Lsn(0),
            next_tree: TreeId::FIRST_USER,
            fixed: [TreeRecord::EMPTY; Self::FIXED],
            catalog: TreeRecord::EMPTY,
        }
    }

    /// The record of one of the trees that every database has.
    pub(crate) fn fixed(&self, tree: TreeId) -> Option<&TreeRecord> {
        self.fixed.get(usize::try_from(tree.0).ok()?)
    }

    pub(crate) fn fixed_mut(&mut self, tree: TreeId) -> Option<&mut TreeRecord> {
        self.fixed.get_mut(usize::try_from(tree.0).ok()?)
    }

    pub(crate) fn to_words(self) -> [u64; Self::WORDS] {
        let mut words = [0; Self::WORDS];
        words[..3].copy_from_slice(&[self.txid.0, self.lsn.0, self.next_tree]);
        let records = self.fixed.iter().chain([&self.catalog]);
        for (chunk, record) in words[3..].chunks_exact_mut(TreeRecord::WORDS).zip(records) {
            chunk.copy_from_slice(&record.to_words());
        }
        words
    }

    pub(crate) fn from_words(words: &[u64; Self::WORDS]) -> Roots {
        let record =
            |i: usize| TreeRecord::from_words(&words[3 + i * TreeRecord::WORDS..][..TreeRecord::WORDS]);
        Roots {
            txid: TxId(words[0]),
            lsn: Lsn(words[1]),
            next_tree: words[2],
            fixed: std::array::from_fn(record),
            catalog: record(Self::FIXED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(n: u64) -> Roots {
        let words: [u64; Roots::WORDS] =
            std::array::from_fn(|i| if i >= 3 && i % 4 == 0 { n % 20 } else { n });
        Roots::from_words(&words)
    }

    #[test]
    fn words_and_back() {
        assert_eq!(Roots::from_words(&roots(7).to_words()), roots(7));
        let record = roots(9).catalog;
        assert_eq!(TreeRecord::decode(&record.encode()), Some(record));
        assert_eq!(TreeRecord::decode(&record.encode()[1..]), None);
    }
}
