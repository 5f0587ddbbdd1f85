//! A durable, transactional, ordered key-value store in one file.

mod error;
mod ids;
mod op;
mod wal;

pub use error::{Corruption, Error, IoError, Result, TooLarge};
pub use ids::{Lsn, TxId};
