//! One run of redis-benchmark, and what it printed.

use std::fmt;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::programs::Program;
use crate::engine::Result;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Set,
    Get,
}

/// One row of the table.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) test: Test,
    pub(super) connections: u64,
    pub(super) pipeline: u64,
    pub(super) size: u64,
    pub(super) durable: bool,
}

/// redis-benchmark keeps the requests of each connection in memory.
const CLIENT_BYTES_MAX: u64 = 600 << 20;
/// What the values of all keys take together, at most.
const DATA_BYTES: u64 = 64 << 20;
const KEYS_MAX: u64 = 100_000;

impl Row {
    /// Whether redis-benchmark has the memory for it.
    pub(super) fn fits(&self) -> bool {
        self.connections * self.pipeline * self.size <= CLIENT_BYTES_MAX
    }

    /// Different keys.
    fn keys(&self) -> u64 {
        KEYS_MAX.min(DATA_BYTES / self.size).max(1)
    }

    /// The fewest requests that give all connections something to do.
    fn requests_min(&self) -> u64 {
        (self.connections * self.pipeline * 2).max(1000)
    }

    fn args(&self, port: u16, requests: u64) -> Vec<String> {
        let test = match self.test {
            Test::Set => "set",
            Test::Get => "get",
        };
        [
            ("-p", u64::from(port)),
            ("-n", requests),
            ("-c", self.connections),
            ("-P", self.pipeline),
            ("-d", self.size),
            ("-r", self.keys()),
            ("--precision", 3),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value.to_string()])
        .chain(["-t".to_owned(), test.to_owned()])
        .collect()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let test = match self.test {
            Test::Set => "SET",
            Test::Get => "GET",
        };
        write!(
            f,
            "{test} -c {} -P {} -d {} -r {}",
            self.connections,
            self.pipeline,
            self.size,
            self.keys()
        )?;
        if self.durable {
            f.write_str(", durable")?;
        }
        Ok(())
    }
}

/// What one server did; times in milliseconds, in the words of redis-benchmark.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub(super) rate: f64,
    pub(super) p50: String,
    pub(super) p99: String,
    pub(super) p999: String,
    /// The server's, per request.
    pub(super) cpu_us: f64,
}

/// A short run shows how many requests fill the time; it also makes the keys that are read.
pub(super) fn run(server: &mut Program, row: &Row, seconds: u64) -> Result<Figures> {
    let few = row.requests_min();
    let Printed { rate, .. } = benchmark(&row.args(server.port, few), seconds)?;
    let requests = ((rate * seconds as f64) as u64).max(few);
    let before = server.cpu()?;
    let printed = benchmark(&row.args(server.port, requests), seconds)?;
    let behind = server.settle()?;
    let cpu = behind.saturating_sub(before);
    Ok(Figures {
        rate: printed.rate,
        p50: printed.p50,
        p99: printed.p99,
        p999: printed.p999,
        cpu_us: cpu.as_secs_f64() * 1e6 / requests as f64,
    })
}

struct Printed {
    rate: f64,
    p50: String,
    p99: String,
    p999: String,
}

fn benchmark(args: &[String], seconds: u64) -> Result<Printed> {
    let patience = Duration::from_secs(60 + 20 * seconds);
    let output = Command::new("timeout")
        .arg(patience.as_secs().to_string())
        .arg("redis-benchmark")
        .args(args)
        .stdin(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || text.contains("Error from server") {
        let last = text
            .lines()
            .rev()
            .find(|line| !line.is_empty())
            .unwrap_or_default();
        return Err(format!("redis-benchmark ended with {}: {last}", output.status).into());
    }
    read(&text).ok_or_else(|| "redis-benchmark printed something else than expected".into())
}

/// Reads the throughput, and of the distribution the first bound with at least that share of the requests.
fn read(text: &str) -> Option<Printed> {
    // It overwrites its line of progress with carriage returns.
    let mut lines = text.split(['\n', '\r']).map(str::trim);
    let throughput = lines
        .clone()
        .find_map(|line| line.strip_prefix("throughput summary: "))?;
    lines.find(|line| line.starts_with("Latency by percentile distribution"))?;
    let shares: Vec<(f64, &str)> = lines
        .map_while(|line| {
            let (share, rest) = line.split_once("% <= ")?;
            Some((share.parse().ok()?, rest.split_whitespace().next()?))
        })
        .collect();
    let bound = |wanted: f64| {
        let found = shares.iter().find(|(share, _)| *share >= wanted);
        found.map(|(_, ms)| (*ms).to_owned())
    };
    Some(Printed {
        rate: throughput.split_whitespace().next()?.parse().ok()?,
        p50: bound(50.0)?,
        p99: bound(99.0)?,
        p999: bound(99.9)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_redis_benchmark_prints_is_read() {
        let text = "SET: rps=0.0 (overall: nan)\r====== SET ======\n  1000 requests completed in 0.01 seconds\n\n\
            Latency by percentile distribution:\n0.000% <= 0.087 milliseconds (cumulative count 1)\n50.000% <= 0.135 milliseconds (cumulative count 530)\n\
            98.438% <= 0.311 milliseconds (cumulative count 985)\n99.219% <= 0.359 milliseconds (cumulative count 993)\n\
            99.902% <= 0.383 milliseconds (cumulative count 1000)\n100.000% <= 0.383 milliseconds (cumulative count 1000)\n\n\
            Cumulative distribution of latencies:\n86.700% <= 0.207 milliseconds (cumulative count 867)\n\nSummary:\n  throughput summary: 100000.00 requests per second\n";
        let printed = read(text).unwrap();
        assert_eq!(printed.rate, 100_000.0);
        assert_eq!(
            [printed.p50, printed.p99, printed.p999],
            ["0.135", "0.359", "0.383"]
        );
        assert!(read("Could not connect").is_none());
    }
}
