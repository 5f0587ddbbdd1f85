//! get, set, del and scan.

use std::ffi::OsString;
use std::time::Duration;

use serde_json::json;

use crate::program::{Place, arg, feed, limited, noise};

#[test]
fn what_was_set_is_got_until_it_is_deleted() {
    let place = Place::new();
    assert_eq!(place.text(&["set", "hello", "world"]), "");
    assert_eq!(place.text(&["get", "hello"]), "world");
    assert_eq!(
        place.json(&["get", "hello", "--json"]),
        [json!({"key": "hello", "value": "world"})]
    );
    assert_eq!(
        place.json(&["set", "hello", "-5", "--json"]),
        [json!({"set": true})]
    );
    assert_eq!(place.text(&["get", "hello"]), "-5");
    place.ok(&["del", "hello"]);
    assert!(place.refused(1, &["get", "hello"]).contains("no key hello"));
    assert!(place.refused(1, &["del", "hello"]).contains("nothing to delete"));
    assert_eq!(place.files(), ["my.weald"]);
}

#[test]
fn the_database_is_named_before_or_after_the_command_or_in_the_environment() {
    let place = Place::new();
    place.ok(&["--db", "other.weald", "set", "k", "v"]);
    assert_eq!(place.text(&["get", "k", "-d", "other.weald"]), "v");
    assert_eq!(place.files(), ["other.weald"]);
    place.refused(1, &["get", "k"]);
}

#[test]
fn keys_and_values_are_any_bytes() {
    let place = Place::new();
    let key = b"\xff\n key \x01\\";
    let value: Vec<u8> = (0..=255).collect();
    place.feed_ok(&[OsString::from("set"), arg(key)], &value);
    assert_eq!(place.ok(&[OsString::from("get"), arg(key)]), value);
    assert_eq!(
        place.ok(&["get", "--hex", "ff0a206b657920015c"]).len(),
        2 * 256 + 1
    );
    place.ok(&["set", "-x", "00", "00ff"]);
    assert_eq!(place.ok(&["get", "-x", "00"]), b"00ff\n");
    assert_eq!(
        place.json(&["get", "-x", "00", "--json"]),
        [json!({"key": "00", "value": "00ff"})]
    );
    place.ok(&["set", "", "of the empty key"]);
    assert_eq!(place.text(&["get", ""]), "of the empty key");
    assert_eq!(
        place.text(&["scan", "--keys-only"]),
        "\n\\x00\n\\xff\\n key \\x01\\\\\n"
    );
    assert_eq!(
        place.json(&["scan", "--json", "--keys-only"]),
        [
            json!({"key": ""}),
            json!({"key": "\0"}),
            json!({"key": {"hex": "ff0a206b657920015c"}})
        ]
    );
    assert_eq!(place.ok(&["del", "--hex", "ff0a206b657920015c"]), b"");
}

#[test]
fn values_come_from_an_argument_a_file_or_standard_input() {
    let place = Place::new();
    let value = noise(100_000);
    std::fs::write(place.path("value"), &value).unwrap();
    place.ok(&["set", "file", "--file", "value"]);
    place.feed_ok(&["set", "pipe"], &value);
    place.feed_ok(&["set", "dash", "--file", "-"], &value);
    for key in ["file", "pipe", "dash"] {
        assert!(place.ok(&["get", key]) == value, "{key}");
    }
    place.feed_ok(&["set", "nothing"], b"");
    assert_eq!(place.ok(&["get", "nothing"]), b"");
    // The kernel says that this file is empty.
    place.ok(&["set", "made up", "--file", "/proc/version"]);
    assert!(place.text(&["get", "made up"]).starts_with("Linux"));
}

#[test]
fn redirected_input_begins_where_the_shell_left_it() {
    let place = Place::new();
    std::fs::write(place.path("lines"), "first\nsecond\n").unwrap();
    let mut file = std::fs::File::open(place.path("lines")).unwrap();
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(6)).unwrap();
    let status = place.command(&["set", "k"]).stdin(file).status().unwrap();
    assert!(status.success());
    assert_eq!(place.text(&["get", "k"]), "second\n");
}

#[test]
fn twenty_megabytes_go_through_in_a_few() {
    let place = Place::new();
    let value = noise(20_000_000);
    std::fs::write(place.path("value"), &value).unwrap();
    // Enough for the program and its database, but not for the value.
    const ENOUGH: u32 = 12;
    for args in [&["set", "k", "--file", "value"][..], &["set", "k2"]] {
        let answer = feed(limited(&place, ENOUGH, args), &value);
        assert_eq!(answer.code, Some(0), "{}", answer.err);
    }
    for args in [["get", "k"], ["get", "k2"]] {
        let answer = feed(limited(&place, ENOUGH, &args), b"");
        assert_eq!(answer.code, Some(0), "{}", answer.err);
        assert!(answer.out == value);
    }
    // The limit is one: a value that can't be streamed does not fit.
    let answer = feed(
        limited(&place, ENOUGH, &["set", "k3", "--ttl", "1h", "--file", "value"]),
        b"",
    );
    assert_ne!(answer.code, Some(0));
    assert_eq!(place.files(), ["my.weald", "value"]);
}

#[test]
fn a_key_expires() {
    let place = Place::new();
    place.ok(&["set", "long", "v", "--ttl", "1h"]);
    let answer = &place.json(&["get", "long", "--json"])[0];
    let left = answer["ttl_ms"].as_u64().unwrap();
    assert!((3_500_000..=3_600_000).contains(&left), "{left}");
    place.ok(&["set", "short", "v", "--ttl", "1ms"]);
    std::thread::sleep(Duration::from_millis(5));
    place.refused(1, &["get", "short"]);
    assert_eq!(place.text(&["scan"]), "long\tv\n");
}

#[test]
fn if_absent_leaves_what_is_there() {
    let place = Place::new();
    place.ok(&["set", "k", "first", "--if-absent"]);
    assert!(
        place
            .refused(1, &["set", "k", "second", "--if-absent"])
            .contains("there already")
    );
    let answer = place.run(&["set", "k", "second", "--if-absent", "--json"]);
    assert_eq!(
        (answer.code, &answer.out[..]),
        (Some(1), &b"{\"set\":false}\n"[..])
    );
    assert_eq!(place.text(&["get", "k"]), "first");
}

#[test]
fn a_scan_gives_what_was_asked_for() {
    let place = Place::new();
    for key in ["a", "b1", "b2", "c", "d\tx"] {
        place.ok(&["set", key, &format!("of {key}")]);
    }
    let check = |args: &[&str], expected: &str| {
        let args = [&["scan"], args].concat();
        assert_eq!(place.text(&args), expected, "{args:?}");
    };
    check(&[], "a\tof a\nb1\tof b1\nb2\tof b2\nc\tof c\nd\\tx\tof d\\tx\n");
    check(&["-k"], "a\nb1\nb2\nc\nd\\tx\n");
    check(&["-k", "--prefix", "b"], "b1\nb2\n");
    check(&["-k", "--prefix", "b", "--reverse"], "b2\nb1\n");
    check(&["-k", "--from", "b2"], "b2\nc\nd\\tx\n");
    check(&["-k", "--to", "b2"], "a\nb1\n");
    check(
        &["-k", "--from", "b", "--to", "c", "--reverse", "--limit", "1"],
        "b2\n",
    );
    check(&["-k", "-n", "2"], "a\nb1\n");
    check(&["-n", "0"], "");
    check(&["-k", "--prefix", "zz"], "");
    check(&["-x", "--from", "6232", "--to", "6233"], "6232\t6f66206232\n");
    assert_eq!(
        place.json(&["scan", "--json", "-p", "a"]),
        [json!({"key": "a", "value": "of a"})]
    );
    // From after to is a range with nothing in it.
    check(&["--from", "c", "--to", "a"], "");
}

#[test]
fn a_range_is_deleted_in_one_transaction() {
    let place = Place::new();
    for key in ["a", "b1", "b2", "c", "d"] {
        place.ok(&["set", key, ""]);
    }
    assert_eq!(
        place.json(&["del", "--prefix", "b", "--json"]),
        [json!({"deleted": 2})]
    );
    assert_eq!(
        place.json(&["del", "--from", "c", "--to", "d", "--json"]),
        [json!({"deleted": 1})]
    );
    assert_eq!(place.text(&["scan", "-k"]), "a\nd\n");
    assert_eq!(
        place.json(&["del", "a", "nope", "d", "--json"]),
        [json!({"deleted": 2})]
    );
    let answer = place.run(&["del", "--prefix", "b", "--json"]);
    assert_eq!(
        (answer.code, &answer.out[..]),
        (Some(1), &b"{\"deleted\":0}\n"[..])
    );
}
