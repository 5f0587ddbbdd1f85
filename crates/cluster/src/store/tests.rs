//! The store against the simulator's disk: the same operations, the same completions, in memory and in a file, and what is there after it was opened again.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use weald_cluster_proto::{Bytes, Change, Decision, Entry, NodeId, Past, Random, Record, Version};
use weald_sim::Disk as Model;
use weald_storage::{Options, Registry};

use super::*;

fn open(storage: Arc<dyn Storage>, workers: usize) -> (Store, Meta, Receiver<(Token, Completion)>) {
    let (sender, completions) = channel();
    let sender = Mutex::new(sender);
    let done = move |token, completion| {
        let sender = sender.lock().expect("no panics");
        sender.send((token, completion)).expect("the test listens");
    };
    let (store, meta) = Store::open(storage, workers, done).expect("opened");
    (store, meta, completions)
}

fn record(random: &mut Random) -> Record {
    let stamp = random.below(40) << 16;
    let value = random.chance(700).then(|| vec![7; random.below(50) as usize]);
    Record {
        version: Version {
            stamp,
            node: NodeId(random.below(3)),
        },
        expires_ms: random.chance(200).then(|| random.below(40)),
        value: value.map(Bytes::from),
    }
}

fn key(random: &mut Random) -> Bytes {
    let names: [&[u8]; 6] = [b"", b"a", b"aa", b"b", b"\xff", b"\xff\xff"];
    Bytes::from(names[random.below(6) as usize])
}

fn change(random: &mut Random) -> Change {
    let record = record(random);
    let ballot = Version {
        stamp: random.below(40) << 16,
        node: NodeId(1),
    };
    match random.below(4) {
        0 => Change::Put(record),
        1 => Change::Merge(Entry::plain(record)),
        2 => Change::Promise(ballot),
        _ => Change::Accept(ballot, record, Past::default()),
    }
}

fn operation(random: &mut Random) -> StoreOp {
    // Two neighbours, and the last that there may be.
    let partition = Partition([1, 2, (1 << 14) - 1][random.below(3) as usize]);
    let some_key = |random: &mut Random| random.chance(500).then(|| key(random));
    match random.below(20) {
        0..=9 => StoreOp::Change {
            partition,
            changes: (0..random.below(5))
                .map(|_| (key(random), change(random)))
                .collect(),
            durable: random.chance(500),
        },
        10..=12 => StoreOp::Read {
            partition,
            keys: (0..3).map(|_| key(random)).collect(),
        },
        13..=14 => StoreOp::ScanPartition {
            partition,
            after: some_key(random),
            upto: some_key(random),
            limit: 1 + random.below(6) as usize,
            bytes: 1 + random.below(500) as usize,
        },
        15 => StoreOp::Clear { partition },
        16 => StoreOp::Sync { partition },
        17 => StoreOp::DropSpent {
            partition,
            mark: Version::end_of_ms(random.below(40)),
        },
        18 => StoreOp::ScanKeys {
            partitions: vec![Partition(1), Partition(2), Partition((1 << 14) - 1)],
            start: key(random),
            end: some_key(random),
            limit: 1 + random.below(12) as usize,
            bytes: 1 + random.below(2000) as usize,
        },
        _ => StoreOp::Meta {
            changes: (0..random.below(4))
                .map(|_| {
                    let name = vec![b'a' + random.below(3) as u8];
                    (name, random.chance(600).then(|| vec![random.below(256) as u8]))
                })
                .collect(),
        },
    }
}

/// What the store may leave out.
fn bare(completion: Completion) -> Completion {
    let bare = |decision: Decision| Decision {
        write: None,
        ..decision
    };
    match completion {
        Completion::Changed(decisions) => Completion::Changed(decisions.into_iter().map(bare).collect()),
        other => other,
    }
}

fn like_the_model(seed: u64, mut reopen: impl FnMut() -> Arc<dyn Storage>, restarts: usize) {
    let mut random = Random::new(seed);
    let mut model = Model::default();
    for _ in 0..restarts {
        let (store, meta, completions) = open(reopen(), 2);
        assert_eq!(meta, model.meta);
        let mut tokens = 0;
        for _ in 0..60 {
            // Several at once, so that some share an update. A scan across partitions is ordered in nothing, and stands alone.
            let mut ops: Vec<StoreOp> = (0..1 + random.below(12))
                .map(|_| operation(&mut random))
                .collect();
            if ops.iter().any(|op| op.space().is_none()) {
                ops.truncate(1);
            }
            let mut want = Vec::new();
            for op in ops {
                tokens += 1;
                want.push((Token(tokens), bare(model.execute(&op))));
                store.submit(Token(tokens), op);
            }
            let mut got: Vec<(Token, Completion)> = (0..want.len())
                .map(|_| {
                    completions
                        .recv_timeout(Duration::from_secs(20))
                        .expect("completed")
                })
                .collect();
            got.sort_by_key(|(token, _)| *token);
            assert_eq!(got, want);
        }
        store.close().expect("closed");
    }
}

#[test]
fn in_memory_it_does_what_the_simulated_disk_does() {
    for seed in 0..10 {
        let storage = Registry::compiled()
            .open("memory", &Options::new())
            .expect("a store");
        like_the_model(seed, || storage.clone(), 1);
    }
}

#[test]
fn in_a_file_it_does_so_too_and_has_all_of_it_after_a_restart() {
    for seed in 100..103 {
        let dir = tempfile::tempdir().expect("a folder");
        let reopen = || {
            let options = Options::in_dir(dir.path());
            Registry::compiled().open("file", &options).expect("a store")
        };
        like_the_model(seed, reopen, 3);
    }
}

#[test]
fn what_the_storage_does_not_take_fails_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let storage = Registry::compiled()
        .open("file", &Options::in_dir(dir.path()))
        .expect("a store");
    let (store, _, completions) = open(storage, 1);
    let put = |key: Vec<u8>, partition| StoreOp::Change {
        partition: Partition(partition),
        changes: vec![(key.into(), Change::Put(record(&mut Random::new(5))))],
        durable: true,
    };
    let ops = [
        put(b"a".to_vec(), 1),
        put(vec![1; 60_000], 1),
        put(b"b".to_vec(), 1),
        put(b"a".to_vec(), 0xffff),
    ];
    for (op, token) in ops.into_iter().zip(1..) {
        store.submit(Token(token), op);
    }
    let done: Vec<bool> = (0..4)
        .map(|_| {
            completions
                .recv_timeout(Duration::from_secs(20))
                .expect("completed")
        })
        .map(|(_, completion)| completion != Completion::Failed)
        .collect();
    assert_eq!(done, [true, false, true, false]);
    store.close().expect("closed");
}
