//! The program on each machine of a network, as nodes of one cluster.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::network::{Network, address};
use crate::nodes::client::Client;
use crate::nodes::host::{PATIENCE, until, weald};

const CLUSTER_PORT: u16 = 7379;

pub(crate) struct Town {
    // Before the network, which goes last.
    nodes: Vec<Node>,
    pub(crate) network: Network,
    began: Instant,
    _dir: TempDir,
}

struct Node {
    dir: PathBuf,
    child: Child,
}

impl Node {
    fn start(network: &Network, machine: usize, dir: &Path, transport: &str) -> Node {
        let at = dir.join(format!("node-{machine}"));
        let log = File::create(at.with_extension("log")).expect("a log");
        // `ip netns exec` becomes the program, so that it can be killed by its number.
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &network.space(machine)]);
        command.arg(weald().get_program()).arg("serve");
        for (name, value) in weald().get_envs() {
            if value.is_none() {
                command.env_remove(name);
            }
        }
        command
            .args(["--port", "0", "--http", "no"])
            .arg("--unixsocket")
            .arg(at.with_extension("socket"))
            .args(["--cluster-bind", &address(machine)])
            .args(["--cluster-port", &CLUSTER_PORT.to_string()])
            .args(["--cluster-transport", transport])
            .args(["--cluster-request-timeout-ms", "1000"])
            .args(["--cluster-probe-interval-ms", "200"])
            .args(["--cluster-partition-bits", "4"])
            .arg("--cluster-secret-file")
            .arg(dir.join("secret"))
            .arg("--dir")
            .arg(&at);
        if machine > 0 {
            command.args(["--join", &format!("{}:{CLUSTER_PORT}", address(0))]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        Node { dir: at, child }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.with_extension("log")).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(12).collect();
            eprintln!("{}, the latest first:\n{}", self.dir.display(), last.join("\n"));
        }
    }
}

impl Town {
    /// Three nodes that serve.
    pub(crate) fn of(network: Network, transport: &str) -> Town {
        let dir = tempfile::tempdir().expect("a folder");
        let made = weald()
            .args(["cluster", "init"])
            .arg(dir.path().join("secret"))
            .output()
            .expect("the program runs");
        assert!(made.status.success(), "{made:?}");
        let mut town = Town {
            nodes: Vec::new(),
            network,
            began: Instant::now(),
            _dir: dir,
        };
        for machine in 0..3 {
            let node = Node::start(&town.network, machine, town._dir.path(), transport);
            town.nodes.push(node);
            town.wait_for_members(machine + 1);
        }
        town.told("three nodes serve");
        town
    }

    /// Says how long a part of the story took.
    pub(crate) fn told(&mut self, what: &str) {
        println!("{:6} ms  {what}", self.began.elapsed().as_millis());
        self.began = Instant::now();
    }

    pub(crate) fn socket(&self, at: usize) -> PathBuf {
        self.nodes[at].dir.with_extension("socket")
    }

    pub(crate) fn client(&self, at: usize) -> Client<UnixStream> {
        let until = Instant::now() + PATIENCE;
        loop {
            match Client::local(&self.socket(at)) {
                Ok(client) => return client,
                Err(e) => assert!(Instant::now() < until, "node {at}: {e}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until all nodes see that many members, and serve, and nothing moves.
    pub(crate) fn wait_for_members(&self, count: usize) {
        until("members", || {
            (0..self.nodes.len()).all(|at| {
                let text = self.client(at).text("CLUSTER INFO");
                let has = |line: &str| text.lines().any(|other| other == line);
                has("cluster_state:ok")
                    && has(&format!("cluster_size:{count}"))
                    && has("weald_cluster_phase:stable")
            })
        });
    }

    /// Waits until this node takes that one for dead or suspect, or no longer does.
    pub(crate) fn wait_for_doubt(&self, at: usize, of: usize, doubts: bool) {
        let other = format!("address={}:{CLUSTER_PORT} ", address(of));
        until(if doubts { "doubt" } else { "trust" }, || {
            let members = self.client(at).text("CLUSTER MEMBERS");
            let line = members.lines().find(|line| line.contains(&other));
            line.is_some_and(|line| line.contains("state=alive ") != doubts)
        });
    }

    /// Waits until every node's own store has the same of these keys, and those that were acknowledged are there. Clients are asked anew each time.
    pub(crate) fn wait_for_equal_copies(&self, acknowledged: &[String], tried: &[String]) {
        let mut clients: Vec<Client<UnixStream>> = (0..self.nodes.len()).map(|at| self.client(at)).collect();
        let mut last = String::new();
        let equal = |key: &String, clients: &mut Vec<Client<UnixStream>>, last: &mut String| {
            let copies: Vec<String> = clients
                .iter_mut()
                .map(|client| client.text(&format!("WEALD.LOCAL {key}")))
                .collect();
            let equal = copies.windows(2).all(|pair| pair[0] == pair[1]);
            *last = format!("{key}: {copies:?}");
            equal.then(|| copies[0].contains("present")).ok_or(())
        };
        let end = Instant::now() + PATIENCE;
        for (keys, needed) in [(acknowledged, true), (tried, false)] {
            for key in keys {
                loop {
                    match equal(key, &mut clients, &mut last) {
                        Ok(present) if present || !needed => break,
                        _ => assert!(Instant::now() < end, "copies stay different: {last}"),
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
    }
}
