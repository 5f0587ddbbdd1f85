//! `weald bench`: how fast this machine and this disk are, in a database of its own.

mod data;
mod work;

use std::path::Path;
use std::time::Duration;

use clap::Args;
use weald::Database;

use crate::cli::Outcome;
use crate::cli::failure::{Failure, Result};
use crate::cli::interrupt::Unwanted;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::{input, text};

use data::Data;
use work::Measured;

/// Measure how fast this machine and this disk are
///
/// A database is made in a directory beside the one that --db names, or here, and removed again; no other file is touched.
/// "durable" means that each commit has waited for the disk.
#[derive(Args, Debug)]
pub(crate) struct Bench {
    /// How many keys the database has
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    keys: u64,
    /// Bytes of a value; a key has 24
    #[arg(long, value_name = "N", default_value_t = 150, value_parser = clap::value_parser!(u32).range(8..=1_048_576))]
    value_bytes: u32,
    /// How long each kind of work is measured
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = text::duration)]
    time: Duration,
    /// Threads of the work that has several
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=256))]
    threads: u32,
    /// Write one object a line: work, operations, seconds, per_second, and microseconds p50_us, p99_us, max_us
    #[arg(long)]
    json: bool,
}

impl Bench {
    pub(crate) fn run(&self, db: Option<&Path>) -> Result<Outcome> {
        let place = db.map_or(Path::new("."), input::directory_of);
        let directory = tempfile::Builder::new()
            .prefix(".weald-bench-")
            .tempdir_in(place)
            .map_err(Failure::file("make a directory in", place))?;
        let _unwanted = Unwanted::new(directory.path());
        let path = directory.path().join("bench.weald");
        let data = Data::new(self.keys, self.value_bytes as usize);

        let mut out = Output::new();
        if !self.json {
            out.line(format_args!(
                "{} keys of {} bytes with values of {}, on {}\n",
                text::count(self.keys),
                data::KEY,
                text::size(u64::from(self.value_bytes)),
                std::fs::canonicalize(place).as_deref().unwrap_or(place).display(),
            ))?;
            out.line(format_args!(
                "{:<34}{:>12}{:>14}{:>10}{:>10}{:>10}",
                "work", "operations", "per second", "p50", "p99", "max"
            ))?;
        }
        let floor = directory.path().join("flush");
        self.show(&mut out, "write 4 KiB and flush, no database", |_| {
            work::flushes(&floor, self.time).map_err(Failure::file("write", &floor))
        })?;
        let failed = |e| Failure::Database(path.clone(), Box::new(e));
        let db = Database::open(&path).map_err(failed)?;
        let mut measure = |name: &str, work: &dyn Fn(&Database) -> weald::Result<Measured>| {
            self.show(&mut out, name, |_| work(&db).map_err(failed))
        };
        measure("load, one durable commit", &|db| work::load(db, &data))?;
        measure("durable commits of 1", &|db| {
            work::commits(db, &data, self.time, 1, 1)
        })?;
        let name = format!("durable commits of 1, {} threads", self.threads);
        measure(&name, &|db| work::commits(db, &data, self.time, 1, self.threads))?;
        measure("durable commits of 1,000", &|db| {
            work::commits(db, &data, self.time, 1000, 1)
        })?;
        measure("random reads", &|db| work::reads(db, &data, self.time, true))?;
        measure("random reads of absent keys", &|db| {
            work::reads(db, &data, self.time, false)
        })?;
        measure("scan", &|db| work::scan(db, self.time))?;
        db.close().map_err(failed)?;
        if !self.json {
            let bytes = std::fs::metadata(&path).map_or(0, |meta| meta.len());
            out.line(format_args!(
                "\nThe file has {}; its keys and values alone are {}. Operations are keys; p50, p99 and max are those of commits.",
                text::size(bytes),
                text::size(self.keys * data.pair_bytes()),
            ))?;
        }
        out.finish()?;
        Ok(Outcome::Done)
    }

    /// Does the work, and shows what came of it at once.
    fn show(
        &self,
        out: &mut Output,
        name: &str,
        work: impl FnOnce(&Bench) -> Result<Measured>,
    ) -> Result<()> {
        let progress = Progress::spinner();
        progress.say(name);
        let measured = work(self)?;
        drop(progress);
        let rate = measured.per_second();
        let latency = measured.latency();
        if self.json {
            out.json(false, |object| {
                let object = object
                    .text("work", name)?
                    .number("operations", measured.operations)?
                    .fraction("seconds", measured.elapsed.as_secs_f64())?
                    .fraction("per_second", rate)?;
                let Some(latency) = latency else { return Ok(object) };
                let micros = |time: Duration| time.as_secs_f64() * 1e6;
                object
                    .fraction("p50_us", micros(latency.p50))?
                    .fraction("p99_us", micros(latency.p99))?
                    .fraction("max_us", micros(latency.max))
            })?;
        } else {
            let time = |time: Option<Duration>| time.map_or(String::new(), millis);
            out.line(format_args!(
                "{name:<34}{:>12}{:>14}{:>10}{:>10}{:>10}",
                text::count(measured.operations),
                text::count(rate as u64),
                time(latency.map(|l| l.p50)),
                time(latency.map(|l| l.p99)),
                time(latency.map(|l| l.max)),
            ))?;
        }
        out.flush()
    }
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}
