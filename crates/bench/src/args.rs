//! The command line.

use std::path::PathBuf;

use crate::cluster;
use crate::engine::{Error, Result};
use crate::engines;
use crate::hot;
use crate::rows;
use crate::server;
use crate::trees;

pub(crate) const HELP: &str = "\
Benchmarks of Weald, of its engine and hot layer beside others.

weald-bench engine [options]   one size, compared row by row
weald-bench growth [options]   how figures grow: 100 thousand, 1 and 10 million keys, 1, 2 and 4 threads, one run

  --keys N        keys of a database (1000000); several, with commas, show how figures grow
  --engines A,B   engines to run: all that were built in, by default
  --rows A,B      rows or scenarios to run: all by default, of `growth` only by that command
  --runs N        runs, of which the medians count (3)
  --seconds N     the longest that a row of single operations takes (4)
  --dir PATH      where databases are created (the system's temporary directory)
  --json PATH     write every figure there too
  --markdown PATH write the table there too
  --svg DIR       draw charts there too

weald-bench charts --json PATH --svg DIR   draws the charts of figures that were written before

weald-bench tree [options]
  --items N       items of a tree (100000); several, with commas, show how figures grow
  --stores A,B    stores to run: all that were built in, by default
  --rows A,B      rows to run: all by default
  --cache-mib N   memory for Weald's decoded pages (32)
  --runs, --dir, --json, --markdown as above
weald-bench hot [options]
  --keys N        keys of the large map (4000000)
  --rows A,B      rows whose names have one of these in them: all by default
  --runs N        runs, of which the least figure counts (3)
  --markdown PATH write the table there too

weald-bench cluster [options]  three nodes beside Redis with two replicas and etcd, where installed
  --clusters A,B  of weald-memory, weald-file, weald-served-memory, weald-served-file (servers of the program beside this one, see cargo build --release),
                  redis, etcd: all by default
  --clients A,B   tasks that write at the same time (1,50,1000)
  --depths A,B    keys that a task writes at a time (1,16)
  --seconds N     how long each writes (4)
  --keys A,B      sizes for which repair and a join are timed (1000,10000,100000), or none
  --store-workers N  threads of each of Weald's nodes that write and read data (2)
  --transport T   between Weald's nodes: tcp, udp, and with the feature transports tls, quic (tcp)
  --dir, --markdown as above

weald-bench server [options]   redis-benchmark on `weald serve` and on redis-server, where installed
  --servers A,B   of weald, redis: both by default
  --weald PATH    the program (weald beside this one)
  --connections A,B, --pipelines A,B, --sizes A,B   what rows are made of (1,50,500; 1,16,128; 16,1024,65536)
  --durable W     yes, no or both (both); durable rows are of SET alone
  --seconds N     about how long a row takes (2)
  --memory-keys N keys whose memory is measured (1000000), or none
  --dir, --markdown as above
";

/// What to do.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Engine(Asked),
    Tree(trees::Asked),
    Hot(hot::Asked),
    Charts { json: PathBuf, svg: PathBuf },
    Cluster(cluster::Asked),
    Server(server::Asked),
    Child(Task),
}

/// What a comparison was asked to be.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) keys: Vec<u64>,
    pub(crate) engines: Vec<String>,
    pub(crate) rows: Vec<&'static str>,
    pub(crate) runs: u32,
    pub(crate) seconds: u64,
    pub(crate) dir: PathBuf,
    pub(crate) json: Option<PathBuf>,
    pub(crate) markdown: Option<PathBuf>,
    pub(crate) svg: Option<PathBuf>,
}

/// What one process does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) engine: String,
    pub(crate) scenario: String,
    pub(crate) keys: u64,
    pub(crate) seconds: u64,
    pub(crate) dir: PathBuf,
}

pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Command> {
    let args: Vec<String> = args.collect();
    if args.iter().any(|arg| matches!(arg.as_str(), "--help" | "-h")) {
        return Ok(Command::Help);
    }
    let mut args = args.into_iter();
    match args.next().as_deref() {
        Some("engine") => Ok(Command::Engine(asked(args, engine_defaults())?)),
        Some("growth") => Ok(Command::Engine(asked(args, growth_defaults())?)),
        Some("tree") => Ok(Command::Tree(trees::parse(args)?)),
        Some("hot") => Ok(Command::Hot(hot::Asked::parse(args)?)),
        Some("charts") => charts(args),
        Some("cluster") => Ok(Command::Cluster(cluster::Asked::parse(args)?)),
        Some("server") => Ok(Command::Server(server::Asked::parse(args)?)),
        Some("child") => Ok(Command::Child(task(args)?)),
        None | Some("help") => Ok(Command::Help),
        Some(other) => Err(format!("no command {other:?}; try --help").into()),
    }
}

fn engine_defaults() -> Asked {
    let rows = rows::ROWS.iter().filter(|row| row.scenario != "growth");
    Asked {
        keys: vec![1_000_000],
        engines: engines::NAMES.iter().map(|name| (*name).to_owned()).collect(),
        rows: rows.map(|row| row.id).collect(),
        runs: 3,
        seconds: 4,
        dir: std::env::temp_dir(),
        json: None,
        markdown: None,
        svg: None,
    }
}

fn growth_defaults() -> Asked {
    Asked {
        keys: vec![100_000, 1_000_000, 10_000_000],
        rows: rows::of_growth(),
        runs: 1,
        seconds: 2,
        ..engine_defaults()
    }
}

fn asked(mut args: impl Iterator<Item = String>, mut asked: Asked) -> Result<Asked> {
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--keys" => asked.keys = value.split(',').map(number).collect::<Result<_>>()?,
            "--engines" => asked.engines = value.split(',').map(engine).collect::<Result<_>>()?,
            "--rows" => asked.rows = chosen_rows(&value)?,
            "--runs" => asked.runs = u32::try_from(number(&value)?)?,
            "--seconds" => asked.seconds = number(&value)?,
            "--dir" => asked.dir = value.into(),
            "--json" => asked.json = Some(value.into()),
            "--markdown" => asked.markdown = Some(value.into()),
            "--svg" => asked.svg = Some(value.into()),
            _ => return Err(format!("no option {name:?}; try --help").into()),
        }
    }
    Ok(asked)
}

fn charts(args: impl Iterator<Item = String>) -> Result<Command> {
    let args: Vec<String> = args.collect();
    match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--json", json, "--svg", svg] | ["--svg", svg, "--json", json] => Ok(Command::Charts {
            json: json.into(),
            svg: svg.into(),
        }),
        _ => Err("charts needs --json PATH and --svg DIR".into()),
    }
}

fn chosen_rows(names: &str) -> Result<Vec<&'static str>> {
    let mut chosen = Vec::new();
    for name in names.split(',') {
        let before = chosen.len();
        let matching = rows::ROWS
            .iter()
            .filter(|row| row.id == name || row.scenario == name);
        chosen.extend(matching.map(|row| row.id));
        if chosen.len() == before {
            return Err(format!("no row or scenario {name:?}").into());
        }
    }
    Ok(chosen)
}

fn engine(name: &str) -> Result<String> {
    if engines::NAMES.contains(&name) {
        Ok(name.to_owned())
    } else {
        let built = engines::NAMES.join(", ");
        Err(format!("no engine {name:?} was built in, but: {built}").into())
    }
}

pub(crate) fn number(text: &str) -> Result<u64> {
    match text.replace('_', "").parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(Error::from(format!("{text:?} is no number greater than zero"))),
    }
}

/// Numbers with commas between them.
pub(crate) fn numbers(text: &str) -> Result<Vec<u64>> {
    text.split(',').map(number).collect()
}

/// Names with commas between them, of those that there are.
pub(crate) fn names(text: &str, known: &[&str]) -> Result<Vec<String>> {
    let one = |name: &str| match known.contains(&name) {
        true => Ok(name.to_owned()),
        false => Err(Error::from(format!("no {name:?}, but: {}", known.join(", ")))),
    };
    text.split(',').map(one).collect()
}

impl Task {
    /// What [`parse`] makes this task of.
    pub(crate) fn to_args(&self) -> Vec<String> {
        vec![
            "child".to_owned(),
            self.engine.clone(),
            self.scenario.clone(),
            self.keys.to_string(),
            self.seconds.to_string(),
            self.dir.display().to_string(),
        ]
    }
}

fn task(args: impl Iterator<Item = String>) -> Result<Task> {
    let args: Vec<String> = args.collect();
    let [engine, scenario, keys, seconds, dir] = &args[..] else {
        return Err("a child needs an engine, a scenario, keys, seconds and a directory".into());
    };
    Ok(Task {
        engine: engine.clone(),
        scenario: scenario.clone(),
        keys: number(keys)?,
        seconds: number(seconds)?,
        dir: dir.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> impl Iterator<Item = String> {
        line.split_whitespace().map(str::to_owned)
    }

    #[test]
    fn options_are_understood() {
        let line = "engine --keys 1_000,20 --engines weald --rows get,sorted --runs 5 --json x --svg y";
        let Ok(Command::Engine(asked)) = parse(words(line)) else {
            panic!("not understood")
        };
        assert_eq!(asked.keys, [1000, 20]);
        assert_eq!(asked.rows, ["get", "load-sorted"]);
        assert_eq!(asked.runs, 5);
        assert_eq!(asked.json, Some(PathBuf::from("x")));
        assert_eq!(asked.svg, Some(PathBuf::from("y")));
    }

    #[test]
    fn charts_are_drawn_from_a_file_into_a_folder() {
        for line in ["charts --json x --svg y", "charts --svg y --json x"] {
            let Ok(Command::Charts { json, svg }) = parse(words(line)) else {
                panic!("not understood")
            };
            assert_eq!((json, svg), (PathBuf::from("x"), PathBuf::from("y")));
        }
    }

    #[test]
    fn help_is_given_wherever_it_is_asked_for() {
        for line in ["", "help", "--help", "cluster --help", "engine --keys 5 -h"] {
            assert!(matches!(parse(words(line)), Ok(Command::Help)), "{line}");
        }
    }

    #[test]
    fn growth_has_sizes_and_rows_of_its_own() {
        let Ok(Command::Engine(asked)) = parse(words("growth --engines weald")) else {
            panic!("not understood")
        };
        assert_eq!(asked.keys, [100_000, 1_000_000, 10_000_000]);
        assert!(asked.rows.contains(&"growth-mixed-4") && asked.rows.contains(&"open-crash"));
        assert!(!asked.rows.contains(&"get"));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in [
            "engines",
            "hot --keys",
            "hot --runs 0",
            "hot --fast yes",
            "engine --keys",
            "engine --keys 0",
            "engine --keys x",
            "engine --rows nothing",
            "engine --engines nothing",
            "engine --fast yes",
            "child weald load",
            "charts",
            "charts --json x",
        ] {
            assert!(parse(words(line)).is_err(), "{line}");
        }
    }

    #[test]
    fn a_task_comes_through_the_command_line() {
        let task = Task {
            engine: "weald".into(),
            scenario: "load".into(),
            keys: 10,
            seconds: 1,
            dir: "x".into(),
        };
        match parse(task.to_args().into_iter()) {
            Ok(Command::Child(parsed)) => assert_eq!(parsed, task),
            other => panic!("{other:?}"),
        }
    }
}
