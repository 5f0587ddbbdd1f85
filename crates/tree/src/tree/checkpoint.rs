//! States that stay, under a name.

use std::path::Path;

use weald_engine::DatabaseOptions;

use super::store::TreeStore;
use crate::error::Result;

impl TreeStore {
    /// Copies the state of this moment into a new database at `path`, made with `options`: a checkpoint, which can be opened, proven from and
    /// [fetched](crate::TreeSync) from like any other store, whatever becomes of this one. Others go on meanwhile.
    ///
    /// The file has its name once it is whole and on the disk; one that has the name already is not touched. All that is in the database is
    /// copied, so the price is its size. A [`TreeSnapshot`](crate::TreeSnapshot) costs nothing, but is gone with the process.
    ///
    /// ```
    /// use weald_engine::{Database, DatabaseOptions};
    /// use weald_tree::{Element, TreeStore};
    ///
    /// let dir = tempfile::tempdir()?;
    /// let store = TreeStore::open(Database::open(dir.path().join("trees.weald"))?)?;
    /// store.transact(|tx| tx.put(&[], b"key", Element::SumItem(1)))?;
    /// store.checkpoint(dir.path().join("monday.weald"), DatabaseOptions::new())?;
    /// let monday = store.root()?;
    /// store.transact(|tx| tx.put(&[], b"key", Element::SumItem(2)))?;
    ///
    /// let checkpoint = TreeStore::open(Database::open(dir.path().join("monday.weald"))?)?;
    /// assert_eq!(checkpoint.root()?, monday);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn checkpoint(&self, path: impl AsRef<Path>, options: DatabaseOptions) -> Result<()> {
        self.db.compact_to(path, options)?;
        Ok(())
    }
}
