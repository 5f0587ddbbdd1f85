//! What one process does with one engine: fill a fresh database, then measure row by row.

mod commits;
mod crash;
mod growth;
mod large;
mod load;
mod mixed;
mod overwrite;
mod ycsb;

use std::path::Path;
use std::time::Duration;

pub(crate) use crash::READY;

use crate::args::Task;
use crate::engine::{Engine, Reader, Result, Settings};
use crate::measure::{Clock, Lap};
use crate::workload::{self, VALUE_BYTES};

/// Runs the scenario that the task names.
pub(crate) fn run<E: Engine>(task: &Task) -> Result<()> {
    let bench = Bench { task };
    match task.scenario.as_str() {
        "load" => load::random::<E>(&bench),
        "memory" => load::for_memory::<E>(&bench),
        "memory-reads" => load::memory::<E>(&bench),
        "sorted" => load::sorted::<E>(&bench),
        "commit" => commits::durable::<E>(&bench),
        "unsynced" => commits::unsynced::<E>(&bench),
        "beside" => mixed::beside::<E>(&bench),
        "ycsb" => ycsb::unsynced::<E>(&bench),
        "ycsb-durable" => ycsb::durable::<E>(&bench),
        "large" => large::values::<E>(&bench),
        "overwrite" => overwrite::everything::<E>(&bench),
        "growth" => growth::steps::<E>(&bench),
        "crash" => crash::fill::<E>(&bench),
        "crash-open" => crash::open::<E>(&bench),
        other => Err(format!("no scenario {other:?}").into()),
    }
}

/// What a scenario works with.
pub(crate) struct Bench<'t> {
    task: &'t Task,
}

impl Bench<'_> {
    fn keys(&self) -> u64 {
        self.task.keys
    }

    fn dir(&self) -> &Path {
        &self.task.dir
    }

    /// The longest that a row of single operations takes.
    fn limit(&self) -> Duration {
        Duration::from_secs(self.task.seconds)
    }

    /// Opens a database for this scenario.
    fn open<E: Engine>(&self, durable: bool) -> Result<E> {
        E::open(self.dir(), &Settings { durable })
    }

    /// Opens one that holds all keys already, in version 0.
    fn open_loaded<E: Engine>(&self, durable: bool) -> Result<E> {
        let db: E = self.open(durable)?;
        load_all(&db, 0..self.keys())?;
        Ok(db)
    }

    /// Prints a value of a row, and the CPU time of one operation in microseconds where that means something.
    fn value(&self, row: &str, value: f64, cpu_us: Option<f64>) {
        println!("{}", Measured::new(row, value, cpu_us).to_line());
    }

    /// Prints a row of operations per second.
    fn rate(&self, row: &str, ops: u64, lap: Lap) {
        let cpu_us = lap.cpu.as_secs_f64() * 1e6 / ops.max(1) as f64;
        self.value(row, ops as f64 / lap.wall.as_secs_f64(), Some(cpu_us));
    }

    /// Prints a row of megabytes per second.
    fn throughput(&self, row: &str, ops: u64, bytes: usize, lap: Lap) {
        let cpu_us = lap.cpu.as_secs_f64() * 1e6 / ops.max(1) as f64;
        let megabytes = ops as f64 * bytes as f64 / 1e6;
        self.value(row, megabytes / lap.wall.as_secs_f64(), Some(cpu_us));
    }

    /// Prints a row of milliseconds.
    fn milliseconds(&self, row: &str, lap: Lap) {
        let cpu_us = lap.cpu.as_secs_f64() * 1e6;
        self.value(row, lap.wall.as_secs_f64() * 1e3, Some(cpu_us));
    }
}

/// A line between the process that measures and the one that collects.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Measured {
    pub(crate) row: String,
    pub(crate) value: f64,
    pub(crate) cpu_us: Option<f64>,
}

impl Measured {
    fn new(row: &str, value: f64, cpu_us: Option<f64>) -> Measured {
        Measured {
            row: row.to_owned(),
            value,
            cpu_us,
        }
    }

    fn to_line(&self) -> String {
        let cpu = self.cpu_us.map_or("-".to_owned(), |cpu| cpu.to_string());
        format!("row\t{}\t{}\t{cpu}", self.row, self.value)
    }

    /// `None` for a line that is something else.
    pub(crate) fn from_line(line: &str) -> Option<Measured> {
        let mut parts = line.strip_prefix("row\t")?.split('\t');
        Some(Measured {
            row: parts.next()?.to_owned(),
            value: parts.next()?.parse().ok()?,
            cpu_us: parts.next()?.parse().ok(),
        })
    }
}

/// Puts keys in one transaction.
fn load_all<E: Engine>(db: &E, keys: impl Iterator<Item = u64>) -> Result<()> {
    db.write(|tx| {
        let mut value = [0; VALUE_BYTES];
        for n in keys {
            workload::fill(n, 0, &mut value);
            tx.put(&workload::key(n), &value)?;
        }
        Ok(())
    })
}

/// Reads the n-th key and verifies it; the version that was found.
fn read_verified(reader: &impl Reader, n: u64) -> Result<u32> {
    let mut version = None;
    reader.get(&workload::key(n), |value| {
        version = workload::version_of(n, value, VALUE_BYTES)
    })?;
    version.ok_or_else(|| wrong_read(n))
}

#[cold]
fn wrong_read(n: u64) -> crate::engine::Error {
    format!("key {n} is missing or wrong").into()
}

/// Runs `each` until `limit` is over or it has run `max` times; how often it ran.
fn repeat(clock: &Clock, limit: Duration, max: u64, mut each: impl FnMut(u64) -> Result<()>) -> Result<u64> {
    let mut done = 0;
    while done < max {
        each(done)?;
        done += 1;
        if done.is_multiple_of(32) && clock.elapsed() >= limit {
            break;
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measured_value_comes_through_a_line() {
        for cpu_us in [None, Some(0.25)] {
            let measured = Measured::new("get", 1_234_567.5, cpu_us);
            assert_eq!(Measured::from_line(&measured.to_line()), Some(measured));
        }
        assert_eq!(Measured::from_line("ready"), None);
        assert_eq!(Measured::from_line("row\tx"), None);
    }

    #[test]
    fn repeating_ends_by_count_or_by_time() {
        let clock = Clock::start();
        let never = Duration::from_secs(100);
        assert_eq!(repeat(&clock, never, 100, |_| Ok(())).unwrap(), 100);
        assert_eq!(repeat(&clock, Duration::ZERO, 100, |_| Ok(())).unwrap(), 32);
    }

    /// Every scenario on the engine that is always there, small.
    #[test]
    fn all_scenarios_run_and_measure_their_rows() {
        for scenario in crate::rows::scenarios() {
            if scenario == "crash" {
                // Ends only by being killed; the session's test has it.
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            let task = Task {
                engine: "weald".into(),
                scenario: scenario.into(),
                keys: 3000,
                seconds: 1,
                dir: dir.path().into(),
            };
            crate::engines::run(&task).unwrap_or_else(|e| panic!("{scenario}: {e}"));
        }
    }
}
