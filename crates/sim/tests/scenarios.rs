//! Single stories, step by step: what happens without a bug, and that the bug would show.

use std::collections::{BTreeMap, BTreeSet};

use weald_cluster_proto::{
    Body, Bug, Bytes, ClientToken, CopyId, Entry, Error, Event, Expect, Found, LayoutChange, Level, Message,
    NodeId, Origin, Phase, Quorums, Record, Reply, Request, RequestId, Start, Version, WriteItem,
};
use weald_sim::{Disk, Machine, World, founding, tune};

/// A cluster that one client talks to.
struct Town {
    world: World,
    tokens: u64,
}

const SECOND: u64 = 1_000_000;

impl Town {
    fn new(nodes: u64, bugs: &[Bug]) -> Town {
        let mut world = World::new(1, bugs.to_vec(), tune);
        let layout = founding(1..=nodes, 3, Quorums::balanced(3));
        for id in 1..=nodes {
            world.add(NodeId(id), Start::Found(layout.clone()));
        }
        let mut town = Town { world, tokens: 0 };
        town.wait(2 * SECOND);
        town
    }

    fn wait(&mut self, time_us: u64) {
        self.world.run_until(self.world.time_us + time_us);
    }

    fn ask(&mut self, node: u64, request: Request) -> Reply {
        self.tokens += 1;
        let token = ClientToken(self.tokens);
        assert!(
            self.world.request(NodeId(node), token, request),
            "node {node} is down"
        );
        for _ in 0..1000 {
            self.wait(10_000);
            while let Some((_, to, reply)) = self.world.replies.pop_front() {
                if to == token {
                    return reply;
                }
            }
        }
        panic!("no answer in ten seconds");
    }

    fn put(&mut self, node: u64, key: &str, value: Option<&str>) -> Result<Version, Error> {
        let items = vec![(bytes(key), value.map(bytes))];
        let request = Request::Put {
            items,
            ttl_ms: None,
            write: Level::Cluster,
            durable: true,
        };
        match self.ask(node, request) {
            Reply::Written(mut results) => results.remove(0),
            Reply::Failed(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    fn get(&mut self, node: u64, key: &str) -> Result<Found, Error> {
        let request = Request::Get {
            keys: vec![bytes(key)],
            read: Level::Cluster,
        };
        match self.ask(node, request) {
            Reply::Values(mut results) => results.remove(0),
            Reply::Failed(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    fn value(&mut self, node: u64, key: &str) -> Result<Option<Bytes>, Error> {
        self.get(node, key).map(|found| found.value)
    }

    /// Nothing passes between these two groups.
    fn cut(&mut self, here: &[u64], there: &[u64]) {
        for &a in here {
            for &b in there {
                self.world.network.blocked.insert((NodeId(a), NodeId(b)));
                self.world.network.blocked.insert((NodeId(b), NodeId(a)));
            }
        }
    }

    fn join_up(&mut self) {
        self.world.network.blocked = BTreeSet::new();
    }

    /// Lets time go by until a message of that kind has been sent between these two; it is still on its way then.
    fn wait_for_message(&mut self, from: u64, to: u64, kind: &str) {
        self.world.transcript = Some(Vec::new());
        let line = format!("{from} -> {to}: {kind}");
        for _ in 0..200_000 {
            self.wait(100);
            let lines = self.world.transcript.as_ref().expect("it is written");
            if lines.iter().any(|written| written.ends_with(&line)) {
                self.world.transcript = None;
                return;
            }
        }
        panic!("it was never sent: {line}");
    }

    /// Begins to set a key through its register, and doesn't wait.
    fn begin_set(&mut self, node: u64, key: &str, value: Option<&str>) -> ClientToken {
        self.tokens += 1;
        let token = ClientToken(self.tokens);
        let request = Request::CompareAndSet {
            key: bytes(key),
            expect: Expect::Anything,
            value: value.map(bytes),
            ttl_ms: None,
        };
        assert!(
            self.world.request(NodeId(node), token, request),
            "node {node} is down"
        );
        token
    }

    fn reply(&mut self, token: ClientToken) -> Reply {
        for _ in 0..1000 {
            self.wait(10_000);
            while let Some((_, to, reply)) = self.world.replies.pop_front() {
                if to == token {
                    return reply;
                }
            }
        }
        panic!("no answer in ten seconds");
    }

    /// What a register was set to, as the answer says.
    fn set(&mut self, node: u64, key: &str, value: Option<&str>) -> Found {
        let token = self.begin_set(node, key, value);
        match self.reply(token) {
            Reply::Compared { swapped: true, found } => found,
            other => panic!("{other:?}"),
        }
    }

    fn tell(&mut self) {
        self.world.detail = true;
        self.world.transcript = Some(Vec::new());
    }

    /// What happened since, in a few words, of these kinds only; what is repeated is told once.
    fn story(&mut self, kinds: &[&str]) -> String {
        let lines = self.world.transcript.take().expect("it was told");
        let mut story: Vec<(&str, String)> = Vec::new();
        for line in lines {
            let (_, what) = line.trim_start().split_once(' ').expect("a time first");
            let kind = what.split_once(": ").map_or(what, |(_, body)| body);
            let kind = kind.split([' ', '(']).next().unwrap_or(kind);
            let Some(&kind) = kinds.iter().find(|&&known| known == kind) else {
                continue;
            };
            let who = what.split_once(": ").map_or("", |(who, _)| who);
            let origin = ["Hint", "Reader", "Repair"]
                .into_iter()
                .find(|origin| what.contains(&format!("origin: {origin}")))
                .map_or(String::new(), |origin| format!(" ({origin})"));
            let whom = what
                .split_once(&format!("{kind}(NodeId("))
                .and_then(|(_, rest)| rest.split_once(')'))
                .map_or(String::new(), |(whom, _)| format!(" {whom}"));
            let line = format!("{who}: {kind}{origin}{whom}");
            if !story.iter().any(|(_, told)| *told == line) {
                story.push((kind, line));
            }
        }
        // What happens at the same time is told in order.
        story
            .chunk_by_mut(|(one, _), (other, _)| one == other)
            .for_each(<[_]>::sort_unstable);
        let lines: Vec<String> = story.into_iter().map(|(_, line)| line).collect();
        lines.join("\n")
    }

    fn wait_for(&mut self, what: &str, is: impl Fn(&World) -> bool) {
        for _ in 0..2000 {
            if is(&self.world) {
                return;
            }
            self.wait(20_000);
        }
        panic!("it never happened: {what}");
    }
}

fn bytes(text: &str) -> Bytes {
    text.as_bytes().into()
}

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
fn a_node_that_was_away_gets_what_it_missed() {
    let mut town = Town::new(3, &[]);
    town.cut(&[3], &[1, 2]);
    town.wait(6 * SECOND);
    let version = town.put(1, "k", Some("v")).unwrap();
    town.join_up();
    town.wait_for("the hint is delivered", |world| {
        let disk = &world.machines[&NodeId(3)].disk;
        disk.durable.values().any(|entry| entry.record.version == version)
    });
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
fn what_is_deleted_and_settled_stays_deleted_when_an_old_write_comes_late() {
    for (bugs, back) in [(&[][..], false), (&[Bug::NoMarks][..], true)] {
        let mut town = Town::new(3, bugs);
        let old = town.put(1, "k", Some("v")).unwrap();
        town.put(1, "k", None).unwrap();
        town.wait_for("the deletion is forgotten", |world| {
            world
                .machines
                .values()
                .all(|machine| machine.disk.durable.is_empty())
        });
        let record = Record {
            version: old,
            expires_ms: None,
            value: Some(bytes("v")),
        };
        for to in [2, 3] {
            let message = Message {
                cluster: 77,
                from: NodeId(1),
                copy: CopyId(1),
                layout: 1,
                stamp: old.stamp,
                body: Body::Write {
                    request: RequestId(5),
                    origin: Origin::Client,
                    durable: true,
                    items: vec![WriteItem {
                        index: 0,
                        key: bytes("k"),
                        entry: Entry::plain(record.clone()),
                    }],
                },
            };
            town.world.inject(NodeId(1), NodeId(to), message.encode());
        }
        town.wait(SECOND);
        assert_eq!(town.value(1, "k"), Ok(back.then(|| bytes("v"))));
    }
}

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
const OF_LATER_BUILDS: [u8; 2] = [48, 49];

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

#[test]
fn counters_count_every_success_once() {
    let mut town = Town::new(3, &[]);
    let key = bytes("counter");
    let mut known: Option<Bytes> = None;
    let mut done = 0u64;
    for step in 0..60u64 {
        let next: Bytes = (done + 1).to_string().into_bytes().into();
        let expect = known.clone().map_or(Expect::Absent, Expect::Value);
        let request = Request::CompareAndSet {
            key: key.clone(),
            expect,
            value: Some(next.clone()),
            ttl_ms: None,
        };
        match town.ask(1 + step % 3, request) {
            Reply::Compared { swapped: true, .. } => {
                done += 1;
                known = Some(next);
            }
            other => panic!("{other:?}"),
        }
    }
    let plain = town.value(2, "counter").unwrap();
    assert_eq!(plain, Some(bytes("60")), "a plain read goes through the register");
    town.put(3, "counter", Some("reset")).unwrap();
    let found = town.ask(1, Request::GetRegister { key });
    assert!(matches!(found, Reply::Register(Found { value: Some(value), .. }) if value == bytes("reset")));
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
fn a_swap_that_others_followed_tells_what_it_wrote() {
    let mut town = Town::new(3, &[]);
    // The first one's value reaches node 2, but nobody's answer reaches it.
    town.cut(&[1], &[3]);
    let first = town.begin_set(1, "k", Some("first"));
    town.wait_for_message(1, 2, "Accept");
    town.world.network.blocked.insert((NodeId(2), NodeId(1)));
    town.wait(10_000);
    let second = town.set(3, "k", Some("second"));
    assert_eq!(second.value, Some(bytes("second")));
    town.join_up();
    let Reply::Compared { swapped: true, found } = town.reply(first) else {
        panic!("it was taken up, and the second came from it");
    };
    assert_eq!(found.value, Some(bytes("first")));
    assert!(found.version < second.version);
    assert_eq!(town.value(2, "k"), Ok(Some(bytes("second"))));
}

#[test]
fn what_is_written_when_one_has_forgotten_a_register_and_another_has_not_stays() {
    for (bugs, stays) in [(&[][..], true), (&[Bug::EarlyDrop][..], false)] {
        let mut town = Town::new(3, bugs);
        town.set(1, "k", Some("v"));
        town.set(1, "k", None);
        let layout = town.world.newest_layout().unwrap();
        let owners = layout.readers(layout.partition_of(b"k"));
        let [primary, other, late] = [0, 1, 2].map(|place: usize| owners[place].node);
        // The round's last word reaches two of them. The third goes on with what it had when the power is back.
        let held = |world: &World, id: &NodeId| {
            world.machines[id]
                .disk
                .data
                .keys()
                .any(|(_, key)| *key == bytes("k"))
        };
        let last = if stays { "Forget" } else { "Settle" };
        for round in 0.. {
            assert!(round < 100, "it is never forgotten");
            town.wait_for_message(primary.0, late.0, last);
            town.world.pause(late);
            town.wait(20_000);
            if !held(&town.world, &primary) && !held(&town.world, &other) {
                break;
            }
            town.world.resume(late);
        }
        assert!(held(&town.world, &late));
        town.put(primary.0, "k", Some("new")).unwrap();
        town.world.crash(late);
        town.cut(&[other.0], &[primary.0, late.0]);
        town.world.start(late);
        town.wait_for("it serves", |world| {
            let node = world.machines[&late].node.as_ref();
            node.is_some_and(weald_cluster_proto::Node::is_serving)
        });
        assert_eq!(town.value(late.0, "k"), Ok(stays.then(|| bytes("new"))));
    }
}

const MEMBERS: [&str; 4] = ["Suspected", "Dead", "Alive", "Left"];
const MOVES: [&str; 5] = ["Join", "Layout", "CaughtUp", "Pull", "Pulled"];
const DATA: [&str; 2] = ["Write", "WriteDone"];

#[test]
fn the_story_of_a_partition_that_heals() {
    let mut town = Town::new(3, &[]);
    town.tell();
    town.cut(&[3], &[1, 2]);
    town.wait_for("the two miss the third", |world| {
        let missed = |id: u64| {
            let is =
                |(_, at, event): &(u64, NodeId, Event)| (*at, event) == (NodeId(id), &Event::Dead(NodeId(3)));
            world.events.iter().any(is)
        };
        missed(1) && missed(2)
    });
    let story = town.story(&MEMBERS);
    for line in ["1: Suspected 3", "2: Suspected 3", "1: Dead 3", "2: Dead 3"] {
        assert!(story.lines().any(|told| told == line), "{story}");
    }
    town.tell();
    town.put(1, "k", Some("v")).unwrap();
    assert!(town.put(3, "k", Some("alone")).is_err());
    let expected = "\
1 -> 2: Write
1 -> 3: Write
2 -> 1: WriteDone
3 -> 1: Write
3 -> 2: Write";
    assert_eq!(town.story(&DATA), expected);
    // What 3 could not get acknowledged came later, and wins: it was written by somebody, and is on a majority now.
    town.tell();
    town.join_up();
    town.wait(8 * SECOND);
    let story = town.story(&[&MEMBERS[..], &DATA[..]].concat());
    for line in [
        "1: Alive 3",
        "2: Alive 3",
        "1 -> 3: Write (Hint)",
        "3 -> 1: WriteDone",
    ] {
        assert!(story.lines().any(|told| told == line), "{story}");
    }
    for node in 1..=3 {
        assert_eq!(town.value(node, "k"), Ok(Some(bytes("alone"))));
    }
}

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
fn the_story_of_a_hint_that_comes_after_the_deletion() {
    for (bugs, back) in [(&[][..], false), (&[Bug::NoMarks][..], true)] {
        let mut town = Town::new(3, bugs);
        // A key whose rounds node 2 leads: it reaches both others all the time.
        let layout = town.world.newest_layout().unwrap();
        let led = |key: &String| layout.readers(layout.partition_of(key.as_bytes()))[0].node == NodeId(2);
        let key = (0..).map(|number| format!("k{number}")).find(led).unwrap();
        town.cut(&[3], &[1, 2]);
        town.put(1, &key, Some("v")).unwrap();
        town.wait(3 * SECOND);
        town.join_up();
        town.cut(&[1], &[3]);
        town.put(2, &key, None).unwrap();
        town.tell();
        town.wait_for("the deletion is forgotten", |world| {
            world
                .machines
                .values()
                .all(|machine| machine.disk.durable.is_empty())
        });
        let story = town.story(&["Settle", "Forget"]);
        let expected = "2 -> 1: Settle\n2 -> 3: Settle\n2 -> 1: Forget\n2 -> 3: Forget";
        assert_eq!(story, expected);
        town.tell();
        town.join_up();
        town.wait(2 * SECOND);
        assert_eq!(town.story(&DATA), "1 -> 3: Write (Hint)\n3 -> 1: WriteDone");
        let mut entries = town.world.machines[&NodeId(3)].disk.durable.values();
        assert_eq!(entries.any(|entry| entry.record.value.is_some()), back);
    }
}

/// Four nodes and one partition: three own it.
struct OldHint {
    town: Town,
    /// Owners that are there all the time.
    others: [u64; 2],
    /// The owner that was away, and has lost its disk since.
    lost: u64,
    /// The node that is no owner. It has kept a hint for the one that was away.
    keeper: u64,
}

impl OldHint {
    /// The key was written while one owner was away, and then deleted, settled and forgotten while that owner and the keeper of the hint could not reach each other. Then the owner begins anew.
    fn new(bugs: &[Bug]) -> OldHint {
        let mut world = World::new(1, bugs.to_vec(), tune);
        let layout = founding(1..=4, 0, Quorums::balanced(3));
        for id in 1..=4 {
            world.add(NodeId(id), Start::Found(layout.clone()));
        }
        let owners: Vec<u64> = layout
            .readers(layout.partition_of(b"k"))
            .iter()
            .map(|owner| owner.node.0)
            .collect();
        let (others, lost) = ([owners[0], owners[1]], owners[2]);
        let keeper = (1..=4).find(|id| !owners.contains(id)).unwrap();
        let mut town = Town { world, tokens: 0 };
        town.wait(2 * SECOND);
        town.cut(&[lost], &[others[0], others[1], keeper]);
        town.put(keeper, "k", Some("v")).unwrap();
        town.wait(3 * SECOND);
        town.join_up();
        town.cut(&[lost], &[keeper]);
        town.put(others[0], "k", None).unwrap();
        town.wait_for("the deletion is forgotten", |world| {
            world
                .machines
                .values()
                .all(|machine| machine.disk.durable.is_empty())
        });
        let id = NodeId(lost);
        town.world.crash(id);
        town.world.machines.get_mut(&id).unwrap().disk = Disk::default();
        let seeds = vec![others[0].to_le_bytes().as_slice().into()];
        town.world.set_start(id, Start::Join(seeds));
        town.world.start(id);
        OldHint {
            town,
            others,
            lost,
            keeper,
        }
    }

    fn phase(&self, id: u64) -> Option<Phase> {
        let node = self.town.world.machines[&NodeId(id)].node.as_ref();
        node.and_then(|node| node.layout()).map(|layout| layout.phase)
    }

    /// Whether the value is on the disk that lost it, when the new copy counts and the hint has come.
    fn is_back(&mut self) -> bool {
        let (lost, town) = (NodeId(self.lost), &mut self.town);
        town.wait_for("its new copy is taken in", |world| {
            let layout = world.newest_layout().expect("there is one");
            layout.phase == Phase::Stable && layout.current.members[&lost].copy != CopyId(1)
        });
        town.tell();
        town.join_up();
        town.wait(2 * SECOND);
        let mut entries = town.world.machines[&lost].disk.durable.values();
        entries.any(|entry| entry.record.value.is_some())
    }

    fn check_all_read_nothing(&mut self) {
        for node in [self.others[0], self.others[1], self.lost, self.keeper] {
            assert_eq!(self.town.value(node, "k"), Ok(None));
        }
    }
}

#[test]
fn the_story_of_a_hint_for_an_owner_that_has_begun_anew_since() {
    for (bugs, back) in [(&[][..], false), (&[Bug::BlankMarks][..], true)] {
        let mut story = OldHint::new(bugs);
        let (lost, keeper) = (story.lost, story.keeper);
        assert_eq!(story.is_back(), back);
        let expected = format!("{keeper} -> {lost}: Write (Hint)\n{lost} -> {keeper}: WriteDone");
        assert_eq!(story.town.story(&DATA), expected);
        if !back {
            story.check_all_read_nothing();
        }
    }
}

#[test]
fn an_owner_that_has_begun_anew_takes_no_write_before_it_knows_what_is_settled() {
    for (bugs, back) in [(&[][..], false), (&[Bug::BlankMarks][..], true)] {
        let mut story = OldHint::new(bugs);
        let (lost, keeper) = (story.lost, story.keeper);
        for _ in 0..20_000 {
            // Enough of the others know its new copy.
            let node = story.town.world.machines[&NodeId(lost)].node.as_ref();
            let serves = node.is_some_and(weald_cluster_proto::Node::is_serving);
            if serves && story.phase(lost) == Some(Phase::Moving) {
                break;
            }
            story.town.wait(500);
        }
        // Before it hears from any owner, it hears from the node that kept the hint.
        story.town.tell();
        story.town.join_up();
        story.town.cut(&[lost], &story.others);
        story.town.wait(3 * SECOND);
        assert_eq!(story.phase(lost), Some(Phase::Moving));
        let told = story.town.story(&["Write", "WriteDone", "Refused", "MarksAre"]);
        let has = |line: String| told.lines().any(|told| told == line);
        assert!(has(format!("{keeper} -> {lost}: Write (Hint)")), "{told}");
        assert_eq!(has(format!("{lost} -> {keeper}: WriteDone")), back, "{told}");
        assert!(back || has(format!("{lost} -> {keeper}: Refused")), "{told}");
        assert!(!told.contains("MarksAre"), "{told}");
        story.town.join_up();
        assert_eq!(story.is_back(), back);
        if !back {
            story.check_all_read_nothing();
        }
    }
}
