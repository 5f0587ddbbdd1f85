//! Locks between processes: who is refused learns by whom, and a killed holder is no obstacle.

use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use weald_vfs::{Disk, LockHeld, Vfs};

const PATH: &str = "WEALD_LOCK_PATH";

/// Not a test but the other process: takes the lock and waits to be killed.
#[test]
fn child() {
    let Ok(path) = std::env::var(PATH) else { return };
    let exclusive = std::env::var("WEALD_LOCK_EXCLUSIVE").is_ok();
    let _held = Disk::new().lock(Path::new(&path), exclusive).unwrap();
    println!("\nlocked");
    std::thread::sleep(std::time::Duration::from_secs(60));
}

fn holder(path: &Path, exclusive: bool) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child", "--nocapture"])
        .env(PATH, path)
        .stdout(Stdio::piped());
    if exclusive {
        command.env("WEALD_LOCK_EXCLUSIVE", "1");
    }
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "locked"));
    child
}

fn refused(path: &Path, exclusive: bool) -> LockHeld {
    let error = Disk::new().lock(path, exclusive).err().expect("refused");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    *error.get_ref().unwrap().downcast_ref().unwrap()
}

#[test]
fn the_pid_of_the_holder_is_told_and_a_killed_one_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let mut child = holder(&path, true);
    assert_eq!(refused(&path, true).pid, Some(child.id()));
    assert_eq!(refused(&path, false).pid, Some(child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    // Its number is still in the file.
    assert_eq!(std::fs::read_to_string(&path).unwrap(), child.id().to_string());
    let shared = Disk::new().lock(&path, false).unwrap();
    assert_eq!(refused(&path, true).pid, None);
    drop(shared);
    let held = Disk::new().lock(&path, true).unwrap();
    assert_eq!(refused(&path, true).pid, Some(std::process::id()));
    drop(held);
}

#[test]
fn readers_of_other_processes_share() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let mut child = holder(&path, false);
    drop(Disk::new().lock(&path, false).unwrap());
    assert_eq!(refused(&path, true), LockHeld { pid: None });
    child.kill().unwrap();
    child.wait().unwrap();
    drop(Disk::new().lock(&path, true).unwrap());
}
