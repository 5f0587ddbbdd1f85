//! Roots and pages are those of the specification, told by a second implementation of it.

use proptest::prelude::*;
use weald_proof::{Element, Forest, MemoryPages, Pages, Trees, height};

use crate::golden;
use crate::model::{Model, forest_of};
use crate::random;
use crate::specified::{self, Entry, Held, item, join, leaf, reference, root, subtree, sum_item};

fn hex(hash: [u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn held(model: &Model) -> Vec<Held> {
    let each = model.iter().map(|(key, element)| match element {
        Element::Item(bytes) => item(key, bytes),
        Element::SumItem(number) => sum_item(key, *number),
        other => panic!("{other:?} is in no model"),
    });
    each.collect()
}

/// The entries of every level, as the crate has them.
fn levels(pages: &MemoryPages) -> Vec<Vec<Entry>> {
    let Ok(top) = pages.top_level();
    let levels = 0..top.map_or(0, |top| top + 1);
    levels.map(|level| entries(pages, level)).collect()
}

fn entries(pages: &MemoryPages, level: u8) -> Vec<Entry> {
    let mut entries = Vec::new();
    let Ok(mut next) = pages.after(level, None);
    while let Some(page) = next {
        entries.extend(page.entries().enumerate().map(|(index, entry)| Entry {
            key: entry.key.to_vec(),
            height: entry.height,
            node: specified::Node {
                hash: entry.node.hash.0,
                count: entry.node.count,
                sum: entry.node.sum,
            },
            begins: index == 0,
        }));
        let Ok(after) = pages.after(level, Some(page.first_key()));
        next = after;
    }
    entries
}

fn check(model: &Model) {
    let forest = forest_of(model);
    let specified = specified::levels(&held(model));
    assert_eq!(levels(forest.tree(&[]).unwrap().unwrap()), specified);
    assert_eq!(forest.root().0, root(specified::topmost(&specified)));
}

#[test]
fn the_document_says_what_its_rules_give() {
    let document = include_str!("../../../../docs/tree.md");
    let says = |name: &str, hash: [u8; 32]| {
        let line = format!("| {name} | `{}` |", hex(hash));
        assert!(document.contains(&line), "docs/tree.md should have\n{line}");
    };
    let prefix = |path: &[(&[u8], u64)]| specified::prefix(path);
    says("prefix of the empty path", prefix(&[]));
    says("prefix of `a`", prefix(&[(b"a", 0)]));
    says("prefix of `a` / `b`", prefix(&[(b"a", 0), (b"b", 0)]));
    says("prefix of `ab`", prefix(&[(b"ab", 0)]));
    says("prefix of an empty segment", prefix(&[(b"", 0)]));
    says(
        "prefix of `a` / `b`, the `a` of generation 1",
        prefix(&[(b"a", 1), (b"b", 0)]),
    );
    let (a, b) = (sum_item(b"a", -5), item(b"b", b"x"));
    assert_eq!((&a.value[..], &b.value[..]), (&[1, 9][..], &[0, 0x78][..]));
    let node = join(3, leaf(&a), leaf(&b));
    says("value `01 09`, a sum item of -5", specified::value_hash(&a.value));
    says("leaf of key `a` and that value", leaf(&a).hash);
    says("leaf of key `b` and value `00 78`, the item `x`", leaf(&b).hash);
    says("node of level 3 over both", node.hash);
    says("root over that node, count 2, sum -5", root(Some(node)));
    says("root of the empty tree", root(None));
    says("root of the forest of the golden proofs", golden_root());
    let high: Vec<(u8, u8)> = (0..40u8)
        .map(|n| (n, specified::height(&[n])))
        .filter(|(_, height)| *height > 0)
        .collect();
    assert_eq!(high, [(6, 1), (9, 2), (10, 1)]);
}

fn golden_root() -> [u8; 32] {
    let accounts: Vec<Held> = (0..500)
        .map(|n| sum_item(format!("account-{n:03}").as_bytes(), n * n - 100 * n))
        .collect();
    let log: Vec<Held> = (0..300)
        .map(|n| item(format!("{n:04}").as_bytes(), format!("line {n}").as_bytes()))
        .collect();
    let top = [
        subtree(b"accounts", 3, &specified::levels(&accounts)),
        subtree(b"empty", 2, &[]),
        reference(b"latest", None, &[b"log", b"0299"]),
        subtree(b"log", 4, &specified::levels(&log)),
        item(b"motto", b"slow and steady"),
    ];
    root(specified::topmost(&specified::levels(&top)))
}

#[test]
fn the_golden_forest_has_the_root_that_the_specification_gives() {
    assert_eq!(golden::forest().root().0, golden_root());
    assert_eq!(Forest::new().root().0, root(None));
}

/// Keys of some heights, from numbers.
type Family<'k> = (&'static str, fn(u8) -> bool, &'k dyn Fn(u32) -> Vec<u8>);

/// Runs that have to be thinned, on more than one level, are the part of the shape that chance does not reach.
#[test]
fn long_runs_are_cut_as_the_specification_says() {
    let number = |n: u32| n.to_be_bytes().to_vec();
    let text = |n: u32| format!("user/{n}/name").into_bytes();
    let families: [Family<'_>; 4] = [
        ("never high", |height| height == 0, &number),
        ("never high, of several lengths", |height| height == 0, &text),
        ("high, but never higher", |height| height == 1, &number),
        ("as they come", |_| true, &text),
    ];
    for (name, heights, key) in families {
        for len in [63, 64, 65, 66, 130, 1200] {
            let keys = (0..).map(key).filter(|key| heights(height(key))).take(len);
            let model: Model = keys.map(|key| (key, Element::SumItem(3))).collect();
            assert_eq!(model.len(), len, "{name}");
            check(&model);
        }
    }
}

proptest! {
    #[test]
    fn a_tree_is_what_the_specification_says(model in random::model(200)) {
        check(&model);
    }
}
