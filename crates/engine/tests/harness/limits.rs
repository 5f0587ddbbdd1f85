//! Much of everything: sizes at their limits, readers that stay, more data than memory, a file that others cut.

use std::io::{Read, Write};
use std::process::Command;
use std::sync::Arc;

use weald_engine::{Database, DatabaseOptions, Error, PageSize, Readable, SyncPolicy, Writable};
use weald_vfs::{SimDisk, SimOptions};

use crate::model_test::directory;
use crate::seed::{Rng, is_exhaustive};

#[test]
fn a_reader_that_stays_holds_one_version_and_the_file_shrinks_afterwards() {
    let dir = directory();
    let path = dir.path().join("db");
    let db = Database::open_with_options(&path, DatabaseOptions::new().background(false)).unwrap();
    let write = |round: u64, keys: std::ops::Range<u64>| {
        let mut tx = db.write().unwrap();
        for n in keys {
            tx.put(&n.to_be_bytes(), &[round as u8; 200]).unwrap();
        }
        tx.commit().unwrap();
    };
    let len = || std::fs::metadata(&path).unwrap().len();
    const KEYS: u64 = 10_000;
    write(0, 0..KEYS);
    db.checkpoint().unwrap();
    let first = len();
    let reader = db.read().unwrap();
    let mut rng = Rng::new(1);
    for round in 1..60 {
        let from = rng.below(KEYS);
        write(round, from..(from + KEYS / 5).min(KEYS));
        if round % 3 == 0 {
            db.checkpoint().unwrap();
        }
    }
    db.checkpoint().unwrap();
    assert!(
        len() <= first * 3,
        "the file grew from {first} to {} bytes",
        len()
    );
    let stats = db.stats();
    assert!(stats.readers > 0 && stats.oldest_reader_commits > 50, "{stats:?}");
    assert!(
        stats.pending_bytes > first / 2,
        "what the reader costs shows: {stats:?}"
    );
    assert_eq!(
        reader
            .iter()
            .filter(|pair| pair.as_ref().unwrap().1 == [0; 200])
            .count() as u64,
        KEYS
    );
    drop(reader);
    let mut tx = db.write().unwrap();
    tx.delete_range(&100u64.to_be_bytes()[..]..).unwrap();
    tx.commit().unwrap();
    for round in 0..6 {
        // Pages move to the front as they are written anew.
        write(round, 0..100);
        db.checkpoint().unwrap();
    }
    let stats = db.stats();
    assert!(stats.pending_bytes < 100_000, "{stats:?}");
    db.close().unwrap();
    assert!(
        len() < first / 3,
        "the file is {} bytes long, and was {first} with 100 times as much in it",
        len()
    );
}

/// No test of its own: what the process with little memory does.
#[test]
fn small_process() {
    let Ok(path) = std::env::var("WEALD_SMALL") else {
        return;
    };
    let db = Database::open_with_options(path, DatabaseOptions::low_memory()).unwrap();
    assert!(!db.stats().mapped, "the mapping should not fit");
    assert_eq!(db.read().unwrap().len().unwrap(), BIG);
    // What a transaction lends stays as long as it lives, so each takes a part.
    for from in (0..BIG).step_by(1000) {
        let tx = db.read().unwrap();
        let part = tx.range(from.to_be_bytes()..(from + 1000).to_be_bytes());
        assert_eq!(
            part.filter(|pair| pair.as_ref().unwrap().1.len() == 2000).count(),
            1000
        );
        assert_eq!(tx.iter().rev().take(100).count(), 100);
    }
    let mut rng = Rng::new(5);
    for _ in 0..200 {
        let key = (rng.below(BIG)).to_be_bytes();
        assert_eq!(db.get(&key).unwrap().unwrap()[..8], key);
        let mut value = key.to_vec();
        value.resize(2000, 9);
        db.put(&key, &value).unwrap();
    }
    db.close().unwrap();
    println!("\nall is well");
}

const BIG: u64 = 120_000;

#[test]
fn a_database_larger_than_the_address_space_that_is_allowed() {
    let dir = directory();
    let path = dir.path().join("db");
    let db = Database::open_with_options(&path, DatabaseOptions::new().page_size(PageSize::Size16K)).unwrap();
    let mut tx = db.write().unwrap();
    for n in 0..BIG {
        let mut value = n.to_be_bytes().to_vec();
        value.resize(2000, n as u8);
        tx.put(&n.to_be_bytes(), &value).unwrap();
    }
    tx.commit().unwrap();
    db.close().unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() > BIG * 2000);
    let output = Command::new("sh")
        .args([
            "-c",
            "ulimit -v 200000; exec \"$0\" --exact limits::small_process --nocapture --test-threads=1",
        ])
        .arg(std::env::current_exe().unwrap())
        .env("WEALD_SMALL", &path)
        .env("MALLOC_ARENA_MAX", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("all is well"),
        "{said} {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn keys_of_every_length() {
    for page in PageSize::ALL {
        let dir = directory();
        let options = DatabaseOptions::new().page_size(page);
        let path = dir.path().join("db");
        let db = Database::open_with_options(&path, options.clone()).unwrap();
        let max = db.key_len_max();
        let lengths: Vec<usize> = (0..40).chain((40..max).step_by(max / 90)).chain([max]).collect();
        let mut tx = db.write().unwrap();
        for &len in &lengths {
            tx.put(&vec![b'k'; len], &len.to_le_bytes()).unwrap();
            // Values next to the limit of what stays in a leaf.
            for value in [0, 1, page.bytes() / 4 - 40, page.bytes() / 4, page.bytes()] {
                let mut key = vec![b'l'; len.saturating_sub(8)];
                key.extend((value as u64).to_be_bytes());
                tx.put_with_ttl(&key, &vec![1; value], std::time::Duration::from_secs(1000))
                    .unwrap();
            }
        }
        let long = tx.put(&vec![b'k'; max + 1], b"");
        assert!(matches!(long, Err(Error::TooLarge(_))), "{long:?}");
        tx.commit().unwrap();
        db.close().unwrap();
        let db = Database::open_with_options(&path, options).unwrap();
        let tx = db.read().unwrap();
        for &len in &lengths {
            assert_eq!(
                tx.get(&vec![b'k'; len]).unwrap().as_deref(),
                Some(&len.to_le_bytes()[..]),
                "{len}"
            );
        }
        assert_eq!(tx.iter().map(Result::unwrap).count() as u64, tx.len().unwrap());
        assert_eq!(tx.get(&vec![b'k'; max + 1]).unwrap(), None);
        let after = tx.range(vec![b'k'; max + 1]..).map(Result::unwrap).count();
        assert_eq!(after + lengths.len(), tx.range(b"k".as_slice()..).count() + 1);
    }
}

/// Bytes that are made as they are read, so that no one has them all.
struct Made {
    at: u64,
    len: u64,
}

impl Read for Made {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = (self.len - self.at).min(buf.len() as u64);
        for (i, byte) in buf[..n as usize].iter_mut().enumerate() {
            *byte = made(self.at + i as u64);
        }
        self.at += n;
        Ok(n as usize)
    }
}

fn made(at: u64) -> u8 {
    (at ^ at >> 8 ^ at >> 19) as u8
}

/// Takes what is written, if it is what was made.
struct Compared(u64);

impl Write for Compared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for byte in bytes {
            assert_eq!(*byte, made(self.0), "byte {}", self.0);
            self.0 += 1;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn values_of_any_size_are_streamed() {
    let dir = if is_exhaustive() {
        tempfile::tempdir().unwrap()
    } else {
        directory()
    };
    let path = dir.path().join("db");
    let mut lengths = vec![0, 1, 1000, 4096, 65_536, 1 << 20, (1 << 20) + 1, 64 << 20];
    if is_exhaustive() {
        lengths.push(4 << 30);
    }
    for mmap in [true, false] {
        let db = Database::open_with_options(&path, DatabaseOptions::new().mmap(mmap)).unwrap();
        for &len in &lengths {
            let mut tx = db.write().unwrap();
            tx.put_reader(b"value", Made { at: 0, len }, len).unwrap();
            tx.commit().unwrap();
            let tx = db.read().unwrap();
            let mut reader = tx.get_reader(b"value").unwrap().unwrap();
            assert_eq!(reader.len(), len);
            let mut compared = Compared(0);
            std::io::copy(&mut reader, &mut compared).unwrap();
            assert_eq!(compared.0, len);
        }
        let mut tx = db.write().unwrap();
        let short = tx.put_reader(b"short", Made { at: 0, len: 99_000 }, 100_000);
        assert!(matches!(short, Err(Error::Io(_))), "{short:?}");
        let huge = tx.put_reader(b"huge", Made { at: 0, len: u64::MAX }, (4 << 30) + 1);
        assert!(matches!(huge, Err(Error::TooLarge(_))), "{huge:?}");
        assert_eq!(tx.get_ref(b"short").unwrap(), None);
        tx.put(b"value", b"small").unwrap();
        tx.commit().unwrap();
        // What is written next goes where the value was.
        db.checkpoint().unwrap();
        db.put(b"value", b"smaller").unwrap();
        db.close().unwrap();
        let len = std::fs::metadata(&path).unwrap().len();
        assert!(len < 1 << 20, "{len} bytes are left");
    }
}

#[test]
fn a_hundred_thousand_buckets() {
    const BUCKETS: u32 = 100_000;
    let dir = directory();
    let path = dir.path().join("db");
    let db = Database::open(&path).unwrap();
    let mut tx = db.write().unwrap();
    tx.create_bucket(b"all").unwrap();
    let mut all = tx.bucket_mut(b"all").unwrap();
    for n in 0..BUCKETS {
        let mut bucket = all.create_bucket(&n.to_be_bytes()).unwrap();
        bucket.put(b"n", &n.to_le_bytes()).unwrap();
    }
    tx.commit().unwrap();
    db.close().unwrap();
    let db = Database::open(&path).unwrap();
    let tx = db.read().unwrap();
    let all = tx.bucket(b"all").unwrap();
    assert_eq!(all.buckets().unwrap().len() as u32, BUCKETS);
    for n in (0..BUCKETS).step_by(97) {
        let bucket = all.bucket(&n.to_be_bytes()).unwrap();
        assert_eq!(bucket.get_ref(b"n").unwrap(), Some(&n.to_le_bytes()[..]));
    }
    drop(tx);
    let mut tx = db.write().unwrap();
    tx.delete_bucket(b"all").unwrap();
    tx.commit().unwrap();
    assert!(db.read().unwrap().buckets().unwrap().is_empty());
    crate::accounting::check_empties(&db, 0).unwrap();
}

#[test]
fn a_file_that_another_cuts_while_it_is_mapped_is_an_error_and_no_crash() {
    let dir = directory();
    let path = dir.path().join("db");
    let db = Database::open(&path).unwrap();
    let mut tx = db.write().unwrap();
    for n in 0..50_000u64 {
        tx.put(&n.to_be_bytes(), &[n as u8; 100]).unwrap();
    }
    tx.put(b"~large", &vec![7; 3 << 20]).unwrap();
    tx.commit().unwrap();
    db.close().unwrap();
    let db = Database::open(&path).unwrap();
    assert!(db.stats().mapped);
    let tx = db.read().unwrap();
    assert_eq!(tx.get(&7u64.to_be_bytes()).unwrap(), Some(vec![7; 100]));
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(64 << 10).unwrap();
    let mut wrong = 0;
    for n in (0..50_000u64).step_by(501) {
        match tx.get(&n.to_be_bytes()) {
            Ok(value) => assert_eq!(value, Some(vec![n as u8; 100])),
            Err(Error::Corrupt(_) | Error::Io(_)) => wrong += 1,
            Err(e) => panic!("{e}"),
        }
    }
    assert!(wrong > 50, "{wrong} errors");
    let all: Result<Vec<_>, _> = tx.iter().collect();
    assert!(matches!(all, Err(Error::Corrupt(_) | Error::Io(_))));
    let large = tx.get(b"~large");
    assert!(
        matches!(large, Err(Error::Corrupt(_) | Error::Io(_))),
        "{large:?}"
    );
}

#[test]
fn a_checkpoint_lets_go_of_what_it_has_flushed_where_memory_is_short() {
    let flushes = |dirty_bytes_max: u64| {
        let history = SimOptions {
            history: true,
            ..SimOptions::default()
        };
        let disk = SimDisk::new(3, history);
        let options = DatabaseOptions::new()
            .vfs(Arc::new(disk.clone()))
            .sync(SyncPolicy::None)
            .background(false)
            .checkpoint_wal_bytes(64 << 20)
            .dirty_bytes_max(dirty_bytes_max);
        let db = Database::open_with_options("/db", options).unwrap();
        let mut rng = Rng::new(3);
        let mut keys = Vec::new();
        let mut write = || {
            let mut tx = db.write().unwrap();
            for _ in 0..64 {
                let key = rng.next().to_be_bytes();
                tx.put(&key, &[key[0]; 900]).unwrap();
                keys.push(key);
            }
            tx.commit().unwrap();
        };
        let (mut dirty, mut before) = (0, 0);
        let opened = db.stats().checkpoints;
        while db.stats().checkpoints == opened && db.stats().dirty_bytes < 4 << 20 {
            (dirty, before) = (db.stats().dirty_bytes, disk.history().len());
            write();
        }
        if db.stats().checkpoints == opened {
            before = disk.history().len();
            db.checkpoint().unwrap();
        }
        let during = disk.history().split_off(before);
        let tx = db.read().unwrap();
        for key in &keys {
            assert_eq!(tx.get(key).unwrap(), Some(vec![key[0]; 900]));
        }
        drop(tx);
        db.close().unwrap();
        let syncs = during.iter().filter(|line| line.contains("Sync /db"));
        (dirty, syncs.filter(|line| !line.contains("-wal")).count(), during)
    };
    // The pages, then the meta page.
    let (_, roomy, during) = flushes(64 << 20);
    assert_eq!(roomy, 2, "{during:#?}");
    // Three quarters of the memory are full when it begins, and an eighth is let go at a time until a half is free.
    let (dirty, short, during) = flushes(4 << 20);
    assert!(dirty > 2 << 20, "{dirty}");
    assert!((3..=5).contains(&short), "{short} flushes: {during:#?}");
}
