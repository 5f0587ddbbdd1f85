//! The server of Weald: Redis clients on one durable engine.
//!
//! One thread owns the sockets and runs all commands, one after the other, as Redis does. What it reads and writes between two looks at the sockets is one
//! transaction of the engine, committed once before any of the replies goes out: so a durable write costs many clients one flush between them, and
//! `MULTI`/`EXEC` and blocking commands are atomic by construction.
//!
//! ```text
//!  sockets ─► net ─► weald-resp ─► dispatch ─► commands ─► keyspace ─► tick ─► weald-engine
//!                                     │           └─► state: clients, watched keys, subscriptions, users, statistics
//!                                     ├─ registry: what commands there are
//!                                     └─ cluster: on a node, the keys of the whole cluster in place of the keyspace
//! ```
//!
//! The price of the one thread: a command that takes long makes all others wait, and more cores make only the engine's background work faster.
//!
//! ```
//! use weald_server::{Config, Frame, Server};
//!
//! let dir = tempfile::tempdir()?;
//! let mut config = Config::default();
//! config.set("dir", &dir.path().display().to_string())?;
//! config.set("port", "0")?;
//! config.set("unixsocket", &dir.path().join("weald.sock").display().to_string())?;
//!
//! let server = Server::bind(config)?;
//! let handle = server.handle();
//! let thread = std::thread::spawn(move || server.run());
//! assert_eq!(handle.run(&["PING"])?, Frame::Simple("PONG".to_owned()));
//! handle.end();
//! thread.join().expect("it does not panic")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod acl;
mod blocking;
mod call;
mod clients;
mod cluster;
mod commands;
mod config;
mod dispatch;
mod error;
mod eviction;
mod files;
mod glob;
mod handle;
mod http;
mod keyspace;
mod net;
mod notify;
mod pubsub;
mod random;
mod registry;
mod server;
mod session;
mod slowlog;
mod state;
mod stats;
mod tick;
mod tracking;
mod version;
mod watch;

pub use commands::compatibility;
pub use config::{Config, ConfigError, Durability, Setting, settings};
pub use handle::{Handle, HandleError};
pub use server::{Server, StartError};
pub use stats::{Counter, Stats};
pub use version::{REDIS_VERSION, version_line};
pub use weald_resp::Frame;
