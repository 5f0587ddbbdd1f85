//! Power cuts at every operation, again during recovery and after it: what is found is always a prefix of what was appended,
//! and has all that was acknowledged.

use weald_vfs::{Call, Fault, FaultKind, SimDisk, SimOptions};

use super::*;

/// What the world outside of the log knows.
#[derive(Clone, Default)]
struct Told {
    /// Everything handed to the log, whether it said that it took it or not.
    appended: Vec<Commit>,
    acknowledged: usize,
    checkpoint: Lsn,
    next_txid: u64,
}

/// How a history is played.
#[derive(Clone, Copy, PartialEq)]
enum Play {
    Honest,
    /// Commits are acknowledged without a flush: the tests must notice.
    WithoutFlush,
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

impl Told {
    fn append(&mut self, wal: &Wal, len: usize) -> Result<()> {
        self.next_txid += 1;
        let value = value(self.next_txid, len);
        let mut encoder = BatchEncoder::new();
        encoder.push(&Op::Put {
            tree: TreeId(16),
            key: b"key",
            entry: Entry {
                value: Value::Inline(&value),
                expires: None,
            },
        });
        let mut batch = encoder.finish()?;
        let end = wal.end().plus(batch.frame_len() as u64);
        self.appended.push(Commit {
            txid: self.next_txid,
            end,
            value,
        });
        assert_eq!(
            wal.append(TxId(self.next_txid), &mut batch, way(self.next_txid))?,
            end
        );
        Ok(())
    }

    fn flush(&mut self, wal: &Wal, play: Play) -> Result<()> {
        if play == Play::Honest {
            wal.flush(wal.end())?;
        }
        self.acknowledged = self.appended.len();
        Ok(())
    }

    fn play(&mut self, wal: &Wal, seed: u64, play: Play) -> Result<()> {
        let mut dice = Dice(seed);
        for _ in 0..30 {
            match dice.below(12) {
                0..=5 => {
                    let len = [20, 400, 3000, 25_000][(dice.below(30) / 9) as usize];
                    self.append(wal, len as usize)?;
                }
                6..=8 => self.flush(wal, play)?,
                9 => drop(wal.prepare()?),
                10 => {
                    self.flush(wal, play)?;
                    let kept = dice.below(4) as usize;
                    if let Some(commit) = self.appended.iter().rev().nth(kept) {
                        self.checkpoint = self.checkpoint.max(commit.end);
                    }
                    wal.recycle_before(self.checkpoint)?;
                }
                _ => {
                    self.flush(wal, play)?;
                    if dice.below(3) == 0 {
                        self.checkpoint = wal.end();
                        wal.remove_all(self.checkpoint)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether `found` can be what is left; if so, the world goes on from there.
    fn settle(&mut self, found: &[Commit]) -> Result<(), String> {
        let start = self
            .appended
            .iter()
            .position(|c| c.end > self.checkpoint)
            .unwrap_or(self.appended.len());
        let expected = &self.appended[start..];
        if found.len() > expected.len() || *found != expected[..found.len()] {
            let found: Vec<_> = found.iter().map(|c| c.txid).collect();
            let expected: Vec<_> = expected.iter().map(|c| c.txid).collect();
            return Err(format!("{found:?} is not a prefix of {expected:?}"));
        }
        let kept = start + found.len();
        if kept < self.acknowledged {
            return Err(format!(
                "of {} acknowledged commits {kept} are left",
                self.acknowledged
            ));
        }
        self.appended.truncate(kept);
        self.acknowledged = kept;
        Ok(())
    }
}

fn sim(disk: &SimDisk) -> Arc<dyn Vfs> {
    Arc::new(disk.clone())
}

/// Opens the log and plays on; any error must be the power cut or what follows from it.
fn epoch(disk: &SimDisk, told: &mut Told, seed: u64, play: Play) -> Result<(), String> {
    let (wal, found) = match open_as(sim(disk), config(), told.checkpoint, false) {
        Ok(opened) => opened,
        Err(_) if disk.crashed() => return Ok(()),
        Err(e) => return Err(format!("the log can't be opened: {e}")),
    };
    told.settle(&found)?;
    match told.play(&wal, seed, play) {
        Err(e) if !disk.crashed() => Err(format!("{e}")),
        _ => Ok(()),
    }
}

/// Plays a history with a power cut at operation `at`, if it gets there, then goes through further cuts and recoveries.
fn cut(at: u64, seed: u64, play: Play) -> Result<bool, String> {
    let disk = SimDisk::new(seed, SimOptions::default());
    disk.crash_after(at);
    let mut told = Told::default();
    epoch(&disk, &mut told, seed, play)?;
    if !disk.crashed() {
        return Ok(false);
    }
    let mut dice = Dice(seed ^ at << 20);
    let found = [
        disk.after_crash_all_lost(),
        disk.after_crash_all_kept(),
        disk.after_kill(),
    ]
    .into_iter()
    .chain([1, 2, 3].map(|i| disk.after_crash(seed << 32 | at << 8 | i)));
    for disk in found {
        let mut told = told.clone();
        let mut disk = disk;
        // Recovery and a little more, cut as well, and again.
        for round in 0..2 {
            disk.crash_after(dice.below(15) * (1 + dice.below(8)));
            epoch(&disk, &mut told, seed + 1 + round, play)?;
            disk = if dice.below(4) == 0 {
                disk.after_kill()
            } else {
                disk.after_crash(dice.below(1 << 30))
            };
        }
        epoch(&disk, &mut told, seed + 9, play)?;
        // What was visited is durable, acknowledged or not.
        let (_, found) = open_as(sim(&disk), config(), told.checkpoint, false).map_err(|e| e.to_string())?;
        told.settle(&found)?;
        let lost = disk.after_crash_all_lost();
        let (_, found) = open_as(sim(&lost), config(), told.checkpoint, false).map_err(|e| e.to_string())?;
        told.settle(&found)?;
    }
    Ok(true)
}

fn every_cut(seed: u64, play: Play) -> Result<u64, String> {
    for at in 0.. {
        match cut(at, seed, play) {
            Ok(true) => {}
            Ok(false) => return Ok(at),
            Err(e) => return Err(format!("seed {seed}, cut at {at}: {e}")),
        }
    }
    unreachable!("every history ends")
}

#[test]
fn a_power_cut_at_any_operation_leaves_a_prefix_with_all_that_was_acknowledged() {
    let cuts: u64 = (0..CRASH_SEEDS)
        .map(|seed| every_cut(seed, Play::Honest).unwrap())
        .sum();
    assert!(cuts > CRASH_SEEDS * 30, "{cuts} cuts");
}

/// Each is a history of its own, cut at every operation.
const CRASH_SEEDS: u64 = 8;

#[test]
fn the_cuts_find_out_when_the_flush_is_left_out() {
    assert!((0..CRASH_SEEDS).any(|seed| every_cut(seed, Play::WithoutFlush).is_err()));
}

#[test]
fn every_state_after_a_cut_in_a_small_group_is_a_prefix() {
    let disk = SimDisk::new(1, SimOptions::default());
    let (wal, _) = open_as(sim(&disk), config(), Lsn(0), false).unwrap();
    let mut told = Told::default();
    told.append(&wal, 300).unwrap();
    told.flush(&wal, Play::Honest).unwrap();
    for _ in 0..6 {
        told.append(&wal, 700).unwrap();
    }
    let mut most = 0;
    let explored = disk.each_crash(5000, |disk| {
        let mut told = told.clone();
        let (wal, found) = open_as(sim(&disk), config(), Lsn(0), false).unwrap();
        told.settle(&found).unwrap();
        most = most.max(found.len());
        told.append(&wal, 700).unwrap();
        told.flush(&wal, Play::Honest).unwrap();
        let (_, found) = open_as(sim(&disk.after_crash_all_lost()), config(), Lsn(0), false).unwrap();
        told.settle(&found).unwrap();
    });
    assert!(explored.complete, "{explored:?}");
    assert_eq!(most, 7);
}

#[test]
fn a_failed_flush_that_pretends_to_have_written_takes_nothing_back() {
    for seed in 0..300 {
        let disk = SimDisk::new(seed, SimOptions::default());
        let mut told = Told::default();
        let mut dice = Dice(seed);
        let (wal, _) = open_as(sim(&disk), config(), Lsn(0), false).unwrap();
        disk.inject(Fault::new(Call::Sync, FaultKind::Io).after(dice.below(12)));
        // The process ends and begins again; the machine goes on, and with it what the system has in memory.
        let poisoned = told.play(&wal, seed, Play::Honest).is_err();
        drop(wal);
        disk.clear_faults();
        let (wal, found) = open_as(sim(&disk), config(), told.checkpoint, false).unwrap();
        told.settle(&found).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        told.append(&wal, 20).unwrap();
        told.flush(&wal, Play::Honest).unwrap();
        let lost = disk.after_crash_all_lost();
        let reopened = open_as(sim(&lost), config(), told.checkpoint, false);
        let (_, found) = reopened.unwrap_or_else(|e| panic!("seed {seed}, poisoned {poisoned}: {e}"));
        told.settle(&found).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    }
}
