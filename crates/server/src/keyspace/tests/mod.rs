//! The keyspace against simple models in memory, over random histories with rolled-back ticks and reopened files.

mod collections;
mod keys;
mod large;

use std::path::{Path, PathBuf};

use weald_engine::{Database, DatabaseOptions, SyncPolicy};

use crate::keyspace::{Keyspace, Result};
use crate::tick::Tick;

/// A database in a file of a directory of its own.
struct Store {
    dir: tempfile::TempDir,
}

impl Store {
    fn new() -> Store {
        Store {
            dir: tempfile::tempdir().expect("a directory for the test"),
        }
    }

    fn path(&self) -> PathBuf {
        Path::new(self.dir.path()).join("test.weald")
    }

    fn open(&self) -> Database {
        let options = DatabaseOptions::new().sync(SyncPolicy::None);
        Database::open_with_options(self.path(), options).expect("the file opens")
    }
}

/// Runs `ticks` in turn on a keyspace over `db`, each in a transaction of its own that is committed if it says so.
fn keyspace(db: &Database) -> Keyspace<'_> {
    let mut keyspace = Keyspace::open(Tick::new(db), 16).expect("the keyspace opens");
    keyspace.now_ms = 1_000_000;
    keyspace.tick().prepare_write().expect("a transaction begins");
    keyspace
}

fn end_tick(keyspace: &mut Keyspace<'_>, commit: bool) {
    if commit {
        keyspace
            .tick()
            .commit(SyncPolicy::None)
            .expect("the tick commits");
    } else {
        keyspace.tick().roll_back();
        keyspace.forget();
    }
    keyspace.tick().prepare_write().expect("a transaction begins");
}

fn ok<T>(result: Result<T>) -> T {
    result.expect("nothing fails here")
}
