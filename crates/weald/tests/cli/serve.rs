//! A server as a process: how it starts, what it refuses, how it ends, and what a kill leaves.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::program::{Place, program, signal};

/// A server that is gone with the test.
struct Serving {
    child: Child,
    address: String,
}

impl Serving {
    fn start(mut command: Command) -> Serving {
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().expect("it says where it is").unwrap();
        let address = first.rsplit(' ').next().unwrap().to_owned();
        Serving { child, address }
    }

    fn in_place(place: &Place, args: &[&str]) -> Serving {
        let mut command = place.command(&["serve", "--port", "0", "--bind", "127.0.0.1"]);
        command.args(args);
        Serving::start(command)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    /// Sends lines, and gives the lines that come for them.
    fn ask(&self, lines: &str, replies: usize) -> Vec<String> {
        let mut stream = self.connect();
        stream.write_all(lines.as_bytes()).unwrap();
        let reader = BufReader::new(stream);
        reader.lines().take(replies).map(|line| line.unwrap()).collect()
    }

    fn end(mut self, name: &str) -> Option<i32> {
        signal(&self.child, name);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_serves_and_ends_with_0_at_each_signal() {
    let place = Place::new();
    for (i, name) in ["TERM", "INT", "HUP"].into_iter().enumerate() {
        let serving = Serving::in_place(&place, &[]);
        assert_eq!(serving.ask("INCR count\r\n", 1), [format!(":{}", i + 1)]);
        assert_eq!(serving.end(name), Some(0), "{name}");
    }
    // All data are in the one file.
    assert!(place.path("weald-data/data.weald").exists());
    assert!(!place.path("weald-data/data.weald-wal").exists());
}

#[test]
fn shutdown_ends_it_with_0() {
    let place = Place::new();
    let mut serving = Serving::in_place(&place, &[]);
    serving.connect().write_all(b"SHUTDOWN\r\n").unwrap();
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
}

#[test]
fn refusals_are_one_line_and_a_code() {
    let place = Place::new();
    let unknown = place.refused(2, &["serve", "--check-config", "missing.toml"]);
    assert!(unknown.contains("missing.toml"), "{unknown}");
    let port = place.refused(2, &["serve", "--port", "70000"]);
    assert!(
        port.contains("port: argument must be between 0 and 65535"),
        "{port}"
    );
    let public = place.refused(2, &["serve", "--port", "0", "--bind", "0.0.0.0"]);
    assert!(public.contains("insist with --insecure yes"), "{public}");
    let serving = Serving::in_place(&place, &[]);
    let locked = place.refused(3, &["serve", "--port", "0"]);
    assert!(locked.contains("in use by process"), "{locked}");
    let taken = serving.address.rsplit(':').next().unwrap();
    let taken = place.refused(
        5,
        &["serve", "--dir", "other", "--bind", "127.0.0.1", "--port", taken],
    );
    assert!(taken.contains("can't listen on"), "{taken}");
    std::fs::create_dir(place.path("bad")).unwrap();
    std::fs::write(place.path("bad/data.weald"), vec![7; 10_000]).unwrap();
    let damaged = place.refused(4, &["serve", "--port", "0", "--dir", "bad"]);
    assert!(damaged.contains("not a Weald database"), "{damaged}");
}

#[test]
fn flags_come_before_the_environment_and_that_before_the_file() {
    let place = Place::new();
    std::fs::write(
        place.path("weald.toml"),
        "port = 1\nmaxclients = 1\ntimeout = 1\n",
    )
    .unwrap();
    let out = place
        .command(&["serve", "weald.toml", "--print-config", "--port", "3"])
        .env("WEALD_PORT", "2")
        .env("WEALD_MAXCLIENTS", "2")
        .env("WEALD_REQUIREPASS", "hunter2")
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(
        text.contains("\nport = 3\n") && text.contains("\nmaxclients = 2\n"),
        "{text}"
    );
    assert!(
        text.contains("\ntimeout = 1\n") && !text.contains("hunter2"),
        "{text}"
    );
    std::fs::write(place.path("printed.toml"), &text).unwrap();
    assert_eq!(
        place.text(&["serve", "--check-config", "printed.toml"]),
        "the configuration can be used\n"
    );
}

#[test]
fn flags_of_redis_server_are_understood() {
    let place = Place::new();
    let path = place.path("w.sock");
    let args = [
        "--save",
        "",
        "--appendonly",
        "no",
        "--logfile",
        "log",
        "--unixsocket",
        path.to_str().unwrap(),
    ];
    let serving = Serving::in_place(&place, &args);
    let serving_log = std::fs::read_to_string(place.path("log")).unwrap();
    assert!(serving_log.contains("info: serving"), "{serving_log}");
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut reply = [0; 7];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"+PONG\r\n");
    assert_eq!(serving.end("TERM"), Some(0));
    assert!(!path.exists());
    let version = place.text(&["serve", "-v"]);
    assert!(version.starts_with("Weald server v=7."), "{version}");
}

#[test]
fn systemd_is_told_when_it_is_ready() {
    let place = Place::new();
    let path = place.path("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut command = place.command(&["serve", "--port", "0", "--bind", "127.0.0.1"]);
    command.env("NOTIFY_SOCKET", &path);
    let serving = Serving::start(command);
    let mut buffer = [0; 64];
    let len = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"READY=1");
    assert_eq!(serving.end("TERM"), Some(0));
    let len = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"STOPPING=1");
}

#[test]
fn a_kill_under_load_loses_nothing_that_was_answered() {
    let place = Place::new();
    let mut answered = 0u64;
    for round in 0..3 {
        let serving = Serving::in_place(&place, &["--durability", "immediate"]);
        let begin = Instant::now();
        let there = serving.ask("GET last\r\nPING\r\n", 2);
        assert!(begin.elapsed() < Duration::from_secs(10), "it recovers soon");
        if round > 0 {
            let last: u64 = there[1].parse().unwrap_or(0);
            assert!(last >= answered, "{last} is there, {answered} was answered");
            let count = serving.ask("SCARD all\r\n", 1);
            let count: u64 = count[0].trim_start_matches(':').parse().unwrap();
            assert_eq!(count, last, "a transaction is there whole or not at all");
            answered = last;
        }
        let mut stream = serving.connect();
        let mut replies = BufReader::new(stream.try_clone().unwrap());
        for _ in 0..100 {
            let next = answered + 1;
            let request = format!("MULTI\r\nSADD all {next}\r\nSET last {next}\r\nEXEC\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            for _ in 0..6 {
                let mut line = String::new();
                replies.read_line(&mut line).unwrap();
                assert!(!line.starts_with('-'), "{line}");
            }
            answered = next;
        }
        // More is under way when the end comes.
        let more: String = (1..2000)
            .map(|i| answered + i)
            .map(|n| format!("MULTI\r\nSADD all {n}\r\nSET last {n}\r\nEXEC\r\n"))
            .collect();
        let _ = stream.write_all(more.as_bytes());
        drop(serving);
    }
}

#[test]
fn alone_it_is_a_server_too() {
    let place = Place::new();
    let mut command = program();
    command
        .current_dir(place.dir())
        .env("WEALD_PORT", "0")
        .env("WEALD_BIND", "127.0.0.1");
    let serving = Serving::start(command);
    assert_eq!(serving.ask("PING\r\n", 1), ["+PONG"]);
    assert_eq!(serving.end("TERM"), Some(0));
    assert!(place.path("weald-data").is_dir());
}
