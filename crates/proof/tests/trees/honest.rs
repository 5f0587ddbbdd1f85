//! Honest proofs prove exactly what the tree holds, and a tree is a pure function of what it holds.

use std::collections::BTreeMap;

use crate::model::{Model, answer, forest_of};
use crate::random::{self, random_key};
use proptest::prelude::*;
use weald_proof::{
    Answer, Direction, Element, Error, Forest, Hash, NESTING_MAX, Node, Page, Pages, ProveError, Query,
    QueryError, Range, Totals, Trees, prove, verify,
};

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
    fn a_proof_proves_what_the_tree_holds(model in random::model(80), query in random::query()) {
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
            let direction = if descending { Direction::Descending } else { Direction::Ascending };
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

fn orchard() -> Forest {
    let mut forest = Forest::new();
    let (root, sum, count) = (Hash([0; 32]), 0, 0);
    for (n, shelf) in ["a", "b", "c"].into_iter().enumerate() {
        forest
            .put(&[], shelf.as_bytes(), Element::SumTree { root, sum })
            .unwrap();
        for box_number in 0..n as u8 + 1 {
            forest
                .put(
                    &[shelf.as_bytes()],
                    &[box_number],
                    Element::CountTree { root, count },
                )
                .unwrap();
            let path = [shelf.as_bytes(), &[box_number]];
            (0..30u8).for_each(|n| forest.put(&path, &[n], Element::SumItem(i64::from(n))).unwrap());
            forest
                .put(&[shelf.as_bytes()], b"weight", Element::SumItem(7))
                .unwrap();
        }
    }
    forest.put(&[], b"note", Element::Item(vec![])).unwrap();
    forest
}

#[test]
fn subtrees_are_proven_down_to_their_entries() {
    let forest = orchard();
    let first_two = Query::all().limit(2).direction(Direction::Descending);
    let query = Query::all().below(Query::all().below(first_two));
    let proof = prove(&forest, &query).unwrap();
    let answer = verify(&proof, &forest.root(), &query).unwrap();
    assert_eq!(answer.entries().len(), 4);
    for (n, shelf) in answer.entries()[..3].iter().enumerate() {
        let boxes = shelf.below.as_ref().unwrap().entries();
        assert_eq!(boxes.len(), n + 2);
        assert!(
            matches!(shelf.element, Element::SumTree { sum: 7, .. }),
            "what is below a count tree has no part in a sum"
        );
        for entry in &boxes[..n + 1] {
            assert!(matches!(entry.element, Element::CountTree { count: 30, .. }));
            let keys: Vec<&[u8]> = entry
                .below
                .as_ref()
                .unwrap()
                .entries()
                .iter()
                .map(|e| &e.key[..])
                .collect();
            assert_eq!(keys, [[29], [28]]);
        }
        assert_eq!(boxes[n + 1].below, None, "not a subtree");
    }
    assert_eq!(answer.entries()[3].below, None);
}

#[test]
fn a_path_that_leads_nowhere_is_proven_to() {
    let forest = orchard();
    for (path, depth) in [
        (&["x"][..], 0),
        (&["note", "y"], 0),
        (&["a", "weight"], 1),
        (&["a", "nothing", "z"], 1),
    ] {
        let query = Query::totals(Range::all()).at(path);
        let proof = prove(&forest, &query).unwrap();
        assert_eq!(
            verify(&proof, &forest.root(), &query),
            Ok(Answer::NoSubtree { depth })
        );
    }
}

#[test]
fn a_query_below_may_have_a_path_that_some_entries_lack() {
    let forest = orchard();
    let query = Query::all().below(Query::totals(Range::all()).at([[1]]));
    let answer = verify(&prove(&forest, &query).unwrap(), &forest.root(), &query).unwrap();
    let below: Vec<_> = answer
        .entries()
        .iter()
        .map(|entry| entry.below.as_deref())
        .collect();
    let totals = Answer::Totals(Totals { count: 30, sum: 435 });
    let none = Answer::NoSubtree { depth: 0 };
    assert_eq!(below, [Some(&none), Some(&totals), Some(&totals), None]);
}

#[test]
fn queries_without_an_answer_are_refused_on_both_sides() {
    let forest = orchard();
    let key = |key: &[u8]| Range::key(key);
    let deep = (0..NESTING_MAX).fold(Query::all(), |query, _| Query::all().below(query));
    let cases = [
        (Query::entries([]), QueryError::Ranges),
        (Query::entries([key(b"b"), key(b"a")]), QueryError::Ranges),
        (Query::entries([key(b"b"), key(b"b")]), QueryError::Ranges),
        (Query::entries([Range::all(), key(b"b")]), QueryError::Ranges),
        (
            Query::totals(Range {
                start: b"b".to_vec(),
                end: Some(b"b".to_vec()),
            }),
            QueryError::Ranges,
        ),
        (Query::rank(b""), QueryError::Ranges),
        (Query::all().limit(0), QueryError::Limit),
        (Query::keys(["a", "b"]).offset(1), QueryError::Offset),
        (Query::all().at([b"x"; NESTING_MAX + 1]), QueryError::Nesting),
        (deep, QueryError::Nesting),
        (Query::all().below(Query::all().limit(0)), QueryError::Limit),
    ];
    for (query, error) in cases {
        assert_eq!(prove(&forest, &query), Err(ProveError::Query(error)), "{query:?}");
        assert_eq!(verify(&[], &forest.root(), &query), Err(Error::Query(error)));
    }
}

/// A replica that trusts nothing but the root hash fetches a tree page by page.
#[test]
fn pages_are_checked_against_the_page_above() {
    let model: Model = (0..3000)
        .map(|n| (random_key(n), Element::SumItem(n as i64)))
        .collect();
    let forest = forest_of(&model);
    let pages = forest.tree(&[]).unwrap().unwrap();
    let top = pages
        .after(pages.top_level().unwrap().unwrap(), None)
        .unwrap()
        .unwrap();
    assert_eq!(Node::root(Some(&top.top())), forest.root());
    let (mut wanted, mut leaves) = (vec![(top.level(), top.first_key().to_vec(), top.top())], 0);
    while let Some((level, key, node)) = wanted.pop() {
        let page = pages.page(level, &key).unwrap().unwrap();
        let bytes = page.encode();
        assert_eq!(Page::decode(&bytes).as_ref(), Ok(&*page));
        assert!(
            (0..bytes.len())
                .step_by(41)
                .all(|at| Page::decode(&bytes[..at]).is_err())
        );
        if level == 0 {
            let entries = page.entries();
            let leaves_of_page: Vec<_> = entries
                .map(|e| (e.key.to_vec(), pages.value(e.key).unwrap().unwrap()))
                .collect();
            assert_eq!(Page::from_leaves(leaves_of_page.clone()).as_ref(), Some(&*page));
            for at in 0..leaves_of_page.len() {
                let (mut other_key, mut other_value) = (leaves_of_page.clone(), leaves_of_page.clone());
                other_key[at].0.push(0);
                other_value[at].1 = Element::SumItem(-1).encode();
                assert_ne!(Page::from_leaves(other_key).unwrap().top(), node);
                assert_ne!(Page::from_leaves(other_value).unwrap().top(), node);
            }
            leaves += leaves_of_page.len();
            continue;
        }
        assert_eq!(
            Page::decode_untrusted(&bytes, level, &node).as_ref(),
            Some(&*page)
        );
        let nodes = |page: &Page| page.entries().map(|entry| entry.node).collect::<Vec<_>>();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            let read = Page::decode_untrusted(&damaged, level, &node);
            assert!(
                read.is_none_or(|read| nodes(&read) == nodes(&page)),
                "byte {at} of level {level}"
            );
        }
        wanted.extend(
            page.entries()
                .map(|entry| (level - 1, entry.key.to_vec(), entry.node)),
        );
    }
    assert_eq!(leaves, model.len());
}
