//! Clients that keep copies.

use crate::client::{Client, Served, show};

fn resp3(served: &Served) -> Client {
    let mut client = served.client();
    client.run("HELLO 3");
    client
}

#[test]
fn who_has_read_a_key_is_told_once_when_it_changes() {
    let served = Served::new();
    let (mut reader, mut writer) = (resp3(&served), served.client());
    reader.check("CLIENT TRACKING ON", "+OK");
    reader.check("GET a", "null");
    writer.check("SET a 1", "+OK");
    reader.expect(">[invalidate [a]]");
    writer.check("SET a 2", "+OK");
    reader.expect_nothing();
    reader.check("GET a", "2");
    // Of its own change it is told after the reply.
    reader.check("SET a 3", "+OK");
    reader.expect(">[invalidate [a]]");
    reader.check("GET a", "3");
    writer.check("FLUSHALL", "+OK");
    reader.expect(">[invalidate null]");
}

#[test]
fn noloop_leaves_its_own_changes_out() {
    let served = Served::new();
    let mut reader = resp3(&served);
    reader.check("CLIENT TRACKING ON NOLOOP", "+OK");
    reader.check("GET a", "null");
    reader.check("SET a 1", "+OK");
    reader.expect_nothing();
}

#[test]
fn only_what_was_asked_for_is_remembered() {
    let served = Served::new();
    let (mut reader, mut writer) = (resp3(&served), served.client());
    reader.check("CLIENT TRACKING ON OPTIN", "+OK");
    reader.check("GET a", "null");
    reader.check("CLIENT CACHING YES", "+OK");
    reader.check("GET b", "null");
    reader.check("GET c", "null");
    writer.check("MSET a 1 b 1 c 1", "+OK");
    reader.expect(">[invalidate [b]]");
    reader.expect_nothing();
    reader.check("CLIENT TRACKING OFF", "+OK");
    reader.check("CLIENT TRACKING ON OPTOUT", "+OK");
    reader.check("CLIENT CACHING NO", "+OK");
    reader.check("GET a", "1");
    reader.check("GET b", "1");
    writer.check("MSET a 2 b 2", "+OK");
    reader.expect(">[invalidate [b]]");
    reader.expect_nothing();
}

#[test]
fn prefixes_are_told_of_whether_read_or_not() {
    let served = Served::new();
    let (mut reader, mut writer) = (resp3(&served), served.client());
    reader.check("CLIENT TRACKING ON BCAST PREFIX a PREFIX b", "+OK");
    writer.check("MSET a1 x c1 x a2 x", "+OK");
    reader.expect(">[invalidate [a1 a2]]");
    reader.check(
        "CLIENT TRACKING ON BCAST PREFIX ab",
        "-ERR Prefix 'ab' overlaps with an existing prefix 'a'. Prefixes for a single client must not overlap.",
    );
    reader.check(
        "CLIENT TRACKINGINFO",
        "{flags=~[on bcast] redirect=:0 prefixes=[a b]}",
    );
}

#[test]
fn somebody_else_can_listen_in_its_place() {
    let served = Served::new();
    let (mut listener, mut reader, mut writer) = (served.client(), served.client(), served.client());
    let id = show(&listener.run("CLIENT ID")).replace(':', "");
    listener.check(
        "SUBSCRIBE __redis__:invalidate",
        "[subscribe __redis__:invalidate :1]",
    );
    reader.check(&format!("CLIENT TRACKING ON REDIRECT {id}"), "+OK");
    reader.check("CLIENT GETREDIR", &format!(":{id}"));
    reader.check("GET a", "null");
    writer.check("SET a 1", "+OK");
    listener.expect("[message __redis__:invalidate [a]]");
    reader.check(
        "CLIENT TRACKING ON REDIRECT 999999",
        "-ERR The client ID you want redirect to does not exist",
    );
}

#[test]
fn prefixes_that_overlap_are_named_in_their_order() {
    let served = Served::new();
    let mut client = served.client();
    client.check(
        "CLIENT TRACKING ON BCAST PREFIX FOOBAR PREFIX FOO",
        "-ERR Prefix 'FOOBAR' overlaps with another provided prefix 'FOO'. Prefixes for a single client must not overlap.",
    );
}

#[test]
fn fewer_tracked_keys_are_remembered_as_soon_as_that_is_set() {
    let served = Served::new();
    let (mut reader, mut admin) = (served.client(), served.client());
    reader.run("HELLO 3");
    reader.check("CLIENT TRACKING ON", "+OK");
    reader.check("MGET a b", "[null null]");
    admin.check("CONFIG SET tracking-table-max-keys 1", "+OK");
    let gone = show(&reader.read());
    assert!(
        gone == ">[invalidate [a]]" || gone == ">[invalidate [b]]",
        "{gone}"
    );
}

#[test]
fn a_client_that_flushes_is_told_after_its_reply() {
    let served = Served::new();
    let (mut reader, mut other) = (served.client(), served.client());
    for client in [&mut reader, &mut other] {
        client.run("HELLO 3");
        client.check("CLIENT TRACKING ON", "+OK");
        client.check("GET a", "null");
    }
    reader.check("MULTI", "+OK");
    reader.check("FLUSHDB", "+QUEUED");
    reader.check("EXEC", "[+OK]");
    reader.expect(">[invalidate null]");
    other.expect(">[invalidate null]");
}
