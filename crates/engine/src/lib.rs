//! A durable, transactional, ordered key-value store in one file.

mod bloom;
mod error;
mod ids;
mod large;
mod op;
mod stage;

pub use error::{Corruption, Error, IoError, Result};
pub use ids::{Lsn, TxId};
