//! Nodes that come and go while keys are read and written.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::failures::{Load, check_all};
use super::host::{Town, until, weald};

/// The status of the cluster, as a node's command line has it.
fn status(node: &str) -> Value {
    let out = weald()
        .args(["cluster", "status", "--json", "--node", node])
        .output()
        .expect("the program runs");
    assert!(out.status.success(), "{out:?}");
    serde_json::from_slice(&out.stdout).expect("JSON")
}

/// The row of a node.
fn row(status: &Value, number: &str) -> Value {
    let rows = status["members"].as_array().expect("rows");
    let mut rows = rows.iter().filter(|row| row["node"] == number);
    rows.next().expect("it is listed").clone()
}

/// Says that it is over, whatever happened.
struct Ends<'d>(&'d AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Reads all of these keys by each of these nodes again and again while something happens, and says how many reads that were. None may fail.
fn while_read(nodes: &[usize], keys: &[String], town: &mut Town, happens: impl FnOnce(&mut Town)) -> usize {
    let done = AtomicBool::new(false);
    let mut clients: Vec<_> = nodes.iter().map(|at| town.client(*at)).collect();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !done.load(Ordering::SeqCst) {
                for client in &mut clients {
                    check_all(client, keys);
                    reads += keys.len();
                }
            }
            reads
        });
        {
            let _ends = Ends(&done);
            happens(town);
        }
        let reads = reader.join().expect("every key was there");
        assert!(reads > 0);
        reads
    })
}

#[test]
fn nodes_join_and_leave_while_keys_are_read() {
    let mut town = Town::of(3);
    let load = Load::on(&town, &[0, 1, 2], "before");
    load.wait_for(500);
    let mut keys = load.end();
    town.told(&format!("{} writes", keys.len()));

    let load = Load::on(&town, &[0, 1, 2], "join");
    let reads = while_read(&[0, 1, 2], &keys, &mut town, |town| {
        town.add();
        town.wait_for_members(4);
    });
    keys.extend(load.end());
    check_all(&mut town.client(3), &keys);
    town.told(&format!(
        "a fourth joined: {} acknowledged writes, all there by the fourth too; {reads} reads meanwhile, none failed",
        keys.len()
    ));

    // The founder goes, by the command line, and is stopped.
    let load = Load::on(&town, &[1, 2, 3], "leave");
    let node = format!("127.0.0.1:{}", town.hosts[0].port);
    let reads = while_read(&[1, 2, 3], &keys, &mut town, |town| {
        let left = weald()
            .args(["cluster", "leave", "--node", &node])
            .output()
            .expect("the program runs");
        assert!(left.status.success(), "{left:?}");
        town.hosts[0].signal("TERM");
        town.wait_for_members(3);
    });
    keys.extend(load.end());
    for at in 1..4 {
        check_all(&mut town.client(at), &keys);
    }
    town.told(&format!(
        "the founder left, and was stopped: {} acknowledged writes, none lost; {reads} reads meanwhile, none failed",
        keys.len()
    ));
    town.wait_for_equal_copies(&[1, 2, 3], &keys);
    town.told("each key is on three nodes again");

    // A node that left stays out when it is started again, and answers for the others' keys once it is asked to come back.
    town.restart(0);
    let mut client = town.client(0);
    until("the node that left to hear of the others", || {
        client.text("CLUSTER INFO").contains("cluster_known_nodes:4")
    });
    let joined = weald()
        .args(["cluster", "join", "--node", &node])
        .output()
        .expect("the program runs");
    assert!(joined.status.success(), "{joined:?}");
    town.wait_for_members(4);
    check_all(&mut town.client(0), &keys);
    town.told("it came back");
}

#[test]
fn a_dead_node_is_replaced_by_one_that_takes_its_place_in_one_move() {
    let mut town = Town::of(3);
    let run = |town: &Town, args: &[&str]| {
        let node = format!("127.0.0.1:{}", town.hosts[0].port);
        let args = ["cluster"].iter().chain(args);
        let out = weald().args(args).args(["--node", &node]).output();
        let out = out.expect("the program runs");
        let text = [out.stdout, out.stderr].concat();
        (out.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    let node = format!("127.0.0.1:{}", town.hosts[0].port);
    let numbers: Vec<String> = (0..3)
        .map(|at| town.client(at).text("CLUSTER MYID")[24..].to_owned())
        .collect();

    // A spare node: it was let go, and runs on.
    town.add();
    town.wait_for_members(4);
    let spare = town.client(3).text("CLUSTER MYID")[24..].to_owned();
    let (code, text) = run(&town, &["leave", &spare]);
    assert_eq!(code, Some(0), "{text}");
    town.wait_for_members(3);
    // Weight and zone are those that are said; a place keeps what isn't.
    let (code, text) = run(&town, &["join", &numbers[2], "--zone", "7"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = run(&town, &["join", &numbers[2], "--weight", "3"]);
    assert_eq!(code, Some(0), "{text}");
    let third = row(&status(&node), &numbers[2]);
    assert_eq!(
        (&third["weight"], &third["zone"]),
        (&3.into(), &7.into()),
        "{third}"
    );
    town.told("a spare node, and a place of its own weight and zone");

    let load = Load::on(&town, &[0, 1], "replace");
    load.wait_for(300);
    town.hosts[2].signal("KILL");
    let before = status(&node)["layout"].as_u64().expect("a version");
    let (code, text) = run(&town, &["replace", &numbers[2], &spare]);
    assert_eq!(code, Some(0), "{text}");
    load.wait_for(100);
    let keys = load.end();
    let after = status(&node);
    assert_eq!(after["layout"].as_u64(), Some(before + 3), "one move: {after}");
    let place = row(&after, &spare);
    assert_eq!(
        (&place["weight"], &place["zone"]),
        (&3.into(), &7.into()),
        "{place}"
    );
    assert_eq!(place["member"], "yes");
    town.wait_for_members(3);
    for at in [0, 1, 3] {
        check_all(&mut town.client(at), &keys);
    }
    town.wait_for_equal_copies(&[0, 1, 3], &keys);
    town.told(&format!(
        "replaced: {} acknowledged writes meanwhile, none lost",
        keys.len()
    ));

    // What makes no sense is refused, and changes nothing.
    for args in [
        &["replace", &spare, &spare][..],
        &["replace", "12", "34"],
        &["replace", &numbers[0], "34"],
        &["join", &spare],
    ] {
        let (code, text) = run(&town, args);
        assert_eq!(code, Some(1), "{args:?}: {text}");
    }
    for line in [
        "CLUSTER JOIN WEIGHT 0",
        "CLUSTER JOIN ZONE",
        "CLUSTER REPLACE 1 2 3",
    ] {
        let text = town.client(0).text(line);
        assert!(text.starts_with("-ERR"), "{line}: {text}");
    }
    let (code, _) = run(&town, &["join", "--weight", "0"]);
    assert_eq!(code, Some(2), "the command line is wrong");
}
