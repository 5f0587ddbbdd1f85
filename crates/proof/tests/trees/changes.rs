//! What an update says of the pages that change: storage relies on every word of it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weald_proof::{Element, Forest, Page, PageChange, Pages, Trees, update};

use crate::random::random_key;

/// A tree of so many entries.
fn forest(len: u64) -> Forest {
    let mut forest = Forest::new();
    for n in 0..len {
        forest
            .put(&[], &random_key(n), Element::SumItem(1))
            .expect("sums are small");
    }
    forest
}

/// How many entries are the same at both ends, the slow way.
fn same_ends(a: &Page, b: &Page) -> (usize, usize) {
    let (a, b): (Vec<_>, Vec<_>) = (a.entries().collect(), b.entries().collect());
    let first = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let rest = first.max(1);
    let back = a[rest..].iter().rev().zip(b[rest..].iter().rev());
    (first, back.take_while(|(a, b)| a == b).count())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn changed_pages_are_in_order_and_are_what_the_storage_has_and_gets(
        len in 0u64..600,
        edits in proptest::collection::btree_map(0u64..700, any::<bool>(), 1..40),
        all_go in prop::bool::weighted(0.1),
    ) {
        let mut forest = forest(len);
        let mut edits: BTreeMap<Vec<u8>, Option<Element>> = edits
            .into_iter()
            .map(|(n, stays)| (random_key(n), stays.then_some(Element::SumItem(2))))
            .collect();
        if all_go {
            edits.extend((0..len).map(|n| (random_key(n), None)));
        }
        let pages = forest.tree(&[]).expect("in memory").expect("the outermost tree");
        let changes = update(&pages, &edits).expect("sums are small");

        prop_assert!(changes.pages.is_sorted_by(|a, b| a.place() < b.place()));
        for page in &changes.pages {
            let (level, key) = page.place();
            let stored = pages.page(level, key).expect("in memory");
            prop_assert_eq!(page.before(), stored.as_ref());
            if let PageChange::Replaced { before, after, .. } = page {
                prop_assert_ne!(before, after);
                // It need not be told where entries are only set.
                if page.shared() != (0, 0) || after.changed_since(before).is_none() {
                    prop_assert_eq!(page.shared(), same_ends(after, before));
                }
            }
        }

        // The same contents, made one by one, have no other pages.
        let after: Vec<PageChange> = changes.pages;
        for (key, element) in edits {
            forest
                .apply(&[], BTreeMap::from([(key, element)]))
                .expect("sums are small");
        }
        let pages = forest.tree(&[]).expect("in memory").expect("the outermost tree");
        for page in &after {
            let (level, key) = page.place();
            let stored = pages.page(level, key).expect("in memory");
            prop_assert_eq!(page.after(), stored.as_ref());
        }
    }
}
