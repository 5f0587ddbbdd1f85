//! What every transport must do, whichever this build has: `cargo test -p weald-cluster --features quic,io_uring` tries them all.
//!
//! Short messages by UDP may be lost, and come in any order; whatever arrives by any transport was sent by who is named, and arrives once.

#[path = "common/kinds.rs"]
mod common;
mod relay;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use relay::{Fault, Relay};
use weald_cluster::{
    Identity, Keys, Node, Options, Receive, Refused, TcpOptions, Transport, TransportKind, found,
};
use weald_cluster_proto::{Config, Lane, Level, MESSAGE_MAX, NodeId, Quorums};
use weald_storage::Registry;

const PATIENCE: Duration = Duration::from_secs(60);
const LANE_BYTES_MAX: usize = 1 << 20;

/// What arrived, and whether the node has room for more.
#[derive(Default)]
struct Arrivals {
    messages: Mutex<Vec<(NodeId, Vec<u8>)>>,
    full: AtomicBool,
    ended: AtomicBool,
}

impl Arrivals {
    fn all(&self) -> Vec<(NodeId, Vec<u8>)> {
        self.messages.lock().expect("no panics").clone()
    }

    fn has(&self, message: &[u8]) -> bool {
        let messages = self.messages.lock().expect("no panics");
        messages.iter().any(|(_, arrived)| arrived == message)
    }

    fn count(&self) -> usize {
        self.messages.lock().expect("no panics").len()
    }
}

impl Receive for Arrivals {
    fn receive(&self, from: NodeId, message: &[u8]) -> Result<(), Refused> {
        while self.full.load(Ordering::SeqCst) && !self.ended.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
        if message == b"junk" {
            return Err(Refused);
        }
        self.messages
            .lock()
            .expect("no panics")
            .push((from, message.to_vec()));
        Ok(())
    }
}

/// One end of a transport, as a node would hold it.
struct End {
    kind: TransportKind,
    keys: Keys,
    transport: Arc<dyn Transport>,
    arrivals: Arc<Arrivals>,
}

fn keys(seed: u8) -> Keys {
    Keys::new(
        Identity::from_seed(&[seed; 32]),
        "orchard",
        b"sixteen random bytes",
    )
}

fn options(listen: &str) -> TcpOptions {
    TcpOptions {
        check_interval: Duration::from_millis(1000),
        retry_max: Duration::from_millis(200),
        connect_timeout: Duration::from_secs(3),
        lane_bytes_max: LANE_BYTES_MAX,
        ..TcpOptions::new(listen)
    }
}

impl End {
    fn new(kind: TransportKind, seed: u8) -> End {
        End::with(kind, keys(seed), "127.0.0.1:0")
    }

    fn with(kind: TransportKind, keys: Keys, listen: &str) -> End {
        let transport = kind.open(options(listen), keys.clone()).expect("a port");
        let arrivals = Arc::new(Arrivals::default());
        transport.start(arrivals.clone());
        End {
            kind,
            keys,
            transport,
            arrivals,
        }
    }

    fn node(&self) -> NodeId {
        self.keys.node()
    }

    fn send(&self, to: &End, lane: Lane, message: &[u8]) -> bool {
        let address = to.transport.address();
        self.transport
            .send(Some(to.node()), &address, lane, message.to_vec())
    }

    /// Sends until it arrives: what is sent while there is no connection may be dropped.
    fn reach(&self, to: &End, message: &[u8]) {
        self.reach_by(&to.transport.address(), to, message);
    }

    fn reach_by(&self, address: &[u8], to: &End, message: &[u8]) {
        until(&format!("{:?}: an arrival", self.kind), || {
            self.transport
                .send(Some(to.node()), address, Lane::Request, message.to_vec());
            thread::sleep(Duration::from_millis(20));
            to.arrivals.has(message)
        });
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.arrivals.ended.store(true, Ordering::SeqCst);
        self.transport.stop();
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what} did not come about");
        thread::sleep(Duration::from_millis(5));
    }
}

fn each(check: impl Fn(TransportKind)) {
    for &kind in TransportKind::all() {
        if let Some(why) = common::is_forbidden(kind) {
            eprintln!("SKIPPED: {}: {why}", kind.name());
            continue;
        }
        println!("{}", kind.name());
        check(kind);
    }
}

#[test]
fn messages_arrive_once_and_in_the_order_of_their_lane() {
    each(|kind| {
        let (here, there) = (End::new(kind, 1), End::new(kind, 2));
        here.reach(&there, b"first");
        let long: Vec<u8> = (0..3 << 19).map(|at: u32| (at % 251) as u8).collect();
        // More than one lane takes at once, a piece at a time.
        let long = &long[..LANE_BYTES_MAX - 100];
        assert!(here.send(&there, Lane::Transfer, long));
        let lanes = [Lane::Answer, Lane::Request];
        let numbered =
            |number: u32| lanes.map(|lane| (lane, [&[lane as u8][..], &number.to_le_bytes()].concat()));
        for number in 0..500 {
            for (lane, message) in numbered(number) {
                assert!(here.send(&there, lane, &message));
            }
        }
        // Those that are ready at the same time share writes.
        let writes = here.transport.stats().writes;
        for tens in 50..100 {
            let messages = (tens * 10..tens * 10 + 10).flat_map(numbered).collect();
            let address = there.transport.address();
            assert_eq!(here.transport.send_all(Some(there.node()), &address, messages), 0);
        }
        until("the long one", || there.arrivals.has(long));
        let reliable = kind != TransportKind::Udp;
        let least = if reliable { 2000 } else { 1000 };
        until("the short ones", || there.arrivals.count() >= least + 2);
        let mut numbers: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
        for (from, message) in there.arrivals.all() {
            assert_eq!(from, here.node());
            if let Some((&lane, number)) = message.split_first()
                && let Ok(number) = number.try_into()
            {
                numbers.entry(lane).or_default().push(u32::from_le_bytes(number));
            }
        }
        for lane in lanes {
            let arrived = &numbers[&(lane as u8)];
            let distinct: BTreeSet<&u32> = arrived.iter().collect();
            assert_eq!(distinct.len(), arrived.len(), "each once");
            assert!(!reliable || arrived.is_sorted(), "in order");
        }
        let (sent, got) = (here.transport.stats(), there.transport.stats());
        assert!(
            sent.sent >= 2000 && sent.sent_bytes > long.len() as u64,
            "{sent:?}"
        );
        assert!(
            sent.writes > writes && sent.writes - writes < 500,
            "1000 messages share writes, after {writes}: {sent:?}"
        );
        assert!(
            got.received >= 1000 && got.received_bytes > long.len() as u64,
            "{got:?}"
        );
    });
}

#[test]
fn a_peer_that_takes_nothing_fills_its_lane_and_no_more() {
    each(|kind| {
        let (here, slow, other) = (End::new(kind, 1), End::new(kind, 2), End::new(kind, 3));
        here.reach(&slow, b"first");
        here.reach(&other, b"first");
        slow.arrivals.full.store(true, Ordering::SeqCst);
        let mut taken = 0u64;
        let mut message = [7; 1000];
        // What the system and the session hold on the way comes on top of the lane.
        until("a full lane", || {
            for _ in 0..100_000 {
                message[..8].copy_from_slice(&taken.to_le_bytes());
                if !here.send(&slow, Lane::Request, &message) {
                    return true;
                }
                taken += 1;
            }
            false
        });
        assert!(taken * 1000 < 64 << 20, "{taken} messages");
        assert!(here.transport.stats().dropped > 0);
        assert!(here.send(&slow, Lane::Answer, b"another lane"), "it has room");
        // And another peer is not held up.
        here.reach(&other, b"meanwhile");
        slow.arrivals.full.store(false, Ordering::SeqCst);
        here.reach(&slow, b"after");
        if kind != TransportKind::Udp {
            until("all that was taken", || slow.arrivals.count() as u64 >= taken + 2);
        }
    });
}

#[test]
fn a_peer_that_was_started_anew_is_found_again() {
    each(|kind| {
        let here = End::new(kind, 1);
        let there = End::new(kind, 2);
        here.reach(&there, b"before");
        let address = String::from_utf8(there.transport.address()).expect("text");
        drop(there);
        assert!(!here.arrivals.has(b"before"));
        thread::sleep(Duration::from_millis(50));
        let there = End::with(kind, keys(2), &address);
        here.reach(&there, b"after");
        assert!(here.transport.stats().sessions >= 2);
    });
}

#[test]
fn what_happens_on_the_way_changes_no_message_and_repeats_none() {
    each(|kind| {
        for fault in [Fault::Change, Fault::Repeat, Fault::Swap, Fault::Swallow] {
            let (here, there) = (End::new(kind, 1), End::new(kind, 2));
            let relay = Relay::before(&there.transport.address());
            here.reach_by(&relay.address, &there, b"before");
            let mut number = 0u64;
            let mut send = || {
                let message = [&b"number"[..], &number.to_le_bytes(), &[number as u8; 50]].concat();
                here.transport
                    .send(Some(there.node()), &relay.address, Lane::Request, message);
                number += 1;
                number
            };
            // However slow the machine is, something arrives before anything goes wrong.
            until("a first number", || {
                send();
                thread::sleep(Duration::from_millis(5));
                let messages = there.arrivals.all();
                messages.iter().any(|(_, message)| message.starts_with(b"number"))
            });
            let mut number = send();
            let end = Instant::now() + Duration::from_millis(1000);
            while Instant::now() < end {
                // The second half of the time nothing goes wrong.
                let strikes =
                    (3..6).contains(&(number % 64)) && end - Instant::now() > Duration::from_millis(300);
                relay.set(if strikes || (fault == Fault::Swallow && number > 8) {
                    fault
                } else {
                    Fault::None
                });
                number = send();
                thread::sleep(Duration::from_millis(3));
            }
            if fault == Fault::Swallow {
                until("the end of what leads nowhere", || {
                    here.transport.stats().broken + there.transport.stats().broken > 0
                });
            }
            relay.set(Fault::None);
            here.reach_by(&relay.address, &there, b"after");
            let mut seen = BTreeSet::new();
            for (from, message) in there.arrivals.all() {
                assert_eq!(from, here.node());
                let Some(rest) = message.strip_prefix(b"number") else {
                    assert!(message == b"before" || message == b"after", "{message:?}");
                    continue;
                };
                let (number, fill) = rest.split_first_chunk::<8>().expect("whole");
                assert_eq!(fill, [number[0]; 50]);
                assert!(seen.insert(*number), "{kind:?}, {fault:?}: twice");
            }
            assert!(relay.struck() > 0, "{kind:?}: no {fault:?} happened");
            assert!(!seen.is_empty());
        }
    });
}

#[test]
fn a_session_that_was_recorded_brings_nothing_in() {
    each(|kind| {
        let (here, there) = (End::new(kind, 1), End::new(kind, 2));
        let relay = Relay::before(&there.transport.address());
        here.reach_by(&relay.address, &there, b"once");
        // What was sent until it arrived arrives too.
        let mut count = 0;
        until("an end of arrivals", || {
            thread::sleep(Duration::from_millis(200));
            std::mem::replace(&mut count, there.arrivals.count()) == there.arrivals.count()
        });
        // While the session is there, and when it is gone.
        relay.say_again(&there.transport.address());
        here.transport.stop();
        relay.say_again(&there.transport.address());
        thread::sleep(Duration::from_millis(300));
        assert_eq!(there.arrivals.count(), count, "{kind:?}");
        End::new(kind, 3).reach(&there, b"another");
    });
}

#[test]
fn strangers_bring_nothing_in() {
    each(|kind| {
        let there = End::with(kind, keys(2).admitting([keys(1).node()]), "127.0.0.1:0");
        let seed = Identity::from_seed(&[1; 32]);
        let strangers = [
            Keys::new(seed.clone(), "orchard", b"another secret, as long"),
            Keys::new(seed, "meadow", b"sixteen random bytes"),
            keys(3),
        ];
        for stranger in strangers {
            let refused = there.transport.stats().refused;
            let stranger = End::with(kind, stranger, "127.0.0.1:0");
            until(&format!("{kind:?}: a refusal"), || {
                stranger.send(&there, Lane::Request, b"let me in");
                stranger.send(&there, Lane::Transfer, &[7; 5000]);
                there.transport.stats().refused > refused
            });
        }
        assert_eq!(there.arrivals.all(), []);
        End::new(kind, 1).reach(&there, b"let me in");
    });
}

#[test]
fn garbage_brings_nothing_in() {
    each(|kind| {
        let (here, there) = (End::new(kind, 1), End::new(kind, 2));
        here.reach(&there, b"before");
        relay::garbage(&there.transport.address());
        here.reach(&there, b"after");
        let known = |message: &[u8]| message == b"before" || message == b"after";
        assert!(there.arrivals.all().iter().all(|(_, message)| known(message)));
    });
}

#[test]
fn what_is_for_another_node_or_is_no_message_is_not_taken() {
    each(|kind| {
        let (here, there) = (End::new(kind, 1), End::new(kind, 2));
        let address = there.transport.address();
        here.reach(&there, b"before");
        let dropped = here.transport.stats().dropped;
        let another = Some(NodeId(77));
        here.transport
            .send(another, &address, Lane::Request, b"for another".to_vec());
        here.transport
            .send(another, &address, Lane::Request, vec![7; 5000]);
        here.reach(&there, b"for it");
        until("two drops", || here.transport.stats().dropped >= dropped + 2);
        assert!(!here.send(&there, Lane::Request, &vec![0; MESSAGE_MAX + 1]));
        assert!(!here.send(&there, Lane::Request, b""));
        let refused = there.transport.stats().refused;
        until("a refusal", || {
            here.send(&there, Lane::Request, b"junk");
            there.transport.stats().refused > refused
        });
        here.reach(&there, b"after");
        let all = there.arrivals.all();
        let known: [&[u8]; 3] = [b"before", b"for it", b"after"];
        assert!(all.iter().all(|(_, message)| known.contains(&&message[..])));
    });
}

#[test]
fn nothing_arrives_after_a_stop() {
    each(|kind| {
        let (here, there) = (End::new(kind, 1), End::new(kind, 2));
        here.reach(&there, b"before");
        there.transport.stop();
        let count = there.arrivals.count();
        for _ in 0..20 {
            here.send(&there, Lane::Request, b"after");
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(there.arrivals.count(), count);
        assert!(!there.send(&here, Lane::Request, b"after"));
        // What is queued before a stop is sent.
        let third = End::new(kind, 3);
        here.reach(&third, b"before");
        assert!(here.send(&third, Lane::Request, b"last"));
        here.transport.stop();
        until("the last", || third.arrivals.has(b"last"));
    });
}

#[test]
fn a_cluster_works_over_it() {
    each(|kind| {
        let keys: Vec<Keys> = (1..=3).map(keys).collect();
        let transports: Vec<_> = keys
            .iter()
            .map(|keys| kind.open(options("127.0.0.1:0"), keys.clone()).expect("a port"))
            .collect();
        let members = keys
            .iter()
            .zip(&transports)
            .map(|(keys, transport)| (keys.node(), transport.address()));
        let start = found(4, Quorums::balanced(3), members).expect("a layout");
        let nodes: Vec<Node> = keys
            .iter()
            .zip(&transports)
            .map(|(keys, transport)| {
                let storage = Registry::compiled()
                    .open("memory", &weald_storage::Options::new())
                    .expect("a store");
                let config = Config {
                    request_timeout_ms: 10_000,
                    resend_ms: 100,
                    probe_interval_ms: 100,
                    probe_timeout_ms: 500,
                    ..Config::new(keys.node(), 0)
                };
                let options = Options {
                    config,
                    ..Options::new(keys.clone(), transport.clone(), storage, start.clone())
                };
                Node::start(options).expect("started")
            })
            .collect();
        for node in &nodes {
            node.wait_until_serving(PATIENCE).expect("it serves");
        }
        for number in 0..60u8 {
            // From what fits a datagram to what doesn't.
            let value = vec![number; 100 * usize::from(number)];
            let node = &nodes[usize::from(number) % 3];
            node.put(&[number], &value, None, Level::Strong).expect("written");
        }
        for number in 0..60u8 {
            let node = &nodes[usize::from(number + 1) % 3];
            let found = node.get(&[number], Level::Strong).expect("read");
            assert_eq!(
                found.value.as_deref(),
                Some(&vec![number; 100 * usize::from(number)][..])
            );
        }
    });
}

/// What is one on the network, and what is in one process, differ: these two are told apart by nobody else.
#[cfg(all(target_os = "linux", feature = "io_uring"))]
#[test]
fn tcp_and_uring_talk_to_each_other() {
    if let Some(why) = common::is_forbidden(TransportKind::Uring) {
        return eprintln!("SKIPPED: {why}");
    }
    let (plain, ring) = (End::new(TransportKind::Tcp, 1), End::new(TransportKind::Uring, 2));
    plain.reach(&ring, b"to the ring");
    ring.reach(&plain, b"from the ring");
    let long: Vec<u8> = (0..900_000).map(|at: u32| (at % 251) as u8).collect();
    for (from, to) in [(&plain, &ring), (&ring, &plain)] {
        assert!(from.send(to, Lane::Transfer, &long));
        until("the long one", || to.arrivals.has(&long));
    }
    // Long enough for each to have asked whether the other is there, and to have been answered.
    thread::sleep(Duration::from_millis(3500));
    plain.reach(&ring, b"still there");
    ring.reach(&plain, b"still there");
    assert_eq!(
        (plain.transport.stats().broken, ring.transport.stats().broken),
        (0, 0)
    );
    assert_eq!(
        (plain.transport.stats().sessions, ring.transport.stats().sessions),
        (2, 2)
    );
}

/// Connections that nothing is said on are checked, and kept, for as long as that is wished.
#[test]
fn a_peer_that_answers_is_kept() {
    each(|kind| {
        let (here, there) = (End::new(kind, 1), End::new(kind, 2));
        here.reach(&there, b"before");
        let sessions = there.transport.stats().sessions;
        // More than three checks.
        thread::sleep(Duration::from_millis(3500));
        here.reach(&there, b"after");
        assert_eq!(there.transport.stats().sessions, sessions, "{kind:?}");
        assert_eq!(here.transport.stats().broken, 0, "{kind:?}");
    });
}
