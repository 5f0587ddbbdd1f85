//! Trees within trees, under one root hash.
//!
//! ```text
//!  all      prefix 'e' key        what the key holds; of a subtree its kind and generation
//!           prefix 'g' key        generation and kind of the subtree there, also when it is dropped
//!           prefix 'n' level key  an entry of a Merkle page
//!           prefix 't'            the topmost node of the tree, and its level
//!  dropped  prefix                the path of a dropped tree, until all it held is reclaimed
//!  format   'version'             the version of all this
//!  sync     see `sync`            what is left to fetch of trees that come from elsewhere
//! ```
//!
//! A transaction writes entries, and notes which. Its commit `settle`s, which is to bring the pages of the trees concerned up to date, from the innermost outwards: first on
//! its own snapshot, beside others, and then, when what it read is validated, what others have changed on the newest state (`prepared`). All is committed together. What a subtree's hash is
//! lies beside its entry, not in it; so that its change is no conflict for those who only passed through.

mod answer;
mod cache;
mod checkpoint;
mod diff;
mod format;
mod found;
#[cfg(test)]
mod interleaved;
mod meter;
mod metered;
mod pages;
mod planted;
mod prepared;
mod reader;
mod reclaim;
mod record;
mod settle;
#[cfg(test)]
mod shortcuts;
mod snapshot;
mod store;
mod sync;
mod turns;
mod tx;

pub use diff::Difference;
pub use metered::{MeteredSnapshot, MeteredStore, MeteredTx};
pub use pages::TreePages;
pub use reclaim::Reclaimed;
pub use record::TreeKind;
pub use snapshot::TreeSnapshot;
pub use store::TreeStore;
pub use sync::{Applied, CHUNK_LEN_MAX, ChunkError, ChunkId, ProvenChunk, TreeSync, verify_chunk};
pub use turns::TreeTurns;
pub use tx::{TreeSavepoint, TreeTx};

use crate::family::Layout;

/// The buckets of a [`TreeStore`].
const TREES: Layout = Layout::new("weald tree ", &[ALL, DROPPED, FORMAT, SYNC]);
const ALL: &str = "all";
const DROPPED: &str = "dropped";
const FORMAT: &str = "format";
const SYNC: &str = "sync";

/// A path as it is handed around.
type Path = Vec<Vec<u8>>;
