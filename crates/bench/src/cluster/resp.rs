//! A client that writes by Redis's protocol.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use super::{Client, VALUE, key};
use crate::engine::Result;
use crate::servers::connect;

pub(super) struct Connection {
    stream: BufReader<TcpStream>,
    out: Vec<u8>,
    /// Replicas that must have acknowledged, where the server has to be asked for that.
    wait: Option<u64>,
}

impl Connection {
    /// To a server that answers when enough nodes have a write.
    pub(super) fn new(port: u16) -> Result<Connection> {
        Ok(Connection {
            stream: BufReader::new(connect(port)?),
            out: Vec::new(),
            wait: None,
        })
    }

    /// To one that answers before, and then waits for replicas by `WAIT`.
    pub(super) fn waiting_for(port: u16, replicas: u64) -> Result<Connection> {
        Ok(Connection {
            wait: Some(replicas),
            ..Connection::new(port)?
        })
    }

    /// What the server says about itself.
    pub(super) fn info(&mut self) -> Result<String> {
        self.stream.get_mut().write_all(b"*1\r\n$4\r\nINFO\r\n")?;
        let head = self.line()?;
        let len = head.strip_prefix('$').and_then(|len| len.parse::<usize>().ok());
        let len = len
            .filter(|&len| len < 1 << 20)
            .ok_or_else(|| format!("INFO: {head}"))?;
        let mut text = vec![0; len + 2];
        self.stream.read_exact(&mut text)?;
        Ok(String::from_utf8(text)?)
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
        if let Some(replicas) = self.wait {
            write!(
                self.out,
                "*3\r\n$4\r\nWAIT\r\n$1\r\n{replicas}\r\n$5\r\n10000\r\n"
            )?;
        }
        self.stream.get_mut().write_all(&self.out)?;
        for _ in keys {
            let line = self.line()?;
            if line != "+OK" {
                return Err(format!("SET: {line}").into());
            }
        }
        let Some(replicas) = self.wait else {
            return Ok(());
        };
        let line = self.line()?;
        match line.strip_prefix(':').and_then(|count| count.parse::<u64>().ok()) {
            Some(count) if count >= replicas => Ok(()),
            _ => Err(format!("WAIT: {line}").into()),
        }
    }
}
