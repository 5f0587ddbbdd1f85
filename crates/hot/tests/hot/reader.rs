//! Readers that can't write: what they see under load, and what they may not do.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};

use weald_hot::{Error, Reader, Region, RegionOptions};

use crate::support::{Random, Scratch, check_value, value_of};

fn options() -> RegionOptions {
    RegionOptions {
        capacity: 64 << 20,
        views: true,
        ..Default::default()
    }
}

#[test]
fn a_reader_needs_no_right_to_write_and_sees_what_is_written() {
    let scratch = Scratch::new("reader");
    assert!(matches!(Reader::open(&scratch.0), Err(Error::Empty(_))));
    let region = Region::create(&scratch.0, &options()).unwrap();
    std::fs::set_permissions(&scratch.0, PermissionsExt::from_mode(0o400)).unwrap();
    let session = region.join("writer").unwrap();
    let reader = Reader::open(&scratch.0).unwrap();
    assert!(reader.is_empty().unwrap() && reader.scan().next().is_none());
    for n in 0..2000 {
        session.put(&u64::to_le_bytes(n), &value_of(n)).unwrap();
    }
    for n in (0..2000).step_by(2) {
        session.remove(&u64::to_le_bytes(n)).unwrap();
    }
    for n in 0..2000 {
        let expected = (n % 2 == 1).then(|| value_of(n));
        assert_eq!(reader.get(&n.to_le_bytes()).unwrap(), expected);
    }
    let scanned: HashMap<Vec<u8>, Vec<u8>> = reader.scan().map(Result::unwrap).collect();
    assert_eq!((scanned.len(), reader.len().unwrap()), (1000, 1000));
    let members = reader.members().unwrap();
    assert_eq!((members.len(), members[0].name.as_str()), (1, "writer"));
    assert!(reader.info().unwrap().views);
}

#[test]
fn a_reader_sees_whole_values_while_memory_is_used_again() {
    let scratch = Scratch::new("reader-load");
    let region = Region::create(&scratch.0, &options()).unwrap();
    let stays = region.join("stays").unwrap();
    for n in 0..50u64 {
        stays.put(&n.to_be_bytes(), &value_of(n)).unwrap();
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let (region, stop) = (&region, &stop);
            scope.spawn(move || {
                let session = region.join("writer").unwrap();
                let mut random = Random(seed);
                while !stop.load(Ordering::Relaxed) {
                    // Few keys, values of changing length, more keys now and then: entries and tables come and go.
                    let n = random.next();
                    let key = (100 + n % 40).to_be_bytes();
                    match random.below(8) {
                        0 => drop(session.remove(&key).unwrap()),
                        1 => session
                            .put(&(1000 + n % 3000).to_be_bytes(), &value_of(n))
                            .unwrap(),
                        2 => session.trim().unwrap(),
                        _ => session.put(&key, &value_of(n)).unwrap(),
                    }
                }
            });
        }
        let reader = Reader::open(&scratch.0).unwrap();
        let mut random = Random(9);
        for round in 0..30_000 {
            if let Some(value) = reader.get(&(100 + random.below(40)).to_be_bytes()).unwrap() {
                check_value(&value);
            }
            let n = random.below(50);
            assert_eq!(reader.get(&n.to_be_bytes()).unwrap().unwrap(), value_of(n));
            if round % 1000 == 0 {
                let mut stayed = 0;
                for item in reader.scan() {
                    let (key, value) = item.unwrap();
                    check_value(&value);
                    stayed += u64::from(key < 50u64.to_be_bytes().to_vec());
                }
                assert_eq!(stayed, 50, "what was there all the time, once");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn ranges_of_a_reader_agree_with_a_model_both_ways() {
    let scratch = Scratch::new("reader-order");
    let ordered = RegionOptions {
        ordered: true,
        ..options()
    };
    let region = Region::create(&scratch.0, &ordered).unwrap();
    let session = region.join("writer").unwrap();
    let reader = Reader::open(&scratch.0).unwrap();
    assert!(reader.range(..).unwrap().next().is_none());
    assert!(reader.range(..).unwrap().next_back().is_none());
    let mut model = BTreeMap::new();
    let mut random = Random(4);
    // Of one to three bytes, so that many are the beginnings of others.
    let mut key = move || {
        let len = 1 + random.below(3) as usize;
        random.next().to_be_bytes()[..len]
            .iter()
            .map(|byte| byte % 7)
            .collect::<Vec<u8>>()
    };
    let mut dice = Random(5);
    for round in 0..3000 {
        let at = key();
        if dice.below(3) == 0 {
            session.remove(&at).unwrap();
            model.remove(&at);
        } else {
            session.put(&at, &value_of(round)).unwrap();
            model.insert(at, value_of(round));
        }
        if round % 50 != 0 {
            continue;
        }
        let (low, high) = (key(), key());
        if low > high {
            continue;
        }
        let bounds = [
            (Bound::Included(&low[..]), Bound::Excluded(&high[..])),
            (Bound::Excluded(&low[..]), Bound::Included(&high[..])),
            (Bound::Unbounded, Bound::Included(&high[..])),
            (Bound::Included(&low[..]), Bound::Unbounded),
        ];
        for bounds in bounds {
            if low == high && bounds.0 != Bound::Unbounded && bounds.1 != Bound::Unbounded {
                continue;
            }
            let expected: Vec<_> = model
                .range::<[u8], _>(bounds)
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            let forward: Vec<_> = reader.range(bounds).unwrap().map(Result::unwrap).collect();
            assert_eq!(forward, expected);
            let mut back: Vec<_> = reader.range(bounds).unwrap().rev().map(Result::unwrap).collect();
            back.reverse();
            assert_eq!(back, expected);
            let mut both = reader.range(bounds).unwrap();
            let mut met = 0;
            while both.next().is_some() {
                met += 1;
                met += usize::from(both.next_back().is_some());
            }
            assert_eq!(met, expected.len(), "both ends meet");
        }
    }
    let unordered = Scratch::new("reader-unordered");
    let _region = Region::create(&unordered.0, &options()).unwrap();
    let reader = Reader::open(&unordered.0).unwrap();
    assert!(matches!(reader.range(..), Err(Error::Invalid(_))));
}

#[test]
fn a_range_of_a_reader_has_what_was_there_all_the_time_once_and_in_order() {
    let scratch = Scratch::new("reader-order-load");
    let ordered = RegionOptions {
        ordered: true,
        views: false,
        ..options()
    };
    let region = Region::create(&scratch.0, &ordered).unwrap();
    let stays = region.join("stays").unwrap();
    for n in 0..60u64 {
        stays.put(&(n * 10).to_be_bytes(), &value_of(n)).unwrap();
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let (region, stop) = (&region, &stop);
            scope.spawn(move || {
                let session = region.join("writer").unwrap();
                let mut random = Random(seed);
                while !stop.load(Ordering::Relaxed) {
                    // Nodes come and go between those that stay, and what was a node becomes an entry of the same size.
                    let n = random.next();
                    let key = (n % 60 * 10 + 1 + n % 9).to_be_bytes();
                    match random.below(3) {
                        0 => session.put(&key, &value_of(n)).unwrap(),
                        1 => session
                            .put(&(n % 60 * 10).to_be_bytes(), &value_of(n % 60))
                            .unwrap(),
                        _ => drop(session.remove(&key).unwrap()),
                    }
                }
            });
        }
        let reader = Reader::open(&scratch.0).unwrap();
        for round in 0..400 {
            let range = reader.range(..).unwrap();
            let mut keys: Vec<u64> = Vec::new();
            let mut see = |item: Result<(Vec<u8>, Vec<u8>), Error>| {
                let (key, value) = item.unwrap();
                check_value(&value);
                keys.push(u64::from_be_bytes(key.try_into().unwrap()));
            };
            if round % 2 == 0 {
                range.for_each(&mut see);
            } else {
                range.rev().for_each(&mut see);
                keys.reverse();
            }
            assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
            let stayed = keys.iter().filter(|&&key| key % 10 == 0).count();
            assert_eq!(stayed, 60, "what was there all the time, once");
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_region_in_use_is_not_removed_unless_it_has_to_be() {
    let scratch = Scratch::new("remove");
    let region = Region::create(&scratch.0, &options()).unwrap();
    let session = region.join("user").unwrap();
    assert!(matches!(Region::remove(&scratch.0, false), Err(Error::Again(_))));
    Region::remove(&scratch.0, true).unwrap();
    session.put(b"k", b"v").unwrap();
    assert!(matches!(Region::remove(&scratch.0, true), Err(Error::Empty(_))));
    let region = Region::create(&scratch.0, &options()).unwrap();
    drop(region);
    Region::remove(&scratch.0, false).unwrap();
    assert!(!scratch.0.exists());
    std::fs::write(&scratch.0, b"a letter to my aunt").unwrap();
    assert!(matches!(Region::remove(&scratch.0, true), Err(Error::Invalid(_))));
}
