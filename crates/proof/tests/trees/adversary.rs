//! Keys chosen, by trying their hashes, to spoil the shape of a tree.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use weald_proof::{
    DEPTH_MAX, Element, Forest, MemoryPages, PAGE_LEN_MAX, Page, Pages, Query, Trees, height, prove, update,
    verify,
};

use crate::model::{Model, forest_of};
use crate::random::random_key;

/// Keys of those heights, in order.
fn chosen(len: usize, heights: impl Fn(u8) -> bool) -> Vec<Vec<u8>> {
    (0u64..)
        .map(|n| n.to_be_bytes().to_vec())
        .filter(|key| heights(height(key)))
        .take(len)
        .collect()
}

fn model(keys: Vec<Vec<u8>>) -> Model {
    keys.into_iter()
        .map(|key| (key, Element::Item(vec![7; 100])))
        .collect()
}

fn families() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let lone = [
        chosen(2000, |height| height == 0),
        chosen(1, |height| height >= 4),
    ]
    .concat();
    vec![
        ("no key begins a page", chosen(10_000, |height| height == 0)),
        ("every key begins a page", chosen(3000, |height| height >= 1)),
        (
            "every key begins a page on two levels",
            chosen(1500, |height| height >= 2),
        ),
        ("a lone high key", lone),
    ]
}

/// Counts pages that are read.
struct Counted<'a> {
    pages: &'a MemoryPages,
    reads: Cell<usize>,
}

impl Counted<'_> {
    fn count(&self) -> &MemoryPages {
        self.reads.set(self.reads.get() + 1);
        self.pages
    }
}

type Found = Result<Option<Arc<Page>>, std::convert::Infallible>;

impl Pages for Counted<'_> {
    type Error = std::convert::Infallible;

    fn top_level(&self) -> Result<Option<u8>, Self::Error> {
        self.pages.top_level()
    }

    fn page(&self, level: u8, key: &[u8]) -> Found {
        self.count().page(level, key)
    }

    fn before(&self, level: u8, key: Option<&[u8]>) -> Found {
        self.count().before(level, key)
    }

    fn after(&self, level: u8, key: Option<&[u8]>) -> Found {
        self.count().after(level, key)
    }

    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Self::Error> {
        self.pages.value(key)
    }
}

fn pages(forest: &Forest) -> &MemoryPages {
    forest.tree(&[]).unwrap().unwrap()
}

#[test]
fn pages_and_proofs_stay_small_whatever_the_keys() {
    for (name, keys) in families() {
        let model = model(keys);
        let forest = forest_of(&model);
        let pages = pages(&forest);
        let mut next = pages.after(0, None).unwrap();
        while let Some(page) = next {
            assert!(page.len() <= PAGE_LEN_MAX, "{name}");
            next = pages.after(0, Some(page.first_key())).unwrap();
        }
        // A sibling takes 36 bytes; a tree of halves would have as many as the logarithm.
        let log = f64::from(model.len() as u32).log2();
        for key in model.keys().step_by(97) {
            let proof = prove(&forest, &Query::key(key)).unwrap();
            let siblings = (proof.len() - 120) / 36;
            assert!(
                (siblings as f64) < 1.5 * log + 6.0 && siblings < DEPTH_MAX,
                "{name}: {siblings}, {}",
                model.len()
            );
            assert!(verify(&proof, &forest.root(), &Query::key(key)).is_ok());
        }
    }
}

#[test]
fn an_update_reads_and_hashes_little_whatever_the_keys() {
    for (name, keys) in families() {
        let forest = forest_of(&model(keys.clone()));
        let mut worst = (0, 0, 0);
        for key in keys.iter().step_by(101) {
            for edit in [None, Some(Element::SumItem(1))] {
                let inserted = edit.is_some();
                let key = if inserted {
                    [&key[..], b"+"].concat()
                } else {
                    key.clone()
                };
                let counted = Counted {
                    pages: pages(&forest),
                    reads: Cell::new(0),
                };
                let changes = update(&counted, &BTreeMap::from([(key, edit)])).unwrap();
                let seen = (counted.reads.get(), changes.pages.len(), changes.hashes as usize);
                worst = (worst.0.max(seen.0), worst.1.max(seen.1), worst.2.max(seen.2));
            }
        }
        println!(
            "{name}: at most {} pages read, {} written, {} hashes",
            worst.0, worst.1, worst.2
        );
        assert!(
            worst.0 < 250 && worst.1 < 40 && worst.2 < 250,
            "{name}: {worst:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_tree_of_chosen_keys_is_a_function_of_its_contents(
        family in 0usize..4,
        part in 0.1f64..1.0,
        batches in proptest::collection::vec(proptest::collection::vec((any::<u32>(), any::<bool>()), 1..40), 1..20),
    ) {
        let keys = families().swap_remove(family).1;
        let mut model = model(keys[..(keys.len() as f64 * part) as usize].to_vec());
        let mut forest = forest_of(&model);
        for batch in batches {
            let mut edits = BTreeMap::new();
            for (n, put) in batch {
                // Every other one anywhere, the rest close together.
                let index = if n % 2 == 0 { n as usize % keys.len() } else { (n as usize % 97).min(keys.len() - 1) };
                edits.insert(keys[index].clone(), put.then_some(Element::SumItem(i64::from(n))));
            }
            for (key, element) in edits.clone() {
                match element {
                    Some(element) => model.insert(key, element),
                    None => model.remove(&key),
                };
            }
            forest.apply(&[], edits).unwrap();
            prop_assert!(forest == forest_of(&model));
        }
    }
}

#[test]
fn a_long_run_that_becomes_short_is_one_page_again() {
    let keys = chosen(66, |height| height == 0);
    let mut model = model(keys.clone());
    let mut forest = forest_of(&model);
    for key in keys.into_iter().chain((0..20).map(random_key)) {
        let element = model.remove(&key).map_or(Some(Element::SumItem(1)), |_| None);
        model.extend(element.clone().map(|element| (key.clone(), element)));
        forest.apply(&[], BTreeMap::from([(key, element)])).unwrap();
        assert!(forest == forest_of(&model));
    }
}
