//! A comparison: a process for each run, scenario and engine, in turns.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::args::{Asked, Task};
use crate::engine::{Error, Result};
use crate::report::{Figures, Report};
use crate::rows;
use crate::scenarios::{Measured, READY};

/// Runs what was asked for and writes the report.
pub(crate) fn run(asked: &Asked) -> Result<()> {
    let mut report = Report::new(asked);
    for keys in &asked.keys {
        let mut figures = Figures::default();
        for run in 0..asked.runs {
            for scenario in chosen(asked) {
                // Engines take turns, each run beginning with another one, so that a noisy minute hits all.
                let turns = asked.engines.len();
                for i in 0..turns {
                    let engine = &asked.engines[(i + run as usize) % turns];
                    one(asked, *keys, run, scenario, engine, &mut figures);
                }
            }
        }
        report.add(*keys, figures);
        report.write(asked)?;
    }
    print!("{}", report.to_markdown());
    Ok(())
}

/// The scenarios that have a row that was asked for.
fn chosen(asked: &Asked) -> Vec<&'static str> {
    let has = |scenario: &&str| {
        asked
            .rows
            .iter()
            .filter_map(|id| rows::find(id))
            .any(|row| row.scenario == *scenario)
    };
    rows::scenarios().into_iter().filter(has).collect()
}

/// One process, and what it measured. A failure is noted: the others go on.
fn one(asked: &Asked, keys: u64, run: u32, scenario: &str, engine: &str, figures: &mut Figures) {
    let dir = asked
        .dir
        .join(format!("weald-bench-{}-{run}-{scenario}-{engine}", std::process::id()));
    let task = Task {
        engine: engine.to_owned(),
        scenario: scenario.to_owned(),
        keys,
        seconds: asked.seconds,
        dir: dir.clone(),
    };
    eprint!("{keys} keys, run {run}, {scenario}, {engine}:");
    match in_fresh_directory(&dir, &task) {
        Ok(measured) => {
            for one in measured {
                eprint!(" {}={:.6}", one.row, Short(one.value));
                figures.add(&one.row, engine, run, one.value, one.cpu_us);
            }
            eprintln!();
        }
        Err(why) => {
            eprintln!(" failed: {why}");
            figures.fail(scenario, engine, run, &why.to_string());
        }
    }
}

struct Short(f64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 >= 100.0 { write!(f, "{:.0}", self.0) } else { write!(f, "{:.3}", self.0) }
    }
}

fn in_fresh_directory(dir: &Path, task: &Task) -> Result<Vec<Measured>> {
    fs::create_dir(dir)?;
    let done = if task.scenario == "crash" { kill_and_open(task) } else { measure(task) };
    fs::remove_dir_all(dir)?;
    done
}

fn start(task: &Task) -> Result<Child> {
    Ok(Command::new(std::env::current_exe()?)
        .args(task.to_args())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?)
}

fn measure(task: &Task) -> Result<Vec<Measured>> {
    let output = start(task)?.wait_with_output()?;
    if !output.status.success() {
        return Err(failure(&String::from_utf8_lossy(&output.stderr)));
    }
    let lines = String::from_utf8(output.stdout)?;
    Ok(lines.lines().filter_map(Measured::from_line).collect())
}

/// Kills a process that fills a database as soon as it is ready, and has another one open what is left.
fn kill_and_open(task: &Task) -> Result<Vec<Measured>> {
    let mut child = start(task)?;
    let stdout = child.stdout.take().ok_or("a child without output")?;
    let mut lines = BufReader::new(stdout).lines();
    let ready = lines.any(|line| line.is_ok_and(|line| line == READY));
    // SIGKILL.
    child.kill()?;
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut said)?;
    }
    child.wait()?;
    if !ready {
        return Err(failure(&said));
    }
    measure(&Task {
        scenario: "crash-open".to_owned(),
        ..task.clone()
    })
}

fn failure(said: &str) -> Error {
    let said = said.lines().next_back().unwrap_or("it ended without a word");
    said.to_owned().into()
}
