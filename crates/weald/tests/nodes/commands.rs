//! What clients see, whichever node they ask.

use std::sync::atomic::{AtomicI64, Ordering};

use super::client::{Client, shown};
use super::host::{Town, until, weald};

fn check(client: &mut Client, lines: &[(&str, &str)]) {
    for (line, expected) in lines {
        assert_eq!(client.text(line), *expected, "{line}");
    }
}

#[test]
fn every_node_answers_for_every_key() {
    let mut town = Town::of(3);
    let (mut a, mut b, mut c) = (town.client(0), town.client(1), town.client(2));
    for number in 0..100 {
        let client = [&mut a, &mut b, &mut c]
            .into_iter()
            .nth(number % 3)
            .expect("three");
        assert_eq!(client.text(&format!("SET key:{number} value:{number}")), "OK");
    }
    for number in 0..100 {
        let client = [&mut a, &mut b, &mut c]
            .into_iter()
            .nth((number + 1) % 3)
            .expect("three");
        assert_eq!(
            client.text(&format!("GET key:{number}")),
            format!("value:{number}")
        );
    }
    strings(&mut a, &mut b);
    collections(&mut a, &mut c);
    refusals(&mut b);
    levels(&mut c);
    slow_log(&mut a);
    town.told("commands of every kind");

    pipelines(&mut a);
    counters(&town);
    town.told("pipelines and counters");

    assert_eq!(scanned(&mut b, "key:*").len(), 100);
    assert_eq!(a.text("FLUSHALL"), "OK");
    assert_eq!(b.text("DBSIZE"), "0");
    town.told("scan and flush");
    command_line(&town);
    over_http(&town);
    town.told("weald cluster status and repair, metrics and JSON");
}

#[test]
fn nodes_talk_as_they_are_told_and_keep_what_they_have_where_they_are_told() {
    const WAYS: [&[&str]; 2] = [
        &["--cluster-transport", "udp", "--cluster-hot-bytes", "1mb"],
        &["--cluster-transport", "tls", "--cluster-storage", "memory"],
    ];
    for settings in WAYS {
        let mut town = Town::with(3, settings);
        let (mut a, mut b) = (town.client(0), town.client(1));
        // Longer than any datagram.
        let long = "v".repeat(100_000);
        for (key, value) in [("short", "value"), ("long", &long)] {
            assert_eq!(a.text(&format!("SET {key} {value}")), "OK");
            for _ in 0..2 {
                assert_eq!(b.text(&format!("GET {key}")), value);
            }
        }
        town.hosts[0].signal("KILL");
        assert_eq!(b.text("SET short other"), "OK");
        assert_eq!(town.client(2).text("GET short"), "other");
        town.restart(0);
        until("the killed node's answer", || {
            town.client(0).text("GET short") == "other"
        });
        town.told(&settings.join(" "));
    }
    let refused = weald()
        .args([
            "serve",
            "--cluster-port",
            "1",
            "--cluster-transport",
            "pigeon",
            "--http",
            "no",
        ])
        .arg("--cluster-secret-file")
        .arg(Town::with(0, &[]).dir.path().join("secret"))
        .arg("--dir")
        .arg(tempfile::tempdir().expect("a folder").path())
        .output()
        .expect("the program runs");
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && why.contains("pigeon") && why.contains("udp"),
        "{why}"
    );
}

fn over_http(town: &Town) {
    let get = |path: &str| town.hosts[2].http(path);
    let metrics = get("/metrics");
    assert!(metrics.contains("\nweald_cluster_peers_alive 2\n"), "{metrics}");
    assert!(metrics.contains("\nweald_cluster_requests_total "), "{metrics}");
    let body = get("/api/v1/cluster");
    let status: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let status = &status["result"];
    assert_eq!(status["members"].as_array().map(Vec::len), Some(3), "{body}");
    assert_eq!(
        (&status["serving"], &status["repair"]["rounds"]),
        (&true.into(), &0.into())
    );
    // Keys of the whole cluster, by any node.
    town.client(0).run("SET seen yes");
    assert!(get("/api/v1/keys/seen").contains("\"yes\""));
    assert!(get("/api/v1/keys").contains("\"seen\""));
}

fn strings(a: &mut Client, b: &mut Client) {
    check(
        a,
        &[
            ("GET absent", "nil"),
            ("SET s 1 NX", "OK"),
            ("SET s 2 NX", "nil"),
            ("SET s 3 XX GET", "1"),
            ("SETNX s 4", "0"),
            ("GETSET s 10", "3"),
            ("APPEND s 5", "3"),
            ("INCRBY s 5", "110"),
            ("DECR s", "109"),
            ("INCRBYFLOAT s 0.5", "109.5"),
            ("STRLEN s", "5"),
            ("SET t x EX 100", "OK"),
            ("TTL t", "100"),
            ("PERSIST t", "1"),
            ("TTL t", "-1"),
            ("EXPIRE t 50", "1"),
            ("SETEX u 0 x", "-ERR invalid expire time in 'setex' command"),
            ("MSET m1 a m2 b", "OK"),
            ("MGET m1 absent m2", "[a nil b]"),
            ("EXISTS m1 m1 absent", "2"),
            ("TYPE m1", "string"),
            ("DEL m1 absent", "1"),
            ("INCR m2", "-ERR value is not an integer or out of range"),
            ("SET", "-ERR wrong number of arguments for 'set' command"),
            ("GETDEL t", "x"),
        ],
    );
    check(b, &[("GET s", "109.5"), ("EXISTS t", "0"), ("GET m2", "b")]);
    assert_eq!(a.text("SET brief x PX 300"), "OK");
    super::host::until("the end of its life", || b.text("GET brief") == "nil");
}

fn collections(a: &mut Client, c: &mut Client) {
    check(
        a,
        &[
            ("HSET h f 1 g 2", "2"),
            ("HINCRBY h f 5", "6"),
            ("SADD set x y z", "3"),
            ("SREM set y", "1"),
            ("RPUSH list a b c", "3"),
            ("LPOP list", "a"),
            ("ZADD zset 1 one 2 two", "2"),
            ("SETBIT bits 7 1", "0"),
            (
                "GET h",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
        ],
    );
    check(
        c,
        &[
            ("HMGET h f g", "[6 2]"),
            ("SCARD set", "2"),
            ("LRANGE list 0 -1", "[b c]"),
            ("ZRANGE zset 0 -1", "[one two]"),
            ("BITCOUNT bits", "1"),
            ("TYPE zset", "zset"),
            ("ZUNIONSTORE union 2 zset zset", "2"),
            ("ZSCORE union two", "4"),
            ("DEL h set list zset bits union", "6"),
        ],
    );
}

fn refusals(client: &mut Client) {
    for (line, word) in [
        ("MULTI", "transactions across keys"),
        ("WATCH a", "transactions across keys"),
        ("RENAME a b", "several keys at once"),
        ("MSETNX a 1 b 2", "several keys at once"),
        ("BLPOP list 1", "not for a cluster"),
        ("SUBSCRIBE news", "one node only"),
        ("RANDOMKEY", "not for a cluster"),
        ("CLIENT TRACKING ON", "not for a cluster"),
        ("SELECT 1", "DB index is out of range"),
        ("XADD s * a b", "Weald has no streams yet"),
    ] {
        let text = client.text(line);
        assert!(text.starts_with("-ERR") && text.contains(word), "{line}: {text}");
    }
}

fn levels(client: &mut Client) {
    check(
        client,
        &[
            ("WEALD.CONSISTENCY", "cluster"),
            ("WEALD.CONSISTENCY strong", "OK"),
            ("SET l 1", "OK"),
            ("GET l", "1"),
            ("WEALD.CONSISTENCY 2 1", "OK"),
            ("WEALD.CONSISTENCY", "2/1"),
            ("GET l", "1"),
            ("WEALD.WITH eventual GET l", "1"),
            ("WEALD.WITH 3/3 SET l 2", "OK"),
            (
                "WEALD.WITH 4/1 SET l 3",
                "-ERR the cluster can't do that: the quorum",
            ),
            ("WEALD.CONSISTENCY cluster", "OK"),
            ("GET l", "2"),
        ],
    );
    let wrong = client.text("WEALD.CONSISTENCY weak");
    assert!(wrong.starts_with("-ERR the consistency is"), "{wrong}");
}

/// What took long in the cluster is there once, however often it asked.
fn slow_log(client: &mut Client) {
    check(
        client,
        &[
            ("CONFIG SET slowlog-log-slower-than 0", "OK"),
            ("SLOWLOG RESET", "OK"),
            ("SET slow 1", "OK"),
            ("GET slow", "1"),
            ("INCR slow", "2"),
            ("HSET slow-hash f v", "1"),
            ("DEL slow slow-hash", "2"),
        ],
    );
    let id = client.text("CLUSTER MYID");
    check(client, &[("CONFIG SET slowlog-log-slower-than 1000000", "OK")]);
    let log = client.text("SLOWLOG GET 100");
    for command in [
        "[SET slow 1]",
        "[GET slow]",
        "[INCR slow]",
        "[HSET slow-hash f v]",
        "[DEL slow slow-hash]",
        "[CLUSTER MYID]",
    ] {
        assert_eq!(log.matches(command).count(), 1, "{command} of {id}: {log}");
    }
}

/// Replies come in order, whatever takes longer, and a client sees its own writes.
fn pipelines(client: &mut Client) {
    let mut commands: Vec<Vec<String>> = Vec::new();
    let mut expected = Vec::new();
    let mut add = |line: String, reply: String| {
        commands.push(line.split(' ').map(str::to_owned).collect());
        expected.push(reply);
    };
    for number in 0..200 {
        add(format!("SET p:{} {number}", number % 7), "OK".to_owned());
        add(format!("GET p:{}", number % 7), number.to_string());
        add("INCR p:count".to_owned(), (number + 1).to_string());
        add("PING".to_owned(), "PONG".to_owned());
        add(format!("HSET p:hash f{number} x"), "1".to_owned());
    }
    add("DBSIZE".to_owned(), String::new());
    add("HLEN p:hash".to_owned(), "200".to_owned());
    client.send(&commands).expect("sent");
    for (command, expected) in commands.iter().zip(&expected) {
        let reply = shown(&client.reply().expect("answered"));
        assert!(expected.is_empty() || reply == *expected, "{command:?}: {reply}");
    }
}

/// Every increment that was acknowledged counts once, though all nodes increment the same key; one that nobody knows about once or not at all.
fn counters(town: &Town) {
    let (done, unknown) = (AtomicI64::new(0), AtomicI64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let mut client = town.client(thread % 3);
            let (done, unknown) = (&done, &unknown);
            scope.spawn(move || {
                for _ in 0..50 {
                    let reply = client.run("INCR count");
                    match shown(&reply) {
                        _ if matches!(reply, weald::server::Frame::Integer(_)) => {
                            done.fetch_add(1, Ordering::Relaxed)
                        }
                        said if said.starts_with("-UNKNOWN") => unknown.fetch_add(1, Ordering::Relaxed),
                        said if said.starts_with("-CONTENDED") => 0,
                        said => panic!("{said}"),
                    };
                }
            });
        }
    });
    let (done, unknown) = (done.into_inner(), unknown.into_inner());
    let count: i64 = town.client(1).text("GET count").parse().expect("a number");
    assert!(done >= 290, "{done} of 300, and {unknown} unknown");
    assert!(
        (done..=done + unknown).contains(&count),
        "{count}, {done} done, {unknown} unknown"
    );
}

fn scanned(client: &mut Client, pattern: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut cursor = "0".to_owned();
    loop {
        let weald::server::Frame::Array(parts) =
            client.run(&format!("SCAN {cursor} COUNT 17 MATCH {pattern}"))
        else {
            panic!("no page");
        };
        if let weald::server::Frame::Array(page) = &parts[1] {
            keys.extend(page.iter().map(shown));
        }
        cursor = shown(&parts[0]);
        if cursor == "0" {
            keys.sort_unstable();
            keys.dedup();
            return keys;
        }
    }
}

fn command_line(town: &Town) {
    let node = format!("127.0.0.1:{}", town.hosts[1].port);
    let run = |args: &[&str]| {
        let out = weald().arg("cluster").args(args).args(["--node", &node]).output();
        let out = out.expect("the program runs");
        (
            out.status.code(),
            String::from_utf8_lossy(&out.stdout).into_owned(),
        )
    };
    let (code, text) = run(&["status"]);
    assert_eq!(code, Some(0));
    assert!(
        text.contains("3 replicas, writes wait for 2, reads for 2"),
        "{text}"
    );
    assert_eq!(
        text.lines().filter(|line| line.contains(" yes ")).count(),
        3,
        "{text}"
    );
    let (code, text) = run(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (code, status["members"].as_array().map(Vec::len)),
        (Some(0), Some(3))
    );
    let (code, text) = run(&["layout", "--json"]);
    assert_eq!((code, text.lines().count()), (Some(0), 17), "{text}");
    let (code, text) = run(&["repair"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("read from all of their replicas"), "{text}");
    // Three are needed for three replicas.
    assert_eq!(run(&["leave"]).0, Some(1));
    assert_eq!(run(&["leave", "zz"]).0, Some(1));
    let missing = weald()
        .args(["cluster", "status", "--node", "127.0.0.1:1"])
        .output()
        .expect("the program runs");
    assert_eq!(missing.status.code(), Some(5));
}
