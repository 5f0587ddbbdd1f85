//! Histories of operations on a database and on a `BTreeMap`, which must agree.

use std::collections::BTreeMap;
use std::sync::Arc;

use weald_engine::{Database, DatabaseOptions, PageSize, Readable, SyncPolicy, Writable};
use weald_vfs::Memory;

use crate::input::Input;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

impl Input<'_> {
    /// One of some hundred keys, of all lengths that a page takes.
    fn key(&mut self) -> Vec<u8> {
        let byte = self.byte();
        let mut key = vec![byte / 16; usize::from(byte % 8)];
        if byte % 32 == 31 {
            key.resize(900, byte);
        }
        key.push(byte);
        key
    }

    fn value(&mut self) -> Vec<u8> {
        let byte = self.byte();
        let len = match byte % 16 {
            0 => 0,
            13 => 900,
            14 => 4096,
            15 => 70_000,
            n => usize::from(n) * 9,
        };
        vec![byte; len]
    }
}

/// Plays the history that the bytes describe.
pub(crate) fn run(data: &[u8]) {
    let mut input = Input(data);
    let options = options(input.byte());
    let mut db = open(&options);
    let mut model = Model::new();
    while !input.0.is_empty() {
        match input.byte() % 8 {
            0 => {
                db.checkpoint().expect("memory does not fail");
            }
            1 => {
                db.close().expect("memory does not fail");
                db = open(&options);
            }
            2 => {
                drop(db);
                db = open(&options);
            }
            _ => transaction(&db, &mut model, &mut input),
        }
        compare(&db, &model);
    }
    db.close().expect("memory does not fail");
    compare(&open(&options), &model);
}

fn options(byte: u8) -> DatabaseOptions {
    let wal = byte & 1 == 0;
    DatabaseOptions::new()
        .vfs(Arc::new(Memory::new()))
        .background(false)
        .wal(wal)
        .mmap(byte & 2 == 0)
        // Without a log a commit that isn't flushed is gone after a drop, as is promised.
        .sync(if wal {
            SyncPolicy::None
        } else {
            SyncPolicy::Immediate
        })
        .page_size(PageSize::ALL[usize::from(byte >> 2) % 5])
        .wal_segment_bytes(16 << 10)
        .checkpoint_wal_bytes(if byte & 0x80 == 0 { 64 << 10 } else { 64 << 20 })
        .transaction_bytes_max(64 << 10)
        .bulk_bytes(64 << 10)
}

fn open(options: &DatabaseOptions) -> Database {
    Database::open_with_options("/fuzz.weald", options.clone()).expect("memory does not fail")
}

/// One transaction of some operations, and a snapshot beside it that must not see them.
fn transaction(db: &Database, model: &mut Model, input: &mut Input<'_>) {
    let before = db.read().expect("a snapshot can always be had");
    let was = model.clone();
    let mut after = model.clone();
    let mut tx = db.write().expect("there is no other writer");
    let count = input.byte() % 16;
    for _ in 0..count {
        match input.byte() % 6 {
            0 => {
                let key = input.key();
                let existed = tx.delete(&key).expect("the key is short enough");
                assert_eq!(existed, after.remove(&key).is_some());
            }
            1 => {
                let (a, b) = (input.key(), input.key());
                let (start, end) = if a <= b { (a, b) } else { (b, a) };
                tx.delete_range(start.clone()..end.clone())
                    .expect("the keys are short enough");
                after.retain(|key, _| *key < start || *key >= end);
            }
            2 => {
                let key = input.key();
                assert_eq!(
                    tx.get(&key).expect("nothing is damaged").as_ref(),
                    after.get(&key)
                );
            }
            3 => {
                let (key, value) = (input.key(), input.value());
                let put = tx.put_if_absent(&key, &value).expect("the key is short enough");
                assert_eq!(put, !after.contains_key(&key));
                after.entry(key).or_insert(value);
            }
            _ => {
                let (key, value) = (input.key(), input.value());
                tx.put(&key, &value).expect("the key is short enough");
                after.insert(key, value);
            }
        }
    }
    let staged: Vec<_> = tx.iter().map(|pair| pair.expect("nothing is damaged")).collect();
    assert!(
        staged
            .iter()
            .map(|(k, v)| (*k, *v))
            .eq(after.iter().map(|(k, v)| (&k[..], &v[..])))
    );
    drop(staged);
    if input.byte() % 4 == 0 {
        tx.rollback();
    } else {
        tx.commit().expect("memory does not fail");
        *model = after;
    }
    let seen = before.iter().map(|pair| pair.expect("nothing is damaged"));
    assert!(
        seen.eq(was.iter().map(|(k, v)| (&k[..], &v[..]))),
        "a snapshot changed"
    );
}

fn compare(db: &Database, model: &Model) {
    let tx = db.read().expect("a snapshot can always be had");
    assert_eq!(tx.len().expect("nothing is damaged"), model.len() as u64);
    let forward = tx.iter().map(|pair| pair.expect("nothing is damaged"));
    assert!(forward.eq(model.iter().map(|(k, v)| (&k[..], &v[..]))), "forward");
    let back = tx.iter().rev().map(|pair| pair.expect("nothing is damaged"));
    assert!(
        back.eq(model.iter().rev().map(|(k, v)| (&k[..], &v[..]))),
        "backward"
    );
}
