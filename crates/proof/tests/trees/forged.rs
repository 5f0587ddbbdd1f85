//! What is not the one proof of a tree and a query is refused.

use proptest::prelude::*;
use weald_proof::{Element, Hash, MemoryPages, Page, Query, Range, UpdateError, prove, update, verify};

use crate::model::{Model, answer, forest_of};
use crate::mutations::{self, small};
use crate::random::{self, random_key};

#[test]
fn a_proof_with_one_bit_flipped_is_refused() {
    assert_eq!(mutations::flipped_bits(), None);
}

#[test]
fn a_proof_cut_short_or_made_longer_is_refused() {
    assert_eq!(mutations::cut_or_longer(), None);
}

#[test]
fn a_number_that_is_longer_than_it_need_be_is_refused() {
    assert_eq!(mutations::stretched_numbers(), None);
}

#[test]
fn a_proof_of_rearranged_parts_is_refused() {
    assert_eq!(mutations::rearranged(), None);
}

#[test]
fn a_proof_of_another_query_or_tree_is_refused_whole_and_in_parts() {
    assert_eq!(mutations::of_another(), None);
}

#[test]
fn a_proof_that_shows_too_much_or_too_little_is_refused() {
    assert_eq!(mutations::wrongly_shown(), None);
}

#[test]
fn hostile_bytes_are_refused_at_once() {
    assert_eq!(mutations::hostile_bytes(), None);
}

#[test]
fn an_element_that_disagrees_with_its_subtree_is_refused() {
    assert_eq!(mutations::disagreeing_elements(), None);
}

/// Bytes that look like elements, or like pages of small keys and wild numbers.
fn encodings() -> impl Strategy<Value = Vec<u8>> {
    let entry = (
        0u8..9,
        any::<[u8; 32]>(),
        any::<i128>().prop_map(|sum| Element::SumTree {
            root: Hash([0; 32]),
            sum,
        }),
    );
    let page = (1u8..3, proptest::collection::vec(entry, 1..8)).prop_map(|(level, entries)| {
        let mut bytes = vec![level, entries.len() as u8];
        for (index, (height, hash, sum)) in entries.iter().enumerate() {
            bytes.extend([1, index as u8, *height]);
            bytes.extend(hash);
            bytes.push(9);
            bytes.extend(&sum.encode()[33..]);
        }
        bytes.extend(vec![7; 32 * (entries.len() - 1)]);
        bytes
    });
    let element = (0u8..8, proptest::collection::vec(any::<u8>(), 0..60))
        .prop_map(|(tag, rest)| [vec![tag], rest].concat());
    let segments =
        (5u8..7, proptest::collection::vec(0u8..4, 0..12)).prop_map(|(tag, rest)| [vec![tag], rest].concat());
    prop_oneof![page, element, segments]
}

#[test]
fn sums_too_large_are_refused_and_those_that_cancel_out_are_not() {
    let tree = |sum| {
        Some(Element::SumTree {
            root: Hash([0; 32]),
            sum,
        })
    };
    let update = |sums: &[i128]| {
        let edits = sums
            .iter()
            .enumerate()
            .map(|(n, sum)| (vec![n as u8], tree(*sum)))
            .collect();
        update(&MemoryPages::default(), &edits).map(|changes| changes.top.unwrap().sum)
    };
    assert_eq!(update(&[i128::MAX, -1, 1]), Ok(i128::MAX));
    assert_eq!(update(&[i128::MAX, 0, 1, -1]), Ok(i128::MAX));
    assert_eq!(update(&[i128::MAX, 1]), Err(UpdateError::Overflow));
    assert_eq!(update(&[0, i128::MIN, -1, 0]), Err(UpdateError::Overflow));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_proof_of_one_query_answers_another_only_if_it_is_its_proof_too(
        model in random::model(40), asked in random::query(), proven in random::query(),
    ) {
        let forest = forest_of(&model);
        let proof = prove(&forest, &proven).unwrap();
        match verify(&proof, &forest.root(), &asked) {
            Ok(proven) => {
                prop_assert_eq!(proven, answer(&model, &asked));
                prop_assert_eq!(proof, prove(&forest, &asked).unwrap());
            }
            Err(_) => prop_assert_ne!(proof, prove(&forest, &asked).unwrap()),
        }
    }

    #[test]
    fn a_proof_of_another_tree_is_refused(a in random::model(20), b in random::model(20), query in random::query()) {
        prop_assume!(a != b);
        let (forest, other) = (forest_of(&a), forest_of(&b));
        let proof = prove(&forest, &query).unwrap();
        prop_assert!(verify(&proof, &other.root(), &query).is_err());
    }

    #[test]
    fn noise_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), query in random::query()) {
        let forest = forest_of(&small());
        prop_assert!(verify(&bytes, &forest.root(), &query).is_err());
    }

    #[test]
    fn bytes_that_can_be_read_are_what_would_be_written(bytes in encodings()) {
        if let Ok(element) = Element::decode(&bytes) {
            prop_assert_eq!(element.encode(), &bytes[..]);
        }
        if let Ok(page) = Page::decode(&bytes) {
            prop_assert_eq!(page.encode(), &bytes[..]);
            // A page of one entry is its entry, whatever that is.
            let trusted = Page::decode_untrusted(&bytes, page.level(), &page.top());
            prop_assert!(page.len() == 1 || trusted.is_none(), "hashes of noise");
        }
    }

    #[test]
    fn a_damaged_large_proof_is_refused(at in any::<prop::sample::Index>(), xor in 1u8.., key in 0u64..400) {
        let model: Model = (0..300).map(|n| (random_key(n), Element::Item(vec![n as u8; 30]))).collect();
        let forest = forest_of(&model);
        let query = Query::entries([Range { start: random_key(key), end: None }]).limit(5);
        let mut proof = prove(&forest, &query).unwrap();
        let at = at.index(proof.len());
        proof[at] ^= xor;
        prop_assert!(verify(&proof, &forest.root(), &query).is_err());
    }
}
