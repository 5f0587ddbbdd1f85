//! HTTP beside the protocol of Redis: health, metrics, a JSON API, and the dashboard.
//!
//! A thread accepts, and one for each connection, of which there are at most [`CONNECTIONS_MAX`], reads requests and writes answers. None of them touches the data:
//! commands are run by the server's own thread, with the permissions of the user whose password the request has.
//!
//! ```text
//!  socket ─► connection ─► request ─► guard ─► routes ─► Handle ─► the server's thread
//!                                                └─ assets, metrics, keys, trees ─► response
//! ```

mod assets;
mod connection;
mod encoding;
mod guard;
mod json;
mod keys;
mod metrics;
mod request;
mod response;
mod routes;
mod stores;
mod wire;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::config::{Config, ConfigError};
use crate::handle::Handle;
use crate::http::response::Response;
use crate::http::wire::Wire;
use crate::net::Tls;
use crate::server::StartError;

/// More connections at a time are answered that there are too many.
const CONNECTIONS_MAX: usize = 64;

/// A socket that listens and is not served yet.
pub(crate) struct Http {
    listener: TcpListener,
    address: SocketAddr,
    hosts: Vec<String>,
    tls: Option<Tls>,
}

/// What the threads of connections share.
struct Shared {
    handle: Handle,
    hosts: Vec<String>,
    tls: Option<Tls>,
    ending: AtomicBool,
    /// A second hand on each open socket, to end it.
    open: Mutex<HashMap<u64, TcpStream>>,
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_ending(&self) -> bool {
        // Only a hint: the sockets are shut as well.
        self.ending.load(Ordering::Relaxed)
    }
}

/// Serves until it is dropped.
pub(crate) struct Serving {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

/// Why the server goes without HTTP. For the log, once it is sure that it starts: a start that is refused says one thing.
pub(crate) struct Unserved(pub(crate) String);

/// Where HTTP is to be served, in words.
fn place(config: &Config) -> String {
    format!("{}:{}", config.text("http-bind"), config.number("http-port"))
}

/// The addresses at which HTTP is to be served, none where it is not; an error where others could reach it unprotected.
pub(crate) fn addresses(config: &Config) -> Result<Vec<SocketAddr>, StartError> {
    if config.text("http") == "no" {
        return Ok(Vec::new());
    }
    let port = config.number("http-port") as u16;
    let found = crate::net::resolve(config.text("http-bind"), port).map_err(|source| StartError::Listen {
        place: format!("{} for HTTP", place(config)),
        source,
    })?;
    let password = !config.text("requirepass").is_empty() || !config.text("aclfile").is_empty();
    let is_safe = config.yes("http-tls") && password;
    let public = found.iter().find(|address| !address.ip().is_loopback());
    if let Some(address) = public.filter(|_| !is_safe && !config.yes("insecure")) {
        return Err(ConfigError::Refused(format!(
            "{} can be reached from other machines, and HTTP has no password or is not encrypted: let http-bind be a loopback address, use requirepass and http-tls, or insist with --insecure yes",
            address.ip()
        ))
        .into());
    }
    Ok(found)
}

impl Http {
    /// Listens where the configuration says; `None` where it says not to, [`Unserved`] where it does not insist and the port is taken.
    pub(crate) fn bind(
        config: &Config,
        tls: Option<&Tls>,
    ) -> Result<Option<Result<Http, Unserved>>, StartError> {
        let mode = config.text("http");
        if mode == "no" {
            return Ok(None);
        }
        let found = addresses(config)?;
        let failed = |source| StartError::Listen {
            place: format!("{} for HTTP", place(config)),
            source,
        };
        let tls = tls.filter(|_| config.yes("http-tls")).cloned();
        let listener = match TcpListener::bind(&found[..]) {
            Ok(listener) => listener,
            Err(e) if mode == "auto" => {
                let why = format!("HTTP is not served: can't listen on {}: {e}", place(config));
                return Ok(Some(Err(Unserved(why))));
            }
            Err(e) => return Err(failed(e)),
        };
        let address = listener.local_addr().map_err(failed)?;
        let hosts = config
            .text("http-hosts")
            .split_whitespace()
            .map(str::to_ascii_lowercase)
            .collect();
        Ok(Some(Ok(Http {
            listener,
            address,
            hosts,
            tls,
        })))
    }

    /// Begins to serve. Until the data are there, all that needs them is answered that it has to wait.
    pub(crate) fn serve(self, handle: Handle) -> io::Result<Serving> {
        let Http {
            listener,
            address,
            hosts,
            tls,
        } = self;
        let shared = Arc::new(Shared {
            handle,
            hosts,
            tls,
            ending: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let for_acceptor = shared.clone();
        let acceptor = std::thread::Builder::new()
            .name("weald-http".to_owned())
            .spawn(move || accept_all(&listener, &for_acceptor))?;
        Ok(Serving {
            shared,
            address,
            acceptor: Some(acceptor),
        })
    }
}

impl Serving {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        // It may wait for a connection: this is one.
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            });
        }
        let woken = TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
        // Not woken, it is left behind: it has nothing that others need.
        if let Some(acceptor) = self.acceptor.take().filter(|_| woken) {
            let _ = acceptor.join();
        }
    }
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    let mut next_id = 0;
    loop {
        let accepted = listener.accept();
        if shared.is_ending() {
            break;
        }
        threads.retain(|thread| !thread.is_finished());
        let Ok((stream, peer)) = accepted else {
            // Too few files, mostly: to try at once would only burn time.
            std::thread::sleep(Duration::from_millis(100));
            continue;
        };
        next_id += 1;
        match begin(stream, peer, next_id, shared, threads.len()) {
            Ok(Some(thread)) => threads.push(thread),
            Ok(None) => {}
            Err(e) => log::warn!("can't serve a connection of HTTP: {e}"),
        }
    }
    for stream in shared.open().values() {
        let _ = stream.shutdown(Shutdown::Both);
    }
    for thread in threads {
        let _ = thread.join();
    }
}

fn begin(
    mut stream: TcpStream,
    peer: SocketAddr,
    id: u64,
    shared: &Arc<Shared>,
    open: usize,
) -> io::Result<Option<JoinHandle<()>>> {
    stream.set_nodelay(true)?;
    if open >= CONNECTIONS_MAX && shared.tls.is_some() {
        // Before both sides have agreed on how to encrypt nothing can be said.
        return Ok(None);
    }
    if open >= CONNECTIONS_MAX {
        // A short answer fits into the socket's buffer: this waits for nobody.
        stream.set_write_timeout(Some(Duration::from_millis(10)))?;
        let busy = Response::error(503, "BUSY", "there are too many connections");
        return io::Write::write_all(&mut stream, &[&busy.head(false), busy.body()].concat()).map(|()| None);
    }
    let session = shared.tls.as_ref().map(Tls::accept).transpose()?;
    shared.open().insert(id, stream.try_clone()?);
    let wire = Wire::new(stream, session);
    let of_thread = shared.clone();
    let thread = std::thread::Builder::new()
        .name(format!("weald-http-{id}"))
        .spawn(move || {
            connection::serve(wire, peer, &of_thread);
            of_thread.open().remove(&id);
        });
    thread.map(Some).inspect_err(|_| drop(shared.open().remove(&id)))
}

#[cfg(test)]
mod tests;
