//! What goes wrong before anything is done: wrong arguments, wrong paths, a database that is in use or damaged.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use crate::program::{Place, feed, program};

/// Commands that only read.
const READING: [&[&str]; 4] = [&["get", "k"], &["scan"], &["stats"], &["bucket", "list"]];

/// Commands that change what is there, and make nothing.
const CHANGING: [&[&str]; 4] = [
    &["del", "k"],
    &["del", "--prefix", "k"],
    &["bucket", "delete", "b"],
    &["bucket", "rename", "b", "c"],
];

#[test]
fn a_wrong_path_makes_no_database() {
    let place = Place::new();
    for args in READING.into_iter().chain(CHANGING) {
        let complaint = place.refused(1, args);
        assert!(
            complaint.contains("no database my.weald") && complaint.contains("--db"),
            "{complaint}"
        );
        assert_eq!(fs::read_dir(place.dir()).unwrap().count(), 0, "{args:?}");
    }
    for args in [&["set", "k", "v"][..], &["bucket", "create", "b"], &["get", "k"]] {
        let complaint = place.refused(
            if args[0] == "get" { 1 } else { 5 },
            &[args, &["-d", "no/such/db"]].concat(),
        );
        assert!(complaint.contains("no/such/db"), "{complaint}");
        let complaint = place.refused(2, &[args, &["-d", "."]].concat());
        assert!(complaint.contains("is a directory"), "{complaint}");
    }
    assert_eq!(fs::read_dir(place.dir()).unwrap().count(), 0);
}

#[test]
fn a_new_database_is_announced() {
    let place = Place::new();
    assert_eq!(
        place.run(&["set", "k", "v"]).err,
        "weald: made the database my.weald\n"
    );
    assert_eq!(place.run(&["set", "k", "v"]).err, "");
}

#[test]
fn no_database_is_named() {
    let mut command = program();
    command.args(["get", "k"]);
    let answer = feed(command, b"");
    assert_eq!(answer.code, Some(2));
    assert!(
        answer.err.contains("--db FILE") && answer.err.contains("WEALD_DB"),
        "{}",
        answer.err
    );
}

#[test]
fn wrong_arguments_end_with_2() {
    let place = Place::new();
    place.ok(&["set", "k", "v"]);
    let long = "k".repeat(5000);
    for args in [
        &["frobnicate"][..],
        &["get"],
        &["get", "k", "--nope"],
        &["get", "--hex", "xyz"],
        &["set", "k", "v", "--ttl", "soon"],
        &["set", "k", "v", "--ttl", "0"],
        &["set", "k", "v", "--file", "x"],
        &["set", &long, "v"],
        &["del"],
        &["del", "k", "--prefix", "k"],
        &["scan", "--prefix", "a", "--from", "b"],
        &["scan", "--limit", "-1"],
        &["get", "k", "--bucket", "a//b"],
        &["bucket"],
        &["bucket", "create", ""],
        &["bench", "--keys", "1"],
        &["completions", "tcl"],
        &["man", "nope"],
    ] {
        let answer = place.run(args);
        assert_eq!(answer.code, Some(2), "{args:?}: {}", answer.err);
        assert!(answer.out.is_empty() && !answer.err.is_empty(), "{args:?}");
    }
    assert_eq!(place.text(&["scan"]), "k\tv\n");
}

#[test]
fn a_value_file_that_is_not_there_changes_nothing() {
    let place = Place::new();
    assert!(place.refused(5, &["set", "k", "--file", "nope"]).contains("nope"));
    assert!(place.files().is_empty());
}

#[test]
fn a_database_in_use_names_the_process() {
    let place = Place::new();
    let db = weald::Database::open(place.db()).unwrap();
    let pid = format!("process {}", std::process::id());
    for args in READING
        .into_iter()
        .chain(CHANGING)
        .chain([&["set", "k", "v"][..], &["bucket", "create", "b"]])
    {
        let complaint = place.refused(3, args);
        assert!(complaint.contains(&pid), "{complaint}");
    }
    drop(db);
    place.ok(&["set", "k", "v"]);
}

#[test]
fn files_that_are_no_database_are_left_alone() {
    let place = Place::new();
    let text = b"Dear diary, ".repeat(1000);
    fs::write(place.db(), &text).unwrap();
    for args in READING
        .into_iter()
        .chain(CHANGING)
        .chain([&["set", "k", "v"][..]])
    {
        let complaint = place.refused(4, args);
        assert!(complaint.contains("not a Weald database"), "{complaint}");
    }
    assert!(fs::read(place.db()).unwrap() == text);
    fs::write(place.db(), b"").unwrap();
    for args in READING {
        place.refused(4, args);
    }
    assert!(fs::read(place.db()).unwrap().is_empty());
}

#[test]
fn damage_ends_with_4_and_never_with_a_panic() {
    let place = Place::new();
    let value = "v".repeat(100);
    let pairs: Vec<String> = (0..200).map(|n| format!("key{n:04}")).collect();
    let db = weald::Database::open(place.db()).unwrap();
    let mut tx = db.write().unwrap();
    weald::Writable::batch_put(&mut tx, pairs.iter().map(|key| (key, &value))).unwrap();
    weald::Writable::put(&mut tx, b"large", &vec![7; 200_000]).unwrap();
    tx.commit().unwrap();
    db.close().unwrap();
    let whole = fs::read(place.db()).unwrap();
    let right = place.ok(&["scan", "--hex"]);
    let mut found = 0;
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        fs::write(place.db(), &bytes).unwrap();
        let answer = place.run(&["scan", "--hex"]);
        match answer.code {
            Some(0) => assert!(answer.out == right, "byte {at}"),
            Some(4) => found += 1,
            code => panic!("byte {at}: {code:?}: {}", answer.err),
        }
        assert!(answer.err.lines().count() <= 1, "{}", answer.err);
    }
    assert!(found > 10, "{found}");
    // A value that goes wrong in its middle.
    let mut bytes = whole.clone();
    let sevens = bytes.windows(9).rposition(|w| w == [7; 9]).unwrap();
    bytes[sevens] ^= 1;
    fs::write(place.db(), &bytes).unwrap();
    let answer = place.run(&["get", "large"]);
    assert_eq!(answer.code, Some(4), "{}", answer.err);
    assert!(answer.out.len() < 200_000);
}

#[test]
fn a_full_disk_is_told() {
    let place = Place::new();
    place.ok(&["set", "k", "v"]);
    let full = fs::File::create("/dev/full").unwrap();
    let output = place.command(&["get", "k"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("can't write the output")
    );
    assert_eq!(output.status.signal(), None);
}
