//! A durable, transactional, ordered key-value store in one file.

mod error;
mod ids;
mod op;
mod tree;

pub use error::{Corruption, Error, IoError, Result};
pub use ids::{Lsn, TxId};
