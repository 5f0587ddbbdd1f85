//! Bytes that nobody meant to be a page: refused, or read without a panic, a hang or a step outside.

use std::ops::ControlFlow;

use proptest::prelude::*;

use super::model::{Model, batch};
use super::shapes::{ALL_KEYS, Keys, Owned, Random};
use super::store::Disk;
use crate::error::{Error, Result};
use crate::ids::{PageId, PagePtr, TxId};
use crate::op::LargeRef;
use crate::tree::leaf::Leaf;
use crate::tree::page::{self, HEADER};
use crate::tree::{
    Cursor, Met, PageRead, PageWrite, Root, apply, check, count, delete_range, diff, drop_tree, estimate,
    get, get_many, pages,
};

/// Pages that need not be what they seem: only their structure is checked, as if somebody had forged the checksums.
#[derive(Clone, Copy)]
struct Forged<'p> {
    pages: &'p [Vec<u8>],
}

impl<'p> PageRead<'p> for Forged<'p> {
    fn page(&self, ptr: PagePtr, level: u8) -> Result<&'p [u8]> {
        let Some(bytes) = self.pages.get(ptr.id().0 as usize) else {
            return Err(self.corrupt(ptr, "there is no such page"));
        };
        page::check_structure(bytes, level).map_err(|fault| self.corrupt(ptr, fault))?;
        Ok(bytes)
    }

    fn corrupt(&self, ptr: PagePtr, what: &'static str) -> Error {
        Error::corrupt_page(std::path::Path::new("memory"), ptr.id().0, what)
    }
}

struct ForgedWriter<'p>(Forged<'p>, u64);

impl<'p> PageRead<'p> for ForgedWriter<'p> {
    fn page(&self, ptr: PagePtr, level: u8) -> Result<&'p [u8]> {
        self.0.page(ptr, level)
    }

    fn corrupt(&self, ptr: PagePtr, what: &'static str) -> Error {
        self.0.corrupt(ptr, what)
    }
}

impl<'p> PageWrite<'p> for ForgedWriter<'p> {
    fn create(&mut self, level: u8, fill: impl FnOnce(&mut [u8])) -> Result<PagePtr> {
        self.1 += 1;
        let mut bytes = vec![0; 4096];
        fill(&mut bytes);
        // What is built of forged pages is in no order, but must have the right structure.
        page::check_structure(&bytes, level).expect("built a page wrong");
        Ok(PagePtr::new(PageId(1 << 30 | self.1), TxId(1)))
    }

    fn release(&mut self, _: PagePtr) {}

    fn release_large(&mut self, _: LargeRef) {}

    fn page_size(&self) -> usize {
        4096
    }
}

/// Calls everything; what comes back does not matter.
fn read_everything(pages_: &[Vec<u8>], root: Root, probes: &[Vec<u8>]) {
    let reader = Forged { pages: pages_ };
    let limit = 20_000;
    let mut cursor = Cursor::new(reader, root);
    for _ in 0..limit {
        if !matches!(cursor.next(), Ok(Some(_))) {
            break;
        }
    }
    for _ in 0..limit {
        if !matches!(cursor.prev(), Ok(Some(_))) {
            break;
        }
    }
    let all: Vec<&[u8]> = probes.iter().map(Vec::as_slice).collect();
    let _ = get_many(&reader, root, &all, |_, _| {});
    for probe in probes {
        let _ = get(&reader, root, probe);
        let _ = cursor.seek(probe).and_then(|_| cursor.prev());
        let _ = cursor.seek_for_prev(probe).and_then(|_| cursor.next());
        let _ = count(&reader, root, probe, None);
        let _ = estimate(&reader, root, 100, &[], Some(probe));
        let _ = delete_range(&mut ForgedWriter(reader, 0), root, &[], Some(probe));
        let _ = diff(&reader, root, root, probe, None, |_, _, _| {
            ControlFlow::<()>::Continue(())
        });
        let _ = diff(&reader, Root::EMPTY, root, probe, None, |_, _, _| {
            ControlFlow::<()>::Continue(())
        });
        let value = Owned::Inline(vec![7; 20], Some(9));
        let changes = [(&probe[..], Some(value.entry()))];
        let _ = apply(&mut ForgedWriter(reader, 0), root, changes, |_, _| {});
    }
    let mut sorted = all.clone();
    sorted.sort();
    sorted.dedup();
    let value = Owned::Inline(vec![7; 32], None);
    let changes = sorted.iter().map(|key| (*key, Some(value.entry())));
    let _ = apply(&mut ForgedWriter(reader, 0), root, changes, |_, _| {});
    let _ = drop_tree(&mut ForgedWriter(reader, 0), root, true);
    let _ = pages(&reader, root, TxId(1), &mut |_, _| Ok(true));
    let mut left = 1000;
    check(&reader, root, &mut |met| {
        left -= 1;
        !matches!(met, Met::Page(..)) || left > 0
    });
}

/// A small tree as loose pages.
fn tree(seed: u64, keys: Keys, size: usize) -> (Vec<Vec<u8>>, Root, Model) {
    let mut random = Random(seed);
    let disk = Disk::new(4096);
    let mut model = Model::new();
    let batch = batch(&mut random, keys, 4096, size, 0, &model);
    let changes = batch
        .iter()
        .map(|(key, owned)| (&key[..], owned.as_ref().map(Owned::entry)));
    let root = apply(&mut disk.writer(1), Root::EMPTY, changes, |_, _| {})
        .expect("nothing is damaged")
        .root;
    model.extend(batch.into_iter().filter_map(|(key, owned)| Some((key, owned?))));
    let mut loose = vec![Vec::new(); disk.page_count() + 1];
    let reader = disk.reader();
    pages(&reader, root, TxId(0), &mut |ptr, level| {
        loose[ptr.id().0 as usize] = reader.page(ptr, level)?.to_vec();
        Ok(true)
    })
    .expect("nothing is damaged");
    (loose, root, model)
}

fn probes(random: &mut Random, keys: Keys, model: &Model) -> Vec<Vec<u8>> {
    let mut probes = vec![Vec::new(), vec![255; 20]];
    probes.extend((0..4).map(|_| keys.make(random, 4096)));
    probes.extend(model.keys().step_by(1 + model.len() / 4).cloned());
    probes
}

#[test]
fn pages_damaged_anywhere_are_read_without_panics() {
    for (seed, keys) in (40..).zip(ALL_KEYS) {
        println!("seed {seed}, keys {keys:?}");
        let (loose, root, model) = tree(seed, keys, 150);
        let mut random = Random(seed);
        let probes = probes(&mut random, keys, &model);
        for _ in 0..400 {
            let mut damaged = loose.clone();
            for _ in 0..1 + random.below(4) {
                let page = 1 + random.below(damaged.len() - 1);
                // Where it hurts: header and slots.
                let near = [HEADER, 400, 4096][random.below(3)];
                let at = random.below(near);
                damaged[page][at] = match random.below(3) {
                    0 => random.next() as u8,
                    1 => damaged[page][at] ^ 1 << random.below(8),
                    _ => damaged[page][at].wrapping_add(1),
                };
            }
            read_everything(&damaged, root, &probes);
        }
        for _ in 0..50 {
            let mut swapped = loose.clone();
            let (a, b) = (
                1 + random.below(loose.len() - 1),
                1 + random.below(loose.len() - 1),
            );
            swapped[a] = loose[b].clone();
            read_everything(&swapped, root, &probes);
        }
    }
}

#[test]
fn every_flipped_bit_of_a_page_is_noticed() {
    let (loose, root, _) = tree(3, Keys::Random, 150);
    for (id, bytes) in loose.iter().enumerate().skip(1) {
        let level = if id as u64 == root.ptr.id().0 {
            root.level
        } else {
            0
        };
        let ptr = PagePtr::new(PageId(id as u64), TxId(1));
        page::verify(bytes, ptr, level).expect("sound");
        let mut damaged = bytes.clone();
        for at in (0..bytes.len()).step_by(if id < 3 { 1 } else { 97 }) {
            damaged[at] ^= 1 << (at % 8);
            assert!(page::verify(&damaged, ptr, level).is_err());
            damaged[at] = bytes[at];
        }
        assert!(page::verify(bytes, PagePtr::new(PageId(id as u64 + 1), TxId(1)), level).is_err());
        assert!(page::verify(bytes, PagePtr::new(PageId(id as u64), TxId(2)), level).is_err());
        assert!(page::verify(bytes, ptr, level + 1).is_err());
        assert!(page::verify(&bytes[..2048], ptr, level).is_err());
        assert!(page::verify(&[], ptr, level).is_err());

        // A page that is at the wrong place, sealed and all.
        let mut misdirected = bytes.clone();
        page::begin(&mut misdirected, PageId(77), TxId(1));
        page::seal(&mut misdirected);
        assert!(page::verify(&misdirected, ptr, level).is_err());
    }
}

#[test]
fn check_finds_keys_and_separators_out_of_order() {
    let (loose, root, _) = tree(4, Keys::Random, 300);
    let mut found = 0;
    let mut tried = 0;
    for id in 1..loose.len() {
        let mut damaged = loose.clone();
        let at = if id as u64 == root.ptr.id().0 {
            HEADER + 2
        } else {
            HEADER + 6 * page::count(&loose[id]) + 3
        };
        damaged[id][at] ^= 0x40;
        tried += 1;
        let mut faults = 0;
        check(&Forged { pages: &damaged }, root, &mut |met| {
            faults += usize::from(matches!(met, Met::Damage(..)));
            true
        });
        found += usize::from(faults > 0);
    }
    assert_eq!(found, tried);
}

/// The place of `key` by looking at every key in turn.
fn naive_search(leaf: Leaf<'_>, key: &[u8]) -> std::result::Result<usize, usize> {
    match (0..leaf.count()).find(|i| leaf.key(*i) >= key) {
        Some(i) if leaf.key(i) == key => Ok(i),
        Some(i) => Err(i),
        None => Err(leaf.count()),
    }
}

fn ragged_key() -> impl Strategy<Value = Vec<u8>> {
    (
        0..3usize,
        prop::collection::vec(prop::sample::select(vec![0u8, 1, b'a', 255]), 0..9),
    )
        .prop_map(|(prefix, tail)| {
            let mut key = vec![b'p'; prefix * 3];
            key.extend(tail);
            key
        })
}

proptest! {
    #[test]
    fn search_in_a_leaf_matches_a_naive_one(
        keys in prop::collection::btree_set(ragged_key(), 1..60),
        probes in prop::collection::vec(ragged_key(), 1..40),
    ) {
        let disk = Disk::new(4096);
        let value = Owned::Inline(Vec::new(), None);
        let changes = keys.iter().map(|key| (&key[..], Some(value.entry())));
        let root = apply(&mut disk.writer(1), Root::EMPTY, changes, |_, _| {}).expect("nothing is damaged").root;
        prop_assert_eq!(root.level, 0);
        let leaf = Leaf::new(disk.reader().page(root.ptr, 0).expect("nothing is damaged"));
        for probe in probes.iter().chain(&keys) {
            prop_assert_eq!(leaf.search(probe), naive_search(leaf, probe));
            prop_assert_eq!(leaf.get(probe).is_some(), keys.contains(probe));
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_read_without_panics(
        bytes in prop::collection::vec(any::<u8>(), 4096),
        count in 0u16..80,
        level in 0u8..3,
        probe in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = bytes;
        bytes[24] = level;
        bytes[25] = if level == 0 { 1 } else { 2 };
        bytes[26..28].copy_from_slice(&count.to_le_bytes());
        bytes[28..32].fill(0);
        bytes[32..36].copy_from_slice(&4096u32.to_le_bytes());
        let _ = page::verify(&bytes, PagePtr::new(PageId(1), TxId(1)), level);
        let root = Root { ptr: PagePtr::new(PageId(1), TxId(1)), level };
        read_everything(&[Vec::new(), bytes], root, &[probe]);
    }
}

/// Reads that fail while the switch is on.
#[derive(Clone, Copy)]
struct Failing<'c, 'p>(Forged<'p>, &'c std::cell::Cell<bool>);

impl<'p> PageRead<'p> for Failing<'_, 'p> {
    fn page(&self, ptr: PagePtr, level: u8) -> Result<&'p [u8]> {
        if self.1.get() {
            return Err(self.corrupt(ptr, "the disk is away"));
        }
        self.0.page(ptr, level)
    }

    fn corrupt(&self, ptr: PagePtr, what: &'static str) -> Error {
        self.0.corrupt(ptr, what)
    }
}

#[test]
fn a_cursor_stays_where_it_was_after_an_error() {
    let (loose, root, model) = tree(9, Keys::Random, 300);
    let away = std::cell::Cell::new(false);
    let mut cursor = Cursor::new(Failing(Forged { pages: &loose }, &away), root);
    let mut errors = 0;
    for key in model.keys() {
        assert_eq!(cursor.next().expect("sound").map(|item| item.0), Some(&key[..]));
        away.set(true);
        errors += usize::from(cursor.seek(b"m").is_err()) + usize::from(cursor.last().is_err());
        // Within a leaf there is nothing to read, and so nothing to fail.
        if cursor.next().is_ok() {
            cursor.prev().expect("the same leaf");
        }
        assert_eq!(cursor.current().map(|item| item.0), Some(&key[..]));
        away.set(false);
    }
    assert_eq!(errors, 2 * model.len());
    assert!(cursor.next().expect("sound").is_none());
}
