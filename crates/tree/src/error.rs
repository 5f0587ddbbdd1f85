//! What can go wrong, and what it leaves behind.

use weald_proof::QueryError;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. Unless a variant says otherwise, nothing was changed and the transaction goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another commit changed what the transaction had read. Nothing was committed: run it again.
    #[error("the transaction read what another has changed since: run it again")]
    Conflict,

    /// The engine failed.
    #[error(transparent)]
    Engine(weald_engine::Error),

    /// RocksDB failed.
    #[cfg(feature = "rocksdb")]
    #[error(transparent)]
    Rocks(#[from] rocksdb::Error),

    /// The transaction was committed or rolled back before, and this context of it has nothing to work on.
    #[error("the transaction is over")]
    Finished,

    /// The savepoint is of another transaction, or was taken back.
    #[error("the savepoint is gone: it is another transaction's, or lies after one that was gone back to")]
    SavepointGone,

    /// There is no subtree at the path.
    #[error("there is no subtree at the path: its first {depth} segments lead to one, the next does not")]
    NoSubtree {
        /// How many segments lead to a subtree.
        depth: usize,
    },

    /// The path is longer than proofs reach.
    #[error("a path has at most {max} segments, not {len}")]
    PathTooLong {
        /// Its length.
        len: usize,
        /// The longest.
        max: usize,
    },

    /// The key is longer than the database takes.
    #[error("a key of a tree has at most {max} bytes in this database, not {len}")]
    KeyTooLong {
        /// Its length.
        len: usize,
        /// The longest.
        max: usize,
    },

    /// The element can't be stored.
    #[error("the element can't be stored: {why}")]
    InvalidElement {
        /// Why.
        why: &'static str,
    },

    /// The key holds something that this would silently replace: delete or drop it first.
    #[error("the key holds {what} already")]
    Occupied {
        /// What it holds.
        what: &'static str,
    },

    /// References lead back to where they began, or through more others than are followed.
    #[error("the references go in a circle, or through more than {max} others")]
    ReferenceLoop {
        /// How many are followed.
        max: usize,
    },

    /// A reference leads to no element.
    #[error("a reference leads nowhere")]
    DanglingReference,

    /// The count or the sum of a tree would be too large. Nothing was committed.
    #[error("the count or the sum of a tree would be too large")]
    Overflow,

    /// The trees are of a format that this version of the library does not know. Nothing was changed.
    #[error("the trees are of format {found}, and this is a library for format {known}")]
    UnknownFormat {
        /// The format found.
        found: u32,
        /// The format that is known.
        known: u32,
    },

    /// The query has no answer.
    #[error("the query can't be answered: {0:?}")]
    Query(QueryError),

    /// A chunk, or what should name one, was refused. Nothing was changed: ask another source.
    #[error(transparent)]
    Chunk(#[from] crate::tree::ChunkError),

    /// A chunk was asked for that begins after the last entry of its tree.
    #[error("there is no such chunk: the tree ends before it")]
    NoSuchChunk,

    /// An entry is too large for a chunk, and for any proof.
    #[error("an entry makes a chunk of {len} bytes, and one has at most {max}")]
    EntryTooLarge {
        /// Bytes of the chunk.
        len: usize,
        /// The most that there may be.
        max: usize,
    },

    /// Trees can only be fetched into a store that has none.
    #[error("the store has trees of its own, so others can't be fetched into it")]
    NotEmpty,

    /// The store is being filled with the trees of another root hash.
    #[error("the store is being filled with the trees of another root hash, {root}")]
    SyncOfAnother {
        /// That root hash.
        root: weald_proof::Hash,
    },

    /// Nothing is being fetched into the store, or not any more.
    #[error("nothing is being fetched into the store")]
    NoSync,

    /// Not all that is wanted has come.
    #[error("not all of the trees has come")]
    Incomplete,

    /// All that was wanted has come, and the root hash is another than was asked for: somebody else wrote to the store, or whoever made the
    /// root hash did not keep the rules.
    #[error("all of the trees has come, but their root hash is {root}")]
    OtherRoot {
        /// The root hash that they have.
        root: weald_proof::Hash,
    },

    /// What is stored can't be right. Nothing was committed.
    #[error(transparent)]
    Damaged(#[from] Damage),
}

/// Stored bytes that can't be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored tree is damaged: {what}")]
pub struct Damage {
    /// What is wrong.
    pub what: &'static str,
}

impl Error {
    /// Whether the same transaction may succeed if it is run again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Conflict)
    }

    pub(crate) fn damaged(what: &'static str) -> Error {
        Error::Damaged(Damage { what })
    }
}

impl From<weald_engine::Error> for Error {
    fn from(error: weald_engine::Error) -> Error {
        match error {
            weald_engine::Error::Conflict => Error::Conflict,
            weald_engine::Error::SavepointGone => Error::SavepointGone,
            other => Error::Engine(other),
        }
    }
}
