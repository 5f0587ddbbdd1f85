//! One Redis with two replicas: a write is followed by `WAIT 1`, so it is in two memories.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use super::{Client, Cluster, VALUE, key};
use crate::engine::Result;
use crate::servers::{Servers, connect, free_ports, is_installed, wait};

pub(super) struct Redis {
    servers: Servers,
    port: u16,
}

pub(super) fn start(dir: &Path) -> Result<Option<Redis>> {
    if !is_installed("redis-server") {
        return Ok(None);
    }
    let mut servers = Servers::new(dir, "redis")?;
    let ports = free_ports::<3>()?;
    for port in ports {
        let mut args: Vec<String> = [
            "--save",
            "",
            "--appendonly",
            "no",
            "--repl-diskless-sync-delay",
            "0",
        ]
        .map(str::to_owned)
        .to_vec();
        args.extend(["--port".to_owned(), port.to_string()]);
        args.extend(["--maxclients".to_owned(), "4000".to_owned()]);
        if port != ports[0] {
            args.extend([
                "--replicaof".to_owned(),
                "127.0.0.1".to_owned(),
                ports[0].to_string(),
            ]);
        }
        servers.spawn("redis-server", &args)?;
    }
    // Both replicas must follow.
    wait(|| {
        let mut connection = Connection::new(ports[0])?;
        connection
            .stream
            .get_mut()
            .write_all(b"SET ready 1\r\nWAIT 2 100\r\n")?;
        connection.line()?;
        match connection.line()?.as_str() {
            ":2" => Ok(()),
            other => Err(format!("replicas of Redis: {other}").into()),
        }
    })?;
    Ok(Some(Redis {
        servers,
        port: ports[0],
    }))
}

struct Connection {
    stream: BufReader<TcpStream>,
    out: Vec<u8>,
}

impl Connection {
    fn new(port: u16) -> Result<Connection> {
        Ok(Connection {
            stream: BufReader::new(connect(port)?),
            out: Vec::new(),
        })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stream.by_ref().take(1 << 16).read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}

impl Client for Connection {
    fn write(&mut self, keys: &[u64]) -> Result<()> {
        self.out.clear();
        for &number in keys {
            write!(self.out, "*3\r\n$3\r\nSET\r\n$16\r\n")?;
            self.out.extend(key(number));
            write!(self.out, "\r\n${}\r\n", VALUE.len())?;
            self.out.extend(VALUE);
            self.out.extend(b"\r\n");
        }
        self.out.extend(b"*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$5\r\n10000\r\n");
        self.stream.get_mut().write_all(&self.out)?;
        for _ in keys {
            let line = self.line()?;
            if line != "+OK" {
                return Err(format!("Redis: {line}").into());
            }
        }
        match self.line()?.as_str() {
            ":1" | ":2" => Ok(()),
            other => Err(format!("Redis: WAIT: {other}").into()),
        }
    }
}

impl Cluster for Redis {
    fn client(&self, _task: usize) -> Result<Box<dyn Client + '_>> {
        Ok(Box::new(Connection::new(self.port)?))
    }

    fn cpu(&self) -> Result<Duration> {
        self.servers.cpu()
    }
}
