//! The node that a configuration describes.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use weald_cluster::proto::{Bytes, Config as Protocol, Quorums, Start};
use weald_cluster::storage::Registry;
use weald_cluster::{Identity, Keys, Node, Options, TcpOptions, TransportKind, UnknownTransport, found};

use crate::config::{Config, ConfigError};
use crate::server::StartError;

/// The longest secret that is read.
const SECRET_MAX: u64 = 4096;
const SECRET_MIN: usize = 16;

/// Whether the configuration is that of a node.
pub(crate) fn is_wanted(config: &Config) -> bool {
    config.number("cluster-port") != 0
}

/// Starts the node in this directory.
pub(crate) fn start(config: &Config, dir: &Path) -> Result<Node, StartError> {
    let quorums = quorums(config)?;
    let failed = |what: &str| {
        let what = what.to_owned();
        move |source: Box<dyn std::error::Error + Send + Sync>| StartError::Cluster { what, source }
    };
    let secret = secret(config)?;
    let identity = Identity::open(dir).map_err(|e| failed("read the node's identity")(e.into()))?;
    let keys = Keys::new(identity, config.text("cluster-name"), &secret);
    let listen = format!(
        "{}:{}",
        config.text("cluster-bind"),
        config.number("cluster-port")
    );
    let announced = config.text("cluster-announce");
    let timeout_ms = config.number("cluster-request-timeout-ms") as u64;
    let transport = TcpOptions {
        advertise: (!announced.is_empty()).then(|| announced.to_owned()),
        // A node that comes back is met before requests to it are given up.
        retry_max: Duration::from_millis((timeout_ms / 2).clamp(200, 5000)),
        ..TcpOptions::new(listen)
    };
    let kind: TransportKind = config
        .text("cluster-transport")
        .parse()
        .map_err(|e: UnknownTransport| ConfigError::Refused(e.to_string()))?;
    let transport = kind
        .open(transport, keys.clone())
        .map_err(|e| failed("listen for other nodes")(e.into()))?;
    let replica = weald_cluster::storage::Options {
        hot_bytes: config.number("cluster-hot-bytes") as u64,
        ..weald_cluster::storage::Options::in_dir(dir)
    };
    let storage = Registry::compiled()
        .open(config.text("cluster-storage"), &replica)
        .map_err(|e| failed("open the node's replica")(e.into()))?;
    let seeds = seeds(config);
    let start = if seeds.is_empty() {
        let bits = config.number("cluster-partition-bits") as u8;
        let members = [(keys.node(), transport.address())];
        found(bits, quorums, members).map_err(|e| failed("found a cluster")(e.into()))?
    } else {
        Start::Join(seeds)
    };
    let probe_ms = config.number("cluster-probe-interval-ms") as u64;
    let protocol = Protocol {
        zone: config.number("cluster-zone") as u32,
        weight: config.number("cluster-weight") as u32,
        request_timeout_ms: timeout_ms,
        resend_ms: (timeout_ms / 10).clamp(50, 500),
        probe_interval_ms: probe_ms,
        probe_timeout_ms: (probe_ms / 3).clamp(50, 300),
        repair_interval_ms: probe_ms,
        repair_bytes_per_second: config.number("cluster-repair-rate") as u64,
        hint_interval_ms: probe_ms,
        ..Protocol::new(keys.node(), 0)
    };
    let options = Options {
        config: protocol,
        ..Options::new(keys, transport, storage, start)
    };
    Node::start(options).map_err(|e| failed("start the node")(e.into()))
}

/// Those of the cluster that is founded: by the preset, and by what is said beside it.
fn quorums(config: &Config) -> Result<Quorums, ConfigError> {
    let count = config.number("replica-count") as u8;
    let mut quorums = match config.text("preset") {
        "strong" => Quorums::strong(count),
        "eventual" => Quorums::eventual(count),
        _ => Quorums::balanced(count),
    };
    for (name, quorum) in [
        ("write-quorum", &mut quorums.write_quorum),
        ("read-quorum", &mut quorums.read_quorum),
    ] {
        match config.number(name) as u8 {
            0 => {}
            number => *quorum = number,
        }
    }
    if !quorums.is_valid() {
        return Err(ConfigError::Refused(format!(
            "write-quorum {} and read-quorum {} must be from 1 to replica-count {count}",
            quorums.write_quorum, quorums.read_quorum
        )));
    }
    Ok(quorums)
}

fn seeds(config: &Config) -> Vec<Bytes> {
    let seeds = config.text("join").split([',', ' ']);
    seeds
        .filter(|seed| !seed.is_empty())
        .map(|seed| Bytes::from(seed.as_bytes()))
        .collect()
}

/// What the file has, without the end of its line.
fn secret(config: &Config) -> Result<Vec<u8>, ConfigError> {
    use std::io::Read;
    let path = config.text("cluster-secret-file");
    if path.is_empty() {
        return Err(ConfigError::Refused(
            "a node needs the cluster's secret: name its file with cluster-secret-file; 'weald cluster init' makes one".to_owned(),
        ));
    }
    let failed = |source| ConfigError::File {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(ConfigError::Refused(format!(
            "{path} may be read by others than its owner: its mode must be 0600"
        )));
    }
    let mut secret = Vec::new();
    file.take(SECRET_MAX).read_to_end(&mut secret).map_err(failed)?;
    while secret.last().is_some_and(u8::is_ascii_whitespace) {
        secret.pop();
    }
    if secret.len() < SECRET_MIN {
        return Err(ConfigError::Refused(format!(
            "the secret in {path} is shorter than {SECRET_MIN} bytes"
        )));
    }
    Ok(secret)
}
