//! Three nodes of Weald in this process, with sockets between them; their clients ask through the library.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use weald_cluster::{Identity, Keys, Node, Options, TcpOptions, Transport, found};
use weald_cluster_proto::{Config, Found, Level, Phase, Quorums, Start};
use weald_storage::Registry;

use super::{Asked, Client, Cluster, VALUE, key};
use crate::engine::Result;
use crate::workload::mix;

const PATIENCE: Duration = Duration::from_secs(900);
/// 256 partitions.
const PARTITION_BITS: u8 = 8;

/// Nodes that run, and where they keep their data.
pub(super) struct Nodes {
    nodes: Vec<Node>,
    dir: PathBuf,
    backend: &'static str,
    store_workers: usize,
    hints: bool,
    start: Start,
    addresses: Vec<String>,
}

fn keys(number: usize) -> Keys {
    let identity = Identity::from_seed(&[number as u8 + 1; 32]);
    Keys::new(identity, "bench", b"a secret of this machine")
}

impl Nodes {
    pub(super) fn start(asked: &Asked, backend: &'static str, count: usize) -> Result<Nodes> {
        Nodes::start_with(asked, backend, count, true)
    }

    /// Starts nodes, which keep hints for one another or don't.
    fn start_with(asked: &Asked, backend: &'static str, count: usize, hints: bool) -> Result<Nodes> {
        let dir = asked
            .dir
            .join(format!("weald-bench-cluster-{}-{backend}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let transports: Vec<Arc<dyn Transport>> = (0..count)
            .map(|number| open(asked, number, "127.0.0.1:0"))
            .collect::<Result<_>>()?;
        let members = transports
            .iter()
            .enumerate()
            .map(|(number, transport)| (keys(number).node(), transport.address()));
        let mut nodes = Nodes {
            start: found(PARTITION_BITS, Quorums::balanced(3), members)?,
            addresses: transports
                .iter()
                .map(|transport| String::from_utf8_lossy(&transport.address()).into_owned())
                .collect(),
            nodes: Vec::new(),
            dir,
            backend,
            store_workers: asked.store_workers,
            hints,
        };
        for (number, transport) in transports.into_iter().enumerate() {
            let node = nodes.node(number, transport, nodes.start.clone())?;
            nodes.nodes.push(node);
        }
        for node in &nodes.nodes {
            node.wait_until_serving(PATIENCE)?;
        }
        Ok(nodes)
    }

    fn node(&self, number: usize, transport: Arc<dyn Transport>, start: Start) -> Result<Node> {
        let keys = keys(number);
        let dir = self.dir.join(number.to_string());
        std::fs::create_dir_all(&dir)?;
        let options = weald_storage::Options::in_dir(&dir);
        let storage = Registry::compiled().open(self.backend, &options)?;
        let usual = Config::new(keys.node(), 0);
        let config = Config {
            request_timeout_ms: 20_000,
            hint_bytes_max: if self.hints { usual.hint_bytes_max } else { 0 },
            ..usual
        };
        Ok(Node::start(Options {
            config,
            store_workers: self.store_workers,
            ..Options::new(keys, transport, storage, start)
        })?)
    }

    fn fill(&self, count: u64) -> Result<()> {
        let numbers: Vec<u64> = (0..count).collect();
        let mut client = self.client(0)?;
        numbers.chunks(256).try_for_each(|keys| client.write(keys))
    }
}

fn open(asked: &Asked, number: usize, listen: &str) -> Result<Arc<dyn Transport>> {
    Ok(asked.transport.open(TcpOptions::new(listen), keys(number))?)
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.nodes.clear();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

struct Through<'n>(&'n Node);

impl Client for Through<'_> {
    fn write(&mut self, keys: &[u64]) -> Result<()> {
        let names: Vec<[u8; 16]> = keys.iter().map(|&number| key(number)).collect();
        let items: Vec<(&[u8], Option<&[u8]>)> =
            names.iter().map(|name| (&name[..], Some(&VALUE[..]))).collect();
        for written in self.0.put_many(&items, None, Level::Balanced)? {
            written?;
        }
        Ok(())
    }
}

impl Cluster for Nodes {
    fn client(&self, task: usize) -> Result<Box<dyn Client + '_>> {
        Ok(Box::new(Through(&self.nodes[task % self.nodes.len()])))
    }

    fn cpu(&self) -> Result<Duration> {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }
}

fn until(what: &str, mut done: impl FnMut() -> Result<bool>) -> Result<Duration> {
    let began = Instant::now();
    while !done()? {
        if began.elapsed() > PATIENCE {
            return Err(format!("{what} took more than {} s", PATIENCE.as_secs()).into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(began.elapsed())
}

/// How many of the next keys a node has itself: it is the one that it asks for a single answer.
fn held(node: &Node, first: u64, count: u64) -> Result<u64> {
    let names: Vec<[u8; 16]> = (first..count.min(first + 1000)).map(key).collect();
    let names: Vec<&[u8]> = names.iter().map(|name| &name[..]).collect();
    let found = node.get_many(&names, Level::Eventual)?;
    let there =
        |found: &std::result::Result<Found, _>| found.as_ref().is_ok_and(|found| found.value.is_some());
    Ok(found.iter().take_while(|found| there(found)).count() as u64)
}

/// How long it takes, once it serves again, until a node that was away while so many keys were written has all of them: by the hints that were kept for it, or without any by comparing.
pub(super) fn repair(asked: &Asked, count: u64, hints: bool) -> Result<Duration> {
    let mut nodes = Nodes::start_with(asked, "file", 3, hints)?;
    let away = nodes.nodes.pop().ok_or("there are three")?;
    away.stop()?;
    drop(away);
    nodes.fill(count)?;
    let transport = open(asked, 2, &nodes.addresses[2])?;
    let back = nodes.node(2, transport, nodes.start.clone())?;
    back.wait_until_serving(PATIENCE)?;
    let mut has = 0;
    let took = until("repair", || {
        while has < count {
            let there = held(&back, has, count)?;
            if there == 0 {
                return Ok(false);
            }
            has += there;
        }
        Ok(true)
    })?;
    nodes.nodes.push(back);
    Ok(took)
}

/// What a join came to, and what writers beside it noticed.
pub(super) struct Join {
    /// Until the fourth node owned its share.
    pub(super) took: Duration,
    /// Writes a second before and meanwhile.
    pub(super) before: f64,
    pub(super) meanwhile: f64,
    /// The longest that one of them took meanwhile.
    pub(super) longest: Duration,
}

/// Writers beside a join.
const WRITERS: usize = 8;
/// How long they are watched before.
const WATCHED: Duration = Duration::from_secs(2);

/// A fourth node joins three that have so many keys, while writers change these.
pub(super) fn join(asked: &Asked, count: u64) -> Result<Join> {
    let nodes = Nodes::start(asked, "file", 3)?;
    nodes.fill(count)?;
    let (over, writes, longest_us) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|task| {
                let (nodes, over, writes, longest_us) = (&nodes, &over, &writes, &longest_us);
                scope.spawn(move || -> Result<()> {
                    let mut client = nodes.client(task)?;
                    let mut number = (task as u64) << 32;
                    while !over.load(Ordering::SeqCst) {
                        number += 1;
                        let began = Instant::now();
                        client.write(&[mix(number) % count])?;
                        longest_us.fetch_max(began.elapsed().as_micros() as u64, Ordering::SeqCst);
                        writes.fetch_add(1, Ordering::SeqCst);
                    }
                    Ok(())
                })
            })
            .collect();
        let joined = join_beside(asked, &nodes, &writes, &longest_us);
        over.store(true, Ordering::SeqCst);
        for writer in writers {
            writer.join().expect("no panics")?;
        }
        joined
    })
}

fn join_beside(asked: &Asked, nodes: &Nodes, writes: &AtomicU64, longest_us: &AtomicU64) -> Result<Join> {
    std::thread::sleep(WATCHED);
    let (counted, first) = (Instant::now(), writes.load(Ordering::SeqCst));
    std::thread::sleep(WATCHED);
    let before = (writes.load(Ordering::SeqCst) - first) as f64 / counted.elapsed().as_secs_f64();
    longest_us.store(0, Ordering::SeqCst);
    let first = writes.load(Ordering::SeqCst);
    let began = Instant::now();
    let seeds = vec![nodes.addresses[0].as_bytes().into()];
    let transport = open(asked, 3, "127.0.0.1:0")?;
    let fourth = nodes.node(3, transport, Start::Join(seeds))?;
    until("the join", || {
        let layout = nodes.nodes[0].layout()?;
        Ok(layout.is_some_and(|layout| {
            layout.phase == Phase::Stable && layout.current.members.contains_key(&fourth.id())
        }))
    })?;
    let took = began.elapsed();
    Ok(Join {
        took,
        before,
        meanwhile: (writes.load(Ordering::SeqCst) - first) as f64 / took.as_secs_f64(),
        longest: Duration::from_micros(longest_us.load(Ordering::SeqCst)),
    })
}
