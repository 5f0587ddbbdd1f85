//! Whoever lacks the secret, or sends what no node sends, changes nothing.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use common::{Host, SECRET, cluster, until};
use weald_cluster::Node;
use weald_cluster_proto::{Event, Level, Start};

/// What a stranger must not change.
fn state(node: &Node) -> impl PartialEq + std::fmt::Debug {
    let layout = node.layout().expect("told");
    let status = node.status().expect("told");
    let refused = node
        .events(0)
        .into_iter()
        .filter(|logged| matches!(logged.event, Event::Refused(_)))
        .count();
    (
        layout,
        status.peers,
        node.metrics().expect("counted").malformed,
        refused,
    )
}

#[test]
fn a_node_with_another_secret_changes_nothing() {
    let hosts = cluster(3);
    hosts[0]
        .node()
        .put(b"key", b"value", None, Level::Strong)
        .expect("written");
    let before: Vec<_> = hosts.iter().map(|host| state(host.node())).collect();
    let mut stranger = Host::new(b"another secret, as long");
    stranger.start = Some(Start::Join(vec![hosts[0].address.as_bytes().into()]));
    stranger.run();
    until("a refusal", || {
        hosts[0].node().metrics().expect("counted").transport.refused > 1
    });
    let found = hosts[1].node().get(b"key", Level::Strong).expect("read");
    assert_eq!(found.value.as_deref(), Some(&b"value"[..]));
    assert_eq!(
        hosts.iter().map(|host| state(host.node())).collect::<Vec<_>>(),
        before
    );
    assert!(!stranger.node().status().expect("told").serving);
    assert_eq!(stranger.node().status().expect("told").peers, 0);
}

#[test]
fn a_node_that_is_not_listed_changes_nothing() {
    let mut hosts = cluster(1);
    let known = hosts[0].keys.node();
    hosts[0].halt();
    hosts[0].keys = hosts[0].keys.clone().admitting([known]);
    hosts[0].run();
    hosts[0].wait();
    let before = state(hosts[0].node());
    let mut other = Host::new(SECRET);
    other.start = Some(Start::Join(vec![hosts[0].address.as_bytes().into()]));
    other.run();
    until("a refusal", || {
        hosts[0].node().metrics().expect("counted").transport.refused > 1
    });
    assert_eq!(state(hosts[0].node()), before);
}

fn memory_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("it is listed");
    let digits = line.split_whitespace().nth(1).expect("a number");
    digits.parse().expect("a number")
}

#[test]
fn garbage_on_the_port_changes_nothing_and_takes_no_memory() {
    let hosts = cluster(3);
    hosts[0]
        .node()
        .put(b"key", b"value", None, Level::Strong)
        .expect("written");
    let before = state(hosts[0].node());
    let (refused, memory) = (
        hosts[0].node().metrics().expect("counted").transport.refused,
        memory_kb(),
    );
    let mut random = weald_cluster_proto::Random::new(1);
    let mut noise = vec![0; 1 << 16];
    for round in 0..60 {
        let mut stream = TcpStream::connect(&hosts[0].address).expect("connected");
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .expect("set");
        noise.iter_mut().for_each(|byte| *byte = random.number() as u8);
        match round % 3 {
            // A length that is too great, and a flood after it.
            0 => noise[..2].copy_from_slice(&[0xff, 0xff]),
            // A handshake of the right size.
            1 => noise[..2].copy_from_slice(&[48, 0]),
            _ => {}
        }
        for _ in 0..64 {
            if stream.write_all(&noise).is_err() {
                break;
            }
        }
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(answer, b"", "whoever lacks the secret gets no answer");
    }
    let found = hosts[1].node().get(b"key", Level::Strong).expect("read");
    assert_eq!(found.value.as_deref(), Some(&b"value"[..]));
    assert_eq!(state(hosts[0].node()), before);
    assert!(hosts[0].node().metrics().expect("counted").transport.refused >= refused + 20);
    let grown = memory_kb().saturating_sub(memory);
    assert!(grown < 64 << 10, "{grown} KiB more");
}

#[test]
fn silent_strangers_hold_nothing_for_long() {
    let hosts = cluster(1);
    let began = Instant::now();
    // More than may shake hands at once.
    let silent: Vec<TcpStream> = (0..40)
        .map(|_| TcpStream::connect(&hosts[0].address).expect("connected"))
        .collect();
    hosts[0]
        .node()
        .put(b"key", b"value", None, Level::Strong)
        .expect("written meanwhile");
    for mut stream in silent {
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .expect("set");
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)), "it is closed");
    }
    assert!(began.elapsed() < Duration::from_secs(15));
    // And now a peer gets in.
    let mut peer = Host::new(SECRET);
    peer.start = Some(Start::Join(vec![hosts[0].address.as_bytes().into()]));
    peer.run();
    peer.wait();
}
