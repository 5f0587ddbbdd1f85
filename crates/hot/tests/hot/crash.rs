//! Processes that are killed at random instructions while they work in a region.
//!
//! The test program starts itself again as the victims: `victim` below is no test of its own but what they run.

use std::time::{Duration, Instant};

use weald_hot::{Region, RegionOptions, Session};

use crate::support::{
    KEYS, Random, Scratch, assignment, check_value, env_number, kill, operate, spawn, wait_for_sessions,
};

const VICTIM: &str = "crash::victim";
/// What no operation may take, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a victim runs: it works until it is killed.
#[test]
#[ignore = "run by the tests below in processes of its own"]
fn victim() {
    let Some((path, seed)) = assignment() else {
        return;
    };
    let region = Region::open(&path).unwrap();
    let mut random = Random(seed);
    loop {
        // It leaves now and then, because what it allocates fills the region if nobody kills it for long.
        let session = region.join("victim").unwrap();
        for _ in 0..5000 {
            operate(&session, &mut random);
            if random.below(200) == 0 {
                // Joining and leaving are killed as well.
                drop(region.join("passer-by").unwrap());
            }
        }
    }
}

fn check_keys(session: &Session) {
    for key in 0..KEYS {
        if let Some(value) = session.get(&key.to_le_bytes()).unwrap() {
            check_value(&value);
        }
    }
}

/// Kills two processes at a time, as often as `WEALD_KILLS` says or 75 times, and looks what they left.
fn rounds(name: &str, seed: u64, options: &RegionOptions) {
    let count = env_number("WEALD_KILLS").unwrap_or(75);
    let seed = env_number("WEALD_HOT_SEED").map_or(seed, |base| base * 10 + seed);
    let scratch = Scratch::new(name);
    let region = Region::create(&scratch.0, options).unwrap();
    let survivor = region.join("survivor").unwrap();
    let mut random = Random(seed);
    for round in 0..count {
        println!("round {round} of seed {seed}");
        let victims = [(); 2].map(|()| spawn(VICTIM, &scratch.0, random.next()));
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
        assert!(slowest < PATIENCE, "an operation took {slowest:?}");
        survivor.recover().unwrap();
        let report = survivor
            .verify()
            .unwrap_or_else(|error| panic!("round {round} of seed {seed}: {error}"));
        assert_eq!(report.versions, 0, "views of the dead are gone");
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

fn options() -> RegionOptions {
    RegionOptions {
        capacity: 64 << 20,
        sessions: 12,
        ..Default::default()
    }
}

#[test]
fn two_processes_at_a_time_are_killed_and_nothing_is_lost_or_stuck() {
    rounds("kill", 1, &options());
}

#[test]
fn two_processes_at_a_time_are_killed_and_the_order_is_kept() {
    let ordered = true;
    rounds("kill-ordered", 2, &RegionOptions { ordered, ..options() });
}

#[test]
fn two_processes_at_a_time_are_killed_beside_a_cache() {
    let cache = RegionOptions {
        ordered: true,
        cache_bytes: 200 << 10,
        ..options()
    };
    rounds("kill-cache", 3, &cache);
}

#[test]
fn two_processes_at_a_time_are_killed_with_their_views() {
    let views = RegionOptions {
        ordered: true,
        views: true,
        ..options()
    };
    rounds("kill-views", 4, &views);
}

#[test]
fn without_repair_the_damage_shows() {
    // The canary: if `verify` found nothing wrong here, its silence above would mean nothing.
    let scratch = Scratch::new("canary");
    let region = Region::create(&scratch.0, &options()).unwrap();
    let witness = region.join("witness").unwrap();
    let mut seen = 0;
    for seed in 0..4 {
        let victim = spawn(VICTIM, &scratch.0, seed);
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
    let region = Region::create(&scratch.0, &options()).unwrap();
    let survivor = region.join("survivor").unwrap();
    let mut random = Random(3);
    for seed in 0..12 {
        let victim = spawn(VICTIM, &scratch.0, 100 + seed);
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
            assert!(start.elapsed() < PATIENCE);
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
