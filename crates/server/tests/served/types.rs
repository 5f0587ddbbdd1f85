//! What a recording can't tell of the types: time, waiting, restarts, payloads.

use std::time::{Duration, Instant};

use weald_server::Frame;

use crate::client::Served;

#[test]
fn a_key_expires_and_whoever_listens_is_told() {
    let served = Served::with(&[("notify-keyspace-events", "Ex")]);
    let mut listener = served.client();
    listener.run("SUBSCRIBE __keyevent@0__:expired");
    let mut client = served.client();
    client.check("SET k v PX 50", "+OK");
    client.run("RPUSH l a b");
    client.run("PEXPIRE l 50");
    let mut told = Vec::new();
    for _ in 0..2 {
        let Frame::Array(elements) = listener.read() else {
            panic!("a message is an array");
        };
        told.push(elements[2].clone());
    }
    told.sort_by_key(|key| format!("{key:?}"));
    assert_eq!(told, [Frame::Bulk(b"k".to_vec()), Frame::Bulk(b"l".to_vec())]);
    assert_eq!(client.run("DBSIZE"), Frame::Integer(0));
    assert_eq!(client.run("PTTL k"), Frame::Integer(-2));
}

#[test]
fn an_expired_key_is_gone_before_it_is_deleted() {
    let served = Served::new();
    let mut client = served.client();
    client.run("DEBUG SET-ACTIVE-EXPIRE 0");
    client.run("SADD s 1 2 3");
    client.run("PEXPIRE s 1");
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(client.run("EXISTS s"), Frame::Integer(0));
    assert_eq!(client.run("SCARD s"), Frame::Integer(0));
    assert_eq!(client.run("RPUSH s a"), Frame::Integer(1));
    assert_eq!(client.run("TTL s"), Frame::Integer(-1));
}

#[test]
fn those_who_wait_get_elements_in_the_order_in_which_they_came() {
    let served = Served::new();
    let mut waiting: Vec<_> = (0..3).map(|_| served.client()).collect();
    let mut pusher = served.client();
    for (n, client) in waiting.iter_mut().enumerate() {
        client.send(["BLPOP l 0", "BLMPOP 0 1 l RIGHT", "BLMOVE l other LEFT RIGHT 0"][n]);
        let before = Instant::now();
        while pusher.run("CLIENT LIST") != Frame::Null && before.elapsed() < Duration::from_millis(50) {}
    }
    // Of another type it does not wake them.
    pusher.run("SET l text");
    pusher.run("DEL l");
    pusher.run("RPUSH l a b c");
    let bulk = |text: &str| Frame::Bulk(text.as_bytes().to_vec());
    assert_eq!(waiting[0].read(), Frame::Array(vec![bulk("l"), bulk("a")]));
    assert_eq!(
        waiting[1].read(),
        Frame::Array(vec![bulk("l"), Frame::Array(vec![bulk("c")])])
    );
    assert_eq!(waiting[2].read(), bulk("b"));
    assert_eq!(pusher.run("EXISTS l"), Frame::Integer(0));
    waiting[0].send("BZPOPMIN z 0");
    waiting[1].send("BLPOP l 0.05");
    assert_eq!(waiting[1].read(), Frame::Null);
    pusher.run("ZADD z 2 m");
    assert_eq!(
        waiting[0].read(),
        Frame::Array(vec![bulk("z"), bulk("m"), bulk("2")])
    );
}

#[test]
fn all_types_are_there_after_a_restart() {
    let served = Served::new();
    let mut client = served.client();
    client.run("SET s text");
    client.run("SETBIT bits 100 1");
    for n in 0..300 {
        client.run(&format!("HSET h f{n} {n}"));
        client.run(&format!("SADD set m{n}"));
        client.run(&format!("ZADD z {n} m{n}"));
        client.run(&format!("RPUSH l e{n}"));
    }
    let questions = [
        "GET s",
        "BITCOUNT bits",
        "HGET h f299",
        "HLEN h",
        "SCARD set",
        "ZRANK z m150",
        "ZRANGE z 10 12",
        "LRANGE l 298 -1",
        "LLEN l",
        "OBJECT ENCODING h",
        "OBJECT ENCODING z",
        "DBSIZE",
    ];
    let before: Vec<Frame> = questions.iter().map(|question| client.run(question)).collect();
    drop(client);
    let served = Served::in_dir(served.end(), &[]);
    let mut client = served.client();
    for (question, before) in questions.iter().zip(before) {
        assert_eq!(client.run(question), before, "{question}");
    }
    assert_eq!(client.run("ZRANK z m150"), Frame::Integer(150));
}

#[test]
fn a_dump_is_restored_with_its_type_and_a_damaged_one_is_refused() {
    let served = Served::new();
    let mut client = served.client();
    client.run("RPUSH l 1 -70000 text");
    client.run("ZADD z -inf a 1.5 b");
    client.run("HSET h f v");
    client.run("SADD s 5 6");
    client.run("SET n 12");
    for (key, question) in [
        ("l", "LRANGE % 0 -1"),
        ("z", "ZRANGE % 0 -1 WITHSCORES"),
        ("h", "HGETALL %"),
        ("s", "SMEMBERS %"),
        ("n", "GET %"),
    ] {
        let Frame::Bulk(payload) = client.run(&format!("DUMP {key}")) else {
            panic!("{key} is there");
        };
        client.send_args(&[b"RESTORE", b"copy", b"0", &payload, b"REPLACE"]);
        assert_eq!(client.read(), Frame::Simple("OK".to_owned()), "{key}");
        let original = client.run(&question.replace('%', key));
        assert_eq!(client.run(&question.replace('%', "copy")), original);
        for at in 0..payload.len() {
            let mut damaged = payload.clone();
            damaged[at] ^= 0x41;
            client.send_args(&[b"RESTORE", b"damaged", b"0", &damaged]);
            assert!(
                matches!(client.read(), Frame::Error(_)),
                "{key} with byte {at} changed"
            );
        }
        client.send_args(&[b"RESTORE", b"copy", b"0", &payload]);
        assert!(matches!(client.read(), Frame::Error(text) if text.starts_with("BUSYKEY")));
    }
}

#[test]
fn sketches_remember_what_was_counted_and_survive_damage() {
    let served = Served::new();
    let mut client = served.client();
    client.check("PFADD h a b c", ":1");
    client.check("GETRANGE h 0 3", "HYLL");
    let stale = |client: &mut crate::client::Client| match client.run("GETRANGE h 15 15") {
        Frame::Bulk(byte) => byte[0] & 0x80 != 0,
        other => panic!("{other:?}"),
    };
    assert!(stale(&mut client));
    client.check("PFCOUNT h", ":3");
    assert!(!stale(&mut client), "the next count need not be worked out");
    client.check("PFADD h a", ":0");
    assert!(!stale(&mut client));
    client.check("PFADD h d", ":1");
    assert!(stale(&mut client));
    client.check("MULTI", "+OK");
    client.check("PFCOUNT h", "+QUEUED");
    client.check("EXEC", "[:4]");
    client.check("APPEND h x", ":31");
    for command in ["PFADD h e", "PFMERGE g h", "PFCOUNT h g", "PFDEBUG DECODE h"] {
        client.check(command, "-INVALIDOBJ Corrupted HLL object detected");
    }
    client.check("PFCOUNT h", ":4");
    client.check("PFSELFTEST", "+OK");
    client.check("CONFIG SET hll-sparse-max-bytes 20", "+OK");
    client.check("PFADD small a b c d", ":1");
    client.check("PFDEBUG ENCODING small", "+dense");
}

#[test]
fn places_are_told_as_numbers_to_those_who_know_them() {
    let served = Served::new();
    let mut client = served.client();
    client.run("GEOADD g 13.361389 38.115556 Palermo");
    client.check(
        "GEOPOS g Palermo",
        "[[13.36138933897018433 38.11555639549629859]]",
    );
    client.run("HELLO 3");
    client.check(
        "GEOPOS g Palermo none",
        "[[,13.361389338970184 ,38.1155563954963] null]",
    );
    client.check("GEODIST g Palermo Palermo", "0.0000");
    client.check("COMMAND GETKEYS GEORADIUS g 0 0 1 km COUNT 3 STORE t", "[g t]");
    client.check("COMMAND GETKEYS GEORADIUS g 0 0 1 km STORE a STORE b", "[g b]");
    client.check(
        "COMMAND GETKEYS GEORADIUS g 0 0 1 km STOREDIST a STORE store STORE b",
        "[g b a]",
    );
    client.check(
        "COMMAND GETKEYS GEORADIUSBYMEMBER g m 1 km STOREDIST store",
        "[g store]",
    );
}

/// A client's `MIGRATE` to a server.
fn migrate(client: &mut crate::client::Client, to: &Served, rest: &str) -> String {
    let port = to.address.port();
    crate::client::show(&client.run(&format!("MIGRATE 127.0.0.1 {port} {rest}")))
}

#[test]
fn keys_move_to_another_server() {
    let (from, to) = (Served::new(), Served::with(&[("requirepass", "pw")]));
    let (mut client, mut there) = (from.client(), to.client());
    there.check("AUTH pw", "+OK");
    client.check("MSET a 1 b 2", "+OK");
    client.check("RPUSH l x y", ":2");
    client.check("PEXPIRE l 100000", ":1");
    assert_eq!(
        migrate(&mut client, &to, "a 0 1000"),
        "-ERR Target instance replied with error: NOAUTH Authentication required."
    );
    let wrong = migrate(&mut client, &to, "a 0 1000 AUTH no");
    assert!(
        wrong.starts_with("-ERR Target instance replied with error: WRONGPASS"),
        "{wrong}"
    );
    assert_eq!(migrate(&mut client, &to, "none 0 1000 AUTH pw"), "+NOKEY");
    assert_eq!(migrate(&mut client, &to, "a 3 1000 COPY AUTH pw"), "+OK");
    client.check("GET a", "1");
    there.check("SELECT 3", "+OK");
    there.check("GET a", "1");
    there.check("SET a other", "+OK");
    assert_eq!(
        migrate(&mut client, &to, "a 3 1000 AUTH pw"),
        "-ERR Target instance replied with error: BUSYKEY Target key name already exists."
    );
    client.check("GET a", "1");
    // Those that were taken are gone, the other is not.
    let port = to.address.port().to_string();
    client.send_args(&[
        b"MIGRATE",
        b"127.0.0.1",
        port.as_bytes(),
        b"",
        b"3",
        b"1000",
        b"AUTH2",
        b"default",
        b"pw",
        b"KEYS",
        b"a",
        b"l",
        b"none",
        b"b",
        b"b",
    ]);
    client.expect("-ERR Target instance replied with error: BUSYKEY Target key name already exists.");
    client.check("EXISTS a b l", ":1");
    there.check("LRANGE l 0 -1", "[x y]");
    let Frame::Integer(ttl) = there.run("PTTL l") else {
        panic!("a time");
    };
    assert!((1..=100_000).contains(&ttl), "{ttl}");
    assert_eq!(migrate(&mut client, &to, "a 3 1000 REPLACE AUTH pw"), "+OK");
    client.check("DBSIZE", ":0");
    there.check("MGET a b", "[1 2]");
    for (rest, expected) in [
        ("a x 1000", "-ERR value is not an integer or out of range"),
        ("a 0 1000 WHAT", "-ERR syntax error"),
        (
            "a 0 1000 KEYS b",
            "-ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
        ),
    ] {
        assert_eq!(migrate(&mut client, &to, rest), expected);
    }
}

#[test]
fn many_keys_move_together_and_who_does_not_answer_is_left() {
    let (from, to) = (Served::new(), Served::new());
    let mut client = from.client();
    let keys: Vec<String> = (0..1000).map(|n| format!("k{n}")).collect();
    for key in &keys {
        client.check(&format!("SET {key} {}", "v".repeat(1000)), "+OK");
    }
    let port = to.address.port().to_string();
    let mut args: Vec<&[u8]> = vec![
        b"MIGRATE",
        b"127.0.0.1",
        port.as_bytes(),
        b"",
        b"0",
        b"5000",
        b"KEYS",
    ];
    args.extend(keys.iter().map(String::as_bytes));
    client.send_args(&args);
    client.expect("+OK");
    client.check("DBSIZE", ":0");
    to.client().check("DBSIZE", ":1000");
    client.check("SET a 1", "+OK");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    client.check(
        &format!("MIGRATE 127.0.0.1 {port} a 0 50"),
        "-IOERR error or timeout reading to target instance",
    );
    drop(silent);
    client.check(
        &format!("MIGRATE 127.0.0.1 {port} a 0 50"),
        "-IOERR error or timeout connecting to the client",
    );
    client.check("GET a", "1");
}

#[test]
fn a_node_counts_and_finds_places_too() {
    let node = Served::node(&[]);
    let mut client = node.client();
    client.check("PFADD {a} 1 2 3", ":1");
    client.check("PFADD {a} 3", ":0");
    client.check("PFADD b 3 4", ":1");
    client.check("PFCOUNT {a}", ":3");
    client.check("PFCOUNT {a} b none", ":4");
    client.check("PFMERGE b {a}", "+OK");
    client.check("PFCOUNT b", ":4");
    client.check(
        "GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
        ":2",
    );
    client.check("GEODIST g Palermo Catania km", "166.2742");
    client.check("GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 100 km", "[Catania]");
    client.check("GEOSEARCHSTORE t g FROMLONLAT 15 37 BYRADIUS 200 km ASC", ":2");
    client.check("GEORADIUS g 15 37 100 km STORE t", ":1");
    client.check("GEORADIUSBYMEMBER g Catania 1 km", "[Catania]");
    client.check("ZRANGE t 0 -1", "[Catania]");
    client.check(
        "GEORADIUS g 15 37 100 km STORE t STOREDIST u",
        "-ERR GEORADIUS is not for a cluster: it would change several keys at once",
    );
    let refused = crate::client::show(&client.run("MIGRATE 127.0.0.1 1 g 0 100"));
    assert!(
        refused.starts_with("-ERR MIGRATE is not for a cluster"),
        "{refused}"
    );
}
