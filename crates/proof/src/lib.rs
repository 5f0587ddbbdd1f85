//! Trees that can be proven: an answer, a proof of some hundred bytes, and a root hash to check it against.
//!
//! The holder of the data [`prove`]s; whoever knows the root hash [`verify`]s, with neither storage nor trust
//! in the holder. Provable are: that a key is there, with its element; that it is not; all entries of ranges,
//! in either direction, with limit and offset; counts, sums and ranks; and all of it through trees within
//! trees. What is hashed and how, and the grammar of proofs, is written in `docs/tree.md`.
//!
//! - The root hash is a pure function of the contents. No order of writes, no batch size and no chance is in
//!   it.
//! - For each tree and query exactly one proof is accepted; everything else is refused with a typed
//!   [`Error`], in time and memory in proportion to the proof.
//! - Nobody can choose keys that make proofs or updates large: see `docs/tree.md` for the bounds.
//!
//! The price: a holder keeps some 75 bytes and the key once more for each entry, and a proof shows the
//! neighbours of a range, with their keys.
//!
//! Without the default feature `prove` this is a verifier: `no_std`, BLAKE3 its only dependency.
//!
//! ```
//! # #[cfg(feature = "prove")] {
//! use weald_proof::{Element, Forest, Query, Range, prove, verify};
//!
//! // Here is the data.
//! let mut forest = Forest::new();
//! for (key, value) in [("apple", 3), ("fig", 1), ("pear", 5)] {
//!     forest.put(&[], key.as_bytes(), Element::SumItem(value))?;
//! }
//! let root = forest.root();
//! let query = Query::entries([Range::of(&b"b"[..]..)]);
//! let proof = prove(&forest, &query).unwrap();
//!
//! // Elsewhere there are the root hash, the query and the proof.
//! let answer = verify(&proof, &root, &query)?;
//! let keys: Vec<&[u8]> = answer.entries().iter().map(|entry| &entry.key[..]).collect();
//! assert_eq!(keys, [b"fig".as_slice(), b"pear"]);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;
// The integration tests name the crate; some are unit tests too.
#[cfg(all(test, feature = "prove"))]
extern crate self as weald_proof;

mod answer;
#[cfg(all(test, feature = "prove"))]
mod canary;
mod codec;
mod element;
mod error;
mod hash;
mod layer;
mod node;
mod planted;
#[cfg(feature = "prove")]
mod prove;
mod query;
mod selection;
mod verify;

pub use answer::{Answer, Entry, Totals};
pub use codec::{Fault, Malformed};
pub use element::{Element, Reference};
pub use error::Error;
pub use hash::{HASH_LEN, Hash};
pub use node::{DEPTH_MAX, LEVELS_MAX, Node, prefix, value_hash};
#[cfg(feature = "prove")]
pub use prove::{
    Changes, Forest, ForestError, HEIGHT_MAX, MemoryPages, Overflow, PAGE_LEN_MAX, Page, PageChange,
    PageEntry, Pages, ProveError, Trees, UpdateError, height, prove, update,
};
pub use query::{Ask, Direction, NESTING_MAX, Query, QueryError, Range, Select};
pub use verify::{PROOF_LEN_MAX, PROOF_VERSION, verify};
