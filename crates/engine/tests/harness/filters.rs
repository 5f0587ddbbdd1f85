//! A filter is made for a tree that one commit fills, however long the disk takes to flush that commit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use weald_engine::{Database, DatabaseOptions, Readable, Writable};
use weald_vfs::Memory;

use crate::hooked::{Call, Hooked};

/// Several times as long as the threads of a database wait between two looks around.
const FLUSH: Duration = Duration::from_millis(400);

#[test]
fn a_filter_is_made_for_a_commit_that_is_long_in_being_flushed() {
    let slow = |call, is_log| {
        if call == Call::Flush && is_log {
            std::thread::sleep(FLUSH);
        }
        true
    };
    let vfs = Hooked::over(Memory::new(), Arc::new(slow));
    let db = Database::open_with_options("db", DatabaseOptions::new().vfs(vfs)).unwrap();
    let mut tx = db.write().unwrap();
    for n in 0..20_000u32 {
        tx.put(&n.to_be_bytes(), b"v").unwrap();
    }
    // Not so large that it goes into the file at once, with a filter of its own.
    tx.commit().unwrap();
    assert_eq!(db.stats().direct_commits, 0);
    let began = Instant::now();
    while db.stats().filter_bytes == 0 || !db.stats().filters_ready {
        assert!(began.elapsed() < Duration::from_secs(20), "no filter appeared");
        std::thread::sleep(Duration::from_millis(5));
    }
    let tx = db.read().unwrap();
    let absent = (20_000..30_000u32).filter(|n| !tx.contains_key(&n.to_be_bytes()).unwrap());
    assert_eq!(absent.count(), 10_000);
    assert!(db.stats().filter_hits > 9_000);
}
