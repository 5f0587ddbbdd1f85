//! A durable, transactional, ordered key-value store in one file.

mod bloom;
mod checkpoint;
mod commit;
mod core;
mod error;
mod free_list;
mod gate;
mod ids;
mod large;
mod merge;
mod meta;
mod op;
mod options;
mod recovery;
mod roots;
mod stage;
mod store;
mod tree;
mod wal;

pub use error::{Corruption, Error, IoError, Result, TooLarge};
pub use ids::{Lsn, TxId};
