//! The two servers, and what is asked of them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::Asked;
use crate::engine::Result;
use crate::servers::{Servers, connect, free_ports, is_installed, wait};

/// A server that runs.
pub(super) struct Program {
    servers: Servers,
    pub(super) port: u16,
    program: String,
    args: Vec<String>,
}

/// Which of those that were asked for are there.
pub(super) fn installed(asked: &Asked) -> Vec<&str> {
    let there = |name: &&str| *name != "redis" || is_installed("redis-server");
    asked.names.iter().map(String::as_str).filter(there).collect()
}

/// Starts each of them, on nothing.
pub(super) fn start(asked: &Asked, names: &[&str], durable: bool) -> Result<Vec<Program>> {
    names
        .iter()
        .map(|name| Program::start(asked, name, durable))
        .collect()
}

impl Program {
    pub(super) fn start(asked: &Asked, name: &str, durable: bool) -> Result<Program> {
        let [port] = free_ports::<1>()?;
        let line = match (name, durable) {
            ("weald", false) => "serve --http no --dir data --durability none",
            ("weald", true) => "serve --http no --dir data --durability immediate",
            (_, false) => "--save --appendonly no",
            (_, true) => "--save --appendonly yes --appendfsync always",
        };
        let mut args: Vec<String> = Vec::new();
        for word in line.split(' ').chain(["--bind", "127.0.0.1", "--port"]) {
            args.push(word.to_owned());
            if word == "--save" {
                args.push(String::new());
            }
        }
        args.push(port.to_string());
        let program = if name == "weald" {
            let path = asked.weald.canonicalize();
            let path =
                path.map_err(|e| format!("{}: {e}; cargo build --release makes it", asked.weald.display()))?;
            path.display().to_string()
        } else {
            "redis-server".to_owned()
        };
        let mut started = Program {
            servers: Servers::new(&asked.dir, &format!("server-{name}"))?,
            port,
            program,
            args,
        };
        started.spawn()?;
        Ok(started)
    }

    fn spawn(&mut self) -> Result<()> {
        self.servers.spawn(&self.program, &self.args)?;
        wait(|| self.connection()?.ask("PING", "+PONG"))
    }

    /// Ends it as a service is ended, and starts it on the same data.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.servers.end_last()?;
        self.spawn()
    }

    pub(super) fn connection(&self) -> Result<Connection> {
        Ok(Connection(BufReader::new(connect(self.port)?)))
    }

    pub(super) fn cpu(&self) -> Result<Duration> {
        self.servers.cpu()
    }

    /// Waits until it has nothing left to do; its CPU time then.
    pub(super) fn settle(&mut self) -> Result<Duration> {
        let began = Instant::now();
        let mut before = self.cpu()?;
        loop {
            std::thread::sleep(Duration::from_millis(300));
            let now = self.cpu()?;
            // A server that has nothing to do looks after its clients now and then.
            if now.saturating_sub(before) <= Duration::from_millis(10)
                || began.elapsed() > Duration::from_secs(20)
            {
                return Ok(now);
            }
            before = now;
        }
    }

    /// Memory of the process's own, and that of files, in bytes.
    pub(super) fn memory(&self) -> Result<(u64, u64)> {
        let id = self.servers.last_id().ok_or("it runs")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let line = line.ok_or_else(|| format!("no {name} in /proc/PID/status"))?;
            let kib = line.split_whitespace().next().unwrap_or_default();
            Ok(kib.parse::<u64>()? << 10)
        };
        Ok((field("RssAnon:")?, field("RssFile:")?))
    }
}

/// A client that sends a line, or many, and looks at the replies.
pub(super) struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Sends a command as words and expects this reply, of one line.
    pub(super) fn ask(&mut self, line: &str, reply: &str) -> Result<()> {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes())?;
        self.expect(reply)
    }

    fn expect(&mut self, reply: &str) -> Result<()> {
        let mut line = String::new();
        self.0.by_ref().take(1 << 16).read_line(&mut line)?;
        match line.trim_end() {
            line if line == reply => Ok(()),
            line => Err(format!("{line} instead of {reply}").into()),
        }
    }

    /// Sets so many keys to values of 16 bytes, a thousand at a time.
    pub(super) fn fill(&mut self, keys: u64) -> Result<()> {
        let mut out = Vec::new();
        for first in (0..keys).step_by(1000) {
            out.clear();
            let some = first..keys.min(first + 1000);
            for number in some.clone() {
                write!(out, "SET key:{number:012} {number:016}\r\n")?;
            }
            self.0.get_mut().write_all(&out)?;
            some.into_iter().try_for_each(|_| self.expect("+OK"))?;
        }
        Ok(())
    }

    /// Reads so many of those keys, all over them.
    pub(super) fn read(&mut self, reads: u64, keys: u64) -> Result<()> {
        let mut out = Vec::new();
        for first in (0..reads).step_by(1000) {
            out.clear();
            let numbers: Vec<u64> = (first..reads.min(first + 1000))
                .map(|step| crate::workload::mix(step) % keys)
                .collect();
            for number in &numbers {
                write!(out, "GET key:{number:012}\r\n")?;
            }
            self.0.get_mut().write_all(&out)?;
            for number in numbers {
                self.expect("$16")?;
                self.expect(&format!("{number:016}"))?;
            }
        }
        Ok(())
    }
}
