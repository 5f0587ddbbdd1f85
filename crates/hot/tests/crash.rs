//! Processes that are killed at random instructions while they work in a region.
//!
//! The test program starts itself again as the victims: `victim` below is no test of its own but what they run.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use weald_hot::{Change, Region, RegionOptions, Session};

/// Keys that victims write. A value is a number repeated, so that a torn one shows.
const KEYS: u64 = 400;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = PathBuf::from(format!("/dev/shm/weald-hot-test-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn value_of(n: u64) -> Vec<u8> {
    n.to_le_bytes().repeat(1 + (n % 60) as usize)
}

fn check_value(value: &[u8]) {
    let first: [u8; 8] = value[..8].try_into().expect("a value has a number");
    let n = u64::from_le_bytes(first);
    assert_eq!(value, value_of(n), "torn");
}

fn check_value_of((key, value): (Vec<u8>, Vec<u8>)) {
    if key != b"counter" {
        check_value(&value);
    }
}

/// One random operation; every kind that there is comes up.
fn operate(session: &Session, random: &mut Random) {
    let n = random.next();
    let key = random.below(KEYS).to_le_bytes();
    match random.below(20) {
        0..7 => session.put(&key, &value_of(n)).unwrap(),
        7..10 => drop(session.remove(&key).unwrap()),
        10 | 11 => drop(session.insert(&key, &value_of(n)).unwrap()),
        12 => drop(session.fetch_add(b"counter", 1).unwrap()),
        13 => {
            let bump = |old: Option<&[u8]>| match old {
                Some(old) => {
                    check_value(old);
                    Change::Remove
                }
                None => Change::Put(value_of(n).into()),
            };
            session.update(&key, bump).unwrap();
        }
        14 => {
            let object = session.alloc(n % 3000, 1 << (n % 10), 5).unwrap();
            if n.is_multiple_of(3) {
                session.free(object).unwrap();
            }
        }
        15 if n.is_multiple_of(2) => session.trim().unwrap(),
        15 => session
            .put_expiring(&key, &value_of(n), Duration::from_millis(n % 20))
            .unwrap(),
        16 => {
            if let Some(value) = session.get_ref(&key).unwrap() {
                check_value(&value.to_vec());
            }
        }
        18 => {
            // Only where the region keeps the order.
            let Ok(range) = session.range(&key[..]..) else {
                return;
            };
            for item in range.take(20) {
                check_value_of(item.unwrap());
            }
        }
        17 => {
            // Keys without end, so that the table grows.
            session
                .insert(&[&key[..], &n.to_le_bytes()].concat(), &value_of(n))
                .unwrap();
        }
        _ => {
            if let Some(value) = session.get(&key).unwrap() {
                check_value(&value);
            }
        }
    }
}

/// What a victim runs: it works until it is killed.
#[test]
#[ignore = "run by the tests below in processes of its own"]
fn victim() {
    let Ok(path) = std::env::var("WEALD_HOT_VICTIM") else {
        return;
    };
    let seed: u64 = std::env::var("WEALD_HOT_SEED").unwrap().parse().unwrap();
    // SAFETY: takes integers only. A test that fails leaves no victims behind.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let region = Region::open(Path::new(&path)).unwrap();
    let mut random = Random(seed);
    let session = region.join("victim").unwrap();
    for _ in 0..2_000_000 {
        operate(&session, &mut random);
        if random.below(200) == 0 {
            // Joining and leaving are killed as well.
            drop(region.join("passer-by").unwrap());
        }
    }
}

fn spawn(path: &Path, seed: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "victim"])
        .env("WEALD_HOT_VICTIM", path)
        .env("WEALD_HOT_SEED", seed.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9),
        "the victim failed by itself"
    );
}

/// Wipes what victims inserted without end, so that a long test doesn't fill the region.
fn check_keys(session: &Session) {
    for key in 0..KEYS {
        if let Some(value) = session.get(&key.to_le_bytes()).unwrap() {
            check_value(&value);
        }
    }
}

fn rounds(name: &str, count: u64, seed: u64, ordered: bool, cache_bytes: u64) {
    let scratch = Scratch::new(name);
    let options = RegionOptions {
        capacity: 64 << 20,
        sessions: 12,
        ordered,
        cache_bytes,
        ..Default::default()
    };
    let region = Region::create(&scratch.0, &options).unwrap();
    let survivor = region.join("survivor").unwrap();
    let mut random = Random(seed);
    for round in 0..count {
        println!("round {round} of seed {seed}");
        let victims = [spawn(&scratch.0, random.next()), spawn(&scratch.0, random.next())];
        wait_for_sessions(&region, 3);
        let until = Instant::now() + Duration::from_micros(random.below(8_000));
        let mut slowest = Duration::ZERO;
        while Instant::now() < until {
            let start = Instant::now();
            operate(&survivor, &mut random);
            slowest = slowest.max(start.elapsed());
        }
        victims.into_iter().for_each(kill);
        // They are dead and nobody has cleaned up: everything works, and fast.
        for _ in 0..200 {
            let start = Instant::now();
            operate(&survivor, &mut random);
            slowest = slowest.max(start.elapsed());
        }
        assert!(slowest < Duration::from_secs(2), "an operation took {slowest:?}");
        survivor.recover().unwrap();
        survivor
            .verify()
            .unwrap_or_else(|error| panic!("round {round} of seed {seed}: {error}"));
        check_keys(&survivor);
        let stats = survivor.cache_stats().unwrap();
        assert!(stats.bytes <= stats.budget + (64 << 10), "{stats:?}");
        assert_eq!(region.info().unwrap().sessions, 1);
    }
    let killed = region.info().unwrap().recoveries;
    assert!(killed > count, "most victims die at work: {killed}");
    drop(survivor);
    let last = region.join("last").unwrap();
    last.trim().unwrap();
    let report = last.verify().unwrap();
    assert_eq!(report.objects, 0, "objects of dead processes come back");
    assert_eq!(report.retired, 0);
}

#[test]
fn two_processes_at_a_time_are_killed_and_nothing_is_lost_or_stuck() {
    rounds("kill", 40, 1, false, 0);
}

#[test]
fn two_processes_at_a_time_are_killed_and_the_order_is_kept() {
    rounds("kill-ordered", 40, 2, true, 0);
}

#[test]
fn two_processes_at_a_time_are_killed_beside_a_cache() {
    rounds("kill-cache", 40, 3, true, 200 << 10);
}

#[test]
#[ignore = "minutes; WEALD_HOT_ROUNDS says how many"]
fn killed_for_long() {
    let count = std::env::var("WEALD_HOT_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(2000);
    let seed = std::env::var("WEALD_HOT_SEED")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(7);
    rounds("kill-long", count / 3, seed, false, 0);
    rounds("kill-long-ordered", count / 3, seed, true, 0);
    rounds("kill-long-cache", count / 3, seed, true, 200 << 10);
}

fn wait_for_sessions(region: &Region, count: u64) {
    let patience = Instant::now();
    while region.info().unwrap().sessions < count {
        assert!(
            patience.elapsed() < Duration::from_secs(30),
            "the victims don't start"
        );
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[test]
fn without_repair_the_damage_shows() {
    // The canary: if `verify` found nothing wrong here, its silence above would mean nothing.
    let scratch = Scratch::new("canary");
    let options = RegionOptions {
        capacity: 64 << 20,
        sessions: 12,
        ..Default::default()
    };
    let region = Region::create(&scratch.0, &options).unwrap();
    let witness = region.join("witness").unwrap();
    let mut seen = 0;
    for seed in 0..4 {
        let victim = spawn(&scratch.0, seed);
        wait_for_sessions(&region, 2);
        std::thread::sleep(Duration::from_millis(3));
        kill(victim);
        seen += u64::from(witness.verify().is_err());
        witness.recover().unwrap();
        witness.verify().unwrap();
    }
    assert!(seen > 0);
}

#[test]
fn a_stopped_process_holds_nobody_up_and_goes_on_where_it_was() {
    let scratch = Scratch::new("stop");
    let options = RegionOptions {
        capacity: 64 << 20,
        sessions: 12,
        ..Default::default()
    };
    let region = Region::create(&scratch.0, &options).unwrap();
    let survivor = region.join("survivor").unwrap();
    let mut random = Random(3);
    for seed in 0..12 {
        let victim = spawn(&scratch.0, 100 + seed);
        wait_for_sessions(&region, 2);
        std::thread::sleep(Duration::from_micros(random.below(4000)));
        let pid = victim.id() as i32;
        // SAFETY: takes integers only; the process is our child and not reaped yet.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGSTOP) }, 0);
        let stat = format!("/proc/{pid}/stat");
        while !std::fs::read_to_string(&stat).unwrap().contains(") T ") {
            std::thread::yield_now();
        }
        for _ in 0..3000 {
            let start = Instant::now();
            operate(&survivor, &mut random);
            assert!(start.elapsed() < Duration::from_secs(2));
        }
        let sessions = region.info().unwrap().sessions;
        assert_eq!(
            survivor.recover().unwrap(),
            0,
            "a stopped process is not a dead one"
        );
        assert!(sessions > 1 && region.info().unwrap().sessions == sessions);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGCONT) }, 0);
        for _ in 0..2000 {
            operate(&survivor, &mut random);
        }
        kill(victim);
        survivor.recover().unwrap();
        survivor.verify().unwrap();
        check_keys(&survivor);
    }
}
