//! Regions of shared memory on the command line.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout};

use super::program::Place;

/// A path in shared memory that goes away.
struct Shm(PathBuf);

impl Shm {
    fn new(name: &str) -> Shm {
        let path = PathBuf::from(format!("/dev/shm/weald-cli-test-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Shm(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Shm {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A worker that is asked and answers.
struct Worker {
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    fn start(place: &Place, args: &[&str]) -> Worker {
        let mut child = place
            .command(&[&["hot", "worker"], args].concat())
            .spawn()
            .unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Worker { child, answers }
    }

    fn ask(&mut self, line: &str) -> String {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
        self.read()
    }

    fn read(&mut self) -> String {
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_region_is_made_looked_at_and_removed() {
    let (place, shm) = (Place::new(), Shm::new("made"));
    assert!(
        place
            .refused(1, &["hot", "info", shm.path()])
            .contains("no region")
    );
    let created = place.json(&[
        "hot",
        "create",
        shm.path(),
        "--capacity",
        "16M",
        "--ordered",
        "--views",
        "--json",
    ]);
    assert_eq!(created[0]["created"], true);
    place.refused(1, &["hot", "create", shm.path()]);
    let info = &place.json(&["hot", "info", shm.path(), "--json"])[0];
    assert_eq!(
        (&info["capacity"], &info["ordered"]),
        (&(16 << 20).into(), &true.into())
    );
    assert!(
        place
            .text(&["hot", "info", shm.path()])
            .contains("ordered, with views")
    );

    let commands = "SET b two\r\nSET a 1\r\nINCR a\r\n*3\r\n$3\r\nSET\r\n$1\r\nc\r\n$4\r\n\0\r\n\u{ff}\r\nGET none\r\nNOPE\r\nDEL a x";
    let bytes: Vec<u8> = commands.chars().map(|c| c as u8).collect();
    let answer = place.feed_ok(&["hot", "worker", shm.path()], &bytes);
    let expected =
        "+OK\r\n+OK\r\n:2\r\n+OK\r\n$-1\r\n-ERR unknown command or wrong number of arguments\r\n:1\r\n";
    assert_eq!(String::from_utf8(answer).unwrap(), expected);

    let stat = place.json(&["hot", "stat", shm.path(), "--json"]);
    assert_eq!((&stat[0]["keys"], &stat[0]["sessions"]), (&2.into(), &0.into()));
    assert_eq!(
        place.text(&["hot", "dump", shm.path()]),
        "b\ttwo\nc\t\\x00\\r\\n\\xff\n"
    );
    let dump = place.json(&["hot", "dump", shm.path(), "--json"]);
    assert_eq!(
        (&dump[0]["value"], &dump[1]["value"]["hex"]),
        (&"two".into(), &"000d0aff".into())
    );
    let verify = place.json(&["hot", "verify", shm.path(), "--json"]);
    assert_eq!(
        (&verify[0]["sound"], &verify[0]["keys"]),
        (&true.into(), &2.into())
    );
    place.ok(&["hot", "rm", shm.path()]);
    assert!(!shm.0.exists());
    place.refused(1, &["hot", "rm", shm.path()]);
}

#[test]
fn workers_share_a_region_and_one_that_is_killed_holds_nobody_up() {
    let (place, shm) = (Place::new(), Shm::new("workers"));
    let mut first = Worker::start(&place, &[shm.path(), "--capacity", "16M"]);
    assert_eq!(first.ask("PING"), "+PONG");
    let mut second = Worker::start(&place, &[shm.path()]);
    assert_eq!(second.ask("SET k v"), "+OK");
    assert_eq!(
        (first.ask("GET k"), first.read()),
        ("$1".to_owned(), "v".to_owned())
    );
    assert_eq!(first.ask("INCR n"), ":1");
    assert_eq!(second.ask("INCR n"), ":2");
    assert_eq!(
        first.ask("INCR k"),
        "-ERR value is not an integer or out of range"
    );
    assert!(first.ask("USED").starts_with(':'));
    assert!(first.ask("PERSIST").starts_with("-ERR invalid"));
    assert!(place.refused(3, &["hot", "rm", shm.path()]).contains("open"));
    second.kill();
    let stat = place.json(&["hot", "stat", shm.path(), "--json"]);
    assert!(stat[1..].iter().any(|member| member["alive"] == false));
    assert_eq!(first.ask("INCR n"), ":3");
    assert_eq!(
        place.json(&["hot", "verify", shm.path(), "--json"])[0]["sound"],
        true
    );
    assert_eq!(first.ask("DEL n k"), ":2");
    place.ok(&["hot", "rm", shm.path(), "--force"]);
    assert_eq!(first.ask("SET still there"), "+OK");
    first.kill();
}

#[test]
fn a_region_with_an_image_comes_back() {
    let (place, shm) = (Place::new(), Shm::new("image"));
    let args = [shm.path(), "--image", "my.image", "--capacity", "16M"];
    let mut worker = Worker::start(&place, &args);
    assert_eq!(worker.ask("SET k v"), "+OK");
    assert_eq!(worker.ask("PERSIST"), ":1");
    assert_eq!(worker.ask("SET later v"), "+OK");
    let point = place.json(&["hot", "persist", shm.path(), "--image", "my.image", "--json"]);
    assert_eq!((&point[0]["point"], &point[0]["keys"]), (&2.into(), &2.into()));
    assert_eq!(worker.ask("SET lost v"), "+OK");
    worker.kill();
    std::fs::remove_file(&shm.0).unwrap();
    let created = place.json(&[&["hot", "create"], &args[..], &["--json"]].concat());
    assert_eq!(
        (&created[0]["restored"], &created[0]["lost"]),
        (&2.into(), &0.into())
    );
    let keys = place.text(&["hot", "dump", shm.path()]);
    assert!(keys.contains("later") && !keys.contains("lost"));
    std::fs::write(&shm.0, b"WEALDBLD").unwrap();
    let text = place.text(&[&["hot", "create"], &args[..]].concat());
    assert!(text.starts_with("restored 2 keys from the image"), "{text}");
}

#[test]
fn a_cache_and_one_that_passes_are_made_as_asked() {
    let (place, shm) = (Place::new(), Shm::new("cache"));
    place.ok(&["hot", "create", shm.path(), "--cache", "1M", "--capacity", "16M"]);
    assert_eq!(
        place.json(&["hot", "info", shm.path(), "--json"])[0]["cache_bytes"],
        1 << 20
    );
    place.ok(&["hot", "rm", shm.path()]);
    let mut worker = Worker::start(&place, &[shm.path(), "--passing", "--capacity", "16M"]);
    assert_eq!(worker.ask("SET k v"), "+OK");
    drop(worker.child.stdin.take());
    worker.child.wait().unwrap();
    assert!(!shm.0.exists(), "the last process removed it");
}

#[test]
fn mistakes_end_with_a_line_and_a_code() {
    let (place, shm) = (Place::new(), Shm::new("mistakes"));
    for wrong in [
        &["--capacity", "much"][..],
        &["--pages", "3M"],
        &["--sessions", "5000"],
        &["--views", "--cache", "1M"],
        &["--passing", "--image", "x"],
    ] {
        let answer = place.run(&[&["hot", "create", shm.path()], wrong].concat());
        assert_eq!(answer.code, Some(2), "{wrong:?}: {}", answer.err);
    }
    place.refused(2, &["hot", "create", shm.path(), "--volume", "3M"]);
    assert!(!shm.0.exists() || std::fs::metadata(&shm.0).unwrap().len() == 0);
    std::fs::write(&shm.0, b"a letter to my aunt").unwrap();
    for command in ["info", "stat", "verify", "dump", "rm", "worker", "create"] {
        assert!(
            place
                .refused(4, &["hot", command, shm.path()])
                .contains("not a region")
        );
    }
    std::fs::remove_file(&shm.0).unwrap();
    place.ok(&["hot", "create", shm.path(), "--capacity", "4M"]);
    let long = format!("SET k {}\n", "x".repeat(100_000));
    let answer = place.feed(&["hot", "worker", shm.path()], long.as_bytes());
    assert_eq!(answer.code, Some(5), "{}", answer.err);
    assert_eq!(answer.out, b"-ERR Protocol error\r\n");
    // Damage: a header that doesn't match its checksum.
    let mut bytes = std::fs::read(&shm.0).unwrap();
    bytes[16] ^= 1;
    std::fs::write(&shm.0, &bytes).unwrap();
    assert!(
        place
            .refused(4, &["hot", "verify", shm.path()])
            .contains("corrupt")
    );
}
