//! Clients that ask for too much, or do too little.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::client::{Served, show};

#[test]
fn one_client_too_many_is_told_so() {
    let served = Served::with(&[("maxclients", "3")]);
    let mut clients: Vec<_> = (0..3).map(|_| served.client()).collect();
    clients
        .iter_mut()
        .for_each(|client| client.check("PING", "+PONG"));
    let mut client = served.client();
    client.expect("-ERR max number of clients reached");
    assert_eq!(client.next(), None);
    drop(clients.pop());
    let begin = Instant::now();
    loop {
        let mut client = served.client();
        client.send("PING");
        match client.next() {
            Some(weald_server::Frame::Simple(_)) => break,
            _ => assert!(begin.elapsed() < Duration::from_secs(20), "a place became free"),
        }
    }
}

#[test]
fn a_silent_client_is_dismissed_and_a_listener_is_not() {
    let served = Served::with(&[("timeout", "1"), ("hz", "50")]);
    let (mut silent, mut listener) = (served.client(), served.client());
    silent.check("PING", "+PONG");
    listener.check("SUBSCRIBE a", "[subscribe a :1]");
    assert_eq!(silent.next(), None);
    served.client().check("PUBLISH a x", ":1");
    listener.expect("[message a x]");
}

#[test]
fn half_a_request_is_not_waited_for_without_end() {
    let served = Served::with(&[("request-timeout", "1"), ("hz", "50")]);
    let mut slow = served.client();
    slow.send_bytes(b"*2\r\n$4\r\nECHO\r\n$100\r\nab");
    assert_eq!(slow.next(), None);
}

#[test]
fn one_that_does_not_say_who_it_is_is_dismissed() {
    let served = Served::with(&[("requirepass", "x"), ("auth-timeout", "1"), ("hz", "50")]);
    let mut client = served.client();
    assert_eq!(client.next(), None);
}

#[test]
fn one_that_never_reads_takes_bounded_memory_and_harms_nobody() {
    let served = Served::new();
    let (mut deaf, mut other) = (served.client(), served.client());
    other.send_args(&[b"SET", b"large", &vec![b'x'; 1 << 20]]);
    other.expect("+OK");
    deaf.stream.set_nonblocking(true).expect("it can");
    // Each of these few bytes asks for a megabyte.
    let requests = b"GET large\r\n".repeat(2000);
    let _ = deaf.stream.write(&requests);
    for _ in 0..20 {
        other.check("PING", "+PONG");
    }
    let id = crate::client::show(&other.run("CLIENT LIST"));
    let unsent: Vec<u64> = id
        .lines()
        .filter_map(|line| line.split(" omem=").nth(1)?.split(' ').next()?.parse().ok())
        .collect();
    assert!(unsent.iter().all(|bytes| *bytes < 8 << 20), "{unsent:?}");
}

#[test]
fn a_listener_that_never_reads_is_dismissed() {
    let served = Served::with(&[("client-output-buffer-limit", "pubsub 4mb 0 0")]);
    let (mut deaf, mut sender) = (served.client(), served.client());
    deaf.check("SUBSCRIBE a", "[subscribe a :1]");
    let message = vec![b'x'; 1 << 20];
    let begin = Instant::now();
    loop {
        sender.send_args(&[b"PUBLISH", b"a", &message]);
        if sender.read() == weald_server::Frame::Integer(0) {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "it is dismissed");
    }
}

#[test]
fn ten_thousand_idle_connections_take_little_and_slow_nobody() {
    const CLIENTS: usize = 10_000;
    // Both ends of each are files of this process.
    let clients = CLIENTS.min(file_limit(2 * CLIENTS as u64 + 500).saturating_sub(500) / 2);
    if clients < CLIENTS {
        eprintln!("the system lets only {clients} connections be tested, not {CLIENTS}");
    }
    let served = Served::with(&[("maxclients", "20000"), ("tcp-backlog", "4096")]);
    let mut one = served.client();
    let before = resident_bytes(&mut one);
    let mut idle: Vec<_> = (0..clients).map(|_| served.client()).collect();
    idle.iter_mut().for_each(|client| client.send("PING"));
    idle.iter_mut().for_each(|client| client.expect("+PONG"));
    let begin = Instant::now();
    for i in 0..100 {
        one.check(&format!("SET key:{i} 1"), "+OK");
    }
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    let info = crate::client::show(&one.run("INFO clients"));
    assert!(
        info.contains(&format!("connected_clients:{}\r\n", clients + 1)),
        "{info}"
    );
    // The clients of the test are in this process as well: what they take is counted too.
    let each = resident_bytes(&mut one).saturating_sub(before) / clients as u64;
    assert!(each < 24 << 10, "{each} bytes for each connection and its client");
    drop(idle);
    let begin = Instant::now();
    while !crate::client::show(&one.run("INFO clients")).contains("connected_clients:1\r\n") {
        assert!(begin.elapsed() < Duration::from_secs(60), "they are let go");
    }
}

/// Lets this process have as many files as `wanted`, or as many as the system lets it.
fn file_limit(wanted: u64) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if limit.current.is_some_and(|now| now < current) {
        let raised = Rlimit {
            current: Some(current),
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, raised).expect("a limit below the maximum can be set");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(wanted).min(wanted) as usize
}

fn resident_bytes(client: &mut crate::client::Client) -> u64 {
    let info = crate::client::show(&client.run("INFO memory"));
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory_rss:"));
    line.and_then(|bytes| bytes.parse().ok()).expect("it is told")
}

#[test]
fn a_public_address_is_refused_unless_insisted_on() {
    let mut config = weald_server::Config::default();
    config.set("bind", "0.0.0.0").expect("an address");
    config.set("port", "0").expect("a port");
    let dir = tempfile::tempdir().expect("a directory");
    config
        .set("dir", dir.path().to_str().expect("letters"))
        .expect("a directory");
    let refused = weald_server::Server::bind(config.clone())
        .err()
        .expect("it is refused")
        .to_string();
    assert!(refused.contains("insist with --insecure yes"), "{refused}");
    config.set("insecure", "yes").expect("a word");
    assert!(weald_server::Server::bind(config).is_ok());
}

#[test]
fn where_the_data_may_not_grow_commands_are_refused_that_would_let_them() {
    const OOM: &str = "-OOM command not allowed when used memory > 'maxmemory'.";
    let served = Served::new();
    let (mut client, mut other) = (served.client(), served.client());
    client.check("SET a 1", "+OK");
    client.check("MULTI", "+OK");
    client.check("SET b 1", "+QUEUED");
    other.check("MULTI", "+OK");
    other.check("GET a", "+QUEUED");
    served.client().check("CONFIG SET maxmemory 1", "+OK");
    client.check(
        "EXEC",
        "-EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'.",
    );
    other.check("EXEC", "[1]");
    client.check("SET a 2", OOM);
    client.check("GET a", "1");
    client.check("MULTI", "+OK");
    client.check("SET a 2", OOM);
    client.check("DISCARD", "+OK");
    client.check("DEL a", ":1");
    assert!(show(&client.run("INFO memory")).contains("maxmemory:1"));
    client.check("CONFIG SET maxmemory 0", "+OK");
    client.check("SET a 2", "+OK");
}

#[test]
fn keys_make_room_in_the_order_of_the_policy() {
    let served = Served::new();
    let (mut client, mut listener) = (served.client(), served.client());
    client.check("CONFIG SET notify-keyspace-events Ee", "+OK");
    listener.check(
        "SUBSCRIBE __keyevent@0__:evicted",
        "[subscribe __keyevent@0__:evicted :1]",
    );
    client.check("MSET stays 1 stays-too 2", "+OK");
    client.check("SET late 3 EX 2000", "+OK");
    client.check("SET early 4 EX 1000", "+OK");
    client.check("CONFIG SET maxmemory-policy volatile-ttl maxmemory 1", "+OK");
    // Nobody asks for anything, and they go all the same.
    listener.expect("[message __keyevent@0__:evicted early]");
    listener.expect("[message __keyevent@0__:evicted late]");
    client.check("DBSIZE", ":2");
    client.check(
        "SET more 1",
        "-OOM command not allowed when used memory > 'maxmemory'.",
    );
    assert!(show(&client.run("INFO stats")).contains("evicted_keys:2"));
    // The one that was used last is the last to go.
    client.check(
        "CONFIG SET maxmemory 0 maxmemory-policy allkeys-lru maxmemory-samples 64",
        "+OK",
    );
    let weald_server::Frame::Bulk(payload) = client.run("DUMP stays") else {
        panic!("no payload");
    };
    for (key, idle) in [("k1", "300"), ("k2", "500"), ("k3", "400")] {
        client.send_args(&[
            b"RESTORE",
            key.as_bytes(),
            b"0",
            &payload,
            b"IDLETIME",
            idle.as_bytes(),
        ]);
        client.expect("+OK");
    }
    client.check("CONFIG SET maxmemory 1", "+OK");
    for key in ["k2", "k3", "k1"] {
        listener.expect(&format!("[message __keyevent@0__:evicted {key}]"));
    }
    for policy in [
        "allkeys-random",
        "allkeys-lfu",
        "volatile-lru",
        "volatile-lfu",
        "volatile-random",
    ] {
        client.check(
            &format!("CONFIG SET maxmemory 0 maxmemory-policy {policy}"),
            "+OK",
        );
        client.check("SET x 1 EX 1000", "+OK");
        client.check("CONFIG SET maxmemory 1", "+OK");
        let begin = Instant::now();
        while show(&client.run("EXISTS x")) != ":0" {
            assert!(begin.elapsed() < Duration::from_secs(20), "{policy}");
        }
    }
}

#[test]
fn the_data_stay_within_their_bound() {
    let served = Served::with(&[("maxmemory", "4mb"), ("maxmemory-policy", "allkeys-random")]);
    let mut client = served.client();
    let value = vec![b'x'; 10_000];
    for i in 0..2000 {
        client.send_args(&[b"SET", format!("key:{i}").as_bytes(), &value]);
        client.expect("+OK");
    }
    // Of 20 MB about 4 are there.
    let begin = Instant::now();
    loop {
        let size: u64 = show(&client.run("DBSIZE"))[1..].parse().expect("a number");
        assert!(size > 50, "{size} keys are left");
        if size < 450 {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{size} keys are left");
    }
}

#[test]
fn who_is_to_get_more_than_its_limit_gets_nothing() {
    let served = Served::with(&[("client-output-buffer-limit", "normal 100000 0 0")]);
    let mut client = served.client();
    client.send_args(&[b"SET", b"a", &vec![b'x'; 200_000]]);
    client.expect("+OK");
    client.send("GET a");
    assert_eq!(client.next(), None);
    let mut other = served.client();
    other.check("STRLEN a", ":200000");
    other.check(
        "CONFIG SET client-output-buffer-limit normal",
        "-ERR CONFIG SET failed (possibly related to argument 'client-output-buffer-limit') - Wrong number of arguments in buffer limit configuration.",
    );
}

#[test]
fn requests_beyond_the_bounds_end_their_connection_alone() {
    let served = Served::with(&[
        ("proto-max-bulk-len", "1mb"),
        ("client-query-buffer-limit", "1mb"),
    ]);
    let mut other = served.client();
    // One argument that is announced to be too long, of which nothing has to come.
    let mut client = served.client();
    client.send_bytes(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1048577\r\n");
    client.expect("-ERR Protocol error: invalid bulk length");
    assert_eq!(client.next(), None);
    // Arguments that are short enough, of a request that is not.
    let mut client = served.client();
    let argument = [&b"$65536\r\n"[..], &[b'x'; 65536], b"\r\n"].concat();
    client.send_bytes(b"*1000\r\n");
    // It may be gone before all is sent.
    let _ = client.stream.write_all(&argument.repeat(20));
    if let Some(reply) = client.next() {
        assert_eq!(
            crate::client::show(&reply),
            "-ERR Protocol error: too big request"
        );
        assert_eq!(client.next(), None);
    }
    let info = crate::client::show(&other.run("INFO stats"));
    assert!(
        info.contains("client_query_buffer_limit_disconnections:1"),
        "{info}"
    );
    other.send_args(&[b"SET", b"a", &[b'x'; 900_000]]);
    other.expect("+OK");
}

#[test]
fn clients_that_take_too_much_together_are_dismissed_the_largest_first() {
    let served = Served::with(&[("maxmemory-clients", "4mb"), ("hz", "50")]);
    let (mut small, mut large) = (served.client(), served.client());
    small.send_bytes(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$100000\r\nhalf of it");
    let _ = large
        .stream
        .write_all(&[&b"*2\r\n$4\r\nECHO\r\n$100000000\r\n"[..], &vec![b'x'; 6 << 20]].concat());
    assert_eq!(large.next(), None);
    small.send_bytes(&[&vec![b'x'; 100_000 - 10], &b"\r\n"[..]].concat());
    small.expect("+OK");
}

#[test]
fn names_that_a_client_wants_to_be_told_of_count_as_its_memory() {
    let served = Served::with(&[("maxmemory-clients", "4mb"), ("hz", "50")]);
    for command in ["WATCH", "SUBSCRIBE", "PSUBSCRIBE", "BLPOP"] {
        let (mut other, mut greedy) = (served.client(), served.client());
        let names: Vec<Vec<u8>> = (0..30_u8)
            .map(|n| [&vec![b'x'; 100_000][..], &[n]].concat())
            .collect();
        let mut args: Vec<&[u8]> = vec![command.as_bytes()];
        args.extend(names.iter().map(Vec::as_slice));
        if command == "BLPOP" {
            // It keeps the arguments alone.
            args.extend(names.iter().map(Vec::as_slice));
            args.push(b"0");
        }
        greedy.send_args(&args);
        while greedy.next().is_some() {}
        other.check("PING", "+PONG");
    }
    let mut modest = served.client();
    modest.check("WATCH a b c", "+OK");
    modest.check("UNWATCH", "+OK");
    modest.check("PING", "+PONG");
}
