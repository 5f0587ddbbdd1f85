//! Filling a replica from sources that it does not trust.
//!
//! ```text
//!  source                                replica
//!  TreeSnapshot::chunk ◄─── ChunkId ───  TreeSync::wanted      what is not there yet
//!                      ──── bytes ────►  TreeSync::apply       chunk: proven against the one root hash, or refused
//!                                           └─► progress       what is left, committed together with the entries
//! ```
//!
//! A chunk is a run of entries of one tree, by their position, with the proof that they stand there: the same proof as of any other query,
//! and so the same verifier. It needs nothing but the root hash, so chunks may come in any order and from anywhere. A tree's first chunk
//! proves its count as well, from which on all others are known. A subtree is wanted once the chunk that holds it has come.

mod chunk;
mod progress;
mod replica;
mod serve;

pub use chunk::{CHUNK_LEN_MAX, ChunkError, ChunkId, ProvenChunk, verify_chunk};
pub use replica::{Applied, TreeSync};
