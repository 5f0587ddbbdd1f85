//! One interface over the stores that a replica can keep its data in.
//!
//! Every key holds one [`Item`]: a version and a value, or a version and the mark that it was deleted. Writing applies only what is newer than
//! what is there, compared inside the store, so that the same items applied in any order, any number of times, leave the same
//! contents. That is what replicas converge by.
//!
//! Backends are Cargo features, opened by name:
//!
//! | name | feature | what it is | durable |
//! | --- | --- | --- | --- |
//! | `memory` | `memory` (default) | Weald's shared memory, private to the process | no |
//! | `file` | `file` (default) | Weald's engine: one file | yes |
//! | `lsm` | `lsm` | fjall, a log-structured merge tree | yes |
//! | `cache` | `cache` | moka: forgets what is least used when its budget is full | no |
//! | `rocksdb` | `rocksdb` | RocksDB; builds C++ | yes |
//! | `etcd` | `etcd` | an etcd cluster that runs already: linearizable, small | yes |
//! | `redis-cluster` | `redis-cluster` | a Redis Cluster that runs already, or what speaks its protocol | as that is set up |
//!
//! ```
//! use weald_storage::{Durability, Entry, Item, Options, Outcome, Registry, Version};
//!
//! let store = Registry::compiled().open("memory", &Options::new())?;
//! let entry = Entry::new("colour", Item::value(Version::new(7, 1), "green"));
//! assert_eq!(store.apply(&[entry], Durability::None)?, [Outcome::Applied]);
//!
//! // What is older changes nothing, whenever it comes.
//! let late = Entry::new("colour", Item::value(Version::new(5, 2), "red"));
//! assert_eq!(store.apply(&[late], Durability::None)?, [Outcome::Stale]);
//! assert_eq!(store.get(b"colour")?.unwrap().value.as_deref(), Some(&b"green"[..]));
//! # Ok::<(), weald_storage::Error>(())
//! ```
//!
//! A tier of shared memory can sit before any backend of one's own, so that what is read often is not read from it again: see [`HotTier`] and
//! [`Options::hot_bytes`].
//!
//! # Trade-offs
//!
//! A version costs 16 bytes a key, and each write reads what is there first. A backend that only knows single puts (`lsm`, `rocksdb`) gets a
//! lock over the keys of a batch from us. [`conformance`] is the suite that a backend of your own can be held against.
#![forbid(unsafe_code)]

mod changes;
pub mod conformance;
mod error;
mod item;
mod put;
#[cfg(any(
    feature = "memory",
    feature = "file",
    feature = "lsm",
    feature = "cache",
    feature = "rocksdb",
    feature = "etcd",
    feature = "redis-cluster"
))]
mod reads;
mod registry;
mod storage;
#[cfg(any(feature = "lsm", feature = "rocksdb"))]
mod stripes;

#[cfg(feature = "cache")]
mod cache;
#[cfg(feature = "etcd")]
mod etcd;
#[cfg(feature = "file")]
mod file;
#[cfg(feature = "lsm")]
mod lsm;
#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "redis-cluster")]
mod redis_cluster;
#[cfg(feature = "rocksdb")]
mod rocks;
#[cfg(feature = "memory")]
mod sessions;
#[cfg(feature = "memory")]
mod tier;

pub use changes::{Change, ChangeRing, Changes};
pub use error::{Error, Result};
pub use item::{Entry, Item, Outcome, Version};
pub use put::{Held, Put};
pub use registry::{Login, Options, Registry};
pub use storage::{Decide, Durability, Limits, Range, Stats, Storage};
#[cfg(feature = "memory")]
pub use tier::HotTier;
