//! Honest proofs prove exactly what the tree holds, and a tree is a pure function of what it holds.

use std::collections::BTreeMap;

use crate::model::{self, Model, answer, forest_of, random_key};
use proptest::prelude::*;
use weald_proof::{Element, Forest, Node, Query, Range, prove, verify};

fn check(model: &Model, query: &Query) {
    let forest = forest_of(model);
    let proof = prove(&forest, query).unwrap();
    assert_eq!(
        verify(&proof, &forest.root(), query),
        Ok(answer(model, query)),
        "{query:?} of {model:?}"
    );
}

#[test]
fn the_empty_tree_proves_that_it_is_empty() {
    let model = Model::new();
    assert_eq!(forest_of(&model).root(), Node::root(None));
    check(&model, &Query::all());
    check(&model, &Query::key(b"a"));
    check(&model, &Query::totals(Range::all()));
    check(&model, &Query::all().offset(3).limit(1));
}

#[test]
fn a_present_key_is_proven_without_its_neighbours() {
    let model = (0..1000)
        .map(|n| (random_key(n), Element::Item(vec![n as u8; 100])))
        .collect();
    let forest = forest_of(&model);
    for key in model.keys().step_by(50) {
        let proof = prove(&forest, &Query::key(key)).unwrap();
        assert!(
            !model
                .keys()
                .filter(|other| *other != key)
                .any(|other| proof.windows(32).any(|w| w == &other[..]))
        );
        check(&model, &Query::key(key));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_proof_proves_what_the_tree_holds(model in model::model(80), query in model::query()) {
        check(&model, &query);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_large_tree_proves_what_it_holds(len in 0u64..6000, seed: u64, queries in proptest::collection::vec((any::<u64>(), any::<u64>(), 0u64..3000, 1u64..300, any::<bool>()), 8)) {
        let model: Model = (0..len).map(|n| (random_key(n ^ seed), Element::SumItem(n as i64 - 50))).collect();
        let forest = forest_of(&model);
        for (a, b, offset, limit, descending) in queries {
            // Bounds that are keys, and bounds that are not.
            let bound = |n: u64| random_key(if n.is_multiple_of(2) { (n % len.max(1)) ^ seed } else { n });
            let (start, end) = (bound(a).min(bound(b)), bound(a).max(bound(b)));
            prop_assume!(start < end);
            let range = Range { start: start.clone(), end: Some(end) };
            let direction = if descending { weald_proof::Direction::Descending } else { weald_proof::Direction::Ascending };
            for query in [
                Query::key(&start),
                Query::rank(&start),
                Query::totals(range.clone()),
                Query::all().offset(offset).limit(limit).direction(direction),
                Query::entries([range.clone()]).limit(limit).direction(direction),
                Query::entries([range]).offset(offset).direction(direction),
            ] {
                let proof = prove(&forest, &query).unwrap();
                prop_assert_eq!(verify(&proof, &forest.root(), &query), Ok(answer(&model, &query)));
            }
        }
    }

    #[test]
    fn order_and_batches_leave_no_trace(
        batches in proptest::collection::vec(proptest::collection::vec((0u64..3000, proptest::option::weighted(0.6, any::<i64>())), 1..400), 1..12),
        counting: bool,
    ) {
        // Keys that count make long runs, others don't.
        let key = |n: u64| if counting { n.to_be_bytes().to_vec() } else { random_key(n) };
        let mut model = Model::new();
        let mut forest = Forest::new();
        for batch in batches {
            let edits: BTreeMap<_, _> = batch.iter().map(|(n, number)| (key(*n), number.map(Element::SumItem))).collect();
            for (key, element) in edits.clone() {
                match element {
                    Some(element) => model.insert(key, element),
                    None => model.remove(&key),
                };
            }
            forest.apply(&[], edits).unwrap();
            prop_assert_eq!(&forest, &forest_of(&model));
        }
        let mut one_by_one = Forest::new();
        for (key, element) in model.iter().rev() {
            one_by_one.put(&[], key, element.clone()).unwrap();
        }
        prop_assert_eq!(one_by_one, forest);
    }
}
