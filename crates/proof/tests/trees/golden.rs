//! Proofs of earlier builds stay readable, and hashes stay what they are.
//!
//! Each file in `golden/` holds what one query gave when it was made: root hash, proof and answer. They are
//! never changed: a proof format of another version gets files of its own beside them. `WEALD_GOLDEN=write`
//! adds files that are missing.

use std::fs;
use std::path::Path;

use weald_proof::{
    Direction, Element, Forest, Hash, Node, Query, Range, Reference, height, prefix, prove, value_hash,
    verify,
};

pub(crate) fn forest() -> Forest {
    let mut forest = Forest::new();
    let (root, sum, count) = (Hash([0; 32]), 0, 0);
    forest
        .put(&[], b"accounts", Element::SumTree { root, sum })
        .unwrap();
    forest
        .put(&[], b"log", Element::CountTree { root, count })
        .unwrap();
    forest.put(&[], b"empty", Element::Tree(root)).unwrap();
    forest
        .put(&[], b"motto", Element::Item(b"slow and steady".to_vec()))
        .unwrap();
    let latest = Reference::Absolute(vec![b"log".to_vec(), b"0299".to_vec()]);
    forest.put(&[], b"latest", Element::Reference(latest)).unwrap();
    let account = |n: i64| {
        (
            format!("account-{n:03}").into_bytes(),
            Some(Element::SumItem(n * n - 100 * n)),
        )
    };
    forest
        .apply(&[b"accounts"], (0..500).map(account).collect())
        .unwrap();
    let line = |n: i64| {
        (
            format!("{n:04}").into_bytes(),
            Some(Element::Item(format!("line {n}").into_bytes())),
        )
    };
    forest.apply(&[b"log"], (0..300).map(line).collect()).unwrap();
    forest
}

fn queries() -> [(&'static str, Query); 10] {
    let bracket = Range::of(&b"account-100"[..]..=b"account-299");
    [
        ("present", Query::key(b"motto")),
        ("absent", Query::key(b"moth")),
        ("reference", Query::key(b"latest")),
        (
            "keys",
            Query::keys(["account-007", "account-0070", "account-499", "b"]).at(["accounts"]),
        ),
        (
            "range",
            Query::entries([bracket.clone()]).at(["accounts"]).limit(5),
        ),
        (
            "last",
            Query::all()
                .at(["log"])
                .direction(Direction::Descending)
                .offset(2)
                .limit(3),
        ),
        ("totals", Query::totals(bracket).at(["accounts"])),
        ("rank", Query::rank(b"account-42").at(["accounts"])),
        ("no-subtree", Query::all().at(["log", "0001"])),
        ("below", Query::all().below(Query::totals(Range::all()))),
    ]
}

#[test]
fn proofs_of_version_1_stay_readable() {
    let forest = forest();
    for (name, query) in queries() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/trees/golden/version-1-{name}.txt"));
        if std::env::var("WEALD_GOLDEN").is_ok_and(|wish| wish == "write") && !path.exists() {
            let proof = prove(&forest, &query).unwrap();
            let answer = verify(&proof, &forest.root(), &query).unwrap();
            let hex: String = proof.iter().map(|byte| format!("{byte:02x}")).collect();
            fs::write(&path, format!("{}\n{hex}\n{answer:#?}\n", forest.root())).unwrap();
        }
        let golden = fs::read_to_string(&path).unwrap();
        let (root, rest) = golden.split_once('\n').unwrap();
        let (hex, answer) = rest.split_once('\n').unwrap();
        let root = Hash::from_hex(root).unwrap();
        let proof: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
            .collect();

        assert_eq!(
            format!("{:#?}\n", verify(&proof, &root, &query).unwrap()),
            answer,
            "{name}"
        );
        assert_eq!(root, forest.root(), "{name}: the same contents have another root");
        assert_eq!(
            proof,
            prove(&forest, &query).unwrap(),
            "{name}: the same query has another proof"
        );
    }
}

/// The vectors of `docs/tree.md`.
#[test]
fn hashes_are_those_of_the_specification() {
    let vectors = include_str!("../../../../docs/tree.md");
    let check = |name: &str, hash: Hash| {
        let line = format!("| {name} | `{hash}` |");
        assert!(vectors.contains(&line), "docs/tree.md should have\n{line}");
    };
    let segments = |path: &[&'static [u8]]| path.iter().map(|segment| (*segment, 0)).collect::<Vec<_>>();
    check("prefix of the empty path", prefix([]));
    check("prefix of `a`", prefix(segments(&[b"a"])));
    check("prefix of `a` / `b`", prefix(segments(&[b"a", b"b"])));
    check("prefix of `ab`", prefix(segments(&[b"ab"])));
    check("prefix of an empty segment", prefix(segments(&[b""])));
    check(
        "prefix of `a` / `b`, the `a` of generation 1",
        prefix([(&b"a"[..], 1), (b"b", 0)]),
    );

    let value = Element::SumItem(-5).encode();
    let left = Node::leaf(b"a", &value_hash(&value), -5);
    let right = Node::leaf(b"b", &value_hash(&Element::Item(b"x".to_vec()).encode()), 0);
    let join = Node::join(3, &left, &right).unwrap();
    check("value `01 09`, a sum item of -5", value_hash(&value));
    check("leaf of key `a` and that value", left.hash);
    check("leaf of key `b` and value `00 78`, the item `x`", right.hash);
    check("node of level 3 over both", join.hash);
    check("root over that node, count 2, sum -5", Node::root(Some(&join)));
    check("root of the empty tree", Node::root(None));
    check("root of the forest of the golden proofs", forest().root());

    let high: Vec<(u8, u8)> = (0..40)
        .map(|n| (n, height(&[n])))
        .filter(|(_, height)| *height > 0)
        .collect();
    assert_eq!(high, [(6, 1), (9, 2), (10, 1)]);
}
