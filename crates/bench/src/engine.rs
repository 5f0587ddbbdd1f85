//! What an engine must offer to be measured.

use std::path::Path;

/// Whatever goes wrong ends the process; nobody handles it.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// How an engine is opened: all with the same promise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Whether a commit is on the disk when it returns. Otherwise it must survive the death of the process, unless the engine can't promise that.
    pub(crate) durable: bool,
    /// Address space for engines that must know beforehand.
    pub(crate) map_bytes: u64,
}

/// An open database.
pub(crate) trait Engine: Sized + Sync {
    type Reader<'e>: Reader
    where
        Self: 'e;

    fn open(dir: &Path, settings: &Settings) -> Result<Self>;

    /// A snapshot.
    fn reader(&self) -> Result<Self::Reader<'_>>;

    /// Runs `body` in a transaction that writes, and commits it.
    fn write(&self, body: impl FnOnce(&mut dyn Writer) -> Result<()>) -> Result<()>;

    /// Makes the files small; false where the engine can't.
    fn compact(self, dir: &Path, settings: &Settings) -> Result<Compacted<Self>>;

    /// Whether opening after a crash would take about as long as it can at the default settings.
    fn is_slowest_to_recover(&self) -> bool {
        true
    }

    fn close(self) -> Result<()>;
}

/// What came of a compaction.
pub(crate) enum Compacted<E> {
    Done(E),
    NotOffered(E),
}

/// A snapshot of a database.
pub(crate) trait Reader {
    /// Shows the value of `key` to `see`; false where there is none.
    fn get(&self, key: &[u8], see: impl FnMut(&[u8])) -> Result<bool>;

    /// Shows up to `limit` pairs from `from` on; how many there were.
    fn scan(&self, from: &[u8], limit: usize, see: impl FnMut(&[u8], &[u8])) -> Result<usize>;

    fn len(&self) -> Result<u64>;
}

/// A transaction that writes.
pub(crate) trait Writer {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Shows the value of `key`, as this transaction has it, to `see`.
    fn get(&mut self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool>;

    /// Removes `key` without asking whether it was there.
    fn remove(&mut self, key: &[u8]) -> Result<()>;
}
