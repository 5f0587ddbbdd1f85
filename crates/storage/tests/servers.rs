//! The backends that stand on other systems, against real ones on loopback: three etcd servers, six Redis servers.
//!
//! Where the programs are not installed the tests are skipped, and say so; with `WEALD_NEED_SERVERS` set that is a failure.
#![cfg(any(feature = "etcd", feature = "redis-cluster"))]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use weald_storage::{Options, Registry, Storage, conformance};

/// Processes that end with the test.
struct Servers(Vec<Child>);

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn installed(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    if !found {
        assert!(
            std::env::var_os("WEALD_NEED_SERVERS").is_none(),
            "{program} is not installed"
        );
        eprintln!("SKIPPED: {program} is not installed");
    }
    found
}

fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    held.iter()
        .map(|listener| listener.local_addr().unwrap().port())
        .collect()
}

fn spawn(program: &str, dir: &Path, arguments: &[String]) -> Child {
    let log = std::fs::File::create(dir.join("log")).unwrap();
    Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(90), "no {what} after 90 s");
        thread::sleep(Duration::from_millis(100));
    }
}

fn open(name: &str, settings: &[(&str, &str)]) -> Result<Arc<dyn Storage>, weald_storage::Error> {
    let mut options = Options::new();
    options.settings = settings
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect();
    Registry::compiled().open(name, &options)
}

/// A store with a prefix of its own for each part of the suite, one a prefix of the other's neighbour.
fn conforms(name: &str, settings: &[(&str, &str)]) {
    let count = std::cell::Cell::new(0);
    conformance::run(|| {
        count.set(count.get() + 1);
        let prefix = format!("suite[{}]*", count.get());
        open(name, &[settings, &[("prefix", &prefix)]].concat()).unwrap()
    });
}

/// Asks a server on loopback something that must be granted.
#[cfg(feature = "etcd")]
fn post(port: u16, path: &str, body: &str) {
    use std::io::{Read, Write};

    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
}

#[cfg(feature = "etcd")]
#[test]
fn etcd_conforms_and_outlives_one_server_of_three() {
    if !installed("etcd") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports(6);
    let cluster: Vec<String> = (0..3)
        .map(|n| format!("n{n}=http://127.0.0.1:{}", ports[3 + n]))
        .collect();
    let start = |n: usize| {
        let home = dir.path().join(n.to_string());
        std::fs::create_dir_all(&home).unwrap();
        let client = format!("http://127.0.0.1:{}", ports[n]);
        let peer = format!("http://127.0.0.1:{}", ports[3 + n]);
        let pairs = [
            ("--name", format!("n{n}")),
            ("--data-dir", "data".into()),
            ("--listen-client-urls", client.clone()),
            ("--advertise-client-urls", client),
            ("--listen-peer-urls", peer.clone()),
            ("--initial-advertise-peer-urls", peer),
            ("--initial-cluster", cluster.join(",")),
        ];
        let arguments: Vec<String> = pairs
            .into_iter()
            .flat_map(|(name, value)| [name.into(), value])
            .collect();
        spawn("etcd", &home, &arguments)
    };
    let mut servers = Servers((0..3).map(start).collect());
    let addresses = ports[..3]
        .iter()
        .map(|port| format!("127.0.0.1:{port}"))
        .collect::<Vec<_>>()
        .join(",");
    let store = || open("etcd", &[("endpoints", &addresses)]);
    wait_until("etcd cluster", || {
        store().is_ok_and(|store| store.get(b"k").is_ok())
    });

    conforms("etcd", &[("endpoints", &addresses)]);

    for (path, body) in [
        ("user/add", r#"{"name": "root", "password": "a secret"}"#),
        ("role/add", r#"{"name": "root"}"#),
        ("user/grant", r#"{"user": "root", "role": "root"}"#),
        ("enable", "{}"),
    ] {
        post(ports[1], &format!("/v3/auth/{path}"), body);
    }
    let refused = store().and_then(|store| store.get(b"k"));
    assert!(refused.is_err(), "the servers want a password");
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "a secret").unwrap();
    let store = || {
        open(
            "etcd",
            &[
                ("endpoints", &addresses),
                ("user", "root"),
                ("password-file", secret.to_str().unwrap()),
            ],
        )
    };

    let item = |time, value: &str| weald_storage::Item::value(weald_storage::Version::new(time, 1), value);
    let store = store().unwrap();
    store.set(b"k", item(1, "before")).unwrap();
    servers.0[0].kill().unwrap();
    wait_until("answer from two of three", || {
        store.set(b"k", item(2, "after")).is_ok()
    });
    assert_eq!(
        store.get(b"k").unwrap().unwrap().value.as_deref(),
        Some(&b"after"[..])
    );
}

#[cfg(feature = "redis-cluster")]
#[test]
fn redis_cluster_conforms_on_six_servers() {
    if !installed("redis-server") || !installed("redis-cli") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // A server's bus has a port of its own, which would be 10,000 higher and may be taken.
    let ports = free_ports(12);
    let start = |n: usize| {
        let home = dir.path().join(n.to_string());
        std::fs::create_dir_all(&home).unwrap();
        let pairs = [
            ("--port", ports[n].to_string()),
            ("--bind", "127.0.0.1".into()),
            ("--cluster-enabled", "yes".into()),
            ("--cluster-port", ports[6 + n].to_string()),
            ("--cluster-node-timeout", "5000".into()),
            ("--save", String::new()),
            ("--requirepass", "a secret".into()),
            ("--masterauth", "a secret".into()),
        ];
        let arguments: Vec<String> = pairs
            .into_iter()
            .flat_map(|(name, value)| [name.into(), value])
            .collect();
        spawn("redis-server", &home, &arguments)
    };
    let servers = Servers((0..6).map(start).collect());
    wait_until("redis servers", || {
        ports[..6]
            .iter()
            .all(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok())
    });
    let nodes: Vec<String> = ports[..6]
        .iter()
        .map(|port| format!("127.0.0.1:{port}"))
        .collect();
    let made = Command::new("redis-cli")
        .args(["--no-auth-warning", "-a", "a secret", "--cluster", "create"])
        .args(&nodes)
        .args(["--cluster-replicas", "1", "--cluster-yes"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    let addresses = nodes.join(",");
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "a secret\n").unwrap();
    let login = [
        ("nodes", addresses.as_str()),
        ("user", "default"),
        ("password-file", secret.to_str().unwrap()),
    ];
    wait_until("redis cluster", || {
        let store = open("redis-cluster", &login);
        store.is_ok_and(|store| (0..50_u8).all(|n| store.get(&[n]).is_ok()))
    });
    conforms("redis-cluster", &login);
    let stranger = open("redis-cluster", &[("nodes", &addresses)]);
    assert!(stranger.is_err(), "the servers want a password");
    drop(servers);
}
