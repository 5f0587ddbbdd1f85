//! The promises of the public interface, one by one, on the real file system.

use std::time::Duration;

use weald_engine::{Database, DatabaseOptions, Error, PageSize, Readable, SyncPolicy, Writable};

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn key(n: u64) -> Vec<u8> {
    format!("key-{n:08}").into_bytes()
}

#[test]
fn what_was_committed_is_there_after_reopening() {
    let dir = dir();
    let path = dir.path().join("db");
    for options in [
        DatabaseOptions::new(),
        DatabaseOptions::new().wal(false),
        DatabaseOptions::low_memory(),
    ] {
        let _ = std::fs::remove_file(&path);
        let db = Database::open_with_options(&path, options.clone()).unwrap();
        for n in 0..2000 {
            let mut tx = db.write().unwrap();
            tx.put(&key(n), &vec![n as u8; (n % 300) as usize]).unwrap();
            tx.commit_with(if n % 100 == 0 {
                SyncPolicy::Immediate
            } else {
                SyncPolicy::None
            })
            .unwrap();
        }
        db.close().unwrap();
        let db = Database::open_with_options(&path, options).unwrap();
        let tx = db.read().unwrap();
        assert_eq!(tx.len().unwrap(), 2000);
        for n in 0..2000 {
            assert_eq!(
                tx.get_ref(&key(n)).unwrap(),
                Some(&vec![n as u8; (n % 300) as usize][..])
            );
        }
    }
}

#[test]
fn a_large_load_is_one_direct_commit() {
    let dir = dir();
    let db = Database::open(dir.path().join("db")).unwrap();
    let mut tx = db.write().unwrap();
    for n in 0..200_000u64 {
        tx.put(&(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_be_bytes(), &[7; 100])
            .unwrap();
    }
    tx.commit().unwrap();
    assert_eq!(db.stats().direct_commits, 1);
    let tx = db.read().unwrap();
    assert_eq!(tx.iter().filter(Result::is_ok).count(), 200_000);
    assert_eq!(tx.iter().rev().filter(Result::is_ok).count(), 200_000);
    drop(tx);
    db.close().unwrap();
    let db = Database::open(dir.path().join("db")).unwrap();
    let tx = db.read().unwrap();
    assert_eq!(tx.len().unwrap(), 200_000);
    assert_eq!(tx.iter().filter(Result::is_ok).count(), 200_000);
}

#[cfg(target_os = "linux")]
#[test]
fn blocks_of_what_a_large_commit_replaced_are_given_back_when_it_closes() {
    use std::os::unix::fs::MetadataExt;
    let dir = dir();
    let path = dir.path().join("db");
    let db = Database::open(&path).unwrap();
    const KEYS: u64 = 100_000;
    let mut tx = db.write().unwrap();
    for n in 0..KEYS {
        tx.put(&n.to_be_bytes(), &[7; 150]).unwrap();
    }
    tx.commit().unwrap();
    let mut tx = db.write().unwrap();
    for n in (0..KEYS).filter(|n| n % 2 == 0) {
        tx.put(&n.to_be_bytes(), &[8; 150]).unwrap();
    }
    for n in (0..KEYS).filter(|n| n % 2 == 1) {
        tx.discard(&n.to_be_bytes()).unwrap();
    }
    tx.commit().unwrap();
    assert_eq!(db.stats().direct_commits, 2);
    db.close().unwrap();
    let bytes = std::fs::metadata(&path).unwrap().blocks() * 512;
    // Half of the keys are left, in leaves that were packed as the half went.
    assert!(bytes < KEYS / 2 * 170 * 5 / 4, "{bytes} bytes");
    let db = Database::open(&path).unwrap();
    let tx = db.read().unwrap();
    assert_eq!(
        tx.iter()
            .filter(|pair| pair.as_ref().unwrap().1 == [8; 150])
            .count() as u64,
        KEYS / 2
    );
}

#[test]
fn a_transaction_larger_than_its_memory_spills() {
    let dir = dir();
    let options = DatabaseOptions::low_memory();
    let db = Database::open_with_options(dir.path().join("db"), options).unwrap();
    db.put(b"before", b"1").unwrap();
    for commit in [false, true] {
        let mut tx = db.write().unwrap();
        for n in 0..100_000u64 {
            tx.put(&key(n), &[1; 100]).unwrap();
        }
        assert_eq!(tx.get_ref(&key(5)).unwrap(), Some(&[1; 100][..]));
        assert_eq!(tx.len().unwrap(), 100_001);
        if commit {
            tx.commit().unwrap();
        }
        assert_eq!(
            db.read().unwrap().len().unwrap(),
            if commit { 100_001 } else { 1 }
        );
    }
    assert!(db.stats().spills > 2);
}

#[test]
fn snapshots_see_what_was_committed_when_they_began() {
    let db = Database::in_memory().unwrap();
    db.put(b"k", b"1").unwrap();
    let old = db.read().unwrap();
    db.put(b"k", b"2").unwrap();
    assert_eq!(old.get_ref(b"k").unwrap(), Some(&b"1"[..]));
    assert_eq!(db.read().unwrap().get_ref(b"k").unwrap(), Some(&b"2"[..]));
}

#[test]
fn buckets_nest_and_go_with_all_that_is_in_them() {
    let db = Database::in_memory().unwrap();
    let mut tx = db.write().unwrap();
    let mut bucket = tx.create_bucket(b"0").unwrap();
    for depth in 1..20u8 {
        bucket.put(b"depth", &[depth]).unwrap();
        assert_eq!(bucket.next_sequence().unwrap(), 1);
        let name = [b'0' + depth];
        bucket.create_bucket(&name).unwrap();
        bucket = bucket.into_bucket_mut(&name).unwrap();
    }
    tx.commit().unwrap();
    let tx = db.read().unwrap();
    let mut bucket = tx.bucket(b"0").unwrap();
    for depth in 1..19u8 {
        assert_eq!(bucket.get_ref(b"depth").unwrap(), Some(&[depth][..]));
        bucket = bucket.bucket(&[b'0' + depth]).unwrap();
    }
    let mut tx = db.write().unwrap();
    tx.rename_bucket(b"0", b"zero").unwrap();
    assert!(matches!(tx.bucket(b"0"), Err(Error::BucketNotFound { .. })));
    assert_eq!(
        tx.bucket(b"zero")
            .unwrap()
            .bucket(b"1")
            .unwrap()
            .get(b"depth")
            .unwrap(),
        Some(vec![2])
    );
    tx.delete_bucket(b"zero").unwrap();
    tx.commit().unwrap();
    assert!(db.read().unwrap().buckets().unwrap().is_empty());
}

#[test]
fn large_values_are_lent_whole_and_streamed() {
    let dir = dir();
    for mmap in [true, false] {
        let path = dir.path().join(format!("db{mmap}"));
        let options = DatabaseOptions::new().mmap(mmap);
        let db = Database::open_with_options(&path, options.clone()).unwrap();
        let value: Vec<u8> = (0..3_000_000u32).map(|i| (i / 7) as u8).collect();
        let mut tx = db.write().unwrap();
        tx.put(b"whole", &value).unwrap();
        tx.put_reader(b"streamed", &value[..], value.len() as u64)
            .unwrap();
        tx.put(b"gone", &value).unwrap();
        tx.commit().unwrap();
        db.delete(b"gone").unwrap();
        for _ in 0..2 {
            let tx = db.read().unwrap();
            assert!(tx.get_ref(b"whole").unwrap() == Some(&value[..]));
            let mut out = Vec::new();
            std::io::copy(&mut tx.get_reader(b"streamed").unwrap().unwrap(), &mut out).unwrap();
            assert!(out == value);
        }
        drop(db);
        let db = Database::open_with_options(&path, options).unwrap();
        assert!(db.get(b"streamed").unwrap() == Some(value));
    }
}

#[test]
fn expired_keys_are_gone_at_once_and_collected_later() {
    let db = Database::in_memory().unwrap();
    let mut tx = db.write().unwrap();
    tx.put_with_ttl(b"short", b"1", Duration::from_millis(30))
        .unwrap();
    tx.put_with_ttl(b"long", b"1", Duration::from_secs(1000)).unwrap();
    tx.put(b"ever", b"1").unwrap();
    tx.commit().unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let tx = db.read().unwrap();
    assert_eq!(tx.get(b"short").unwrap(), None);
    assert_eq!(tx.iter().count(), 2);
    assert!(tx.ttl(b"long").unwrap().unwrap().unwrap() > Duration::from_secs(900));
    assert_eq!(tx.ttl(b"ever").unwrap(), Some(None));
    db.collect_expired().unwrap();
    assert_eq!(db.read().unwrap().len().unwrap(), 2);
}

#[test]
fn a_second_writer_is_told_who_the_first_is() {
    let dir = dir();
    let path = dir.path().join("db");
    let _db = Database::open(&path).unwrap();
    let pid = Some(std::process::id());
    assert!(matches!(Database::open(&path), Err(Error::Locked { pid: p }) if p == pid));
}

#[test]
fn another_page_size_than_the_databases_is_refused() {
    let dir = dir();
    let path = dir.path().join("db");
    for size in PageSize::ALL {
        let _ = std::fs::remove_file(&path);
        Database::open_with_options(&path, DatabaseOptions::new().page_size(size))
            .unwrap()
            .put(b"k", b"v")
            .unwrap();
        let db = Database::open(&path).unwrap();
        assert_eq!(db.get(b"k").unwrap().as_deref(), Some(&b"v"[..]));
        drop(db);
        let other = if size == PageSize::Size4K {
            PageSize::Size8K
        } else {
            PageSize::Size4K
        };
        let refused = Database::open_with_options(&path, DatabaseOptions::new().page_size(other));
        assert!(matches!(refused, Err(Error::PageSizeMismatch { .. })));
    }
}

#[test]
fn concurrent_commits_share_flushes() {
    let dir = dir();
    let db = Database::open(dir.path().join("db")).unwrap();
    std::thread::scope(|scope| {
        for t in 0..8u64 {
            let db = &db;
            scope.spawn(move || (0..100).for_each(|n| assert!(db.put(&key(t * 1000 + n), b"v").is_ok())));
        }
    });
    let stats = db.stats();
    assert_eq!(stats.commits, 800);
    let flushes = stats.log.unwrap().flushes;
    assert!(flushes < 700, "{flushes} flushes");
    assert_eq!(db.read().unwrap().len().unwrap(), 800);
}

#[test]
fn commits_that_ask_for_no_flush_cause_none() {
    let dir = dir();
    let options = DatabaseOptions::new().sync(SyncPolicy::Batched(Duration::from_millis(5)));
    let db = Database::open_with_options(dir.path().join("db"), options).unwrap();
    let commit = |n, policy| {
        let mut tx = db.write().unwrap();
        tx.put(&key(n), b"v").unwrap();
        tx.commit_with(policy).unwrap();
    };
    // The first one makes the log, which is a flush of its own.
    commit(0, SyncPolicy::Immediate);
    let flushes = || db.stats().log.unwrap().flushes;
    let before = flushes();
    for n in 1..40 {
        commit(n, SyncPolicy::None);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(flushes(), before);
    commit(40, SyncPolicy::Batched(Duration::from_millis(5)));
    let began = std::time::Instant::now();
    while flushes() == before {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "what is to be flushed in a batch is"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let log = db.stats().log.unwrap();
    assert_eq!(log.durable, log.end, "all before it too");
}

#[test]
fn look_ups_of_absent_keys_end_at_a_filter_that_survives_reopening() {
    let dir = dir();
    let path = dir.path().join("db");
    let db = Database::open(&path).unwrap();
    let mut tx = db.write().unwrap();
    (0..50_000).for_each(|n| tx.put(&key(n * 2), b"v").unwrap());
    tx.commit().unwrap();
    let filtered = |db: &Database| {
        let began = std::time::Instant::now();
        while db.stats().filter_bytes == 0 || !db.stats().filters_ready {
            assert!(began.elapsed() < Duration::from_secs(20), "no filter appeared");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    filtered(&db);
    let old = db.read().unwrap();
    for n in (0..50_000).step_by(5) {
        let mut tx = db.write().unwrap();
        tx.put(&key(n * 2 + 1), b"v").unwrap();
        tx.discard(&key(n * 2)).unwrap();
        tx.commit_with(SyncPolicy::None).unwrap();
    }
    let check = |db: &Database| {
        let tx = db.read().unwrap();
        for n in 0..50_000 {
            let moved = n % 5 == 0;
            assert_eq!(tx.contains_key(&key(n * 2)).unwrap(), !moved);
            assert_eq!(tx.contains_key(&key(n * 2 + 1)).unwrap(), moved);
        }
    };
    check(&db);
    (0..50_000).for_each(|n| assert!(old.contains_key(&key(n * 2)).unwrap()));
    drop(old);
    let hits = db.stats().filter_hits;
    assert!(hits > 39_000, "{hits} look-ups ended at the filter");
    db.close().unwrap();
    let db = Database::open(&path).unwrap();
    filtered(&db);
    check(&db);
    assert!(db.stats().filter_hits > 39_000);
}

#[test]
fn a_load_into_an_empty_tree_brings_its_filter_along() {
    let dir = dir();
    let options = DatabaseOptions::new().background(false).bulk_bytes(1 << 20);
    let db = Database::open_with_options(dir.path().join("db"), options).unwrap();
    let load = |from: u64| {
        let mut tx = db.write().unwrap();
        (0..50_000).for_each(|n| tx.put(&key(from + n * 2), &[7; 20]).unwrap());
        let mut bucket = tx.create_bucket_if_absent(b"bucket").unwrap();
        (0..20_000).for_each(|n| bucket.put(&key(from + n * 2), &[8; 20]).unwrap());
        tx.commit().unwrap();
    };
    let check = |from: u64| {
        let before = db.stats().filter_hits;
        let tx = db.read().unwrap();
        let bucket = tx.bucket(b"bucket").unwrap();
        for n in 0..50_000 {
            assert!(tx.contains_key(&key(from + n * 2)).unwrap());
            assert!(!tx.contains_key(&key(from + n * 2 + 1)).unwrap());
            assert_eq!(bucket.contains_key(&key(from + n * 2)).unwrap(), n < 20_000);
        }
        db.stats().filter_hits - before
    };
    let early = db.read().unwrap();
    load(0);
    assert_eq!(db.stats().direct_commits, 1);
    assert!(db.stats().filters_ready && db.stats().filter_bytes > 0);
    assert!(check(0) > 78_000);
    assert!(!early.contains_key(&key(0)).unwrap());

    // What fills the trees again goes into the filters that they have.
    let mut tx = db.write().unwrap();
    tx.delete_range::<&[u8]>(..).unwrap();
    tx.bucket_mut(b"bucket")
        .unwrap()
        .delete_range::<&[u8]>(..)
        .unwrap();
    tx.commit().unwrap();
    let bytes = db.stats().filter_bytes;
    load(1_000_000);
    assert_eq!(db.stats().filter_bytes, bytes);
    check(1_000_000);
    assert!(!db.read().unwrap().contains_key(&key(0)).unwrap());
    assert!(db.check().unwrap().is_sound());
}

#[test]
fn what_a_transaction_spilled_is_whole_after_reopening() {
    let dir = dir();
    let path = dir.path().join("db");
    let large: Vec<u8> = (0..100_000u32).map(|n| (n * 7) as u8).collect();
    for commit in [false, true] {
        let db = Database::open_with_options(&path, DatabaseOptions::low_memory()).unwrap();
        let mut tx = db.write().unwrap();
        for n in 0..60_000 {
            tx.put(&key(n), &[n as u8; 100]).unwrap();
            if n % 10_000 == 0 {
                tx.put(&key(1_000_000 + n), &large).unwrap();
                tx.put(&key(2_000_000), &large).unwrap();
            }
        }
        for n in (0..60_000).step_by(3) {
            tx.discard(&key(n)).unwrap();
        }
        if commit {
            tx.commit().unwrap();
        } else {
            drop(tx);
        }
        db.put(b"after", b"1").unwrap();
        // Whatever is wrongly thought to be free is taken now.
        let mut tx = db.write().unwrap();
        (0..20_000).for_each(|n| tx.put(&key(3_000_000 + n), &[9; 100]).unwrap());
        tx.commit().unwrap();
        drop(db);
        let db = Database::open_with_options(&path, DatabaseOptions::low_memory()).unwrap();
        let tx = db.read().unwrap();
        assert_eq!(
            tx.len().unwrap(),
            if commit { 40_000 + 7 + 20_001 } else { 20_001 }
        );
        assert_eq!(
            tx.iter().map(Result::unwrap).fold(0, |n, _| n + 1),
            tx.len().unwrap()
        );
        for n in 0..60_000 {
            let expected = (commit && n % 3 != 0).then_some([n as u8; 100]);
            assert_eq!(tx.get_ref(&key(n)).unwrap(), expected.as_ref().map(|v| &v[..]));
        }
        if commit {
            assert!(tx.get_ref(&key(2_000_000)).unwrap() == Some(&large[..]));
            assert!(tx.get_ref(&key(1_050_000)).unwrap() == Some(&large[..]));
        }
    }
}

#[test]
fn an_optimistic_transaction_that_goes_on_alone_stands_on_the_newest_state_or_is_refused() {
    let db = Database::in_memory().unwrap();
    db.put(b"read", b"1").unwrap();
    let mut tx = db.optimistic().unwrap();
    tx.get(b"read").unwrap();
    tx.put(b"mine", b"1").unwrap();
    db.put(b"other", b"2").unwrap();
    let mut tx = tx.into_exclusive().unwrap();
    assert_eq!(tx.get(b"other").unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!(tx.get(b"mine").unwrap().as_deref(), Some(&b"1"[..]));
    tx.put(b"follows", b"3").unwrap();
    tx.commit().unwrap();
    assert_eq!(db.get(b"mine").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(db.get(b"follows").unwrap().as_deref(), Some(&b"3"[..]));

    let mut tx = db.optimistic().unwrap();
    tx.get(b"read").unwrap();
    tx.put(b"mine", b"lost").unwrap();
    db.put(b"read", b"2").unwrap();
    assert!(matches!(tx.into_exclusive(), Err(Error::Conflict)));
    // The next writer is let in, and nothing of it is left.
    db.put(b"next", b"4").unwrap();
    assert_eq!(db.get(b"mine").unwrap().as_deref(), Some(&b"1"[..]));

    let mut tx = db.optimistic().unwrap();
    tx.put(b"mine", b"dropped").unwrap();
    drop(tx.into_exclusive().unwrap());
    db.put(b"next", b"5").unwrap();
    assert_eq!(db.get(b"mine").unwrap().as_deref(), Some(&b"1"[..]));
}

#[test]
fn a_log_without_its_database_is_named_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let log = dir.path().join("db-wal");
    let db = Database::open(&path).unwrap();
    db.put(b"key", b"value").unwrap();
    let kept = std::fs::read(&path).unwrap();
    // As if the process had died, and somebody had removed what seemed to be all of the database.
    let files: Vec<_> = std::fs::read_dir(&log)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|file| (file.clone(), std::fs::read(&file).unwrap()))
        .collect();
    db.close().unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&log).unwrap();
    for (file, bytes) in &files {
        std::fs::write(file, bytes).unwrap();
    }
    let refused = Database::open(&path).map(drop).unwrap_err();
    assert!(refused.to_string().contains("file is not there"), "{refused}");
    assert!(!path.exists());
    // The file comes back, and with it what was in the log.
    std::fs::write(&path, &kept).unwrap();
    let db = Database::open(&path).unwrap();
    assert_eq!(db.get(b"key").unwrap().as_deref(), Some(&b"value"[..]));
}

#[test]
fn a_streamed_value_expires() {
    let db = Database::in_memory().unwrap();
    let mut tx = db.write().unwrap();
    let day = Duration::from_secs(86_400);
    for (key, len) in [(&b"short"[..], 10), (b"long", 100_000)] {
        let value = vec![7; len];
        tx.put_reader_with_ttl(key, &value[..], len as u64, day).unwrap();
        tx.put_reader_with_ttl(&[key, b" gone"].concat(), &value[..], len as u64, Duration::ZERO)
            .unwrap();
    }
    tx.commit().unwrap();
    let tx = db.read().unwrap();
    for (key, len) in [(&b"short"[..], 10), (b"long", 100_000)] {
        assert_eq!(tx.get(key).unwrap(), Some(vec![7; len]));
        assert!(tx.ttl(key).unwrap().flatten().is_some_and(|left| left <= day));
        assert_eq!(tx.get(&[key, b" gone"].concat()).unwrap(), None);
    }
}

#[test]
fn keys_alone_are_those_of_the_pairs() {
    let db = Database::in_memory().unwrap();
    let mut tx = db.write().unwrap();
    for n in 0..2000u32 {
        let len = if n.is_multiple_of(97) { 20_000 } else { 20 };
        tx.put(&n.to_be_bytes(), &vec![1; len]).unwrap();
    }
    tx.commit().unwrap();
    let mut tx = db.write().unwrap();
    tx.delete(&5u32.to_be_bytes()).unwrap();
    tx.put(&3u32.to_be_bytes(), b"staged").unwrap();
    keys_agree(&tx);
    drop(tx);
    keys_agree(&db.read().unwrap());
}

fn keys_agree(tx: &impl Readable) {
    let range = 2u32.to_be_bytes()..1900u32.to_be_bytes();
    let pairs: Vec<_> = tx.range(range.clone()).map(|pair| pair.unwrap().0).collect();
    let keys: Vec<_> = tx.keys(range.clone()).map(Result::unwrap).collect();
    assert_eq!(keys, pairs);
    let mut backward: Vec<_> = tx.keys(range).rev().map(Result::unwrap).collect();
    backward.reverse();
    assert_eq!(backward, pairs);
}

#[test]
fn a_transaction_says_how_much_it_has_staged() {
    let dir = dir();
    let db = Database::open(dir.path().join("db")).unwrap();
    let mut tx = db.write().unwrap();
    assert_eq!(tx.staged_bytes(), 0);
    tx.put(b"small", &[1; 100]).unwrap();
    let small = tx.staged_bytes();
    assert!((100..64 << 10).contains(&small), "{small}");
    // A value that is too long for a leaf, and short enough for the log.
    tx.put(b"large", &[1; 100_000]).unwrap();
    assert!(tx.staged_bytes() >= small + 100_000);
}
