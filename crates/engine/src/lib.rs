//! A durable, transactional, ordered key-value store in one file.

mod background;
mod bloom;
mod checkpoint;
mod commit;
mod core;
mod db;
mod error;
mod expiry;
mod filters;
mod free_list;
#[cfg(fuzzing)]
pub mod fuzz;
mod gate;
mod ids;
mod large;
mod merge;
mod meta;
#[cfg(all(test, loom))]
mod models;
mod op;
mod options;
mod published;
mod recovery;
mod replayed;
mod roots;
mod stage;
mod stats;
mod store;
mod sync;
mod transaction;
mod tree;
mod upkeep;
mod values;
mod wal;

pub use checkpoint::CheckpointInfo;
pub use commit::Committed;
pub use db::Database;
pub use error::{Corruption, Error, IoError, Result, TooLarge};
pub use ids::{BucketId, Lsn, TxId};
pub use options::{DatabaseOptions, MergeFn, PageSize, SyncPolicy};
pub use stats::{LogStats, StagingChunks, Stats};
pub use transaction::{
    Bucket, BucketMut, Cursor, Isolation, Iter, Keys, Opened, OptimisticTx, Pair, ReadTx, Readable,
    Savepoint, Writable, WriteTx,
};
pub use upkeep::{
    BackupInfo, BackupPoint, CheckReport, CompactInfo, DumpInfo, LoadOptions, Place, Problem, Progress,
    RepairReport, RestoreInfo, RestoreOptions, Unit,
};
pub use values::ValueReader;
