//! What is not the one proof of a tree and a query is refused.

use proptest::prelude::*;
use weald_proof::{
    Direction, Element, Error, Fault, Forest, Hash, Malformed, MemoryPages, Node, PROOF_LEN_MAX, Page, Pages,
    Query, Range, Trees, UpdateError, prove, update, value_hash, verify,
};

use crate::model::{self, Model, answer, forest_of, random_key};

fn small() -> Model {
    (0..12u8)
        .map(|n| (vec![b'a' + n], Element::SumItem(i64::from(n) - 5)))
        .collect()
}

/// A forest with subtrees, and a query that passes through all of a proof's parts.
fn nested() -> (Forest, Query) {
    let mut forest = Forest::new();
    let (root, sum, count) = (Hash([0; 32]), 0, 0);
    forest.put(&[], b"users", Element::Tree(root)).unwrap();
    forest
        .put(&[b"users"], b"ann", Element::SumTree { root, sum })
        .unwrap();
    forest
        .put(&[b"users"], b"bob", Element::CountTree { root, count })
        .unwrap();
    forest
        .put(&[b"users"], b"eve", Element::Item(b"banned".to_vec()))
        .unwrap();
    for (user, key, number) in [("ann", "x", 3), ("ann", "y", -1), ("bob", "x", 8)] {
        forest
            .put(
                &[b"users", user.as_bytes()],
                key.as_bytes(),
                Element::SumItem(number),
            )
            .unwrap();
    }
    let below = Query::entries([Range::of(&b"x"[..]..=b"x")]);
    (forest, Query::all().at(["users"]).below(below))
}

/// Proofs short enough to try every change.
fn cases() -> Vec<(Forest, Query, Vec<u8>)> {
    let forest = forest_of(&small());
    let (nested, users) = nested();
    let range = Range::of(&b"bb"[..]..b"h");
    let queries = [
        Query::key(b"c"),
        Query::key(b"cc"),
        Query::keys(["a", "cc", "z"]),
        Query::entries([range.clone()]),
        Query::entries([range.clone()])
            .direction(Direction::Descending)
            .limit(2),
        Query::entries([range.clone()]).offset(2).limit(2),
        Query::entries([range.clone()]).offset(100),
        Query::totals(range),
        Query::totals(Range::all()),
        Query::rank(b"f"),
        Query::key(b"c").at(["no", "such"]),
    ];
    let single = queries.into_iter().map(|query| (forest.clone(), query));
    let below = [
        users,
        Query::key(b"y").at(["users", "ann"]),
        Query::totals(Range::all()).at(["users", "bob"]),
    ];
    let all = single.chain(below.into_iter().map(|query| (nested.clone(), query)));
    all.map(|(forest, query)| {
        let proof = prove(&forest, &query).unwrap();
        assert!(verify(&proof, &forest.root(), &query).is_ok());
        (forest, query, proof)
    })
    .collect()
}

fn refused(bytes: &[u8], (forest, query, proof): &(Forest, Query, Vec<u8>)) {
    assert!(
        bytes == proof || verify(bytes, &forest.root(), query).is_err(),
        "{query:?} accepts {bytes:?}"
    );
}

#[test]
fn a_proof_with_one_bit_flipped_is_refused() {
    for case in cases() {
        for bit in 0..case.2.len() * 8 {
            let mut forged = case.2.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            refused(&forged, &case);
        }
    }
}

#[test]
fn a_proof_cut_short_or_made_longer_is_refused() {
    for case in cases() {
        let proof = &case.2;
        for at in 0..proof.len() {
            refused(&proof[..at], &case);
            refused(&[&proof[..at], &proof[at + 1..]].concat(), &case);
            refused(&[&proof[..at], &[0], &proof[at..]].concat(), &case);
            refused(&[&proof[..at], &proof[at..], &proof[at..]].concat(), &case);
        }
        refused(&[&proof[..], &[0]].concat(), &case);
        refused(&[&proof[..], proof].concat(), &case);
        refused(&[&proof[..], &proof[1..]].concat(), &case);
    }
}

#[test]
fn a_proof_of_rearranged_parts_is_refused() {
    for case in cases() {
        let proof = &case.2;
        for len in [1, 2, 3, 32, 33, 34, 35, 36, 70] {
            for a in 0..proof.len().saturating_sub(2 * len) {
                for b in (a + len..=proof.len() - len).step_by(7) {
                    let swapped = [
                        &proof[..a],
                        &proof[b..b + len],
                        &proof[a + len..b],
                        &proof[a..a + len],
                        &proof[b + len..],
                    ];
                    refused(&swapped.concat(), &case);
                }
            }
        }
    }
}

#[test]
fn a_proof_of_another_query_or_tree_is_refused_whole_and_in_parts() {
    let cases = cases();
    for case in &cases {
        for (_, _, other) in &cases {
            refused(other, case);
            for at in 0..case.2.len().min(other.len()) {
                refused(&[&case.2[..at], &other[at..]].concat(), case);
            }
        }
        let other_root = Node::root(Some(&Node {
            hash: case.0.root(),
            count: 1,
            sum: 0,
        }));
        assert!(matches!(
            verify(&case.2, &other_root, &case.1),
            Err(Error::Root { .. })
        ));
    }
}

/// Which leaves a made-up proof shows: not at all, by key, or with the value.
type Shown = [u8];

/// A proof of a single tree that shows what it likes, but truly: written after `docs/tree.md`, apart from the
/// prover.
fn made_up(forest: &Forest, shown: &Shown) -> Vec<u8> {
    let pages = forest.tree(&[]).unwrap().unwrap();
    let top = pages.top_level().unwrap().unwrap();
    let page = pages.after(top, None).unwrap().unwrap();
    let (node, bytes) = nodes(pages, &page, (0, page.len()), shown);
    assert_eq!(Node::root(Some(&node)), forest.root());
    [
        vec![1],
        bytes.unwrap_or_else(|| [vec![3], hidden(&node)].concat()),
    ]
    .concat()
}

fn hidden(node: &Node) -> Vec<u8> {
    assert!(node.count < 128 && node.sum.abs() < 64, "numbers of one byte");
    [
        &node.hash.0[..],
        &[
            node.count as u8,
            if node.sum < 0 {
                (-2 * node.sum - 1) as u8
            } else {
                2 * node.sum as u8
            },
        ],
    ]
    .concat()
}

fn nodes(
    pages: &impl Pages,
    page: &weald_proof::Page,
    (from, to): (usize, usize),
    shown: &Shown,
) -> (Node, Option<Vec<u8>>) {
    let entry = page.entry(from);
    if to - from > 1 {
        let middle = from + (to - from) / 2;
        let count: u64 = (from..middle).map(|index| page.entry(index).node.count).sum();
        let (left_shown, right_shown) = shown.split_at(count as usize);
        let (left, left_bytes) = nodes(pages, page, (from, middle), left_shown);
        let (right, right_bytes) = nodes(pages, page, (middle, to), right_shown);
        let node = Node::join(page.level(), &left, &right).unwrap();
        let bytes = match (left_bytes, right_bytes) {
            (None, None) => return (node, None),
            (Some(l), Some(r)) => [vec![0x40 | page.level()], l, r],
            (Some(l), None) => [vec![0x80 | page.level()], l, hidden(&right)],
            (None, Some(r)) => [vec![0xc0 | page.level()], hidden(&left), r],
        };
        return (node, Some(bytes.concat()));
    }
    if page.level() > 0 {
        let Ok(Some(below)) = pages.page(page.level() - 1, entry.key) else {
            panic!("a page is missing")
        };
        let (node, bytes) = nodes(pages, &below, (0, below.len()), shown);
        assert_eq!(node, entry.node);
        return (node, bytes);
    }
    let Ok(Some(value)) = pages.value(entry.key) else {
        panic!("a value is missing")
    };
    let node = Node::leaf(
        entry.key,
        &value_hash(&value),
        Element::decode(&value).unwrap().sum(),
    );
    let key = [&[entry.key.len() as u8], entry.key].concat();
    let bytes = match shown[0] {
        0 => None,
        1 => {
            let sum = hidden(&node)[33..].to_vec();
            Some([vec![0], key, value_hash(&value).0.to_vec(), sum].concat())
        }
        _ => Some([vec![1], key, vec![value.len() as u8], value].concat()),
    };
    (node, bytes)
}

/// Every query of one range whose bounds are at, between and beyond the keys, in every combination of the
/// rest.
fn every_query() -> Vec<Query> {
    let bounds = [
        &b""[..],
        b"b",
        b"b\0",
        b"bb",
        b"d",
        b"d\0",
        b"dd",
        b"f",
        b"f\0",
        b"ff",
    ];
    let mut queries = Vec::new();
    for (index, start) in bounds.iter().enumerate() {
        for end in bounds[index + 1..]
            .iter()
            .map(|end| Some(end.to_vec()))
            .chain([None])
        {
            let range = Range {
                start: start.to_vec(),
                end,
            };
            queries.push(Query::totals(range.clone()));
            for direction in [Direction::Ascending, Direction::Descending] {
                for offset in [0, 1, 2, 9] {
                    let query = Query::entries([range.clone()])
                        .direction(direction)
                        .offset(offset);
                    queries.extend([query.clone(), query.clone().limit(1), query.limit(2)]);
                }
            }
        }
    }
    queries.extend([
        Query::keys(["a", "b"]),
        Query::keys(["b", "cc", "f"]),
        Query::keys(["bb", "bc", "e", "z"]),
    ]);
    queries
}

/// All that a prover can choose without breaking a hash: what to show and what to leave out. For every tree
/// of up to four keys, every such choice and every query, only the honest choice is accepted.
#[test]
fn a_proof_that_shows_too_much_or_too_little_is_refused() {
    let queries = every_query();
    for len in 1..=4usize {
        let keys = ["b", "d", "f", "g"];
        let element = |n: usize| Element::SumItem(n as i64 - 1);
        let model: Model = (0..len)
            .map(|n| (keys[n].as_bytes().to_vec(), element(n)))
            .collect();
        let forest = forest_of(&model);
        let choices: Vec<Vec<u8>> = (0..3usize.pow(len as u32))
            .map(|choice| {
                made_up(
                    &forest,
                    &(0..len)
                        .map(|n| (choice / 3usize.pow(n as u32) % 3) as u8)
                        .collect::<Vec<_>>(),
                )
            })
            .collect();
        for query in &queries {
            let honest = prove(&forest, query).unwrap();
            assert_eq!(
                choices.iter().filter(|made_up| **made_up == honest).count(),
                1,
                "{query:?}"
            );
            for made_up in &choices {
                match verify(made_up, &forest.root(), query) {
                    Ok(proven) => {
                        assert_eq!((made_up, proven), (&honest, answer(&model, query)), "{query:?}")
                    }
                    Err(_) => assert_ne!(*made_up, honest, "{query:?}"),
                }
            }
        }
    }
}

fn malformed(bytes: &[u8]) -> Fault {
    match verify(bytes, &Hash([0; 32]), &Query::all()) {
        Err(Error::Malformed(Malformed { what, .. })) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn hostile_bytes_are_refused_at_once() {
    let hidden = [[0; 32].as_slice(), &[1, 0]].concat();
    assert_eq!(malformed(&[]), Fault::Truncated);
    assert_eq!(malformed(&[2, 0]), Fault::Unknown, "another version");
    assert_eq!(malformed(&[1, 9]), Fault::Unknown, "no such token");
    assert_eq!(malformed(&[1, 0x40 | 32]), Fault::Bounds, "a level too high");
    assert_eq!(
        malformed(&[1, 0x40, 0x41]),
        Fault::Bounds,
        "a level above the one before"
    );
    assert_eq!(malformed(&[1, 0xff, 0xff, 0xff, 0xff, 0xff]), Fault::Bounds);
    assert_eq!(
        malformed(&[&[1, 3][..], &[0; 34]].concat()),
        Fault::Bounds,
        "a node that counts nothing"
    );
    assert_eq!(
        malformed(&[1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
        Fault::Truncated
    );
    assert_eq!(malformed(&[1, 1, 0, 1, 99]), Fault::Unknown, "no such element");
    assert_eq!(
        malformed(&[1, 0x40, 1, 1, 7, 1, 0, 1, 1, 7, 1, 0]),
        Fault::Order,
        "one key twice"
    );
    assert_eq!(
        malformed(&[vec![1], vec![0x40; 1 << 20]].concat()),
        Fault::Bounds,
        "too deep"
    );
    let deep: Vec<u8> = (0..1 << 12)
        .flat_map(|_| [&[0xc0][..], &hidden].concat())
        .collect();
    assert_eq!(
        malformed(&[&[1][..], &deep].concat()),
        Fault::Bounds,
        "too deep, with siblings"
    );

    let huge = [
        &[0; 32][..],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0],
    ]
    .concat();
    let sum = [&[1, 0xc0][..], &huge, &[0, 0], &[0; 33]].concat();
    assert!(
        matches!(
            verify(&sum, &Hash([0; 32]), &Query::all()),
            Err(Error::Totals { .. })
        ),
        "a count that overflows"
    );
    let long = vec![0x40; PROOF_LEN_MAX + 1];
    assert_eq!(
        verify(&long, &Hash([0; 32]), &Query::all()),
        Err(Error::TooLong { len: long.len() })
    );
}

/// A holder whose element says more than its subtree holds is caught, even with a root hash that binds the
/// lie.
#[test]
fn an_element_that_disagrees_with_its_subtree_is_refused() {
    let (forest, _) = nested();
    let query = Query::totals(Range::all()).at(["ann"]);
    let users = forest.elements(&[b"users"]).unwrap().clone();
    for (sum, honest) in [(2, true), (3, false)] {
        let Element::SumTree { root, .. } = users[&b"ann"[..]] else {
            panic!("a sum tree")
        };
        let value = Element::SumTree { root, sum }.encode();
        let top = Node::leaf(b"ann", &value_hash(&value), sum);
        let inner = prove(&forest, &query.clone().at(["users", "ann"])).unwrap();
        let totals = &inner[inner.len() - 35..];
        assert_eq!(totals[0], 3, "the subtree, unseen");
        let proof = [&[1, 1, 3][..], b"ann", &[value.len() as u8], &value, totals].concat();
        let outcome = verify(&proof, &Node::root(Some(&top)), &query);
        assert_eq!(outcome.is_ok(), honest, "{outcome:?}");
        assert!(honest || matches!(outcome, Err(Error::Totals { .. })));
    }
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
        model in model::model(40), asked in model::query(), proven in model::query(),
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
    fn a_proof_of_another_tree_is_refused(a in model::model(20), b in model::model(20), query in model::query()) {
        prop_assume!(a != b);
        let (forest, other) = (forest_of(&a), forest_of(&b));
        let proof = prove(&forest, &query).unwrap();
        prop_assert!(verify(&proof, &other.root(), &query).is_err());
    }

    #[test]
    fn noise_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), query in model::query()) {
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
