//! Commands that end early: the reader of their output goes, somebody presses Ctrl-C, or they are killed.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use crate::program::{Place, SIGINT, SIGTERM, heeds_interrupts, noise, signal};

/// What the system calls a write to a closed pipe.
const SIGPIPE: i32 = 13;

#[test]
fn a_closed_pipe_ends_a_command_without_a_word() {
    let place = Place::new();
    let value = noise(500_000);
    for key in ["a", "b", "c"] {
        place.feed_ok(&["set", key], &value);
    }
    for args in [
        &["scan", "--hex"][..],
        &["get", "a"],
        &["scan", "--json"],
        &["get", "b", "--json"],
    ] {
        let mut child = place.command(args).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut [0; 10]).unwrap();
        drop(out);
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            output.status.signal(),
            Some(SIGPIPE),
            "{args:?}: {:?}",
            output.status
        );
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{args:?}");
    }
    // Closed before anything is written.
    for args in [
        &["--help"][..],
        &["stats"],
        &["man"],
        &["completions", "bash"],
        &["nope"],
    ] {
        let mut child = place.command(args).spawn().unwrap();
        drop(child.stdout.take());
        drop(child.stderr.take());
        let status = child.wait().unwrap();
        assert!(status.code() != Some(101), "{args:?}: {status:?}");
    }
}

#[test]
fn a_value_that_is_killed_half_way_is_not_there() {
    let place = Place::new();
    place.ok(&["set", "k", "before"]);
    for name in ["KILL", "INT", "TERM"] {
        let mut child = place.command(&["set", "k"]).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&noise(5_000_000)).unwrap();
        signal(&child, name);
        let status = child.wait().unwrap();
        assert!(status.signal().is_some(), "{status:?}");
        assert_eq!(place.text(&["get", "k"]), "before");
        assert_eq!(place.files(), ["my.weald"], "{name}");
    }
}

#[test]
fn an_interrupted_benchmark_leaves_nothing() {
    let place = Place::new();
    let mut child = place
        .command(&["bench", "--time", "30s", "--keys", "1000"])
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    // The heading comes with the first result, and then there is a database.
    let mut heading = [0; 200];
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(place.files().len(), 1, "{:?}", place.files());
    signal(&child, "INT");
    let _ = out.read(&mut heading);
    let output = child.wait_with_output().unwrap();
    let expected = if heeds_interrupts() { SIGINT } else { SIGTERM };
    assert_eq!(output.status.signal(), Some(expected));
    assert!(place.files().is_empty(), "{:?}", place.files());
}
