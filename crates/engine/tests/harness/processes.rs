//! Real processes: a writer that is killed at any time, two that want the same database, and one whose disk is full.
//!
//! The other process is this very binary, run again with only [`writer_process`] or [`full_process`] and told by the environment where the database is.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use weald_engine::{Database, DatabaseOptions, Error, Readable, SyncPolicy, Writable};

use crate::model_test::directory;
use crate::seed::{Rng, asked};

const KEYS: u64 = 300;

fn options() -> DatabaseOptions {
    DatabaseOptions::new()
        .wal_segment_bytes(64 << 10)
        .checkpoint_wal_bytes(200_000)
        .dirty_bytes_max(1 << 20)
        .checkpoint_interval(Duration::from_millis(30))
}

fn value(n: u64) -> Vec<u8> {
    let len = if n % 37 == 5 { 20_000 } else { n % 300 };
    let mut value = n.to_le_bytes().to_vec();
    value.extend((0..len).map(|i| (n + i) as u8));
    value
}

/// Commit `n`: a few keys, the last of which says how far it came.
fn commit(db: &Database, n: u64) -> Result<(), Error> {
    let mut tx = db.write()?;
    tx.put(&(n % KEYS).to_be_bytes(), &value(n))?;
    let mut bucket = tx.create_bucket_if_absent(b"bucket")?;
    bucket.put(&(n % 7).to_be_bytes(), &n.to_le_bytes())?;
    if n.is_multiple_of(50) {
        let from = (KEYS - 20).to_be_bytes();
        tx.delete_range(&from[..]..&KEYS.to_be_bytes()[..])?;
    }
    tx.put(b"~n", &n.to_le_bytes())?;
    let policy = if n.is_multiple_of(3) {
        SyncPolicy::None
    } else {
        SyncPolicy::Immediate
    };
    tx.commit_with(policy)?;
    Ok(())
}

/// Which commit the database is as of; all of its keys are looked at.
fn state(db: &Database) -> u64 {
    let tx = db.read().unwrap();
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes[..8].try_into().unwrap());
    let n = tx.get_ref(b"~n").unwrap().map_or(0, number);
    for key in 0..KEYS {
        // The last commit up to `n` that put the key, and the last one that deleted it.
        let put = (1..=n).rev().take(KEYS as usize).find(|m| m % KEYS == key);
        let deleted = if key >= KEYS - 20 { n - n % 50 } else { 0 };
        let put = put.filter(|put| *put > deleted);
        let found = tx.get_ref(&key.to_be_bytes()).unwrap();
        assert_eq!(found, put.map(value).as_deref(), "key {key} as of commit {n}");
    }
    if let Ok(bucket) = tx.bucket(b"bucket") {
        let newest = bucket.iter().map(|pair| number(pair.unwrap().1)).max();
        assert_eq!(newest, Some(n));
    }
    n
}

/// No test of its own: what the other process does.
#[test]
fn writer_process() {
    let Ok(path) = std::env::var("WEALD_WRITER") else {
        return;
    };
    let db = Database::open_with_options(&path, options()).expect("no lock of the dead is in the way");
    let first = state(&db) + 1;
    println!("\nready {first}");
    for n in first.. {
        commit(&db, n).unwrap();
        println!("done {n}");
        std::io::stdout().flush().unwrap();
    }
}

fn start(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "processes::writer_process",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("WEALD_WRITER", path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The last commit that a writer, which is dead by now, said was done.
fn last_done(output: &str) -> Option<u64> {
    let whole = &output[..output.rfind('\n')?];
    whole
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("done ")?.parse().ok())
}

#[test]
fn a_killed_writer_leaves_all_that_it_acknowledged() {
    let dir = directory();
    let path = dir.path().join("db");
    let mut rng = Rng::new(asked("WEALD_SEED").unwrap_or(1));
    let rounds = asked("WEALD_KILLS").unwrap_or(12);
    let mut acknowledged = 0;
    for round in 0..rounds {
        let mut writer = start(&path);
        let mut output = BufReader::new(writer.stdout.take().unwrap());
        // Most are killed at work; some right at the beginning, in the recovery.
        if round % 4 != 3 {
            let mut line = String::new();
            while !line.starts_with("ready") {
                line.clear();
                assert!(output.read_line(&mut line).unwrap() > 0, "the writer has ended");
            }
        }
        let reader = std::thread::spawn(move || {
            let mut rest = String::new();
            output.read_to_string(&mut rest).unwrap();
            rest
        });
        std::thread::sleep(Duration::from_micros(rng.below(if round % 4 == 3 {
            15_000
        } else {
            80_000
        })));
        writer.kill().unwrap();
        writer.wait().unwrap();
        acknowledged = last_done(&reader.join().unwrap()).unwrap_or(acknowledged);
        if rng.one_in(2) {
            let began = Instant::now();
            let db = Database::open_with_options(&path, options()).unwrap();
            assert!(began.elapsed() < Duration::from_secs(10));
            let n = state(&db);
            assert!(
                n >= acknowledged,
                "commit {acknowledged} was acknowledged, and the last is {n}"
            );
            if rng.one_in(2) {
                db.close().unwrap();
            }
        }
    }
    let db = Database::open_with_options(&path, options()).unwrap();
    assert!(state(&db) >= acknowledged);
    assert!(
        acknowledged > 20,
        "the writers did next to nothing: {acknowledged}"
    );
}

#[test]
fn a_second_writer_is_refused_with_the_pid_of_the_first() {
    let dir = directory();
    let path = dir.path().join("db");
    let mut writer = start(&path);
    let mut output = BufReader::new(writer.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("ready") {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "the writer has ended");
    }
    let drained = std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    let refused = Database::open_with_options(&path, options()).map(drop);
    let pid = writer.id();
    assert!(
        matches!(refused, Err(Error::Locked { pid: Some(p) }) if p == pid),
        "{refused:?}, not process {pid}"
    );
    writer.kill().unwrap();
    writer.wait().unwrap();
    drained.join().unwrap().unwrap();
    let db = Database::open_with_options(&path, options()).expect("the dead hold no locks");
    state(&db);
}

/// A put of its own size for each number, under each policy in turn.
fn fill(db: &Database, n: u64) -> Result<(), Error> {
    let policy = if n.is_multiple_of(2) {
        SyncPolicy::Immediate
    } else {
        SyncPolicy::None
    };
    let mut tx = db.write()?;
    tx.put(&n.to_be_bytes(), &incompressible(n))?;
    tx.commit_with(policy).map(drop)
}

fn incompressible(n: u64) -> Vec<u8> {
    Rng::new(n).bytes(500 + (n % 7 * 100) as usize)
}

/// That the first `count` numbers are there, and nothing else.
fn verify(db: &Database, count: u64) {
    let tx = db.read().unwrap();
    assert_eq!(tx.len().unwrap(), count);
    for n in 0..count {
        let found = tx.get_ref(&n.to_be_bytes()).unwrap();
        assert_eq!(found, Some(&incompressible(n)[..]), "{n} of {count}");
    }
}

/// No test of its own: what the process on the small file system does.
#[test]
fn full_process() {
    let Ok(dir) = std::env::var("WEALD_FULL") else {
        return;
    };
    let (path, ballast) = (Path::new(&dir).join("db"), Path::new(&dir).join("ballast"));
    let open = || Database::open_with_options(&path, options().wal_segment_bytes(256 << 10)).unwrap();
    let mut db = open();
    let mut count = 0;
    // Each round the disk is full at another place, and then two megabytes of it are free again.
    for round in 0..5u64 {
        let free = std::fs::metadata(&ballast).unwrap().len() - (2 << 20);
        let error = loop {
            match fill(&db, count) {
                Ok(()) => count += 1,
                Err(e) => break e,
            }
        };
        assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
        // It stays so, and costs nothing.
        for _ in 0..3 {
            match fill(&db, count) {
                Ok(()) => count += 1,
                Err(e) => assert!(matches!(e, Error::DiskFull { .. }), "{e:?}"),
            }
            match db.checkpoint() {
                Ok(_) => {}
                Err(e) => assert!(matches!(e, Error::DiskFull { .. }), "{e:?}"),
            }
        }
        verify(&db, count);
        std::fs::File::options()
            .write(true)
            .open(&ballast)
            .unwrap()
            .set_len(free)
            .unwrap();
        for _ in 0..20 {
            fill(&db, count).unwrap();
            count += 1;
        }
        db.checkpoint().unwrap();
        let report = db.check().unwrap();
        assert!(report.problems.is_empty(), "round {round}: {report:?}");
        if round % 2 == 0 {
            db.close().unwrap();
            db = open();
        }
        verify(&db, count);
    }
    println!("\nall is well");
}

#[test]
fn a_file_system_that_is_full_is_told_and_work_goes_on_once_there_is_room() {
    let dir = directory();
    // A file system of its own, which only that process sees.
    let script = "mount -t tmpfs -o size=22m none \"$WEALD_FULL\" || exit 77
        head -c 12582912 /dev/zero > \"$WEALD_FULL/ballast\"
        exec \"$0\" --exact processes::full_process --nocapture --test-threads=1";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .env("WEALD_FULL", dir.path())
        .output();
    let output = match output {
        Ok(output) if output.status.code() != Some(77) => output,
        _ => {
            eprintln!("not run: this system lets nobody have a file system of his own");
            return;
        }
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    if complaint.starts_with("unshare:") {
        eprintln!("not run: {complaint}");
        return;
    }
    assert!(
        output.status.success() && said.contains("all is well"),
        "{said} {complaint}"
    );
}
