//! Processes of the program that are nodes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::client::Client;

pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// A node with its folder and ports, which may run.
pub(crate) struct Host {
    pub(crate) dir: PathBuf,
    pub(crate) port: u16,
    pub(crate) cluster_port: u16,
    pub(crate) http_port: u16,
    child: Option<Child>,
}

/// Nodes of one cluster. The first founded it.
pub(crate) struct Town {
    pub(crate) hosts: Vec<Host>,
    pub(crate) dir: TempDir,
    /// What every node is started with, beside the usual.
    settings: &'static [&'static str],
    began: Instant,
}

/// A port that is free, and below those that the system gives to connections: it is still free when a node is started again.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(211);
    loop {
        let port = (10_000 + first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

pub(crate) fn weald() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weald"));
    // What the machine has set is not for these processes.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WEALD_") {
            command.env_remove(name);
        }
    }
    command
}

impl Host {
    fn new(dir: PathBuf) -> Host {
        Host {
            dir,
            port: free_port(),
            cluster_port: free_port(),
            http_port: free_port(),
            child: None,
        }
    }

    /// Starts the process; it need not serve yet.
    pub(crate) fn start(&mut self, secret: &std::path::Path, extra: &[String]) {
        let log = std::fs::File::create(self.dir.with_extension("log")).expect("a log");
        let child = weald()
            .args([
                "serve",
                "--http",
                "yes",
                "--http-port",
                &self.http_port.to_string(),
            ])
            .args(["--port", &self.port.to_string()])
            .args(["--cluster-port", &self.cluster_port.to_string()])
            .args(["--cluster-request-timeout-ms", "2000"])
            .args(["--cluster-probe-interval-ms", "200"])
            .args(["--cluster-partition-bits", "4"])
            .arg("--cluster-secret-file")
            .arg(secret)
            .arg("--dir")
            .arg(&self.dir)
            .args(extra)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        self.child = Some(child);
    }

    /// `KILL`, `STOP`, `CONT` or `TERM`.
    pub(crate) fn signal(&mut self, name: &str) {
        let child = self.child.as_mut().expect("it runs");
        let pid = child.id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status()
            .expect("kill runs");
        assert!(sent.success());
        if name == "KILL" || name == "TERM" {
            child.wait().expect("it ends");
            self.child = None;
        }
    }

    pub(crate) fn client(&self) -> Client {
        let until = Instant::now() + PATIENCE;
        loop {
            match Client::connect(self.port) {
                Ok(client) => return client,
                Err(e) => assert!(Instant::now() < until, "{}: {e}", self.port),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Host {
    /// The body of what HTTP answers, once the node listens.
    pub(crate) fn http(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http_port)).expect("connected");
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        body.to_owned()
    }
}

impl Host {
    /// Memory that the process has, as Linux counts it.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let process = self.child.as_ref().expect("it runs").id();
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it is there");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse::<u64>().ok()).expect("a number") << 10
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.with_extension("log")).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(12).collect();
            eprintln!("node at {}, the latest first:\n{}", self.port, last.join("\n"));
        }
    }
}

impl Town {
    /// A cluster of so many nodes that serves.
    pub(crate) fn of(count: usize) -> Town {
        Town::with(count, &[])
    }

    /// The same, with settings.
    pub(crate) fn with(count: usize, settings: &'static [&'static str]) -> Town {
        let dir = tempfile::tempdir().expect("a folder");
        let mut town = Town {
            hosts: Vec::new(),
            dir,
            settings,
            began: Instant::now(),
        };
        let made = weald()
            .args(["cluster", "init"])
            .arg(town.secret())
            .output()
            .expect("the program runs");
        assert!(made.status.success(), "{made:?}");
        for number in 0..count {
            town.add();
            town.wait_for_members(number + 1);
        }
        town.told(&format!("{count} nodes serve"));
        town
    }

    fn secret(&self) -> PathBuf {
        self.dir.path().join("secret")
    }

    /// Says how long a part of the story took.
    pub(crate) fn told(&mut self, what: &str) {
        println!("{:6} ms  {what}", self.began.elapsed().as_millis());
        self.began = Instant::now();
    }

    /// Starts one more node, which joins.
    pub(crate) fn add(&mut self) {
        let at = self.hosts.len();
        let mut host = Host::new(self.dir.path().join(format!("node-{at}")));
        let mut extra: Vec<String> = self.settings.iter().map(ToString::to_string).collect();
        if let Some(first) = self.hosts.first() {
            extra.extend(["--join".to_owned(), format!("127.0.0.1:{}", first.cluster_port)]);
        }
        host.start(&self.secret(), &extra);
        self.hosts.push(host);
    }

    /// Starts a node again with what its folder has.
    pub(crate) fn restart(&mut self, at: usize) {
        let secret = self.secret();
        let extra: Vec<String> = self.settings.iter().map(ToString::to_string).collect();
        self.hosts[at].start(&secret, &extra);
    }

    pub(crate) fn client(&self, at: usize) -> Client {
        self.hosts[at].client()
    }

    /// Waits until all nodes that run see that many members, and serve, and nothing moves.
    pub(crate) fn wait_for_members(&self, count: usize) {
        let hosts: Vec<&Host> = self.hosts.iter().filter(|host| host.child.is_some()).collect();
        until("members", || {
            hosts.iter().all(|host| {
                let text = host.client().text("CLUSTER INFO");
                let has = |line: &str| text.lines().any(|other| other == line);
                has("cluster_state:ok")
                    && has(&format!("cluster_size:{count}"))
                    && has("weald_cluster_phase:stable")
            })
        });
    }

    /// Waits until every node has the same version and value of these keys, by its own store.
    pub(crate) fn wait_for_equal_copies(&self, nodes: &[usize], keys: &[String]) {
        let mut clients: Vec<Client> = nodes.iter().map(|at| self.client(*at)).collect();
        let commands: Vec<Vec<&str>> = keys.iter().map(|key| vec!["WEALD.LOCAL", key]).collect();
        until("equal copies", || {
            let mut copies: Vec<Vec<String>> = Vec::new();
            for client in &mut clients {
                client.send(&commands).expect("sent");
                let copy = keys
                    .iter()
                    .map(|_| super::client::shown(&client.reply().expect("answered")));
                copies.push(copy.collect());
            }
            copies.windows(2).all(|pair| pair[0] == pair[1])
                && copies[0].iter().all(|copy| copy.contains("present"))
        });
    }
}

pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(50));
    }
}
