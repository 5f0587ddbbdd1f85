//! Which transport, by name.

use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

#[cfg(feature = "quic")]
use super::Quic;
#[cfg(all(target_os = "linux", feature = "io_uring"))]
use super::Uring;
use super::{Tcp, TcpError, TcpOptions, Transport, Udp, UdpOptions};
use crate::keys::Keys;

/// A transport that this build has. All nodes of a cluster must use the same one, but `tcp` and `uring` are one on the network.
///
/// ```
/// use weald_cluster::{Identity, Keys, TcpOptions, TransportKind};
///
/// let dir = tempfile::tempdir()?;
/// let keys = Keys::new(Identity::open(dir.path())?, "orchard", b"sixteen random bytes");
/// let kind: TransportKind = "udp".parse()?;
/// let transport = kind.open(TcpOptions::new("127.0.0.1:0"), keys)?;
/// assert!(!transport.address().is_empty());
/// transport.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransportKind {
    /// TCP with Noise.
    #[default]
    Tcp,
    /// UDP with Noise, and TCP for long messages.
    Udp,
    /// TCP with TLS 1.3.
    #[cfg(feature = "tls")]
    Tls,
    /// QUIC.
    #[cfg(feature = "quic")]
    Quic,
    /// TCP with Noise through io_uring, two threads for all peers. It talks to nodes with [`Tcp`](TransportKind::Tcp), too.
    #[cfg(all(target_os = "linux", feature = "io_uring"))]
    Uring,
}

/// No transport of that name, or none in this build.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no transport '{name}' in this build, which has {}", names())]
pub struct UnknownTransport {
    /// The name.
    pub name: String,
}

fn names() -> String {
    TransportKind::all()
        .iter()
        .map(|kind| kind.name())
        .collect::<Vec<_>>()
        .join(", ")
}

impl TransportKind {
    /// Those that this build has.
    pub fn all() -> &'static [TransportKind] {
        &[
            TransportKind::Tcp,
            TransportKind::Udp,
            #[cfg(feature = "tls")]
            TransportKind::Tls,
            #[cfg(feature = "quic")]
            TransportKind::Quic,
            #[cfg(all(target_os = "linux", feature = "io_uring"))]
            TransportKind::Uring,
        ]
    }

    /// What it is called in options.
    pub fn name(self) -> &'static str {
        match self {
            TransportKind::Tcp => "tcp",
            TransportKind::Udp => "udp",
            #[cfg(feature = "tls")]
            TransportKind::Tls => "tls",
            #[cfg(feature = "quic")]
            TransportKind::Quic => "quic",
            #[cfg(all(target_os = "linux", feature = "io_uring"))]
            TransportKind::Uring => "uring",
        }
    }

    /// Opens it. Nobody is let in before it is [started](Transport::start).
    pub fn open(self, options: TcpOptions, keys: Keys) -> Result<Arc<dyn Transport>, TcpError> {
        Ok(match self {
            TransportKind::Tcp => Tcp::bind(options, keys)?,
            TransportKind::Udp => {
                let options = UdpOptions {
                    tcp: options,
                    ..UdpOptions::new("")
                };
                Udp::bind(options, keys)?
            }
            #[cfg(feature = "tls")]
            TransportKind::Tls => Tcp::bind_tls(options, keys)?,
            #[cfg(feature = "quic")]
            TransportKind::Quic => Quic::bind(options, keys)?,
            #[cfg(all(target_os = "linux", feature = "io_uring"))]
            TransportKind::Uring => Uring::bind(options, keys)?,
        })
    }
}

impl FromStr for TransportKind {
    type Err = UnknownTransport;

    fn from_str(name: &str) -> Result<TransportKind, UnknownTransport> {
        let known = TransportKind::all().iter().find(|kind| kind.name() == name);
        known.copied().ok_or_else(|| UnknownTransport {
            name: name.to_owned(),
        })
    }
}
