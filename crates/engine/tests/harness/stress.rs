//! Everything at once: writers of both kinds, roll-backs that have spilled, snapshots that stay, checkpoints, compaction and checks, from
//! many threads with little memory.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use weald_engine::{Bucket, Database, DatabaseOptions, Error, Readable, SyncPolicy, Writable};

use crate::accounting::check_sound;
use crate::model_test::directory;
use crate::seed::{Rng, asked};

const GROUPS: u64 = 24;
const MEMBERS: u64 = 12;

fn key(group: u64, member: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&group.to_be_bytes());
    key[8..].copy_from_slice(&member.to_be_bytes());
    key
}

/// What all members of a group have once it was stamped: of another size each time, now and then outside of the leaf.
fn value(stamp: u64) -> Vec<u8> {
    let len = match stamp % 23 {
        7 => 9000 + stamp as usize % 5000,
        n => 8 + n as usize * 20,
    };
    let mut value = vec![stamp as u8; len];
    value[..8].copy_from_slice(&stamp.to_le_bytes());
    value
}

/// The stamps of all groups. All members of a group have the same, whole.
fn stamps(bucket: &Bucket<'_>) -> Vec<u64> {
    let mut stamps = vec![0; GROUPS as usize];
    for group in 0..GROUPS {
        let mut members = 0;
        for pair in bucket.prefix(&group.to_be_bytes()) {
            let (_, found) = pair.unwrap();
            let stamp = u64::from_le_bytes(found[..8].try_into().unwrap());
            if members == 0 {
                stamps[group as usize] = stamp;
            }
            assert_eq!(stamp, stamps[group as usize], "group {group}");
            assert!(found == value(stamp), "a torn value of group {group}");
            members += 1;
        }
        assert!(
            members == 0 || members == MEMBERS,
            "{members} members of group {group}"
        );
    }
    stamps
}

fn stamp<'db>(tx: &mut impl Writable<'db>, group: u64, stamp: u64) -> Result<(), Error> {
    (0..MEMBERS).try_for_each(|member| tx.put(&key(group, member), &value(stamp)))
}

fn run(options: &DatabaseOptions, seed: u64, how_long: Duration) {
    let dir = directory();
    let path = dir.path().join("db");
    let db = Database::open_with_options(&path, options.clone()).unwrap();
    let (stop, next) = (AtomicBool::new(false), AtomicU64::new(1));
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        let mut spawn = |n: u64, work: &'static (dyn Fn(&Database, &mut Rng, &AtomicU64) + Sync)| {
            let (db, stop, next) = (&db, &stop, &next);
            threads.push(scope.spawn(move || {
                let mut rng = Rng::new(seed * 100 + n);
                while !stop.load(Ordering::Relaxed) {
                    work(db, &mut rng, next);
                }
            }));
        };
        spawn(0, &write);
        spawn(1, &write);
        spawn(2, &move_stamps);
        spawn(3, &roll_back);
        spawn(4, &look);
        spawn(5, &look);
        spawn(6, &maintain);
        let began = Instant::now();
        while began.elapsed() < how_long && !threads.iter().any(|thread| thread.is_finished()) {
            std::thread::sleep(Duration::from_millis(10));
        }
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().unwrap();
        }
    });
    let before = stamps(&db.read().unwrap().root());
    check_sound(&db).unwrap();
    db.close().unwrap();
    let db = Database::open_with_options(&path, options.clone()).unwrap();
    assert_eq!(stamps(&db.read().unwrap().root()), before);
    check_sound(&db).unwrap();
    assert!(next.load(Ordering::Relaxed) > 20, "next to nothing was written");
}

fn write(db: &Database, rng: &mut Rng, next: &AtomicU64) {
    let mut tx = db.write().unwrap();
    for _ in 0..1 + rng.below(4) {
        let group = rng.below(GROUPS);
        if rng.one_in(10) {
            tx.delete_range(&key(group, 0)[..]..&key(group + 1, 0)[..])
                .unwrap();
        } else {
            stamp(&mut tx, group, next.fetch_add(1, Ordering::Relaxed)).unwrap();
        }
    }
    stamps(&tx.root());
    let policy = if rng.one_in(2) {
        SyncPolicy::None
    } else {
        SyncPolicy::Immediate
    };
    tx.commit_with(policy).unwrap();
}

/// Gives one group the stamp of another.
fn move_stamps(db: &Database, rng: &mut Rng, _: &AtomicU64) {
    let (from, to) = (rng.below(GROUPS), rng.below(GROUPS));
    let moved = db.transact(|tx| {
        let found = tx.get_ref(&key(from, 3))?;
        match found.map(|found| u64::from_le_bytes(found[..8].try_into().unwrap())) {
            Some(found) => stamp(tx, to, found),
            None => Ok(()),
        }
    });
    moved.unwrap();
}

fn roll_back(db: &Database, rng: &mut Rng, next: &AtomicU64) {
    let mut tx = db.write().unwrap();
    for group in 0..GROUPS {
        stamp(&mut tx, group, next.fetch_add(1, Ordering::Relaxed)).unwrap();
    }
    stamps(&tx.root());
    drop(tx);
    std::thread::sleep(Duration::from_micros(rng.below(5000)));
}

/// A snapshot stays the same for as long as it lives, and what it has lent too.
fn look(db: &Database, rng: &mut Rng, _: &AtomicU64) {
    let tx = db.read().unwrap();
    let before = stamps(&tx.root());
    let lent: Vec<(&[u8], &[u8])> = tx.iter().map(Result::unwrap).collect();
    let copies: Vec<(Vec<u8>, Vec<u8>)> = lent.iter().map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
    std::thread::sleep(Duration::from_micros(rng.below(30_000)));
    assert_eq!(stamps(&tx.root()), before);
    assert!(
        lent.iter()
            .zip(&copies)
            .all(|(lent, copy)| lent.0 == copy.0 && lent.1 == copy.1)
    );
}

fn maintain(db: &Database, rng: &mut Rng, _: &AtomicU64) {
    match rng.below(8) {
        0..=2 => drop(db.checkpoint().unwrap()),
        3 => db.flush().unwrap(),
        4 => drop(db.compact().unwrap()),
        5 => check_sound(db).unwrap(),
        _ => std::thread::sleep(Duration::from_millis(5)),
    }
}

#[test]
fn many_threads_with_little_memory() {
    let tiny = || {
        DatabaseOptions::new()
            .wal_segment_bytes(64 << 10)
            .checkpoint_wal_bytes(100_000)
            .checkpoint_interval(Duration::from_millis(5))
            .dirty_bytes_max(64 * 4096)
            .cache_bytes(64 * 4096)
            .transaction_bytes_max(200_000)
            .bulk_bytes(20_000)
    };
    let how_long = Duration::from_millis(asked("WEALD_STRESS_MS").unwrap_or(1200));
    let seed = asked("WEALD_SEED").unwrap_or(1);
    let kinds = [
        ("mapped", tiny()),
        ("cached", tiny().mmap(false)),
        ("without a log", tiny().wal(false)),
        (
            "batched",
            tiny()
                .sync(SyncPolicy::Batched(Duration::from_millis(2)))
                .mmap(false),
        ),
    ];
    for (name, options) in kinds {
        eprintln!("{name}");
        run(&options, seed, how_long);
    }
}
