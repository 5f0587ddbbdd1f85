//! Peers that connect by the thousand and say nothing, or a byte at a time: in a process of its own, as memory is measured.

#[path = "common/kinds.rs"]
mod common;

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use weald_cluster::{Identity, Keys, Receive, Refused, TcpOptions, Transport, TransportKind};
use weald_cluster_proto::{Lane, NodeId};

/// Connections that are made at once, and how often.
const WAVE: usize = 500;
const WAVES: usize = 2;
const HANDSHAKE_MAX: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Count(AtomicU64);

impl Receive for Count {
    fn receive(&self, _: NodeId, _: &[u8]) -> Result<(), Refused> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

fn keys(seed: u8) -> Keys {
    Keys::new(
        Identity::from_seed(&[seed; 32]),
        "orchard",
        b"sixteen random bytes",
    )
}

fn open(kind: TransportKind, seed: u8) -> (Arc<dyn Transport>, Arc<Count>) {
    let options = TcpOptions {
        connect_timeout: HANDSHAKE_MAX,
        retry_max: Duration::from_millis(200),
        ..TcpOptions::new("127.0.0.1:0")
    };
    let transport = kind.open(options, keys(seed)).expect("a port");
    let count = Arc::new(Count::default());
    transport.start(count.clone());
    (transport, count)
}

/// Sends until it arrives.
fn reach(kind: TransportKind, from: &dyn Transport, to: &dyn Transport, count: &Count) {
    let before = count.0.load(Ordering::SeqCst);
    let end = Instant::now() + Duration::from_secs(20);
    while count.0.load(Ordering::SeqCst) == before {
        assert!(Instant::now() < end, "{kind:?}: nothing arrives");
        from.send(Some(keys(2).node()), &to.address(), Lane::Request, vec![1; 100]);
        std::thread::sleep(Duration::from_millis(10));
    }
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

/// How long it took until the other side had closed all of them, some of which went on saying a byte now and then.
fn until_closed(mut streams: Vec<TcpStream>) -> Duration {
    let began = Instant::now();
    for stream in &streams {
        stream.set_nonblocking(true).expect("set");
    }
    let mut trickled = 0;
    while !streams.is_empty() {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{} are left",
            streams.len()
        );
        let mut at = 0;
        streams.retain_mut(|stream| {
            at += 1;
            // The length of a first frame, 48, and then its bytes, one by one.
            if at % 2 == 0 {
                trickled += 1;
                let _ = stream.write(&[if trickled % 3 == 0 { 0 } else { 48 }]);
            }
            let open = |error: std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
            stream.read(&mut [0; 16]).err().is_some_and(open)
        });
        std::thread::sleep(Duration::from_millis(50));
    }
    began.elapsed()
}

/// Datagrams from a thousand ports, each as if it began a handshake of one or the other kind.
fn knock(target: &str) {
    let mut random = weald_cluster_proto::Random::new(3);
    for _ in 0..1000 {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let mut bytes: Vec<u8> = (0..1200).map(|_| random.number() as u8).collect();
        for first in [1, 2, 3, 4, 5, 0xc0] {
            bytes[0] = first;
            // As QUIC's first packet begins: its version, and the length of a name.
            bytes[1..6].copy_from_slice(&[0, 0, 0, 1, 8]);
            for len in [200, 300, 1200] {
                let _ = socket.send_to(&bytes[..len], target);
            }
        }
    }
}

#[test]
fn half_open_peers_by_the_thousand_hold_little_and_not_for_long() {
    for &kind in TransportKind::all() {
        if let Some(why) = common::is_forbidden(kind) {
            eprintln!("SKIPPED: {}: {why}", kind.name());
            continue;
        }
        let (here, _) = open(kind, 1);
        let (there, count) = open(kind, 2);
        reach(kind, &*here, &*there, &count);
        let target = String::from_utf8(there.address()).expect("text");
        let (memory, refused) = (memory_kb(), there.stats().refused + there.stats().broken);
        let mut grown = 0;
        knock(&target);
        for _ in 0..WAVES {
            // Where nobody listens by TCP there are none.
            let streams: Vec<TcpStream> = (0..WAVE)
                .filter_map(|_| TcpStream::connect(&target).ok())
                .collect();
            let made = streams.len();
            // Who has a session is served meanwhile.
            reach(kind, &*here, &*there, &count);
            grown = grown.max(memory_kb().saturating_sub(memory));
            let took = until_closed(streams);
            println!(
                "{}: {made} connections closed after {} ms",
                kind.name(),
                took.as_millis()
            );
            assert!(took < HANDSHAKE_MAX * 5, "{kind:?}: {took:?}");
            if made > 0 {
                let now = there.stats().refused + there.stats().broken;
                assert!(now >= refused + made as u64, "{kind:?}: each is counted");
            }
        }
        println!("{}: {grown} KiB more", kind.name());
        assert!(grown < 16 << 10, "{kind:?}: {grown} KiB more");
        // And somebody new gets in.
        let (new, _) = open(kind, 3);
        reach(kind, &*new, &*there, &count);
        for transport in [here, there, new] {
            transport.stop();
        }
    }
}
