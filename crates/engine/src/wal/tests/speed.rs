//! What appending and flushing cost on this machine; run with `--release -- --ignored --nocapture`.

use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use weald_vfs::Disk;

use super::*;

fn on_disk() -> (tempfile::TempDir, Wal) {
    let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let config = WalConfig::new(std::process::id().into());
    let wal = Wal::open(
        Arc::new(Disk::new()),
        &dir.path().join("log"),
        config,
        DATABASE,
        Lsn(0),
        false,
        &mut |_| Ok(()),
    );
    (dir, wal.unwrap())
}

#[test]
#[ignore = "a measurement, not a check"]
fn cost_of_an_append() {
    let (_dir, wal) = on_disk();
    const N: u64 = 1_000_000;
    let mut batch = BatchEncoder::new();
    let value = [7; 150];
    let mut encoding = std::time::Duration::ZERO;
    let mut appending = std::time::Duration::ZERO;
    for txid in 1..=N / 100 {
        for _ in 0..100 {
            let begin = Instant::now();
            batch.push(&Op::Put {
                tree: TreeId(16),
                key: &txid.to_le_bytes(),
                entry: Entry {
                    value: Value::Inline(&value),
                    expires: None,
                },
            });
            let mut encoded = batch.finish().unwrap();
            let between = Instant::now();
            wal.append(TxId(txid), &mut encoded, Way::Call).unwrap();
            appending += between.elapsed();
            encoding += between - begin;
            assert_eq!(encoded.frame_len(), 216);
            batch = encoded.into_encoder();
        }
        // A flush now and then, as a background thread does it: segments are given back when they are durable.
        if txid % 100 == 0 {
            wal.flush(wal.end()).unwrap();
            wal.recycle_before(wal.end()).unwrap();
        }
    }
    println!(
        "encode {:?}, append {:?} each",
        encoding / N as u32,
        appending / N as u32
    );
}

#[test]
#[ignore = "a measurement, not a check"]
fn durable_commits_a_second() {
    for threads in [1, 2, 4, 8, 1] {
        let (_dir, wal) = on_disk();
        let appender = Mutex::new(0);
        durable_commit(&wal, 0, 150);
        let begin = Instant::now();
        let each = 8000 / threads;
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for _ in 0..each {
                        let end = {
                            let mut txid = appender.lock().unwrap();
                            *txid += 1;
                            commit(&wal, *txid, 150).end
                        };
                        wal.flush(end).unwrap();
                    }
                });
            }
        });
        let stats = wal.stats();
        let a_second = (each * threads) as f64 / begin.elapsed().as_secs_f64();
        println!(
            "{threads} threads: {a_second:.0} commits/s, {:.2} a flush",
            stats.commits as f64 / stats.flushes as f64
        );
    }
}
