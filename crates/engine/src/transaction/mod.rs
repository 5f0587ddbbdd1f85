//! Transactions: a snapshot to read, a stage to write to, and what was read, where that matters.
//!
//! ```text
//!  ReadTx          snapshot
//!  WriteTx         snapshot of the newest state + stage         holds the gate, so nothing moves beneath it
//!  OptimisticTx    snapshot + stage + reads                     at commit the reads are compared with the newest state
//!  Bucket          how all of them read                         BucketMut: how both of the latter write
//! ```

mod bounds;
mod bucket;
mod bucket_mut;
mod cursor;
mod draft;
mod iter;
mod merged;
pub(crate) mod names;
mod optimistic;
mod read;
mod reads;
mod traits;
mod walk;
mod write;

#[cfg(test)]
mod tests;

pub use bucket::{Bucket, Opened};
pub use bucket_mut::BucketMut;
pub use cursor::Cursor;
pub(crate) use draft::Draft;
pub use draft::Savepoint;
pub use iter::{Iter, Keys};
pub use optimistic::{Isolation, OptimisticTx};
pub use read::ReadTx;
pub use traits::{Readable, Writable};
pub use write::WriteTx;

/// A key and its value, lent by the transaction.
pub type Pair<'t> = (&'t [u8], &'t [u8]);
