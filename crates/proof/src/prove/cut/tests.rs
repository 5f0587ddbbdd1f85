use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::hash::Hash;
use crate::node::Node;
use crate::prove::page::height;

/// The entries of ascending keys.
fn entries(keys: &[Vec<u8>]) -> Vec<PageEntry<'_>> {
    let node = Node {
        hash: Hash([0; 32]),
        count: 1,
        sum: 0,
    };
    keys.iter()
        .map(|key| PageEntry {
            key,
            height: height(key),
            node,
        })
        .collect()
}

fn random(n: u64) -> Vec<u8> {
    blake3::hash(&n.to_le_bytes()).as_bytes().to_vec()
}

/// Keys that an adversary might choose for the rule's sake, by name.
fn families(len: u64) -> Vec<(&'static str, Vec<Vec<u8>>)> {
    vec![
        ("counting", (0..len).map(|i| i.to_be_bytes().to_vec()).collect()),
        ("ever longer", (0..len).map(|i| vec![b'a'; i as usize]).collect()),
        (
            "ever shorter",
            (0..len)
                .map(|i| [vec![0; (len - i) as usize], vec![1]].concat())
                .collect(),
        ),
        (
            "powers of two",
            (0..len)
                .map(|i| [vec![0; 64 - i as usize % 64], vec![1 + (i / 64) as u8]].concat())
                .collect(),
        ),
        ("random", (0..len).map(random).collect()),
    ]
}

fn sorted(mut keys: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    keys.sort();
    keys.dedup();
    keys
}

fn distances(cuts: &[usize], len: usize) -> impl Iterator<Item = usize> {
    cuts.iter()
        .zip(cuts[1..].iter().chain([&len]).copied().collect::<Vec<_>>())
        .map(|(a, b)| b - a)
}

#[test]
fn pages_of_a_long_run_have_8_to_27_entries_whatever_the_keys() {
    for (name, keys) in families(1000) {
        let keys = sorted(keys);
        let run = entries(&keys);
        for len in (65..140).chain([run.len()]) {
            let cuts = thinned(&run[..len]);
            assert_eq!(cuts[0], 0);
            assert!(
                distances(&cuts, len).all(|distance| (8..=27).contains(&distance)),
                "{name}, {len}"
            );
        }
    }
}

#[test]
fn no_page_is_longer_than_64_and_most_are_near_16() {
    let keys = sorted((0..100_000).map(random).collect());
    let entries = entries(&keys);
    let cuts = cuts(0, &entries);
    assert!(distances(&cuts, entries.len()).all(|distance| distance <= PAGE_LEN_MAX));
    let mean = entries.len() / cuts.len();
    assert!((12..=17).contains(&mean), "{mean}");
}

#[test]
fn every_second_or_third_key_is_kept() {
    for (name, keys) in families(200) {
        let run = sorted(keys);
        let keys: Vec<&[u8]> = run.iter().map(|key| &key[..]).collect();
        for len in 2..keys.len() {
            assert!(
                distances(&thin(&keys[..len]), len).all(|d| d == 2 || d == 3),
                "{name}, {len}"
            );
        }
    }
}

proptest! {
    #[test]
    fn a_change_is_felt_nearby_only(family in 0usize..5, at in 250usize..650, insert: bool, seed: u8) {
        let mut run = sorted(families(900).swap_remove(family).1);
        prop_assume!(at < run.len().saturating_sub(220));
        let before: Vec<Vec<u8>> = thinned(&entries(&run)).into_iter().map(|cut| run[cut].clone()).collect();
        let key = run[at].clone();
        if insert {
            run.insert(at + 1, [&key[..], &[0, seed]].concat());
            prop_assume!(run.is_sorted_by(|a, b| a < b));
        } else {
            run.remove(at);
        }
        let near = run[at - FELT_BEFORE].clone()..=run[at + FELT_AFTER].clone();
        let far = |keys: Vec<Vec<u8>>| -> Vec<Vec<u8>> { keys.into_iter().filter(|key| !near.contains(key)).collect() };
        let after = thinned(&entries(&run)).into_iter().map(|cut| run[cut].clone()).collect();
        prop_assert_eq!(far(before), far(after));
    }
}
