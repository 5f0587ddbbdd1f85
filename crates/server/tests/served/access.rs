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
