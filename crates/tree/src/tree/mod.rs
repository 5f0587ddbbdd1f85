//! Trees within trees, under one root hash.
//!
//! ```text
//!  entries   prefix key          what the key holds; of a subtree its kind and generation
//!  roots     prefix 't'          the topmost node of the tree, and its level
//!            prefix 'g' key      generation and kind of the subtree there, also when it is dropped
//!  pages     prefix level key    Merkle pages, or as much of each as lies beside a key
//!  page tails  the same and a number: the rest
//!  dropped   prefix              the path of a dropped tree, until all it held is reclaimed
//!  sync      see `sync`          what is left to fetch of trees that come from elsewhere
//! ```
//!
//! A transaction writes entries, and notes which. Its commit validates what it read, then `settle`s: on the newest state it
//! brings the pages of the trees concerned up to date, from the innermost outwards, and all is committed together. What a subtree's hash is
//! lies beside its entry, not in it; so that its change is no conflict for those who only passed through.

mod answer;
mod checkpoint;
mod diff;
mod pages;
mod reader;
mod reclaim;
mod record;
mod settle;
mod snapshot;
mod store;
mod sync;
mod tx;

pub use diff::Difference;
pub use pages::TreePages;
pub use reclaim::Reclaimed;
pub use record::TreeKind;
pub use snapshot::TreeSnapshot;
pub use store::TreeStore;
pub use sync::{Applied, CHUNK_LEN_MAX, ChunkError, ChunkId, ProvenChunk, TreeSync, verify_chunk};
pub use tx::{TreeSavepoint, TreeTx};

use crate::family::Layout;

/// The buckets of a [`TreeStore`].
const TREES: Layout = Layout::new("weald tree ", &[ENTRIES, ROOTS, PAGES, TAILS, DROPPED, SYNC]);
const ENTRIES: &str = "entries";
const ROOTS: &str = "roots";
const PAGES: &str = "pages";
const TAILS: &str = "page tails";
const DROPPED: &str = "dropped";
const SYNC: &str = "sync";

/// A path as it is handed around.
type Path = Vec<Vec<u8>>;
