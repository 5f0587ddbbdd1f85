//! check, compact, backup, restore, dump and load.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use serde_json::json;
use weald::{Database, Writable};

use crate::program::{Place, feed, limited, noise, signal};

/// A database with a bit of everything: `keys` keys of 100 bytes, a bucket in a bucket, a large value and one that expires.
fn filled(keys: u32) -> Place {
    let db = Database::in_memory().unwrap();
    let mut tx = db.write().unwrap();
    for n in 0..keys {
        tx.put(format!("key {n:08}").as_bytes(), &noise(100)).unwrap();
    }
    let mut outer = tx.create_bucket(b"outer").unwrap();
    let mut inner = outer.create_bucket(b"in/ner").unwrap();
    inner.put(b"\xff\x00", b"deep").unwrap();
    inner.put(b"large", &noise(300_000)).unwrap();
    inner
        .put_with_ttl(b"short", b"lived", Duration::from_secs(3600))
        .unwrap();
    tx.commit().unwrap();
    Place::with(&db)
}

/// Everything in a database, as text.
fn contents(place: &Place, db: &str) -> String {
    let mut all = place.text(&["bucket", "list", "-r", "-d", db]);
    for bucket in [&[][..], &["-b", "outer"], &["-b", r"outer/in\/ner"]] {
        all += &place.text(&[&["scan", "--hex", "-d", db], bucket].concat());
    }
    all
}

#[test]
fn a_sound_database_is_sound() {
    let place = filled(1000);
    let text = place.text(&["check"]);
    assert!(text.starts_with("sound: 1,003 keys in 3 buckets, "), "{text}");
    let report = &place.json(&["check", "--json"])[0];
    assert_eq!(
        (&report["sound"], &report["problems"], &report["keys"]),
        (&json!(true), &json!(0), &json!(1003))
    );
    assert_eq!(place.files(), ["my.weald"]);
}

#[test]
fn damage_is_named_with_its_place() {
    let place = filled(1000);
    let mut bytes = fs::read(place.db()).unwrap();
    let found = bytes.windows(12).rposition(|w| w == b"key 00000500").unwrap();
    bytes[found] ^= 1;
    fs::write(place.db(), &bytes).unwrap();
    let answer = place.run(&["check"]);
    assert_eq!((answer.code, &answer.err[..]), (Some(1), ""));
    let text = String::from_utf8(answer.out).unwrap();
    assert!(text.contains(&format!("page {}", found / 4096)), "{text}");
    assert!(text.contains("problem"), "{text}");
    let answer = place.run(&["check", "--json"]);
    let lines = crate::program::lines(&answer.out);
    assert_eq!(
        (answer.code, &lines.last().unwrap()["sound"]),
        (Some(1), &json!(false))
    );
    assert!(
        lines[0]["place"].as_str().unwrap().contains("page"),
        "{}",
        lines[0]
    );
    assert!(fs::read(place.db()).unwrap() == bytes);
}

#[test]
fn a_repair_saves_what_is_readable() {
    let place = filled(1000);
    let text = place.text(&["repair", "copy.weald"]);
    assert!(text.contains("nothing is lost"), "{text}");
    assert_eq!(contents(&place, "copy.weald"), contents(&place, "my.weald"));
    assert!(
        place
            .refused(1, &["repair", "copy.weald"])
            .contains("exists already")
    );

    let mut bytes = fs::read(place.db()).unwrap();
    let found = bytes.windows(12).rposition(|w| w == b"key 00000500").unwrap();
    bytes[found] ^= 1;
    fs::write(place.db(), &bytes).unwrap();
    let answer = place.run(&["repair", "saved.weald"]);
    let text = String::from_utf8(answer.out).unwrap();
    assert_eq!((answer.code, &answer.err[..]), (Some(1), ""));
    assert!(text.contains(&format!("lost: page {}", found / 4096)), "{text}");
    let answer = place.run(&["repair", "again.weald", "--json"]);
    let report = crate::program::lines(&answer.out).pop().unwrap();
    assert_eq!(
        (answer.code, &report["complete"], &report["losses"]),
        (Some(1), &json!(false), &json!(1))
    );
    assert!(fs::read(place.db()).unwrap() == bytes);
    assert!(place.text(&["check", "-d", "saved.weald"]).starts_with("sound"));
    let (saved, whole) = (contents(&place, "saved.weald"), contents(&place, "copy.weald"));
    assert!(saved.lines().count() > 900);
    assert!(saved.lines().all(|line| whole.contains(line)));
}

#[test]
fn a_backup_and_those_after_it_bring_everything_back() {
    let place = filled(1000);
    place.ok(&["backup", "monday"]);
    place.ok(&["set", "key 00000001", "changed"]);
    let info = &place.json(&["backup", "tuesday", "--since", "monday", "--json"])[0];
    assert_eq!(
        info["bytes"].as_u64().unwrap(),
        fs::metadata(place.path("tuesday")).unwrap().len()
    );
    assert!(info["bytes"].as_u64().unwrap() * 10 < fs::metadata(place.path("monday")).unwrap().len());
    let restored = &place.json(&["restore", "monday", "tuesday", "-d", "copy.weald", "--json"])[0];
    assert_eq!(restored["txid"], info["txid"]);
    assert_eq!(contents(&place, "copy.weald"), contents(&place, "my.weald"));
    place.ok(&["restore", "monday", "-d", "old.weald"]);
    assert_ne!(place.ok(&["get", "key 00000001", "-d", "old.weald"]), b"changed");
    // Through pipes.
    let backup = place.ok(&["backup", "-"]);
    place.feed_ok(&["restore", "-", "-d", "piped.weald"], &backup);
    assert_eq!(contents(&place, "piped.weald"), contents(&place, "my.weald"));
    assert!(place.text(&["check", "-d", "piped.weald"]).starts_with("sound"));
}

#[test]
fn a_dump_brings_everything_back() {
    let place = filled(1000);
    let info = &place.json(&["dump", "all", "--json"])[0];
    assert_eq!((&info["keys"], &info["buckets"]), (&json!(1003), &json!(2)));
    place.ok(&["load", "all", "-d", "copy.weald"]);
    assert_eq!(contents(&place, "copy.weald"), contents(&place, "my.weald"));
    let ttl = &place.json(&[
        "get",
        "short",
        "-b",
        r"outer/in\/ner",
        "-d",
        "copy.weald",
        "--json",
    ])[0]["ttl_ms"];
    assert!(ttl.as_u64().unwrap() <= 3_600_000, "{ttl}");
    let dump = place.ok(&["dump"]);
    assert!(dump == fs::read(place.path("all")).unwrap());
    place.feed_ok(&["load", "-d", "piped.weald", "--batch", "1"], &dump);
    assert_eq!(contents(&place, "piped.weald"), contents(&place, "my.weald"));
    // What is there stays, or is overwritten.
    place.ok(&["set", "mine", "stays"]);
    place.ok(&["set", "key 00000001", "goes"]);
    let info = &place.json(&["load", "all", "--json"])[0];
    assert_eq!(info["keys"], 1003);
    assert_eq!(place.text(&["get", "mine"]), "stays");
    place.ok(&["del", "mine"]);
    assert_eq!(contents(&place, "copy.weald"), contents(&place, "my.weald"));
}

#[test]
fn compaction_makes_the_file_smaller() {
    let place = filled(20_000);
    let before = contents(&place, "my.weald");
    place.ok(&["del", "--from", "key 00001000", "--to", "key 9"]);
    let info = &place.json(&["compact", "--to", "copy.weald", "--page-size", "16384", "--json"])[0];
    assert_eq!(
        info["bytes_after"].as_u64().unwrap(),
        fs::metadata(place.path("copy.weald")).unwrap().len()
    );
    assert_eq!(
        place.json(&["stats", "--json", "-d", "copy.weald"])[0]["page_size"],
        16384
    );
    let text = place.text(&["compact"]);
    assert!(text.contains(" before, ") && text.contains(" after"), "{text}");
    let len = fs::metadata(place.db()).unwrap().len();
    assert!(len < 1_000_000, "{len}");
    let after = contents(&place, "my.weald");
    assert!(after.len() < before.len());
    assert_eq!(contents(&place, "copy.weald"), after);
    assert!(
        place
            .refused(1, &["compact", "--to", "copy.weald"])
            .contains("exists already")
    );
    assert!(place.text(&["check"]).starts_with("sound"));
}

#[test]
fn nothing_is_overwritten_unless_it_is_forced() {
    let place = filled(10);
    let text = b"somebody's letters";
    fs::write(place.path("out"), text).unwrap();
    place.ok(&["backup", "good"]);
    for args in [
        &["backup", "out"][..],
        &["dump", "out"],
        &["restore", "good", "-d", "out"],
        &["restore", "good"],
    ] {
        let complaint = place.refused(1, args);
        assert!(
            complaint.contains("exists already") && complaint.contains("--force"),
            "{complaint}"
        );
        assert_eq!(fs::read(place.path("out")).unwrap(), text);
    }
    place.ok(&["backup", "out", "--force"]);
    assert!(fs::read(place.path("out")).unwrap() == fs::read(place.path("good")).unwrap());
    place.ok(&["dump", "out", "--force"]);
    place.ok(&["set", "later", "gone"]);
    place.ok(&["restore", "good", "--force"]);
    place.refused(1, &["get", "later"]);
    assert_eq!(place.files(), ["good", "my.weald", "out"]);
    assert!(place.refused(2, &["dump", "."]).contains("directory"));
}

#[test]
fn streams_that_are_cut_damaged_or_something_else_change_nothing() {
    let place = filled(1000);
    let before = contents(&place, "my.weald");
    for (make, take) in [
        ("backup", &["restore", "-", "-d", "fresh.weald"][..]),
        ("dump", &["load", "-d", "fresh.weald"]),
    ] {
        let stream = place.ok(&[make, "-"]);
        let mut damaged = stream.clone();
        damaged[stream.len() / 2] ^= 1;
        for wrong in [
            &stream[..stream.len() / 2],
            &stream[..stream.len() - 1],
            &damaged,
            b"Dear diary",
            b"",
        ] {
            let answer = place.feed(take, wrong);
            assert_eq!(answer.code, Some(4), "{take:?}: {}", answer.err);
            let complaint = answer.err.replace("weald: made the database fresh.weald\n", "");
            assert_eq!(complaint.lines().count(), 1, "{complaint}");
            assert_eq!(place.files(), ["my.weald"], "{take:?}");
        }
    }
    let dump = place.ok(&["dump"]);
    assert_eq!(place.feed(&["load"], &dump[..dump.len() - 1]).code, Some(4));
    place.ok(&["set", "key 00000001", "changed"]);
    assert_eq!(place.feed(&["load"], &dump[..dump.len() - 1]).code, Some(4));
    assert_eq!(place.text(&["get", "key 00000001"]), "changed");
    assert_ne!(contents(&place, "my.weald"), before);
}

#[test]
fn wrong_files_are_told_in_a_line() {
    let place = filled(10);
    let no_db = ["-d", "nope.weald"];
    for args in [
        &["check"][..],
        &["compact"],
        &["compact", "--to", "x"],
        &["backup", "x"],
        &["dump", "x"],
        &["dump"],
    ] {
        assert!(
            place
                .refused(1, &[args, &no_db].concat())
                .contains("no database nope.weald")
        );
    }
    for args in [
        &["load", "nope"][..],
        &["restore", "nope", "-d", "new.weald"],
        &["backup", "x", "--since", "nope"],
    ] {
        assert!(place.refused(5, args).contains("nope"), "{args:?}");
    }
    assert!(place.refused(5, &["dump", "no/such/dir"]).contains("no/such/dir"));
    assert!(place.refused(2, &["dump", "--json"]).contains("name a file"));
    assert!(
        place
            .refused(2, &["backup", "-", "--json"])
            .contains("name a file")
    );
    assert_eq!(place.run(&["compact", "--page-size", "4096"]).code, Some(2));
    assert_eq!(
        place.run(&["compact", "--to", "x", "--page-size", "5000"]).code,
        Some(2)
    );
    assert_eq!(place.files(), ["my.weald"]);
    place.ok(&["backup", "good"]);
    let _open = Database::open(place.db()).unwrap();
    for args in [
        &["check"][..],
        &["compact"],
        &["compact", "--to", "x"],
        &["backup", "x"],
        &["dump", "x"],
        &["load", "/dev/null"],
    ] {
        let complaint = place.refused(3, args);
        assert!(complaint.contains(&std::process::id().to_string()), "{complaint}");
    }
    for args in [&["repair", "x"][..], &["restore", "good", "--force"]] {
        assert!(place.refused(3, args).contains("in use"));
    }
    assert!(!place.files().contains(&"x".to_owned()));
}

#[test]
fn long_streams_need_little_memory() {
    let place = Place::new();
    place.feed_ok(&["set", "large"], &noise(20_000_000));
    const ENOUGH: u32 = 16;
    for args in [
        &["dump", "dump"][..],
        &["backup", "backup"],
        &["load", "dump", "-d", "loaded.weald"],
        &["restore", "backup", "-d", "restored.weald"],
        &["check"],
    ] {
        let answer = feed(limited(&place, ENOUGH, args), b"");
        assert_eq!(answer.code, Some(0), "{args:?}: {}", answer.err);
    }
    assert!(place.ok(&["get", "large", "-d", "loaded.weald"]) == noise(20_000_000));
    assert!(place.ok(&["get", "large", "-d", "restored.weald"]) == noise(20_000_000));
}

#[test]
fn a_closed_pipe_ends_a_dump_without_a_word() {
    let place = Place::new();
    place.feed_ok(&["set", "large"], &noise(2_000_000));
    for args in [["dump", "-"], ["backup", "-"]] {
        let mut child = place.command(&args).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut [0; 10]).unwrap();
        drop(out);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.signal(), Some(13), "{args:?}: {:?}", output.status);
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{args:?}");
    }
}

/// Removes a database with the log that a killed process has left.
fn remove(place: &Place, db: &str) {
    fs::remove_file(place.path(db)).unwrap();
    let _ = fs::remove_dir_all(place.path(&format!("{db}-wal")));
}

/// At how many moments of its run a command is killed.
const STEPS: u32 = 6;

/// Lets a command run for a while, kills it by each signal, and says what to look at afterwards.
fn kill_often(place: &Place, args: &[&str], input: Option<&[u8]>, mut look: impl FnMut(bool, &str)) {
    let begun = Instant::now();
    let whole = place.feed(args, input.unwrap_or_default());
    let time = begun.elapsed();
    assert_eq!(whole.code, Some(0), "{}", whole.err);
    look(true, "nothing");
    let mut killed = 0;
    for step in 0..STEPS {
        for name in ["KILL", "INT", "TERM"] {
            let mut child = place.command(args).spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            let output = std::thread::scope(|scope| {
                scope.spawn(move || drop(stdin.write_all(input.unwrap_or_default())));
                std::thread::sleep(time * step / STEPS);
                signal(&child, name);
                child.wait_with_output().unwrap()
            });
            let done = output.status.code() == Some(0);
            killed += u32::from(output.status.signal().is_some());
            assert!(done || output.status.signal().is_some(), "{:?}", output.status);
            look(done, name);
        }
    }
    assert!(killed >= STEPS, "only {killed} were killed in time");
}

#[test]
fn a_killed_dump_or_backup_leaves_no_file_of_that_name() {
    let place = filled(20_000);
    for make in ["dump", "backup"] {
        kill_often(&place, &[make, "out"], None, |done, name| {
            // One that was killed may have done all of its work before.
            assert!(!done || place.path("out").exists(), "{name}");
            if place.path("out").exists() {
                place.ok(&[
                    if make == "dump" { "load" } else { "restore" },
                    "out",
                    "-d",
                    "fresh.weald",
                ]);
                fs::remove_file(place.path("fresh.weald")).unwrap();
                fs::remove_file(place.path("out")).unwrap();
            }
            // Only a process that could still do something cleans up.
            if name == "KILL" {
                let _ = fs::remove_file(place.path("out-part"));
            }
            assert!(!place.path("out-part").exists(), "{name}");
        });
        // What a killed one has left is no obstacle.
        fs::write(place.path("out-part"), b"half").unwrap();
        place.ok(&[make, "out", "--force"]);
        assert!(!place.path("out-part").exists());
        fs::remove_file(place.path("out")).unwrap();
    }
    assert!(place.text(&["check"]).starts_with("sound"));
}

#[test]
fn a_killed_load_leaves_all_or_nothing() {
    let place = filled(20_000);
    let dump = place.ok(&["dump"]);
    let all = "20003\n";
    let count = |place: &Place| {
        let keys = place.json(&["check", "--json", "-d", "other.weald"])[0]["keys"].clone();
        format!("{keys}\n")
    };
    place.ok(&["set", "mine", "stays", "-d", "other.weald"]);
    kill_often(&place, &["load", "-d", "other.weald"], Some(&dump), |_, name| {
        let keys = count(&place);
        assert!(
            keys == "1\n" || keys == "20004\n",
            "{name}: {keys}, a whole one has {all}"
        );
        assert_eq!(place.text(&["get", "mine", "-d", "other.weald"]), "stays");
        remove(&place, "other.weald");
        place.ok(&["set", "mine", "stays", "-d", "other.weald"]);
    });
}

#[test]
fn a_killed_restore_leaves_all_or_nothing() {
    let place = filled(20_000);
    place.ok(&["backup", "good"]);
    kill_often(
        &place,
        &["restore", "good", "-d", "other.weald"],
        None,
        |done, name| {
            assert!(!done || place.path("other.weald").exists(), "{name}");
            if place.path("other.weald").exists() {
                assert!(
                    place
                        .text(&["check", "-d", "other.weald"])
                        .starts_with("sound: 20,003 keys"),
                    "{name}"
                );
                fs::remove_file(place.path("other.weald")).unwrap();
            }
        },
    );
    // Over one that is there: it is the old one or the restored one.
    place.ok(&["set", "later", "there"]);
    kill_often(&place, &["restore", "good", "--force"], None, |done, name| {
        let report = &place.json(&["check", "--json"])[0];
        let keys = report["keys"].as_u64().unwrap();
        assert_eq!(report["sound"], true, "{name}");
        assert!(keys == 20_003 || (!done && keys == 20_004), "{name}: {keys}");
        place.ok(&["set", "later", "there"]);
    });
    assert_eq!(place.files(), ["good", "my.weald"]);
}
