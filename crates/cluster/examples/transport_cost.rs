//! What a message costs by each transport: processor time and waits of all threads of both ends, for messages that are answered.
//!
//! ```text
//! cargo build --release -p weald-cluster --features io_uring --example transport_cost
//! perf stat -e raw_syscalls:sys_enter target/release/examples/transport_cost tcp 16 2
//! ```
//!
//! The arguments: the transport, how many messages are on their way at once to each peer, how many peers there are, and if wished for how many answers in all.

use std::error::Error;
use std::fs;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use weald_cluster::{Identity, Keys, Receive, Refused, TcpOptions, Transport, TransportKind};
use weald_cluster_proto::{Lane, NodeId};

/// As long as a small write on its way to a replica.
const MESSAGE_BYTES: usize = 150;

/// Answers whatever comes.
struct Echo {
    transport: Arc<dyn Transport>,
    /// Where whoever asks listens.
    asker: Vec<u8>,
}

impl Receive for Echo {
    fn receive(&self, from: NodeId, message: &[u8]) -> Result<(), Refused> {
        self.transport
            .send(Some(from), &self.asker, Lane::Answer, message.to_vec());
        Ok(())
    }
}

/// Tells another thread, as a node does.
struct Answers(Sender<NodeId>);

impl Receive for Answers {
    fn receive(&self, from: NodeId, _: &[u8]) -> Result<(), Refused> {
        self.0.send(from).map_err(|_| Refused)
    }
}

/// Nanoseconds on a processor, and waits, of all threads that run.
fn spent() -> Result<(u64, u64), Box<dyn Error>> {
    let (mut busy, mut waits) = (0, 0);
    for task in fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        let times = fs::read_to_string(path.join("schedstat"))?;
        busy += times.split_whitespace().next().ok_or("no time")?.parse::<u64>()?;
        let status = fs::read_to_string(path.join("status"))?;
        for line in status.lines() {
            if let Some(count) = line.strip_prefix("voluntary_ctxt_switches:") {
                waits += count.trim().parse::<u64>()?;
            }
        }
    }
    Ok((busy, waits))
}

fn open(kind: TransportKind, seed: u8) -> Result<(NodeId, Arc<dyn Transport>), Box<dyn Error>> {
    let keys = Keys::new(
        Identity::from_seed(&[seed; 32]),
        "orchard",
        b"sixteen random bytes",
    );
    Ok((keys.node(), kind.open(TcpOptions::new("127.0.0.1:0"), keys)?))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let kind: TransportKind = args.next().as_deref().unwrap_or("tcp").parse()?;
    let mut number = |or: usize| args.next().map_or(Ok(or), |text| text.parse());
    let (at_once, count, total) = (number(1)?, number(1)?, number(50_000)?);
    let (_, asker) = open(kind, 1)?;
    let (tell, told) = channel();
    asker.start(Arc::new(Answers(tell)));
    let mut peers = Vec::new();
    for seed in 0..count {
        let (node, transport) = open(kind, seed as u8 + 2)?;
        transport.start(Arc::new(Echo {
            transport: transport.clone(),
            asker: asker.address(),
        }));
        peers.push((node, transport));
    }
    let ask = |node: NodeId| {
        let (_, transport) = peers
            .iter()
            .find(|(other, _)| *other == node)
            .expect("one of them");
        let message = vec![7; MESSAGE_BYTES];
        asker.send(Some(node), &transport.address(), Lane::Request, message)
    };
    // The connections are made first.
    for (node, _) in &peers {
        ask(*node);
        while told.recv_timeout(Duration::from_secs(1)).is_err() {
            ask(*node);
        }
    }
    while told.recv_timeout(Duration::from_millis(300)).is_ok() {}
    let (busy, waits) = spent()?;
    let began = Instant::now();
    for (node, _) in &peers {
        for _ in 0..at_once {
            ask(*node);
        }
    }
    for _ in 0..total {
        let from = told.recv_timeout(Duration::from_secs(5))?;
        ask(from);
    }
    let took = began.elapsed();
    let (busy_after, waits_after) = spent()?;
    // Two messages for each answer.
    let messages = 2.0 * total as f64;
    println!(
        "{} {at_once} at once, {count} peers: {:.2} us of processor, {:.2} waits, {:.2} us for each of {messages} messages; {:.2} writes for each",
        kind.name(),
        (busy_after - busy) as f64 / 1000.0 / messages,
        (waits_after - waits) as f64 / messages,
        took.as_secs_f64() * 1e6 / messages,
        asker.stats().writes as f64 / asker.stats().sent as f64,
    );
    asker.stop();
    peers.iter().for_each(|(_, transport)| transport.stop());
    Ok(())
}
