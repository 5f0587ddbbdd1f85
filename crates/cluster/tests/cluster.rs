//! Three real nodes on loopback, with files and encrypted connections.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{Host, SECRET, cluster, until};
use weald_cluster::ClientError;
use weald_cluster_proto::{Error, Event, Expect, Level, Phase, Start};

fn value(host: &Host, key: &[u8], level: Level) -> Option<Vec<u8>> {
    let found = host.node().get(key, level).expect("read");
    found.value.map(|value| value.to_vec())
}

#[test]
fn acknowledged_writes_survive_the_restart_of_one_and_of_all() {
    let mut hosts = cluster(3);
    for number in 0..50u8 {
        let at = usize::from(number) % 3;
        hosts[at]
            .node()
            .put(&[number], &[number; 100], None, Level::Balanced)
            .expect("written");
    }
    hosts[0].node().delete(&[7], Level::Balanced).expect("deleted");

    hosts[2].halt();
    hosts[1]
        .node()
        .put(b"meanwhile", b"yes", None, Level::Balanced)
        .expect("written by two");
    hosts[2].run();
    hosts[2].wait();
    assert_eq!(
        value(&hosts[2], b"meanwhile", Level::Balanced),
        Some(b"yes".to_vec())
    );

    hosts.iter_mut().for_each(Host::halt);
    hosts.iter_mut().for_each(Host::run);
    hosts.iter().for_each(Host::wait);
    for number in (0..50u8).filter(|&number| number != 7) {
        let at = usize::from(number + 1) % 3;
        assert_eq!(
            value(&hosts[at], &[number], Level::Balanced),
            Some(vec![number; 100])
        );
    }
    assert_eq!(value(&hosts[1], &[7], Level::Balanced), None);
    // What the one that was away missed comes to it by itself.
    until("the third copy", || {
        value(&hosts[2], b"meanwhile", Level::Strong) == Some(b"yes".to_vec())
    });
}

#[test]
fn every_kind_of_request_is_answered() {
    let hosts = cluster(3);
    let node = hosts[0].node();
    for number in 0..20u8 {
        node.put(&[b'k', number], &[number], None, Level::Strong)
            .expect("written");
    }
    let keys: Vec<[u8; 2]> = (0..21).map(|number| [b'k', number]).collect();
    let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
    let found = hosts[1].node().get_many(&keys, Level::Cluster).expect("read");
    let there = found
        .iter()
        .filter(|found| matches!(found, Ok(found) if found.value.is_some()))
        .count();
    assert_eq!((found.len(), there), (21, 20));

    let mut seen = Vec::new();
    let mut next = Some(b"k".to_vec());
    while let Some(start) = next {
        let (page, more) = hosts[2]
            .node()
            .scan(&start, Some(b"l"), 7, Level::Cluster)
            .expect("scanned");
        seen.extend(page.into_iter().map(|(key, _)| key.to_vec()));
        next = more.map(|key| key.to_vec());
    }
    assert_eq!(seen, keys[..20]);

    let swap = |host: &Host, expect, value: &[u8]| {
        host.node()
            .compare_and_set(b"lock", expect, Some(value), None)
            .expect("decided")
    };
    assert!(swap(&hosts[0], Expect::Absent, b"mine").0);
    let (swapped, found) = swap(&hosts[1], Expect::Absent, b"theirs");
    assert!(!swapped);
    assert_eq!(found.value.as_deref(), Some(&b"mine"[..]));
    let found = hosts[2].node().get_register(b"lock").expect("read");
    assert!(
        swap(
            &hosts[2],
            Expect::Version(found.version.expect("written")),
            b"next"
        )
        .0
    );

    node.put(b"brief", b"x", Some(Duration::from_millis(300)), Level::Cluster)
        .expect("written");
    until("the end of its life", || {
        value(&hosts[1], b"brief", Level::Cluster).is_none()
    });

    assert_eq!(
        node.put(&[0; 60_000], b"", None, Level::Cluster),
        Err(ClientError::Failed(Error::Invalid(
            "the key is longer than the storage takes"
        )))
    );
    let metrics = node.metrics().expect("counted");
    assert!(metrics.status.serving && metrics.transport.sessions >= 2 && metrics.transport.received > 0);
    assert!(metrics.node.requests > 20);
    assert_eq!(node.partitions().expect("told").len(), 16);
    assert!(node.events(0).iter().any(|logged| logged.event == Event::Ready));
    assert!(node.storage_stats().expect("counted").keys > 20);
    node.stop().expect("stopped");
    assert_eq!(node.get(b"k", Level::Cluster), Err(ClientError::Stopped));
}

#[test]
fn without_a_quorum_the_answer_says_so() {
    let mut hosts = cluster(3);
    hosts[0]
        .node()
        .put(b"key", b"value", None, Level::Strong)
        .expect("written");
    hosts[1].halt();
    hosts[2].halt();
    let node = hosts[0].node();
    let needed = |result: Result<(), ClientError>| match result {
        Err(ClientError::Failed(Error::NotEnough { needed, answered, .. })) => (needed, answered),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        needed(node.put(b"key", b"other", None, Level::Balanced).map(drop)),
        (2, 1)
    );
    assert_eq!(needed(node.get(b"key", Level::Balanced).map(drop)), (2, 1));
    assert!(node.get(b"key", Level::Eventual).is_ok(), "one replica is there");
}

#[test]
fn a_fourth_joins_while_keys_are_read() {
    let mut hosts = cluster(3);
    for number in 0..100u8 {
        hosts[0]
            .node()
            .put(&[number], &[number; 20], None, Level::Balanced)
            .expect("written");
    }
    let mut fourth = Host::new(SECRET);
    fourth.start = Some(Start::Join(vec![hosts[1].address.as_bytes().into()]));
    fourth.run();
    let id = fourth.keys.node();
    let is_in = || {
        let layout = hosts[0].node().layout().expect("told").expect("there is one");
        layout.phase == Phase::Stable && layout.current.members.contains_key(&id)
    };
    let mut meanwhile = 0;
    until("the join", || {
        for number in 0..100u8 {
            meanwhile += u32::from(!is_in());
            assert_eq!(
                value(&hosts[usize::from(number) % 3], &[number], Level::Balanced),
                Some(vec![number; 20])
            );
        }
        is_in()
    });
    assert!(meanwhile > 1, "some reads began before it was in");
    fourth.wait();
    for number in 0..100u8 {
        assert_eq!(value(&fourth, &[number], Level::Balanced), Some(vec![number; 20]));
    }
    assert!(!fourth.node().partitions().expect("told").is_empty());
    // And one of the founders goes.
    let leave = weald_cluster_proto::LayoutChange::Members {
        join: BTreeMap::new(),
        leave: vec![hosts[2].keys.node()],
    };
    let gone = hosts[2].keys.node();
    fourth.node().change_layout(leave).expect("begun");
    until("the departure", || {
        let layout = fourth.node().layout().expect("told").expect("there is one");
        layout.phase == Phase::Stable && !layout.current.members.contains_key(&gone)
    });
    hosts[2].halt();
    for number in 0..100u8 {
        assert_eq!(value(&fourth, &[number], Level::Balanced), Some(vec![number; 20]));
    }
}
