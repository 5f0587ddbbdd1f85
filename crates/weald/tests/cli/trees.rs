//! Trees, their proofs, and what differs between two of them, from the command line.

use std::fs;

use serde_json::json;

use crate::program::{Answer, Place, feed, noise, program};

/// A bank with accounts, a log and a reference.
fn bank() -> Place {
    let place = Place::new();
    place.ok(&["tree", "put", "/accounts", "--sum-tree"]);
    for (name, cents) in [
        ("ada", "120000"),
        ("bob", "-3500"),
        ("cleo", "78000"),
        ("dan", "400"),
    ] {
        place.ok(&["tree", "put", &format!("/accounts/{name}"), "--sum", cents]);
    }
    place.ok(&["tree", "put", "/log/2026/monday", "all is well", "--parents"]);
    place.ok(&["tree", "put", "/best", "--reference", "/accounts/ada"]);
    place
}

fn root(place: &Place) -> String {
    place.text(&["tree", "root"]).trim_end().to_owned()
}

/// Checks a proof where there is no database.
fn verify(proof: &[u8], args: &[&str]) -> Answer {
    let mut command = program();
    command.args(["tree", "verify"]).args(args);
    feed(command, proof)
}

#[test]
fn elements_of_every_kind_are_put_and_got() {
    let place = bank();
    assert_eq!(place.text(&["tree", "get", "/accounts/bob"]), "-3500\n");
    assert_eq!(place.text(&["tree", "get", "/log/2026/monday"]), "all is well");
    assert_eq!(place.text(&["tree", "get", "/best"]), "/accounts/ada\n");
    assert_eq!(place.text(&["tree", "get", "/best", "--follow"]), "120000\n");
    let shown = place.text(&["tree", "get", "/accounts"]);
    assert!(shown.ends_with("\t194900\n"), "{shown}");
    assert_eq!(
        place.json(&["tree", "get", "/accounts/bob", "--json"]),
        [json!({"path": "/accounts/bob", "kind": "sum-item", "value": -3500})]
    );
    let noise = noise(70_000);
    place.feed_ok(&["tree", "put", "/n\\xff\\/"], &noise);
    assert_eq!(place.ok(&["tree", "get", "/n\\xff\\/"]), noise);
    fs::write(place.path("item"), b"from a file").unwrap();
    place.ok(&["tree", "put", "/\\e", "--file", "item"]);
    assert_eq!(place.text(&["tree", "get", "/\\e"]), "from a file");
    place.ok(&["tree", "put", "/hex", "00ff", "--hex"]);
    assert_eq!(place.ok(&["tree", "get", "/hex"]), [0, 255]);
    assert_eq!(place.text(&["tree", "get", "/hex", "-x"]), "00ff\n");
    assert_eq!(
        place.json(&["tree", "get", "/hex", "--json"])[0]["value"],
        json!({"hex": "00ff"})
    );
    place.ok(&["tree", "put", "/log/last", "--reference", "2026/monday"]);
    assert_eq!(place.text(&["tree", "get", "/log/last", "-L"]), "all is well");
    place.ok(&["tree", "put", "/log/2026/back", "--reference", "../../best"]);
    assert_eq!(place.text(&["tree", "get", "/log/2026/back", "-L"]), "120000\n");
}

#[test]
fn the_root_hash_is_that_of_the_contents() {
    let place = bank();
    let before = root(&place);
    assert_eq!(before.len(), 64);
    let put = place.json(&["tree", "put", "/x", "1", "--json"]);
    assert_eq!(put, [json!({"put": true, "root": root(&place)})]);
    assert_ne!(root(&place), before);
    let deleted = place.json(&["tree", "del", "/x", "--json"]);
    assert_eq!(deleted, [json!({"deleted": true, "root": before})]);
    let accounts = place.json(&["tree", "root", "/accounts", "--json"]);
    assert_eq!(
        (&accounts[0]["kind"], &accounts[0]["sum"]),
        (&json!("sum-tree"), &json!(194_900))
    );
    assert_eq!(
        place.text(&["tree", "root", "/accounts"]).trim_end(),
        accounts[0]["root"].as_str().unwrap()
    );
    // Another place, another order.
    let copy = Place::new();
    copy.ok(&["tree", "put", "/best", "--reference", "/accounts/ada"]);
    copy.ok(&["tree", "put", "/log/2026/monday", "all is well", "-p"]);
    copy.ok(&["tree", "put", "/accounts", "--sum-tree"]);
    for (name, cents) in [
        ("dan", "400"),
        ("cleo", "78000"),
        ("ada", "120000"),
        ("bob", "-3500"),
    ] {
        copy.ok(&["tree", "put", &format!("/accounts/{name}"), "--sum", cents]);
    }
    assert_eq!(root(&copy), before);
}

#[test]
fn trees_are_listed_and_asked() {
    let place = bank();
    let listed = place.text(&["tree", "ls", "/accounts"]);
    assert_eq!(
        listed,
        "/accounts/ada\tsum-item\t120000\n/accounts/bob\tsum-item\t-3500\n\
         /accounts/cleo\tsum-item\t78000\n/accounts/dan\tsum-item\t400\n"
    );
    let all = place.json(&["tree", "ls", "-r", "--json"]);
    let paths: Vec<&str> = all.iter().map(|line| line["path"].as_str().unwrap()).collect();
    assert_eq!(
        paths,
        [
            "/accounts",
            "/accounts/ada",
            "/accounts/bob",
            "/accounts/cleo",
            "/accounts/dan",
            "/best",
            "/log",
            "/log/2026",
            "/log/2026/monday"
        ]
    );
    assert_eq!(
        place.text(&["tree", "query", "--deep", "3"]),
        place.text(&["tree", "ls", "-r"])
    );
    let two = place.text(&[
        "tree",
        "query",
        "/accounts",
        "--reverse",
        "-n",
        "2",
        "--offset",
        "1",
    ]);
    assert_eq!(
        two,
        "/accounts/cleo\tsum-item\t78000\n/accounts/bob\tsum-item\t-3500\n"
    );
    assert_eq!(
        place.text(&[
            "tree",
            "query",
            "/accounts",
            "--totals",
            "--from",
            "b",
            "--to",
            "d"
        ]),
        "2\t74500\n"
    );
    assert_eq!(
        place.json(&["tree", "query", "/accounts", "--rank", "dan", "--json"]),
        [json!({"count": 3, "sum": 194_500})]
    );
    assert_eq!(place.text(&["tree", "query", "/accounts", "-k", "eve"]), "");
    assert!(
        place
            .refused(1, &["tree", "query", "/nowhere"])
            .contains("no subtree /nowhere")
    );
}

#[test]
fn a_long_tree_is_listed_whole() {
    let place = Place::new();
    let db = weald::Database::in_memory().unwrap();
    let store = weald_tree::TreeStore::open(db).unwrap();
    store
        .transact(|tx| {
            for n in 0..2_500u32 {
                tx.put(&[], format!("{n:05}").as_bytes(), weald_tree::Element::SumItem(1))?;
            }
            Ok(())
        })
        .unwrap();
    let mut dump = Vec::new();
    store.database().dump(&mut dump).unwrap();
    place.feed_ok(&["load"], &dump);
    let listed = place.text(&["tree", "ls"]);
    assert_eq!(listed.lines().count(), 2_500);
    assert!(listed.lines().is_sorted());
}

#[test]
fn proofs_are_checked_without_the_database() {
    let place = bank();
    let root = root(&place);
    let asked: [&[&str]; 9] = [
        &["/accounts"],
        &["/accounts", "--from", "b", "--to", "d"],
        &["/accounts", "--key", "bob", "--key", "eve"],
        &["/accounts", "--reverse", "--limit", "1", "--offset", "1"],
        &["/accounts", "--totals"],
        &["/accounts", "--rank", "cleo"],
        &["--deep", "2"],
        &["/log/2026", "--prefix", "mon", "--json"],
        &["--key", "nothing"],
    ];
    for query in asked {
        let expected = place.ok(&[&["tree", "query"], query].concat());
        let made: Vec<&str> = query.iter().copied().filter(|arg| *arg != "--json").collect();
        let proof = place.ok(&[&["tree", "prove"], &made[..]].concat());
        let answer = verify(&proof, &[query, &["--root", &root]].concat());
        assert_eq!(
            (answer.code, &answer.out),
            (Some(0), &expected),
            "{query:?}: {}",
            answer.err
        );
        for at in (0..proof.len()).step_by(7) {
            let mut forged = proof.clone();
            forged[at] ^= 1;
            if at % 35 == 0 {
                let answer = verify(&forged, &[query, &["--root", &root]].concat());
                assert_eq!(
                    (answer.code, answer.out.len()),
                    (Some(1), 0),
                    "{query:?}, byte {at}"
                );
                assert!(
                    answer.err.starts_with("weald: the proof is refused: "),
                    "{}",
                    answer.err
                );
            }
        }
        let other = "00".repeat(32);
        assert_eq!(
            verify(&proof, &[query, &["--root", &other]].concat()).code,
            Some(1)
        );
    }
    // Of another query it proves nothing.
    let proof = place.ok(&["tree", "prove", "/accounts", "--key", "bob"]);
    assert_eq!(
        verify(&proof, &["/accounts", "--key", "ada", "--root", &root]).code,
        Some(1)
    );
    assert_eq!(verify(b"", &["--root", &root]).code, Some(1));
    assert_eq!(verify(&proof, &["--root", "123"]).code, Some(2));
    // That there is no such tree is proven too.
    let proof = place.ok(&["tree", "prove", "/nowhere"]);
    let answer = verify(&proof, &["/nowhere", "--root", &root]);
    assert_eq!(answer.code, Some(1));
    assert!(answer.err.contains("no subtree /nowhere"), "{}", answer.err);
}

#[test]
fn a_proof_goes_to_a_file() {
    let place = bank();
    let told = place.json(&["tree", "prove", "/accounts", "--out", "proof", "--json"]);
    let proof = fs::read(place.path("proof")).unwrap();
    assert_eq!(told, [json!({"bytes": proof.len(), "root": root(&place)})]);
    assert!(
        place
            .refused(1, &["tree", "prove", "--out", "proof"])
            .contains("exists already")
    );
    assert_eq!(fs::read(place.path("proof")).unwrap(), proof);
    let answer = place.text(&[
        "tree",
        "verify",
        "/accounts",
        "--proof",
        "proof",
        "--root",
        &root(&place),
    ]);
    assert_eq!(answer, place.text(&["tree", "ls", "/accounts"]));
    place.ok(&["tree", "prove", "--out", "proof", "--force"]);
    assert_ne!(fs::read(place.path("proof")).unwrap(), proof);
    assert!(place.refused(2, &["tree", "prove", "--json"]).contains("--json"));
    assert!(
        place
            .refused(5, &["tree", "verify", "--proof", "none", "--root", &root(&place)])
            .contains("none")
    );
}

#[test]
fn what_differs_is_listed() {
    let place = bank();
    place.ok(&["backup", "earlier"]);
    let mut command = program();
    command
        .current_dir(place.dir())
        .args(["restore", "earlier", "--db", "old.weald"]);
    assert_eq!(feed(command, b"").code, Some(0));
    assert_eq!(place.text(&["tree", "diff", "old.weald"]), "");
    place.ok(&["tree", "put", "/accounts/bob", "--sum", "1"]);
    place.ok(&["tree", "put", "/accounts/eve", "--sum", "2"]);
    place.ok(&["tree", "drop", "/log"]);
    let answer = place.run(&["tree", "diff", "old.weald"]);
    assert_eq!(answer.code, Some(1));
    let text = String::from_utf8(answer.out).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("-\t/log\ttree\t"), "{text}");
    assert_eq!(
        lines[1..],
        [
            "-\t/accounts/bob\tsum-item\t-3500",
            "+\t/accounts/bob\tsum-item\t1",
            "+\t/accounts/eve\tsum-item\t2"
        ]
    );
}

#[test]
fn subtrees_are_dropped_and_their_space_given_back() {
    let place = bank();
    assert!(
        place
            .refused(1, &["tree", "del", "/log"])
            .contains("'weald tree drop'")
    );
    let dropped = place.json(&["tree", "drop", "/log", "--json"]);
    assert_eq!(
        (&dropped[0]["dropped"], &dropped[0]["reclaimed"]),
        (&json!(true), &json!(0))
    );
    assert!(
        place
            .refused(1, &["tree", "get", "/log/2026/monday"])
            .contains("no subtree /log")
    );
    assert!(
        place
            .refused(1, &["tree", "drop", "/log"])
            .contains("no subtree /log")
    );
    let reclaimed = place.json(&["tree", "drop", "--reclaim", "--json"]);
    assert_eq!(reclaimed[0]["reclaimed"], 2);
    place.ok(&["tree", "put", "/log", "--tree"]);
    assert_eq!(place.text(&["tree", "ls", "/log"]), "");
}

#[test]
fn wrong_requests_say_what_is_wrong() {
    let place = Place::new();
    assert!(place.refused(1, &["tree", "ls"]).contains("no database"));
    place.ok(&["set", "k", "v"]);
    assert!(place.refused(1, &["tree", "ls"]).contains("no trees"));
    assert!(
        place
            .refused(1, &["tree", "put", "/a/b", "v"])
            .contains("no subtree /a")
    );
    place.ok(&["tree", "put", "/a", "v"]);
    for (code, args) in [
        (1, &["tree", "get", "/b"][..]),
        (1, &["tree", "get", "/a/b"]),
        (1, &["tree", "del", "/b"]),
        (1, &["tree", "put", "/a", "--tree"]),
        (1, &["tree", "put", "/a/b", "v", "-p"]),
        (1, &["tree", "drop", "/a"]),
        (1, &["tree", "root", "/a"]),
        (2, &["tree", "get", "/"]),
        (2, &["tree", "put", "/", "v"]),
        (2, &["tree", "query", "--offset", "1", "-k", "a", "-k", "b"]),
        (2, &["tree", "query", "--limit", "0"]),
        (2, &["tree", "query", "--from", "b", "--to", "a"]),
        (2, &["tree", "query", "--deep", "200"]),
        (2, &["tree", "put", &format!("/{}", "k".repeat(5_000)), "v"]),
        (2, &["tree", "put", &"/p".repeat(60), "v", "-p"]),
    ] {
        place.refused(code, args);
    }
    for wrong in [
        &["tree", "get", "a"][..],
        &["tree", "get", "/a/"],
        &["tree", "put", "/a", "v", "--sum", "1"],
    ] {
        assert_eq!(place.run(wrong).code, Some(2), "{wrong:?}");
    }
    place.ok(&["tree", "put", "/loop", "--reference", "loop"]);
    assert!(
        place
            .refused(1, &["tree", "get", "/loop", "-L"])
            .contains("circle")
    );
    assert_eq!(place.text(&["get", "k"]), "v");
}
