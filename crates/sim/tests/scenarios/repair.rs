//! What was missed, and what was deleted.

use weald_cluster_proto::{
    Body, Bug, Config, CopyId, Entry, Event, Level, Message, NodeId, Origin, Phase, Quorums, Record, Request,
    RequestId, Start, WriteItem,
};
use weald_sim::{Disk, World, founding, tune};

use crate::town::{SECOND, Town, bytes};

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
fn writes_that_are_under_way_are_not_taken_for_differences() {
    let mut town = Town::new(3, &[]);
    town.tell();
    for number in 0..1000 {
        let request = Request::Put {
            items: vec![(bytes(&format!("k{number}")), Some(bytes("v")))],
            ttl_ms: None,
            write: Level::Cluster,
            durable: true,
        };
        town.begin(1 + number % 3, request);
        town.wait(2_000);
    }
    let told = town.story(&["Compare", "Differ", "Exchange"]);
    assert!(told.contains("1 -> 2: Compare"), "{told}");
    // Nobody had to read a partition for it.
    assert!(!told.contains("Exchange"), "{told}");
    for node in 1..=3 {
        assert_eq!(town.node(node).stats().differences, 0, "at node {node}");
    }
}

/// Compares without pause, and has no other way to find what differs.
fn by_sums_alone(config: &mut Config) {
    tune(config);
    (config.hint_bytes_max, config.ring_entries) = (0, 2);
    (config.repair_interval_ms, config.repair_bytes_per_second) = (20, 1 << 30);
    // Longer than writes are under way.
    config.resend_ms = 500;
}

/// Clients write at nodes 1 and 2, so often that several leaves of each partition differ at any time.
fn write_without_pause(town: &mut Town, count: u64) {
    for number in 0..count {
        let request = Request::Put {
            items: vec![(bytes(&format!("other{}", number % 2000)), Some(bytes("v")))],
            ttl_ms: None,
            write: Level::Cluster,
            durable: true,
        };
        town.begin(1 + number % 2, request);
        town.wait(250);
    }
}

#[test]
fn leaves_that_are_written_all_the_time_are_not_taken_for_differences() {
    let mut town = Town::tuned(3, 3, &[], by_sums_alone);
    town.tell();
    write_without_pause(&mut town, 20_000);
    let told = town.story(&["Compare", "Exchange"]);
    assert!(told.contains("3 -> 1: Compare"), "{told}");
    assert!(!told.contains("Exchange"), "{told}");
    for node in 1..=3 {
        assert_eq!(town.node(node).stats().differences, 0, "at node {node}");
    }
}

#[test]
fn what_is_missing_is_found_where_writes_never_pause() {
    let mut town = Town::tuned(3, 3, &[], by_sums_alone);
    town.cut(&[3], &[1, 2]);
    for number in 0..40 {
        town.put(1, &format!("k{number}"), Some("v")).unwrap();
    }
    // Nobody sends it again.
    town.wait(3 * SECOND);
    town.join_up();
    write_without_pause(&mut town, 20_000);
    let keys = town.world.machines[&NodeId(3)].disk.durable.keys();
    let held = keys.filter(|(_, key)| key.starts_with(b"k")).count();
    assert_eq!(held, 40);
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

const MEMBERS: [&str; 4] = ["Suspected", "Dead", "Alive", "Left"];
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

#[test]
fn what_differs_is_found_by_comparing_sums() {
    fn without_hints(config: &mut Config) {
        tune(config);
        (config.hint_bytes_max, config.ring_entries) = (0, 2);
    }
    for (bugs, found) in [(&[][..], true), (&[Bug::StaleSums][..], false)] {
        let mut town = Town::tuned(3, 3, bugs, without_hints);
        town.cut(&[3], &[1, 2]);
        for number in 0..40 {
            town.put(1, &format!("k{number}"), Some("v")).unwrap();
        }
        // Nobody sends it again.
        town.wait(3 * SECOND);
        town.join_up();
        town.wait(20 * SECOND);
        let held = town.world.machines[&NodeId(3)].disk.durable.len();
        assert_eq!(held == 40, found, "{held} of 40");
    }
}
