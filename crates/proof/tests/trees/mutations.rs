//! Forgeries: what is made of honest proofs, or in their place, and must be refused.
//!
//! Each function tries all forgeries of one kind and returns the first that passes. The tests of `forged` expect none; the
//! crate's canary leaves out one check of the verifier after another and expects some.

// Named, because this is part of unit tests too, of a crate without `std`.
use std::string::String;
use std::vec::Vec;
use std::{format, vec};

use weald_proof::{
    Direction, Element, Error, Fault, Forest, Hash, Malformed, Node, PROOF_LEN_MAX, Page, Pages, Query,
    Range, Trees, prove, value_hash, verify,
};

use super::model::{Model, answer, forest_of};

/// A proof short enough to try every change.
pub(crate) struct Case {
    forest: Forest,
    query: Query,
    proof: Vec<u8>,
}

impl Case {
    /// What to say of bytes that pass though they are not the proof.
    fn passes(&self, bytes: &[u8]) -> Option<String> {
        let passes = bytes != self.proof && verify(bytes, &self.forest.root(), &self.query).is_ok();
        passes.then(|| format!("{:?} accepts {bytes:?}", self.query))
    }
}

pub(crate) fn small() -> Model {
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

fn cases() -> Vec<Case> {
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
        Case { forest, query, proof }
    })
    .collect()
}

pub(crate) fn flipped_bits() -> Option<String> {
    cases().iter().find_map(|case| {
        (0..case.proof.len() * 8).find_map(|bit| {
            let mut forged = case.proof.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            case.passes(&forged)
        })
    })
}

pub(crate) fn cut_or_longer() -> Option<String> {
    cases().iter().find_map(|case| {
        let proof = &case.proof;
        let forged = |at: usize| {
            [
                proof[..at].to_vec(),
                [&proof[..at], &proof[at + 1..]].concat(),
                [&proof[..at], &[0], &proof[at..]].concat(),
                [&proof[..at], &proof[at..], &proof[at..]].concat(),
            ]
        };
        let longer = [
            [&proof[..], &[0]].concat(),
            [&proof[..], proof].concat(),
            [&proof[..], &proof[1..]].concat(),
        ];
        let mut all = (0..proof.len()).flat_map(forged).chain(longer);
        all.find_map(|forged| case.passes(&forged))
    })
}

/// Any byte may be a number of one byte: then this is the same number in two.
pub(crate) fn stretched_numbers() -> Option<String> {
    cases().iter().find_map(|case| {
        let proof = &case.proof;
        let mut forged =
            (0..proof.len()).map(|at| [&proof[..at], &[proof[at] | 0x80, 0], &proof[at + 1..]].concat());
        forged.find_map(|forged| case.passes(&forged))
    })
}

pub(crate) fn rearranged() -> Option<String> {
    cases().iter().find_map(|case| {
        let proof = &case.proof;
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
                    let passes = case.passes(&swapped.concat());
                    if passes.is_some() {
                        return passes;
                    }
                }
            }
        }
        None
    })
}

pub(crate) fn of_another() -> Option<String> {
    let cases = cases();
    for case in &cases {
        for other in cases.iter().map(|other| &other.proof) {
            let short = case.proof.len().min(other.len());
            let mixed = (0..short).map(|at| [&case.proof[..at], &other[at..]].concat());
            let passes = mixed
                .chain([other.clone()])
                .find_map(|forged| case.passes(&forged));
            if passes.is_some() {
                return passes;
            }
        }
        let other_root = Node::root(Some(&Node {
            hash: case.forest.root(),
            count: 1,
            sum: 0,
        }));
        let outcome = verify(&case.proof, &other_root, &case.query);
        if !matches!(outcome, Err(Error::Root { .. })) {
            return Some(format!("{:?} under another root: {outcome:?}", case.query));
        }
    }
    None
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
    page: &Page,
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
pub(crate) fn wrongly_shown() -> Option<String> {
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
                let shown = (0..len).map(|n| (choice / 3usize.pow(n as u32) % 3) as u8);
                made_up(&forest, &shown.collect::<Vec<_>>())
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
                let right = match verify(made_up, &forest.root(), query) {
                    Ok(proven) => (made_up, proven) == (&honest, answer(&model, query)),
                    Err(_) => *made_up != honest,
                };
                if !right {
                    return Some(format!("{query:?} accepts {made_up:?}, or not {honest:?}"));
                }
            }
        }
    }
    None
}

/// Bytes that no prover would write, and how they are refused: before anything is done in vain.
pub(crate) fn hostile_bytes() -> Option<String> {
    let hidden = [[0; 32].as_slice(), &[1, 0]].concat();
    let deep: Vec<u8> = (0..1 << 12)
        .flat_map(|_| [&[0xc0][..], &hidden].concat())
        .collect();
    let unending = [1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    let malformed: [(&str, Vec<u8>, Fault); 12] = [
        ("nothing", vec![], Fault::Truncated),
        ("another version", vec![2, 0], Fault::Unknown),
        ("no such token", vec![1, 9], Fault::Unknown),
        ("a level too high", vec![1, 0x40 | 32], Fault::Bounds),
        ("a level above the one before", vec![1, 0x40, 0x41], Fault::Bounds),
        (
            "levels too high",
            vec![1, 0xff, 0xff, 0xff, 0xff, 0xff],
            Fault::Bounds,
        ),
        (
            "a node that counts nothing",
            [&[1, 3][..], &[0; 34]].concat(),
            Fault::Bounds,
        ),
        ("a key that does not end", unending.to_vec(), Fault::Truncated),
        ("no such element", vec![1, 1, 0, 1, 99], Fault::Unknown),
        (
            "one key twice",
            vec![1, 0x40, 1, 1, 7, 1, 0, 1, 1, 7, 1, 0],
            Fault::Order,
        ),
        ("too deep", [vec![1], vec![0x40; 1 << 20]].concat(), Fault::Bounds),
        (
            "too deep, with siblings",
            [&[1][..], &deep].concat(),
            Fault::Bounds,
        ),
    ];
    for (name, bytes, fault) in malformed {
        match verify(&bytes, &Hash([0; 32]), &Query::all()) {
            Err(Error::Malformed(Malformed { what, .. })) if what == fault => {}
            outcome => return Some(format!("{name}: {outcome:?}")),
        }
    }
    let huge = [&[0; 32][..], &[0xff; 9], &[1, 0]].concat();
    let sum = [&[1, 0xc0][..], &huge, &[0, 0], &[0; 33]].concat();
    match verify(&sum, &Hash([0; 32]), &Query::all()) {
        Err(Error::Totals { .. }) => {}
        outcome => return Some(format!("a count that overflows: {outcome:?}")),
    }
    let long = vec![0x40; PROOF_LEN_MAX + 1];
    match verify(&long, &Hash([0; 32]), &Query::all()) {
        Err(Error::TooLong { len }) if len == long.len() => None,
        outcome => Some(format!("too long: {outcome:?}")),
    }
}

/// A holder whose element says more than its subtree holds is caught, even with a root hash that binds the
/// lie.
pub(crate) fn disagreeing_elements() -> Option<String> {
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
        match verify(&proof, &Node::root(Some(&top)), &query) {
            Ok(_) if honest => {}
            Err(Error::Totals { .. }) if !honest => {}
            outcome => return Some(format!("a sum of {sum}: {outcome:?}")),
        }
    }
    None
}
