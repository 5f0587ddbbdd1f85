//! Hashes, sets, sorted sets and lists.

use std::collections::BTreeMap;

use super::{Store, end_tick, keyspace, ok};
use crate::keyspace::layout::sortable;
use crate::keyspace::{Entry, Keyspace, Kind, Order, Scored, Slice, Walk};

/// What a history may make large: few members stay packed, many are spread.
const SIZES: [usize; 3] = [8, 60, 3000];

fn name(random: &mut fastrand::Rng, members: usize) -> Vec<u8> {
    let n = random.usize(..members);
    match n % 7 {
        // Longer than what stands whole in a key.
        0 => format!("{n}{}", "x".repeat(600)).into_bytes(),
        1 => n.to_string().into_bytes(),
        _ => format!("member-{n}").into_bytes(),
    }
}

fn check_hash(keyspace: &mut Keyspace<'_>, model: &BTreeMap<Vec<u8>, Vec<u8>>) {
    let found = ok(keyspace.find_kind(0, b"h", Kind::Hash));
    assert_eq!(found.map_or(0, |record| record.count()), model.len() as u64);
    let Some(record) = found else { return };
    let mut all = BTreeMap::new();
    ok(keyspace.each_member(0, &record, |field, value| {
        assert!(
            all.insert(field.to_vec(), value.to_vec()).is_none(),
            "a field comes twice"
        );
        Ok(())
    }));
    assert_eq!(&all, model);
    let (mut scanned, mut cursor) = (BTreeMap::new(), 0);
    loop {
        cursor = ok(keyspace.scan_members(0, &record, cursor, 7, |field, value| {
            scanned.insert(field.to_vec(), value.to_vec());
        }));
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(&scanned, model);
    let entry = ok(keyspace.entry(0, b"h", Kind::Hash)).expect("it was found before");
    for wanted in [1, 5, model.len() as u64 / 2, u64::MAX] {
        let chosen = ok(keyspace.distinct_members(0, &entry.record(), wanted));
        assert_eq!(chosen.len() as u64, wanted.min(model.len() as u64));
        let distinct: BTreeMap<_, _> = chosen.into_iter().collect();
        assert_eq!(distinct.len() as u64, wanted.min(model.len() as u64));
        assert!(
            distinct
                .iter()
                .all(|(field, value)| model.get(field) == Some(value))
        );
    }
}

#[test]
fn a_hash_is_what_a_map_is() {
    for (seed, members) in (0..6).zip(SIZES.into_iter().cycle()) {
        let mut random = fastrand::Rng::with_seed(seed);
        let store = Store::new();
        let mut model = BTreeMap::new();
        for round in 0..4 {
            let db = store.open();
            let mut keyspace = keyspace(&db);
            for _ in 0..10 {
                let before = model.clone();
                let mut entry = ok(keyspace.entry_or_new(0, b"h", Kind::Hash));
                for _ in 0..random.usize(1..members / 2 + 2) {
                    let field = name(&mut random, members);
                    if random.u8(..) < 80 {
                        let gone = ok(keyspace.remove_member(&mut entry, &field));
                        assert_eq!(gone, model.remove(&field).is_some(), "seed {seed} round {round}");
                    } else {
                        let value = vec![b'v'; random.usize(..40)];
                        let new = ok(keyspace.put_field(&mut entry, &field, &value));
                        assert_eq!(
                            new,
                            model.insert(field, value).is_none(),
                            "seed {seed} round {round}"
                        );
                    }
                }
                ok(keyspace.save(&entry));
                let commit = random.u8(..) > 60;
                end_tick(&mut keyspace, commit);
                if !commit {
                    model = before;
                }
            }
            check_hash(&mut keyspace, &model);
        }
    }
}

type Model = BTreeMap<Vec<u8>, f64>;

fn in_order(model: &Model) -> Vec<(u64, Vec<u8>, f64)> {
    let mut all: Vec<_> = model
        .iter()
        .map(|(name, score)| (sortable(*score), name.clone(), *score))
        .collect();
    all.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    all
}

fn check_zset(keyspace: &Keyspace<'_>, model: &Model, random: &mut fastrand::Rng) {
    let Some(record) = ok(keyspace.find_kind(0, b"z", Kind::ZSet)) else {
        assert!(model.is_empty());
        return;
    };
    let sorted = in_order(model);
    assert_eq!(record.count(), sorted.len() as u64);
    for _ in 0..20 {
        let (reverse, skip) = (random.bool(), random.u64(..sorted.len() as u64 + 2));
        let limit = random.u64(..40);
        let walk = Walk {
            order: Order::all(),
            reverse,
            skip,
            limit,
        };
        let mut found = Vec::new();
        ok(keyspace.walk(0, &record, &walk, |scored| {
            found.push((scored.member.to_vec(), scored.score))
        }));
        let all: Vec<_> = sorted
            .iter()
            .map(|(_, name, score)| (name.clone(), *score))
            .collect();
        let all = if reverse {
            all.into_iter().rev().collect()
        } else {
            all
        };
        let expected: Vec<_> = all.into_iter().skip(skip as usize).take(limit as usize).collect();
        assert_eq!(found, expected, "reverse {reverse} skip {skip} limit {limit}");
    }
    for (rank, (_, name, score)) in sorted.iter().enumerate().step_by(1 + sorted.len() / 50) {
        let scored = Scored {
            member: name,
            score: *score,
        };
        assert_eq!(ok(keyspace.rank(0, &record, scored)), rank as u64);
        assert_eq!(ok(keyspace.score(0, &record, name)), Some(*score));
    }
    for _ in 0..20 {
        let min = (f64::from(random.i32(-20..20)), random.bool());
        let max = (f64::from(random.i32(-20..20)), random.bool());
        let within = |score: f64| {
            (score > min.0 || (score == min.0 && !min.1)) && (score < max.0 || (score == max.0 && !max.1))
        };
        let order = Order::by_score(min, max);
        let expected: Vec<_> = sorted.iter().filter(|(.., score)| within(*score)).collect();
        assert_eq!(
            ok(keyspace.count_in_order(0, &record, &order)),
            expected.len() as u64,
            "{min:?} {max:?}"
        );
        let skip = random.u64(..expected.len() as u64 + 1);
        for reverse in [false, true] {
            let walk = Walk {
                order: order.clone(),
                reverse,
                skip,
                limit: 3,
            };
            let mut found = Vec::new();
            ok(keyspace.walk(0, &record, &walk, |scored| found.push(scored.member.to_vec())));
            let names: Vec<_> = expected.iter().map(|(_, name, _)| name.clone()).collect();
            let names: Vec<_> = if reverse {
                names.into_iter().rev().collect()
            } else {
                names
            };
            let names: Vec<_> = names.into_iter().skip(skip as usize).take(3).collect();
            assert_eq!(found, names, "{min:?} {max:?} skip {skip} reverse {reverse}");
        }
    }
}

#[test]
fn a_sorted_set_is_in_order_and_knows_its_ranks() {
    for (seed, members) in (0..6).zip(SIZES.into_iter().cycle()) {
        let mut random = fastrand::Rng::with_seed(seed);
        let store = Store::new();
        let mut model = Model::new();
        for _ in 0..3 {
            let db = store.open();
            let mut keyspace = keyspace(&db);
            for step in 0..8 {
                let before = model.clone();
                let mut entry = ok(keyspace.entry_or_new(0, b"z", Kind::ZSet));
                // At times nearly all go, so that blocks are joined.
                let removes = if step % 4 == 3 { 250 } else { 60 };
                for _ in 0..random.usize(1..members + 2) {
                    let n = random.usize(..members);
                    let member = format!("member-{n}").into_bytes();
                    if random.u8(..) < removes {
                        let old = ok(keyspace.remove_score(&mut entry, &member));
                        assert_eq!(old, model.remove(&member), "seed {seed}");
                    } else {
                        let score = f64::from(random.i32(-20..20));
                        let old = ok(keyspace.put_score(&mut entry, &member, score));
                        assert_eq!(old, model.insert(member, score), "seed {seed}");
                    }
                }
                ok(keyspace.save(&entry));
                let commit = random.u8(..) > 60;
                end_tick(&mut keyspace, commit);
                if !commit {
                    model = before;
                }
                check_zset(&keyspace, &model, &mut random);
            }
        }
    }
}

#[test]
fn a_sorted_set_keeps_long_members_and_one_zero() {
    let store = Store::new();
    let db = store.open();
    let mut keyspace = keyspace(&db);
    let mut entry = ok(keyspace.entry_or_new(0, b"z", Kind::ZSet));
    let long = vec![b'm'; 2000];
    for n in 0..200 {
        ok(keyspace.put_score(&mut entry, format!("m{n}").as_bytes(), f64::from(n)));
    }
    ok(keyspace.put_score(&mut entry, &long, -0.0));
    ok(keyspace.save(&entry));
    let record = entry.record();
    let first = ok(keyspace.first_scored(0, &record, false)).expect("there are members");
    assert_eq!((first.member, first.score), (&b"m0"[..], 0.0));
    let mut found = Vec::new();
    let walk = Walk {
        order: Order::all(),
        reverse: false,
        skip: 1,
        limit: 1,
    };
    ok(keyspace.walk(0, &record, &walk, |scored| {
        found.push((scored.member.to_vec(), scored.score))
    }));
    assert_eq!(found[0].0, long);
    assert!(found[0].1.is_sign_positive());
    assert_eq!(ok(keyspace.remove_score(&mut entry, &long)), Some(0.0));
    assert_eq!(entry.count(), 200);
}

fn all_elements(keyspace: &Keyspace<'_>, entry: &Entry) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let all = Slice {
        start: 0,
        end: entry.count(),
    };
    ok(
        keyspace.each_element(0, &entry.record(), all, false, |at, element| {
            assert_eq!(at, out.len() as u64);
            out.push(element.to_vec());
            true
        }),
    );
    out
}

#[test]
fn a_list_is_what_a_vector_is() {
    for seed in 0..12 {
        let mut random = fastrand::Rng::with_seed(seed);
        let store = Store::new();
        let db = store.open();
        let mut keyspace = keyspace(&db);
        let mut model: Vec<Vec<u8>> = Vec::new();
        for _ in 0..60 {
            let before = model.clone();
            let mut entry = ok(keyspace.entry_or_new(0, b"l", Kind::List));
            for _ in 0..random.usize(1..12) {
                step(&mut keyspace, &mut entry, &mut model, &mut random);
                assert_eq!(entry.count(), model.len() as u64, "seed {seed}");
            }
            assert_eq!(all_elements(&keyspace, &entry), model, "seed {seed}");
            ok(keyspace.save(&entry));
            let commit = random.u8(..) > 60;
            end_tick(&mut keyspace, commit);
            if !commit {
                model = before;
            }
        }
        let stored = ok(keyspace.entry_or_new(0, b"l", Kind::List));
        assert_eq!(all_elements(&keyspace, &stored), model, "seed {seed}");
    }
}

fn step(
    keyspace: &mut Keyspace<'_>,
    entry: &mut Entry,
    model: &mut Vec<Vec<u8>>,
    random: &mut fastrand::Rng,
) {
    let len = model.len();
    let element = vec![b'a' + random.u8(..26); random.usize(..60)];
    match random.u8(..16) {
        0..6 => {
            for _ in 0..random.usize(..10) {
                let left = random.bool();
                ok(keyspace.push_element(entry, left, &element));
                model.insert(if left { 0 } else { model.len() }, element.clone());
            }
        }
        6..9 => {
            let left = random.bool();
            let popped = ok(keyspace.pop_element(entry, left));
            let expected = match (len, left) {
                (0, _) => None,
                (_, true) => Some(model.remove(0)),
                (_, false) => model.pop(),
            };
            assert_eq!(popped, expected);
        }
        9..12 if len > 0 => {
            let at = random.usize(..len + 1);
            ok(keyspace.insert_element(entry, at as u64, &element));
            model.insert(at, element);
        }
        12 if len > 0 => {
            let at = random.usize(..len);
            ok(keyspace.set_element(entry, at as u64, &element));
            model[at] = element;
        }
        13 | 14 => {
            let gone: Vec<u64> = (0..len as u64).filter(|_| random.u8(..) < 30).collect();
            ok(keyspace.remove_elements(entry, &gone));
            let mut at = 0;
            model.retain(|_| {
                at += 1;
                gone.binary_search(&(at - 1)).is_err()
            });
        }
        15 if len > 20 => {
            let (start, end) = (random.usize(..5), len - random.usize(..5));
            ok(keyspace.trim(
                entry,
                Slice {
                    start: start as u64,
                    end: end as u64,
                },
            ));
            *model = model[start..end].to_vec();
        }
        _ => {}
    }
}

#[test]
fn each_member_is_chosen_as_often_as_any_other() {
    let store = Store::new();
    let db = store.open();
    let mut keyspace = keyspace(&db);
    keyspace.random = fastrand::Rng::with_seed(1);
    let mut entry = ok(keyspace.entry_or_new(0, b"s", Kind::Set));
    for n in 0..200 {
        ok(keyspace.add_to_set(&mut entry, format!("member-{n}").as_bytes()));
    }
    ok(keyspace.save(&entry));
    let mut seen: BTreeMap<Vec<u8>, f64> = BTreeMap::new();
    let rounds = 40_000.0;
    for _ in 0..rounds as usize {
        *seen
            .entry(ok(keyspace.random_member(0, &entry.record())).0)
            .or_default() += 1.0;
    }
    let expected = rounds / 200.0;
    let chi: f64 = seen
        .values()
        .map(|count| (count - expected).powi(2) / expected)
        .sum();
    // 199 degrees of freedom: beyond 278 once in ten thousand times.
    assert!(
        seen.len() == 200 && chi < 278.0,
        "{} members, chi-square {chi}",
        seen.len()
    );
}
