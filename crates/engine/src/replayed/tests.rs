//! What readers see over the trees is what the trees hold when all is merged.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use weald_vfs::{Disk, Memory, Vfs};

use super::without;
use crate::core::Core;
use crate::error::Error;
use crate::ids::{PageId, PagePtr, TreeId, TxId};
use crate::large::format::LEN_MAX;
use crate::op::{Entry, LargeRef, Op, Value};
use crate::options::DatabaseOptions;
use crate::recovery;
use crate::store::Extent;
use crate::transaction::{Bucket, Isolation, OptimisticTx, ReadTx, Readable, Writable, WriteTx};
use crate::wal::{BatchEncoder, Way};

/// A handle without the thread that would merge; dropped like a process that dies.
fn open(vfs: &Arc<dyn Vfs>) -> Core {
    recovery::open(Path::new("db"), Arc::clone(vfs), DatabaseOptions::new()).expect("it opens")
}

fn write(core: &Core, change: impl FnOnce(&mut WriteTx<'_>)) {
    let mut tx = WriteTx::begin(core).expect("a transaction");
    change(&mut tx);
    tx.commit().expect("a commit");
}

fn key(n: u32) -> [u8; 4] {
    n.to_be_bytes()
}

/// A checkpoint, and a log after it with all kinds of changes but those that delete ranges.
fn crashed() -> Arc<dyn Vfs> {
    let vfs: Arc<dyn Vfs> = Arc::new(Memory::new());
    let core = open(&vfs);
    write(&core, |tx| {
        for n in 0..3000 {
            tx.put(&key(n), b"checkpointed").expect("a put");
        }
        tx.put(b"large", &vec![1; 100_000]).expect("a put");
        let mut old = tx.create_bucket(b"old").expect("a bucket");
        old.put(b"inner", b"1").expect("a put");
    });
    core.checkpoint().expect("a checkpoint");
    write(&core, |tx| {
        for n in (0..4000).step_by(3) {
            tx.put(&key(n), b"from the log").expect("a put");
        }
        for n in (0..3000).step_by(7) {
            tx.delete(&key(n)).expect("a delete");
        }
        tx.put(b"large", &vec![2; 200_000]).expect("a put");
    });
    write(&core, |tx| {
        tx.put(b"large", &vec![3; 300_000]).expect("a put");
        tx.put_with_ttl(b"passing", b"x", Duration::from_secs(3600))
            .expect("a put");
        tx.bucket_mut(b"old")
            .expect("a bucket")
            .put(b"inner", b"2")
            .expect("a put");
        let mut young = tx.create_bucket(b"young").expect("a bucket");
        young.put(b"inner", b"3").expect("a put");
        young.next_sequence().expect("a number");
    });
    vfs
}

/// All that a bucket shows, read in every way.
fn contents(bucket: Bucket<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let forward: Vec<_> = bucket
        .iter()
        .map(|pair| {
            pair.map(|(key, value)| (key.to_vec(), value.to_vec()))
                .expect("a pair")
        })
        .collect();
    let mut backward: Vec<_> = bucket
        .iter()
        .rev()
        .map(|pair| {
            pair.map(|(key, value)| (key.to_vec(), value.to_vec()))
                .expect("a pair")
        })
        .collect();
    backward.reverse();
    assert!(forward == backward);
    for (key, value) in &forward {
        assert_eq!(bucket.get_ref(key).expect("a read"), Some(&value[..]));
    }
    let keys: Vec<&[u8]> = forward.iter().map(|(key, _)| &key[..]).collect();
    let many = bucket.get_many(&keys).expect("reads");
    assert!(
        many.iter()
            .zip(&forward)
            .all(|(got, (_, value))| *got == Some(&value[..]))
    );
    assert_eq!(bucket.len().expect("a number"), forward.len() as u64);
    assert_eq!(bucket.count::<&[u8]>(..).expect("a number"), forward.len() as u64);
    forward
}

fn everything(tx: &ReadTx<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all = contents(tx.root());
    assert_eq!(tx.buckets().expect("names"), [&b"old"[..], b"young"]);
    all.extend(contents(tx.bucket(b"old").expect("a bucket")));
    let young = tx.bucket(b"young").expect("a bucket");
    assert_eq!(young.sequence().expect("a number"), 1);
    all.extend(contents(young));
    assert!(tx.ttl(b"passing").expect("a read").flatten().is_some());
    assert_eq!(tx.get_ref(&key(7)).expect("a read"), None);
    all
}

#[test]
fn a_reader_sees_the_log_over_the_trees_and_then_in_them() {
    let vfs = crashed();
    let core = open(&vfs);
    assert!(core.backlog.exists());
    let early = ReadTx::begin(&core);
    let before = everything(&early);
    core.catch_up().expect("a merge");
    assert!(!core.backlog.exists());
    let late = ReadTx::begin(&core);
    assert_eq!(early.txid(), late.txid());
    assert!(everything(&late) == before);
    drop(late);

    // What the early one stands on stays, whatever becomes of the pages.
    for round in 0..3u8 {
        write(&core, |tx| {
            for n in 0..4000 {
                tx.put(&key(n), &[round; 50]).expect("a put");
            }
            tx.put(b"large", &vec![round; 400_000]).expect("a put");
        });
        core.checkpoint().expect("a checkpoint");
    }
    assert!(everything(&early) == before);
}

#[test]
fn whoever_writes_catches_up_first() {
    let vfs = crashed();
    let core = open(&vfs);
    let seen = ReadTx::begin(&core).txid();
    write(&core, |tx| {
        assert_eq!(
            tx.get(&key(3)).expect("a read").as_deref(),
            Some(&b"from the log"[..])
        );
        let young = tx.bucket_mut(b"young").expect("a bucket").next_sequence();
        assert_eq!(young.expect("a number"), 2);
        tx.create_bucket(b"youngest").expect("a bucket");
    });
    assert!(!core.backlog.exists());
    assert_eq!(ReadTx::begin(&core).txid(), TxId(seen.0 + 1));
    drop(core);
    // And all of it is there the next time.
    let core = open(&vfs);
    let tx = ReadTx::begin(&core);
    assert_eq!(tx.buckets().expect("names").len(), 3);
    assert_eq!(tx.get(b"large").expect("a read"), Some(vec![3; 300_000]));
}

#[test]
fn statistics_and_checks_see_all_of_it() {
    let core = open(&crashed());
    let keys = ReadTx::begin(&core).len().expect("a number");
    assert_eq!(core.stats().keys, keys);
    assert!(!core.backlog.exists());
    let core = open(&crashed());
    core.checkpoint().expect("a checkpoint");
    assert!(!core.backlog.exists());
    assert_eq!(ReadTx::begin(&core).len().expect("a number"), keys);
}

#[test]
fn deleted_ranges_are_merged_at_once() {
    let vfs: Arc<dyn Vfs> = Arc::new(Memory::new());
    let core = open(&vfs);
    write(&core, |tx| {
        (0..100).for_each(|n| tx.put(&key(n), b"x").expect("a put"))
    });
    write(&core, |tx| tx.delete_range(key(10)..key(20)).expect("a delete"));
    drop(core);
    let core = open(&vfs);
    assert!(!core.backlog.exists());
    assert_eq!(ReadTx::begin(&core).len().expect("a number"), 90);
}

#[test]
fn what_cannot_be_merged_is_an_error_for_those_who_write_and_nobody_else() {
    let vfs = crashed();
    let core = open(&vfs);
    let root = core.published.load().fixed[0].root.ptr.id();
    let leaf = (2..core.store.file.pages()).find(|page| *page != root.0);
    // Every page but the root, so that some leaf that the log changes is among them.
    for page in leaf.into_iter().flat_map(|first| first..core.store.file.pages()) {
        if page != root.0 {
            core.store
                .file
                .write(&[0xff; 64], page * 4096 + 2000)
                .expect("a write");
        }
    }
    let written = WriteTx::begin(&core).map(drop);
    assert!(matches!(written, Err(Error::Corrupt(_))), "{written:?}");
    assert!(core.backlog.exists());
    let tx = ReadTx::begin(&core);
    assert_eq!(
        tx.get(&key(3)).expect("it is in the log"),
        Some(b"from the log".to_vec())
    );
    assert!(matches!(tx.get(&key(1)), Err(Error::Corrupt(_))));
}

/// One that the log has, and one that is in its pages.
const LARGE: [(&[u8], usize); 2] = [(b"logged", 100_000), (b"filed", 400_000)];

fn put_large(core: &Core, byte: u8) {
    write(core, |tx| {
        for (key, len) in LARGE {
            tx.put(key, &vec![byte; len]).expect("a put");
        }
    });
}

#[test]
fn large_values_of_the_log_stay_under_readers_that_began_before_the_merge() {
    // Only what lies on a disk is mapped.
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("db");
    let open = || {
        let vfs: Arc<dyn Vfs> = Arc::new(Disk::default());
        recovery::open(&path, vfs, DatabaseOptions::new()).expect("it opens")
    };
    let core = open();
    write(&core, |tx| {
        (0..1000).for_each(|n| tx.put(&key(n), b"checkpointed").expect("a put"));
    });
    core.checkpoint().expect("a checkpoint");
    put_large(&core, 1);
    put_large(&core, 2);
    drop(core);

    let core = open();
    assert!(core.backlog.exists());
    let early = ReadTx::begin(&core);
    let lent = LARGE.map(|(key, _)| early.get_ref(key).expect("a read").expect("a value"));
    // It looks only after all that.
    let idle = ReadTx::begin(&core);
    core.catch_up().expect("a merge");
    for round in 3..8 {
        put_large(&core, round);
        core.checkpoint().expect("a checkpoint");
        core.reclaim_all();
        // Others of the same lengths, for whatever is free.
        write(&core, |tx| {
            for (key, len) in LARGE {
                let key = [key, &[round]].concat();
                tx.put(&key, &vec![round; len]).expect("a put");
            }
        });
        for (lent, (key, len)) in lent.iter().zip(LARGE) {
            let value = vec![2; len];
            assert!(*lent == value, "{round}");
            assert!(early.get_ref(key).expect("a read") == Some(&value), "{round}");
        }
    }
    for (key, len) in LARGE {
        assert!(idle.get(key).expect("a read") == Some(vec![2; len]));
        assert!(ReadTx::begin(&core).get(key).expect("a read") == Some(vec![7; len]));
    }
    assert_eq!(early.txid(), idle.txid());
    drop((early, idle));
    let held = core.store.space().pending_pages();
    core.checkpoint().expect("a checkpoint");
    core.reclaim_all();
    assert!(core.store.space().pending_pages() < held);
}

#[test]
fn a_large_value_is_not_taken_for_one_that_was_in_its_place_before() {
    let vfs: Arc<dyn Vfs> = Arc::new(Memory::new());
    let core = open(&vfs);
    write(&core, |tx| tx.put(b"first", b"x").expect("a put"));
    core.checkpoint().expect("a checkpoint");
    // It counts as born where the other was, as both began on the same commit.
    let mut late = OptimisticTx::begin(&core, Isolation::Snapshot).expect("a transaction");
    write(&core, |tx| tx.put(b"gone", &vec![1; 100_000]).expect("a put"));
    write(&core, |tx| assert!(tx.delete(b"gone").expect("a delete")));
    core.reclaim_all();
    late.put(b"stays", &vec![2; 100_000]).expect("a put");
    late.commit().expect("a commit");
    drop(core);

    let core = open(&vfs);
    let replayed = core.backlog.load().expect("a backlog");
    let [before, after] = replayed.large[..] else {
        panic!("two values")
    };
    assert_eq!(before.first, after.first);
    drop(replayed);
    let stays = || ReadTx::begin(&core).get(b"stays").expect("a read");
    assert!(stays() == Some(vec![2; 100_000]));
    write(&core, |tx| tx.put(b"other", &vec![3; 100_000]).expect("a put"));
    assert!(stays() == Some(vec![2; 100_000]));
    core.checkpoint().expect("a checkpoint");
    assert!(stays() == Some(vec![2; 100_000]));
}

/// What opening says of a log whose last commit refers to this value, and has this run before it.
fn forged(large: LargeRef, run: Option<&[u8]>) -> Result<Core, Error> {
    let mut encoder = BatchEncoder::new();
    if let Some(bytes) = run {
        encoder.push(&Op::Run { large, bytes });
    }
    let entry = Entry {
        value: Value::Large(large),
        expires: None,
    };
    encoder.push(&Op::Put {
        tree: TreeId::ROOT,
        key: b"forged",
        entry,
    });
    logged(TxId(3), encoder)
}

/// What opening says of a log whose last commit is this.
fn logged(txid: TxId, encoder: BatchEncoder) -> Result<Core, Error> {
    let vfs: Arc<dyn Vfs> = Arc::new(Memory::new());
    let core = open(&vfs);
    write(&core, |tx| tx.put(b"first", b"x").expect("a put"));
    core.checkpoint().expect("a checkpoint");
    write(&core, |tx| tx.put(b"second", b"y").expect("a put"));
    let mut batch = encoder.finish().expect("a batch");
    let wal = core.wal.as_ref().expect("a log");
    wal.append(txid, &mut batch, Way::Call).expect("an append");
    drop(core);
    recovery::open(Path::new("db"), vfs, DatabaseOptions::new())
}

/// After a commit with the last number of all there could be none.
#[test]
fn a_commit_whose_number_is_too_great_is_damage() {
    let put = |tree, key: &[u8], value: &[u8]| {
        let mut encoder = BatchEncoder::new();
        let entry = Entry {
            value: Value::Inline(value),
            expires: None,
        };
        encoder.push(&Op::Put { tree, key, entry });
        encoder
    };
    let opened = logged(TxId(u64::MAX), put(TreeId::ROOT, b"k", b"v"));
    assert!(matches!(opened, Err(Error::Corrupt(_))));
    // Nor a bucket after one with the last id.
    let core = logged(TxId(3), put(TreeId::NAMES, b"name", &[255; 8])).expect("it opens");
    write(&core, |tx| tx.put(b"third", b"z").expect("a put"));
    assert!(core.new_tree() >= TreeId::MAX);
    assert!(core.new_tree() > TreeId::MAX);
}

#[test]
fn a_forged_length_costs_no_memory() {
    let value = |first: u64, len: u64| LargeRef {
        first: PagePtr::new(PageId(first), TxId(3)),
        len,
        checksum: 7,
    };
    let far = PageId::MAX - 1;
    for large in [
        value(2, LEN_MAX),
        value(2, LEN_MAX + 1),
        value(2, u64::MAX),
        value(far, 10),
        value(3, 100_000),
    ] {
        for run in [None, Some(&b"short"[..]), Some(&[0; 200][..])] {
            let opened = forged(large, run).map(drop);
            assert!(matches!(opened, Err(Error::Corrupt(_))), "{large:?}: {opened:?}");
        }
    }
}

#[test]
fn what_is_left_of_extents() {
    let extents = |list: &[(u64, u64)]| -> Vec<Extent> {
        list.iter().map(|&(start, len)| Extent { start, len }).collect()
    };
    let all = extents(&[(10, 10), (30, 5), (40, 1)]);
    for (some, rest) in [
        (&[][..], &[(10, 10), (30, 5), (40, 1)][..]),
        (&[(10, 10), (30, 5), (40, 1)], &[]),
        (
            &[(10, 1), (19, 1), (31, 2)],
            &[(11, 8), (30, 1), (33, 2), (40, 1)],
        ),
        (&[(5, 7), (18, 13), (39, 9)], &[(12, 6), (31, 4)]),
    ] {
        assert_eq!(without(&all, &extents(some)), extents(rest));
    }
}
