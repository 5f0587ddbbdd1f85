//! Messages that nobody should believe: forged, stale, of another cluster, from too far ahead, or answers to nothing.

use weald_cluster_proto::{
    Announcement, Body, Bug, CopyId, Entry, Event, Layout, MemberStatus, Message, NodeId, Origin, PeerStatus,
    Record, RequestId, Update, Version, WriteItem, Written,
};
use weald_sim::{Disk, EPOCH_MS};

use crate::town::{SECOND, Town, bytes};

const CLUSTER: u64 = 77;

/// What a node says of itself, in words that it never signed.
fn unsigned(node: u64) -> Announcement {
    Announcement {
        cluster: CLUSTER,
        node: NodeId(node),
        copy: CopyId(1),
        boot: 9,
        run: 1,
        denied: u32::MAX,
        leaving: true,
        address: bytes("elsewhere"),
        signature: bytes("forged"),
    }
}

/// A message from node 1 to node 2, as it would be if it were right.
fn message(town: &Town, body: Body) -> Message {
    Message {
        cluster: CLUSTER,
        from: NodeId(1),
        copy: CopyId(1),
        layout: 1,
        stamp: (EPOCH_MS + town.world.time_us / 1000) << 16,
        body,
    }
}

fn write(version: Version) -> Body {
    let record = Record {
        version,
        expires_ms: None,
        value: Some(bytes("forged")),
    };
    Body::Write {
        request: RequestId(5),
        origin: Origin::Client,
        durable: true,
        items: vec![WriteItem {
            index: 0,
            key: bytes("k"),
            entry: Entry::plain(record),
        }],
    }
}

/// All that node 2 knows and has.
fn state(town: &Town) -> (Vec<PeerStatus>, Option<Layout>, Disk) {
    let node = town.node(2);
    let disk = town.world.machines[&NodeId(2)].disk.clone();
    (node.peers().collect(), node.layout().cloned(), disk)
}

/// Whether a message changes anything at node 2, and whether that was told as refused.
fn bring(town: &mut Town, message: &Message) -> (bool, bool) {
    let (before, events) = (state(town), town.world.events.len());
    town.world.inject(NodeId(1), NodeId(2), message.encode());
    town.wait(5_000);
    let refused =
        |(_, at, event): &(u64, NodeId, Event)| *at == NodeId(2) && matches!(event, Event::Refused(_));
    let told = town.world.events[events..].iter().any(refused);
    let ((peers, layout, disk), (peers_now, layout_now, disk_now)) = (before, state(town));
    let same = peers == peers_now && layout == layout_now && disk.data == disk_now.data;
    (!same, told)
}

#[test]
fn what_is_not_signed_changes_nothing() {
    let gossip = |node| Body::Ping {
        seq: 1,
        wall_ms: EPOCH_MS,
        updates: vec![Update {
            announcement: unsigned(node),
            status: MemberStatus::Dead,
            by: NodeId(1),
        }],
    };
    let hello = |node| Body::Hello {
        announcement: unsigned(node),
        // Or else it would look like a copy from before.
        ceiling: u64::MAX,
    };
    let join = |node| Body::Join {
        announcement: unsigned(node),
        weight: 1,
        zone: 0,
    };
    // Another member, one that nobody knows, the receiver itself; who speaks for itself, and who speaks for another.
    let bodies = [
        gossip(3),
        gossip(30),
        gossip(2),
        hello(1),
        hello(3),
        join(1),
        join(30),
    ];
    for (bugs, believed) in [(&[][..], false), (&[Bug::BelieveAnybody][..], true)] {
        let mut changed = Vec::new();
        for body in &bodies {
            let mut town = Town::new(3, bugs);
            let message = message(&town, body.clone());
            let (change, refused) = bring(&mut town, &message);
            assert!(refused || believed, "{body:?}");
            changed.push(change);
        }
        // What is said of the receiver it only denies; who speaks for another is refused even so.
        let expected = [true, true, false, true, false, true, false].map(|change| change && believed);
        assert_eq!(changed, expected);
    }
}

#[test]
fn what_is_stale_from_elsewhere_or_too_far_ahead_changes_nothing() {
    let mut town = Town::new(3, &[]);
    let version = town.put(1, "k", Some("v")).unwrap();
    let later = Version {
        stamp: version.stamp + (1 << 16),
        node: NodeId(1),
    };
    let ahead = Version {
        stamp: version.stamp + (3_600_000 << 16),
        node: NodeId(1),
    };
    let earlier = Version {
        stamp: version.stamp - 1,
        node: NodeId(1),
    };
    let fine = message(&town, write(later));
    let refused = [
        Message {
            cluster: 78,
            ..fine.clone()
        },
        Message {
            from: NodeId(3),
            ..fine.clone()
        },
        Message {
            from: NodeId(2),
            ..fine.clone()
        },
    ];
    for message in refused {
        assert_eq!(bring(&mut town, &message), (false, true), "{message:?}");
    }
    let void = [
        Message {
            layout: 0,
            ..fine.clone()
        },
        message(&town, write(earlier)),
        message(&town, write(version)),
        message(&town, write(ahead)),
        message(
            &town,
            Body::WriteDone {
                request: RequestId(5),
                items: vec![(0, Written::Applied)],
            },
        ),
        message(
            &town,
            Body::LayoutIs {
                layout: Box::new(town.node(1).layout().unwrap().clone()),
            },
        ),
    ];
    for message in void {
        assert_eq!(bring(&mut town, &message), (false, false), "{message:?}");
    }
    assert_eq!(
        bring(&mut town, &fine),
        (true, false),
        "any of that would have shown"
    );
}

#[test]
fn what_a_dead_member_said_does_not_raise_it() {
    let mut town = Town::new(3, &[]);
    // Node 1 is heard, and what it said is written down.
    town.world.recorded = Some(Vec::new());
    town.wait(2 * SECOND);
    let recorded = town.world.recorded.take().expect("it was recorded");
    let from_one = |(from, to, _): &(NodeId, NodeId, Vec<u8>)| (*from, *to) == (NodeId(1), NodeId(2));
    let recorded: Vec<Vec<u8>> = recorded
        .into_iter()
        .filter(from_one)
        .map(|(_, _, bytes)| bytes)
        .collect();
    assert!(recorded.len() > 10);
    town.world.crash(NodeId(1));
    town.wait(8 * SECOND);
    let before = state(&town);
    assert!(before.0.iter().any(|peer| peer.status == MemberStatus::Dead));
    for bytes in recorded {
        town.world.inject(NodeId(1), NodeId(2), bytes);
    }
    town.wait(SECOND);
    let after = state(&town);
    assert!(before.0 == after.0, "{:?}, {:?}", before.0, after.0);
    assert!(before.1 == after.1 && before.2.data == after.2.data);
}
