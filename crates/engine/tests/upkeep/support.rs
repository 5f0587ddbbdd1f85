//! Databases to keep in order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use weald_engine::{Bucket, Database, DatabaseOptions, PageSize, Readable, Writable};
use weald_vfs::{Disk, Memory, Vfs};

/// A bucket's contents, for comparison.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Contents {
    pub(super) keys: BTreeMap<Vec<u8>, (Vec<u8>, bool)>,
    pub(super) sequence: u64,
    pub(super) buckets: BTreeMap<Vec<u8>, Contents>,
}

pub(super) fn contents(db: &Database) -> Contents {
    let tx = db.read().unwrap();
    contents_of(&tx.root())
}

fn contents_of(bucket: &Bucket<'_>) -> Contents {
    let mut contents = Contents {
        sequence: bucket.sequence().unwrap(),
        ..Contents::default()
    };
    for pair in bucket.iter() {
        let (key, value) = pair.unwrap();
        let expires = bucket.ttl(key).unwrap().unwrap().is_some();
        contents.keys.insert(key.to_vec(), (value.to_vec(), expires));
    }
    for name in bucket.buckets().unwrap() {
        let inner = contents_of(&bucket.bucket(&name).unwrap());
        contents.buckets.insert(name, inner);
    }
    contents
}

/// Bytes without a pattern, always the same.
pub(super) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Fills a database with some of everything.
pub(super) fn fill(db: &Database, keys: u64, round: u64) {
    let mut tx = db.write().unwrap();
    for n in 0..keys {
        let key = noise(n * 7 + round % 3, 4 + (n % 20) as usize);
        tx.put(&key, &noise(n + round, (n % 90) as usize)).unwrap();
    }
    tx.put(b"", b"the empty key").unwrap();
    tx.put(b"large", &noise(round, 100_000 + keys as usize)).unwrap();
    tx.put(b"medium", &noise(round + 1, 40_000)).unwrap();
    tx.put_with_ttl(b"expires", b"later", Duration::from_secs(100_000))
        .unwrap();
    let name = format!("bucket {}", round % 4);
    let mut bucket = tx.create_bucket_if_absent(name.as_bytes()).unwrap();
    bucket.next_sequence().unwrap();
    bucket.put(b"in", &noise(round, 30)).unwrap();
    let mut inner = bucket.create_bucket_if_absent(b"\x00inner\xff").unwrap();
    for n in 0..keys / 4 {
        inner
            .put_with_ttl(&n.to_be_bytes(), &noise(n, 50), Duration::from_secs(50_000 + n))
            .unwrap();
    }
    inner.create_bucket_if_absent(b"empty").unwrap();
    tx.commit().unwrap();
}

/// One way to run a database.
pub(super) struct Setup {
    pub(super) name: String,
    pub(super) options: DatabaseOptions,
    pub(super) dir: PathBuf,
    pub(super) vfs: Arc<dyn Vfs>,
    _guard: Option<tempfile::TempDir>,
}

impl Setup {
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(super) fn vfs(&self) -> Arc<dyn Vfs> {
        Arc::clone(&self.vfs)
    }

    pub(super) fn open(&self, name: &str) -> Database {
        Database::open_with_options(self.path(name), self.options.clone()).unwrap()
    }
}

/// All page sizes, with and without log, mapping and disk.
pub(super) fn setups() -> Vec<Setup> {
    let mut setups = Vec::new();
    for (i, size) in PageSize::ALL.into_iter().enumerate() {
        for wal in [true, false] {
            // Every size with either, in turn.
            let mmap = (i % 2 == 0) == wal;
            let options = DatabaseOptions::new().page_size(size).wal(wal).mmap(mmap);
            let guard = tempfile::tempdir().unwrap();
            setups.push(Setup {
                name: format!("{size} pages, wal {wal}, mmap {mmap}"),
                options,
                dir: guard.path().to_owned(),
                vfs: Arc::new(Disk::new()),
                _guard: Some(guard),
            });
        }
    }
    for wal in [true, false] {
        setups.push(memory(wal));
    }
    setups
}

pub(super) fn memory(wal: bool) -> Setup {
    let vfs: Arc<dyn Vfs> = Arc::new(Memory::new());
    Setup {
        name: format!("in memory, wal {wal}"),
        options: DatabaseOptions::new()
            .wal(wal)
            .background(false)
            .vfs(Arc::clone(&vfs)),
        dir: PathBuf::from("/"),
        vfs,
        _guard: None,
    }
}

#[track_caller]
pub(super) fn assert_sound(db: &Database, what: &str) {
    let report = db.check().unwrap();
    assert!(report.is_sound(), "{what}: {:#?}", report.problems);
}

#[track_caller]
pub(super) fn assert_sound_file(path: &Path, options: &DatabaseOptions, what: &str) {
    let report =
        Database::check_file(path, options.clone(), |_| std::ops::ControlFlow::Continue(())).unwrap();
    assert!(report.is_sound(), "{what}: {:#?}", report.problems);
}
