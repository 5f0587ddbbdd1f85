//! Random batches, against a `BTreeMap`.

use std::collections::{BTreeMap, BTreeSet};

use super::shapes::{ALL_KEYS, Keys, Owned, Random};
use super::store::{Disk, Live};
use crate::ids::TxId;
use crate::op::{Entry, LargeRef, Value};
use crate::tree::page::HEADER;
use crate::tree::{Applied, Cursor, Met, Room, Root, apply, apply_with, branch, check, delete_range};
use crate::tree::{PageRead, count, drop_tree, estimate, get, get_many, page, pages};

pub(super) type Model = BTreeMap<Vec<u8>, Owned>;
pub(super) type Batch = BTreeMap<Vec<u8>, Option<Owned>>;

/// A tree beside what it should hold.
struct Trial<'d> {
    disk: &'d Disk,
    root: Root,
    model: Model,
    live: Live,
    commit: u64,
    len: i64,
    large: i64,
}

impl<'d> Trial<'d> {
    fn new(disk: &'d Disk) -> Trial<'d> {
        Trial {
            disk,
            root: Root::EMPTY,
            model: Model::new(),
            live: Live::default(),
            commit: 0,
            len: 0,
            large: 0,
        }
    }

    fn apply(&mut self, batch: &Batch) {
        self.commit += 1;
        let mut writer = self.disk.writer(self.commit);
        let mut shown = Vec::new();
        let changes = batch
            .iter()
            .map(|(key, owned)| (&key[..], owned.as_ref().map(Owned::entry)));
        let room = match batch.len() % 2 {
            0 => Room::AtTheEnd,
            _ => Room::InEachLeaf,
        };
        let applied = apply_with(&mut writer, self.root, changes, room, |change, old| {
            let old = old.map(|old| format!("{old:?}"));
            shown.push((change.0.to_vec(), old));
        })
        .expect("nothing is damaged");

        let mut gone = Vec::new();
        for ((key, owned), (shown_key, shown_old)) in batch.iter().zip(shown) {
            assert_eq!(key, &shown_key);
            let old = match owned {
                Some(owned) => self.model.insert(key.clone(), owned.clone()),
                None => self.model.remove(key),
            };
            assert_eq!(shown_old, old.as_ref().map(|old| format!("{:?}", old.entry())));
            gone.extend(old.and_then(|old| old.large()));
        }
        self.follow(applied, writer, gone);
    }

    fn delete_range(&mut self, start: &[u8], end: Option<&[u8]>) {
        self.commit += 1;
        let mut writer = self.disk.writer(self.commit);
        let applied = delete_range(&mut writer, self.root, start, end).expect("nothing is damaged");
        let mut gone = Vec::new();
        self.model.retain(|key, owned| {
            let kept = key.as_slice() < start || end.is_some_and(|end| key.as_slice() >= end);
            if !kept {
                gone.extend(owned.large());
            }
            kept
        });
        self.follow(applied, writer, gone);
    }

    fn follow(&mut self, applied: Applied, writer: super::store::Writer<'_>, gone: Vec<LargeRef>) {
        self.live.follow(&writer);
        let sort = |mut refs: Vec<LargeRef>| {
            refs.sort_by_key(|large| large.checksum);
            refs
        };
        assert_eq!(sort(writer.released_large), sort(gone));
        self.root = applied.root;
        self.len += applied.len_delta;
        self.large += applied.large_delta;
        assert_eq!(self.len, self.model.len() as i64);
    }

    /// Everything that must hold of the tree by itself.
    fn check_invariants(&self) {
        let reader = self.disk.reader();
        let mut met = BTreeSet::new();
        let totals = check(&reader, self.root, &mut |what| match what {
            Met::Page(ptr, _) => {
                assert!(met.insert(ptr.id().0), "page {} is there twice", ptr.id().0);
                true
            }
            Met::Large(_) => true,
            Met::Damage(ptr, error) => panic!("page {}: {error}", ptr.id().0),
        });
        assert_eq!(met, self.live.ids(), "pages leaked or lost");
        assert_eq!(totals.entries, self.model.len() as u64);
        assert_eq!(totals.large as i64, self.large);
        assert_eq!(
            self.model
                .values()
                .filter(|owned| owned.large().is_some())
                .count() as i64,
            self.large
        );

        let mut by_level: BTreeMap<u8, Vec<(usize, usize)>> = BTreeMap::new();
        pages(&reader, self.root, TxId(0), &mut |ptr, level| {
            let bytes = reader.page(ptr, level)?;
            assert!(
                bytes[page::used(bytes)..].iter().all(|byte| *byte == 0),
                "the tail is not zero"
            );
            by_level
                .entry(level)
                .or_default()
                .push((page::used(bytes) - HEADER, page::count(bytes)));
            Ok(true)
        })
        .expect("nothing is damaged");
        for (level, fills) in by_level {
            let inner = &fills[..fills.len() - 1];
            for (used, count) in inner {
                match level {
                    0 => assert!(
                        *used >= (self.disk.page_size - HEADER) / 4,
                        "a leaf uses {used} bytes only"
                    ),
                    _ => assert!(*count >= 2, "a branch has one child"),
                }
            }
        }
        if self.root.level > 0 {
            let top = reader
                .page(self.root.ptr, self.root.level)
                .expect("the root is there");
            assert!(branch::Branch::new(top).count() >= 2, "the root has one child");
        }
    }

    fn check_reads(&self, random: &mut Random, keys: Keys) {
        check_contents(self.disk, self.root, &self.model);
        let reader = self.disk.reader();
        let mut probes: Vec<Vec<u8>> = (0..20).map(|_| keys.make(random, self.disk.page_size)).collect();
        probes.push(Vec::new());
        probes.extend(self.model.keys().step_by(1 + self.model.len() / 20).cloned());
        let all: Vec<&[u8]> = probes.iter().map(Vec::as_slice).collect();
        let mut many = vec![None; all.len()];
        get_many(&reader, self.root, &all, |i, entry| many[i] = entry).expect("nothing is damaged");
        for (probe, many) in probes.iter().zip(many) {
            let expected = self.model.get(probe).map(Owned::entry);
            assert_eq!(
                get(&reader, self.root, probe).expect("nothing is damaged"),
                expected
            );
            assert_eq!(many, expected);
            check_walk(self.disk, self.root, &self.model, probe, random);
        }
        for pair in probes.chunks_exact(2) {
            let (start, end) = (
                &pair[0].clone().min(pair[1].clone()),
                &pair[0].clone().max(pair[1].clone()),
            );
            let expected = self.model.range(start.clone()..end.clone()).count() as u64;
            assert_eq!(
                count(&reader, self.root, start, Some(end)).expect("nothing is damaged"),
                expected
            );
            let estimated =
                estimate(&reader, self.root, self.len as u64, start, Some(end)).expect("nothing is damaged");
            assert!(estimated <= self.len as u64 + 1);
            let expected = self.model.range(start.clone()..).count() as u64;
            assert_eq!(
                count(&reader, self.root, start, None).expect("nothing is damaged"),
                expected
            );
        }
    }
}

fn check_contents(disk: &Disk, root: Root, model: &Model) {
    let mut cursor = Cursor::new(disk.reader(), root);
    for (key, owned) in model {
        let item = cursor.next().expect("nothing is damaged");
        assert_eq!(item, Some((key.as_slice(), owned.entry())));
    }
    assert_eq!(cursor.next().expect("nothing is damaged"), None);
    assert_eq!(cursor.next().expect("nothing is damaged"), None);
    for (key, owned) in model.iter().rev() {
        let item = cursor.prev().expect("nothing is damaged");
        assert_eq!(item, Some((key.as_slice(), owned.entry())));
    }
    assert_eq!(cursor.prev().expect("nothing is damaged"), None);
    assert_eq!(cursor.prev().expect("nothing is damaged"), None);
}

/// From a seek, some steps to and fro.
fn check_walk(disk: &Disk, root: Root, model: &Model, probe: &[u8], random: &mut Random) {
    let items: Vec<(&[u8], _)> = model
        .iter()
        .map(|(key, owned)| (key.as_slice(), owned.entry()))
        .collect();
    let mut cursor = Cursor::new(disk.reader(), root);
    // The place in `items`, shifted by one: 0 is before the first.
    let mut place;
    let got;
    if random.chance(50) {
        got = cursor.seek(probe).expect("nothing is damaged");
        place = 1 + items.partition_point(|item| item.0 < probe);
    } else {
        got = cursor.seek_for_prev(probe).expect("nothing is damaged");
        place = items.partition_point(|item| item.0 <= probe);
    }
    let at = |place: usize| place.checked_sub(1).and_then(|i| items.get(i).copied());
    assert_eq!(got, at(place));
    for _ in 0..random.below(60) {
        let got = if random.chance(50) {
            place = (place + 1).min(items.len() + 1);
            cursor.next()
        } else {
            place = place.saturating_sub(1);
            cursor.prev()
        };
        assert_eq!(got.expect("nothing is damaged"), at(place));
        assert_eq!(cursor.current(), at(place));
    }
}

pub(super) fn batch(
    random: &mut Random,
    keys: Keys,
    page_size: usize,
    size: usize,
    deletes: usize,
    model: &Model,
) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..size {
        let existing = random.chance(50) && !model.is_empty();
        let key = match existing {
            true => {
                let probe = keys.make(random, page_size);
                let found = model.range(probe.clone()..).next().or(model.iter().next());
                found.map_or(probe, |(key, _)| key.clone())
            }
            false => keys.make(random, page_size),
        };
        let owned = (!random.chance(deletes)).then(|| Owned::random(random, page_size, &key));
        batch.insert(key, owned);
    }
    batch
}

fn run(seed: u64, page_size: usize, keys: Keys, rounds: usize) {
    println!("seed {seed}, page size {page_size}, keys {keys:?}");
    let mut random = Random(seed);
    let disk = Disk::new(page_size);
    let mut trial = Trial::new(&disk);
    let mut olds: Vec<(Root, Model)> = Vec::new();
    for round in 0..rounds {
        let size = [1, 1, 2, 10, 100, 600][random.below(6)];
        let deletes = [0, 20, 50, 90][(round / 4) % 4];
        if random.chance(12) {
            let mut ends = [
                keys.make(&mut random, page_size),
                keys.make(&mut random, page_size),
            ];
            ends.sort();
            let end = random.chance(85).then_some(&ends[1][..]);
            let start = if random.chance(10) { &[][..] } else { &ends[0] };
            trial.delete_range(start, end);
        } else {
            trial.apply(&batch(&mut random, keys, page_size, size, deletes, &trial.model));
        }
        trial.check_invariants();
        trial.check_reads(&mut random, keys);
        if random.chance(20) {
            olds.push((trial.root, trial.model.clone()));
        }
    }
    for (root, model) in &olds {
        check_contents(&disk, *root, model);
    }
    while !trial.model.is_empty() {
        let step = 1 + random.below(3);
        let some = trial
            .model
            .keys()
            .step_by(step)
            .take(1 + random.below(300))
            .cloned();
        let batch = some.map(|key| (key, None)).collect();
        trial.apply(&batch);
        trial.check_invariants();
    }
    assert_eq!(trial.root, Root::EMPTY);
    assert!(trial.live.ids().is_empty());
}

#[test]
fn random_batches_of_all_key_shapes_on_small_pages() {
    for (i, keys) in ALL_KEYS.into_iter().enumerate() {
        run(100 + i as u64, 4096, keys, 40);
    }
}

#[test]
fn random_batches_on_every_page_size() {
    for (i, page_size) in [8192, 16384, 32768, 65536].into_iter().enumerate() {
        let keys = ALL_KEYS[(i * 2 + 1) % ALL_KEYS.len()];
        run(200 + i as u64, page_size, keys, 12);
        run(300 + i as u64, page_size, Keys::Longest, 12);
    }
}

#[test]
#[ignore = "minutes: many seeds"]
fn random_batches_of_many_seeds() {
    for seed in 1000..1200 {
        let page_size = 4096 << (seed % 5);
        run(seed, page_size, ALL_KEYS[(seed / 5 % 6) as usize], 60);
    }
}

#[test]
fn single_deletes_never_leave_a_page_low() {
    let mut random = Random(11);
    let disk = Disk::new(4096);
    let mut trial = Trial::new(&disk);
    let load = (0..400u32).map(|i| (i.to_be_bytes().to_vec(), Some(Owned::Inline(vec![1; 100], None))));
    trial.apply(&load.collect());
    while !trial.model.is_empty() {
        let at = random.below(trial.model.len());
        let key = trial.model.keys().nth(at).expect("inside").clone();
        trial.apply(&Batch::from([(key, None)]));
        trial.check_invariants();
    }
    assert_eq!(trial.root, Root::EMPTY);
}

#[test]
fn a_large_value_that_is_put_again_is_not_released() {
    let disk = Disk::new(4096);
    let mut random = Random(12);
    let large = loop {
        if let Owned::Large(large, _) = Owned::random(&mut random, 4096, b"a") {
            break large;
        }
    };
    for other_keys in [0, 500] {
        let mut first = Batch::from([(b"a".to_vec(), Some(Owned::Large(large, None)))]);
        let others =
            (0..other_keys).map(|i: u32| (i.to_be_bytes().to_vec(), Some(Owned::Inline(Vec::new(), None))));
        first.extend(others);
        let again = Owned::Large(large, Some(5));
        let mut root = Root::EMPTY;
        for batch in [
            &first,
            &Batch::from([(b"a".to_vec(), Some(again.clone()))]),
            &first,
        ] {
            let mut writer = disk.writer(1);
            let changes = batch
                .iter()
                .map(|(key, owned)| (&key[..], owned.as_ref().map(Owned::entry)));
            root = apply(&mut writer, root, changes, |_, _| {})
                .expect("nothing is damaged")
                .root;
            assert_eq!(writer.released_large, []);
        }
        let mut writer = disk.writer(2);
        drop_tree(&mut writer, root, true).expect("nothing is damaged");
        assert_eq!(writer.released_large, [large]);
    }
}

#[test]
fn leaves_with_room_take_a_few_keys_without_a_split() {
    let mut random = Random(31);
    let keys: BTreeSet<Vec<u8>> = (0..2000).map(|_| random.bytes(16)).collect();
    let value = vec![7; 100];
    let entry = Entry {
        value: Value::Inline(&value),
        expires: None,
    };
    let leaves_before_and_after = |room| {
        let disk = Disk::new(4096);
        let leaves = |root| check(&disk.reader(), root, &mut |_| true).leaves;
        let changes = keys.iter().map(|key| (&key[..], Some(entry)));
        let mut root = apply_with(&mut disk.writer(1), Root::EMPTY, changes, room, |_, _| {})
            .expect("nothing is damaged")
            .root;
        let before = leaves(root);
        let mut random = Random(32);
        // Less than one for each leaf.
        for txid in 2..42 {
            let key = random.bytes(16);
            root = apply(&mut disk.writer(txid), root, [(&key[..], Some(entry))], |_, _| {})
                .expect("nothing is damaged")
                .root;
        }
        (before, leaves(root))
    };
    let (full, split) = leaves_before_and_after(Room::AtTheEnd);
    let (roomy, kept) = leaves_before_and_after(Room::InEachLeaf);
    assert!(full < roomy && roomy <= full + full / 8, "{full} {roomy}");
    assert!(split >= full + 20, "{full} {split}");
    assert!(kept <= roomy + 6, "{roomy} {kept}");
}

#[test]
fn what_leaves_the_shape_as_it_is_copies_the_pages_on_its_way_and_no_others() {
    let mut random = Random(41);
    let disk = Disk::new(4096);
    let keys: Vec<Vec<u8>> = {
        let keys: BTreeSet<Vec<u8>> = (0..20_000).map(|_| random.bytes(16)).collect();
        keys.into_iter().collect()
    };
    let entry = |value| Entry {
        value: Value::Inline(value),
        expires: None,
    };
    let load = keys.iter().map(|key| (&key[..], Some(entry(&[1; 50][..]))));
    let mut writer = disk.writer(1);
    let old = apply_with(&mut writer, Root::EMPTY, load, Room::InEachLeaf, |_, _| {})
        .expect("nothing is damaged")
        .root;
    // Values as long as they were, shorter ones, and a key beside an old one, each in many leaves.
    let beside: Vec<Vec<u8>> = keys.iter().map(|key| [&key[..], b"+"].concat()).collect();
    let batches: [Vec<(&[u8], Option<Entry<'_>>)>; 3] = [
        keys.iter()
            .step_by(70)
            .map(|key| (&key[..], Some(entry(&[2; 50]))))
            .collect(),
        keys.iter()
            .step_by(70)
            .map(|key| (&key[..], Some(entry(&[3; 40]))))
            .collect(),
        beside
            .iter()
            .step_by(70)
            .map(|key| (&key[..], Some(entry(&[4; 9]))))
            .collect(),
    ];
    let mut root = old;
    for (txid, batch) in (2..).zip(batches) {
        let mut met = BTreeSet::new();
        let reader = disk.reader();
        pages(&reader, root, TxId(0), &mut |ptr, level| {
            let page = reader.page(ptr, level)?;
            let of = |index: usize| crate::tree::Leaf::new(page).key(index);
            if level > 0 {
                return Ok(true);
            }
            let (first, last) = (of(0), of(page::count(page) - 1));
            if batch
                .iter()
                .any(|(key, _)| key[..16] >= *first && key[..16] <= last[..16])
            {
                met.insert(ptr.id().0);
            }
            Ok(true)
        })
        .expect("nothing is damaged");
        let mut writer = disk.writer(txid);
        let changed = apply(&mut writer, root, batch.iter().copied(), |_, _| {}).expect("nothing is damaged");
        let released: BTreeSet<u64> = writer.released.iter().copied().collect();
        assert!(met.is_subset(&released), "{txid}");
        // Each in place of one, and of branches there are few.
        assert_eq!(writer.created.len(), released.len(), "{txid}");
        assert!(released.len() <= met.len() + 8, "{txid}");
        root = changed.root;
    }
}
