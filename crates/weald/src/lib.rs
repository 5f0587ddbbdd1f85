//! A durable, transactional, ordered key-value store, as a library and as the command line `weald`.
//!
//! What it guarantees:
//!
//! - A commit that has returned is on the disk: after a kill or a power cut it is there, whole. Other [durabilities](SyncPolicy) can be
//!   chosen for the database or for one commit.
//! - A [`ReadTx`] sees one state of the database for as long as it lives. It waits for nobody, and nobody waits for it.
//! - An [`OptimisticTx`] is serializable: its commit succeeds only if nothing that it read was changed by another.
//! - Every page, log record and large value has a checksum that is verified: damage is a typed [`Error`], not a wrong answer.
//!
//! ```
//! # #[cfg(feature = "engine")] {
//! use weald::{Database, Readable, Writable};
//!
//! let dir = tempfile::tempdir()?;
//! let db = Database::open(dir.path().join("my.weald"))?;
//!
//! let mut tx = db.write()?;
//! tx.put(b"hello", b"world")?;
//! tx.create_bucket(b"fruit")?.put(b"apple", b"red")?;
//! tx.commit()?; // on the disk now
//!
//! let tx = db.read()?;
//! assert_eq!(tx.get_ref(b"hello")?, Some(&b"world"[..]));
//! assert_eq!(tx.bucket(b"fruit")?.get_ref(b"apple")?, Some(&b"red"[..]));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Trade-offs
//!
//! One process at a time writes to a database, and one transaction at a time is committed, though many can be under way. Old states are kept as
//! long as a transaction reads them, which costs space in the file. Each commit of the default durability costs a flush of the disk, which
//! concurrent commits share.
//!
//! # Features
//!
//! | feature | default | what it brings | what it costs |
//! | --- | --- | --- | --- |
//! | `engine` | yes | [`Database`], the database in one file | a handful of small dependencies |
//! | `hot` | yes | [`hot`], regions of memory that processes share | two small dependencies |
//! | `tree` | with `cli` | [`tree`] and [`proof`], trees whose contents can be proven | a hash |
//! | `storage` | no | `storage`, one interface over the stores that a replica can keep its data in | nothing more |
//! | `cluster` | no | `cluster`, nodes that keep each other's data | cryptography |
//! | `quic` | no | QUIC between nodes | quinn and tokio |
//! | `io_uring` | no | TCP through io_uring between nodes, on Linux | one small dependency |
//! | `server` | with `cli` | [`server`], a server for Redis clients | mio, toml, sha2 and what they need |
//! | `cli` | yes | the program `weald` | clap and what it needs: a library should leave it out with `default-features = false` |

#![forbid(unsafe_code)]

/// Nodes that keep each other's data.
#[cfg(feature = "cluster")]
pub use weald_cluster as cluster;
#[cfg(feature = "engine")]
pub use weald_engine::*;
/// Shared memory that survives its users.
#[cfg(feature = "hot")]
pub use weald_hot as hot;
/// What a proof shows, without any storage.
#[cfg(feature = "tree")]
pub use weald_proof as proof;
/// A server for Redis clients, in a program of your own.
#[cfg(feature = "server")]
pub use weald_server as server;
/// One interface over the stores that a replica can keep its data in.
#[cfg(feature = "storage")]
pub use weald_storage as storage;
/// Trees within trees, and one root hash over everything.
#[cfg(feature = "tree")]
pub use weald_tree as tree;
/// The file systems that a database can live on, for [`DatabaseOptions::vfs`].
#[cfg(feature = "engine")]
pub use weald_vfs as vfs;
