//! The hot layer beside in-process maps and allocators, which share nothing between processes: what sharing costs.
//!
//! Everything runs in this process, in turns, and what counts is CPU time for each operation, the least of the runs: other programs on the machine disturb
//! that least. `maps` and `allocators` put what is compared behind one interface each, `traces` are the ones by which caches are judged.

mod allocators;
mod maps;
mod report;
mod traces;

use std::path::PathBuf;

use weald_hot::{PageSize, Region, RegionOptions, Session};

use crate::engine::{Error, Result};
use crate::measure::Clock;
use maps::{Key, MapUnderTest, key};
use report::Report;

/// What a comparison was asked to be.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Keys of the large map.
    pub(crate) keys: u64,
    pub(crate) runs: u32,
    /// Parts of row names; empty for all.
    pub(crate) rows: Vec<String>,
    pub(crate) markdown: Option<PathBuf>,
}

impl Asked {
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Asked> {
        let mut asked = Asked {
            keys: 4_000_000,
            runs: 3,
            rows: Vec::new(),
            markdown: None,
        };
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            let number = || match value.replace('_', "").parse::<u64>() {
                Ok(n) if n > 0 => Ok(n),
                _ => Err(Error::from(format!("{value:?} is no number greater than zero"))),
            };
            match name.as_str() {
                "--keys" => asked.keys = number()?,
                "--runs" => asked.runs = u32::try_from(number()?)?,
                "--rows" => asked.rows = value.split(',').map(str::to_owned).collect(),
                "--markdown" => asked.markdown = Some(value.into()),
                _ => return Err(format!("no option {name:?}; try --help").into()),
            }
        }
        Ok(asked)
    }

    fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|part| row.contains(part.as_str()))
    }

    /// Nanoseconds of CPU time for each of the operations that `run` counts, the least of the runs.
    fn least(&self, mut run: impl FnMut() -> Result<u64>) -> Result<f64> {
        let mut least = f64::MAX;
        for _ in 0..self.runs {
            let clock = Clock::start();
            let operations = run()?;
            least = least.min(clock.lap().cpu.as_nanos() as f64 / operations as f64);
        }
        Ok(least)
    }
}

/// Keys of the small map.
const SMALL: u64 = 4096;
/// Look-ups of a run.
const LOOKUPS: u64 = 2_000_000;

/// Runs the comparison, and prints it.
pub(crate) fn run(asked: &Asked) -> Result<()> {
    let mut report = Report::default();
    report.note(format!(
        "CPU time in nanoseconds for each operation, that of both threads where there are two, the least of {} runs; {SMALL} keys of 32 bytes with \
         values of 16, or {} where there are many. Shares are of the requests that a cache of 2000 items answered.",
        asked.runs, asked.keys
    ));
    allocators::measure(asked, &mut report)?;
    small_maps(asked, &mut report)?;
    large_maps(asked, &mut report)?;
    traces::measure(asked, &mut report)?;
    let text = report.markdown();
    print!("{text}");
    if let Some(path) = &asked.markdown {
        std::fs::write(path, text)?;
    }
    Ok(())
}

fn region(capacity: u64, page_size: PageSize) -> Result<Region> {
    Ok(Region::anonymous(&RegionOptions {
        capacity,
        page_size,
        ..Default::default()
    })?)
}

/// Numbers below `n` in an order that no prefetcher foresees.
fn scattered(n: u64) -> impl Iterator<Item = u64> {
    let mut state = 1u64;
    (0..).map(move |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(state) * u128::from(n)) >> 64) as u64
    })
}

fn look_up(map: &dyn MapUnderTest, keys: &[Key], found: bool) -> Result<u64> {
    let mut done = 0;
    while done < LOOKUPS {
        map.get_all(keys, found)?;
        done += keys.len() as u64;
    }
    Ok(done)
}

fn small_maps(asked: &Asked, report: &mut Report) -> Result<()> {
    let rows = [
        ("get, 4K keys", Some(12.0)),
        ("miss, 4K keys", None),
        ("two threads, reads, 4K keys", None),
        ("two threads, 95 % reads, 4K keys", Some(25.0)),
    ];
    if !rows.iter().any(|(row, _)| asked.wants(row)) {
        return Ok(());
    }
    let keys: Vec<Key> = scattered(SMALL).take(SMALL as usize).map(key).collect();
    let absent: Vec<Key> = (0..SMALL).map(|n| key(n + (1 << 40))).collect();
    for name in maps::NAMES {
        let map = maps::make(name, SMALL, PageSize::Base)?;
        map.fill(SMALL)?;
        for (row, target) in rows.into_iter().filter(|(row, _)| asked.wants(row)) {
            let figure = match row {
                "get, 4K keys" => asked.least(|| look_up(&*map, &keys, true))?,
                "miss, 4K keys" => asked.least(|| look_up(&*map, &absent, false))?,
                _ => {
                    let writes = if row.contains("95") { 5 } else { 0 };
                    asked.least(|| map.two_threads(&keys, 300, writes))?
                }
            };
            report.add(row, "ns", target, name, figure);
        }
    }
    Ok(())
}

fn large_maps(asked: &Asked, report: &mut Report) -> Result<()> {
    let rows = [
        ("get, many keys", None),
        ("miss, many keys", Some(50.0)),
        ("get_many of 32, many keys", Some(40.0)),
        ("insert, many keys", None),
    ];
    if !rows.iter().any(|(row, _)| asked.wants(row)) {
        return Ok(());
    }
    let count = 1_000_000.min(asked.keys) as usize;
    let keys: Vec<Key> = scattered(asked.keys).take(count).map(key).collect();
    let absent: Vec<Key> = scattered(asked.keys)
        .take(count)
        .map(|n| key(n + (1 << 40)))
        .collect();
    let pages = [("4K", PageSize::Base), ("2M", PageSize::Huge2M)];
    for (name, (suffix, page_size)) in maps::NAMES
        .iter()
        .flat_map(|name| pages.map(|page| (name, page)))
        .filter(|(name, (suffix, _))| **name == "weald" || *suffix == "4K")
    {
        let map = maps::make(name, asked.keys, page_size)?;
        let shown = match (*name, suffix) {
            ("weald", "2M") if map.pages() == 2 << 20 => "weald pages of 2M",
            ("weald", "2M") => {
                report.note(
                    "Pages of 2M could not be had and are skipped; huge ones were advised instead, which the kernel gives or not."
                        .to_owned(),
                );
                "weald huge pages advised"
            }
            (name, _) => name,
        };
        let clock = Clock::start();
        map.fill(asked.keys)?;
        let insert = clock.lap().cpu.as_nanos() as f64 / asked.keys as f64;
        for (row, target) in rows.into_iter().filter(|(row, _)| asked.wants(row)) {
            let figure = match row {
                "insert, many keys" => insert,
                "get, many keys" => asked.least(|| look_up(&*map, &keys, true))?,
                "miss, many keys" => asked.least(|| look_up(&*map, &absent, false))?,
                _ => match map.as_weald() {
                    Some(session) => asked.least(|| get_many(session, &keys))?,
                    None => continue,
                },
            };
            report.add(row, "ns", target, shown, figure);
            if row == "get, many keys" {
                report.compare(row, "dashmap", 1.1);
            }
        }
    }
    Ok(())
}

fn get_many(session: &Session, keys: &[Key]) -> Result<u64> {
    let mut found = 0;
    for chunk in keys.chunks(32) {
        session.get_many(chunk, |_, value| found += u64::from(value.is_some()))?;
    }
    if found == keys.len() as u64 {
        Ok(found)
    } else {
        Err("a key was not found".into())
    }
}
