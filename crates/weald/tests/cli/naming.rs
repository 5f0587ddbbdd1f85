//! How a database is named: by the flag, in the environment, or as the first argument of a command on files.

use crate::program::{Answer, Place, feed, program};

/// Runs the program where nothing names a database but the arguments.
fn run(place: &Place, args: &[&str], input: &[u8]) -> Answer {
    let mut command = program();
    command.current_dir(place.dir()).args(args);
    feed(command, input)
}

#[test]
fn commands_on_files_take_the_database_as_an_argument() {
    let place = Place::new();
    place.ok(&["set", "colour", "green"]);
    let ok = |args: &[&str]| {
        let answer = run(&place, args, b"");
        assert_eq!(answer.code, Some(0), "{args:?}: {}", answer.err);
        answer.out
    };
    assert!(ok(&["check", "my.weald"]).starts_with(b"sound: 1 key"));
    assert!(String::from_utf8_lossy(&ok(&["stats", "my.weald"])).contains("my.weald"));
    assert_eq!(ok(&["scan", "my.weald"]), b"colour\tgreen\n");
    ok(&["compact", "my.weald"]);
    ok(&["repair", "my.weald", "repaired.weald"]);
    ok(&["backup", "my.weald", "backup"]);
    ok(&["restore", "restored.weald", "backup"]);
    ok(&["dump", "my.weald", "dump"]);
    ok(&["load", "loaded.weald", "dump"]);
    for copy in ["repaired.weald", "restored.weald", "loaded.weald"] {
        assert_eq!(ok(&["scan", copy]), b"colour\tgreen\n", "{copy}");
    }
    // To standard output, as there is nothing else that the one name could be.
    assert_eq!(
        ok(&["dump", "my.weald"]),
        std::fs::read(place.path("dump")).unwrap()
    );
}

#[test]
fn an_argument_counts_more_than_the_environment_and_not_beside_the_flag() {
    let place = Place::new();
    place.ok(&["set", "k", "mine"]);
    place.ok(&["set", "k", "other", "-d", "other.weald"]);
    assert_eq!(place.text(&["scan", "other.weald"]), "k\tother\n");
    assert_eq!(
        place.text(&["scan", "other.weald", "-d", "other.weald"]),
        "k\tother\n"
    );
    for args in [
        &["scan", "other.weald"][..],
        &["check", "other.weald"],
        &["repair", "other.weald", "new.weald"],
        &["dump", "other.weald", "new"],
        &["load", "other.weald", "new"],
    ] {
        let complaint = place.refused(2, &[args, &["--db", "my.weald"]].concat());
        assert!(
            complaint.contains("my.weald") && complaint.contains("other.weald"),
            "{complaint}"
        );
    }
    // One name beside a database that is named already is the other file.
    assert!(
        place
            .refused(1, &["dump", "other.weald"])
            .contains("exists already")
    );
    assert_eq!(place.files(), ["my.weald", "other.weald"]);
}

#[test]
fn a_command_without_a_database_says_what_to_type() {
    let place = Place::new();
    for (args, usage) in [
        (&["check"][..], "weald check DATABASE"),
        (&["stats"], "weald stats DATABASE"),
        (&["scan"], "weald scan DATABASE"),
        (&["compact"], "weald compact DATABASE"),
        (&["repair", "new.weald"], "weald repair DATABASE NEW"),
        (&["backup", "monday"], "weald backup DATABASE FILE"),
        (&["restore", "monday"], "weald restore DATABASE BACKUP"),
        (&["dump"], "weald dump DATABASE FILE"),
        (&["load", "monday"], "weald load DATABASE FILE"),
    ] {
        let answer = run(&place, args, b"");
        assert_eq!(answer.code, Some(2), "{args:?}: {}", answer.err);
        assert!(
            answer.err.contains(usage) && answer.err.contains("--db FILE"),
            "{args:?}: {}",
            answer.err
        );
    }
    for args in [
        &["get", "my.weald", "k"][..],
        &["set", "my.weald", "k", "v"],
        &["bucket", "list", "a", "b"],
    ] {
        let answer = run(&place, args, b"");
        assert_eq!(answer.code, Some(2), "{args:?}");
        assert!(answer.err.contains("--db FILE"), "{args:?}: {}", answer.err);
    }
    assert!(place.files().is_empty());
}
