//! The places to listen on that a configuration names.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::{Config, ConfigError};
use crate::net::listener::{Bound, Listener, resolve};
use crate::net::tls::Tls;
use crate::server::StartError;

/// The most sockets that it listens on.
const LISTENERS_MAX: usize = 15;

/// A socket of a place.
pub(crate) enum Listening {
    /// There was one.
    Already(Bound),
    Anew(Listener),
}

/// Where to listen.
pub(crate) struct Places {
    addresses: Vec<Place>,
    unix: Option<PathBuf>,
}

/// An address to listen on.
struct Place {
    address: SocketAddr,
    /// It may be missing.
    optional: bool,
    tls: bool,
}

impl Places {
    pub(crate) fn of(config: &Config) -> Result<Places, StartError> {
        let (port, tls_port) = (config.number("port") as u16, config.number("tls-port") as u16);
        let unix = Some(config.text("unixsocket"))
            .filter(|path| !path.is_empty())
            .map(PathBuf::from);
        // Port 0 is how Redis is told not to listen; where there is no other place, the system chooses a port.
        let plain = (port != 0 || (unix.is_none() && tls_port == 0)).then_some((port, false));
        let encrypted = (tls_port != 0).then_some((tls_port, true));
        let mut addresses = Vec::new();
        for (port, tls) in plain.into_iter().chain(encrypted) {
            for name in config.text("bind").split_whitespace() {
                let (name, optional) = match name.strip_prefix('-') {
                    Some(name) => (name, true),
                    None => (name, false),
                };
                let place = |address| Place {
                    address,
                    optional,
                    tls,
                };
                match resolve(name, port) {
                    Ok(found) => addresses.extend(found.into_iter().map(place)),
                    Err(_) if optional => {}
                    Err(source) => {
                        return Err(StartError::Listen {
                            place: format!("{name}:{port}"),
                            source,
                        });
                    }
                }
            }
        }
        Ok(Places { addresses, unix })
    }

    /// Refuses to be open to the world without a password and encryption, unless that is insisted on.
    pub(crate) fn refuse_public(&self, config: &Config) -> Result<(), ConfigError> {
        let password = ["requirepass", "aclfile", "user"]
            .iter()
            .any(|name| !config.text(name).is_empty());
        let public = self.addresses.iter().find(|place| {
            let is_safe = place.tls && password;
            !place.address.ip().is_loopback() && !is_safe
        });
        let Some(place) = public.filter(|_| !config.yes("insecure")) else {
            return Ok(());
        };
        let missing = match (password, place.tls) {
            (true, _) => "is not encrypted",
            (false, false) => "has no password and is not encrypted",
            (false, true) => "has no password",
        };
        Err(ConfigError::Refused(format!(
            "{} can be reached from other machines, and the connection {missing}: bind a loopback address, use requirepass and tls-port, or insist with --insecure yes",
            place.address.ip()
        )))
    }

    /// Listens there; where somebody listens already stays as it is. The first error is told.
    pub(crate) fn listen(
        &self,
        config: &Config,
        tls: Option<&Tls>,
        bound: &[Bound],
    ) -> Result<Vec<Listening>, StartError> {
        let backlog = config.number("tcp-backlog") as i32;
        let mut listening = Vec::new();
        for place in &self.addresses {
            let tls = tls.filter(|_| place.tls).cloned();
            let wanted = match place.tls {
                true => Bound::Tls(place.address),
                false => Bound::Tcp(place.address),
            };
            if bound.contains(&wanted) {
                listening.push(Listening::Already(wanted));
                continue;
            }
            match Listener::tcp(place.address, backlog, tls) {
                Ok(listener) => listening.push(Listening::Anew(listener)),
                Err(e) if place.optional && e.kind() != io::ErrorKind::AddrInUse => {}
                Err(source) => {
                    return Err(StartError::Listen {
                        place: place.address.to_string(),
                        source,
                    });
                }
            }
        }
        if let Some(path) = &self.unix {
            let wanted = Bound::Unix(path.clone());
            if bound.contains(&wanted) {
                listening.push(Listening::Already(wanted));
            } else {
                let mode = u32::from_str_radix(config.text("unixsocketperm"), 8).unwrap_or(0o700);
                let listener = Listener::unix(path, mode).map_err(|source| StartError::Listen {
                    place: path.display().to_string(),
                    source,
                })?;
                listening.push(Listening::Anew(listener));
            }
        }
        if listening.is_empty() || listening.len() > LISTENERS_MAX {
            let why = format!(
                "there must be 1 to {LISTENERS_MAX} places to listen on, not {}",
                listening.len()
            );
            return Err(ConfigError::Refused(why).into());
        }
        Ok(listening)
    }
}
