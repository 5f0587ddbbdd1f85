//! Keys: expiry, names, databases, walking through all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Store, end_tick, keyspace, ok};
use crate::keyspace::{Expiry, Keyspace, Kind};

/// Value and time of expiry, 0 for never.
type Model = BTreeMap<Vec<u8>, (Vec<u8>, u64)>;

fn key(random: &mut fastrand::Rng) -> Vec<u8> {
    let n = random.usize(..40);
    if n == 0 {
        vec![b'k'; 3000]
    } else {
        format!("key-{n}").into_bytes()
    }
}

fn check(keyspace: &mut Keyspace<'_>, model: &Model) {
    let mut all = BTreeSet::new();
    ok(keyspace.each_key(0, |key, _| {
        assert!(all.insert(key.to_vec()), "a key comes twice");
    }));
    let now = keyspace.now_ms;
    let alive = |expires: u64| expires == 0 || expires > now;
    let expected: BTreeSet<_> = model
        .iter()
        .filter(|(_, (_, expires))| alive(*expires))
        .map(|(key, _)| key.clone())
        .collect();
    assert_eq!(all, expected);
    for (key, (value, expires)) in model.iter().filter(|(_, (_, expires))| alive(*expires)) {
        let record = ok(keyspace.find(0, key)).expect("it is among all");
        assert_eq!((ok(record.string()), record.expires), (&value[..], *expires));
    }
}

#[test]
fn strings_expire_and_are_what_a_map_has() {
    for seed in 0..8 {
        let mut random = fastrand::Rng::with_seed(seed);
        let store = Store::new();
        let mut model = Model::new();
        let mut now = 1_000_000;
        for _ in 0..4 {
            let db = store.open();
            let mut keyspace = keyspace(&db);
            for _ in 0..60 {
                let before = model.clone();
                keyspace.now_ms = now;
                model.retain(|_, (_, expires)| *expires == 0 || *expires > now);
                for _ in 0..random.usize(..8) {
                    step(&mut keyspace, &mut model, &mut random);
                }
                if random.u8(..) < 60 {
                    ok(keyspace.expire_some(random.usize(1..5)));
                }
                ok(keyspace.reclaim_some(3));
                let commit = random.u8(..) > 60;
                end_tick(&mut keyspace, commit);
                if !commit {
                    model = before;
                }
                now += random.u64(..40);
            }
            keyspace.now_ms = now;
            model.retain(|_, (_, expires)| *expires == 0 || *expires > now);
            check(&mut keyspace, &model);
            while ok(keyspace.expire_some(10)) {}
            assert!(!ok(keyspace.has_lapsed()));
            assert_eq!(ok(keyspace.len(0)), model.len() as u64, "seed {seed}");
            let expiring = model.values().filter(|(_, expires)| *expires != 0).count();
            assert_eq!(ok(keyspace.expiring(0)), expiring as u64, "seed {seed}");
            end_tick(&mut keyspace, true);
            check(&mut keyspace, &model);
        }
    }
}

fn step(keyspace: &mut Keyspace<'_>, model: &mut Model, random: &mut fastrand::Rng) {
    let (key, other) = (key(random), key(random));
    let at = keyspace.now_ms + random.u64(1..100);
    match random.u8(..8) {
        0..3 => {
            let value = vec![
                b'v';
                if random.u8(..) == 0 {
                    100_000
                } else {
                    random.usize(..100)
                }
            ];
            let kept = model.get(&key).map_or(0, |(_, expires)| *expires);
            let (expiry, expires) = match random.u8(..3) {
                0 => (Expiry::Never, 0),
                1 => (Expiry::Kept, kept),
                _ => (Expiry::At(at), at),
            };
            ok(keyspace.set_string(0, &key, &value, expiry));
            model.insert(key, (value, expires));
        }
        3 => assert_eq!(ok(keyspace.delete(0, &key)), model.remove(&key).is_some()),
        4 => {
            let at = if random.bool() { at } else { 0 };
            let found = ok(keyspace.expire_at(0, &key, at));
            let expected = model.get_mut(&key).map(|(_, expires)| *expires = at).is_some();
            assert_eq!(found, expected);
        }
        5 if key != other => {
            let renamed = keyspace.rename(0, &key, &other).is_ok();
            let value = model.remove(&key);
            assert_eq!(renamed, value.is_some());
            model.extend(value.map(|value| (other, value)));
        }
        6 if key != other => {
            let copied = keyspace.copy((0, &key), (0, &other)).is_ok();
            let value = model.get(&key).cloned();
            assert_eq!(copied, value.is_some());
            model.extend(value.map(|value| (other, value)));
        }
        _ => {
            let value = ok(keyspace.string(0, &key)).map(<[u8]>::to_vec);
            assert_eq!(value, model.get(&key).map(|(value, _)| value.clone()));
        }
    }
}

#[test]
fn a_scan_gives_every_key_that_stays() {
    let store = Store::new();
    let db = store.open();
    let mut keyspace = keyspace(&db);
    let mut random = fastrand::Rng::with_seed(3);
    for n in 0..2000 {
        ok(keyspace.set_string(0, format!("stays-{n}").as_bytes(), b"", Expiry::Never));
    }
    let (mut seen, mut cursor) = (BTreeSet::new(), 0);
    loop {
        cursor = ok(keyspace.scan(0, cursor, 10, |key, _| {
            seen.insert(key.to_vec());
        }));
        if cursor == 0 {
            break;
        }
        assert!(
            cursor < 1 << 53,
            "some clients keep cursors as floating-point numbers"
        );
        for _ in 0..5 {
            let name = format!("goes-{}", random.u8(..));
            ok(keyspace.set_string(0, name.as_bytes(), b"", Expiry::Never));
            ok(keyspace.delete(0, format!("goes-{}", random.u8(..)).as_bytes()));
        }
    }
    assert!((0..2000).all(|n| seen.contains(format!("stays-{n}").as_bytes())));
}

fn fill(keyspace: &mut Keyspace<'_>, db: usize, key: &[u8], members: usize) {
    let mut entry = ok(keyspace.entry_or_new(db, key, Kind::Set));
    for n in 0..members {
        ok(keyspace.add_to_set(&mut entry, format!("member-{n}").as_bytes()));
    }
    ok(keyspace.save(&entry));
}

fn items(keyspace: &Keyspace<'_>, db: usize) -> u64 {
    ok(keyspace.reader(keyspace.of(db).items))
        .len()
        .expect("nothing fails here")
}

#[test]
fn what_is_deleted_or_replaced_is_reclaimed_in_steps() {
    let store = Store::new();
    let db = store.open();
    let mut keyspace = keyspace(&db);
    for key in [
        &b"deleted"[..],
        b"renamed over",
        b"replaced",
        b"kept",
        b"emptied",
        b"lapsed",
    ] {
        fill(&mut keyspace, 0, key, 500);
    }
    assert_eq!(items(&keyspace, 0), 3000);
    end_tick(&mut keyspace, true);
    assert!(ok(keyspace.delete(0, b"deleted")));
    ok(keyspace.rename(0, b"kept", b"renamed over"));
    ok(keyspace.set_string(0, b"replaced", b"", Expiry::Never));
    let mut entry = ok(keyspace.entry(0, b"emptied", Kind::Set)).expect("it was filled");
    for n in 0..500 {
        ok(keyspace.remove_member(&mut entry, format!("member-{n}").as_bytes()));
    }
    assert!(!ok(keyspace.save(&entry)));
    ok(keyspace.expire_at(0, b"lapsed", keyspace.now_ms + 1));
    keyspace.now_ms += 1;
    assert!(ok(keyspace.has_lapsed()) && ok(keyspace.find(0, b"lapsed")).is_none());
    ok(keyspace.expire_some(10));
    assert_eq!(keyspace.take_lapsed(), [(0, b"lapsed".to_vec())]);
    let mut steps = 0;
    while ok(keyspace.reclaim_some(100)) {
        steps += 1;
        end_tick(&mut keyspace, true);
    }
    assert!(steps >= 15, "{steps} steps");
    assert!(!ok(keyspace.has_garbage()));
    assert_eq!(items(&keyspace, 0), 500);
    assert_eq!(
        ok(keyspace.find(0, b"renamed over")).map(|record| record.count()),
        Some(500)
    );
}

#[test]
fn databases_are_apart_and_change_places() {
    let store = Store::new();
    {
        let db = store.open();
        let mut keyspace = keyspace(&db);
        fill(&mut keyspace, 0, b"k", 300);
        ok(keyspace.copy((0, b"k"), (3, b"k")));
        ok(keyspace.set_string(1, b"one", b"1", Expiry::Never));
        end_tick(&mut keyspace, true);
        ok(keyspace.swap(0, 1));
        end_tick(&mut keyspace, false);
        assert_eq!(ok(keyspace.len(0)), 1);
        assert!(ok(keyspace.find(0, b"k")).is_some());
        ok(keyspace.swap(0, 1));
        end_tick(&mut keyspace, true);
    }
    let db = store.open();
    let mut keyspace = keyspace(&db);
    assert_eq!(ok(keyspace.string(0, b"one")), Some(&b"1"[..]));
    assert_eq!(ok(keyspace.find(1, b"k")).map(|record| record.count()), Some(300));
    ok(keyspace.flush(1));
    assert_eq!(ok(keyspace.len(1)), 0);
    assert_eq!(ok(keyspace.find(3, b"k")).map(|record| record.count()), Some(300));
    assert_eq!(ok(keyspace.len(0)), 1);
    fill(&mut keyspace, 1, b"k", 300);
    end_tick(&mut keyspace, true);
    assert_eq!(items(&keyspace, 1), 300);
}

#[test]
fn ids_are_not_given_twice_after_a_rolled_back_tick_or_a_crash() {
    let store = Store::new();
    let mut given = BTreeSet::new();
    for _ in 0..4 {
        let db = store.open();
        let mut keyspace = keyspace(&db);
        for commit in [false, true, false, true] {
            for _ in 0..3 {
                let id = ok(keyspace.new_id());
                assert!(given.insert(id) || !commit, "{id} was given before");
                if !commit {
                    given.remove(&id);
                }
            }
            end_tick(&mut keyspace, commit);
        }
    }
}
