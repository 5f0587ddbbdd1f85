//! Nodes on loopback with a folder each, which can be stopped and started again.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use weald_cluster::{Identity, Keys, Node, Options, Tcp, TcpOptions, found};
use weald_cluster_proto::{Config, Quorums, Start};
use weald_storage::Registry;

pub(crate) const SECRET: &[u8] = b"sixteen random bytes";
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A node that may run.
pub(crate) struct Host {
    pub(crate) dir: TempDir,
    pub(crate) keys: Keys,
    pub(crate) address: String,
    pub(crate) start: Option<Start>,
    pub(crate) node: Option<Node>,
}

pub(crate) fn keys(dir: &Path, secret: &[u8]) -> Keys {
    Keys::new(Identity::open(dir).expect("an identity"), "orchard", secret)
}

/// Shorter times than usual.
pub(crate) fn brisk(keys: &Keys) -> Config {
    Config {
        request_timeout_ms: 3_000,
        resend_ms: 200,
        probe_interval_ms: 100,
        probe_timeout_ms: 300,
        repair_interval_ms: 100,
        hint_interval_ms: 100,
        ..Config::new(keys.node(), 0)
    }
}

pub(crate) fn bind(listen: &str, keys: &Keys) -> Arc<Tcp> {
    let options = TcpOptions {
        connect_timeout: Duration::from_millis(800),
        check_interval: Duration::from_millis(300),
        retry_max: Duration::from_millis(500),
        handshakes_max: 16,
        ..TcpOptions::new(listen)
    };
    Tcp::bind(options, keys.clone()).expect("a port")
}

/// An address whose port is free, and below those that the system gives to connections: it is still free when a node is started again.
fn free_address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(101);
    loop {
        let port = 10_000 + first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        let address = format!("127.0.0.1:{port}");
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

impl Host {
    /// A node that does not run yet.
    pub(crate) fn new(secret: &[u8]) -> Host {
        let dir = tempfile::tempdir().expect("a folder");
        let keys = keys(dir.path(), secret);
        let address = free_address();
        Host {
            dir,
            keys,
            address,
            start: None,
            node: None,
        }
    }

    pub(crate) fn run(&mut self) {
        let transport = bind(&self.address, &self.keys);
        let storage = Registry::compiled()
            .open("file", &weald_storage::Options::in_dir(self.dir.path()))
            .expect("a store");
        let start = self.start.clone().expect("it was said how to start");
        let options = Options {
            config: brisk(&self.keys),
            ..Options::new(self.keys.clone(), transport, storage, start)
        };
        self.node = Some(Node::start(options).expect("started"));
    }

    pub(crate) fn halt(&mut self) {
        self.node.take().expect("it runs").stop().expect("stopped");
    }

    pub(crate) fn node(&self) -> &Node {
        self.node.as_ref().expect("it runs")
    }

    pub(crate) fn wait(&self) {
        self.node().wait_until_serving(PATIENCE).expect("it serves");
    }
}

/// Founders that run.
pub(crate) fn cluster(count: u8) -> Vec<Host> {
    let mut hosts: Vec<Host> = (0..count).map(|_| Host::new(SECRET)).collect();
    let members: Vec<_> = hosts
        .iter()
        .map(|host| (host.keys.node(), host.address.clone().into_bytes()))
        .collect();
    let start = found(4, Quorums::balanced(count), members).expect("a layout");
    for host in &mut hosts {
        host.start = Some(start.clone());
        host.run();
    }
    hosts.iter().for_each(Host::wait);
    let alive = |host: &Host| host.node().status().expect("told").alive;
    until("an acquaintance of all with all", || {
        hosts.iter().all(|host| alive(host) + 1 == usize::from(count))
    });
    hosts
}

pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(10));
    }
}
