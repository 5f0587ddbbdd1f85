//! The store against the simulator's disk: the same operations, the same completions, in memory and in a file, and what is there after it was opened again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use weald_cluster_proto::{Bytes, Change, Decision, Entry, NodeId, Past, Random, Record, Version};
use weald_sim::Disk as Model;
use weald_storage::{Changes, Decide, Durability, Item, Options, Range, Registry, Stats};

use super::*;

fn open(storage: Arc<dyn Storage>, workers: usize) -> (Store, Meta, Receiver<(Token, Completion)>) {
    let (sender, completions) = channel();
    let sender = Mutex::new(sender);
    let done = move |completed: Vec<Finished>| {
        let sender = sender.lock().expect("no panics");
        for finished in completed {
            sender.send(finished).expect("the test listens");
        }
    };
    let (store, meta) = Store::open(storage, workers, done).expect("opened");
    (store, meta, completions)
}

/// Hands one operation to a worker.
fn submit(store: &mut Store, token: u64, op: StoreOp) {
    assert_eq!(store.submit(vec![(Token(token), op)]), []);
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
        let (mut store, meta, completions) = open(reopen(), 2);
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
            let (mut want, mut got) = (Vec::new(), Vec::new());
            let mut jobs = Vec::new();
            for op in ops {
                tokens += 1;
                want.push((Token(tokens), bare(model.execute(&op))));
                jobs.push((Token(tokens), op));
                // Some are asked for together, and some completions are taken in between.
                if random.chance(500) {
                    got.extend(store.submit(std::mem::take(&mut jobs)));
                    let waiting = usize::from(random.chance(500));
                    for (token, completion) in completions.try_iter().take(waiting) {
                        store.completed(token);
                        got.push((token, completion));
                    }
                }
            }
            got.extend(store.submit(jobs));
            while got.len() < want.len() {
                let (token, completion) = completions
                    .recv_timeout(Duration::from_secs(20))
                    .expect("completed");
                store.completed(token);
                got.push((token, completion));
            }
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
    let (mut store, _, completions) = open(storage, 1);
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
        submit(&mut store, token, op);
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

/// A storage that notes what is asked of it, and lets updates wait.
struct Noting {
    inner: Arc<dyn Storage>,
    gate: Mutex<()>,
    notes: Mutex<Vec<String>>,
    fails: AtomicBool,
}

impl Noting {
    fn new() -> Arc<Noting> {
        Arc::new(Noting {
            inner: Registry::compiled()
                .open("memory", &Options::new())
                .expect("a store"),
            gate: Mutex::new(()),
            notes: Mutex::default(),
            fails: AtomicBool::new(false),
        })
    }

    fn note(&self, note: String) {
        self.notes.lock().expect("no panics").push(note);
    }

    fn noted(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock().expect("no panics"))
    }
}

impl Storage for Noting {
    fn backend(&self) -> &'static str {
        "noting"
    }
    fn limits(&self) -> weald_storage::Limits {
        weald_storage::Limits {
            durable: true,
            ..self.inner.limits()
        }
    }
    fn get(&self, key: &[u8]) -> Result<Option<Item>> {
        self.inner.get(key)
    }
    fn update(&self, keys: &[&[u8]], durability: Durability, decide: &mut Decide<'_>) -> Result<()> {
        self.note(format!("{} {durability:?}", keys.len()));
        drop(self.gate.lock().expect("no panics"));
        self.inner.update(keys, durability, decide)?;
        match self.fails.load(Ordering::SeqCst) {
            true => Err(weald_storage::Error::backend("noting", "as told")),
            false => Ok(()),
        }
    }
    fn purge(&self, key: &[u8], version: weald_storage::Version) -> Result<bool> {
        self.inner.purge(key, version)
    }
    fn scan(&self, range: &Range, see: &mut dyn FnMut(&[u8], Item) -> Result<bool>) -> Result<()> {
        self.inner.scan(range, see)
    }
    fn changes(&self, since: u64) -> Changes {
        self.inner.changes(since)
    }
    fn clear(&self) -> Result<()> {
        self.inner.clear()
    }
    fn flush(&self) -> Result<()> {
        self.note("flush".into());
        self.inner.flush()
    }
    fn close(&self) -> Result<()> {
        self.inner.close()
    }
    fn stats(&self) -> Result<Stats> {
        self.inner.stats()
    }
}

fn put(key: &str, stamp: u64, durable: bool) -> StoreOp {
    let record = Record {
        version: Version {
            stamp,
            node: NodeId(1),
        },
        expires_ms: None,
        value: Some(Bytes::from(&b"value"[..])),
    };
    StoreOp::Change {
        partition: Partition(3),
        changes: vec![(key.as_bytes().into(), Change::Put(record))],
        durable,
    }
}

#[test]
fn what_waits_shares_an_update_as_durable_as_the_strictest() {
    let storage = Noting::new();
    let (mut store, _, completions) = open(storage.clone(), 1);
    let gate = storage.gate.lock().expect("no panics");
    submit(&mut store, 1, put("a", 1, false));
    while storage.notes.lock().expect("no panics").is_empty() {
        std::thread::yield_now();
    }
    for (token, durable) in [(2, false), (3, true), (4, false)] {
        submit(&mut store, token, put("b", token, durable));
    }
    drop(gate);
    for token in 1..=4 {
        let (done, completion) = completions
            .recv_timeout(Duration::from_secs(20))
            .expect("completed");
        assert_eq!(done, Token(token));
        assert_ne!(completion, Completion::Failed);
    }
    assert_eq!(storage.noted(), ["1 Batched", "3 Immediate"]);
    store.close().expect("closed");
}

#[test]
fn what_is_kept_is_durable_before_it_is_said_to_be() {
    let storage = Noting::new();
    let (mut store, _, completions) = open(storage.clone(), 1);
    let mut run = |op| {
        submit(&mut store, 1, op);
        let (_, completion) = completions
            .recv_timeout(Duration::from_secs(20))
            .expect("completed");
        (completion != Completion::Failed, storage.noted())
    };
    let notes = |notes: &[&str]| notes.iter().map(|note| note.to_string()).collect::<Vec<_>>();
    assert_eq!(run(put("a", 5, false)), (true, notes(&["1 Batched"])));
    assert_eq!(
        run(put("a", 5, true)),
        (true, notes(&["1 Immediate", "flush"])),
        "nothing is written, but flushed"
    );
    assert_eq!(
        run(put("a", 5, true)),
        (true, notes(&["1 Immediate"])),
        "nothing is left to flush"
    );
    assert_eq!(
        run(StoreOp::Sync {
            partition: Partition(3)
        }),
        (true, notes(&[]))
    );
    // The storage has it, but says that it may not be durable.
    storage.fails.store(true, Ordering::SeqCst);
    assert_eq!(run(put("b", 6, true)), (false, notes(&["1 Immediate"])));
    storage.fails.store(false, Ordering::SeqCst);
    assert_eq!(run(put("b", 6, true)), (true, notes(&["1 Immediate", "flush"])));
    store.close().expect("closed");
}

#[test]
fn in_memory_what_is_quick_is_done_at_once_unless_it_must_follow_something() {
    let storage = Registry::compiled()
        .open("memory", &Options::new())
        .expect("a store");
    let (mut store, _, completions) = open(storage, 1);
    let read = |partition| StoreOp::Read {
        partition: Partition(partition),
        keys: vec![Bytes::from(&b"a"[..])],
    };
    let done = store.submit(vec![(Token(1), put("a", 1, true)), (Token(2), read(3))]);
    let tokens = |done: &[Finished]| done.iter().map(|(token, _)| token.0).collect::<Vec<u64>>();
    assert_eq!(tokens(&done), [1, 2]);
    assert!(matches!(&done[1].1, Completion::Read(found) if found[0].is_some()));
    let clear = StoreOp::Clear {
        partition: Partition(3),
    };
    let jobs = vec![(Token(3), clear), (Token(4), read(3)), (Token(5), read(4))];
    assert_eq!(tokens(&store.submit(jobs)), [5]);
    for number in [3, 4] {
        // Until the node has taken it in, what follows goes the same way.
        assert_eq!(store.submit(vec![(Token(number + 10), read(3))]), []);
        let (token, _) = completions
            .recv_timeout(Duration::from_secs(20))
            .expect("completed");
        assert_eq!(token, Token(number));
        store.completed(token);
    }
    for number in [13, 14] {
        let (token, completion) = completions
            .recv_timeout(Duration::from_secs(20))
            .expect("completed");
        assert_eq!((token, completion), (Token(number), Completion::Read(vec![None])));
        store.completed(token);
    }
    assert_eq!(tokens(&store.submit(vec![(Token(20), read(3))])), [20]);
    store.close().expect("closed");
}

#[test]
fn a_long_walk_holds_up_its_own_partition_only() {
    let storage = Registry::compiled()
        .open("memory", &Options::new())
        .expect("a store");
    let (mut store, _, completions) = open(storage, 1);
    // Partition 3 is long, and is cleared and asked for its deletions; 4 is read page by page.
    let fill = (0..20_000).map(|number| (Token(number), put(&number.to_string(), number, false)));
    assert_eq!(store.submit(fill.collect()).len(), 20_000);
    let scan = StoreOp::ScanPartition {
        partition: Partition(4),
        after: None,
        upto: None,
        limit: 10,
        bytes: 1000,
    };
    let (long, short) = (Partition(3), Partition(4));
    let read = |partition| StoreOp::Read {
        partition,
        keys: vec![Bytes::from(&b"1"[..])],
    };
    let spent = StoreOp::DropSpent {
        partition: long,
        mark: Version::ZERO,
    };
    let jobs = [
        (1, spent),
        (2, read(long)),
        (3, StoreOp::Clear { partition: long }),
        (4, read(long)),
        (5, scan),
        (6, read(short)),
    ];
    assert_eq!(
        store.submit(jobs.map(|(token, op)| (Token(token), op)).into()),
        []
    );
    let next = || {
        completions
            .recv_timeout(Duration::from_secs(20))
            .expect("completed")
    };
    let mut order = Vec::new();
    for _ in 1..=6 {
        let (token, completion) = next();
        store.completed(token);
        order.push(token.0);
        match (token.0, completion) {
            (2, Completion::Read(found)) => assert!(found[0].is_some()),
            (4 | 6, Completion::Read(found)) => assert!(found[0].is_none()),
            (1 | 3 | 5, Completion::Dropped(_) | Completion::Done | Completion::Scanned { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    let place = |token: u64| order.iter().position(|found| *found == token);
    // Within a partition in order; what is short is not behind what is long.
    assert!(place(1) < place(2) && place(2) < place(3) && place(3) < place(4));
    assert!(place(5) < place(6) && place(6) < place(1), "{order:?}");
    store.close().expect("closed");
}
