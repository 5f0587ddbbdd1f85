//! The protocol at work, told in words: each test compares what happens with a file in `stories`, which is there to be read. Lines begin with a time in milliseconds; what a node says to itself is not told,
//! nor are probes that are answered, comparisons of replicas that are alike, and other things that come all the time.

use std::collections::BTreeMap;

use weald_cluster_proto::{Expect, LayoutChange, NodeId, Phase, Reply, Request, Start};
use weald_sim::Disk;

use crate::town::{SECOND, Town, bytes};

/// Rounds that settle deletions, and progress that is made all the time.
const ROUNDS: [&str; 3] = ["as old as that", "it is settled", "forget it"];
const USUAL: [&str; 4] = [
    "as old as that",
    "it is settled",
    "forget it",
    "I have everything",
];

fn seeds(node: u64) -> Start {
    Start::Join(vec![node.to_le_bytes().as_slice().into()])
}

fn is_forgotten(town: &mut Town) {
    town.wait_for("the deletion is forgotten", |world| {
        world
            .machines
            .values()
            .all(|machine| machine.disk.durable.is_empty())
    });
}

fn is_stable(town: &mut Town, version: u64) {
    town.wait_for("the layout is there", |world| {
        let has = |node: &weald_cluster_proto::Node| {
            let layout = node.layout();
            layout.is_some_and(|layout| (layout.version, layout.phase) == (version, Phase::Stable))
        };
        world
            .machines
            .values()
            .filter_map(|machine| machine.node.as_ref())
            .all(has)
    });
}

#[test]
fn a_write_and_a_read() {
    let mut town = Town::of_story(3);
    town.say("Every owner is asked to apply a write; two of three are enough.");
    town.put(1, "k", Some("v")).unwrap();
    town.say(
        "A reader asks as many as are needed, and one of them for the value. Node 2 is one of them itself.",
    );
    assert_eq!(town.value(2, "k"), Ok(Some(bytes("v"))));
    town.check_story("a-write-and-a-read", &USUAL);
}

#[test]
fn a_write_by_a_slow_clock() {
    let mut town = Town::of_story(3);
    town.world.machines.get_mut(&NodeId(1)).unwrap().skew_ms = 140;
    town.say("Node 1's clock is ahead, and node 2 hears nothing.");
    town.cut(&[2], &[1, 3]);
    town.put(1, "k", Some("first")).unwrap();
    town.say("Now node 2 hears node 3 only. Its write begins after the first one was acknowledged, but its version is earlier: it is written again.");
    town.join_up();
    town.cut(&[1], &[2]);
    town.put(2, "k", Some("second")).unwrap();
    assert_eq!(town.value(3, "k"), Ok(Some(bytes("second"))));
    town.check_story("a-write-by-a-slow-clock", &USUAL);
}

#[test]
fn what_a_reader_saw() {
    let mut town = Town::of_story(3);
    town.say("Node 1 is alone, and its write fails; but it has it.");
    town.cut(&[1], &[2, 3]);
    assert!(town.put(1, "k", Some("v")).is_err());
    town.say("A reader that finds it leaves it with a majority before it is answered.");
    town.join_up();
    town.cut(&[3], &[1, 2]);
    assert_eq!(town.value(2, "k"), Ok(Some(bytes("v"))));
    town.say("So the next one finds it as well, without node 1.");
    town.join_up();
    town.cut(&[1], &[2, 3]);
    assert_eq!(town.value(3, "k"), Ok(Some(bytes("v"))));
    town.check_story("what-a-reader-saw", &USUAL);
}

#[test]
fn a_node_that_is_away() {
    let mut town = Town::of_story(3);
    town.say("Node 3 is cut off.");
    town.cut(&[3], &[1, 2]);
    town.wait(6 * SECOND);
    town.say("A write reaches two of three; a hint is kept for the third.");
    town.put(1, "k", Some("v")).unwrap();
    town.say("Alone, node 3 acknowledges nothing.");
    assert!(town.put(3, "l", Some("alone")).is_err());
    town.say("It is back.");
    town.join_up();
    town.wait(4 * SECOND);
    town.check_story("a-node-that-is-away", &USUAL);
}

#[test]
fn two_set_a_key_at_once() {
    let mut town = Town::of_story(3);
    town.say("Two want to be the first.");
    let request = |value: &str| Request::CompareAndSet {
        key: bytes("lock"),
        expect: Expect::Absent,
        value: Some(bytes(value)),
        ttl_ms: None,
    };
    let (one, other) = (town.begin(1, request("one")), town.begin(3, request("other")));
    let swapped = |reply: Reply| matches!(reply, Reply::Compared { swapped: true, .. });
    town.wait(SECOND);
    let mut replies: BTreeMap<_, _> = std::mem::take(&mut town.world.replies)
        .into_iter()
        .map(|(_, token, reply)| (token, reply))
        .collect();
    let first = swapped(replies.remove(&one).unwrap());
    let second = swapped(replies.remove(&other).unwrap());
    assert!(first != second);
    town.check_story("two-set-a-key-at-once", &USUAL);
}

#[test]
fn a_node_joins_and_another_leaves() {
    let mut town = Town::of_story(3);
    town.put(1, "k", Some("v")).unwrap();
    town.say("Node 4 asks node 1 to be taken in.");
    town.world.add(NodeId(4), seeds(1));
    is_stable(&mut town, 4);
    town.say("Node 3 is to go.");
    let change = LayoutChange::Members {
        join: BTreeMap::new(),
        leave: vec![NodeId(3)],
    };
    town.ask(1, Request::ChangeLayout(change));
    is_stable(&mut town, 7);
    town.check_story("a-node-joins-and-another-leaves", &ROUNDS);
}

#[test]
fn a_deletion() {
    let mut town = Town::of_story(3);
    town.put(1, "k", Some("v")).unwrap();
    town.say("A deletion is kept like a value,");
    town.put(2, "k", None).unwrap();
    town.say("until all owners have it, and have said that they will take nothing that is as old.");
    is_forgotten(&mut town);
    town.wait(SECOND);
    town.check_story("a-deletion", &["I have everything"]);
}

#[test]
fn a_disk_that_is_swapped() {
    let mut town = Town::of_story(3);
    town.put(1, "k", Some("v")).unwrap();
    town.say("Node 2 comes back with an empty disk: its copy has another name, and owns nothing before it has everything.");
    town.world.crash(NodeId(2));
    town.world.machines.get_mut(&NodeId(2)).unwrap().disk = Disk::default();
    town.world.set_start(NodeId(2), seeds(1));
    town.world.start(NodeId(2));
    is_stable(&mut town, 4);
    assert_eq!(town.value(2, "k"), Ok(Some(bytes("v"))));
    town.check_story("a-disk-that-is-swapped", &ROUNDS);
}
