//! The engines that were built in.

use crate::args::Task;
use crate::engine::Result;
use crate::scenarios;

#[cfg(feature = "canopydb")]
mod canopydb;
#[cfg(feature = "fjall")]
mod fjall;
#[cfg(feature = "heed")]
mod lmdb;
#[cfg(feature = "libmdbx")]
mod mdbx;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(feature = "sled")]
mod sled;
mod weald;

/// Their names, Weald first.
pub(crate) const NAMES: &[&str] = &[
    "weald",
    #[cfg(feature = "heed")]
    "lmdb",
    #[cfg(feature = "heed")]
    "lmdb-w",
    #[cfg(feature = "redb")]
    "redb",
    #[cfg(feature = "fjall")]
    "fjall",
    #[cfg(feature = "sled")]
    "sled",
    #[cfg(feature = "canopydb")]
    "canopydb",
    #[cfg(feature = "libmdbx")]
    "libmdbx",
    #[cfg(feature = "rocksdb")]
    "rocksdb",
    #[cfg(feature = "rocksdb")]
    "rocksdb-r",
];

/// Runs a scenario in this process and prints what it measured.
pub(crate) fn run(task: &Task) -> Result<()> {
    match task.engine.as_str() {
        "weald" => scenarios::run::<weald::Weald>(task),
        #[cfg(feature = "heed")]
        "lmdb" => scenarios::run::<lmdb::Lmdb<false>>(task),
        #[cfg(feature = "heed")]
        "lmdb-w" => scenarios::run::<lmdb::Lmdb<true>>(task),
        #[cfg(feature = "redb")]
        "redb" => scenarios::run::<redb::Redb>(task),
        #[cfg(feature = "fjall")]
        "fjall" => scenarios::run::<fjall::Fjall>(task),
        #[cfg(feature = "sled")]
        "sled" => scenarios::run::<sled::Sled>(task),
        #[cfg(feature = "canopydb")]
        "canopydb" => scenarios::run::<canopydb::Canopydb>(task),
        #[cfg(feature = "libmdbx")]
        "libmdbx" => scenarios::run::<mdbx::Mdbx>(task),
        #[cfg(feature = "rocksdb")]
        "rocksdb" => scenarios::run::<rocksdb::Rocks<false>>(task),
        #[cfg(feature = "rocksdb")]
        "rocksdb-r" => scenarios::run::<rocksdb::Rocks<true>>(task),
        other => Err(format!("no engine {other:?} was built in").into()),
    }
}
