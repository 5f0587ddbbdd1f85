//! A node of a Weald cluster: the protocol of `weald-cluster-proto` with threads, sockets, keys and a store.
//!
//! - [`Node::start`] runs a node; its methods are the client, and any node takes any request.
//! - [`Identity`] and [`Keys`] say who a node is, and what lets it in.
//! - A [`Transport`] carries messages, encrypted and mutually authenticated: [`Tcp`] with Noise, or with TLS 1.3 (feature `tls`), [`Udp`], QUIC (feature `quic`), or TCP through io_uring (feature `io_uring`, Linux), [by name](TransportKind); [`MemoryNet`] in a test.
//! - Any durable or volatile `weald_storage::Storage` that doesn't forget holds the data.
//!
//! What each level of a request promises is in `docs/consistency.md`; how to run a cluster in `docs/operations.md`.
//!
//! ```
//! use weald_cluster::{Identity, Keys, Node, Options, Tcp, TcpOptions, Transport, found};
//! use weald_cluster_proto::{Level, Quorums};
//! use weald_storage::Registry;
//!
//! let dir = tempfile::tempdir()?;
//! let keys = Keys::new(Identity::open(dir.path())?, "orchard", b"sixteen random bytes");
//! let transport = Tcp::bind(TcpOptions::new("127.0.0.1:0"), keys.clone())?;
//! let storage = Registry::compiled().open("file", &weald_storage::Options::in_dir(dir.path()))?;
//!
//! // A cluster of one. Others join it by its address.
//! let start = found(4, Quorums::balanced(1), [(keys.node(), transport.address())])?;
//! let node = Node::start(Options::new(keys, transport, storage, start))?;
//! node.wait_until_serving(std::time::Duration::from_secs(10))?;
//! node.put(b"colour", b"green", None, Level::Cluster)?;
//! assert_eq!(node.get(b"colour", Level::Cluster)?.value.as_deref(), Some(&b"green"[..]));
//! node.stop()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Trade-offs
//!
//! Two threads for each peer, and a few for the store: simple to follow, and meant for clusters of tens of nodes; with `io_uring`, two for all peers. One thread at a time runs the protocol, whichever has something for it, so that a
//! node's decisions are those of the simulator; it bounds what a node does to what one core encodes and decodes.

#![forbid(unsafe_code)]

mod identity;
mod keys;
mod node;
mod store;
mod transport;

/// The protocol's own types: requests, replies, layouts.
pub use weald_cluster_proto as proto;
/// Where a node keeps its data.
pub use weald_storage as storage;

pub use identity::{Identity, IdentityError};
pub use keys::Keys;
pub use node::{ClientError, LocalCopy, LocalError, Logged, Metrics, Node, Options, StartFailed, found};
#[cfg(feature = "quic")]
pub use transport::Quic;
#[cfg(all(target_os = "linux", feature = "io_uring"))]
pub use transport::Uring;
pub use transport::{
    MemoryNet, MemoryTransport, Messages, Receive, Refused, Tcp, TcpError, TcpOptions, Transport,
    TransportKind, TransportStats, Udp, UdpOptions, UnknownTransport,
};
