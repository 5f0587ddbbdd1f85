//! Three members of etcd. A write is a put, several are one transaction, sent to the members' JSON gateways.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{Client, Cluster, VALUE, key};
use crate::engine::Result;
use crate::servers::{Servers, connect, free_ports, is_installed, wait};

pub(super) struct Etcd {
    servers: Servers,
    ports: [u16; 3],
}

pub(super) fn start(dir: &Path) -> Result<Option<Etcd>> {
    if !is_installed("etcd") {
        return Ok(None);
    }
    let mut servers = Servers::new(dir, "etcd")?;
    let [a, b, c, x, y, z] = free_ports::<6>()?;
    let (ports, peers) = ([a, b, c], [x, y, z]);
    let all: Vec<String> = peers
        .iter()
        .enumerate()
        .map(|(number, peer)| format!("n{number}=http://127.0.0.1:{peer}"))
        .collect();
    for (number, (port, peer)) in ports.into_iter().zip(peers).enumerate() {
        let (client, peer) = (
            format!("http://127.0.0.1:{port}"),
            format!("http://127.0.0.1:{peer}"),
        );
        let options = [
            ("--name", format!("n{number}")),
            (
                "--data-dir",
                servers.dir.join(number.to_string()).display().to_string(),
            ),
            ("--listen-client-urls", client.clone()),
            ("--advertise-client-urls", client),
            ("--listen-peer-urls", peer.clone()),
            ("--initial-advertise-peer-urls", peer),
            ("--initial-cluster", all.join(",")),
            ("--log-level", "error".to_owned()),
        ];
        let args: Vec<String> = options
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), value])
            .collect();
        servers.spawn("etcd", &args)?;
    }
    for port in ports {
        wait(|| Connection::new(port)?.write(&[0]))?;
    }
    Ok(Some(Etcd { servers, ports }))
}

struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    fn new(port: u16) -> Result<Connection> {
        Ok(Connection {
            stream: BufReader::new(connect(port)?),
        })
    }

    fn post(&mut self, path: &str, body: &str) -> Result<()> {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status = self.line()?;
        let mut length = None;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse::<u64>()?);
            }
        }
        let length = length.ok_or("etcd's answer has no length")?;
        std::io::copy(&mut self.stream.by_ref().take(length), &mut std::io::sink())?;
        if status.contains(" 200 ") {
            Ok(())
        } else {
            Err(format!("etcd: {status}").into())
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.by_ref().take(1 << 16).read_line(&mut line)? == 0 {
            return Err("etcd closed the connection".into());
        }
        Ok(line.trim_end().to_owned())
    }
}

fn put(number: u64) -> String {
    let (key, value) = (BASE64_STANDARD.encode(key(number)), BASE64_STANDARD.encode(VALUE));
    format!(r#"{{"key":"{key}","value":"{value}"}}"#)
}

impl Client for Connection {
    fn write(&mut self, keys: &[u64]) -> Result<()> {
        if let [number] = keys {
            return self.post("/v3/kv/put", &put(*number));
        }
        // A transaction takes each key once.
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        let mut body = String::from(r#"{"success":["#);
        for (place, number) in keys.into_iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            write!(body, r#"{comma}{{"requestPut":{}}}"#, put(number))?;
        }
        body.push_str("]}");
        self.post("/v3/kv/txn", &body)
    }
}

impl Cluster for Etcd {
    fn client(&self, task: usize) -> Result<Box<dyn Client + '_>> {
        Ok(Box::new(Connection::new(self.ports[task % 3])?))
    }

    fn cpu(&self) -> Result<Duration> {
        self.servers.cpu()
    }
}
