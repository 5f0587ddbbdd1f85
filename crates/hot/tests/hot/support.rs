//! What several of the tests need: numbers by chance, files that go away, and processes that are killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use weald_hot::{Change, Error, Region, RegionOptions, Session};

/// The same numbers for the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// From 0 to 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A number from the environment.
pub(crate) fn env_number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The path of a file that no other test has, and that goes away with the test.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Scratch {
        Scratch::within(Path::new("/dev/shm"), name)
    }

    pub(crate) fn within(directory: &Path, name: &str) -> Scratch {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("weald-hot-test-{}-{number}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A region of this process alone.
pub(crate) fn anonymous(capacity: u64) -> Region {
    Region::anonymous(&RegionOptions {
        capacity,
        ..Default::default()
    })
    .unwrap()
}

/// A value is a number repeated, so that a torn one shows.
pub(crate) fn value_of(n: u64) -> Vec<u8> {
    n.to_le_bytes().repeat(1 + (n % 60) as usize)
}

pub(crate) fn check_value(value: &[u8]) {
    let first: [u8; 8] = value[..8].try_into().expect("a value has a number");
    let n = u64::from_le_bytes(first);
    assert_eq!(value, value_of(n), "torn");
}

/// Keys that [`operate`] writes.
pub(crate) const KEYS: u64 = 400;

fn check_item(item: Result<(Vec<u8>, Vec<u8>), Error>) {
    let (key, value) = item.unwrap();
    if key != b"counter" {
        check_value(&value);
    }
}

/// One random operation; every kind that there is comes up.
pub(crate) fn operate(session: &Session, random: &mut Random) {
    let n = random.next();
    let key = random.below(KEYS).to_le_bytes();
    match random.below(22) {
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
        17 => {
            // Keys without end, so that the table grows.
            session
                .insert(&[&key[..], &n.to_le_bytes()].concat(), &value_of(n))
                .unwrap();
        }
        18 => {
            // Only where the region keeps the order.
            if let Ok(range) = session.range(&key[..]..) {
                range.take(20).for_each(check_item);
            }
        }
        19 => {
            // Only where the region has views.
            if let Ok(view) = session.view() {
                for n in 0..10 {
                    session.put(&key, &value_of(n)).unwrap();
                }
                if let Some(value) = view.get(&key).unwrap() {
                    check_value(&value);
                }
                view.scan().take(20).for_each(check_item);
            }
        }
        _ => {
            if let Some(value) = session.get(&key).unwrap() {
                check_value(&value);
            }
        }
    }
}

/// Starts this program again to run the ignored test `name`, with what it needs to know in its environment.
pub(crate) fn spawn(name: &str, path: &Path, seed: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", name, "--nocapture"])
        .env("WEALD_HOT_VICTIM", path)
        .env("WEALD_HOT_SEED", seed.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// What the process that [`spawn`] started is to work on; `None` in a process that nobody started so.
pub(crate) fn assignment() -> Option<(PathBuf, u64)> {
    let path = std::env::var_os("WEALD_HOT_VICTIM")?;
    // SAFETY: takes integers only. A test that fails leaves no victims behind.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    Some((path.into(), env_number("WEALD_HOT_SEED").unwrap_or(0)))
}

/// Kills a process, which must not have ended by itself.
pub(crate) fn kill(mut child: Child) {
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9),
        "the victim failed by itself"
    );
}

pub(crate) fn wait_for_sessions(region: &Region, count: u64) {
    let patience = Instant::now();
    while region.info().unwrap().sessions < count {
        assert!(
            patience.elapsed() < Duration::from_secs(60),
            "the victims don't start"
        );
        std::thread::sleep(Duration::from_micros(200));
    }
}
