//! Benchmarks of `weald serve` beside redis-server, by redis-benchmark.
//!
//! ```text
//!  programs  the two servers, and what is asked of them
//!  load      one run of redis-benchmark, and what it printed
//!  memory    what a million keys take
//! ```
//!
//! Both servers run all the time, but only one is asked at a time, and the next row waits until what the last one left behind is done. Not durable is `--durability
//! none` against no persistence; durable is `--durability immediate` against `appendonly yes` with `appendfsync always`. CPU time is the server's, per request, what
//! it did behind the replies included.

mod load;
mod memory;
mod programs;

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::args::{names, number, numbers};
use crate::engine::{Error, Result};
use load::{Figures, Row, Test};
use programs::Program;

const NAMES: [&str; 2] = ["weald", "redis"];

/// What the command `server` was asked to be.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    names: Vec<String>,
    weald: PathBuf,
    connections: Vec<u64>,
    pipelines: Vec<u64>,
    sizes: Vec<u64>,
    durable: Vec<bool>,
    seconds: u64,
    memory_keys: u64,
    dir: PathBuf,
    markdown: Option<PathBuf>,
}

impl Asked {
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Asked> {
        let mut asked = Asked {
            names: NAMES.map(str::to_owned).to_vec(),
            weald: std::env::current_exe()?.with_file_name("weald"),
            connections: vec![1, 50, 500],
            pipelines: vec![1, 16, 128],
            sizes: vec![16, 1024, 65536],
            durable: vec![false, true],
            seconds: 2,
            memory_keys: 1_000_000,
            dir: std::env::temp_dir(),
            markdown: None,
        };
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--servers" => asked.names = names(&value, &NAMES)?,
                "--weald" => asked.weald = value.into(),
                "--connections" => asked.connections = numbers(&value)?,
                "--pipelines" => asked.pipelines = numbers(&value)?,
                "--sizes" => asked.sizes = numbers(&value)?,
                "--durable" => asked.durable = durable(&value)?,
                "--seconds" => asked.seconds = number(&value)?,
                "--memory-keys" if value == "none" => asked.memory_keys = 0,
                "--memory-keys" => asked.memory_keys = number(&value)?,
                "--dir" => asked.dir = value.into(),
                "--markdown" => asked.markdown = Some(value.into()),
                _ => return Err(format!("no option {name:?}; try --help").into()),
            }
        }
        Ok(asked)
    }
}

fn durable(value: &str) -> Result<Vec<bool>> {
    match value {
        "yes" => Ok(vec![true]),
        "no" => Ok(vec![false]),
        "both" => Ok(vec![false, true]),
        _ => Err(Error::from(format!("{value:?} is none of yes, no, both"))),
    }
}

/// Measures row by row, and prints the tables as they grow.
pub(crate) fn run(asked: &Asked) -> Result<()> {
    if !crate::servers::is_installed("redis-benchmark") {
        return Err("redis-benchmark is not installed (package redis-tools)".into());
    }
    let names = programs::installed(asked);
    let mut out = String::new();
    let mut say = |text: String| {
        print!("{text}");
        out.push_str(&text);
    };
    say(heading(&names));
    for &durable in &asked.durable {
        for &size in &asked.sizes {
            let mut servers = programs::start(asked, &names, durable)?;
            for row in rows(asked, size, durable) {
                let figures = measure(asked, &mut servers, &row)?;
                say(line(&row, &figures));
            }
        }
    }
    if asked.memory_keys > 0 {
        say(memory::table(asked, &names)?);
    }
    match &asked.markdown {
        Some(path) => Ok(std::fs::write(path, out)?),
        None => Ok(()),
    }
}

/// The rows of a size: all of SET first, so that GET finds what it asks for.
fn rows(asked: &Asked, size: u64, durable: bool) -> Vec<Row> {
    let tests: &[Test] = if durable {
        &[Test::Set]
    } else {
        &[Test::Set, Test::Get]
    };
    let mut rows = Vec::new();
    for &test in tests {
        for &connections in &asked.connections {
            for &pipeline in &asked.pipelines {
                rows.push(Row {
                    test,
                    connections,
                    pipeline,
                    size,
                    durable,
                });
            }
        }
    }
    rows.retain(Row::fits);
    rows
}

fn measure(asked: &Asked, servers: &mut [Program], row: &Row) -> Result<Vec<Figures>> {
    let mut all = Vec::new();
    for server in servers {
        all.push(load::run(server, row, asked.seconds).map_err(|e| format!("{row}: {e}"))?);
        server.settle()?;
    }
    Ok(all)
}

fn heading(names: &[&str]) -> String {
    let mut text = String::from("| `redis-benchmark` |");
    for name in names {
        let _ = write!(text, " {name} | p50 / p99 / p99.9 | CPU |");
    }
    if names.len() == 2 {
        text.push_str(" ratio | of CPU |");
    }
    let columns = 1 + 3 * names.len() + if names.len() == 2 { 2 } else { 0 };
    let _ = writeln!(text, "\n|{}", " --- |".repeat(columns));
    text
}

fn line(row: &Row, figures: &[Figures]) -> String {
    let mut text = format!("| {row} |");
    for one in figures {
        let _ = write!(
            text,
            " {}/s | {} / {} / {} ms | {:.2} µs |",
            crate::report::amount(one.rate),
            one.p50,
            one.p99,
            one.p999,
            one.cpu_us
        );
    }
    if let [ours, theirs] = figures {
        let _ = write!(
            text,
            " {:.2} | {:.2} |",
            ours.rate / theirs.rate,
            ours.cpu_us / theirs.cpu_us
        );
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Asked> {
        Asked::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_understood_or_refused() {
        let asked =
            parse("--servers redis --connections 1,2 --sizes 16 --durable no --memory-keys none").unwrap();
        assert_eq!((asked.names.len(), asked.memory_keys), (1, 0));
        assert_eq!((asked.connections, asked.sizes), (vec![1, 2], vec![16]));
        assert_eq!(asked.durable, [false]);
        for line in [
            "--servers x",
            "--sizes",
            "--sizes 0",
            "--durable maybe",
            "--fast yes",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn rows_are_all_that_fit_into_the_memory_of_the_client() {
        let asked = parse("").unwrap();
        assert_eq!(rows(&asked, 16, false).len(), 18);
        assert_eq!(rows(&asked, 16, true).len(), 9);
        let large = rows(&asked, 65536, true);
        assert!(large.iter().all(|row| row.connections * row.pipeline < 500 * 128));
        assert_eq!(large.len(), 8);
    }

    #[test]
    fn a_line_has_a_ratio_where_there_are_two() {
        let row = &rows(&parse("").unwrap(), 16, true)[0];
        let figures = |rate| Figures {
            rate,
            p50: "0.1".to_owned(),
            p99: "0.2".to_owned(),
            p999: "0.3".to_owned(),
            cpu_us: 4.0,
        };
        assert_eq!(
            line(row, &[figures(3000.0), figures(2000.0)]),
            "| SET -c 1 -P 1 -d 16 -r 100000, durable | 3.0k/s | 0.1 / 0.2 / 0.3 ms | 4.00 µs | 2.0k/s | 0.1 / 0.2 / 0.3 ms | 4.00 µs | 1.50 | 1.00 |\n"
        );
        assert_eq!(
            heading(&["weald", "redis"])
                .lines()
                .last()
                .unwrap()
                .matches("---")
                .count(),
            9
        );
    }
}
