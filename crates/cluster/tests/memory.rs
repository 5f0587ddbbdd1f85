//! Nodes in one process, without sockets: in memory, with the `memory` backend.

use std::time::Duration;

use weald_cluster::{Identity, Keys, MemoryNet, Node, Options, StartFailed, Transport, found};
use weald_cluster_proto::{Config, Level, Quorums};
use weald_storage::Registry;

#[test]
fn five_nodes_agree_and_one_may_stop() {
    let net = MemoryNet::default();
    let keys: Vec<Keys> = (1..=5)
        .map(|seed| Keys::new(Identity::from_seed(&[seed; 32]), "orchard", b"unused here"))
        .collect();
    let ends: Vec<_> = keys
        .iter()
        .map(|keys| net.attach(keys.node(), &keys.node().0.to_le_bytes()))
        .collect();
    let members = ends
        .iter()
        .zip(&keys)
        .map(|(end, keys)| (keys.node(), end.address()));
    let start = found(5, Quorums::balanced(3), members).expect("a layout");
    let start_one = |keys: &Keys, end: &std::sync::Arc<weald_cluster::MemoryTransport>| {
        let storage = Registry::compiled()
            .open("memory", &weald_storage::Options::new())
            .expect("a store");
        let config = Config {
            resend_ms: 100,
            probe_interval_ms: 100,
            probe_timeout_ms: 100,
            ..Config::new(keys.node(), 0)
        };
        let options = Options {
            config,
            ..Options::new(keys.clone(), end.clone(), storage, start.clone())
        };
        Node::start(options).expect("started")
    };
    let nodes: Vec<Node> = keys
        .iter()
        .zip(&ends)
        .map(|(keys, end)| start_one(keys, end))
        .collect();
    for node in &nodes {
        node.wait_until_serving(Duration::from_secs(20))
            .expect("it serves");
    }
    for number in 0..60u8 {
        let node = &nodes[usize::from(number) % 5];
        node.put(&[number], &[number], None, Level::Strong)
            .expect("written");
    }
    nodes[4].stop().expect("stopped");
    for number in 0..60u8 {
        let found = nodes[usize::from(number) % 4]
            .get(&[number], Level::Cluster)
            .expect("read");
        assert_eq!(found.value.as_deref(), Some(&[number][..]));
    }
    assert!(nodes[0].metrics().expect("counted").transport.received > 0);
}

#[test]
fn a_store_that_belongs_to_another_node_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let start_with = |seed: u8| {
        let keys = Keys::new(Identity::from_seed(&[seed; 32]), "orchard", b"unused here");
        let end = MemoryNet::default().attach(keys.node(), b"here");
        let storage = Registry::compiled()
            .open("file", &weald_storage::Options::in_dir(dir.path()))
            .expect("a store");
        let start = found(2, Quorums::balanced(1), [(keys.node(), end.address())]).expect("a layout");
        Node::start(Options::new(keys, end, storage, start))
    };
    let node = start_with(1).expect("started");
    node.wait_until_serving(Duration::from_secs(20))
        .expect("it serves");
    node.stop().expect("stopped");
    assert!(matches!(start_with(2), Err(StartFailed::Protocol(_))));
    start_with(1).expect("its own").stop().expect("stopped");
}
