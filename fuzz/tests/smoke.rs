//! Every target on inputs that are the same each time: short of fuzzing, but it keeps the targets alive.

use std::time::{Duration, Instant};

use weald_fuzz::{TARGETS, Target};

/// Long enough for some hundred inputs of the slowest target.
const TIME_MAX: Duration = Duration::from_secs(5);
const INPUTS_MAX: u64 = 20_000;

/// A small generator of random numbers, so that a number repeats a failure.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Short inputs most of all: few changes get far.
fn input(number: u64) -> Vec<u8> {
    let mut random = Random(number);
    let len = random.next() % (1 << (random.next() % 10));
    (0..len).map(|_| random.next() as u8).collect()
}

#[test]
fn targets_find_nothing_in_random_inputs() {
    let found: Vec<String> = TARGETS
        .iter()
        .filter_map(|(name, target)| smoke(name, *target))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Inputs of `database` that did harm once: a last commit with the greatest number there is, and a catalog that is out of order, which was gone through without end.
const FOUND: [&[u8]; 2] = [&[0, 85, 3, 0, 255, 128, 237], &[196, 218, 206, 18, 212, 38, 237]];

#[test]
fn what_was_found_once_does_no_harm() {
    let (_, database) = TARGETS
        .iter()
        .find(|(name, _)| *name == "database")
        .expect("it is one of the targets");
    for input in FOUND {
        let begin = Instant::now();
        database(input);
        assert!(begin.elapsed() < Duration::from_secs(20), "{input:?}");
    }
}

/// What the target finds, if it finds something.
fn smoke(name: &str, target: Target) -> Option<String> {
    let began = Instant::now();
    let mut number = 0;
    while number < INPUTS_MAX && began.elapsed() < TIME_MAX {
        let data = input(number);
        if std::panic::catch_unwind(|| target(&data)).is_err() {
            return Some(format!("{name}, input {number}: {data:?}"));
        }
        number += 1;
    }
    println!("{name}: {number} inputs");
    None
}

#[test]
fn every_target_has_its_file() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .expect("it is there")
        .map(|entry| entry.expect("it can be read").path())
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    files.sort();
    let mut names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    assert_eq!(files, names);
}
