//! Nodes that come, go, are replaced, or have an old disk, and layouts that change.

use std::collections::{BTreeMap, BTreeSet};

use weald_cluster_proto::{
    Bug, CopyId, Error, Event, Found, LayoutChange, Level, NodeId, Phase, Reply, Request, Start,
};
use weald_sim::{Machine, World};

use crate::town::{SECOND, Town, bytes};

#[test]
fn an_old_copy_of_a_disk_does_not_vote() {
    for (bugs, lost) in [(&[][..], false), (&[Bug::OldCopyVotes][..], true)] {
        let mut town = Town::new(3, bugs);
        let copy = town.world.machines[&NodeId(2)].disk.clone();
        town.wait(4 * SECOND);
        town.cut(&[3], &[1, 2]);
        town.put(1, "k", Some("v")).unwrap();
        town.world.crash(NodeId(2));
        town.join_up();
        town.cut(&[1], &[2, 3]);
        town.world.machines.get_mut(&NodeId(2)).unwrap().disk = copy;
        town.world.start(NodeId(2));
        town.wait(5 * SECOND);
        // Two that never had it must not say together that it isn't there.
        assert_eq!(town.value(3, "k") == Ok(None), lost);
        if !lost {
            town.join_up();
            let whole = |world: &World| {
                let layout = world
                    .newest_layout()
                    .filter(|layout| layout.phase == Phase::Stable);
                layout.is_some_and(|layout| {
                    layout.version > 1 && layout.current.members[&NodeId(2)].copy != CopyId(1)
                })
            };
            town.wait_for("it is taken in again, with a new copy", whole);
            assert_eq!(town.value(3, "k"), Ok(Some(bytes("v"))));
        }
    }
}

#[test]
fn a_coordinator_with_an_old_layout_is_refused() {
    for (bugs, stale) in [(&[][..], false), (&[Bug::AnyLayout][..], true)] {
        let mut town = Town::new(3, bugs);
        town.cut(&[3], &[1, 2, 4]);
        town.world
            .add(NodeId(4), Start::Join(vec![1u64.to_le_bytes().as_slice().into()]));
        town.wait_for("node 4 is in", |world| {
            world
                .newest_layout()
                .is_some_and(|layout| layout.version == 4 && layout.phase == Phase::Stable)
        });
        let change = LayoutChange::Members {
            join: BTreeMap::new(),
            leave: vec![NodeId(3)],
        };
        town.ask(1, Request::ChangeLayout(change));
        town.wait_for("node 3 is out", |world| {
            world
                .newest_layout()
                .is_some_and(|layout| layout.version == 7 && layout.phase == Phase::Stable)
        });
        town.wait(SECOND);
        town.cut(&[2], &[1, 4]);
        let keys: Vec<String> = (0..20).map(|number| format!("k{number}")).collect();
        for key in &keys {
            town.put(1, key, Some("v")).unwrap();
        }
        // Node 3 believes that it is an owner, as node 2 is, which has missed the writes. It asks one other for each key, whichever, and soon hears of its mistake: some of many are asked of node 2.
        town.world.network.blocked.remove(&(NodeId(3), NodeId(2)));
        town.world.network.blocked.remove(&(NodeId(2), NodeId(3)));
        let request = Request::Get {
            keys: keys.iter().map(|key| bytes(key)).collect(),
            read: Level::Cluster,
        };
        let Reply::Values(found) = town.ask(3, request) else {
            panic!("no values")
        };
        let is_gone = |found: &Result<Found, Error>| found.as_ref().is_ok_and(|found| found.value.is_none());
        assert_eq!(found.iter().any(is_gone), stale, "{found:?}");
    }
}

#[test]
fn a_new_owner_has_everything_before_it_is_asked() {
    let mut town = Town::new(3, &[]);
    for number in 0..50 {
        town.put(1, &format!("k{number}"), Some("v")).unwrap();
    }
    town.world
        .add(NodeId(4), Start::Join(vec![2u64.to_le_bytes().as_slice().into()]));
    let mut asked = 0;
    for round in 0..600 {
        town.wait(10_000);
        let layout = town.world.newest_layout().unwrap();
        let serving = town.world.machines[&NodeId(4)]
            .node
            .as_ref()
            .is_some_and(weald_cluster_proto::Node::is_serving);
        if serving {
            asked += 1;
            assert_eq!(
                town.value(4, &format!("k{}", round % 50)),
                Ok(Some(bytes("v"))),
                "{:?}",
                layout.phase
            );
        }
    }
    assert!(asked > 100);
    let layout = town.world.newest_layout().unwrap();
    assert_eq!((layout.phase, layout.current.members.len()), (Phase::Stable, 4));
}

/// What a node of an earlier build lets pass: who owns something new asks how far it is settled.
const OF_LATER_BUILDS: [u8; 1] = [48];

#[test]
fn nodes_of_two_builds_work_together() {
    let mut town = Town::new(3, &[]);
    let old = NodeId(3);
    town.world
        .unknown_kinds
        .insert(old, BTreeSet::from(OF_LATER_BUILDS));
    town.put(1, "k", Some("v")).unwrap();
    town.world
        .add(NodeId(4), Start::Join(vec![1u64.to_le_bytes().as_slice().into()]));
    town.wait_for("4 is in", |world| {
        let layout = world.newest_layout().expect("there is one");
        (layout.version, layout.phase) == (4, Phase::Stable)
    });
    town.wait(SECOND);
    for node in 1..=4 {
        town.put(node, "k", Some("w")).unwrap();
        assert_eq!(town.value(node, "k"), Ok(Some(bytes("w"))));
    }
    let node = town.world.machines[&old].node.as_ref().unwrap();
    assert!(node.stats().messages_unknown > 0, "it was asked");
    let missed = |(_, _, event): &(u64, NodeId, Event)| *event == Event::Suspected(old);
    assert!(!town.world.events.iter().any(missed), "it was there all the time");
}

#[test]
fn a_change_that_older_nodes_cannot_answer_for_waits_and_holds_up_nothing_else() {
    let mut town = Town::new(3, &[]);
    for old in 1..=3 {
        let kinds = BTreeSet::from(OF_LATER_BUILDS);
        town.world.unknown_kinds.insert(NodeId(old), kinds);
    }
    town.world
        .add(NodeId(4), Start::Join(vec![1u64.to_le_bytes().as_slice().into()]));
    town.wait(8 * SECOND);
    assert_eq!(town.world.newest_layout().unwrap().phase, Phase::Moving);
    for node in 1..=4 {
        town.put(node, "k", Some("v")).unwrap();
        assert_eq!(town.value(node, "k"), Ok(Some(bytes("v"))));
    }
    town.world.unknown_kinds.remove(&NodeId(2));
    town.wait_for("one of the later build is enough", |world| {
        world
            .newest_layout()
            .is_some_and(|layout| layout.phase == Phase::Stable && layout.version == 4)
    });
    assert_eq!(town.value(4, "k"), Ok(Some(bytes("v"))));
}

#[test]
fn a_founder_alone_grows_to_as_many_as_there_are_to_be_replicas() {
    let mut town = Town::new(1, &[]);
    let few = Err(Error::NotEnough {
        needed: 2,
        answered: 1,
        refused: 0,
    });
    assert_eq!(town.put(1, "early", Some("v")), few);
    let request = Request::Put {
        items: vec![(bytes("k"), Some(bytes("v")))],
        ttl_ms: None,
        write: Level::Eventual,
        durable: true,
    };
    assert!(matches!(town.ask(1, request), Reply::Written(results) if results[0].is_ok()));
    for (node, members) in [(2, 2), (3, 3)] {
        town.world.add(
            NodeId(node),
            Start::Join(vec![1u64.to_le_bytes().as_slice().into()]),
        );
        town.wait_for("it is taken in", |world| {
            let layout = world
                .newest_layout()
                .filter(|layout| layout.phase == Phase::Stable);
            layout.is_some_and(|layout| layout.current.members.len() == members)
        });
        town.wait(SECOND);
        town.put(node, "k2", Some("w")).unwrap();
        assert_eq!(town.value(node, "k"), Ok(Some(bytes("v"))));
    }
}

const MOVES: [&str; 5] = ["Join", "Layout", "CaughtUp", "Pull", "Pulled"];

#[test]
fn the_story_of_a_node_that_is_replaced() {
    let mut town = Town::new(3, &[]);
    town.put(1, "k", Some("v")).unwrap();
    town.tell();
    town.world
        .add(NodeId(4), Start::Join(vec![1u64.to_le_bytes().as_slice().into()]));
    let stable = |version: u64| {
        move |world: &World| {
            let has = |machine: &Machine| {
                let layout = machine.node.as_ref().and_then(|node| node.layout());
                layout.is_some_and(|layout| (layout.version, layout.phase) == (version, Phase::Stable))
            };
            world.machines.values().all(has)
        }
    };
    town.wait_for("4 is in", stable(4));
    println!(
        "{}",
        town.story(&["Join", "LayoutInstalled", "Layout", "CaughtUp", "Pull", "Pulled"])
    );
    town.tell();
    let change = LayoutChange::Members {
        join: BTreeMap::new(),
        leave: vec![NodeId(3)],
    };
    town.ask(1, Request::ChangeLayout(change));
    town.wait_for("3 is out", stable(7));
    let story = town.story(&MOVES);
    let has = |line: &str| story.lines().any(|told| told == line);
    assert!(
        has("1 -> 3: Pull") && has("3 -> 1: Pulled"),
        "it gives what it had: {story}"
    );
    assert!(
        !has("3 -> 1: Pull") && !has("3 -> 2: Pull"),
        "it gains nothing: {story}"
    );
    town.world.crash(NodeId(3));
    for node in [1, 2, 4] {
        assert_eq!(town.value(node, "k"), Ok(Some(bytes("v"))));
    }
}

#[test]
fn a_node_that_one_cannot_reach_but_others_can_is_not_suspected() {
    for (reached, suspected) in [(true, false), (false, true)] {
        let mut town = Town::new(4, &[]);
        let others: &[u64] = if reached { &[1] } else { &[1, 2, 4] };
        town.cut(others, &[3]);
        town.world.transcript = Some(Vec::new());
        town.wait(10 * SECOND);
        let is =
            |(_, at, event): &(u64, NodeId, Event)| (*at, event) == (NodeId(1), &Event::Suspected(NodeId(3)));
        assert_eq!(town.world.events.iter().any(is), suspected);
        let lines = town.world.transcript.take().unwrap();
        assert!(
            lines
                .iter()
                .any(|line| line.contains("1 -> ") && line.ends_with(": PingRequest"))
        );
    }
}
