//! What users may do, by the rules they were given.

use super::*;
use crate::registry::registry;

fn user(rules: &str) -> User {
    let mut users = Users::default();
    let rules: Vec<&[u8]> = rules.split(' ').map(str::as_bytes).collect();
    let user = users.set(b"u", &rules).expect("good rules");
    User::clone(&user)
}

fn check(rules: &str, line: &str, expected: &Result<(), Denied>) {
    let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let found = registry().find(args[0]).expect("a command");
    let found = args
        .get(1)
        .and_then(|word| registry().find_sub(found.command, word))
        .unwrap_or(found);
    assert_eq!(&user(rules).check(found, &args), expected, "{rules}: {line}");
}

#[test]
fn commands_and_categories() {
    check("+@all", "ping", &Ok(()));
    check("", "publish a b", &Err(Denied::Command));
    check("+@all -publish", "publish a b", &Err(Denied::Command));
    check("+@pubsub allchannels", "publish a b", &Ok(()));
    check("+@all -@dangerous", "client list", &Err(Denied::Command));
    check("-@all +client|id", "client id", &Ok(()));
    check("-@all +client|id", "client list", &Err(Denied::Command));
    check("-@all +select|0", "select 0", &Ok(()));
    check("-@all +select|0", "select 1", &Err(Denied::Command));
}

#[test]
fn keys_by_what_is_done_with_them() {
    check("+@all ~a*", "watch ab", &Ok(()));
    check("+@all ~a*", "watch b", &Err(Denied::Key(b"b".to_vec())));
    check("+@all %R~a* %W~b*", "watch ab", &Ok(()));
    check("+@all %W~a*", "get ab", &Err(Denied::Key(b"ab".to_vec())));
    // It tells no more than that something changed.
    check("+@all %W~a*", "watch ab", &Ok(()));
}

#[test]
fn channels() {
    check("+@all &a*", "subscribe ab", &Ok(()));
    check("+@all &a*", "subscribe b", &Err(Denied::Channel(b"b".to_vec())));
    check(
        "+@all &a*",
        "psubscribe ab*",
        &Err(Denied::Channel(b"ab*".to_vec())),
    );
    check("+@all &a*", "psubscribe a*", &Ok(()));
}

#[test]
fn another_selector_is_enough() {
    check("+watch ~a (+watch ~b)", "watch b", &Ok(()));
    check(
        "+watch ~a (+watch ~b)",
        "watch c",
        &Err(Denied::Key(b"c".to_vec())),
    );
}

#[test]
fn passwords_are_compared_by_their_hash() {
    let user = user("on >secret");
    assert!(user.accepts(b"secret"));
    assert!(!user.accepts(b"Secret"));
    assert!(!user.accepts(b""));
    assert!(!String::from_utf8_lossy(&user.describe()).contains("secret"));
    assert!(Users::default().authenticate(b"nobody", b"x").is_none());
}

#[test]
fn what_is_described_is_read_back() {
    let text = "on >p ~a* %R~b &c* -@all +@read -publish +client|id (+watch ~z)";
    let user = user(text);
    let line = String::from_utf8(file::line(&user)).expect("it is text");
    let users = Users::parse(&line, false).expect("it is a line");
    assert_eq!(users.get(b"u").map(|read| User::clone(read)), Some(user));
}

#[test]
fn bad_rules_change_nothing() {
    let mut users = Users::default();
    for (rule, why) in [
        ("+nothing", "Unknown command or category name in ACL"),
        ("+@nothing", "Unknown command or category name in ACL"),
        ("nothing", "Syntax error"),
        ("%X~a", "Syntax error"),
        (
            "#12",
            "The provided password hash must be exactly 64 characters and contain only lowercase hexadecimal characters",
        ),
        (
            "<x",
            "The password you are trying to remove from the user does not exist",
        ),
    ] {
        let found = users.set(b"u", &[b"on", rule.as_bytes()]).expect_err("it is bad");
        assert_eq!(found.1, why, "{rule}");
        assert!(users.get(b"u").is_none());
    }
}

#[test]
fn the_reason_of_the_selector_that_came_furthest_is_told() {
    let key = |name: &str| Err(Denied::Key(name.as_bytes().to_vec()));
    check("+mget ~a (+mget ~a ~b)", "mget a b c", &key("c"));
    check("+mget ~a ~b (+mget ~a)", "mget a b c", &key("c"));
    check("+get ~* (+mget ~a)", "mget b", &key("b"));
    check("+get ~*", "mget b", &Err(Denied::Command));
}
