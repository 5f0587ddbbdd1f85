//! The side that holds the data: pages, where they are cut, updates, and the making of proofs.
//!
//! Storage supplies [`Pages`] and [`Trees`]; nothing here keeps anything. [`Forest`] is such a storage, in
//! memory.

mod cut;
mod finger;
mod forest;
mod nodes;
mod page;
mod prover;
mod source;
mod update;

pub use forest::{Forest, ForestError, MemoryPages};
pub use page::{HEIGHT_MAX, Overflow, PAGE_LEN_MAX, Page, PageEntry, height};
pub use prover::{ProveError, prove};
pub use source::{Pages, Trees};
pub use update::{Changes, PageChange, UpdateError, update};
