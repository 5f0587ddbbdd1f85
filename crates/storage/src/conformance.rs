//! What every backend must do, as a suite to hold one against.
//!
//! ```
//! use weald_storage::{Options, Registry, conformance};
//!
//! # fn main() {
//! conformance::run(|| Registry::compiled().open("memory", &Options::new()).unwrap());
//! # }
//! ```

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::thread;

use crate::changes::Changes;
use crate::error::Error;
use crate::item::{Entry, Item, Outcome, Version};
use crate::put::{Held, Put};
use crate::storage::{Durability, Range, Storage};

/// Runs everything, each part on an empty store that `open` gives.
///
/// # Panics
///
/// Where the backend does something else than it must.
pub fn run(open: impl Fn() -> Arc<dyn Storage>) {
    let parts: [fn(&dyn Storage); 12] = [
        items_come_back_as_they_went_in,
        only_what_is_newer_is_applied,
        a_batch_may_hold_a_key_twice,
        purging_takes_one_version_and_no_other,
        scans_are_in_order_and_stay_in_their_range,
        limits_are_kept,
        changes_follow_the_writes,
        copies_converge_whatever_the_order,
        concurrent_writers_leave_the_newest,
        updates_see_what_is_there_and_may_leave_it,
        plain_writes_replace_what_is_older_and_has_no_note,
        concurrent_updates_lose_nothing,
    ];
    for part in parts {
        part(&*open());
    }
    clearing_and_closing(&*open());
}

fn version(time: u64) -> Version {
    Version::new(time, 1)
}

fn apply(store: &dyn Storage, key: &str, item: Item) -> Outcome {
    store
        .apply(&[Entry::new(key, item)], Durability::None)
        .expect("an entry within the limits")[0]
}

fn contents(store: &dyn Storage) -> BTreeMap<Vec<u8>, Item> {
    let mut all = BTreeMap::new();
    let mut see = |entry: Entry| {
        assert_eq!(all.insert(entry.key, entry.item), None, "a key twice");
        Ok(())
    };
    store.snapshot(&mut see).expect("a snapshot");
    all
}

fn items_come_back_as_they_went_in(store: &dyn Storage) {
    assert_eq!(store.get(b"absent").unwrap(), None);
    let items = [
        ("", Item::value(version(1), "under the empty key")),
        ("empty", Item::value(version(2), "")),
        ("binary\0\u{ff}", Item::value(version(u64::MAX), [0, 255, 10, 13])),
        ("expiring", Item::value(version(3), "soon").expiring(9)),
        ("gone", Item::tombstone(version(4))),
        ("long", Item::value(version(5), vec![7; 100_000])),
    ];
    for (key, item) in &items {
        assert_eq!(store.set(key.as_bytes(), item.clone()).unwrap(), Outcome::Applied);
    }
    for (key, item) in &items {
        assert_eq!(store.get(key.as_bytes()).unwrap().as_ref(), Some(item), "{key:?}");
    }
    let found = store.get_many(&[b"gone", b"absent", b"empty"]).unwrap();
    assert_eq!(found, [Some(items[4].1.clone()), None, Some(items[1].1.clone())]);
    let stats = store.stats().unwrap();
    assert!(stats.hits >= 8 && stats.misses >= 2, "{stats:?}");
}

fn only_what_is_newer_is_applied(store: &dyn Storage) {
    assert_eq!(
        apply(store, "k", Item::value(version(5), "five")),
        Outcome::Applied
    );
    assert_eq!(apply(store, "k", Item::value(version(4), "four")), Outcome::Stale);
    assert_eq!(apply(store, "k", Item::value(version(5), "five")), Outcome::Stale);
    assert_eq!(store.delete(b"k", version(4)).unwrap(), Outcome::Stale);
    assert_eq!(
        store.get(b"k").unwrap().unwrap().value.as_deref(),
        Some(&b"five"[..])
    );
    assert_eq!(store.delete(b"k", version(6)).unwrap(), Outcome::Applied);
    assert_eq!(apply(store, "k", Item::value(version(5), "five")), Outcome::Stale);
    assert_eq!(store.get(b"k").unwrap(), Some(Item::tombstone(version(6))));
    // The node settles what happened at one time.
    assert_eq!(
        apply(store, "k", Item::value(Version::new(6, 2), "two")),
        Outcome::Applied
    );
    assert_eq!(
        apply(store, "k", Item::value(Version::new(6, 1), "one")),
        Outcome::Stale
    );
}

fn a_batch_may_hold_a_key_twice(store: &dyn Storage) {
    let batch = [
        Entry::new("a", Item::value(version(2), "second")),
        Entry::new("b", Item::value(version(1), "only")),
        Entry::new("a", Item::value(version(1), "first")),
        Entry::new("a", Item::value(version(3), "third")),
    ];
    let outcomes = store.apply(&batch, Durability::Immediate).unwrap();
    assert_eq!(
        outcomes,
        [
            Outcome::Applied,
            Outcome::Applied,
            Outcome::Stale,
            Outcome::Applied
        ]
    );
    assert_eq!(store.get(b"a").unwrap(), Some(Item::value(version(3), "third")));
    assert_eq!(store.apply(&[], Durability::Immediate).unwrap(), []);
}

fn purging_takes_one_version_and_no_other(store: &dyn Storage) {
    store.delete(b"k", version(7)).unwrap();
    assert!(!store.purge(b"k", version(6)).unwrap());
    assert!(!store.purge(b"other", version(7)).unwrap());
    assert!(store.purge(b"k", version(7)).unwrap());
    assert!(!store.purge(b"k", version(7)).unwrap());
    assert_eq!(store.get(b"k").unwrap(), None);
    assert_eq!(
        apply(store, "k", Item::value(version(1), "again")),
        Outcome::Applied
    );
}

fn scans_are_in_order_and_stay_in_their_range(store: &dyn Storage) {
    let keys: Vec<Vec<u8>> = (0..1000_u32)
        .map(|n| format!("{:04}", n * 7 % 1000).into_bytes())
        .collect();
    let batch: Vec<Entry> = keys
        .iter()
        .map(|key| Entry::new(key.clone(), Item::value(version(1), key.clone())))
        .collect();
    store.apply(&batch, Durability::None).unwrap();
    let key = |n: u32| format!("{n:04}").into_bytes();
    let scan = |range: &Range, limit: usize| {
        let mut seen = Vec::new();
        let mut see = |key: &[u8], item: Item| {
            assert_eq!(item.value.as_deref(), Some(key));
            seen.push(key.to_vec());
            Ok(seen.len() < limit)
        };
        store.scan(range, &mut see).expect("a scan");
        seen
    };
    let keys = |numbers: std::ops::Range<u32>| numbers.map(key).collect::<Vec<_>>();
    let range = |from, to| Range { from, to };
    assert_eq!(scan(&Range::ALL, usize::MAX), keys(0..1000));
    assert_eq!(scan(&Range::ALL, 3), keys(0..3));
    assert_eq!(scan(&Range::after(&key(997)), usize::MAX), keys(998..1000));
    assert_eq!(scan(&Range::prefix(b"04"), usize::MAX), keys(400..500));
    assert_eq!(scan(&Range::prefix(b"x"), usize::MAX), keys(0..0));
    let (five, nine) = (key(5), key(9));
    let included = range(Bound::Included(five.clone()), Bound::Included(nine.clone()));
    assert_eq!(scan(&included, usize::MAX), keys(5..10));
    let excluded = range(Bound::Excluded(five.clone()), Bound::Excluded(nine.clone()));
    assert_eq!(scan(&excluded, usize::MAX), keys(6..9));
    let backwards = range(Bound::Included(nine), Bound::Excluded(five.clone()));
    assert_eq!(scan(&backwards, usize::MAX), keys(0..0));
    let nothing = range(Bound::Excluded(five.clone()), Bound::Excluded(five));
    assert_eq!(scan(&nothing, usize::MAX), keys(0..0));
    let refused = store.scan(&Range::ALL, &mut |_, _| Err(Error::Closed));
    assert!(
        matches!(refused, Err(Error::Closed)),
        "the callback's error comes back"
    );
}

fn limits_are_kept(store: &dyn Storage) {
    let limits = store.limits();
    let long = vec![b'k'; limits.key_len_max];
    store.set(&long, Item::value(version(1), "v")).unwrap();
    assert_eq!(store.get(&long).unwrap(), Some(Item::value(version(1), "v")));
    let longer = vec![b'k'; limits.key_len_max + 1];
    let good = Entry::new("good", Item::value(version(1), "v"));
    let bad = Entry::new(longer.clone(), Item::value(version(1), "v"));
    let refused = store.apply(&[good.clone(), bad], Durability::None);
    assert!(
        matches!(refused, Err(Error::TooLarge { what: "key", .. })),
        "{refused:?}"
    );
    assert_eq!(
        store.get(b"good").unwrap(),
        None,
        "a refused batch leaves nothing"
    );
    assert_eq!(store.get(&longer).unwrap(), None);
    assert!(!store.purge(&longer, version(1)).unwrap());
    if limits.value_len_max <= 64 << 20 {
        let value = vec![b'v'; limits.value_len_max];
        assert_eq!(
            apply(store, "large", Item::value(version(1), value)),
            Outcome::Applied
        );
        let value = vec![b'v'; limits.value_len_max + 1];
        let refused = store.apply(
            &[Entry::new("large", Item::value(version(2), value))],
            Durability::None,
        );
        assert!(matches!(refused, Err(Error::TooLarge { what: "value", .. })));
    }
}

fn changes_follow_the_writes(store: &dyn Storage) {
    let keys = |since: u64| match store.changes(since) {
        Changes::Since(changes) => {
            let last = changes.last().map_or(since, |change| change.number);
            (
                changes
                    .into_iter()
                    .map(|change| (change.key, change.version.time))
                    .collect(),
                last,
            )
        }
        Changes::Forgotten { .. } => panic!("the ring is larger than this"),
    };
    let (seen, start): (Vec<_>, u64) = keys(0);
    assert_eq!(seen, []);
    apply(store, "a", Item::value(version(1), "x"));
    apply(store, "b", Item::value(version(2), "y"));
    apply(store, "a", Item::value(version(1), "x"));
    store.delete(b"a", version(3)).unwrap();
    let (seen, last) = keys(start);
    assert_eq!(seen, [(b"a".to_vec(), 1), (b"b".to_vec(), 2), (b"a".to_vec(), 3)]);
    assert_eq!(keys(last).0, []);
    assert_eq!(store.stats().unwrap().changes, 3);
    store.clear().unwrap();
    assert!(matches!(store.changes(last), Changes::Forgotten { .. }));
}

/// A history of entries that a seed decides.
fn history(mut seed: u64, len: usize) -> Vec<Entry> {
    let mut next = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    (0..len)
        .map(|_| {
            let version = Version::new(next(20), next(3));
            let item = match next(4) {
                0 => Item::tombstone(version),
                1 => Item::value(version, format!("{}", next(3))).expiring(next(2)),
                _ => Item::value(version, format!("{}", next(3))),
            };
            Entry::new(format!("key {}", next(30)), item)
        })
        .collect()
}

fn copies_converge_whatever_the_order(store: &dyn Storage) {
    for seed in 1..=8 {
        store.clear().unwrap();
        let mut entries = history(seed, 400);
        let mut expected: BTreeMap<Vec<u8>, Item> = BTreeMap::new();
        for entry in &entries {
            let newer = expected
                .get(&entry.key)
                .is_none_or(|old| entry.item.supersedes(old));
            if newer {
                expected.insert(entry.key.clone(), entry.item.clone());
            }
        }
        if seed % 2 == 0 {
            entries.reverse();
        }
        for batch in entries.chunks(1 + seed as usize * 5) {
            store.apply(batch, Durability::None).unwrap();
        }
        assert_eq!(contents(store), expected, "seed {seed}");
        // A full snapshot of itself changes nothing.
        let copy: Vec<Entry> = expected
            .iter()
            .map(|(key, item)| Entry::new(key.clone(), item.clone()))
            .collect();
        let outcomes = store.apply(&copy, Durability::None).unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Stale));
    }
}

fn concurrent_writers_leave_the_newest(store: &dyn Storage) {
    let (writers, rounds) = (4, 200);
    thread::scope(|scope| {
        for writer in 0..writers {
            scope.spawn(move || {
                for round in 0..rounds {
                    let time = (round * 7 + writer * 3) % rounds;
                    let entries: Vec<Entry> = ["x", "y", "z"]
                        .map(|key| {
                            Entry::new(
                                key,
                                Item::value(Version::new(time, writer), format!("{time} {writer}")),
                            )
                        })
                        .into();
                    store.apply(&entries, Durability::None).expect("a batch");
                }
            });
        }
    });
    for key in ["x", "y", "z"] {
        let last = Version::new(rounds - 1, writers - 1);
        let expected = Item::value(last, format!("{} {}", last.time, last.node));
        assert_eq!(store.get(key.as_bytes()).unwrap(), Some(expected));
    }
}

fn updates_see_what_is_there_and_may_leave_it(store: &dyn Storage) {
    apply(store, "a", Item::value(version(5), "five"));
    let mut seen = Vec::new();
    let noted = Item {
        note: b"a note".to_vec(),
        ..Item::tombstone(version(1))
    };
    let keys: [&[u8]; 4] = [b"a", b"b", b"a", b"c"];
    store
        .update(&keys, Durability::Immediate, &mut |place, old| {
            seen.truncate(place);
            seen.push(old.map(|old| old.version.time));
            Ok([
                Some(noted.clone()),
                Some(Item::value(version(2), "b")),
                None,
                None,
            ][place]
                .clone())
        })
        .unwrap();
    assert_eq!(
        seen,
        [Some(5), None, Some(1), None],
        "an update may go back in time, and sees itself"
    );
    assert_eq!(store.get(b"a").unwrap(), Some(noted));
    assert_eq!(store.get(b"b").unwrap(), Some(Item::value(version(2), "b")));
    assert_eq!(store.get(b"c").unwrap(), None);
    let refused = store.update(&[b"a", b"d"], Durability::None, &mut |_, _| Err(Error::Closed));
    assert!(matches!(refused, Err(Error::Closed)), "what decides may refuse");
    assert_eq!(store.get(b"d").unwrap(), None);
}

fn plain_writes_replace_what_is_older_and_has_no_note(store: &dyn Storage) {
    let noted = Item {
        note: b"a note".to_vec(),
        ..Item::value(version(1), "noted")
    };
    let items = [
        ("older", Item::value(version(1), "before")),
        ("equal", Item::value(version(5), "before")),
        ("newer", Item::value(version(9), "before")),
        ("gone", Item::tombstone(version(1))),
        ("noted", noted.clone()),
    ];
    for (key, item) in &items {
        apply(store, key, item.clone());
    }
    let put = |key: &'static str, time| Put {
        key: key.as_bytes(),
        version: version(time),
        expires_ms: Some(1 << 50),
        value: Some(b"after"),
    };
    let puts = [
        put("absent", 5),
        put("older", 5),
        put("equal", 5),
        put("newer", 5),
        put("gone", 5),
        put("noted", 5),
        put("absent", 6),
        Put {
            value: None,
            expires_ms: None,
            ..put("older", 6)
        },
    ];
    let held = |time, note: &[u8]| {
        Some(Held {
            version: version(time),
            note: note.to_vec(),
        })
    };
    assert_eq!(
        store.put(&puts, Durability::Immediate).unwrap(),
        [
            None,
            held(1, b""),
            held(5, b""),
            held(9, b""),
            held(1, b""),
            held(1, b"a note"),
            held(5, b""),
            held(5, b""),
        ]
    );
    let after = |time| Some(Item::value(version(time), "after").expiring(1 << 50));
    assert_eq!(store.get(b"absent").unwrap(), after(6));
    assert_eq!(store.get(b"older").unwrap(), Some(Item::tombstone(version(6))));
    assert_eq!(store.get(b"equal").unwrap(), Some(items[1].1.clone()));
    assert_eq!(store.get(b"newer").unwrap(), Some(items[2].1.clone()));
    assert_eq!(store.get(b"gone").unwrap(), after(5));
    assert_eq!(store.get(b"noted").unwrap(), Some(noted));
    let limits = store.limits();
    let long = vec![7; limits.key_len_max + 1];
    let refused = store.put(
        &[Put {
            key: &long,
            ..puts[0]
        }],
        Durability::None,
    );
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
}

fn concurrent_updates_lose_nothing(store: &dyn Storage) {
    let (writers, rounds) = (4, 50);
    thread::scope(|scope| {
        for _ in 0..writers {
            scope.spawn(|| {
                for _ in 0..rounds {
                    let add = &mut |_: usize, old: Option<Item>| {
                        let time = old.map_or(0, |old| old.version.time) + 1;
                        Ok(Some(Item::value(version(time), "")))
                    };
                    store
                        .update(&[b"x", b"y"], Durability::None, add)
                        .expect("an update");
                }
            });
        }
    });
    for key in [b"x", b"y"] {
        assert_eq!(store.get(key).unwrap().unwrap().version.time, writers * rounds);
    }
}

fn clearing_and_closing(store: &dyn Storage) {
    apply(store, "k", Item::value(version(9), "v"));
    store.clear().unwrap();
    assert_eq!(store.get(b"k").unwrap(), None);
    assert_eq!(contents(store), BTreeMap::new());
    assert_eq!(apply(store, "k", Item::value(version(1), "v")), Outcome::Applied);
    store.flush().unwrap();
    store.close().unwrap();
    assert!(matches!(store.get(b"k"), Err(Error::Closed)));
    assert!(matches!(
        store.set(b"k", Item::tombstone(version(9))),
        Err(Error::Closed)
    ));
    assert!(matches!(
        store.scan(&Range::ALL, &mut |_, _| Ok(true)),
        Err(Error::Closed)
    ));
    store.close().unwrap();
}
