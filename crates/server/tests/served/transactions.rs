//! `MULTI`, `EXEC` and `WATCH`.

use crate::client::Served;

#[test]
fn commands_are_queued_and_run_together() {
    let served = Served::new();
    let mut client = served.client();
    client.check("MULTI", "+OK");
    client.check("SET a 1", "+QUEUED");
    client.check("LPUSH a 1", "+QUEUED");
    client.check("INCR a", "+QUEUED");
    client.check(
        "EXEC",
        "[+OK -WRONGTYPE Operation against a key holding the wrong kind of value :2]",
    );
    client.check("EXEC", "-ERR EXEC without MULTI");
    client.check("DISCARD", "-ERR DISCARD without MULTI");
}

#[test]
fn a_command_that_is_refused_spoils_the_transaction() {
    let served = Served::new();
    let mut client = served.client();
    client.check("MULTI", "+OK");
    client.check("MULTI", "-ERR MULTI calls can not be nested");
    client.check("SET a", "-ERR wrong number of arguments for 'set' command");
    client.check("SET a 1", "+QUEUED");
    client.check(
        "EXEC",
        "-EXECABORT Transaction discarded because of previous errors.",
    );
    client.check("EXISTS a", ":0");
}

#[test]
fn an_exec_that_can_not_be_run_ends_the_transaction() {
    let served = Served::new();
    let mut client = served.client();
    let aborted = "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command";
    client.check("EXEC a", aborted);
    client.check("MULTI", "+OK");
    client.check("SET a 1", "+QUEUED");
    client.check("EXEC a", aborted);
    client.check("DISCARD", "-ERR DISCARD without MULTI");
    client.check("EXISTS a", ":0");
    client.check("ACL SETUSER limited on nopass +@all -exec ~*", "+OK");
    client.check("AUTH limited any", "+OK");
    client.check("MULTI", "+OK");
    client.check(
        "EXEC",
        "-EXECABORT Transaction discarded because of: NOPERM User limited has no permissions to run the 'exec' command",
    );
    client.check("DISCARD", "-ERR DISCARD without MULTI");
    // What it watched is not watched any more.
    let mut other = served.client();
    client.check("WATCH a", "+OK");
    client.check("EXEC a", aborted);
    other.check("SET a 2", "+OK");
    client.check("AUTH default any", "+OK");
    client.check("MULTI", "+OK");
    client.check("SET a 3", "+QUEUED");
    client.check("EXEC", "[+OK]");
}

#[test]
fn a_watched_key_that_was_changed_ends_it() {
    let served = Served::new();
    let (mut one, mut other) = (served.client(), served.client());
    one.check("SET a 1", "+OK");
    one.check("WATCH a b", "+OK");
    other.check("SET b 1", "+OK");
    one.check("MULTI", "+OK");
    one.check("SET a 2", "+QUEUED");
    one.check("EXEC", "null");
    one.check("GET a", "1");
    // EXEC has ended the watch.
    one.check("MULTI", "+OK");
    one.check("SET a 2", "+QUEUED");
    one.check("EXEC", "[+OK]");
}

#[test]
fn a_watched_key_that_expires_or_is_flushed_ends_it() {
    let served = Served::new();
    let (mut one, mut other) = (served.client(), served.client());
    one.check("SET a 1 PX 300", "+OK");
    one.check("WATCH a", "+OK");
    std::thread::sleep(std::time::Duration::from_millis(350));
    one.check("MULTI", "+OK");
    one.check("PING", "+QUEUED");
    one.check("EXEC", "null");
    one.check("WATCH nothing", "+OK");
    other.check("FLUSHALL", "+OK");
    one.check("MULTI", "+OK");
    one.check("PING", "+QUEUED");
    one.check("EXEC", "[+PONG]");
    one.check("SET a 1", "+OK");
    one.check("WATCH a", "+OK");
    other.check("FLUSHALL", "+OK");
    one.check("MULTI", "+OK");
    one.check("PING", "+QUEUED");
    one.check("EXEC", "null");
}

#[test]
fn nobody_sees_half_of_a_transaction() {
    let served = Served::new();
    let mut writer = served.client();
    let mut reader = served.client();
    let mut bytes = Vec::new();
    for i in 0..300 {
        bytes.extend_from_slice(format!("MULTI\r\nSET a {i}\r\nSET b {i}\r\nEXEC\r\n").as_bytes());
    }
    writer.send_bytes(&bytes);
    for _ in 0..300 {
        let frame = reader.run("MGET a b");
        let weald_server::Frame::Array(pair) = &frame else {
            panic!("{frame:?}")
        };
        assert_eq!(pair[0], pair[1]);
    }
    (0..1200).for_each(|_| drop(writer.read()));
}

#[test]
fn swapping_databases_touches_the_keys_that_come_or_go() {
    let served = Served::with(&[("enable-debug-command", "yes")]);
    // (what the watched key is before, what the other database has, whether the transaction is called off)
    for (before, other, off) in [
        ("", "", false),
        ("", "SET x 1", true),
        ("SET x 1", "", true),
        ("SET x 1", "SET x 1", true),
        ("PSETEX x 1 1", "", false),
        ("", "PSETEX x 1 1", false),
        ("PSETEX x 1 1", "PSETEX x 1 1", false),
        ("PSETEX x 1 1", "SET x 1", true),
    ] {
        let mut client = served.client();
        client.check("FLUSHALL", "+OK");
        client.check("DEBUG SET-ACTIVE-EXPIRE 0", "+OK");
        for (db, command) in [(0, before), (1, other)] {
            client.check(&format!("SELECT {db}"), "+OK");
            if !command.is_empty() {
                client.check(command, "+OK");
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
        client.check("SELECT 0", "+OK");
        client.check("WATCH x", "+OK");
        client.check("SWAPDB 0 1", "+OK");
        client.check("MULTI", "+OK");
        client.check("PING", "+QUEUED");
        client.check("EXEC", if off { "null" } else { "[+PONG]" });
    }
}

#[test]
fn who_monitors_sees_what_a_transaction_does_and_then_its_end() {
    let served = Served::new();
    let (mut looker, mut client) = (served.client(), served.client());
    looker.check("MONITOR", "+OK");
    for (command, reply) in [("MULTI", "+OK"), ("SET a 1", "+QUEUED"), ("EXEC", "[+OK]")] {
        client.check(command, reply);
    }
    for command in ["\"MULTI\"", "\"SET\" \"a\" \"1\"", "\"EXEC\""] {
        let seen = crate::client::show(&looker.read());
        assert!(seen.ends_with(command), "{command}: {seen}");
    }
}
