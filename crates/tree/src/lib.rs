//! Subtrees as storage contexts, transactions over them, and trees within trees under one root hash.
//!
//! There are two layers, each usable without the other and each in buckets of its own, so that neither can spoil the other's data.
//!
//! - [`Storage`]: five families of keys and values, divided among subtrees by a prefix of 32 bytes. It is used through
//!   [contexts](StorageContext), on their own or in a [`Transaction`], with or without a [`StorageBatch`] between; on
//!   Weald's engine or, with the feature `rocksdb`, on RocksDB, with the same answers and costs.
//! - [`TreeStore`]: trees of [`Element`]s within trees, with a root hash over everything. Answers are proven from a
//!   [`TreeSnapshot`] and checked with nothing but `weald-proof`. A replica fills itself with [`TreeSync`] from sources
//!   that it does not trust.
//!
//! Transactions are serializable: a commit fails with a retryable [`Error::Conflict`] if another changed what the transaction
//! had read. Merkle pages are in no read or write set; a commit brings them up to date with the newest state, in the same atomic
//! step as its data. So there is no lost update and no root that belongs to other data, with however many writers.
//!
//! The price: commits of one database are made one after the other, and with them the Merkle pages of trees that several write to at the same time, such as the outermost.
//! Pages of trees that only one writes to are made before, side by side, and flushes are shared.
//!
//! ```
//! use weald_engine::Database;
//! use weald_tree::{Element, Query, Range, TreeKind, TreeStore, verify};
//!
//! let store = TreeStore::open(Database::in_memory()?)?;
//! let mut tx = store.begin()?;
//! tx.create_tree(&[], b"fruit", TreeKind::Plain)?;
//! tx.put(&[b"fruit"], b"apple", Element::Item(b"red".to_vec()))?;
//! tx.put(&[b"fruit"], b"fig", Element::Item(b"blue".to_vec()))?;
//! tx.commit()?;
//!
//! let snapshot = store.snapshot()?;
//! let query = Query::entries([Range::all()]).at(["fruit"]).limit(1);
//! let proof = snapshot.prove(&query)?;
//!
//! // Elsewhere, with no database:
//! let answer = verify(&proof, &snapshot.root()?, &query)?;
//! assert_eq!(answer.entries()[0].key, b"apple");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod backend;
mod batch;
mod context;
mod cost;
mod error;
mod family;
mod raw_iterator;
#[cfg(feature = "rocksdb")]
mod rocks;
mod source;
mod storage;
mod transaction;
mod tree;

// The integration tests' histories are used by tests in here as well.
#[cfg(test)]
#[path = "../tests/chance/mod.rs"]
mod chance;
#[cfg(test)]
extern crate self as weald_tree;

pub use backend::{Backend, Transactional};
pub use batch::StorageBatch;
pub use context::{Context, StorageContext};
pub use cost::{CostContext, CostResult, OperationCost};
pub use error::{Damage, Error, Result};
pub use family::{Family, PREFIX_LEN, path_prefix};
pub use raw_iterator::RawIterator;
#[cfg(feature = "rocksdb")]
pub use rocks::{Rocks, RocksImmediate, RocksSavepoint, RocksTransacted};
pub use source::{Immediate, OwnedPair, Source, Transacted, Write};
pub use storage::Storage;
pub use transaction::{Savepoint, Transaction};
pub use tree::{
    Applied, CHUNK_LEN_MAX, ChunkError, ChunkId, Difference, MeteredSnapshot, MeteredStore, MeteredTx,
    ProvenChunk, Reclaimed, TreeKind, TreePages, TreeSavepoint, TreeSnapshot, TreeStore, TreeSync, TreeTurns,
    TreeTx, verify_chunk,
};
pub use weald_proof::{
    Answer, Ask, Direction, Element, Entry, Hash, Query, Range, Reference, Select, Totals, prefix, verify,
};
