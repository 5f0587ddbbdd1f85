//! One Redis with two replicas: a write is followed by `WAIT 1`, so it is in two memories.

use std::path::Path;
use std::time::Duration;

use super::resp::Connection;
use super::{Client, Cluster};
use crate::engine::Result;
use crate::servers::{Servers, free_ports, is_installed, wait};

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
    wait(|| Connection::waiting_for(ports[0], 2)?.write(&[0]))?;
    Ok(Some(Redis {
        servers,
        port: ports[0],
    }))
}

impl Cluster for Redis {
    fn client(&self, _task: usize) -> Result<Box<dyn Client + '_>> {
        Ok(Box::new(Connection::waiting_for(self.port, 1)?))
    }

    fn cpu(&self) -> Result<Duration> {
        self.servers.cpu()
    }
}
