//! Buckets, from the command line.

use serde_json::json;

use crate::program::Place;

#[test]
fn buckets_are_made_listed_renamed_and_deleted() {
    let place = Place::new();
    place.ok(&["bucket", "create", "users"]);
    assert_eq!(
        place.json(&["bucket", "create", "users/by-name", "--json"]),
        [json!({"created": true})]
    );
    place.ok(&["set", "ann", "1", "--bucket", "users/by-name"]);
    place.ok(&["set", "bob", "2", "-b", "users/by-name"]);
    assert_eq!(place.text(&["get", "bob", "-b", "users/by-name"]), "2");
    assert_eq!(place.text(&["scan", "-b", "users/by-name"]), "ann\t1\nbob\t2\n");
    assert_eq!(place.text(&["scan"]), "");
    assert_eq!(place.text(&["bucket", "list"]), "users\t0\n");
    assert_eq!(
        place.text(&["bucket", "list", "-r"]),
        "users\t0\nusers/by-name\t2\n"
    );
    assert_eq!(
        place.json(&["bucket", "list", "users", "--json"]),
        [json!({"path": "users/by-name", "name": "by-name", "keys": 2})]
    );
    assert_eq!(
        place.json(&["bucket", "rename", "users/by-name", "names", "--json"]),
        [json!({"renamed": true})]
    );
    assert_eq!(place.text(&["get", "ann", "-b", "users/names"]), "1");
    place.ok(&["del", "ann", "-b", "users/names"]);
    assert_eq!(
        place.json(&["bucket", "delete", "users", "--json"]),
        [json!({"deleted": true})]
    );
    assert_eq!(place.text(&["bucket", "list", "-r"]), "");
}

#[test]
fn those_above_are_made_where_asked_for() {
    let place = Place::new();
    let deep = vec!["d"; 20].join("/");
    assert!(
        place
            .refused(1, &["bucket", "delete", &deep])
            .contains("no database")
    );
    place.ok(&["set", "k", "v"]);
    assert!(
        place
            .refused(1, &["bucket", "create", &deep])
            .contains("no bucket")
    );
    place.ok(&["bucket", "create", &deep, "--parents"]);
    place.ok(&["bucket", "create", &deep, "--parents"]);
    assert!(place.refused(1, &["bucket", "create", &deep]).contains("already"));
    assert_eq!(place.text(&["bucket", "list", "-r"]).lines().count(), 20);
    place.ok(&["set", "k", "deep down", "-b", &deep]);
    assert_eq!(place.text(&["get", "k", "-b", &deep]), "deep down");
    assert_eq!(place.text(&["get", "k"]), "v");
}

#[test]
fn names_of_any_bytes_have_paths() {
    let place = Place::new();
    let path = r"a\/b\xff\n/\\";
    place.ok(&["bucket", "create", "-p", path]);
    place.ok(&["set", "k", "v", "-b", path]);
    let listed = place.json(&["bucket", "list", "-r", "--json"]);
    assert_eq!(listed[0]["name"], json!({"hex": "612f62ff0a"}));
    assert_eq!(listed[1]["path"], path);
    assert_eq!(
        place.text(&["get", "k", "-b", listed[1]["path"].as_str().unwrap()]),
        "v"
    );
}

#[test]
fn buckets_that_are_not_there_are_named() {
    let place = Place::new();
    place.ok(&["bucket", "create", "a"]);
    for args in [
        &["get", "k", "-b", "b"][..],
        &["set", "k", "v", "-b", "b"],
        &["del", "k", "-b", "a/b"],
        &["scan", "-b", "b"],
        &["bucket", "delete", "b"],
        &["bucket", "rename", "b", "c"],
        &["bucket", "list", "b"],
    ] {
        let complaint = place.refused(1, args);
        assert!(
            complaint.contains("no bucket \"b\"") && complaint.contains("weald bucket list"),
            "{complaint}"
        );
    }
    place.ok(&["bucket", "create", "c"]);
    assert!(
        place
            .refused(1, &["bucket", "rename", "a", "c"])
            .contains("already")
    );
    assert!(
        place
            .refused(2, &["bucket", "rename", "a", "c/d"])
            .contains("not moved")
    );
}
