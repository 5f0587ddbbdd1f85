//! Two versions of a tree against each other.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::model::{Batch, Model, batch};
use super::shapes::{ALL_KEYS, Keys, Owned, Random};
use super::store::{Disk, Reader};
use crate::error::{Error, Result};
use crate::ids::{PagePtr, TxId};
use crate::op::Entry;
use crate::tree::{PageRead, Root, apply, delete_range, diff, is_same, pages};

/// Counts the pages that are read.
struct Counting<'c, 'p>(Reader<'p>, &'c Cell<usize>);

impl<'p> PageRead<'p> for Counting<'_, 'p> {
    fn page(&self, ptr: PagePtr, level: u8) -> Result<&'p [u8]> {
        self.1.set(self.1.get() + 1);
        self.0.page(ptr, level)
    }

    fn corrupt(&self, ptr: PagePtr, what: &'static str) -> Error {
        self.0.corrupt(ptr, what)
    }
}

fn change(disk: &Disk, birth: u64, root: Root, model: &mut Model, batch: &Batch) -> Root {
    let changes = batch
        .iter()
        .map(|(key, owned)| (&key[..], owned.as_ref().map(Owned::entry)));
    let applied = apply(&mut disk.writer(birth), root, changes, |_, _| {}).expect("nothing is damaged");
    for (key, owned) in batch {
        match owned {
            Some(owned) => model.insert(key.clone(), owned.clone()),
            None => model.remove(key),
        };
    }
    applied.root
}

type Difference<'a> = (&'a [u8], Option<Entry<'a>>, Option<Entry<'a>>);

fn model_diff<'a>(old: &'a Model, new: &'a Model, start: &[u8], end: Option<&[u8]>) -> Vec<Difference<'a>> {
    let keys: BTreeMap<&Vec<u8>, ()> = old.keys().chain(new.keys()).map(|key| (key, ())).collect();
    keys.into_keys()
        .filter(|key| key.as_slice() >= start && end.is_none_or(|end| key.as_slice() < end))
        .map(|key| {
            (
                &key[..],
                old.get(key).map(Owned::entry),
                new.get(key).map(Owned::entry),
            )
        })
        .filter(|(_, was, is)| was != is)
        .collect()
}

fn check(disk: &Disk, old: (Root, &Model), new: (Root, &Model), start: &[u8], end: Option<&[u8]>) {
    let expected = model_diff(old.1, new.1, start, end);
    let mut got = Vec::new();
    let flow = diff(&disk.reader(), old.0, new.0, start, end, |key, was, is| {
        got.push((key, was, is));
        ControlFlow::<()>::Continue(())
    })
    .expect("nothing is damaged");
    assert!(flow.is_continue());
    assert_eq!(got, expected);

    let first = diff(&disk.reader(), old.0, new.0, start, end, |key, _, _| {
        ControlFlow::Break(key)
    })
    .expect("nothing is damaged")
    .break_value();
    assert_eq!(first, expected.first().map(|difference| difference.0));
}

#[test]
fn differences_match_those_of_the_models() {
    for (seed, keys) in (7..).zip(ALL_KEYS) {
        println!("seed {seed}, keys {keys:?}");
        let mut random = Random(seed);
        let disk = Disk::new(4096);
        let mut model = Model::new();
        let mut root = Root::EMPTY;
        let mut versions = vec![(root, model.clone())];
        for birth in 1..25 {
            let size = [1, 3, 50, 400][random.below(4)];
            let deletes = [10, 60][random.below(2)];
            let batch = batch(&mut random, keys, 4096, size, deletes, &model);
            root = change(&disk, birth, root, &mut model, &batch);
            if random.chance(10) {
                let start = keys.make(&mut random, 4096);
                root = delete_range(&mut disk.writer(birth), root, &start, None)
                    .expect("nothing is damaged")
                    .root;
                model.retain(|key, _| *key < start);
            }
            versions.push((root, model.clone()));
        }
        for _ in 0..100 {
            let [old, new] = [0; 2].map(|_| &versions[random.below(versions.len())]);
            let [start, end] = [0; 2].map(|_| keys.make(&mut random, 4096));
            check(&disk, (old.0, &old.1), (new.0, &new.1), &[], None);
            check(&disk, (old.0, &old.1), (new.0, &new.1), &start, Some(&end));
            check(&disk, (old.0, &old.1), (new.0, &new.1), &start, None);
            let present = old.1.keys().chain(new.1.keys()).nth(random.below(50));
            for key in [Some(&start), Some(&end), present].into_iter().flatten() {
                let same = is_same(&disk.reader(), old.0, new.0, key).expect("nothing is damaged");
                assert_eq!(same, old.1.get(key) == new.1.get(key));
            }
        }
    }
}

#[test]
fn a_small_difference_is_found_without_reading_much() {
    let mut random = Random(5);
    let disk = Disk::new(4096);
    let mut model = Model::new();
    let load = batch(&mut random, Keys::Random, 4096, 20_000, 0, &model);
    let old = change(&disk, 1, Root::EMPTY, &mut model, &load);
    let all = disk.page_count();
    for _ in 0..50 {
        let few = batch(&mut random, Keys::Random, 4096, 3, 30, &model);
        let new = change(&disk, 2, old, &mut model.clone(), &few);
        let read = Cell::new(0);
        let reader = Counting(disk.reader(), &read);
        let mut found = 0;
        diff(&reader, old, new, &[], None, |_, _, _| {
            found += 1;
            ControlFlow::<()>::Continue(())
        })
        .expect("nothing is damaged")
        .continue_value()
        .expect("nothing breaks");
        assert!(found <= 3);
        assert!(read.get() <= 40, "{} of {all} pages were read", read.get());
        read.set(0);
        let same = model
            .keys()
            .step_by(100)
            .map(|key| is_same(&reader, old, new, key).expect("nothing is damaged"));
        assert!(same.filter(|same| !same).count() <= 3);
        let looked_up = model.len().div_ceil(100);
        // Twice all the way down would be six and more for each.
        assert!(
            old.level >= 2 && read.get() <= looked_up * 4,
            "{} pages for {looked_up}",
            read.get()
        );
    }
}

#[test]
fn pages_since_a_commit_are_those_that_it_made() {
    let mut random = Random(6);
    let disk = Disk::new(4096);
    let mut model = Model::new();
    let load = batch(&mut random, Keys::Random, 4096, 5_000, 0, &model);
    // Births that differ in their high bits only, and wrap around in their low ones.
    let births = [(1 << 24) - 2, (1 << 24) + 1, (1 << 24) + 2, (3 << 24) + 1];
    let mut root = change(&disk, births[0], Root::EMPTY, &mut model, &load);
    for birth in &births[1..] {
        let few = batch(&mut random, Keys::Random, 4096, 5, 0, &model);
        let mut writer = disk.writer(*birth);
        let changes = few
            .iter()
            .map(|(key, owned)| (&key[..], owned.as_ref().map(Owned::entry)));
        root = apply(&mut writer, root, changes, |_, _| {})
            .expect("nothing is damaged")
            .root;
        let mut met = std::collections::BTreeSet::new();
        let reader = disk.reader();
        pages(&reader, root, TxId(*birth), &mut |ptr, level| {
            if crate::tree::page::birth(reader.page(ptr, level)?) == TxId(*birth) {
                met.insert(ptr.id().0);
            }
            Ok(true)
        })
        .expect("nothing is damaged");
        assert_eq!(met, writer.created);
    }
}
