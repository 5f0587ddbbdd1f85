//! How long regions live: as long as their processes, as the machine runs, or longer.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use weald_hot::{Error, Lifetime, Opened, Reason, Region, RegionOptions, Session};

use crate::support::{Random, Scratch, assignment, kill, spawn, wait_for_sessions};

fn passing() -> RegionOptions {
    RegionOptions {
        capacity: 16 << 20,
        lifetime: Lifetime::Processes,
        join_wait: Duration::from_secs(20),
        ..Default::default()
    }
}

/// Joins the region and waits to be killed.
#[test]
#[ignore = "run by the tests below in a process of its own"]
fn guest() {
    let Some((path, _)) = assignment() else {
        return;
    };
    let _session = Region::open(&path).unwrap().join("guest").unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn a_region_goes_with_the_last_process_that_leaves() {
    let scratch = Scratch::new("passing");
    let first = Region::create(&scratch.0, &passing()).unwrap();
    first.join("test").unwrap().put(b"k", b"v").unwrap();
    let second = Region::open(&scratch.0).unwrap();
    let session = second.join("test").unwrap();
    drop((first, second));
    assert!(scratch.0.exists(), "a session has it open");
    assert!(session.contains(b"k").unwrap());
    drop(session);
    assert!(!scratch.0.exists());
    assert!(matches!(Region::open(&scratch.0), Err(Error::Empty(_))));
}

#[test]
fn what_killed_processes_leave_is_taken_for_absent() {
    let scratch = Scratch::new("passing-left");
    let region = Region::create(&scratch.0, &passing()).unwrap();
    region.join("test").unwrap().put(b"k", b"v").unwrap();
    let guest = spawn("lifetime::guest", &scratch.0, 0);
    wait_for_sessions(&region, 1);
    drop(region);
    // The guest has it open, so it is there for others.
    let region = Region::open_or_create(&scratch.0, &passing()).unwrap();
    assert!(region.join("test").unwrap().contains(b"k").unwrap());
    drop(region);
    kill(guest);
    assert!(scratch.0.exists());
    assert!(matches!(Region::open(&scratch.0), Err(Error::Empty(_))));
    let region = Region::open_or_create(&scratch.0, &passing()).unwrap();
    assert!(region.join("test").unwrap().is_empty().unwrap());
    drop(region);
    assert!(!scratch.0.exists());
}

#[test]
fn those_who_come_and_go_at_once_share_one_region_for_as_long_as_one_stays() {
    let scratch = Scratch::new("passing-race");
    let stays = Region::create(&scratch.0, &passing()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..30 {
                    let region = Region::open_or_create(&scratch.0, &passing()).unwrap();
                    region.join("racer").unwrap().fetch_add(b"n", 1).unwrap();
                }
            });
        }
    });
    let value = stays.join("last").unwrap().get(b"n").unwrap().unwrap();
    assert_eq!(value, 180i64.to_le_bytes());
    // And if nobody stays, whoever comes has one of which he is not cheated.
    drop(stays);
    std::thread::scope(|scope| {
        for thread in 0..6u64 {
            let scratch = &scratch;
            scope.spawn(move || {
                for n in 0..30 {
                    let region = Region::open_or_create(&scratch.0, &passing()).unwrap();
                    let session = region.join("racer").unwrap();
                    session.put(&thread.to_le_bytes(), &[n]).unwrap();
                    assert_eq!(session.get(&thread.to_le_bytes()).unwrap().unwrap(), [n]);
                }
            });
        }
    });
    assert!(!scratch.0.exists());
}

fn persistent() -> RegionOptions {
    RegionOptions {
        capacity: 32 << 20,
        ordered: true,
        join_wait: Duration::from_secs(20),
        ..Default::default()
    }
}

/// The files of a persistent region.
struct Files {
    memory: Scratch,
    image: Scratch,
    _lock: Scratch,
}

impl Files {
    fn new(name: &str) -> Files {
        let image = Scratch::within(&std::env::temp_dir(), name);
        Files {
            memory: Scratch::new(name),
            _lock: Scratch(format!("{}.lock", image.0.display()).into()),
            image,
        }
    }

    fn open(&self) -> (Region, Opened) {
        Region::open_persistent(&self.memory.0, &self.image.0, &persistent()).unwrap()
    }
}

#[test]
fn a_persist_point_survives_the_memory_and_the_memory_survives_its_processes() {
    let files = Files::new("persistent");
    let (region, opened) = files.open();
    assert_eq!(opened, Opened::Fresh);
    let session = region.join("test").unwrap();
    for n in 0..1000u32 {
        session.put(&n.to_be_bytes(), &[n as u8; 300]).unwrap();
    }
    assert_eq!(session.persist().unwrap().keys, 1000);
    session.put(b"later", b"v").unwrap();
    // With others at work nothing is checked or lost, and a guest without the image can't persist.
    let (second, opened) = files.open();
    assert_eq!(opened, Opened::AsItWas);
    assert!(second.join("second").unwrap().contains(b"later").unwrap());
    let guest = Region::open(&files.memory.0).unwrap();
    let refused = guest.join("guest").unwrap().persist();
    assert!(matches!(refused, Err(Error::Invalid(_))));
    drop((session, region, second, guest));
    let (region, opened) = files.open();
    assert_eq!(opened, Opened::AsItWas);
    let session = region.join("test").unwrap();
    assert!(session.contains(b"later").unwrap());
    assert_eq!(session.persist().unwrap().number, 2);
    session.put(b"last", b"v").unwrap();
    drop((session, region));

    std::fs::remove_file(&files.memory.0).unwrap();
    let (region, opened) = files.open();
    let Opened::Restored(restored, Reason::NoMemory) = opened else {
        panic!("{opened:?}");
    };
    assert_eq!((restored.keys, restored.lost), (1001, Some(0)));
    assert_eq!(restored.point.unwrap().number, 2);
    let session = region.join("test").unwrap();
    assert!(session.contains(b"later").unwrap() && !session.contains(b"last").unwrap());
    let keys: Vec<Vec<u8>> = session.range(..).unwrap().map(|item| item.unwrap().0).collect();
    assert!(keys.len() == 1001 && keys.is_sorted(), "the order is built anew");
    session.verify().unwrap();
    assert_eq!(session.persist().unwrap().number, 3);
}

#[test]
fn damaged_memory_is_found_when_it_is_opened_and_restored() {
    let files = Files::new("damaged");
    let (region, _) = files.open();
    let session = region.join("test").unwrap();
    for n in 0..1000u32 {
        session.put(&n.to_be_bytes(), &[n as u8; 300]).unwrap();
    }
    let header_of_one = |session: &Session| session.alloc(64, 0, 1).unwrap().offset() - 16;
    let header = header_of_one(&session);
    drop((session, region));
    let scribble = |header: u64| {
        let file = OpenOptions::new().write(true).open(&files.memory.0).unwrap();
        file.write_all_at(&[0; 64], header / 64 * 64).unwrap();
    };
    scribble(header);
    let (region, opened) = files.open();
    assert!(
        matches!(opened, Opened::Lost(Reason::Damaged(_))),
        "there was no image: {opened:?}"
    );
    let session = region.join("test").unwrap();
    for n in 0..1000u32 {
        session.put(&n.to_be_bytes(), &[n as u8; 300]).unwrap();
    }
    session.persist().unwrap();
    // The region made anew has its own order of things.
    let header = header_of_one(&session);
    drop((session, region));
    scribble(header);
    let (region, opened) = files.open();
    assert!(
        matches!(opened, Opened::Restored(restored, Reason::Damaged(_)) if restored.keys == 1000),
        "{opened:?}"
    );
    let session = region.join("test").unwrap();
    session.verify().unwrap();
    drop((session, region));

    // Begun by somebody who died before it was whole.
    std::fs::write(&files.memory.0, b"WEALDBLD").unwrap();
    let (_region, opened) = files.open();
    assert!(
        matches!(opened, Opened::Restored(restored, Reason::Unusable(_)) if restored.keys == 1000),
        "{opened:?}"
    );
}

#[test]
fn an_image_that_does_not_fit_is_refused_and_leaves_nothing_half_done() {
    let files = Files::new("small");
    let (region, _) = files.open();
    let session = region.join("test").unwrap();
    for n in 0..10_000u32 {
        session.put(&n.to_be_bytes(), &[1; 1000]).unwrap();
    }
    session.persist().unwrap();
    drop((session, region));
    std::fs::remove_file(&files.memory.0).unwrap();
    let small = RegionOptions {
        capacity: 4 << 20,
        ..persistent()
    };
    let refused = Region::open_persistent(&files.memory.0, &files.image.0, &small);
    assert!(matches!(refused, Err(Error::Full(_))));
    let (_region, opened) = files.open();
    assert!(
        matches!(opened, Opened::Restored(restored, Reason::NoMemory) if restored.keys == 10_000),
        "{opened:?}"
    );
    // A region of another kind is left alone.
    let other = Scratch::new("plain");
    Region::create(&other.0, &passing())
        .map(std::mem::forget)
        .unwrap();
    let refused = Region::open_persistent(&other.0, &files.image.0, &persistent());
    assert!(matches!(refused, Err(Error::Invalid(_))));
}

/// Counts a pair of keys up together and persists, until it is killed.
#[test]
#[ignore = "run by the test below in processes of its own"]
fn persister() {
    let Some((path, seed)) = assignment() else {
        return;
    };
    let image = std::env::temp_dir().join(path.file_name().unwrap());
    let (region, _) = Region::open_persistent(&path, &image, &persistent()).unwrap();
    let session = region.join("persister").unwrap();
    let mut random = Random(seed);
    loop {
        session.fetch_add(b"first", 1).unwrap();
        session.fetch_add(b"second", 1).unwrap();
        session.put(&random.below(500).to_le_bytes(), &[7; 700]).unwrap();
        match session.persist() {
            Ok(_) | Err(Error::Again(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn those_who_persist_may_be_killed_at_any_instant() {
    let memory = Scratch::new("killed-persisting");
    let image = Scratch(std::env::temp_dir().join(memory.0.file_name().unwrap()));
    let named = |what: &str| Scratch(format!("{}.{what}", image.0.display()).into());
    let _others = [named("lock"), named("fresh")];
    let mut random = Random(9);
    let mut last = 0;
    for round in 0..15 {
        let victims = [(); 2].map(|()| spawn("lifetime::persister", &memory.0, random.next()));
        while !image.0.exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(20_000 + random.below(30_000)));
        victims.into_iter().for_each(kill);
        if round % 2 == 0 {
            std::fs::remove_file(&memory.0).unwrap();
        }
        let (region, opened) = Region::open_persistent(&memory.0, &image.0, &persistent()).unwrap();
        let session = region.join("test").unwrap();
        session.verify().unwrap();
        if let Opened::Restored(restored, _) = opened {
            assert_eq!((restored.lost, restored.damaged_bytes), (Some(0), 0));
            let number = restored.point.unwrap().number;
            assert!(number >= last, "points are not taken back");
            last = number;
            let count = |key: &[u8]| {
                session
                    .get(key)
                    .unwrap()
                    .map_or(0, |value| i64::from_le_bytes(value.try_into().unwrap()))
            };
            // Each process so far may have been killed between the two.
            let ahead = count(b"first") - count(b"second");
            assert!((0..=2 * (round + 1)).contains(&ahead), "{ahead}: not one instant");
        }
    }
}
