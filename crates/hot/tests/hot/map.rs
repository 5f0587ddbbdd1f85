//! The map against a model, alone and with several threads.

use std::collections::HashMap;

use weald_hot::{Change, Error, Expected, Session, Swap};

use crate::support::{Random, anonymous as region};

fn key(n: u64) -> Vec<u8> {
    let mut key = n.to_le_bytes().to_vec();
    key.resize(1 + (n % 70) as usize, 7);
    [key, n.to_le_bytes().to_vec()].concat()
}

fn agree(session: &Session, model: &HashMap<Vec<u8>, Vec<u8>>) {
    for (key, value) in model {
        assert_eq!(session.get(key).unwrap().as_ref(), Some(value));
    }
    assert_eq!(session.len().unwrap(), model.len() as u64);
    assert_eq!(session.verify().unwrap().entries, model.len() as u64);
}

#[test]
fn random_operations_agree_with_a_model() {
    for seed in 0..8 {
        println!("seed {seed}");
        let region = region(64 << 20);
        let session = region.join("test").unwrap();
        let mut random = Random(seed);
        let mut model: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
        for _ in 0..20_000 {
            let key = key(random.below(3000));
            let value = vec![random.next() as u8; random.below(200) as usize];
            match random.below(8) {
                0..3 => {
                    session.put(&key, &value).unwrap();
                    model.insert(key, value);
                }
                3 => {
                    let inserted = session.insert(&key, &value).unwrap();
                    assert_eq!(inserted, !model.contains_key(&key));
                    model.entry(key).or_insert(value);
                }
                4 | 5 => assert_eq!(session.remove(&key).unwrap(), model.remove(&key).is_some()),
                6 => {
                    let old = model.get(&key).cloned();
                    let expected = old.as_deref().map_or(Expected::Absent, Expected::Value);
                    assert_eq!(
                        session.compare_and_swap(&key, expected, Some(&value)).unwrap(),
                        Swap::Done
                    );
                    model.insert(key, value);
                }
                _ => assert_eq!(session.get(&key).unwrap(), model.get(&key).cloned()),
            }
        }
        agree(&session, &model);
    }
}

#[test]
fn the_table_grows_while_it_is_used() {
    let region = region(256 << 20);
    let session = region.join("test").unwrap();
    let count = 200_000u64;
    for n in 0..count {
        session.put(&n.to_le_bytes(), &n.to_be_bytes()).unwrap();
    }
    for n in 0..count {
        assert_eq!(session.get(&n.to_le_bytes()).unwrap().unwrap(), n.to_be_bytes());
        assert!(!session.contains(&(n + count).to_le_bytes()).unwrap());
    }
    let keys: Vec<[u8; 8]> = (0..2 * count).step_by(3).map(u64::to_le_bytes).collect();
    let mut hits = 0;
    session
        .get_many(&keys, |at, value| {
            let n = u64::from_le_bytes(keys[at]);
            assert_eq!(value, (n < count).then_some(&n.to_be_bytes()[..]));
            hits += u64::from(value.is_some());
        })
        .unwrap();
    assert_eq!(hits, count.div_ceil(3));
    assert_eq!(session.verify().unwrap().entries, count);
    for n in 0..count {
        assert!(session.remove(&n.to_le_bytes()).unwrap());
    }
    assert_eq!(session.verify().unwrap().entries, 0);
}

#[test]
fn threads_add_up() {
    let region = region(64 << 20);
    let threads: Vec<_> = (0..4u64)
        .map(|thread| {
            let region = region.clone();
            std::thread::spawn(move || {
                let session = region.join("adder").unwrap();
                let mut random = Random(thread);
                let mut mine = 0;
                for _ in 0..30_000 {
                    let key = random.below(50).to_le_bytes();
                    match random.below(4) {
                        // What is removed is given to a key that nobody removes.
                        0 => {
                            let mut taken = 0;
                            session
                                .update(&key, |old| match old {
                                    Some(old) => {
                                        taken = i64::from_le_bytes(old.try_into().unwrap());
                                        Change::Remove
                                    }
                                    None => {
                                        taken = 0;
                                        Change::Keep
                                    }
                                })
                                .unwrap();
                            session.fetch_add(b"rest", taken).unwrap();
                        }
                        _ => {
                            session.fetch_add(&key, 1).unwrap();
                            mine += 1;
                        }
                    }
                }
                mine
            })
        })
        .collect();
    let expected: i64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    let session = region.join("sum").unwrap();
    let keys = (0..50u64)
        .map(|n| n.to_le_bytes().to_vec())
        .chain([b"rest".to_vec()]);
    let sum: i64 = keys
        .filter_map(|key| session.get(&key).unwrap())
        .map(|value| i64::from_le_bytes(value.try_into().unwrap()))
        .sum();
    assert_eq!(sum, expected);
    session.verify().unwrap();
}

#[test]
fn threads_insert_each_key_once_while_the_table_grows() {
    let region = region(128 << 20);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let region = region.clone();
            std::thread::spawn(move || {
                let session = region.join("inserter").unwrap();
                (0..60_000u64)
                    .filter(|n| session.insert(&n.to_le_bytes(), b"x").unwrap())
                    .count()
            })
        })
        .collect();
    let inserted: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(inserted, 60_000);
    let session = region.join("check").unwrap();
    assert_eq!(session.verify().unwrap().entries, 60_000);
    assert_eq!(session.len().unwrap(), 60_000);
}

#[test]
fn a_reference_stays_whole_while_its_key_changes() {
    let region = region(16 << 20);
    let session = region.join("reader").unwrap();
    let writer = region.join("writer").unwrap();
    session.put(b"k", &[1; 1000]).unwrap();
    let value = session.get_ref(b"k").unwrap().unwrap();
    for round in 0..5000u64 {
        writer.put(b"k", &[round as u8; 1000]).unwrap();
    }
    assert_eq!(value.to_vec(), [1; 1000]);
    let mut part = [0; 10];
    assert_eq!(value.read_at(995, &mut part), 5);
    assert_eq!(part, [1, 1, 1, 1, 1, 0, 0, 0, 0, 0]);
    // SAFETY: nobody writes to the region but through the crate.
    assert_eq!(unsafe { value.bytes() }, [1; 1000]);
    drop(value);
    writer.verify().unwrap();
}

#[test]
fn keys_and_values_have_bounds() {
    let region = region(16 << 20);
    let session = region.join("test").unwrap();
    let longest = vec![1; 1 << 16];
    session.put(&longest, b"v").unwrap();
    assert_eq!(session.get(&longest).unwrap().unwrap(), b"v");
    assert!(matches!(
        session.put(&vec![1; (1 << 16) + 1], b"v"),
        Err(Error::Invalid(_))
    ));
    session.put(b"", b"").unwrap();
    assert_eq!(session.get(b"").unwrap().unwrap(), b"");
    session.put(b"big", &vec![3; 900_000]).unwrap();
    assert_eq!(session.get(b"big").unwrap().unwrap(), vec![3; 900_000]);
    assert!(matches!(
        session.put(b"big", &vec![3; 1 << 20]),
        Err(Error::Invalid(_))
    ));
    assert!(matches!(session.fetch_add(b"big", 1), Err(Error::Invalid(_))));
    session.verify().unwrap();
}

#[test]
fn a_full_region_says_so_and_works_again_after_removals() {
    let region = region(8 << 20);
    let session = region.join("test").unwrap();
    let mut stored = 0u64;
    loop {
        match session.put(&stored.to_le_bytes(), &[5; 1000]) {
            Ok(()) => stored += 1,
            Err(Error::Full(_)) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(stored > 3500, "{stored}");
    for n in 0..stored {
        assert_eq!(session.get(&n.to_le_bytes()).unwrap().unwrap(), [5; 1000]);
    }
    session.verify().unwrap();
    for n in 0..stored {
        session.remove(&n.to_le_bytes()).unwrap();
    }
    // The same space serves objects of another size.
    for n in 0..stored / 4 {
        session.put(&n.to_le_bytes(), &[6; 3000]).unwrap();
    }
    session.verify().unwrap();
}

#[test]
fn everything_freed_goes_back_to_the_system() {
    let region = region(64 << 20);
    let session = region.join("test").unwrap();
    for n in 0..50_000u64 {
        session
            .put(&n.to_le_bytes(), &vec![1; (n % 900) as usize])
            .unwrap();
    }
    let full = region.info().unwrap();
    assert!(full.volumes > 25);
    for n in 0..50_000u64 {
        session.remove(&n.to_le_bytes()).unwrap();
    }
    session.trim().unwrap();
    let empty = region.info().unwrap();
    // What is left is the table, which doesn't shrink, and the lines beside it, here and there.
    assert!(empty.volumes <= 12, "{empty:?}");
    session.verify().unwrap();
}
