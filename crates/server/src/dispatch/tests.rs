//! What clients are told when the disk fails, and when a tick ends.

use std::sync::Arc;

use weald_engine::{Database, DatabaseOptions};
use weald_vfs::{Call as Syscall, Fault, FaultKind, SimDisk, SimOptions};

use super::*;
use crate::config::Config;
use crate::net::Connection;
use crate::session::{Link, Session};

struct Setup {
    disk: SimDisk,
    db: Arc<Database>,
}

impl Setup {
    fn new() -> Setup {
        let disk = SimDisk::new(1, SimOptions::default());
        let options = DatabaseOptions::new()
            .vfs(Arc::new(disk.clone()))
            .background(false);
        let db = Arc::new(Database::open_with_options("data.weald", options).expect("it opens"));
        Setup { disk, db }
    }

    fn executor(&self) -> Executor<'_> {
        self.executor_with(&[])
    }

    fn executor_with(&self, pairs: &[(&str, &str)]) -> Executor<'_> {
        let mut config = Config::default();
        for (name, value) in pairs {
            config.set(name, value).expect("a setting of the test");
        }
        let settings = config.settings().expect("the defaults hold together");
        let state = State::new(self.db.clone(), config, settings, 1);
        Executor::new(&self.db, state, 1).expect("the keyspace opens")
    }
}

fn client(executor: &mut Executor<'_>) -> Box<Client> {
    let id = executor.state.clients.new_id();
    let user = executor.state.users.default_user().clone();
    Client::new(Session::new(id, Link::Unix, user, 1), Connection::default())
}

/// Runs commands in one tick; the replies.
fn tick(executor: &mut Executor<'_>, client: &mut Client, lines: &[&str]) -> String {
    run(executor, client, lines);
    executor.end_tick(Some(client));
    replies(client)
}

/// The same in a tick whose transaction may go on after it; the replies if it does.
fn open_tick(executor: &mut Executor<'_>, client: &mut Client, lines: &[&str]) -> Option<String> {
    run(executor, client, lines);
    let stays = executor.pass_tick();
    let replies = replies(client);
    stays.then_some(replies)
}

fn run(executor: &mut Executor<'_>, client: &mut Client, lines: &[&str]) {
    executor.begin_tick(2);
    for line in lines {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        executor.run(client, &args);
    }
}

fn replies(client: &mut Client) -> String {
    client.uncertain.clear();
    String::from_utf8(std::mem::take(&mut client.out)).expect("texts")
}

/// Numbers of commits so far.
fn commits(executor: &Executor<'_>) -> u64 {
    executor.state.stats.commits.get()
}

#[test]
fn a_failed_commit_takes_back_every_reply_that_stood_on_it() {
    let setup = Setup::new();
    let mut executor = setup.executor();
    let mut client = client(&mut executor);
    assert_eq!(
        tick(&mut executor, &mut client, &["SET a 1", "GET a"]),
        "+OK\r\n$1\r\n1\r\n"
    );
    setup
        .disk
        .inject(Fault::new(Syscall::Sync, FaultKind::Io).forever());
    let replies = tick(
        &mut executor,
        &mut client,
        &["GET a", "PING", "SET a 2", "GET a", "PING"],
    );
    let lines: Vec<&str> = replies.split("\r\n").collect();
    // What was read before the write stands on what is durable.
    assert_eq!(lines[..3], ["$1", "1", "+PONG"]);
    assert!(
        lines[3].starts_with("-MISCONF Weald can't write to the disk"),
        "{replies}"
    );
    assert!(lines[4].starts_with("-MISCONF"), "{replies}");
    assert_eq!(lines[5], "+PONG");
}

#[test]
fn a_tick_that_waits_for_no_flush_commits_each_megabyte() {
    for (durability, expected) in [("none", 2), ("batched", 2), ("immediate", 1)] {
        let setup = Setup::new();
        let mut executor = setup.executor_with(&[("durability", durability)]);
        let mut client = client(&mut executor);
        let lines: Vec<String> = (0..12)
            .map(|i| format!("SET {i} {}", "x".repeat(200_000)))
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let replies = tick(&mut executor, &mut client, &lines);
        assert_eq!(replies, "+OK\r\n".repeat(12), "{durability}");
        assert_eq!(commits(&executor), expected, "{durability}");
        assert_eq!(
            tick(&mut executor, &mut client, &["STRLEN 0", "STRLEN 11"]),
            ":200000\r\n:200000\r\n"
        );
    }
}

#[test]
fn reads_go_on_after_the_disk_has_failed() {
    let setup = Setup::new();
    let mut executor = setup.executor();
    let mut client = client(&mut executor);
    tick(&mut executor, &mut client, &["SET a 1"]);
    setup
        .disk
        .inject(Fault::new(Syscall::Sync, FaultKind::Io).forever());
    assert!(tick(&mut executor, &mut client, &["SET a 2"]).starts_with("-MISCONF"));
    assert_eq!(tick(&mut executor, &mut client, &["GET a"]), "$1\r\n1\r\n");
    assert!(tick(&mut executor, &mut client, &["SET a 3"]).starts_with("-MISCONF"));
    let exec = tick(&mut executor, &mut client, &["MULTI", "SET a 4", "GET a", "EXEC"]);
    assert!(exec.starts_with("+OK\r\n+QUEUED\r\n+QUEUED\r\n"), "{exec}");
    assert!(exec.contains("-MISCONF"), "{exec}");
    assert_eq!(tick(&mut executor, &mut client, &["GET a"]), "$1\r\n1\r\n");
}

#[test]
fn writes_are_taken_again_once_there_is_room() {
    let setup = Setup::new();
    let mut executor = setup.executor();
    let mut client = client(&mut executor);
    tick(&mut executor, &mut client, &["SET a 1"]);
    setup.disk.set_space(Some(setup.disk.used()));
    let large = format!("SET b {}", "x".repeat(1 << 20));
    let refused = tick(&mut executor, &mut client, &[&large, "GET a"]);
    assert!(refused.starts_with("-MISCONF"), "{}", &refused[..80]);
    assert_eq!(
        tick(&mut executor, &mut client, &["GET a", "EXISTS b"]),
        "$1\r\n1\r\n:0\r\n"
    );
    setup.disk.set_space(None);
    assert_eq!(
        tick(&mut executor, &mut client, &[&large, "EXISTS b"]),
        "+OK\r\n:1\r\n"
    );
}

#[test]
fn ticks_share_a_transaction_where_nobody_asks_for_more() {
    let setup = Setup::new();
    let mut executor = setup.executor_with(&[("durability", "none")]);
    let mut client = client(&mut executor);
    let open =
        |executor: &mut Executor<'_>, client: &mut Client, line: &str| open_tick(executor, client, &[line]);
    // It stays open for some milliseconds at most: a slow machine may need more than one try.
    let shared = (0..100).any(|_| {
        let before = commits(&executor);
        let stayed = open(&mut executor, &mut client, "SET a 1").is_some()
            && open(&mut executor, &mut client, "GET a").is_some_and(|reply| reply == "$1\r\n1\r\n")
            && open(&mut executor, &mut client, "INCR a").is_some_and(|reply| reply == ":2\r\n");
        let shared = stayed && commits(&executor) == before;
        tick(&mut executor, &mut client, &["DEL nothing"]);
        shared && commits(&executor) == before + 1
    });
    assert!(shared);
    assert_eq!(tick(&mut executor, &mut client, &["GET a"]), "$1\r\n2\r\n");
    // A tick that only reads has nothing to leave open; one with a stricter write in it ends.
    assert_eq!(open(&mut executor, &mut client, "GET a"), None);
    for durability in ["batched", "immediate"] {
        let before = commits(&executor);
        open(&mut executor, &mut client, "SET a 3");
        tick(
            &mut executor,
            &mut client,
            &[&format!("WEALD.DURABILITY {durability}")],
        );
        assert_eq!(open(&mut executor, &mut client, "SET a 4"), None);
        assert!(commits(&executor) > before);
        tick(&mut executor, &mut client, &["WEALD.DURABILITY none"]);
    }
}

#[test]
fn after_a_commit_that_failed_no_tick_is_left_open() {
    let setup = Setup::new();
    let mut executor = setup.executor_with(&[("durability", "none")]);
    let mut client = client(&mut executor);
    tick(&mut executor, &mut client, &["SET a 1"]);
    setup.disk.set_space(Some(setup.disk.used()));
    let large = format!("SET b {}", "x".repeat(1 << 20));
    assert!(tick(&mut executor, &mut client, &[&large]).starts_with("-MISCONF"));
    // So the next error is told to the client, too.
    run(&mut executor, &mut client, &[&large, "SET a 2"]);
    assert!(!executor.pass_tick());
    setup.disk.set_space(None);
    client.out.clear();
    client.uncertain.clear();
    assert_eq!(open_tick(&mut executor, &mut client, &["SET a 3"]), None);
    assert_eq!(tick(&mut executor, &mut client, &["GET a"]), "$1\r\n3\r\n");
    assert!((0..100).any(|_| open_tick(&mut executor, &mut client, &["SET a 4"]).is_some()));
}
