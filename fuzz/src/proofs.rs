//! Changed proofs: none but the honest one may pass.

use std::sync::OnceLock;

use weald_proof::{Direction, Element, Forest, Hash, Query, Range, prove, verify};

use crate::input::Input;

/// A tree's root, and queries with their honest proofs.
struct Template {
    root: Hash,
    proven: Vec<(Query, Vec<u8>)>,
}

/// Changes a proof and verifies it: what passes is the honest one.
pub(crate) fn run(data: &[u8]) {
    let template = template();
    let mut input = Input(data);
    let (query, honest) = &template.proven[usize::from(input.byte()) % template.proven.len()];
    let mut proof = match input.byte() % 4 {
        0 => input.0.to_vec(),
        // Another query's proof to begin with.
        1 => template.proven[usize::from(input.byte()) % template.proven.len()]
            .1
            .clone(),
        _ => honest.clone(),
    };
    while !input.is_empty() {
        input.patch(&mut proof);
    }
    if verify(&proof, &template.root, query).is_ok() {
        assert_eq!(
            proof, *honest,
            "for each tree and query exactly one proof is accepted"
        );
    }
    if let Ok(element) = Element::decode(data) {
        assert_eq!(element.encode(), data, "an element has one form only");
    }
}

fn template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let forest = forest();
        let proven = queries().into_iter().map(|query| {
            let proof = prove(&forest, &query).expect("the forest is whole");
            assert!(
                verify(&proof, &forest.root(), &query).is_ok(),
                "an honest proof passes: {query:?}"
            );
            (query, proof)
        });
        Template {
            root: forest.root(),
            proven: proven.collect(),
        }
    })
}

fn forest() -> Forest {
    let mut forest = Forest::new();
    let empty = Forest::new().root();
    let mut put = |path: &[&[u8]], key: &[u8], element: Element| {
        forest.put(path, key, element).expect("the path is there");
    };
    for i in 0..60_u8 {
        put(&[], &[b'k', i], Element::SumItem(i64::from(i) - 20));
    }
    put(&[], b"items", Element::Tree(empty));
    put(&[], b"sums", Element::SumTree { root: empty, sum: 0 });
    for i in 0..20_u8 {
        put(&[b"items"], &[i], Element::Item(vec![i; usize::from(i)]));
        put(&[b"sums"], &[i, i], Element::SumItem(i64::from(i)));
    }
    put(&[b"items"], b"deeper", Element::Tree(empty));
    put(&[b"items", b"deeper"], b"key", Element::Item(b"value".to_vec()));
    forest
}

fn queries() -> Vec<Query> {
    let some = || Query::entries([Range::of(&b"k\x05"[..]..&b"k\x0f"[..])]);
    vec![
        Query::key(b"k\x07"),
        Query::key(b"absent"),
        Query::all(),
        some(),
        some().direction(Direction::Descending).limit(3),
        some().offset(2).limit(2),
        Query::keys([&b"a"[..], b"items", b"k\x01", b"z"]),
        Query::totals(Range::all()),
        Query::rank(b"k\x10"),
        Query::all().at([b"items"]),
        Query::totals(Range::all()).at([b"sums"]),
        Query::key(b"key").at([&b"items"[..], b"deeper"]),
        Query::key(b"items").below(Query::all()),
    ]
}
