//! What the server tells of itself.

use crate::client::{Served, show};

#[test]
fn info_has_what_tools_look_for() {
    let served = Served::new();
    let mut client = served.client();
    client.check("SET a 1 EX 100", "+OK");
    let info = show(&client.run("INFO"));
    for field in [
        "redis_version:7.2.4",
        "redis_mode:standalone",
        "connected_clients:1",
        "used_memory:",
        "maxmemory:0",
        "role:master",
        "uptime_in_seconds:",
        "total_commands_processed:",
        "db0:keys=1,expires=1",
        "aof_enabled:1",
        "instantaneous_ops_per_sec:",
    ] {
        assert!(info.contains(field), "{field} in {info}");
    }
    let all = show(&client.run("INFO everything"));
    assert!(all.contains("cmdstat_set:calls=1"), "{all}");
    let one = show(&client.run("INFO server"));
    assert!(!one.contains("# Clients"), "{one}");
}

#[test]
fn commands_tell_of_themselves() {
    let served = Served::new();
    let mut client = served.client();
    client.check("COMMAND GETKEYS MSET a 1 b 2", "[a b]");
    client.check("COMMAND GETKEYS EVAL x", "-ERR Invalid command specified");
    client.check("COMMAND GETKEYS PING", "-ERR The command has no key arguments");
    let get = show(&client.run("COMMAND INFO get nothing"));
    assert!(
        get.starts_with("[[get :2 [+readonly +fast] :1 :1 :1 [") && get.ends_with("null]"),
        "{get}"
    );
    let list = show(&client.run("COMMAND LIST"));
    assert!(list.contains(" set ") && list.contains(" client|list "), "{list}");
    let sort = show(&client.run("COMMAND INFO sort_ro"));
    assert!(sort.contains("+movablekeys"), "{sort}");
    let help = show(&client.run("CLUSTER HELP"));
    assert!(help.starts_with("[+CLUSTER <subcommand>"), "{help}");
    client.run("HELLO 3");
    let docs = show(&client.run("COMMAND DOCS get"));
    assert!(docs.contains("since=1.0.0 group=string"), "{docs}");
    assert!(docs.contains("name=key type=key key_spec_index=:0"), "{docs}");
    let docs = show(&client.run("COMMAND DOCS set"));
    assert!(docs.contains("name=seconds type=integer token=EX"), "{docs}");
    let docs = show(&client.run("COMMAND DOCS client|list"));
    assert!(docs.contains("name=client-id type=integer token=ID"), "{docs}");
}

#[test]
fn clients_are_listed_and_named() {
    let served = Served::new();
    let (mut one, mut other) = (served.client(), served.client());
    one.check("CLIENT SETNAME first", "+OK");
    one.check(
        "CLIENT SETNAME a\tb",
        "-ERR Client names cannot contain spaces, newlines or special characters.",
    );
    one.check("CLIENT SETINFO lib-name tests", "+OK");
    let list = show(&other.run("CLIENT LIST"));
    assert_eq!(list.lines().count(), 2);
    // What it has sent: the request that is being run.
    assert!(list.contains(" multi=-1 qbuf=26 "), "{list}");
    assert!(
        list.contains(" name=first ") && list.contains(" lib-name=tests "),
        "{list}"
    );
    let id = show(&one.run("CLIENT ID")).replace(':', "");
    other.check(&format!("CLIENT KILL ID {id}"), ":1");
    assert_eq!(one.next(), None);
    other.check("CLIENT KILL 1.2.3.4:5", "-ERR No such client");
}

#[test]
fn settings_are_changed_together_or_not_at_all() {
    let served = Served::new();
    let mut client = served.client();
    client.check("CONFIG SET timeout 7 maxclients 0", "-ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument must be between 1 and 1000000 inclusive");
    client.check("CONFIG GET timeout", "[timeout 0]");
    client.check(
        "CONFIG SET tls-port 7",
        "-ERR CONFIG SET failed (possibly related to argument 'tls-port') - can't set immutable config",
    );
    client.check(
        "CONFIG SET nothing 7",
        "-ERR Unknown option or number of arguments for CONFIG SET - 'nothing'",
    );
    client.check("CONFIG SET maxmemory-clients 1mb", "+OK");
    client.check("CONFIG GET maxmemory-clients", "[maxmemory-clients 1048576]");
    client.check("CONFIG SET maxmemory-clients 200%", "-ERR CONFIG SET failed (possibly related to argument 'maxmemory-clients') - percentage argument must be less or equal to 100");
    client.check("CONFIG SET maxmemory-clients x", "-ERR CONFIG SET failed (possibly related to argument 'maxmemory-clients') - argument must be a memory or percent value");
    client.check("CONFIG SET maxmemory-clients 5%", "+OK");
    client.check("CONFIG GET maxmemory-clients", "[maxmemory-clients 5%]");
    for name in [
        "daemonize yes",
        "daemonize no",
        "databases 16",
        "appendfilename x",
    ] {
        let name_only = name.split(' ').next().unwrap_or(name);
        client.check(
            &format!("CONFIG SET {name}"),
            &format!("-ERR CONFIG SET failed (possibly related to argument '{name_only}') - can't set immutable config"),
        );
    }
}

#[test]
fn the_server_moves_to_another_port() {
    let mut served = Served::new();
    let mut client = served.client();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken_port = taken.local_addr().expect("it is bound").port();
    client.check(
        &format!("CONFIG SET timeout 7 port {taken_port}"),
        "-ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port. Check server logs.",
    );
    client.check("CONFIG GET timeout", "[timeout 0]");
    for address in ["999.999.999.999", "0.0.0.0"] {
        client.check(
            &format!("CONFIG SET bind {address}"),
            "-ERR CONFIG SET failed (possibly related to argument 'bind') - Failed to bind to specified addresses.",
        );
    }
    served.client().check("PING", "+PONG");
    drop(taken);
    client.check(&format!("CONFIG SET port {taken_port}"), "+OK");
    // Who is there stays; who comes finds it there only.
    client.check("CONFIG GET port", &format!("[port {taken_port}]"));
    assert!(show(&client.run("INFO server")).contains(&format!("tcp_port:{taken_port}")));
    assert!(std::net::TcpStream::connect(served.address).is_err());
    served.address.set_port(taken_port);
    served.client().check("PING", "+PONG");
    client.send_args(&[b"CONFIG", b"SET", b"bind", b"127.0.0.1 -127.0.0.2"]);
    client.expect("+OK");
    served.client().check("PING", "+PONG");
    served
        .address
        .set_ip(std::net::Ipv4Addr::new(127, 0, 0, 2).into());
    served.client().check("PING", "+PONG");
}

#[test]
fn settings_can_be_written_back_as_they_were_read() {
    let served = Served::new();
    let mut client = served.client();
    let read = |client: &mut crate::client::Client| match client.run("CONFIG GET *") {
        weald_server::Frame::Array(frames) => frames.iter().map(show).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let before = read(&mut client);
    let mut refused = Vec::new();
    for pair in before.chunks_exact(2) {
        client.send_args(&[b"CONFIG", b"SET", pair[0].as_bytes(), pair[1].as_bytes()]);
        if show(&client.read()) != "+OK" {
            refused.push(pair[0].as_str());
        }
    }
    assert_eq!(before, read(&mut client));
    for name in ["bind", "port", "dir", "appendfsync", "http-port"] {
        assert!(!refused.contains(&name), "{name}");
    }
    // What Redis lets nobody change, Weald does not either.
    assert!(refused.contains(&"databases"), "{refused:?}");
    client.check("CONFIG GET durability", "[durability none]");
    client.check("CONFIG GET appendfsync", "[appendfsync no]");
    client.check("CONFIG SET durability batched", "+OK");
    client.check("CONFIG GET appendfsync", "[appendfsync everysec]");
}

#[test]
fn settings_of_redis_have_their_names_old_and_hidden_ones_too() {
    let served = Served::new();
    let mut client = served.client();
    client.check("CONFIG GET *of", "[replicaof  slaveof ]");
    client.check("CONFIG SET slave-priority 7", "+OK");
    client.check("CONFIG GET replica-priority", "[replica-priority 7]");
    client.check("CONFIG GET key-load-*", "[]");
    client.check("CONFIG GET key-load-delay", "[key-load-delay 0]");
    client.send_args(&[
        b"CONFIG",
        b"SET",
        b"latency-tracking-info-percentiles",
        b"0.0 50.0 99.90",
    ]);
    client.expect("+OK");
    client.check(
        "CONFIG GET latency-tracking-info-percentiles",
        "[latency-tracking-info-percentiles 0 50 99.9]",
    );
    client.check("CONFIG SET masterauth secret", "+OK");
    client.check("CONFIG GET masterauth", "[masterauth (redacted)]");
}

#[test]
fn a_key_remembers_when_it_was_last_used() {
    let served = Served::new();
    let mut client = served.client();
    client.check("SET a 1", "+OK");
    let weald_server::Frame::Bulk(payload) = client.run("DUMP a") else {
        panic!("no payload");
    };
    client.send_args(&[b"RESTORE", b"old", b"0", &payload, b"IDLETIME", b"1000"]);
    client.expect("+OK");
    for asks in [
        "TTL old",
        "EXISTS old",
        "TYPE old",
        "OBJECT ENCODING old",
        "MEMORY USAGE old",
    ] {
        client.run(asks);
    }
    let idle = show(&client.run("OBJECT IDLETIME old"));
    assert!(idle.starts_with(":100"), "{idle}");
    client.check("CLIENT NO-TOUCH on", "+OK");
    client.check("GET old", "1");
    let idle = show(&client.run("OBJECT IDLETIME old"));
    assert!(idle.starts_with(":100"), "{idle}");
    client.check("TOUCH old", ":1");
    client.check("OBJECT IDLETIME old", ":0");
    client.check("OBJECT IDLETIME nothing", "null");
    let freq = show(&client.run("OBJECT FREQ old"));
    assert!(
        freq.starts_with("-ERR An LFU maxmemory policy is not selected"),
        "{freq}"
    );
    client.check("CONFIG SET maxmemory-policy allkeys-lfu", "+OK");
    client.send_args(&[b"RESTORE", b"often", b"0", &payload, b"FREQ", b"100"]);
    client.expect("+OK");
    client.check("OBJECT FREQ often", ":100");
    let idle = show(&client.run("OBJECT IDLETIME often"));
    assert!(
        idle.starts_with("-ERR An LFU maxmemory policy is selected"),
        "{idle}"
    );
}

#[test]
fn digests_are_the_same_for_the_same_data() {
    let served = Served::new();
    let mut client = served.client();
    let digest = |client: &mut crate::client::Client, key: &str| {
        let shown = show(&client.run(&format!("DEBUG DIGEST-VALUE {key}")));
        assert_eq!(shown.len(), 43, "{shown}");
        shown
    };
    let empty = format!("[+{}]", "0".repeat(40));
    assert_eq!(digest(&mut client, "nothing"), empty);
    for (one, other, third) in [
        ("SADD s1 a b 1", "SADD s2 1 b a", "SADD s3 a b"),
        ("HSET h1 a 1 b 2", "HSET h2 b 2 a 1", "HSET h3 a 2 b 1"),
        ("ZADD z1 1 a 2 b", "ZADD z2 2 b 1 a", "ZADD z3 1 b 2 a"),
        ("RPUSH l1 a b", "RPUSH l2 a b", "RPUSH l3 b a"),
        ("APPEND t1 ab", "SET t2 ab", "SET t3 ba"),
    ] {
        let mut digests = Vec::new();
        for line in [one, other, third] {
            client.run(line);
            let key = line.split(' ').nth(1).expect("a key");
            digests.push(digest(&mut client, key));
        }
        assert_eq!(digests[0], digests[1], "{one}");
        assert_ne!(digests[0], digests[2], "{third}");
        assert_ne!(digests[0], empty);
    }
    // A set that is spread over many records is the same set as one that was made in another order.
    let numbers: Vec<String> = (0..500).map(|i| format!("member-{i}")).collect();
    let turned: Vec<String> = numbers.iter().rev().cloned().collect();
    client.run(&format!("SADD many1 {}", numbers.join(" ")));
    client.run(&format!("SADD many2 {}", turned.join(" ")));
    assert_eq!(digest(&mut client, "many1"), digest(&mut client, "many2"));
    let before = show(&client.run("DEBUG DIGEST"));
    client.check("DEBUG RELOAD", "+OK");
    client.check("DEBUG DIGEST", &before);
    client.run("EXPIRE t1 100");
    assert_ne!(show(&client.run("DEBUG DIGEST")), before);
    client.check("FLUSHALL", "+OK");
    client.check("DEBUG DIGEST", &format!("+{}", "0".repeat(40)));
    client.check("DEBUG POPULATE 3 k 10", "+OK");
    client.check("DBSIZE", ":3");
    client.check("GET k:2", "value:2\0\0\0");
}

#[test]
fn nothing_is_deleted_while_writing_is_paused() {
    let served = Served::new();
    let mut client = served.client();
    client.check("MULTI", "+OK");
    client.check("SET a 1 PX 10", "+QUEUED");
    client.check("CLIENT PAUSE 50000 WRITE", "+QUEUED");
    client.check("EXEC", "[+OK +OK]");
    while show(&client.run("GET a")) != "null" {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    std::thread::sleep(std::time::Duration::from_millis(250));
    assert!(show(&client.run("INFO stats")).contains("expired_keys:0"));
    client.check("DBSIZE", ":1");
    client.check("CLIENT UNPAUSE", "+OK");
    client.check("GET a", "null");
    assert!(show(&client.run("INFO stats")).contains("expired_keys:1"));
}

#[test]
fn slow_commands_are_remembered() {
    let served = Served::with(&[("slowlog-log-slower-than", "0")]);
    let mut client = served.client();
    client.check("SET a 1", "+OK");
    let log = show(&client.run("SLOWLOG GET 1"));
    assert!(log.contains("[SET a 1]"), "{log}");
    client.check("SLOWLOG RESET", "+OK");
}

#[test]
fn what_took_long_is_told_and_drawn() {
    let served = Served::new();
    let mut client = served.client();
    let doctor = show(&client.run("LATENCY DOCTOR"));
    assert!(doctor.contains("are not looked at"), "{doctor}");
    client.check("CONFIG SET latency-monitor-threshold 10", "+OK");
    let doctor = show(&client.run("LATENCY DOCTOR"));
    assert!(doctor.contains("Nothing has taken 10 ms or more"), "{doctor}");
    client.check(
        "LATENCY GRAPH command",
        "-ERR No samples available for event 'command'",
    );
    client.check("DEBUG SLEEP 0.02", "+OK");
    let latest = show(&client.run("LATENCY LATEST"));
    assert!(latest.starts_with("[[command :"), "{latest}");
    let history = show(&client.run("LATENCY HISTORY command"));
    assert!(history.starts_with("[[:"), "{history}");
    let graph = show(&client.run("LATENCY GRAPH command"));
    assert!(
        graph.starts_with("command - high ") && graph.contains(" ms, low "),
        "{graph}"
    );
    assert!(
        graph.contains(&format!("\n{}\n \n \n \n_\n \n", "-".repeat(80))),
        "{graph}"
    );
    let doctor = show(&client.run("LATENCY DOCTOR"));
    assert!(doctor.contains("command: 1 latency spikes (average "), "{doctor}");
    client.check("LATENCY RESET nothing command", ":1");
    client.check("LATENCY LATEST", "[]");
    client.check("LATENCY RESET", ":0");
    client.check(
        "LATENCY GRAPH",
        "-ERR wrong number of arguments for 'latency|graph' command",
    );
    client.check(
        "LATENCY HELP x",
        "-ERR wrong number of arguments for 'latency|help' command",
    );
    let help = show(&client.run("LATENCY HELP"));
    assert!(help.contains("GRAPH <event>"), "{help}");
}

#[test]
fn histograms_are_of_the_commands_asked_for() {
    let served = Served::new();
    let mut client = served.client();
    client.check("SET a 1", "+OK");
    client.check("CONFIG GET timeout", "[timeout 0]");
    client.check("LATENCY HISTOGRAM nothing get", "[]");
    let told = show(&client.run("LATENCY HISTOGRAM nothing set config"));
    assert!(told.starts_with("[set [calls :1 histogram_usec [:"), "{told}");
    assert!(told.contains("config|get [calls :1 histogram_usec [:"), "{told}");
    client.check("CONFIG RESETSTAT", "+OK");
    let told = show(&client.run("LATENCY HISTOGRAM"));
    assert!(
        !told.contains("set [calls") && told.contains("config|resetstat"),
        "{told}"
    );
}

/// That a page of the documentation has, after a line that says so, what the program says of itself. With `WEALD_BLESS` in the environment it gets it.
fn check_page(page: &str, generated: &str) {
    const BEGIN: &str = "<!-- What follows comes from the program; a test compares it. -->\n";
    const END: &str = "<!-- Here it ends. -->\n";
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(page);
    let text = std::fs::read_to_string(&path).expect("the page");
    let (before, rest) = text.split_once(BEGIN).expect("it says where that begins");
    let (found, after) = rest.split_once(END).expect("it says where that ends");
    if std::env::var_os("WEALD_BLESS").is_some() {
        std::fs::write(&path, [before, BEGIN, generated, END, after].concat()).expect("the page");
    } else {
        assert_eq!(
            found, generated,
            "{page} is stale: run this test with WEALD_BLESS=1"
        );
    }
}

#[test]
fn the_page_on_compatibility_lists_what_there_is() {
    check_page("redis.md", &weald_server::compatibility());
}

#[test]
fn the_page_on_configuration_lists_all_settings() {
    check_page("configuration.md", &weald_server::Config::documentation());
}

#[test]
fn look_ups_are_counted_as_those_of_reads() {
    let served = Served::new();
    let mut client = served.client();
    client.check("SET a 1", "+OK");
    client.check("LPUSH l 1", ":1");
    // (command, keys that were there, keys that were not)
    for (command, hits, misses) in [
        ("GET a", 1, 0),
        ("GET b", 0, 1),
        ("MGET a b a", 2, 1),
        ("EXISTS a b", 1, 1),
        ("SET c 1 NX", 0, 0),
        ("SET a 2 GET", 1, 0),
        ("GETEX a EX 100", 1, 0),
        ("GETDEL b", 0, 1),
        ("LLEN l", 1, 0),
        ("INCR a", 0, 0),
        ("ZUNION 2 a1 a2", 0, 2),
        ("SINTERSTORE s s1 s2", 0, 2),
        ("PING", 0, 0),
    ] {
        client.check("CONFIG RESETSTAT", "+OK");
        client.run(command);
        let info = show(&client.run("INFO stats"));
        let expected = format!("keyspace_hits:{hits}\r\nkeyspace_misses:{misses}\r\n");
        assert!(info.contains(&expected), "{command}: {info}");
    }
}

#[test]
fn a_key_that_a_read_finds_expired_is_gone() {
    let served = Served::with(&[("enable-debug-command", "yes"), ("notify-keyspace-events", "Ex")]);
    let (mut client, mut listener) = (served.client(), served.client());
    listener.check(
        "SUBSCRIBE __keyevent@0__:expired",
        "[subscribe __keyevent@0__:expired :1]",
    );
    client.check("DEBUG SET-ACTIVE-EXPIRE 0", "+OK");
    client.check("PSETEX a 1 x", "+OK");
    client.check("SET b y", "+OK");
    std::thread::sleep(std::time::Duration::from_millis(20));
    client.check("DBSIZE", ":2");
    client.check("MGET a b", "[null y]");
    client.check("DBSIZE", ":1");
    listener.expect("[message __keyevent@0__:expired a]");
}

#[test]
fn changes_are_counted_until_they_are_saved() {
    let served = Served::new();
    let mut client = served.client();
    let changes = |client: &mut crate::client::Client| {
        let info = show(&client.run("INFO persistence"));
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix("rdb_changes_since_last_save:"));
        line.and_then(|count| count.parse::<u64>().ok())
            .expect("it is told")
    };
    client.check("SAVE", "+OK");
    assert_eq!(changes(&mut client), 0);
    client.check("SETBIT a 0 1", ":0");
    client.check("SETBIT a 0 1", ":1");
    client.check("GET b", "null");
    assert_eq!(changes(&mut client), 1);
    client.check("SAVE", "+OK");
    assert_eq!(changes(&mut client), 0);
}

#[test]
fn small_numbers_are_said_to_be_shared() {
    let served = Served::with(&[("enable-debug-command", "yes")]);
    let mut client = served.client();
    for (value, count) in [
        ("7", "2147483647"),
        ("9999", "2147483647"),
        ("10000", "1"),
        ("x", "1"),
    ] {
        client.check(&format!("SET a {value}"), "+OK");
        client.check("OBJECT REFCOUNT a", &format!(":{count}"));
    }
    client.check("DEBUG OBJECT b", "-ERR no such key");
    let object = show(&client.run("DEBUG OBJECT a"));
    assert!(object.contains(" encoding:embstr "), "{object}");
}

#[test]
fn clients_that_a_pause_holds_up_count_as_blocked() {
    let served = Served::new();
    let (mut client, mut writer) = (served.client(), served.client());
    client.check("CLIENT PAUSE 100000 WRITE", "+OK");
    writer.send("SET a 1");
    let blocked = |client: &mut crate::client::Client| {
        let info = show(&client.run("INFO clients"));
        info.contains("blocked_clients:1\r\n")
    };
    let begin = std::time::Instant::now();
    while !blocked(&mut client) {
        assert!(
            begin.elapsed() < std::time::Duration::from_secs(20),
            "it is held up"
        );
    }
    client.check("CLIENT UNPAUSE", "+OK");
    writer.expect("+OK");
    assert!(!blocked(&mut client));
}

#[test]
fn latencies_are_told_of_the_shares_that_are_set() {
    let served = Served::new();
    let mut client = served.client();
    client.check("SET a 1", "+OK");
    let info = show(&client.run("INFO latencystats"));
    let line = "latency_percentiles_usec_set:p50=";
    assert!(
        info.contains(line) && info.contains(",p99=") && info.contains(",p99.9="),
        "{info}"
    );
    client.send_args(&[
        b"CONFIG",
        b"SET",
        b"latency-tracking-info-percentiles",
        b"0 50  100",
    ]);
    client.expect("+OK");
    client.check(
        "CONFIG GET latency-tracking-info-percentiles",
        "[latency-tracking-info-percentiles 0 50 100]",
    );
    let info = show(&client.run("INFO latencystats"));
    assert!(
        info.contains("latency_percentiles_usec_set:p0=") && info.contains(",p100="),
        "{info}"
    );
    for wrong in ["x", "101", "-1", "nan"] {
        client.check(
            &format!("CONFIG SET latency-tracking-info-percentiles {wrong}"),
            "-ERR CONFIG SET failed (possibly related to argument 'latency-tracking-info-percentiles') - argument(s) must be numbers between 0.0 and 100.0",
        );
    }
    client.check("CONFIG SET latency-tracking no", "+OK");
    assert_eq!(show(&client.run("INFO latencystats")), "# Latencystats\r\n");
}

#[test]
fn members_are_told_in_a_form_that_scripts_may_read() {
    let node = Served::node(&[]);
    let members = show(&node.client().run("CLUSTER MEMBERS"));
    let lines: Vec<&str> = members.lines().collect();
    assert_eq!(lines.len(), 1, "{members}");
    let (names, values): (Vec<&str>, Vec<&str>) = lines[0]
        .split(' ')
        .filter_map(|field| field.split_once('='))
        .unzip();
    assert_eq!(
        names,
        [
            "node",
            "address",
            "state",
            "member",
            "weight",
            "zone",
            "partitions",
            "primary"
        ]
    );
    assert!(values[0].len() == 16 && values[0].bytes().all(|digit| digit.is_ascii_hexdigit()));
    assert!(values[1].starts_with("127.0.0.1:"), "{members}");
    assert_eq!(values[2..], ["self", "yes", "1", "0", "4", "4"]);
}
