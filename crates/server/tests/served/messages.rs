//! Publishing and subscribing.

use crate::client::Served;

#[test]
fn messages_reach_channels_and_patterns() {
    let served = Served::new();
    let (mut listener, mut sender) = (served.client(), served.client());
    listener.check("SUBSCRIBE news", "[subscribe news :1]");
    listener.check("PSUBSCRIBE n*", "[psubscribe n* :2]");
    listener.check(
        "GET a",
        "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
    );
    listener.check("PING", "[pong ]");
    sender.check("PUBLISH news hello", ":2");
    listener.expect("[message news hello]");
    listener.expect("[pmessage n* news hello]");
    sender.check("PUBSUB CHANNELS", "[news]");
    sender.check("PUBSUB NUMSUB news other", "[news :1 other :0]");
    sender.check("PUBSUB NUMPAT", ":1");
    listener.check("UNSUBSCRIBE", "[unsubscribe news :1]");
    listener.check("PUNSUBSCRIBE", "[punsubscribe n* :0]");
    listener.check("UNSUBSCRIBE", "[unsubscribe null :0]");
    listener.check("GET a", "null");
    sender.check("PUBLISH news hello", ":0");
}

#[test]
fn with_resp3_a_listener_may_do_everything() {
    let served = Served::new();
    let mut client = served.client();
    client.run("HELLO 3");
    client.check("SUBSCRIBE a", ">[subscribe a :1]");
    client.check("SET k v", "+OK");
    // Its own message comes before the reply.
    client.check("PUBLISH a hello", ">[message a hello]");
    client.expect(":1");
}

#[test]
fn shard_channels_are_apart() {
    let served = Served::new();
    let (mut listener, mut sender) = (served.client(), served.client());
    listener.check("SSUBSCRIBE a", "[ssubscribe a :1]");
    sender.check("PUBLISH a x", ":0");
    sender.check("SPUBLISH a x", ":1");
    listener.expect("[smessage a x]");
    sender.check("PUBSUB SHARDCHANNELS", "[a]");
    listener.check("SUNSUBSCRIBE a", "[sunsubscribe a :0]");
}

#[test]
fn events_of_keys_are_told() {
    let served = Served::with(&[("notify-keyspace-events", "KEA")]);
    let (mut listener, mut client) = (served.client(), served.client());
    listener.check("PSUBSCRIBE __key*__:*", "[psubscribe __key*__:* :1]");
    client.check("SET a 1 PX 50", "+OK");
    listener.expect("[pmessage __key*__:* __keyspace@0__:a set]");
    listener.expect("[pmessage __key*__:* __keyevent@0__:set a]");
    listener.expect("[pmessage __key*__:* __keyspace@0__:a expire]");
    listener.expect("[pmessage __key*__:* __keyevent@0__:expire a]");
    // Nobody touches it again: it is the server that finds it.
    listener.expect("[pmessage __key*__:* __keyspace@0__:a expired]");
    listener.expect("[pmessage __key*__:* __keyevent@0__:expired a]");
    client.check("CONFIG SET notify-keyspace-events Kl", "+OK");
    client.check("CONFIG GET notify-keyspace-events", "[notify-keyspace-events lK]");
    client.check("SET b 1", "+OK");
    client.check("LPUSH c 1", ":1");
    listener.expect("[pmessage __key*__:* __keyspace@0__:c lpush]");
}

#[test]
fn who_monitors_sees_commands_but_no_secrets() {
    let served = Served::new();
    let (mut looker, mut client) = (served.client(), served.client());
    looker.check("MONITOR", "+OK");
    client.check("SET a b", "+OK");
    let seen = crate::client::show(&looker.read());
    assert!(seen.ends_with("\"SET\" \"a\" \"b\""), "{seen}");
    client.run("AUTH someone hunter2");
    let seen = crate::client::show(&looker.read());
    assert!(seen.contains("(redacted)") && !seen.contains("hunter2"), "{seen}");
}

#[test]
fn who_wants_no_replies_gets_messages_all_the_same() {
    let served = Served::new();
    let (mut listener, mut sender) = (served.client(), served.client());
    listener.run("HELLO 3");
    listener.send("CLIENT REPLY OFF");
    listener.check("SUBSCRIBE a", ">[subscribe a :1]");
    // Its own message is one too, its reply is not.
    listener.check("PUBLISH a own", ">[message a own]");
    sender.check("PUBLISH a x", ":1");
    listener.expect(">[message a x]");
    listener.check("CLIENT REPLY ON", "+OK");
    let mut skipping = served.client();
    skipping.send("CLIENT REPLY SKIP");
    skipping.check("PSUBSCRIBE *", "[psubscribe * :1]");
    skipping.check("PING", "[pong ]");
}

#[test]
fn new_keys_and_keys_that_were_looked_for_in_vain_are_events_where_they_are_wanted() {
    let served = Served::with(&[("notify-keyspace-events", "E$lnm")]);
    let (mut listener, mut client) = (served.client(), served.client());
    listener.check("PSUBSCRIBE *", "[psubscribe * :1]");
    // (command, the events with their keys)
    for (command, events) in [
        ("SET a 1", &["new a", "set a"][..]),
        ("SET a 2", &["set a"]),
        ("RPUSH l x", &["new l", "rpush l"]),
        ("RPUSH l y", &["rpush l"]),
        ("MSET a 3 b 1", &["set a", "new b", "set b"]),
        ("GET nothing", &["keymiss nothing"]),
        ("MGET a nothing", &["keymiss nothing"]),
        ("EXISTS a", &[]),
        ("SET c 1 NX", &["new c", "set c"]),
        ("GETSET d 1", &["keymiss d", "new d", "set d"]),
        ("INCR e", &["new e", "incrby e"]),
    ] {
        client.run(command);
        for event in events {
            let (name, key) = event.split_once(' ').expect("two words");
            listener.expect(&format!("[pmessage * __keyevent@0__:{name} {key}]"));
        }
    }
    client.check("CONFIG SET notify-keyspace-events E$", "+OK");
    client.check("SET f 1", "+OK");
    listener.expect("[pmessage * __keyevent@0__:set f]");
}
