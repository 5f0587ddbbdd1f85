//! A peer that writes anything into the region: others may get errors and wrong values, but no panic, no signal and no endless loop.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use weald_hot::{Change, Object, Reader, Region, RegionOptions, Session};

use crate::support::{Random, Scratch, assignment, env_number, kill, spawn, wait_for_sessions};

/// Every operation that there is; what it says doesn't matter, only that it says something.
fn try_everything(session: &Session, random: &mut Random) {
    let key = random.below(300).to_le_bytes();
    let value = vec![random.next() as u8; random.below(300) as usize];
    match random.below(22) {
        0..4 => drop(session.put(&key, &value)),
        4 => drop(session.insert(&key, &value)),
        5 | 6 => drop(session.remove(&key)),
        7 => drop(session.fetch_add(&key, 1)),
        8 => drop(session.update(&key, |_| Change::Put(value.clone().into()))),
        9 => {
            if let Ok(object) = session.alloc(random.below(5000), 0, 1) {
                let _ = session.write(object, 0, &value);
                let _ = session.free(object);
            }
        }
        10 => drop(session.free(Object::at(random.below(40 << 20) & !15))),
        11 => {
            if let Ok(Some(found)) = session.get_ref(&key) {
                found.to_vec();
            }
        }
        13 => drop(session.put_expiring(&key, &value, Duration::from_millis(random.below(10)))),
        14 => {
            if let Ok(range) = session.range(&key[..]..) {
                range.take(30).for_each(drop);
            }
        }
        15 => {
            if let Ok(range) = session.range(..) {
                range.rev().take(10).for_each(drop);
            }
            let _ = session.cache_stats();
        }
        16 => {
            if let Ok(view) = session.view() {
                let _ = session.put(&key, &value);
                let _ = view.get(&key);
                let _ = view.get_many(&[key, key], |_, _| {});
                if let Ok(Some(found)) = view.get_ref(&key) {
                    found.to_vec();
                }
                view.scan().take(30).for_each(drop);
            }
        }
        17 => session.scan().take(30).for_each(drop),
        12 => drop(session.get_many(&[key, key], |_, _| {})),
        _ => drop(session.get(&key)),
    }
}

/// The same for one who can only read.
fn try_to_read(reader: &Reader, random: &mut Random) {
    let key = random.below(300).to_le_bytes();
    match random.below(4) {
        0 => reader.scan().take(30).for_each(drop),
        1 => {
            if let Ok(range) = reader.range(&key[..]..) {
                range.take(10).for_each(drop);
            }
        }
        2 => {
            if let Ok(range) = reader.range(..&key[..]) {
                range.rev().take(10).for_each(drop);
            }
        }
        _ => drop(reader.get(&key)),
    }
}

/// A number that has a chance to mean something: small, an offset that exists, or a word that stands elsewhere.
fn mischief(file: &File, random: &mut Random, len: u64) -> u64 {
    match random.below(8) {
        0 => random.below(16),
        1 => random.next(),
        2 => random.below(len) & !63,
        3 => u64::MAX - random.below(16),
        4 => 0,
        _ => {
            let mut word = [0; 8];
            let _ = file.read_exact_at(&mut word, random.below(len) & !7);
            u64::from_le_bytes(word) ^ 1 << random.below(64)
        }
    }
}

fn scribble(file: &File, random: &mut Random, len: u64, within: std::ops::Range<u64>) {
    for _ in 0..1 + random.below(20) {
        let at = (within.start + random.below(within.end - within.start)) & !7;
        // A hole has nothing that anybody reads; filling it would only cost memory.
        let mut old = [0; 8];
        if at + 8 <= len && file.read_exact_at(&mut old, at).is_ok() {
            let _ = file.write_all_at(&mischief(file, random, len).to_le_bytes(), at);
        }
    }
}

/// Other seeds than usual, for a longer hunt.
fn seed_base(usual: u64) -> u64 {
    env_number("WEALD_HOT_SEED").map_or(usual, |seed| seed * 10 + usual)
}

fn rounds(seed: u64, count: u64, within: impl Fn(u64) -> std::ops::Range<u64>) {
    for round in 0..count {
        let seed = seed * 1000 + round;
        println!("seed {seed}");
        let mut random = Random(seed);
        let scratch = Scratch::new(&seed.to_string());
        let options = RegionOptions {
            capacity: 4 << 20,
            volume_size: 1 << 18,
            sessions: 4,
            ordered: round % 2 == 1,
            cache_bytes: if round % 3 == 2 { 100 << 10 } else { 0 },
            views: round % 3 == 1,
            paranoid: round % 5 == 4,
            ..Default::default()
        };
        let region = Region::create(&scratch.0, &options).unwrap();
        let len = region.info().unwrap().len;
        let session = region.join("honest").unwrap();
        for _ in 0..3000 {
            try_everything(&session, &mut random);
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&scratch.0)
            .unwrap();
        let reader = Reader::open(&scratch.0).unwrap();
        let start = Instant::now();
        for _ in 0..60 {
            scribble(&file, &mut random, len, within(len));
            try_to_read(&reader, &mut random);
            for _ in 0..20 {
                try_everything(&session, &mut random);
            }
        }
        let _ = session.verify();
        let _ = session.remove_expired();
        let _ = session.recover();
        let _ = session.trim();
        drop(session);
        if let Ok(region) = Region::open(&scratch.0)
            && let Ok(session) = region.join("late")
        {
            for _ in 0..200 {
                try_everything(&session, &mut random);
            }
            let _ = session.members();
            let _ = session.verify();
        }
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "seed {seed} took {:?}",
            start.elapsed()
        );
    }
}

#[test]
fn scribbling_over_tables_and_heads_is_survived() {
    rounds(seed_base(1), 90, |_| 96..60_000);
}

#[test]
fn scribbling_over_the_first_volumes_is_survived() {
    rounds(seed_base(2), 90, |_| 45_000..600_000);
}

#[test]
fn scribbling_over_everything_is_survived() {
    rounds(seed_base(3), 90, |len| 0..len);
}

/// Works in a region that others write nonsense into, and says in a sound one that it is alive, until it is killed.
#[test]
#[ignore = "run by the test below in a process of its own"]
fn honest() {
    let Some((path, seed)) = assignment() else {
        return;
    };
    let beat = Region::open(&path.with_extension("beat")).unwrap();
    let beat = beat.join("honest").unwrap();
    let mut random = Random(seed);
    let region = Region::open(&path).unwrap();
    let session = region.join("honest").unwrap();
    loop {
        for _ in 0..50 {
            try_everything(&session, &mut random);
        }
        if random.below(40) == 0 {
            let _ = (session.verify(), session.recover(), session.trim());
            // It may be refused by now.
            drop(Region::open(&path).and_then(|region| region.join("again")));
        }
        beat.fetch_add(b"beats", 1).unwrap();
    }
}

#[test]
fn a_process_that_works_while_another_writes_nonsense_goes_on_working() {
    for seed in 0..6 {
        println!("seed {seed}");
        let scratch = Scratch::new("nonsense");
        let beats = Scratch(scratch.0.with_extension("beat"));
        let small = |ordered, views| RegionOptions {
            capacity: 4 << 20,
            volume_size: 1 << 18,
            sessions: 4,
            ordered,
            views,
            ..Default::default()
        };
        let beat = Region::create(&beats.0, &small(false, false)).unwrap();
        let beat = beat.join("watch").unwrap();
        let region = Region::create(&scratch.0, &small(seed % 2 == 0, seed % 3 == 0)).unwrap();
        let len = region.info().unwrap().len;
        let child = spawn("hostile::honest", &scratch.0, seed);
        wait_for_sessions(&region, 1);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&scratch.0)
            .unwrap();
        let mut random = Random(seed);
        let beaten = || beat.get(b"beats").unwrap().map_or(0, |n| n[0]);
        for _ in 0..20 {
            let (last, since) = (beaten(), Instant::now());
            while beaten() == last {
                assert!(since.elapsed() < Duration::from_secs(60), "seed {seed}: it hangs");
                let all = random.below(3) == 0;
                scribble(&file, &mut random, len, if all { 0..len } else { 96..100_000 });
                std::thread::sleep(Duration::from_micros(100));
            }
        }
        // It panics if the child has ended by itself, by a signal or with a complaint.
        kill(child);
    }
}
