//! Reads and writes: quorums, versions, and what is refused.

use std::collections::BTreeSet;

use weald_cluster_proto::{Bug, Bytes, ClientToken, Config, Error, Level, NodeId, Reply, Request, Version};
use weald_sim::{Machine, tune};

use crate::town::{SECOND, Town, bytes};

#[test]
fn a_write_and_a_read_ask_each_owner_once() {
    let mut town = Town::new(3, &[]);
    town.world.transcript = Some(Vec::new());
    town.put(1, "k", Some("v")).unwrap();
    assert_eq!(town.value(2, "k"), Ok(Some(bytes("v"))));
    let lines = town.world.transcript.take().unwrap();
    let data = ["Write", "Read"];
    let mut story: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.trim_start().split_once(' '))
        .map(|(_, what)| what)
        .filter(|what| data.iter().any(|word| what.contains(word)))
        .collect();
    story[..4].sort_unstable();
    let expected = [
        "1 -> 2: Write",
        "1 -> 3: Write",
        "2 -> 1: WriteDone",
        "3 -> 1: WriteDone",
    ];
    assert_eq!(story[..4], expected, "{story:?}");
    // Two of three are asked: itself and one other.
    assert_eq!(story.len(), 6, "{story:?}");
    assert!(story[4].starts_with("2 -> ") && story[4].ends_with(": Read"));
    assert!(story[5].ends_with("-> 2: ReadDone"));
}

#[test]
fn two_of_three_dead_refuses_and_says_how_many_answered() {
    let mut town = Town::new(3, &[]);
    town.world.crash(NodeId(2));
    town.world.crash(NodeId(3));
    town.wait(10 * SECOND);
    let needs_two = Error::NotEnough {
        needed: 2,
        answered: 1,
        refused: 0,
    };
    assert_eq!(town.put(1, "k", Some("v")), Err(needs_two));
    assert_eq!(town.get(1, "k"), Err(needs_two));
    let mut town = Town::new(3, &[Bug::ShrinkingQuorum]);
    town.world.crash(NodeId(2));
    town.world.crash(NodeId(3));
    town.wait(10 * SECOND);
    assert!(town.put(1, "k", Some("v")).is_ok(), "the bug would show");
}

#[test]
fn what_a_reader_saw_stays() {
    for (bugs, stays) in [(&[][..], true), (&[Bug::NoReadRepair, Bug::NoRepair][..], false)] {
        let mut town = Town::new(3, bugs);
        // The write reaches its coordinator only, and fails.
        town.cut(&[1], &[2, 3]);
        assert!(town.put(1, "k", Some("v")).is_err());
        town.join_up();
        town.cut(&[3], &[1, 2]);
        // Comparisons may spread it before; either way it must not vanish again.
        assert_eq!(town.value(1, "k"), Ok(Some(bytes("v"))));
        town.join_up();
        town.cut(&[1], &[2, 3]);
        let again = town.value(2, "k");
        assert_eq!(again == Ok(Some(bytes("v"))), stays, "{again:?}");
    }
}

#[test]
fn a_scan_finds_every_key_in_order_through_any_node() {
    let mut town = Town::new(5, &[]);
    let names: Vec<String> = (0..40).map(|number| format!("k{number:02}")).collect();
    for name in &names {
        town.put(1, name, Some("v")).unwrap();
    }
    town.put(2, "k07", None).unwrap();
    for node in 1..=5 {
        let (mut start, mut found) = (bytes(""), Vec::new());
        loop {
            let request = Request::Scan {
                start,
                end: Some(bytes("k35")),
                limit: 9,
                read: Level::Cluster,
            };
            let Reply::Page { entries, next } = town.ask(node, request) else {
                panic!("no page")
            };
            found.extend(entries.into_iter().map(|(key, _)| key));
            match next {
                Some(next) => start = next,
                None => break,
            }
        }
        let expected: Vec<Bytes> = names
            .iter()
            .filter(|name| *name != "k07" && name.as_str() < "k35")
            .map(|name| bytes(name))
            .collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn what_many_write_at_once_is_all_acknowledged_and_written_again_once_at_most() {
    let mut town = Town::new(5, &[]);
    (town.world.network.delay_us, town.world.network.jitter_us) = (1_000, 30_000);
    let writes = 120;
    let mut waiting = BTreeSet::new();
    for number in 0..writes {
        town.tokens += 1;
        let request = Request::Put {
            items: vec![(bytes("k"), Some(bytes(&format!("v{number}"))))],
            ttl_ms: None,
            write: Level::Cluster,
            durable: true,
        };
        assert!(
            town.world
                .request(NodeId(1 + number % 5), ClientToken(town.tokens), request)
        );
        waiting.insert(ClientToken(town.tokens));
        town.wait(500);
    }
    let mut greatest = Version::ZERO;
    town.wait(2 * SECOND);
    for (_, token, reply) in std::mem::take(&mut town.world.replies) {
        let Reply::Written(results) = reply else {
            panic!("{reply:?}")
        };
        assert!(waiting.remove(&token));
        greatest = greatest.max(results[0].expect("it is acknowledged, whoever else writes"));
    }
    assert!(waiting.is_empty(), "{waiting:?}");
    let nodes = || {
        town.world
            .machines
            .values()
            .filter_map(|machine| machine.node.as_ref())
    };
    let overtaken: u64 = nodes().map(|node| node.stats().overtaken).sum();
    assert!((1..=writes).contains(&overtaken), "{overtaken}");
    for node in 1..=5 {
        assert_eq!(town.get(node, "k").unwrap().version, Some(greatest));
    }
}

#[test]
fn a_write_by_a_slow_clock_is_later_than_what_was_acknowledged_before() {
    for (bugs, stays) in [(&[][..], true), (&[Bug::OvertakenIsDone][..], false)] {
        let mut town = Town::new(3, bugs);
        town.world.machines.get_mut(&NodeId(1)).unwrap().skew_ms = 140;
        // Node 2 hears of the first write by nobody but node 3, which must not tell in passing either.
        town.cut(&[2], &[1, 3]);
        let first = town.put(1, "k", Some("first")).unwrap();
        town.join_up();
        town.cut(&[1], &[2]);
        let second = town.put(2, "k", Some("second")).unwrap();
        assert_eq!(second > first, stays);
        let expected = if stays { "second" } else { "first" };
        assert_eq!(town.value(3, "k"), Ok(Some(bytes(expected))));
    }
}

#[test]
fn a_quorum_greater_than_the_replicas_is_refused() {
    let mut town = Town::new(3, &[]);
    let keys = vec![bytes("k")];
    let read = Level::Count(4);
    assert_eq!(
        town.ask(1, Request::Get { keys, read }),
        Reply::Failed(Error::Invalid("the quorum"))
    );
}

#[test]
fn every_node_waits_for_the_same_quorum_owner_or_not() {
    for (bugs, fewer) in [(&[][..], false), (&[Bug::WaitForFewer][..], true)] {
        let mut town = Town::new(5, bugs);
        let [first, second, _] = town.owners("k");
        town.world.crash(NodeId(first));
        town.world.crash(NodeId(second));
        town.wait(6 * SECOND);
        let needs_two = Error::NotEnough {
            needed: 2,
            answered: 1,
            refused: 0,
        };
        for node in (1..=5).filter(|node| ![first, second].contains(node)) {
            let (put, got) = (town.put(node, "k", Some("v")), town.get(node, "k"));
            if fewer {
                assert!(put.is_ok() && got.is_ok(), "node {node}");
            } else {
                assert_eq!((put, got), (Err(needs_two), Err(needs_two)), "node {node}");
            }
        }
    }
}

#[test]
fn without_faults_each_key_has_as_many_copies_as_there_are_to_be() {
    // Nothing is repaired, and no more than one owner is waited for: the writes alone bring it about.
    let mut town = Town::new(5, &[Bug::NoRepair]);
    let put = |town: &mut Town, key: &str| {
        let request = Request::Put {
            items: vec![(bytes(key), Some(bytes("v")))],
            ttl_ms: None,
            write: Level::Eventual,
            durable: true,
        };
        let reply = town.ask(1, request);
        assert!(matches!(reply, Reply::Written(results) if results[0].is_ok()));
    };
    let copies = |town: &Town, key: &str| -> Vec<u64> {
        let has = |machine: &Machine| machine.disk.durable.keys().any(|(_, held)| *held == bytes(key));
        let machines = town.world.machines.iter();
        machines
            .filter(|(_, machine)| has(machine))
            .map(|(id, _)| id.0)
            .collect()
    };
    for number in 0..100 {
        put(&mut town, &format!("k{number}"));
    }
    town.wait(SECOND);
    for number in 0..100 {
        let key = format!("k{number}");
        let mut owners = town.owners(&key);
        owners.sort_unstable();
        assert_eq!(copies(&town, &key), owners, "{key}");
    }
    // An owner that is away at the time would show.
    let [away, ..] = town.owners("late");
    town.cut(&[away], &[1, 2, 3, 4, 5]);
    put(&mut town, "late");
    town.wait(SECOND);
    assert!(!copies(&town, "late").contains(&away) || away == 1);
}

#[test]
fn many_keys_take_one_round_and_one_message_to_each_node() {
    let mut town = Town::new(5, &[]);
    let keys: Vec<Bytes> = (0..40).map(|number| bytes(&format!("k{number}"))).collect();
    let count = |town: &mut Town, kind: &str, node: u64| {
        let lines = town.world.transcript.as_ref().expect("it is told");
        let line = format!("{node}: {kind}");
        lines.iter().filter(|told| told.ends_with(&line)).count()
    };
    town.world.transcript = Some(Vec::new());
    let request = Request::Put {
        items: keys.iter().map(|key| (key.clone(), Some(bytes("v")))).collect(),
        ttl_ms: None,
        write: Level::Cluster,
        durable: true,
    };
    assert!(matches!(town.ask(1, request), Reply::Written(results) if results.iter().all(Result::is_ok)));
    for node in 2..=5 {
        assert_eq!(count(&mut town, "Write", node), 1, "node {node}");
    }
    town.world.transcript = Some(Vec::new());
    let read = Level::Cluster;
    let Reply::Values(found) = town.ask(2, Request::Get { keys, read }) else {
        panic!("no values")
    };
    assert!(
        found
            .iter()
            .all(|found| found.as_ref().unwrap().value == Some(bytes("v")))
    );
    for node in [1, 3, 4, 5] {
        // What is wanted whole, and what only the version of is wanted; both at once.
        assert!((1..=2).contains(&count(&mut town, "Read", node)), "node {node}");
    }
}

#[test]
fn a_node_with_too_much_to_do_says_so_and_does_nothing_of_it() {
    fn tight(config: &mut Config) {
        tune(config);
        config.requests_max = 3;
    }
    let mut town = Town::tuned(3, 3, &[], tight);
    let put = |town: &mut Town, number: u64| {
        let request = Request::Put {
            items: vec![(bytes(&format!("k{number}")), Some(bytes("v")))],
            ttl_ms: None,
            write: Level::Strong,
            durable: true,
        };
        assert!(town.world.request(NodeId(1), ClientToken(1000 + number), request));
    };
    (0..8).for_each(|number| put(&mut town, number));
    town.wait(SECOND);
    let mut refused = Vec::new();
    for (_, token, reply) in std::mem::take(&mut town.world.replies) {
        match reply {
            Reply::Written(results) => assert!(results[0].is_ok()),
            Reply::Failed(Error::Overloaded) => refused.push(token.0 - 1000),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refused, [3, 4, 5, 6, 7]);
    for number in refused {
        assert_eq!(town.value(2, &format!("k{number}")), Ok(None));
    }
}

#[test]
fn a_replica_with_too_much_to_do_is_asked_again() {
    fn tight(config: &mut Config) {
        tune(config);
        config.peer_requests_max = 6;
    }
    let mut town = Town::tuned(3, 3, &[], tight);
    for number in 0..30 {
        let request = Request::Put {
            items: vec![(bytes(&format!("k{number}")), Some(bytes("v")))],
            ttl_ms: None,
            write: Level::Strong,
            durable: true,
        };
        assert!(
            town.world
                .request(NodeId(1 + number % 3), ClientToken(1000 + number), request)
        );
    }
    town.wait(3 * SECOND);
    let replies = std::mem::take(&mut town.world.replies);
    assert_eq!(replies.len(), 30);
    for (_, _, reply) in replies {
        assert!(
            matches!(&reply, Reply::Written(results) if results[0].is_ok()),
            "{reply:?}"
        );
    }
    let nodes = town
        .world
        .machines
        .values()
        .filter_map(|machine| machine.node.as_ref());
    assert!(nodes.map(|node| node.stats().refused).sum::<u64>() > 0);
}
