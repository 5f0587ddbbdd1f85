//! The server of Weald: Redis clients on one durable engine.
//!
//! One thread owns the sockets and runs all commands, one after the other, as Redis does. What it reads and writes between two looks at the sockets is one
//! transaction of the engine, committed once before any of the replies goes out: so a durable write costs many clients one flush between them, and
//! `MULTI`/`EXEC` and blocking commands are atomic by construction.
//!
//! ```text
//!  sockets ─► net ─► weald-resp ─► dispatch ─► commands ─► keyspace ─► tick ─► weald-engine
//!                                     │           └─► state: clients, watched keys, subscriptions, users, statistics
//!                                     └─ registry: what commands there are
//! ```

#![forbid(unsafe_code)]

mod blocking;
mod call;
mod commands;
mod error;
mod glob;
mod keyspace;
mod notify;
mod registry;
mod session;
mod state;
mod tick;
