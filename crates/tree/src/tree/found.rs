//! Where the bucket of all trees is in the newest state.

use std::sync::Mutex;

use weald_engine::{Bucket, Opened};

/// Where a snapshot has found the bucket of all trees, for others of the same state: to find it by its name is a third of a look-up by itself.
///
/// It is for snapshots alone. A transaction finds the bucket once by its name, which counts as read.
#[derive(Debug, Default)]
pub(crate) struct Found(Mutex<Option<Opened>>);

impl Found {
    /// Where it is in the state that `root` is of, if that is known.
    pub(crate) fn of(&self, root: &Bucket<'_>) -> Option<Opened> {
        // Who would have to wait searches.
        let opened = (*self.0.try_lock().ok()?)?;
        root.reopen(&opened).map(|_| opened)
    }

    /// Takes note.
    pub(crate) fn note(&self, opened: Opened) {
        if let Ok(mut known) = self.0.try_lock() {
            *known = Some(opened);
        }
    }
}
