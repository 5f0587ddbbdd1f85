//! Benchmarks of three nodes beside Redis with two replicas and etcd, all on this machine.
//!
//! ```text
//!  load     tasks that write, alone or several keys at a time
//!  weald    three nodes in this process, and how long repair and a join take
//!  served   three servers of Weald
//!  resp     a client of Redis's protocol, for these and for
//!  redis    one Redis with two replicas, each write followed by WAIT 1
//!  etcd     three members, by their JSON gateway
//! ```
//!
//! Each write is on two of three nodes when it returns. CPU is that of all nodes, per key. That of `weald-memory` and `weald-file` includes the tasks that ask, which run in the nodes' process;
//! for the others only the servers count. Redis and what is called memory keep what they acknowledge there, etcd and what is called file on the disk. etcd's gateway costs it more than its own protocol would.

mod etcd;
mod load;
mod redis;
mod resp;
mod served;
mod weald;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use weald_cluster::TransportKind;

use crate::args::{names, number, numbers};
use crate::engine::{Error, Result};

/// Something that takes writes.
trait Cluster: Sync {
    /// One of many that write at the same time.
    fn client(&self, task: usize) -> Result<Box<dyn Client + '_>>;

    /// CPU time of all nodes so far.
    fn cpu(&self) -> Result<Duration>;
}

trait Client {
    /// Writes these keys, and returns when all are on two nodes.
    fn write(&mut self, keys: &[u64]) -> Result<()>;
}

/// Keys and values are made from numbers.
const KEYS: u64 = 100_000;
const VALUE: [u8; 100] = [b'v'; 100];
const NAMES: [&str; 6] = [
    "weald-memory",
    "weald-file",
    "weald-served-memory",
    "weald-served-file",
    "redis",
    "etcd",
];

fn key(number: u64) -> [u8; 16] {
    let mut key = *b"key-000000000000";
    let mut rest = number;
    for digit in key[4..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

/// What the command `cluster` was asked to be.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    names: Vec<String>,
    clients: Vec<u64>,
    depths: Vec<u64>,
    seconds: u64,
    keys: Vec<u64>,
    transport: TransportKind,
    store_workers: usize,
    dir: PathBuf,
    markdown: Option<PathBuf>,
}

impl Asked {
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Asked> {
        let mut asked = Asked {
            names: NAMES.map(str::to_owned).to_vec(),
            clients: vec![1, 50, 1000],
            depths: vec![1, 16],
            seconds: 4,
            keys: vec![1_000, 10_000, 100_000],
            transport: TransportKind::Tcp,
            store_workers: 2,
            dir: std::env::temp_dir(),
            markdown: None,
        };
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--clusters" => asked.names = names(&value, &NAMES)?,
                "--clients" => asked.clients = numbers(&value)?,
                "--depths" => asked.depths = numbers(&value)?,
                "--seconds" => asked.seconds = number(&value)?,
                "--keys" if value == "none" => asked.keys = Vec::new(),
                "--keys" => asked.keys = numbers(&value)?,
                "--transport" => asked.transport = value.parse()?,
                "--store-workers" => asked.store_workers = number(&value)? as usize,
                "--dir" => asked.dir = value.into(),
                "--markdown" => asked.markdown = Some(value.into()),
                _ => return Err(format!("no option {name:?}; try --help").into()),
            }
        }
        Ok(asked)
    }
}

/// Measures what was asked for, and prints the tables.
pub(crate) fn run(asked: &Asked) -> Result<()> {
    let mut tables = String::new();
    writeln!(
        tables,
        "| cluster | tasks | keys at a time | writes/s | CPU of the nodes, µs a write |"
    )?;
    writeln!(tables, "| --- | ---: | ---: | ---: | ---: |")?;
    for name in &asked.names {
        let Some(cluster) = start(name, asked)? else {
            eprintln!("the program of {name} is not there: left out");
            continue;
        };
        for &depth in &asked.depths {
            for &clients in &asked.clients {
                let seconds = Duration::from_secs(asked.seconds);
                let load = load::run(&*cluster, clients as usize, depth as usize, seconds)?;
                let line = format!(
                    "| {} | {clients} | {depth} | {:.0} | {:.1} |",
                    title(name, asked.transport),
                    load.writes as f64 / load.wall.as_secs_f64(),
                    load.cpu.as_secs_f64() * 1e6 / load.writes.max(1) as f64,
                );
                eprintln!("{line}");
                writeln!(tables, "{line}")?;
            }
        }
    }
    if !asked.keys.is_empty() {
        writeln!(
            tables,
            "\n| keys | repair of one that missed all, by hints, s | the same by comparing, s | join of a fourth, s | writes/s before it | and meanwhile | the longest write meanwhile, ms |"
        )?;
        writeln!(tables, "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")?;
    }
    for &keys in &asked.keys {
        let hints = weald::repair(asked, keys, true)?;
        let comparing = weald::repair(asked, keys, false)?;
        let join = weald::join(asked, keys)?;
        let line = format!(
            "| {keys} | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} | {:.0} |",
            hints.as_secs_f64(),
            comparing.as_secs_f64(),
            join.took.as_secs_f64(),
            join.before,
            join.meanwhile,
            join.longest.as_secs_f64() * 1e3,
        );
        eprintln!("{line}");
        writeln!(tables, "{line}")?;
    }
    print!("{tables}");
    if let Some(path) = &asked.markdown {
        std::fs::write(path, tables)?;
    }
    Ok(())
}

fn title(name: &str, transport: TransportKind) -> String {
    if name.starts_with("weald") {
        format!("{name}, {}", transport.name())
    } else {
        name.to_owned()
    }
}

fn boxed(cluster: impl Cluster + 'static) -> Box<dyn Cluster> {
    Box::new(cluster)
}

/// Starts a cluster, if its programs are there.
fn start(name: &str, asked: &Asked) -> Result<Option<Box<dyn Cluster>>> {
    Ok(match name {
        "weald-memory" => Some(Box::new(weald::Nodes::start(asked, "memory", 3)?)),
        "weald-file" => Some(Box::new(weald::Nodes::start(asked, "file", 3)?)),
        "weald-served-memory" => served::start(asked, "memory")?.map(boxed),
        "weald-served-file" => served::start(asked, "file")?.map(boxed),
        "redis" => redis::start(&asked.dir)?.map(boxed),
        "etcd" => etcd::start(&asked.dir)?.map(boxed),
        other => return Err(Error::from(format!("no cluster {other:?}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Asked> {
        Asked::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_understood_or_refused() {
        let asked = parse("--clusters redis,etcd --clients 5 --keys none --transport udp").unwrap();
        assert_eq!(asked.names, ["redis", "etcd"]);
        assert_eq!((asked.clients, asked.keys), (vec![5], vec![]));
        assert_eq!(asked.transport, TransportKind::Udp);
        for line in [
            "--clusters x",
            "--clients",
            "--clients 0",
            "--transport pigeon",
            "--fast yes",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn keys_are_numbers_in_order() {
        assert_eq!(&key(7), b"key-000000000007");
        assert!(key(9) < key(10));
    }

    /// A moment of everything that is installed: it works, and counts.
    #[test]
    fn clusters_take_writes_and_repair_and_join_come_to_an_end() {
        let dir = tempfile::tempdir().unwrap();
        let asked = Asked {
            dir: dir.path().to_owned(),
            ..parse("--keys 200").unwrap()
        };
        for name in NAMES {
            let Some(cluster) = start(name, &asked).unwrap() else {
                continue;
            };
            for depth in [1, 4] {
                let load = load::run(&*cluster, 3, depth, Duration::from_millis(200)).unwrap();
                assert!(load.writes > 0, "{name}");
            }
        }
        for hints in [true, false] {
            assert!(weald::repair(&asked, 200, hints).unwrap() > Duration::ZERO);
        }
        let join = weald::join(&asked, 200).unwrap();
        assert!(join.took > Duration::ZERO && join.before > 0.0 && join.meanwhile > 0.0);
    }
}
