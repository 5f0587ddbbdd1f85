//! A server as a process: how it starts, what it refuses, how it ends, and what a kill leaves.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
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
fn with_certificates_a_hangup_reads_them_again() {
    let place = Place::new();
    let file = |name: &str| format!("{}/../server/tests/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::copy(file("server.pem"), place.path("cert.pem")).unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let key = file("server.key");
    let serving = Serving::in_place(
        &place,
        &[
            "--tls-port",
            &port,
            "--tls-auth-clients",
            "no",
            "--tls-cert-file",
            "cert.pem",
            "--tls-key-file",
            &key,
            "--logfile",
            "log",
        ],
    );
    let log_has = |text: &str| {
        let begin = Instant::now();
        while !std::fs::read_to_string(place.path("log")).unwrap().contains(text) {
            assert!(begin.elapsed() < Duration::from_secs(20), "{text}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    signal(&serving.child, "HUP");
    log_has("certificates were read again");
    std::fs::write(place.path("cert.pem"), "").unwrap();
    signal(&serving.child, "HUP");
    log_has("certificates could not be read again, those before are used: cert.pem");
    assert_eq!(serving.end("TERM"), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    use std::os::unix::process::ExitStatusExt;
    let place = Place::new();
    let mut serving = Serving::in_place(&place, &[]);
    assert_eq!(serving.ask("SET a 1\r\n", 1), ["+OK"]);
    // It can't end in order while a command runs.
    let (mut busy, mut other) = (serving.connect(), serving.connect());
    busy.write_all(b"DEBUG SLEEP 60\r\n").unwrap();
    other.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let begin = Instant::now();
    let mut pong = [0; 7];
    while other
        .write_all(b"PING\r\n")
        .and_then(|()| other.read_exact(&mut pong))
        .is_ok()
    {
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "the command does not begin"
        );
    }
    signal(&serving.child, "TERM");
    std::thread::sleep(Duration::from_millis(200));
    assert!(
        serving.child.try_wait().unwrap().is_none(),
        "it waits for the command"
    );
    // Two that come at once are one to a process.
    let status = loop {
        signal(&serving.child, "TERM");
        std::thread::sleep(Duration::from_millis(200));
        if let Some(status) = serving.child.try_wait().unwrap() {
            break status;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(50),
            "it waits for the command"
        );
    };
    assert_eq!((status.code(), status.signal()), (None, Some(15)));
    let serving = Serving::in_place(&place, &[]);
    assert_eq!(serving.ask("GET a\r\n", 2), ["$1", "1"]);
}

#[test]
fn no_secret_is_in_the_log() {
    let place = Place::new();
    let mut command = place.command(&["serve", "--port", "0", "--bind", "127.0.0.1", "--logfile", "log"]);
    command.args(["--loglevel", "debug", "--slowlog-log-slower-than", "0"]);
    command.env("WEALD_REQUIREPASS", "secret-of-the-environment");
    let serving = Serving::start(command);
    let said = serving.ask(
        "AUTH secret-that-is-wrong\r\nAUTH secret-of-the-environment\r\nCONFIG SET requirepass secret-of-a-command\r\n\
         ACL SETUSER ada on >secret-of-a-user ~* +@all\r\nAUTH ada secret-of-a-user\r\nACL SETUSER ada no-such-secret-rule\r\nSLOWLOG GET 20\r\nQUIT\r\n",
        1000,
    );
    let kinds: Vec<&str> = said[..6].iter().map(|line| &line[..1]).collect();
    assert_eq!(kinds, ["-", "+", "+", "+", "+", "-"], "{said:?}");
    assert!(
        said.iter().skip(6).all(|line| !line.contains("secret-")),
        "{said:?}"
    );
    assert_eq!(serving.end("TERM"), Some(0));
    let log = std::fs::read_to_string(place.path("log")).unwrap();
    assert!(log.contains("ending") && !log.contains("secret-"), "{log}");
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
    // A check finds what a start would refuse, and touches nothing.
    let checked = place.refused(2, &["serve", "--check-config", "--bind", "0.0.0.0"]);
    assert_eq!(checked, public);
    let checked = place.refused(
        2,
        &[
            "serve",
            "--check-config",
            "--tls-port",
            "1",
            "--tls-cert-file",
            "nowhere",
        ],
    );
    assert!(checked.contains("tls-key-file"), "{checked}");
    std::fs::write(place.path("users"), "user ada on +@nothing\n").unwrap();
    let checked = place.refused(2, &["serve", "--check-config", "--aclfile", "users"]);
    assert!(checked.contains("users"), "{checked}");
    let checked = place.refused(2, &["serve", "--check-config", "--http-bind", "0.0.0.0"]);
    assert!(
        checked.contains("let http-bind be a loopback address"),
        "{checked}"
    );
    assert!(!place.path("weald-data").exists());
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
fn without_files_for_more_clients_those_that_are_there_are_served() {
    let place = Place::new();
    let mut command = place.command(&["serve", "--port", "0", "--bind", "127.0.0.1", "--http", "no"]);
    let mut few_files = Command::new("sh");
    few_files
        .args(["-c", "ulimit -n 48; exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(place.dir())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command = few_files;
    let serving = Serving::start(command);
    let mut stream = serving.connect();
    let mut replies = BufReader::new(stream.try_clone().unwrap());
    let mut ask = |request: &str| {
        stream.write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        replies.read_line(&mut line).unwrap();
        line
    };
    assert_eq!(ask("SET k v\r\n"), "+OK\r\n");
    let crowd: Vec<TcpStream> = (0..100).map(|_| serving.connect()).collect();
    for _ in 0..20 {
        assert_eq!(ask("SET k v\r\n"), "+OK\r\n");
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(crowd);
    let begin = Instant::now();
    // Until they are gone, some are told that there are too many.
    while serving.ask("PING\r\n", 1) != ["+PONG"] {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "others are served again"
        );
    }
    assert_eq!(serving.end("TERM"), Some(0));
}

#[test]
fn a_kill_under_load_loses_nothing_that_was_answered() {
    let place = Place::new();
    let mut answered = 0u64;
    for (round, durability) in ["immediate", "batched", "immediate", "batched"]
        .into_iter()
        .enumerate()
    {
        let serving = Serving::in_place(&place, &["--durability", durability]);
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

/// A request with a value of that many bytes.
fn set(key: &str, len: usize) -> String {
    let (key_len, value) = (key.len(), "v".repeat(len));
    format!("*3\r\n$3\r\nSET\r\n${key_len}\r\n{key}\r\n${len}\r\n{value}\r\n")
}

/// A bound on the length of files is what a full disk is to a server, but that anybody can have it.
#[test]
fn without_room_writes_are_refused_and_reads_go_on() {
    let place = Place::new();
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 8192; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_weald"))
        .args(["serve", "--port", "0", "--bind", "127.0.0.1", "--http", "no"])
        .current_dir(place.dir())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let serving = Serving::start(command);
    let mut stream = serving.connect();
    let mut replies = BufReader::new(stream.try_clone().unwrap());
    let mut ask = |request: &str| {
        stream.write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        replies.read_line(&mut line).unwrap();
        line
    };
    let mut stored = 0;
    let refusal = loop {
        let reply = ask(&set(&format!("key:{stored}"), 60_000));
        if reply != "+OK\r\n" {
            break reply;
        }
        stored += 1;
        assert!(stored < 1000, "8 MiB hold no 60 MB");
    };
    assert!(
        refusal.starts_with("-MISCONF Weald can't write to the disk, nothing was changed: "),
        "{refusal}"
    );
    assert!(stored > 10);
    for number in 0..stored {
        assert_eq!(ask(&format!("STRLEN key:{number}\r\n")), ":60000\r\n");
    }
    assert_eq!(ask(&format!("EXISTS key:{stored}\r\n")), ":0\r\n");
    assert_eq!(ask("PING\r\n"), "+PONG\r\n");
    drop(serving);
    let serving = Serving::in_place(&place, &["--http", "no"]);
    let there = serving.ask("DBSIZE\r\nSET small 1\r\n", 2);
    assert_eq!(there, [format!(":{stored}"), "+OK".to_owned()]);
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
