//! Buckets, trees, and the commands for operators.

use crate::client::{Client, Served, show};

#[test]
fn buckets_lie_within_each_other_in_order() {
    let served = Served::new();
    let mut client = served.client();
    client.check("WEALD.BUCKET PUT users a 1", "-ERR there is no bucket 'users'");
    client.check("WEALD.BUCKET CREATE users/by-name", ":1");
    client.check("WEALD.BUCKET CREATE users/by-name", ":0");
    client.check("WEALD.BUCKET LIST", "[users]");
    client.check("WEALD.BUCKET LIST users", "[by-name]");
    for key in ["b", "a", "c", "ab"] {
        client.check(&format!("WEALD.BUCKET PUT users/by-name {key} {key}{key}"), "+OK");
    }
    client.check("WEALD.BUCKET GET users/by-name b", "bb");
    client.check("WEALD.BUCKET SCAN users/by-name", "[a aa ab abab b bb c cc]");
    client.check("WEALD.BUCKET SCAN users/by-name PREFIX a REV", "[ab abab a aa]");
    client.check(
        "WEALD.BUCKET SCAN users/by-name FROM ab TO c COUNT 1",
        "[ab abab]",
    );
    client.check("WEALD.BUCKET DEL users/by-name a", ":1");
    client.check("WEALD.BUCKET LEN users/by-name", ":3");
    client.check("WEALD.BUCKET DROP users", ":1");
    client.check("WEALD.BUCKET LIST", "[]");
    client.check("DBSIZE", ":0");
}

#[test]
fn trees_prove_what_they_hold() {
    let served = Served::new();
    let mut client = served.client();
    client.check("SET a 1", "+OK");
    client.check("WEALD.TREE CREATE accounts SUM", ":1");
    client.check("WEALD.TREE PUT accounts ada SUM 120", "+OK");
    client.check("WEALD.TREE PUT accounts bob SUM -20", "+OK");
    client.check("WEALD.TREE GET accounts ada", ":120");
    client.check("WEALD.TREE QUERY accounts", "[ada :120 bob :-20]");
    client.check("WEALD.TREE QUERY accounts TOTALS", "[:2 100]");
    client.check(
        "WEALD.TREE QUERY nothing",
        "-ERR there is no tree at 'nothing': its first 0 names lead to one",
    );
    let root = show(&client.run("WEALD.TREE ROOT"));
    assert_eq!(root.len(), 64);
    let proof = show(&client.run("WEALD.TREE PROVE accounts KEY ada"));
    assert!(proof.starts_with(&format!("[{root} ")));
    client.check("WEALD.TREE DEL accounts bob", ":1");
    assert_ne!(show(&client.run("WEALD.TREE ROOT")), root);
    client.check("WEALD.TREE DROP accounts", ":1");
}

#[test]
fn a_durable_write_to_a_tree_is_flushed_before_its_answer() {
    let served = Served::with(&[("durability-interval-ms", "60000")]);
    let mut client = served.client();
    client.check("WEALD.TREE CREATE accounts", ":1");
    // (durability, whether each write is flushed by itself)
    for (durability, flushed) in [("none", false), ("batched", false), ("immediate", true)] {
        client.check(&format!("WEALD.DURABILITY {durability}"), "+OK");
        for (write, answer) in [
            ("WEALD.TREE PUT accounts ada 1", "+OK"),
            ("WEALD.TREE DEL accounts ada", ":1"),
            ("WEALD.TREE CREATE other", ":1"),
            ("WEALD.TREE DROP other", ":1"),
        ] {
            let before = flushes(&mut client);
            client.check(write, answer);
            let more = flushes(&mut client) - before;
            assert_eq!(more > 0, flushed, "{durability}: {write}: {more} flushes");
        }
    }
}

fn flushes(client: &mut Client) -> u64 {
    let info = show(&client.run("INFO weald"));
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("weald_log_flushes:"));
    line.and_then(|count| count.parse().ok()).expect("it is told")
}

#[test]
fn operators_checkpoint_check_and_compact() {
    let served = Served::new();
    let mut client = served.client();
    for i in 0..100 {
        client.check(&format!("SET key:{i} {i}"), "+OK");
    }
    let info = show(&client.run("WEALD.CHECKPOINT"));
    assert!(info.starts_with("[pages :"), "{info}");
    let report = show(&client.run("WEALD.CHECK"));
    assert!(
        report.starts_with("[sound :1 ") && report.ends_with("problems []]"),
        "{report}"
    );
    let sizes = show(&client.run("WEALD.COMPACT"));
    assert!(sizes.starts_with("[before :"), "{sizes}");
    client.check("SAVE", "+OK");
    client.check("DBSIZE", ":100");
}
