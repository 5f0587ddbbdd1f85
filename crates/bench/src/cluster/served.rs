//! Three servers of Weald, each a process, as the peers are: tasks ask them by Redis's protocol, and each node has its share of the tasks.

use std::path::PathBuf;
use std::time::Duration;

use super::resp::Connection;
use super::{Asked, Client, Cluster};
use crate::engine::Result;
use crate::servers::{Servers, free_ports, wait};

pub(super) struct Served {
    servers: Servers,
    ports: [u16; 3],
}

/// The program, which cargo puts beside this one.
fn program() -> Result<Option<PathBuf>> {
    let here = std::env::current_exe()?;
    let beside = here.parent().map(|folder| folder.join("weald"));
    Ok(beside.filter(|program| program.is_file()))
}

pub(super) fn start(asked: &Asked, storage: &str) -> Result<Option<Served>> {
    let Some(program) = program()? else {
        return Ok(None);
    };
    let mut servers = Servers::new(&asked.dir, &format!("served-{storage}"))?;
    let secret = servers.dir.join("secret");
    let init = ["cluster", "init"].map(str::to_owned);
    servers.run(&program, init.into_iter().chain([secret.display().to_string()]))?;
    let [a, b, c, x, y, z] = free_ports::<6>()?;
    let (ports, peers) = ([a, b, c], [x, y, z]);
    for (number, (port, peer)) in ports.into_iter().zip(peers).enumerate() {
        let mut options = vec![
            ("--dir", number.to_string()),
            ("--port", port.to_string()),
            ("--http", "no".to_owned()),
            ("--cluster-port", peer.to_string()),
            ("--cluster-secret-file", secret.display().to_string()),
            ("--cluster-storage", storage.to_owned()),
            ("--cluster-transport", asked.transport.name().to_owned()),
        ];
        if number > 0 {
            options.push(("--join", format!("127.0.0.1:{x}")));
        }
        let args: Vec<String> = std::iter::once("serve".to_owned())
            .chain(
                options
                    .into_iter()
                    .flat_map(|(name, value)| [name.to_owned(), value]),
            )
            .collect();
        servers.spawn(&program, &args)?;
        // One after the other: who joins finds a node that serves.
        wait(|| owns(port, number + 1))?;
    }
    Ok(Some(Served { servers, ports }))
}

/// Whether a node has a layout of so many, and nothing moves.
fn owns(port: u16, members: usize) -> Result<()> {
    let info = Connection::new(port)?.info()?;
    let says = |line: &str| info.lines().any(|said| said == line);
    if says(&format!("weald_cluster_members:{members}")) && says("weald_cluster_moving:0") {
        return Ok(());
    }
    Err("the nodes have not come together".into())
}

impl Cluster for Served {
    fn client(&self, task: usize) -> Result<Box<dyn Client + '_>> {
        Ok(Box::new(Connection::new(self.ports[task % self.ports.len()])?))
    }

    fn cpu(&self) -> Result<Duration> {
        self.servers.cpu()
    }
}
