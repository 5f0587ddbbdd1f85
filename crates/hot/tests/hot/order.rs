//! Ordered iteration against a model, and under load.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};

use weald_hot::{Error, Region, RegionOptions, Session};

use crate::support::{Random, env_number};

fn region(capacity: u64) -> Region {
    Region::anonymous(&RegionOptions {
        capacity,
        ordered: true,
        ..Default::default()
    })
    .unwrap()
}

type Pair = (Vec<u8>, Vec<u8>);

fn forward(session: &Session, front: Bound<&[u8]>, back: Bound<&[u8]>) -> Vec<Pair> {
    session
        .range((front, back))
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// Keys of all lengths, some of which are the beginnings of others.
fn key(n: u64) -> Vec<u8> {
    let mut key = vec![(n % 3) as u8; (n % 11) as usize];
    key.extend_from_slice(&(n / 7).to_be_bytes()[(n % 8) as usize..]);
    key
}

#[test]
fn ranges_agree_with_a_model_both_ways() {
    for seed in 1..6 {
        println!("seed {seed}");
        let region = region(64 << 20);
        let session = region.join("test").unwrap();
        let mut random = Random(seed);
        let mut model = BTreeMap::new();
        for round in 0..6000u64 {
            let key = key(random.below(900));
            if random.below(3) == 0 {
                assert_eq!(session.remove(&key).unwrap(), model.remove(&key).is_some());
            } else {
                session.put(&key, &round.to_le_bytes()).unwrap();
                model.insert(key, round.to_le_bytes().to_vec());
            }
        }
        for _ in 0..200 {
            let (a, b) = (key(random.below(900)), key(random.below(900)));
            let (low, high) = if a < b { (a, b) } else { (b, a) };
            let bounds = [
                Bound::Included(low.as_slice()),
                Bound::Excluded(low.as_slice()),
                Bound::Unbounded,
            ];
            let ends = [
                Bound::Included(high.as_slice()),
                Bound::Excluded(high.as_slice()),
                Bound::Unbounded,
            ];
            let front = bounds[random.below(3) as usize];
            let back = ends[random.below(3) as usize];
            if low == high {
                continue;
            }
            let expected: Vec<Pair> = model
                .range::<[u8], _>((front, back))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            assert_eq!(forward(&session, front, back), expected);
            let mut reverse: Vec<Pair> = session
                .range((front, back))
                .unwrap()
                .rev()
                .map(Result::unwrap)
                .collect();
            reverse.reverse();
            assert_eq!(reverse, expected);
            // From both ends at once everything comes once.
            let mut range = session.range((front, back)).unwrap();
            let (mut first, mut last) = (Vec::new(), Vec::new());
            loop {
                let item = if random.below(2) == 0 {
                    range.next().map(|item| first.push(item.unwrap()))
                } else {
                    range.next_back().map(|item| last.push(item.unwrap()))
                };
                if item.is_none() {
                    break;
                }
            }
            first.extend(last.into_iter().rev());
            assert_eq!(first, expected);
        }
        let report = session.verify().unwrap();
        assert_eq!(report.entries, model.len() as u64);
        assert_eq!(report.nodes, report.entries);
    }
}

#[test]
fn iteration_under_load_returns_what_was_there_all_the_time_once_and_in_order() {
    let region = region(128 << 20);
    let session = region.join("reader").unwrap();
    let name = |n: u64| format!("{n:08}").into_bytes();
    for n in (0..4000).step_by(2) {
        session.put(&name(n), b"stays").unwrap();
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let (region, stop) = (region.clone(), &stop);
            scope.spawn(move || {
                let session = region.join("writer").unwrap();
                let mut random = Random(thread);
                while !stop.load(Ordering::Relaxed) {
                    let n = random.below(2000) * 2 + 1;
                    match random.below(3) {
                        0 => session.put(&name(n), b"goes").unwrap(),
                        1 => drop(session.remove(&name(n)).unwrap()),
                        _ => session.put(&name(n - 1), b"stays").unwrap(),
                    }
                }
            });
        }
        for round in 0..60 {
            let range = session.range(..).unwrap();
            let mut keys: Vec<Vec<u8>> = if round % 3 == 0 {
                range.rev().map(|item| item.unwrap().0).collect()
            } else {
                range.map(|item| item.unwrap().0).collect()
            };
            if round % 3 == 0 {
                keys.reverse();
            }
            assert!(keys.is_sorted_by(|a, b| a < b), "in order, each once");
            let stayed: Vec<_> = keys
                .into_iter()
                .filter(|key| (key[7] - b'0').is_multiple_of(2))
                .collect();
            assert_eq!(stayed, (0..4000).step_by(2).map(name).collect::<Vec<_>>());
        }
        stop.store(true, Ordering::Relaxed);
    });
    session.verify().unwrap();
}

#[test]
fn sessions_that_clean_up_after_themselves_disturb_nobody() {
    let region = region(32 << 20);
    let witness = region.join("witness").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            let region = region.clone();
            scope.spawn(move || {
                let mut random = Random(thread);
                for _ in 0..env_number("WEALD_ROUNDS").unwrap_or(400) {
                    let session = region.join("worker").unwrap();
                    // Still its own when it leaves, so that it goes over everything and looks after what it had unlinked last.
                    session.alloc(random.below(200), 0, 1).unwrap();
                    for _ in 0..60 {
                        let key = random.below(24).to_be_bytes();
                        match random.below(2) {
                            0 => session.put(&key, &key).unwrap(),
                            _ => drop(session.remove(&key).unwrap()),
                        }
                    }
                    session.trim().unwrap();
                }
            });
        }
    });
    witness.recover().unwrap();
    witness.verify().unwrap();
    let keys: Vec<_> = witness.range(..).unwrap().map(|item| item.unwrap().0).collect();
    assert_eq!(keys.len() as u64, witness.len().unwrap());
}

#[test]
fn a_region_without_order_says_so() {
    let region = Region::anonymous(&RegionOptions {
        capacity: 16 << 20,
        ..Default::default()
    })
    .unwrap();
    assert!(matches!(
        region.join("test").unwrap().range(..),
        Err(Error::Invalid(_))
    ));
}
