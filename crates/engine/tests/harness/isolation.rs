//! What transactions that run at the same time may see of each other: each anomaly once by hand, and from many threads.

use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use weald_engine::{Database, DatabaseOptions, Error, Isolation, OptimisticTx, Readable, Writable};
use weald_vfs::Memory;

use crate::seed::Rng;

/// What a transaction reads, or does.
type Read<'a> = &'a dyn Fn(&OptimisticTx<'_>);
type Work<'a> = &'a dyn Fn(&mut OptimisticTx<'_>);

/// For closures whose answer is of no use.
fn done<T>(_: T) {}

fn database(pairs: &[(&[u8], &[u8])]) -> Database {
    let db = Database::in_memory().unwrap();
    let mut tx = db.write().unwrap();
    tx.batch_put(pairs.iter().copied()).unwrap();
    tx.commit().unwrap();
    db
}

fn committed(tx: OptimisticTx<'_>) -> bool {
    match tx.commit() {
        Ok(_) => true,
        Err(Error::Conflict) => false,
        Err(e) => panic!("{e}"),
    }
}

fn number(bytes: Option<&[u8]>) -> u64 {
    bytes.map_or(0, |b| u64::from_le_bytes(b.try_into().expect("eight bytes")))
}

#[test]
fn an_update_is_not_lost() {
    let db = database(&[(b"n", b"1")]);
    let mut first = db.optimistic().unwrap();
    let mut second = db.optimistic().unwrap();
    for tx in [&mut first, &mut second] {
        let mut value = tx.get(b"n").unwrap().unwrap();
        value.push(b'+');
        tx.put(b"n", &value).unwrap();
    }
    assert!(committed(first));
    assert!(!committed(second));
    assert_eq!(db.get(b"n").unwrap().as_deref(), Some(&b"1+"[..]));
    assert_eq!(db.stats().conflicts, 1);
}

#[test]
fn an_update_is_not_lost_under_snapshot_isolation_either() {
    let db = database(&[(b"n", b"1")]);
    let mut first = db.optimistic_with(Isolation::Snapshot).unwrap();
    let mut second = db.optimistic_with(Isolation::Snapshot).unwrap();
    for tx in [&mut first, &mut second] {
        tx.update(b"n", |n| Some([n.unwrap(), b"+"].concat())).unwrap();
    }
    assert!(committed(first));
    assert!(!committed(second));
}

#[test]
fn write_skew_is_refused_and_allowed_under_snapshot_isolation() {
    for (isolation, allowed) in [(Isolation::Serializable, false), (Isolation::Snapshot, true)] {
        let db = database(&[(b"alice", b"on call"), (b"bob", b"on call")]);
        let mut first = db.optimistic_with(isolation).unwrap();
        let mut second = db.optimistic_with(isolation).unwrap();
        for (tx, leaves, stays) in [
            (&mut first, b"alice", b"bob\0\0"),
            (&mut second, b"bob\0\0", b"alice"),
        ] {
            let stays = stays.split(|b| *b == 0).next().unwrap();
            let leaves = leaves.split(|b| *b == 0).next().unwrap();
            if tx.contains_key(stays).unwrap() {
                tx.delete(leaves).unwrap();
            }
        }
        assert!(committed(first));
        assert_eq!(committed(second), allowed, "{isolation:?}");
        assert_eq!(db.read().unwrap().is_empty().unwrap(), allowed);
    }
}

/// Transactions that are refreshed at any moment lose no update and let no skew through, and what they read afterwards is of one state.
#[test]
fn a_transaction_that_is_refreshed_commits_as_if_it_had_begun_then() {
    let mut rng = Rng::new(7);
    let (mut refused, mut committed_ones) = (0, 0);
    for _ in 0..400 {
        let db = database(&[(b"a", b"1"), (b"b", b"1"), (b"c", b"1")]);
        let keys: [&[u8]; 3] = [b"a", b"b", b"c"];
        let (read, write, other) = (
            keys[rng.below(3) as usize],
            keys[rng.below(3) as usize],
            keys[rng.below(3) as usize],
        );
        let mut tx = db.optimistic().unwrap();
        let seen = tx.get(read).unwrap();
        tx.put(write, b"mine").unwrap();
        let before = rng.below(2) == 0;
        if before {
            db.put(other, b"theirs").unwrap();
        }
        let refreshed = tx.refresh();
        assert_eq!(refreshed.is_err(), before && other == read);
        if refreshed.is_err() {
            refused += 1;
            // It stays where it was, and is refused again.
            assert!(!committed(tx));
            continue;
        }
        let third = tx.get(other).unwrap();
        let expected: &[u8] = match (other == write, before) {
            (true, _) => b"mine",
            (false, true) => b"theirs",
            (false, false) => b"1",
        };
        assert_eq!(third.as_deref(), Some(expected));
        let after = rng.below(2) == 0;
        if after {
            db.put(read, b"later").unwrap();
        }
        assert_eq!(
            committed(tx),
            !after,
            "what was read before is still held against others"
        );
        committed_ones += usize::from(!after);
        let holds = db.get(write).unwrap();
        assert_eq!(holds.as_deref() == Some(b"mine"), !after, "{seen:?}");
    }
    assert!(refused > 20 && committed_ones > 50, "{refused}, {committed_ones}");
}

#[test]
fn a_refreshed_transaction_keeps_its_snapshot_where_that_was_asked_for() {
    let db = database(&[(b"a", b"1"), (b"b", b"1")]);
    let mut tx = db.optimistic_with(Isolation::Snapshot).unwrap();
    tx.put(b"b", b"2").unwrap();
    db.put(b"a", b"2").unwrap();
    tx.refresh().unwrap();
    assert_eq!(tx.get(b"a").unwrap().as_deref(), Some(&b"1"[..]));
    assert!(committed(tx));
}

/// Whether a transaction that read by `read` and wrote elsewhere commits after another has done `change`.
fn survives(pairs: &[(&[u8], &[u8])], read: impl Fn(&OptimisticTx<'_>), change: impl Fn(&Database)) -> bool {
    let db = database(pairs);
    let mut tx = db.optimistic().unwrap();
    read(&tx);
    change(&db);
    tx.put(b"elsewhere", b"1").unwrap();
    committed(tx)
}

const FIVE: &[(&[u8], &[u8])] = &[
    (b"a", b"1"),
    (b"b", b"1"),
    (b"c", b"1"),
    (b"d", b"1"),
    (b"e", b"1"),
];

#[test]
fn phantoms_are_noticed() {
    let put_bb = |db: &Database| done(db.put(b"bb", b"2").unwrap());
    let scans: &[(&str, Read<'_>)] = &[
        ("an empty range", &|tx| {
            assert_eq!(tx.range("b0".."bz").count(), 0)
        }),
        ("an empty range backwards", &|tx| {
            assert_eq!(tx.range("b0".."bz").rev().count(), 0)
        }),
        ("an empty prefix", &|tx| assert_eq!(tx.prefix(b"bb").count(), 0)),
        ("a whole range", &|tx| assert_eq!(tx.range("b"..="c").count(), 2)),
        ("the length", &|tx| assert_eq!(tx.len().unwrap(), 5)),
        ("an absent key", &|tx| assert_eq!(tx.get(b"bb").unwrap(), None)),
        ("an absent key among many", &|tx| {
            assert_eq!(tx.get_many(&[b"a", b"bb"]).unwrap(), [Some(&b"1"[..]), None]);
        }),
        ("a cursor", &|tx| {
            let mut cursor = tx.cursor();
            cursor.seek(b"b").unwrap();
            cursor.next().unwrap();
        }),
        ("an iterator past it", &|tx| {
            assert_eq!(tx.iter().take(3).count(), 3)
        }),
        ("an iterator past it from behind", &|tx| {
            assert_eq!(tx.iter().rev().take(4).count(), 4)
        }),
        ("both ends until they meet", &|tx| {
            let mut iter = tx.iter();
            while iter.next().is_some() && iter.next_back().is_some() {}
        }),
        ("an iterator that was not dropped", &|tx| {
            let mut iter = tx.iter();
            iter.next();
            std::mem::forget(iter);
        }),
        ("the length beside an iterator", &|tx| {
            let mut iter = tx.iter();
            iter.next();
            assert_eq!(tx.len().unwrap(), 5);
            done(iter);
        }),
        ("a cursor beside an iterator", &|tx| {
            let iter = tx.iter();
            tx.cursor().last().unwrap();
            done(iter);
        }),
    ];
    for (what, read) in scans {
        assert!(!survives(FIVE, read, put_bb), "{what}");
        assert!(survives(FIVE, read, |_| ()), "{what}, and nobody else");
    }
}

#[test]
fn what_an_iterator_did_not_come_to_does_not_count() {
    let cases: &[(&str, Read<'_>)] = &[
        ("not begun", &|tx| done(tx.iter())),
        ("the first", &|tx| done(tx.first().unwrap())),
        ("two from the front", &|tx| done(tx.iter().take(2).count())),
        ("two from behind", &|tx| done(tx.iter().rev().take(2).count())),
        ("one from each end", &|tx| {
            let mut iter = tx.iter();
            iter.next();
            iter.next_back();
        }),
        ("other ranges", &|tx| {
            assert_eq!(tx.range(..="b").count() + tx.range("d"..).count(), 4);
        }),
        ("the other keys", &|tx| {
            assert_eq!(tx.get_many(&[b"b", b"d", b"bb"]).unwrap().len(), 3);
        }),
    ];
    for (what, read) in cases {
        assert!(
            survives(FIVE, read, |db| done(db.delete(b"c").unwrap())),
            "{what}"
        );
    }
    assert!(!survives(
        FIVE,
        |tx| done(tx.first().unwrap()),
        |db| done(db.put(b"0", b"").unwrap())
    ));
    assert!(!survives(
        FIVE,
        |tx| done(tx.last().unwrap()),
        |db| done(db.put(b"z", b"").unwrap())
    ));
}

#[test]
fn a_bucket_that_goes_away_is_a_conflict() {
    let cases: &[(&str, Work<'_>)] = &[
        ("a read of a key", &|tx| {
            done(tx.bucket(b"b").unwrap().get(b"k").unwrap());
        }),
        ("a read of an absent key", &|tx| {
            done(tx.bucket(b"b").unwrap().get(b"absent").unwrap());
        }),
        ("a scan", &|tx| {
            assert_eq!(tx.bucket(b"b").unwrap().iter().count(), 1)
        }),
        ("a write", &|tx| {
            tx.bucket_mut(b"b").unwrap().put(b"k", b"2").unwrap()
        }),
        ("a list", &|tx| assert_eq!(tx.buckets().unwrap().len(), 1)),
        ("a bucket within", &|tx| {
            tx.bucket_mut(b"b").unwrap().create_bucket(b"c").unwrap();
        }),
    ];
    for (what, work) in cases {
        let db = database(&[]);
        let mut tx = db.write().unwrap();
        tx.create_bucket(b"b").unwrap().put(b"k", b"1").unwrap();
        tx.commit().unwrap();
        let mut tx = db.optimistic().unwrap();
        work(&mut tx);
        tx.put(b"elsewhere", b"1").unwrap();
        let mut other = db.write().unwrap();
        other.delete_bucket(b"b").unwrap();
        other.commit().unwrap();
        assert!(!committed(tx), "{what}");
    }
}

/// Snapshot isolation too must not write to a bucket that is gone: nothing would lead there, and nobody could give its pages back.
#[test]
fn under_snapshot_isolation_a_write_to_a_bucket_that_goes_away_is_a_conflict() {
    for within in [false, true] {
        let db = database(&[]);
        let mut tx = db.write().unwrap();
        tx.create_bucket(b"b").unwrap();
        tx.commit().unwrap();
        let mut tx = db.optimistic_with(Isolation::Snapshot).unwrap();
        let mut bucket = tx.bucket_mut(b"b").unwrap();
        if within {
            bucket.create_bucket(b"c").unwrap();
        } else {
            bucket.put(b"k", b"v").unwrap();
        }
        let mut other = db.write().unwrap();
        other.delete_bucket(b"b").unwrap();
        other.commit().unwrap();
        assert!(!committed(tx), "within: {within}");
    }
    // The other way round: who deletes must have seen all that is in it.
    let db = database(&[]);
    let mut tx = db.write().unwrap();
    tx.create_bucket(b"b").unwrap();
    tx.commit().unwrap();
    let mut tx = db.optimistic_with(Isolation::Snapshot).unwrap();
    tx.delete_bucket(b"b").unwrap();
    let mut other = db.write().unwrap();
    other.bucket_mut(b"b").unwrap().create_bucket(b"c").unwrap();
    other.commit().unwrap();
    assert!(!committed(tx), "a bucket was created in one that is deleted");
}

#[test]
fn two_cannot_create_the_same_bucket() {
    for isolation in [Isolation::Serializable, Isolation::Snapshot] {
        let db = database(&[]);
        let mut first = db.optimistic_with(isolation).unwrap();
        let mut second = db.optimistic_with(isolation).unwrap();
        for tx in [&mut first, &mut second] {
            tx.create_bucket(b"b").unwrap().put(b"k", b"v").unwrap();
        }
        assert!(committed(first));
        assert!(!committed(second));
    }
}

#[test]
fn two_cannot_take_the_same_number() {
    let db = database(&[]);
    let mut first = db.optimistic().unwrap();
    let mut second = db.optimistic().unwrap();
    assert_eq!(first.next_sequence().unwrap(), 1);
    assert_eq!(second.next_sequence().unwrap(), 1);
    assert!(committed(first));
    assert!(!committed(second));
}

/// Fekete's example: two accounts, a withdrawal with a fee if both together are overdrawn, a deposit, and a report between them.
#[test]
fn a_report_is_no_part_of_an_anomaly() {
    let db = database(&[(b"checking", b"0"), (b"savings", b"0")]);
    let mut withdrawal = db.optimistic().unwrap();
    let both = [b"checking".as_slice(), b"savings"].map(|key| withdrawal.get(key).unwrap().unwrap());
    assert_eq!(both, [b"0", b"0"]);
    let mut deposit = db.optimistic().unwrap();
    deposit.update(b"savings", |_| Some(b"20".to_vec())).unwrap();
    assert!(committed(deposit));
    let report = db.optimistic().unwrap();
    assert_eq!(report.get(b"savings").unwrap().as_deref(), Some(&b"20"[..]));
    assert_eq!(report.get(b"checking").unwrap().as_deref(), Some(&b"0"[..]));
    assert!(
        committed(report),
        "a transaction that only reads is never refused"
    );
    withdrawal.put(b"checking", b"-11").unwrap();
    assert!(
        !committed(withdrawal),
        "it would have to come before the deposit that the report saw"
    );
}

#[test]
fn who_only_reads_is_never_refused() {
    let db = database(FIVE);
    let tx = db.optimistic().unwrap();
    assert_eq!(tx.iter().count(), 5);
    db.put(b"a", b"2").unwrap();
    db.delete(b"b").unwrap();
    assert_eq!(tx.get(b"a").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(tx.iter().count(), 5);
    assert!(committed(tx));
}

#[test]
fn blind_writes_never_conflict() {
    let options = DatabaseOptions::new()
        .vfs(std::sync::Arc::new(Memory::new()))
        .merge_operator("append", crate::model::append);
    let db = Database::open_with_options("db", options).unwrap();
    db.put(b"a", b"1").unwrap();
    let mut blind = db.optimistic().unwrap();
    blind.put(b"a", b"2").unwrap();
    blind.discard(b"b").unwrap();
    blind.delete_range("x".."z").unwrap();
    blind.merge(b"m", "append", b"first").unwrap();
    assert_eq!(
        blind.get(b"a").unwrap().as_deref(),
        Some(&b"2"[..]),
        "its own write"
    );
    for key in [b"a", b"b", b"m", b"y"] {
        db.put(key, b"other ").unwrap();
    }
    assert!(committed(blind));
    let tx = db.read().unwrap();
    assert_eq!(tx.get(b"a").unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!(tx.get(b"b").unwrap(), None);
    assert_eq!(tx.get(b"y").unwrap(), None);
    assert_eq!(tx.get(b"m").unwrap().as_deref(), Some(&b"other first"[..]));
}

#[test]
fn a_savepoint_takes_back_writes_and_not_reads() {
    let db = database(FIVE);
    let mut tx = db.optimistic().unwrap();
    let start = tx.savepoint();
    tx.get(b"a").unwrap();
    tx.put(b"b", b"mine").unwrap();
    tx.rollback_to(&start).unwrap();
    assert_eq!(tx.get(b"c").unwrap().as_deref(), Some(&b"1"[..]));
    tx.put(b"z", b"mine").unwrap();
    db.put(b"a", b"theirs").unwrap();
    assert!(!committed(tx), "what was read before going back still counts");

    let mut tx = db.optimistic().unwrap();
    let start = tx.savepoint();
    tx.put(b"b", b"mine").unwrap();
    tx.rollback_to(&start).unwrap();
    tx.put(b"z", b"mine").unwrap();
    db.put(b"b", b"theirs").unwrap();
    assert!(committed(tx));
    assert_eq!(db.get(b"b").unwrap().as_deref(), Some(&b"theirs"[..]));
    assert_eq!(db.get(b"z").unwrap().as_deref(), Some(&b"mine"[..]));
}

#[test]
fn untracked_reads_do_not_count_and_depending_on_a_key_does() {
    let db = database(FIVE);
    let mut tx = db.optimistic().unwrap();
    tx.untracked().get(b"a").unwrap();
    assert_eq!(tx.untracked().iter().count(), 5);
    tx.put(b"z", b"1").unwrap();
    db.put(b"a", b"2").unwrap();
    assert!(committed(tx));
    let mut tx = db.optimistic().unwrap();
    tx.depend_on(b"a");
    tx.put(b"z", b"2").unwrap();
    db.put(b"a", b"3").unwrap();
    assert!(!committed(tx));
}

#[test]
fn more_reads_than_are_remembered_one_by_one_still_count() {
    let db = database(FIVE);
    let long = vec![b'k'; 900];
    for (key, expected) in [(&b"k5000"[..], false), (b"z", true)] {
        let mut tx = db.optimistic().unwrap();
        for n in 0..6000 {
            let mut key = format!("k{n}").into_bytes();
            key.extend_from_slice(&long);
            tx.get(&key).unwrap();
        }
        tx.put(b"elsewhere", b"1").unwrap();
        db.put(&[key, &long].concat(), b"1").unwrap();
        assert_eq!(committed(tx), expected);
    }
}

#[test]
fn a_write_that_does_not_fit_changes_nothing() {
    let options = DatabaseOptions::new()
        .vfs(std::sync::Arc::new(Memory::new()))
        .bulk_bytes(1 << 10)
        .transaction_bytes_max(100_000);
    let db = Database::open_with_options("db", options).unwrap();
    let mut tx = db.optimistic().unwrap();
    let mut n = 0u32;
    let refused = loop {
        match tx.put(&n.to_be_bytes(), &[7; 500]) {
            Ok(()) => n += 1,
            Err(e) => break e,
        }
    };
    assert!(matches!(refused, Error::TooLarge(_)), "{refused}");
    assert!(n > 50);
    assert_eq!(tx.get(&n.to_be_bytes()).unwrap(), None);
    assert!(committed(tx));
    assert_eq!(db.read().unwrap().len().unwrap(), u64::from(n));
}

/// Adds up what `threads` threads count in `keys` keys.
fn count(threads: u64, keys: u64, rounds: u64) {
    let db = database(&[]);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let db = &db;
            scope.spawn(move || {
                let mut rng = Rng::new(thread);
                for _ in 0..rounds {
                    let key = rng.below(keys).to_be_bytes();
                    let done = db.transact(|tx| {
                        let n = number(tx.get_ref(&key)?) + 1;
                        tx.put(&key, &n.to_le_bytes())
                    });
                    done.unwrap();
                }
            });
        }
    });
    let tx = db.read().unwrap();
    let sum: u64 = tx.iter().map(|pair| number(Some(pair.unwrap().1))).sum();
    assert_eq!(sum, threads * rounds);
    assert!(tx.len().unwrap() <= keys);
}

#[test]
fn counters_lose_no_update() {
    count(4, 1, 400);
    count(4, 1000, 400);
}

/// Transfers between accounts while readers, optimistic ones and snapshots, see the same sum at any time; a doctor stays on call.
#[test]
fn many_threads_keep_what_one_would_keep() {
    const ACCOUNTS: u64 = 8;
    let db = database(&[]);
    let mut tx = db.write().unwrap();
    for account in 0..ACCOUNTS {
        tx.put(&account.to_be_bytes(), &100u64.to_le_bytes()).unwrap();
    }
    let mut doctors = tx.create_bucket(b"on call").unwrap();
    for doctor in 0..3u8 {
        doctors.put(&[doctor], b"").unwrap();
    }
    tx.commit().unwrap();
    let sum = |tx: &dyn Fn() -> Vec<u64>| tx().iter().sum::<u64>();
    let (stop, transfers) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4u64)
            .map(|thread| {
                let (db, transfers) = (&db, &transfers);
                scope.spawn(move || {
                    let mut rng = Rng::new(thread);
                    for _ in 0..250 {
                        let (from, to) = (
                            rng.below(ACCOUNTS).to_be_bytes(),
                            rng.below(ACCOUNTS).to_be_bytes(),
                        );
                        let amount = rng.below(30);
                        let moved = db.transact(|tx| {
                            let has = number(tx.get_ref(&from)?);
                            if has < amount || from == to {
                                return Ok::<_, Error>(0);
                            }
                            let gets = number(tx.get_ref(&to)?);
                            tx.put(&from, &(has - amount).to_le_bytes())?;
                            tx.put(&to, &(gets + amount).to_le_bytes())?;
                            Ok(1)
                        });
                        transfers.fetch_add(moved.unwrap(), Ordering::Relaxed);
                        let doctor = [rng.below(3) as u8];
                        let changed = db.transact(|tx| {
                            let mut doctors = tx.bucket_mut(b"on call")?;
                            if !doctors.delete(&doctor)? || doctors.as_bucket()?.is_empty()? {
                                doctors.put(&doctor, b"")?;
                            }
                            Ok::<_, Error>(())
                        });
                        changed.unwrap();
                    }
                })
            })
            .collect();
        for optimistic in [false, true] {
            let (db, stop) = (&db, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let all = || -> Vec<u64> {
                        let range = (
                            Bound::Included(0u64.to_be_bytes()),
                            Bound::Excluded(ACCOUNTS.to_be_bytes()),
                        );
                        let values = |iter: weald_engine::Iter<'_>| {
                            iter.map(|pair| number(Some(pair.unwrap().1))).collect()
                        };
                        if optimistic {
                            let tx = db.optimistic().unwrap();
                            assert!(tx.bucket(b"on call").unwrap().iter().count() > 0);
                            values(tx.range(range))
                        } else {
                            let tx = db.read().unwrap();
                            assert!(!tx.bucket(b"on call").unwrap().is_empty().unwrap());
                            values(tx.range(range))
                        }
                    };
                    assert_eq!(sum(&all), 100 * ACCOUNTS);
                }
            });
        }
        let results: Vec<_> = writers
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        stop.store(true, Ordering::Relaxed);
        results.into_iter().for_each(|result| result.unwrap());
    });
    assert!(transfers.load(Ordering::Relaxed) > 100);
}

/// Readers see commits in their order: never a later one without an earlier one.
#[test]
fn readers_see_commits_in_order_and_whole() {
    let db = database(&[]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                while !stop.load(Ordering::Relaxed) {
                    let tx = db.read().unwrap();
                    let (a, b) = (
                        number(tx.get_ref(b"a").unwrap()),
                        number(tx.get_ref(b"b").unwrap()),
                    );
                    assert_eq!(a, b);
                    assert!(a >= last, "{a} after {last}");
                    last = a;
                }
            });
        }
        let writers: Vec<_> = (0..3u64)
            .map(|thread| {
                let db = &db;
                scope.spawn(move || {
                    for n in 0..300u64 {
                        let mut tx = db.write().unwrap();
                        let next = number(tx.get_ref(b"a").unwrap()) + 1;
                        tx.put(b"a", &next.to_le_bytes()).unwrap();
                        tx.put(b"b", &next.to_le_bytes()).unwrap();
                        let policy = if (n + thread) % 3 == 0 {
                            weald_engine::SyncPolicy::None
                        } else {
                            weald_engine::SyncPolicy::Immediate
                        };
                        tx.commit_with(policy).unwrap();
                    }
                })
            })
            .collect();
        let results: Vec<_> = writers
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        stop.store(true, Ordering::Relaxed);
        results.into_iter().for_each(|result| result.unwrap());
    });
    assert_eq!(number(db.get(b"a").unwrap().as_deref()), 900);
}
