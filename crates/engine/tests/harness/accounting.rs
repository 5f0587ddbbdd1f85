//! Whether pages get lost.

use weald_engine::{Database, Readable, Writable};

/// Deletes everything, and sees that all pages are free then. `mortal` keys with a time to live may be in the index of expiry times still.
pub(crate) fn check_empties(db: &Database, mortal: u64) -> Result<(), String> {
    let failed = |e: weald_engine::Error| format!("emptying failed: {e}");
    let mut tx = db.write().map_err(failed)?;
    for name in tx.buckets().map_err(failed)? {
        tx.delete_bucket(&name).map_err(failed)?;
    }
    tx.delete_range::<Vec<u8>>(..).map_err(failed)?;
    tx.commit().map_err(failed)?;
    db.collect_expired().map_err(failed)?;
    for n in 0..3u8 {
        db.put(b"last", &[n]).map_err(failed)?;
        db.checkpoint().map_err(failed)?;
    }
    let stats = db.stats();
    let used = (stats.file_bytes - stats.free_bytes - stats.pending_bytes) / stats.page_size;
    // The meta pages, a leaf, the sequence numbers, two lists of free pages, and the index.
    let most = 12 + mortal / 2;
    if used > most || stats.keys != 1 {
        return Err(format!(
            "{used} pages are in use by one key, {most} at most: {stats:?}"
        ));
    }
    Ok(())
}
