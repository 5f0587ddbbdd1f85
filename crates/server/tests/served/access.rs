//! Passwords and permissions.

use crate::client::{Served, show};

const NOAUTH: &str = "-NOAUTH Authentication required.";

#[test]
fn without_the_password_almost_nothing_is_answered() {
    let served = Served::with(&[("requirepass", "secret")]);
    let mut client = served.client();
    client.check("PING", NOAUTH);
    client.check("GET a", NOAUTH);
    client.check(
        "AUTH wrong",
        "-WRONGPASS invalid username-password pair or user is disabled.",
    );
    client.check("AUTH default secret", "+OK");
    client.check("PING", "+PONG");
    let mut client = served.client();
    let hello = show(&client.run("HELLO 3 AUTH default secret"));
    assert!(hello.contains("proto=:3"), "{hello}");
    client.check("CONFIG GET requirepass", "{requirepass=(redacted)}");
}

#[test]
fn somebody_unknown_gets_small_buffers() {
    let served = Served::with(&[("requirepass", "secret")]);
    let mut client = served.client();
    client.send_bytes(b"*11\r\n");
    client.expect("-ERR Protocol error: unauthenticated multibulk length");
    assert_eq!(client.next(), None);
    let mut client = served.client();
    client.send_bytes(b"*2\r\n$4\r\nAUTH\r\n$100000\r\n");
    client.expect("-ERR Protocol error: unauthenticated bulk length");
    assert_eq!(client.next(), None);
}

#[test]
fn guessing_passwords_takes_many_connections() {
    let served = Served::with(&[("requirepass", "secret")]);
    let mut client = served.client();
    let mut guesses = 0;
    client.send("AUTH guess");
    while client.next().is_some() {
        guesses += 1;
        client.send("AUTH guess");
    }
    assert_eq!(guesses, 10);
}

#[test]
fn users_may_do_what_they_may() {
    let served = Served::new();
    let (mut admin, mut user) = (served.client(), served.client());
    admin.check(
        "ACL SETUSER alice on >pw ~a:* &news +@read +set +subscribe",
        "+OK",
    );
    user.check("AUTH alice pw", "+OK");
    user.check(
        "ACL WHOAMI",
        "-NOPERM User alice has no permissions to run the 'acl|whoami' command",
    );
    user.check("SET a:1 x", "+OK");
    user.check("SET b:1 x", "-NOPERM No permissions to access a key");
    user.check(
        "DEL a:1",
        "-NOPERM User alice has no permissions to run the 'del' command",
    );
    user.check("MGET a:1 b:1", "-NOPERM No permissions to access a key");
    user.check("SUBSCRIBE other", "-NOPERM No permissions to access a channel");
    let log = show(&admin.run("ACL LOG 1"));
    assert!(
        log.contains("reason channel") && log.contains("object other"),
        "{log}"
    );
    admin.check(
        "ACL DRYRUN alice SET b:1 x",
        "User alice has no permissions to access the 'b:1' key",
    );
    admin.check("ACL SETUSER alice -set", "+OK");
    user.check(
        "SET a:1 x",
        "-NOPERM User alice has no permissions to run the 'set' command",
    );
    admin.check("ACL DELUSER alice", ":1");
    assert_eq!(user.next(), None);
    admin.check("ACL USERS", "[default]");
}

#[test]
fn permissions_taken_within_a_transaction_count() {
    let served = Served::new();
    let (mut admin, mut user) = (served.client(), served.client());
    admin.check("ACL SETUSER bob on nopass ~* +@all", "+OK");
    user.check("AUTH bob x", "+OK");
    user.check("MULTI", "+OK");
    user.check("SET a 1", "+QUEUED");
    admin.check("ACL SETUSER bob -set", "+OK");
    let replies = show(&user.run("EXEC"));
    assert!(replies.contains("-NOPERM ACLs rules changed"), "{replies}");
    admin.check("EXISTS a", ":0");
}

#[test]
fn users_are_kept_in_a_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("users.acl");
    let path = path.to_str().expect("a path of letters");
    std::fs::write(path, "user carol on nopass ~c* -@all +get\n").expect("a file");
    let served = Served::with(&[("aclfile", path)]);
    let mut client = served.client();
    client.check("ACL USERS", "[carol default]");
    client.check("ACL SETUSER dave on >x", "+OK");
    client.check("ACL SAVE", "+OK");
    let text = std::fs::read_to_string(path).expect("a file");
    assert!(
        text.contains("user dave on sanitize-payload #") && !text.contains(">x"),
        "{text}"
    );
    client.check("ACL DELUSER dave", ":1");
    client.check("ACL LOAD", "+OK");
    client.check("ACL USERS", "[carol dave default]");
}

#[test]
fn who_may_only_write_a_key_does_not_learn_what_it_was() {
    let served = Served::new();
    let (mut admin, mut writer) = (served.client(), served.client());
    admin.check("ACL SETUSER w on nopass +@all %W~w*", "+OK");
    admin.check("SET w secret", "+OK");
    writer.check("AUTH w x", "+OK");
    // What tells something of the value.
    for command in [
        "GET w",
        "SET w 1 GET",
        "GETSET w 1",
        "GETDEL w",
        "GETEX w",
        "INCR w",
        "RENAME w w2",
        "COPY w w2",
        "SETBIT w 1 1",
        "BITFIELD w GET u8 0",
        "LPOP w",
        "SPOP w",
        "SMOVE w w2 a",
        "RPOPLPUSH w w2",
        "HINCRBY w f 1",
        "ZINCRBY w 1 a",
        "ZPOPMIN w",
    ] {
        writer.check(command, "-NOPERM No permissions to access a key");
    }
    // What does not.
    for (command, reply) in [
        ("SET w new", "+OK"),
        ("APPEND w x", ":4"),
        ("STRLEN w", ":4"),
        ("EXISTS w", ":1"),
        ("DEL w", ":1"),
        ("RPUSH wl a", ":1"),
        ("LSET wl 0 b", "+OK"),
        ("HSET wh a b", ":1"),
        ("HEXISTS wh a", ":1"),
        ("HDEL wh a", ":1"),
        ("SADD ws a", ":1"),
        ("SREM ws a", ":1"),
        ("ZADD wz 1 a", ":1"),
        ("ZCARD wz", ":1"),
        ("EXPIRE wz 100", ":1"),
    ] {
        writer.check(command, reply);
    }
    admin.check("COMMAND GETKEYSANDFLAGS SET k v", "[[k [+OW +update]]]");
    admin.check(
        "COMMAND GETKEYSANDFLAGS SET k v GET",
        "[[k [+RW +access +update]]]",
    );
    admin.check(
        "COMMAND GETKEYSANDFLAGS BITFIELD k GET u8 0",
        "[[k [+RO +access]]]",
    );
    admin.check("ACL SETUSER r on nopass +@all %R~w*", "+OK");
    let mut reader = served.client();
    reader.check("AUTH r x", "+OK");
    reader.check("BITFIELD w GET u8 0", "[:0]");
    reader.check("BITFIELD w SET u8 0 1", "-NOPERM No permissions to access a key");
}

#[test]
fn sorting_reads_and_stores_only_what_is_allowed() {
    let served = Served::new();
    let (mut admin, mut client) = (served.client(), served.client());
    admin.check("ACL SETUSER s on nopass +@all ~mine* %R~other*", "+OK");
    admin.check("SET secret:1 hidden", "+OK");
    client.check("AUTH s x", "+OK");
    client.check("RPUSH mine 1", ":1");
    client.check(
        "SORT mine GET secret:*",
        "-ERR GET option of SORT denied due to insufficient ACL permissions.",
    );
    client.check(
        "SORT_RO mine BY secret:*",
        "-ERR BY option of SORT denied due to insufficient ACL permissions.",
    );
    client.check("SORT mine BY nosort GET #", "[1]");
    client.check(
        "SORT mine GET store STORE other",
        "-NOPERM No permissions to access a key",
    );
    client.check(
        "SORT mine STORE mine:a STORE other",
        "-NOPERM No permissions to access a key",
    );
    client.check("SORT mine STORE other STORE mine:a", ":1");
    admin.check("SORT mine GET secret:*", "[hidden]");
    admin.check("ACL SETUSER r on nopass +@all %R~*", "+OK");
    client.check("AUTH r x", "+OK");
    client.check("SORT mine GET secret:*", "[hidden]");
}

#[test]
fn users_may_be_named_among_the_settings() {
    let served = Served::with(&[("user", "alice on \">p w\" ~a* +@all"), ("user", "default off")]);
    let mut client = served.client();
    client.check("PING", NOAUTH);
    client.send_args(&[b"AUTH", b"alice", b"p w"]);
    client.expect("+OK");
    client.check("GET a", "null");
    client.check("GET b", "-NOPERM No permissions to access a key");
    client.check("CONFIG GET user", "[]");
    client.check(
        "CONFIG SET user x",
        "-ERR Unknown option or number of arguments for CONFIG SET - 'user'",
    );
}

#[test]
fn users_that_make_no_sense_are_refused_at_the_start() {
    let refused = |settings: &[(&str, &str)]| {
        let mut config = weald_server::Config::default();
        for (name, value) in settings {
            config.set(name, value).expect("a setting of the test");
        }
        let checked = weald_server::Server::check(&config);
        checked.expect_err("it makes no sense").to_string()
    };
    let twice = refused(&[("user", "foo"), ("user", "foo")]);
    assert!(twice.contains("Duplicate user 'foo'"), "{twice}");
    let rule = refused(&[("user", "foo what")]);
    assert!(rule.contains("Syntax error"), "{rule}");
    let both = refused(&[("user", "foo"), ("aclfile", "users.acl")]);
    assert!(both.contains("not both"), "{both}");
    let command = refused(&[("rename-command", "nothing x")]);
    assert!(command.contains("no such command"), "{command}");
}

#[test]
fn commands_have_the_names_that_they_are_given() {
    let served = Served::with(&[
        ("rename-command", "FLUSHALL \"\""),
        ("rename-command", "CONFIG Conf-1"),
        ("rename-command", "EVAL \"\""),
    ]);
    let mut client = served.client();
    client.check("SET a 1", "+OK");
    let gone = "-ERR unknown command 'FLUSHALL', with args beginning with: ";
    client.check("FLUSHALL", gone);
    client.check("MULTI", "+OK");
    client.check("FLUSHALL", gone);
    client.check(
        "EXEC",
        "-EXECABORT Transaction discarded because of previous errors.",
    );
    client.check("GET a", "1");
    client.check("conf-1 GET port", "[port 0]");
    let config = show(&client.run("CONFIG GET port"));
    assert!(config.starts_with("-ERR unknown command 'CONFIG'"), "{config}");
    client.check("conf-1 SET slowlog-log-slower-than 0", "+OK");
    client.check("conf-1 SET requirepass hunter2", "+OK");
    let slow = show(&client.run("SLOWLOG GET"));
    assert!(slow.contains("(redacted)") && !slow.contains("hunter2"), "{slow}");
    client.check("COMMAND INFO flushall", "[null]");
    client.check("COMMAND LIST FILTERBY PATTERN flush*", "[flushdb]");
}

#[test]
fn what_was_changed_can_be_written_to_the_file_of_settings() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("weald.conf");
    let text = "# ours\nport 0\nhttp no\ndurability none\nrename-command FLUSHDB badger\nuser default on nopass ~* &* +@all -flushall\nmaxclients 50\n";
    std::fs::write(&path, text).expect("a file");
    let served = Served::of_file(dir, "weald.conf");
    let mut client = served.client();
    client.check("CONFIG REWRITE", "+OK");
    assert_eq!(
        std::fs::read_to_string(&path).expect("a text"),
        text,
        "nothing was changed"
    );
    client.check("CONFIG SET maxclients 60 slowlog-max-len 7", "+OK");
    client.check("ACL SETUSER bob on >pw ~b* +get", "+OK");
    client.check("CONFIG REWRITE", "+OK");
    let written = std::fs::read_to_string(&path).expect("a text");
    assert!(written.starts_with("# ours\nport 0\nhttp no\n"), "{written}");
    let served = Served::of_file(served.end(), "weald.conf");
    let mut client = served.client();
    client.check("CONFIG GET maxclients", "[maxclients 60]");
    client.check("CONFIG GET slowlog-max-len", "[slowlog-max-len 7]");
    client.check(
        "FLUSHALL",
        "-NOPERM User default has no permissions to run the 'flushall' command",
    );
    client.check("badger", "+OK");
    client.check("AUTH bob pw", "+OK");
    client.check("GET b", "null");
}

#[test]
fn without_a_file_nothing_is_rewritten() {
    let served = Served::new();
    let mut client = served.client();
    client.check(
        "CONFIG REWRITE",
        "-ERR The server is running without a config file",
    );
}

#[test]
fn whoever_may_not_listen_any_more_is_disconnected_when_users_are_loaded() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("users.acl");
    let write = |channels: &str| {
        let text = format!("user alice on nopass +@all ~* {channels}\nuser bob on nopass +@all &*\n");
        std::fs::write(&path, text).expect("a file");
    };
    write("&news &more");
    let named = path.to_str().expect("a path of letters").to_owned();
    let served = Served::in_dir(dir, &[("aclfile", &named)]);
    let (mut admin, mut alice, mut bob) = (served.client(), served.client(), served.client());
    alice.check("AUTH alice x", "+OK");
    alice.check("SUBSCRIBE more", "[subscribe more :1]");
    bob.check("AUTH bob x", "+OK");
    bob.check("SUBSCRIBE more", "[subscribe more :1]");
    admin.check("ACL LOAD", "+OK");
    write("&news");
    admin.check("ACL LOAD", "+OK");
    assert_eq!(alice.next(), None);
    bob.check("PING", "[pong ]");
}
