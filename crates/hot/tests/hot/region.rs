//! How regions come into being, and what happens when that goes wrong.

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use weald_hot::{Error, Numa, PageSize, Reader, Region, RegionOptions};

use crate::support::Scratch;

fn small() -> RegionOptions {
    RegionOptions {
        capacity: 16 << 20,
        ..Default::default()
    }
}

#[test]
fn a_region_outlives_those_who_made_it_in_memory_and_in_ordinary_files() {
    for directory in [Path::new("/dev/shm"), &std::env::temp_dir()] {
        let scratch = Scratch::within(directory, "outlives");
        assert!(matches!(Region::open(&scratch.0), Err(Error::Empty(_))));
        let region = Region::create(&scratch.0, &small()).unwrap();
        region.join("first").unwrap().put(b"k", b"v").unwrap();
        drop(region);
        assert!(matches!(
            Region::create(&scratch.0, &small()),
            Err(Error::Invalid(_))
        ));
        let region = Region::open(&scratch.0).unwrap();
        let session = region.join("second").unwrap();
        assert_eq!(session.get(b"k").unwrap().unwrap(), b"v");
        session.verify().unwrap();
        let again = Region::open_or_create(&scratch.0, &small()).unwrap();
        assert!(again.join("third").unwrap().contains(b"k").unwrap());
    }
}

#[test]
fn a_file_in_memory_is_sealed_and_joined_by_its_descriptor() {
    let region = Region::memfd(&small()).unwrap();
    let session = region.join("maker").unwrap();
    session.put(b"k", b"v").unwrap();
    let fd = region.fd().unwrap().try_clone_to_owned().unwrap();
    let file = std::fs::File::from(fd.try_clone().unwrap());
    assert!(file.set_len(4096).is_err(), "nobody can cut it under our feet");
    let other = Region::from_fd(fd).unwrap();
    let joined = other.join("guest").unwrap();
    assert_eq!(joined.get(b"k").unwrap().unwrap(), b"v");
    // What one makes the other sees, new volumes included.
    for n in 0..3000u32 {
        joined.put(&n.to_le_bytes(), &[1; 2000]).unwrap();
    }
    assert_eq!(session.get(&2999u32.to_le_bytes()).unwrap().unwrap(), [1; 2000]);
    let names: Vec<String> = session
        .members()
        .unwrap()
        .into_iter()
        .map(|member| member.name)
        .collect();
    assert_eq!(names, ["maker", "guest"]);
}

#[test]
fn huge_pages_that_can_t_be_had_are_replaced_by_small_ones() {
    for page_size in [PageSize::Huge2M, PageSize::Huge1G] {
        let options = RegionOptions { page_size, ..small() };
        for region in [
            Region::anonymous(&options).unwrap(),
            Region::memfd(&options).unwrap(),
        ] {
            region.join("test").unwrap().put(b"k", b"v").unwrap();
            let got = region.info().unwrap().page_size;
            assert!(got == 4096 || got == 2 << 20 || got == 1 << 30, "{got}");
        }
    }
}

#[test]
fn volumes_live_on_the_nodes_that_are_asked_for_or_where_they_can() {
    // There may be one node only, and the kernel may refuse; neither is an error.
    for numa in [Numa::Spread, Numa::Local, Numa::Node(0), Numa::Node(63)] {
        let options = RegionOptions { numa, ..small() };
        let session = Region::memfd(&options).unwrap().join("test").unwrap();
        for n in 0..100u32 {
            session.put(&n.to_le_bytes(), &[7; 60_000]).unwrap();
        }
        assert_eq!(session.get(&99u32.to_le_bytes()).unwrap().unwrap(), [7; 60_000]);
        session.verify().unwrap();
    }
}

#[test]
fn a_creator_that_died_half_way_leaves_something_that_can_be_made_again() {
    for left in [&b""[..], b"WEALDBLD", b"\0\0\0\0\0\0\0\0"] {
        let scratch = Scratch::new("half");
        std::fs::write(&scratch.0, left).unwrap();
        assert!(matches!(Region::open(&scratch.0), Err(Error::Empty(_))));
        let region = Region::open_or_create(&scratch.0, &small()).unwrap();
        region.join("test").unwrap().verify().unwrap();
    }
}

#[test]
fn a_creator_that_takes_too_long_is_not_waited_for_for_ever() {
    let scratch = Scratch::new("slow");
    let file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .open(&scratch.0)
        .unwrap();
    // SAFETY: takes integers only.
    assert_eq!(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) }, 0);
    let start = Instant::now();
    assert!(matches!(Region::open(&scratch.0), Err(Error::Again(_))));
    let options = RegionOptions {
        join_wait: Duration::from_millis(50),
        ..small()
    };
    assert!(matches!(
        Region::open_or_create(&scratch.0, &options),
        Err(Error::Again(_))
    ));
    assert!(start.elapsed() < Duration::from_secs(10));
    drop(file);
    Region::open_or_create(&scratch.0, &options).unwrap();
}

#[test]
fn many_who_come_at_once_make_one_region() {
    let scratch = Scratch::new("race");
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let path = scratch.0.clone();
            std::thread::spawn(move || {
                let region = Region::open_or_create(&path, &small()).unwrap();
                region.join("racer").unwrap().fetch_add(b"n", 1).unwrap();
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let region = Region::open(&scratch.0).unwrap();
    assert_eq!(
        region.join("last").unwrap().get(b"n").unwrap().unwrap(),
        8i64.to_le_bytes()
    );
}

#[test]
fn a_file_that_is_something_else_is_left_alone() {
    let scratch = Scratch::new("foreign");
    std::fs::write(&scratch.0, b"a letter to my aunt").unwrap();
    for result in [
        Region::open(&scratch.0),
        Region::create(&scratch.0, &small()),
        Region::open_or_create(&scratch.0, &small()),
    ] {
        assert!(matches!(result, Err(Error::Invalid(_))));
    }
    assert_eq!(std::fs::read(&scratch.0).unwrap(), b"a letter to my aunt");
}

#[test]
fn a_damaged_or_cut_header_is_refused() {
    let scratch = Scratch::new("header");
    drop(Region::create(&scratch.0, &small()).unwrap());
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&scratch.0)
        .unwrap();
    let mut header = [0; 112];
    file.read_exact_at(&mut header, 0).unwrap();
    for (at, byte) in header.into_iter().enumerate().skip(8) {
        file.write_all_at(&[byte ^ 0x41], at as u64).unwrap();
        assert!(Region::open(&scratch.0).is_err(), "byte {at}");
        file.write_all_at(&[byte], at as u64).unwrap();
    }
    Region::open(&scratch.0).unwrap();
    for len in [1, 4095, 4096, 100_000, (16 << 20) - 1] {
        let cut = Scratch::new("cut");
        std::fs::copy(&scratch.0, &cut.0).unwrap();
        OpenOptions::new()
            .write(true)
            .open(&cut.0)
            .unwrap()
            .set_len(len)
            .unwrap();
        assert!(Region::open(&cut.0).is_err(), "{len} bytes");
    }
}

#[test]
fn a_region_of_another_version_is_refused_and_left_alone() {
    let scratch = Scratch::new("version");
    let region = Region::create(&scratch.0, &small()).unwrap();
    region.join("test").unwrap().put(b"k", b"v").unwrap();
    drop(region);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&scratch.0)
        .unwrap();
    let mut version = [0; 8];
    file.read_exact_at(&mut version, 8).unwrap();
    let other = u64::from_le_bytes(version) + 1;
    file.write_all_at(&other.to_le_bytes(), 8).unwrap();
    for result in [
        Region::open(&scratch.0),
        Region::open_or_create(&scratch.0, &small()),
    ] {
        assert!(matches!(result, Err(Error::Invalid(_))), "{:?}", result.err());
    }
    assert!(matches!(Reader::open(&scratch.0), Err(Error::Invalid(_))));
    // Whoever has that version finds all as it was.
    file.write_all_at(&version, 8).unwrap();
    let session = Region::open(&scratch.0).unwrap().join("test").unwrap();
    assert_eq!(session.get(b"k").unwrap().unwrap(), b"v");
}

#[test]
fn options_that_make_no_region_are_refused() {
    let wrong = [
        RegionOptions {
            volume_size: 3 << 20,
            ..small()
        },
        RegionOptions {
            volume_size: 4096,
            ..small()
        },
        RegionOptions {
            sessions: 0,
            ..small()
        },
        RegionOptions {
            sessions: 5000,
            ..small()
        },
        RegionOptions {
            capacity: 0,
            ..small()
        },
        RegionOptions {
            capacity: u64::MAX,
            ..small()
        },
    ];
    for options in wrong {
        assert!(
            matches!(Region::anonymous(&options), Err(Error::Invalid(_))),
            "{options:?}"
        );
    }
}

#[test]
fn more_sessions_than_slots_are_refused_until_one_leaves() {
    let region = Region::anonymous(&RegionOptions {
        sessions: 2,
        ..small()
    })
    .unwrap();
    let first = region.join("1").unwrap();
    let _second = region.join("2").unwrap();
    assert!(matches!(region.join("3"), Err(Error::Full(_))));
    drop(first);
    region.join("3").unwrap();
    assert!(matches!(
        region.join("a name that is longer than any slot"),
        Err(Error::Invalid(_))
    ));
}

/// Fills a region on a small file system; run by the test below where one is mounted.
#[test]
#[ignore = "run by the test below in a namespace of its own"]
fn on_a_small_file_system() {
    let Ok(directory) = std::env::var("WEALD_HOT_SMALL") else {
        return;
    };
    let path = PathBuf::from(directory).join("region");
    let options = RegionOptions {
        capacity: 64 << 20,
        volume_size: 1 << 18,
        ..Default::default()
    };
    let region = Region::create(&path, &options).unwrap();
    let session = region.join("test").unwrap();
    let mut stored = 0u32;
    let full = loop {
        match session.put(&stored.to_le_bytes(), &[3; 4000]) {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, Error::Full(_)), "{full}");
    assert!(stored > 400, "{stored}");
    for n in 0..stored {
        assert_eq!(session.get(&n.to_le_bytes()).unwrap().unwrap(), [3; 4000]);
    }
    session.verify().unwrap();
    for n in 0..stored {
        session.remove(&n.to_le_bytes()).unwrap();
    }
    for n in 0..stored / 2 {
        session.put(&n.to_le_bytes(), &[4; 4000]).unwrap();
    }
    session.verify().unwrap();
    // Not even the header fits beside it.
    let second = path.with_file_name("second");
    std::fs::write(path.with_file_name("filler"), vec![1; 8 << 20]).unwrap_err();
    let error = Region::create(&second, &options).unwrap_err();
    assert!(matches!(error, Error::Full(_)), "{error}");
    println!("filled");
}

#[test]
fn a_file_system_that_is_full_gives_an_error_and_no_signal() {
    let directory = std::env::temp_dir().join(format!("weald-hot-small-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=4m none {dir} && WEALD_HOT_SMALL={dir} {exe} --ignored --exact region::on_a_small_file_system --nocapture",
        dir = directory.display(),
        exe = std::env::current_exe().unwrap().display(),
    );
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .output();
    let _ = std::fs::remove_dir(&directory);
    let Ok(output) = output else {
        println!("skipped: no unshare here");
        return;
    };
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && (text.contains("unshare:") || text.contains("mount:")) {
        println!("skipped: no namespaces here: {text}");
        return;
    }
    assert!(output.status.success() && text.contains("filled"), "{text}");
}
