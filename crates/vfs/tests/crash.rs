//! The simulated disk: that it loses what it may, keeps what it must, and finds planted bugs.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use weald_vfs::{Call, Explored, Fault, FaultKind, LockHeld, OpenMode, PowerCut, SimDisk, SimOptions, Vfs};

const LOG: &str = "/db/log";

fn plain_disk() -> SimDisk {
    SimDisk::new(1, SimOptions::default())
}

/// Ways to write a log, right and wrong.
#[derive(Clone, Copy, Default)]
struct Recipe {
    without_flush: bool,
    without_name_flush: bool,
    without_checksum: bool,
    /// Puts the log in its place by rename before its beginning was flushed.
    renamed_too_early: bool,
}

/// A toy log: each record is a length, a checksum and equal bytes.
struct Log<'a> {
    disk: &'a SimDisk,
    recipe: Recipe,
}

const MAGIC: &[u8] = b"log!";

fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(17, |sum: u32, &byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte)).rotate_left(5)
    })
}

impl Log<'_> {
    /// Writes records until the power is cut; `acknowledged` counts those that are promised to last.
    fn run(&self, records: usize, acknowledged: &mut Option<usize>) -> io::Result<()> {
        let dir = Path::new("/db");
        self.disk.create_dir(dir)?;
        self.disk.sync_dir(Path::new("/"))?;
        let made = dir.join("made");
        let file = self.disk.open(&made, OpenMode::CreateNew)?;
        file.write_all_at(MAGIC, 0)?;
        if !self.recipe.renamed_too_early {
            file.sync_data()?;
        }
        self.disk.rename(&made, Path::new(LOG))?;
        if !self.recipe.without_name_flush {
            self.disk.sync_dir(dir)?;
        }
        *acknowledged = Some(0);
        let mut end = MAGIC.len() as u64;
        for i in 0..records {
            let body = vec![i as u8 + 1; 700];
            let mut record = (body.len() as u32).to_le_bytes().to_vec();
            record.extend(checksum(&body).to_le_bytes());
            record.extend(body);
            file.write_all_at(&record, end)?;
            end += record.len() as u64;
            if !self.recipe.without_flush {
                file.sync_data()?;
            }
            *acknowledged = Some(i + 1);
        }
        Ok(())
    }

    /// The number of whole records, or what is wrong.
    fn recover(&self) -> Result<usize, String> {
        let bytes = self.disk.read_file(LOG).map_err(|e| e.to_string())?;
        let mut rest = bytes.strip_prefix(MAGIC).ok_or("no magic")?;
        for count in 0.. {
            let Some((head, tail)) = rest.split_first_chunk::<8>() else {
                return Ok(count);
            };
            let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
            let sum = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
            let Some((body, tail)) = tail.split_at_checked(len) else {
                return Ok(count);
            };
            if !self.recipe.without_checksum && checksum(body) != sum || len == 0 {
                return Ok(count);
            }
            if body.iter().any(|&byte| byte as usize != count + 1) {
                return Err(format!("record {count} is torn"));
            }
            rest = tail;
        }
        unreachable!()
    }
}

/// Crashes the log at every operation and looks at every state: what is wrong first, or the number of states.
fn explore(recipe: Recipe) -> Result<usize, String> {
    let mut states = 0;
    for index in 0.. {
        let disk = plain_disk();
        disk.crash_after(index);
        let mut acknowledged = None;
        let ended = Log { disk: &disk, recipe }.run(3, &mut acknowledged);
        let mut wrong = None;
        let explored = disk.each_crash(1 << 16, |found| {
            let recovered = Log { disk: &found, recipe }.recover();
            let problem = match (recovered, acknowledged) {
                (Ok(count), Some(promised)) if count < promised => {
                    Some(format!("{count} of {promised} records are left"))
                }
                (Err(problem), Some(_)) => Some(problem),
                // Before the log was made it may be missing, but not be there and wrong.
                (Err(problem), None) if found.exists(Path::new(LOG)).unwrap() => Some(problem),
                _ => None,
            };
            wrong = wrong.take().or(problem);
        });
        states += explored.states;
        if let Some(problem) = wrong {
            return Err(format!("crash at {index}: {problem}"));
        }
        assert!(explored.complete);
        match ended {
            Ok(()) => return Ok(states),
            Err(error) => assert!(PowerCut::caused(&error)),
        }
    }
    unreachable!()
}

#[test]
fn a_log_written_with_care_survives_every_crash() {
    let states = explore(Recipe::default()).unwrap();
    assert!(states > 100, "{states}");
}

#[test]
fn a_flush_left_out_is_caught() {
    let problem = explore(Recipe {
        without_flush: true,
        ..Recipe::default()
    })
    .unwrap_err();
    assert!(problem.contains("0 of 1 records"), "{problem}");
}

#[test]
fn a_name_that_was_not_flushed_is_caught() {
    let problem = explore(Recipe {
        without_name_flush: true,
        ..Recipe::default()
    })
    .unwrap_err();
    assert!(problem.contains("not found"), "{problem}");
}

#[test]
fn a_torn_record_without_checksum_is_caught() {
    let problem = explore(Recipe {
        without_checksum: true,
        ..Recipe::default()
    })
    .unwrap_err();
    assert!(problem.contains("torn"), "{problem}");
}

#[test]
fn a_rename_before_the_contents_is_caught() {
    let problem = explore(Recipe {
        renamed_too_early: true,
        ..Recipe::default()
    })
    .unwrap_err();
    assert!(problem.contains("no magic"), "{problem}");
}

/// What a file may contain after a crash, kept the slow and simple way.
#[derive(Clone, Default)]
struct Oracle {
    now: Vec<u8>,
    /// For each sector, all contents since the last flush.
    sectors: BTreeMap<usize, BTreeSet<Vec<u8>>>,
    lens: BTreeSet<usize>,
}

const SECTOR: usize = 512;
/// More than a page, as whole pages are written in another way.
const SIZE: usize = 18 * SECTOR;

impl Oracle {
    fn sector(&self, i: usize) -> Vec<u8> {
        let mut bytes = self.now.get(i * SECTOR..).unwrap_or_default().to_vec();
        bytes.resize(SECTOR, 0);
        bytes
    }

    fn note(&mut self) {
        for i in 0..SIZE / SECTOR {
            let now = self.sector(i);
            self.sectors.entry(i).or_default().insert(now);
        }
        self.lens.insert(self.now.len());
    }

    fn sync(&mut self) {
        self.sectors.clear();
        self.lens.clear();
        self.note();
    }

    fn resize(&mut self, len: usize) {
        self.now.resize(len, 0);
        self.note();
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        // A long write may be found in part, and so may the length that it leads to.
        for (i, byte) in bytes.iter().enumerate() {
            let at = offset + i;
            self.now.resize(self.now.len().max(at + 1), 0);
            self.now[at] = *byte;
            if (at + 1).is_multiple_of(SECTOR) || i + 1 == bytes.len() {
                self.note();
            }
        }
    }

    fn allows(&self, found: &[u8]) -> bool {
        self.lens.contains(&found.len())
            && found.chunks(SECTOR).enumerate().all(|(i, part)| {
                self.sectors[&i].iter().any(|version| {
                    // The length may cut a sector, or lie beyond what the sector's version reached: zeros
                    // then.
                    version[..part.len()] == *part
                })
            })
    }
}

#[test]
fn every_state_after_a_crash_is_one_that_the_writes_allow() {
    let mut random = 42u64;
    let mut below = |bound: usize| {
        random = random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (random >> 33) as usize % bound
    };
    for round in 0..300 {
        let disk = plain_disk();
        let path = Path::new("/f");
        let file = disk.open(path, OpenMode::Create).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let mut oracle = Oracle::default();
        oracle.sync();
        let mut durable = Vec::new();
        for step in 0..30u8 {
            match below(10) {
                0 => {
                    let len = below(SIZE);
                    file.set_len(len as u64).unwrap();
                    oracle.resize(len);
                }
                1 => {
                    let start = below(SIZE);
                    let len = below(SIZE);
                    file.punch_hole(start as u64, len as u64).unwrap();
                    let end = (start + len).min(oracle.now.len());
                    if start < end {
                        oracle.now[start..end].fill(0);
                        oracle.note();
                    }
                }
                2 => {
                    file.sync_data().unwrap();
                    oracle.sync();
                    durable = oracle.now.clone();
                }
                _ => {
                    let start = if below(3) == 0 {
                        below(2) * 4096
                    } else {
                        below(SIZE - 1)
                    };
                    let len_max = if below(3) == 0 { 9000 } else { 1200 };
                    let len = 1 + below((SIZE - start).min(len_max));
                    let bytes = vec![step + 1; len];
                    file.write_all_at(&bytes, start as u64).unwrap();
                    oracle.write(start, &bytes);
                }
            }
            assert_eq!(disk.read_file(path).unwrap(), oracle.now);
            let mut read = vec![0xee; SIZE];
            let count = file.read_at(&mut read, 0).unwrap();
            assert_eq!(read[..count], oracle.now);
            assert_eq!(
                disk.after_crash_all_kept().read_file(path).unwrap(),
                oracle.now,
                "round {round}"
            );
            assert_eq!(disk.after_crash_all_lost().read_file(path).unwrap(), durable);
            for seed in 0..5 {
                let found = disk.after_crash(seed).read_file(path).unwrap();
                assert!(oracle.allows(&found), "round {round}, step {step}, seed {seed}");
            }
        }
    }
}

#[test]
fn any_subset_of_the_names_survives() {
    let disk = plain_disk();
    let (root, a, b, c) = (Path::new("/"), Path::new("/a"), Path::new("/b"), Path::new("/c"));
    for (path, text) in [(a, "a"), (b, "b")] {
        let file = disk.open(path, OpenMode::Create).unwrap();
        file.write_all_at(text.as_bytes(), 0).unwrap();
        file.sync_data().unwrap();
    }
    disk.sync_dir(root).unwrap();
    disk.rename(a, c).unwrap();
    disk.remove(b).unwrap();
    disk.open(Path::new("/d"), OpenMode::Create).unwrap();
    let mut seen = BTreeSet::new();
    let explored = disk.each_crash(100, |found| {
        let name = |path: &Path| path.to_str().unwrap()[1..].to_string();
        let files = found.files();
        seen.insert(files.iter().map(|path| name(path)).collect::<Vec<_>>().join(""));
        // A file keeps its bytes under whichever name.
        for path in files
            .iter()
            .filter(|path| path.as_path() == a || path.as_path() == c)
        {
            assert_eq!(found.read_file(path).unwrap(), b"a");
        }
    });
    assert_eq!(
        explored,
        Explored {
            states: 8,
            complete: true
        }
    );
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        ["a", "ab", "abd", "ad", "bc", "bcd", "c", "cd"]
    );
    disk.sync_dir(root).unwrap();
    assert_eq!(disk.after_crash_all_lost().files(), [c, Path::new("/d")]);
}

#[test]
fn a_file_renamed_to_another_directory_never_has_two_names() {
    let disk = plain_disk();
    for dir in ["/a", "/b"] {
        disk.create_dir(Path::new(dir)).unwrap();
    }
    disk.sync_dir(Path::new("/")).unwrap();
    disk.open(Path::new("/a/x"), OpenMode::Create).unwrap();
    disk.rename(Path::new("/a/x"), Path::new("/b/y")).unwrap();
    disk.each_crash(100, |found| assert!(found.files().len() < 2));
    disk.sync_dir(Path::new("/b")).unwrap();
    disk.each_crash(100, |found| assert_eq!(found.files(), [Path::new("/b/y")]));
}

#[test]
fn a_directory_that_is_lost_takes_its_files_along() {
    let disk = plain_disk();
    disk.create_dir(Path::new("/db")).unwrap();
    let file = disk.open(Path::new("/db/f"), OpenMode::Create).unwrap();
    file.write_all_at(b"x", 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("/db")).unwrap();
    assert!(disk.after_crash_all_lost().files().is_empty());
    assert_eq!(disk.after_crash_all_kept().files().len(), 1);
    disk.sync_dir(Path::new("/")).unwrap();
    assert_eq!(disk.after_crash_all_lost().read_file("/db/f").unwrap(), b"x");
}

#[test]
fn nothing_works_once_the_power_is_cut() {
    let disk = plain_disk();
    let path = Path::new("/f");
    let file = disk.open(path, OpenMode::Create).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    file.write_all_at(b"first", 0).unwrap();
    assert_eq!(disk.operations(), 3);
    disk.crash_after(4);
    file.sync_data().unwrap();
    assert!(!disk.crashed());
    let _lock = disk.lock(path, true).unwrap();
    let cut = |error: io::Error| assert!(PowerCut::caused(&error), "{error}");
    cut(file.write_all_at(b"other", 0).unwrap_err());
    assert!(disk.crashed());
    cut(file.read_at(&mut [0], 0).unwrap_err());
    cut(file.len().unwrap_err());
    cut(file.sync_data().unwrap_err());
    cut(disk.open(path, OpenMode::Read).unwrap_err());
    cut(disk.remove(path).unwrap_err());
    cut(disk.list(Path::new("/")).unwrap_err());
    let mut found = BTreeSet::new();
    disk.each_crash(100, |disk| {
        drop(disk.lock(path, true).unwrap());
        found.insert(disk.read_file(path).unwrap());
    });
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [b"first", b"other"]);
}

#[test]
fn a_killed_process_loses_nothing_but_a_later_power_cut_still_may() {
    let disk = plain_disk();
    let file = disk.open(Path::new("/f"), OpenMode::Create).unwrap();
    file.write_all_at(b"text", 0).unwrap();
    let restarted = disk.after_kill();
    assert_eq!(restarted.read_file("/f").unwrap(), b"text");
    assert!(restarted.after_crash_all_lost().files().is_empty());
    restarted.sync_dir(Path::new("/")).unwrap();
    assert_eq!(restarted.after_crash_all_lost().read_file("/f").unwrap(), b"");
    assert!(disk.after_crash_all_lost().files().is_empty());
}

#[test]
fn a_failed_flush_may_lose_what_a_later_one_confirms() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..100 {
        let disk = SimDisk::new(seed, SimOptions::default());
        let file = disk.open(Path::new("/f"), OpenMode::Create).unwrap();
        file.write_all_at(b"old", 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        file.write_all_at(b"new", 0).unwrap();
        disk.inject(Fault::new(Call::Sync, FaultKind::Io));
        assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(libc::EIO));
        let seen = disk.read_file("/f").unwrap();
        file.sync_data().unwrap();
        let left = disk.after_crash_all_kept().read_file("/f").unwrap();
        // What is written again is flushed again.
        file.write_all_at(b"new", 0).unwrap();
        file.sync_data().unwrap();
        assert_eq!(disk.after_crash_all_lost().read_file("/f").unwrap(), b"new");
        outcomes.insert((seen, left));
    }
    let (old, new) = (b"old".to_vec(), b"new".to_vec());
    let expected = [(new.clone(), new.clone()), (new, old.clone()), (old.clone(), old)];
    assert_eq!(outcomes, BTreeSet::from(expected));
}

#[test]
fn faults_hit_the_call_they_are_meant_for() {
    let disk = plain_disk();
    let one = disk.open(Path::new("/one"), OpenMode::Create).unwrap();
    let two = disk.open(Path::new("/two"), OpenMode::Create).unwrap();
    disk.inject(
        Fault::new(Call::Write, FaultKind::Io)
            .on("/two")
            .after(1)
            .times(2),
    );
    for _ in 0..4 {
        one.write_all_at(b"x", 0).unwrap();
    }
    let results: Vec<bool> = (0..5).map(|_| two.write_at(b"x", 0).is_ok()).collect();
    assert_eq!(results, [true, false, false, true, true]);

    disk.inject(Fault::new(Call::Read, FaultKind::Io).forever());
    assert!((0..5).all(|_| one.read_at(&mut [0], 0).is_err()));
    disk.clear_faults();
    one.write_all_at(&[7; 2000], 0).unwrap();
    disk.inject(Fault::new(Call::Read, FaultKind::Short));
    disk.inject(Fault::new(Call::Write, FaultKind::Short));
    assert!((1..2000).contains(&one.read_at(&mut [0; 2000], 0).unwrap()));
    assert!((1..2000).contains(&one.write_at(&[8; 2000], 0).unwrap()));

    disk.inject(Fault::new(Call::Open, FaultKind::NoSpace));
    let refused = disk.open(Path::new("/three"), OpenMode::Create).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::ENOSPC));
    assert!(!disk.exists(Path::new("/three")).unwrap());
    disk.inject(Fault::new(Call::Name, FaultKind::Io).on("/one"));
    assert!(disk.rename(Path::new("/one"), Path::new("/four")).is_err());
    assert!(disk.exists(Path::new("/one")).unwrap());
    disk.inject(Fault::new(Call::SyncDir, FaultKind::Io));
    assert!(disk.sync_dir(Path::new("/")).is_err());
    assert!(disk.after_crash_all_lost().files().is_empty());
    disk.inject(Fault::new(Call::Resize, FaultKind::NoSpace));
    assert!(one.set_len(5).is_err());
    assert_eq!(one.len().unwrap(), 2000);
}

#[test]
fn short_and_interrupted_calls_are_retried() {
    let options = SimOptions {
        short_io_one_in: 2,
        interrupt_one_in: 3,
        ..SimOptions::default()
    };
    let disk = SimDisk::new(3, options);
    let file = disk.open(Path::new("/f"), OpenMode::Create).unwrap();
    let bytes: Vec<u8> = (0..50_000).map(|i| (i % 251) as u8).collect();
    file.write_all_at(&bytes, 17).unwrap();
    let mut read = vec![0; bytes.len()];
    file.read_exact_at(&mut read, 17).unwrap();
    assert_eq!(read, bytes);
    assert!(disk.operations() > 3);
}

#[test]
fn a_full_disk_says_so_and_works_again_when_space_is_freed() {
    let disk = SimDisk::new(
        1,
        SimOptions {
            space: Some(8192),
            ..SimOptions::default()
        },
    );
    let full = |error: io::Error| assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    let file = disk.open(Path::new("/f"), OpenMode::Create).unwrap();
    file.set_len(1 << 40).unwrap();
    file.write_all_at(&[1; 4096], 0).unwrap();
    assert_eq!(disk.used(), 4096);
    // Half of it fits: a short write, and then the error.
    assert_eq!(file.write_at(&[2; 8192], 1 << 20).unwrap(), 4096);
    full(file.write_at(&[2; 512], 1 << 30).unwrap_err());
    full(file.allocate(1 << 30, 4096).unwrap_err());
    file.write_all_at(&[3; 4096], 0).unwrap();
    assert_eq!(disk.used(), 8192);

    disk.set_space(Some(8704));
    file.write_all_at(&[4; 512], 1 << 30).unwrap();
    full(file.write_at(&[2; 512], 2 << 30).unwrap_err());
    file.punch_hole(0, 4096).unwrap();
    assert_eq!(disk.used(), 4608);
    file.allocate(0, 4096).unwrap();
    full(file.write_at(&[2; 512], 2 << 30).unwrap_err());
    file.write_all_at(&[5; 4096], 0).unwrap();

    // A removed file gives its space back once nobody has it open.
    disk.remove(Path::new("/f")).unwrap();
    let other = disk.open(Path::new("/g"), OpenMode::Create).unwrap();
    full(other.write_at(&[6; 512], 0).unwrap_err());
    drop(file);
    other.write_all_at(&[6; 8192], 0).unwrap();
    full(
        disk.after_kill()
            .open(Path::new("/g"), OpenMode::Write)
            .unwrap()
            .allocate(1 << 20, 1024)
            .unwrap_err(),
    );
}

#[test]
fn rot_is_on_the_medium() {
    let disk = plain_disk();
    disk.write_file("/f", b"hello").unwrap();
    disk.flip("/f", 1, 0x20).unwrap();
    assert_eq!(disk.after_crash_all_lost().read_file("/f").unwrap(), b"hEllo");
    assert!(disk.flip("/f", 5, 1).is_err());
    disk.truncate("/f", 3).unwrap();
    assert_eq!(disk.after_crash_all_lost().read_file("/f").unwrap(), b"hEl");
    disk.write_file("/f", b"other").unwrap();
    assert_eq!(disk.after_crash(9).read_file("/f").unwrap(), b"other");
    assert!(disk.write_file("/no/f", b"").is_err());
    assert!(disk.read_file("/no").is_err());
}

#[test]
fn a_lock_names_this_process_and_ends_with_the_crash() {
    let disk = plain_disk();
    let path = Path::new("/lock");
    let _held = disk.lock(path, true).unwrap();
    let error = disk.lock(path, true).err().unwrap();
    let held = error.get_ref().unwrap().downcast_ref::<LockHeld>().unwrap();
    assert_eq!(held.pid, Some(std::process::id()));
    disk.crash();
    let found = disk.after_crash_all_kept();
    drop(found.lock(path, true).unwrap());
}

#[test]
fn the_same_seed_gives_the_same_disk() {
    let run = |seed| {
        let disk = plain_disk();
        for i in 0..20u8 {
            let file = disk.open(Path::new(&format!("/{i}")), OpenMode::Create).unwrap();
            file.write_all_at(&[i; 3000], 0).unwrap();
        }
        let found = disk.after_crash(seed);
        let contents = |path| found.read_file(path).unwrap();
        found
            .files()
            .into_iter()
            .map(|path| (path.clone(), contents(path)))
            .collect::<Vec<_>>()
    };
    assert_eq!(run(5), run(5));
    assert!((0..20).any(|seed| run(seed) != run(5)));
}

#[test]
fn operations_are_remembered_when_asked_for() {
    let disk = SimDisk::new(
        1,
        SimOptions {
            history: true,
            ..SimOptions::default()
        },
    );
    let file = disk.open(Path::new("/f"), OpenMode::Create).unwrap();
    file.write_all_at(b"x", 7).unwrap();
    disk.crash_after(2);
    file.sync_data().unwrap_err();
    assert_eq!(
        disk.history(),
        ["0: Open /f (created)", "1: Write /f 7+1", "2: Sync /f: Last"]
    );
}

#[test]
fn a_file_never_flushed_takes_bounded_memory() {
    let disk = plain_disk();
    let file = disk.open(Path::new("/f"), OpenMode::Create).unwrap();
    for i in 0..300_000u64 {
        file.write_all_at(&i.to_le_bytes(), i % 64 * 8).unwrap();
    }
    let kept = disk.after_crash_all_kept().read_file("/f").unwrap();
    assert_eq!(kept, disk.read_file("/f").unwrap());
}

#[test]
fn files_can_be_used_from_many_threads() {
    let disk = plain_disk();
    std::thread::scope(|scope| {
        for t in 0..4 {
            let disk = &disk;
            scope.spawn(move || {
                for i in 0..200 {
                    let path = format!("/{t}-{}", i % 3);
                    let file = disk.open(Path::new(&path), OpenMode::Create).unwrap();
                    file.write_all_at(&[t; 600], 0).unwrap();
                    file.sync_data().unwrap();
                    drop(file);
                    disk.sync_dir(Path::new("/")).unwrap();
                    if i % 3 == 2 {
                        disk.remove(Path::new(&path)).unwrap();
                    }
                    let _ = disk.after_crash(i);
                }
            });
        }
    });
    for path in disk.files() {
        let bytes = disk.read_file(&path).unwrap();
        assert!(bytes.len() == 600 && bytes.iter().all(|&b| b == bytes[0]));
    }
}
