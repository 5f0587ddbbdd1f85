//! Benchmarks of verifiable trees beside other stores with a root hash.
//!
//! ```text
//!  rows     what is measured, and what Weald is to reach
//!  grove    the stores behind one interface, and what is measured of each
//!  nested   the same of trees in trees
//!  weald    Weald's trees, and the rows that only they have
//!  grovedb, jmt, nomt    the others, each behind a feature of its name
//! ```
//!
//! Costs are CPU time of the whole process per operation, background threads included, because wall time of a busy machine tells
//! nothing. No store flushes but NOMT, which can't be told not to; all survive the death of the process but jmt, which is in memory.

mod grove;
#[cfg(feature = "grovedb")]
mod grovedb;
#[cfg(feature = "jmt")]
mod jmt;
mod nested;
#[cfg(feature = "nomt")]
mod nomt;
mod report;
mod rows;
mod weald;

use std::path::PathBuf;

use crate::engine::{Error, Result};
use crate::measure::Clock;
use report::Report;

/// What the command `tree` was asked to be.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    items: Vec<u64>,
    stores: Vec<String>,
    rows: Vec<&'static str>,
    runs: u32,
    /// For Weald's Merkle pages; what a store takes by itself, if nothing was said.
    cache_bytes: Option<usize>,
    dir: PathBuf,
    json: Option<PathBuf>,
    markdown: Option<PathBuf>,
}

/// The stores that were built in.
const STORES: &[&str] = &[
    "weald",
    #[cfg(feature = "grovedb")]
    "grovedb",
    #[cfg(feature = "jmt")]
    "jmt",
    #[cfg(feature = "nomt")]
    "nomt",
];

/// What a measurement may use, and where its figures go.
struct Bench<'b> {
    asked: &'b Asked,
    store: &'b str,
    items: u64,
    dir: PathBuf,
    report: &'b mut Report,
}

impl Bench<'_> {
    fn wants(&self, row: &str) -> bool {
        self.asked.rows.contains(&row)
    }

    /// Items of the rows that need trees of their own.
    fn few_items(&self) -> u64 {
        self.items.min(20_000)
    }

    fn add(&mut self, row: &'static str, value: f64) {
        eprintln!("{} items, {}: {row} = {value:.3}", self.items, self.store);
        self.report.add(self.items, row, self.store, value);
    }

    /// Does `each` so many times, and adds what one takes in CPU time.
    fn cpu(&mut self, row: &'static str, times: u64, each: &mut dyn FnMut(u64) -> Result<()>) -> Result<()> {
        let clock = Clock::start();
        measured(times, each)?;
        let us = clock.lap().cpu.as_secs_f64() * 1e6 / times as f64;
        self.add(row, us);
        Ok(())
    }
}

/// A function of its own, so that a profiler can be told to look at nothing else.
#[inline(never)]
fn measured(times: u64, each: &mut dyn FnMut(u64) -> Result<()>) -> Result<()> {
    (0..times).try_for_each(each)
}

pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Asked> {
    let mut asked = Asked {
        items: vec![100_000],
        stores: STORES.iter().map(|name| (*name).to_owned()).collect(),
        rows: rows::ROWS.iter().map(|row| row.id).collect(),
        runs: 3,
        cache_bytes: None,
        dir: std::env::temp_dir(),
        json: None,
        markdown: None,
    };
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--items" => asked.items = value.split(',').map(crate::args::number).collect::<Result<_>>()?,
            "--stores" => asked.stores = value.split(',').map(store).collect::<Result<_>>()?,
            "--rows" => asked.rows = value.split(',').map(row).collect::<Result<_>>()?,
            "--runs" => asked.runs = u32::try_from(crate::args::number(&value)?)?,
            "--cache-mib" => asked.cache_bytes = Some(usize::try_from(crate::args::number(&value)? << 20)?),
            "--dir" => asked.dir = value.into(),
            "--json" => asked.json = Some(value.into()),
            "--markdown" => asked.markdown = Some(value.into()),
            _ => return Err(format!("no option {name:?}; try --help").into()),
        }
    }
    Ok(asked)
}

fn store(name: &str) -> Result<String> {
    if STORES.contains(&name) {
        Ok(name.to_owned())
    } else {
        let built = STORES.join(", ");
        Err(format!("no store {name:?} was built in, but: {built}").into())
    }
}

fn row(name: &str) -> Result<&'static str> {
    let row = rows::ROWS.iter().find(|row| row.id == name);
    row.map(|row| row.id)
        .ok_or_else(|| Error::from(format!("no row {name:?}")))
}

/// Measures what was asked for, and writes the report after each size.
pub(crate) fn run(asked: &Asked) -> Result<()> {
    let mut report = Report::default();
    for &items in &asked.items {
        for run in 0..asked.runs {
            for name in &asked.stores {
                let dir = asked
                    .dir
                    .join(format!("weald-bench-tree-{}-{run}-{name}", std::process::id()));
                std::fs::create_dir(&dir)?;
                let bench = Bench {
                    asked,
                    store: name,
                    items,
                    dir: dir.clone(),
                    report: &mut report,
                };
                let done = measure(bench);
                std::fs::remove_dir_all(&dir)?;
                if let Err(why) = done {
                    report.fail(items, name, &why.to_string());
                }
            }
        }
        report.write(asked)?;
    }
    print!("{}", report.to_markdown(&asked.stores));
    Ok(())
}

fn measure(mut bench: Bench<'_>) -> Result<()> {
    match bench.store {
        "weald" => {
            grove::measure::<weald::Trees>(&mut bench)?;
            weald::measure(&mut bench)
        }
        #[cfg(feature = "grovedb")]
        "grovedb" => {
            grove::measure::<grovedb::Groves>(&mut bench)?;
            grovedb::measure(&mut bench)
        }
        #[cfg(feature = "jmt")]
        "jmt" => grove::measure::<jmt::Jellyfish>(&mut bench),
        #[cfg(feature = "nomt")]
        "nomt" => grove::measure::<nomt::Trie>(&mut bench),
        other => Err(format!("no store {other:?}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> impl Iterator<Item = String> {
        line.split_whitespace().map(str::to_owned)
    }

    #[test]
    fn options_are_understood() {
        let asked = parse(words("--items 1_000,20 --rows get,prove --runs 1 --stores weald")).unwrap();
        assert_eq!(
            (asked.items, asked.rows, asked.runs),
            (vec![1000, 20], vec!["get", "prove"], 1)
        );
        for line in [
            "--items",
            "--items x",
            "--rows nothing",
            "--stores nothing",
            "--fast yes",
        ] {
            assert!(parse(words(line)).is_err(), "{line}");
        }
    }

    #[test]
    fn help_names_the_options_that_are_understood() {
        let help = crate::args::HELP
            .split_once("weald-bench tree")
            .expect("it is there")
            .1;
        let help = help.split("weald-bench hot").next().expect("there is something");
        let words = help.split(|c: char| c.is_whitespace() || c == ',');
        let mut named: Vec<&str> = words.filter(|word| word.starts_with("--")).collect();
        named.sort_unstable();
        let known = [
            "--cache-mib",
            "--dir",
            "--items",
            "--json",
            "--markdown",
            "--rows",
            "--runs",
            "--stores",
        ];
        assert_eq!(named, known);
        for (option, value) in known.iter().zip(["8", "x", "10", "x", "x", "get", "2", "weald"]) {
            assert!(parse(words_of(option, value)).is_ok(), "{option}");
        }
    }

    fn words_of(option: &str, value: &str) -> impl Iterator<Item = String> {
        [option.to_owned(), value.to_owned()].into_iter()
    }

    #[test]
    fn every_row_is_measured_and_reported() {
        let dir = tempfile::tempdir().unwrap();
        let mut asked = parse(words("--items 1000 --runs 1 --stores weald")).unwrap();
        asked.dir = dir.path().to_owned();
        asked.json = Some(dir.path().join("json"));
        asked.markdown = Some(dir.path().join("markdown"));
        run(&asked).unwrap();
        let table = std::fs::read_to_string(dir.path().join("markdown")).unwrap();
        let json = std::fs::read_to_string(dir.path().join("json")).unwrap();
        for row in rows::ROWS {
            assert!(json.contains(&format!("\"row\": \"{}\"", row.id)), "{json}");
            let line = table
                .lines()
                .find(|line| line.contains(row.label))
                .expect(row.label);
            assert!(!line.contains("–"), "{line}");
        }
        assert!(table.contains("| updates lost"), "{table}");
        assert!(!table.contains("Failed"), "{table}");
    }
}
