//! Trees and queries by chance.

use proptest::prelude::*;
use weald_proof::{Ask, Direction, Element, Query, Range, Select};

use crate::model::Model;

/// A pseudo-random 32-byte key.
pub(crate) fn random_key(n: u64) -> Vec<u8> {
    blake3::hash(&n.to_le_bytes()).as_bytes().to_vec()
}

/// Short keys of few bytes, so that they meet, follow and prefix each other.
pub(crate) fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(b'm'), Just(255)], 0..4),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ]
}

pub(crate) fn element() -> impl Strategy<Value = Element> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Element::Item),
        any::<i64>().prop_map(Element::SumItem),
    ]
}

pub(crate) fn model(len: usize) -> impl Strategy<Value = Model> {
    proptest::collection::btree_map(key(), element(), 0..len)
}

pub(crate) fn range() -> impl Strategy<Value = Range> {
    (key(), proptest::option::of(key())).prop_map(|(a, b)| match b {
        Some(b) if a == b => Range::key(&a),
        Some(b) => Range {
            start: a.clone().min(b.clone()),
            end: Some(a.max(b)),
        },
        None => Range { start: a, end: None },
    })
}

fn limit() -> impl Strategy<Value = Option<u64>> {
    proptest::option::of(prop_oneof![3 => 1u64..6, 1 => 1u64..100])
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Ascending), Just(Direction::Descending)]
}

/// Queries that can be answered, of a single tree.
pub(crate) fn query() -> impl Strategy<Value = Query> {
    let one = (
        range(),
        direction(),
        prop_oneof![Just(0u64), 0u64..5, 0u64..100],
        limit(),
    );
    let some = (proptest::collection::vec(range(), 1..5), direction(), limit());
    prop_oneof![
        1 => range().prop_map(Query::totals),
        2 => key().prop_map(|key| Query::key(&key)),
        2 => proptest::collection::vec(key(), 1..6).prop_map(Query::keys),
        4 => one.prop_map(|(range, direction, offset, limit)| {
            let ask = Select { ranges: vec![range], direction, offset, limit, below: None };
            Query { path: vec![], ask: Ask::Entries(ask) }
        }),
        4 => some.prop_map(|(mut ranges, direction, limit)| {
            ranges.sort_by(|a, b| a.start.cmp(&b.start));
            let mut apart: Vec<Range> = Vec::new();
            for range in ranges {
                if apart.last().is_none_or(|last| last.end.as_ref().is_some_and(|end| *end <= range.start)) {
                    apart.push(range);
                }
            }
            let ask = Select { ranges: apart, direction, offset: 0, limit, below: None };
            Query { path: vec![], ask: Ask::Entries(ask) }
        }),
    ]
}
