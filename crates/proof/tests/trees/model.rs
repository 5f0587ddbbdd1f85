//! A tree as a sorted map, and what it answers: what proofs are compared with.

use std::collections::BTreeMap;
// Named, because this is part of unit tests too, of a crate without `std`.
use std::vec::Vec;

use weald_proof::{Answer, Ask, Direction, Element, Entry, Forest, Query, Range, Select, Totals};

pub(crate) type Model = BTreeMap<Vec<u8>, Element>;

pub(crate) fn forest_of(model: &Model) -> Forest {
    let mut forest = Forest::new();
    forest
        .apply(
            &[],
            model
                .iter()
                .map(|(key, element)| (key.clone(), Some(element.clone())))
                .collect(),
        )
        .unwrap();
    forest
}

pub(crate) fn inside(range: &Range, key: &[u8]) -> bool {
    *range.start <= *key && range.end.as_ref().is_none_or(|end| key < &end[..])
}

/// What a proof of `query` must prove of a single tree.
pub(crate) fn answer(model: &Model, query: &Query) -> Answer {
    match &query.ask {
        Ask::Totals(range) => {
            let inside = model.iter().filter(|(key, _)| inside(range, key));
            Answer::Totals(Totals {
                count: inside.clone().count() as u64,
                sum: inside.map(|(_, element)| element.sum()).sum(),
            })
        }
        Ask::Entries(select) => Answer::Entries(entries(model, select)),
    }
}

fn entries(model: &Model, select: &Select) -> Vec<Entry> {
    let asked = |key: &[u8]| select.ranges.iter().any(|range| inside(range, key));
    let mut entries: Vec<Entry> = model
        .iter()
        .filter(|(key, _)| asked(key))
        .map(|(key, element)| Entry {
            key: key.clone(),
            element: element.clone(),
            below: None,
        })
        .collect();
    if select.direction == Direction::Descending {
        entries.reverse();
    }
    let taken = entries.into_iter().skip(select.offset as usize);
    taken
        .take(select.limit.map_or(usize::MAX, |limit| limit as usize))
        .collect()
}
