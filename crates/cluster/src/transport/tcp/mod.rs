//! Transport by TCP: one connection for each direction between two nodes, encrypted and authenticated ([`session`](super::session)) by Noise or TLS 1.3.
//!
//! A [`link`](Link) is a thread that connects, and asks from time to time whether the other side is still there. What is short is written by whoever sends
//! it; what is long, or finds no room, waits in the link's lanes for the thread. Whoever
//! connects gets a thread too ([`listen`]), which reads until the connection breaks, sends what it should not, or is silent for too long.
//!
//! The price: two threads for each peer, and a stranger who connects holds a thread for as long as a handshake may take; both are bounded.

mod link;
mod listen;

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use thiserror::Error;
use weald_cluster_proto::{Lane, NodeId};

use super::session::Sessions;
use super::{Receive, Transport, TransportStats};
use crate::keys::Keys;
use link::Link;

/// How a transport by connections behaves: by TCP, with or without TLS, or by QUIC.
#[derive(Clone, Debug)]
pub struct TcpOptions {
    /// The address to listen on, `host:port`; port 0 takes any that is free.
    pub listen: String,
    /// The address that peers are told, where it differs.
    pub advertise: Option<String>,
    /// How long connecting and shaking hands may take.
    pub connect_timeout: Duration,
    /// How often a connection is checked. One whose other side says nothing for three times as long is given up.
    pub check_interval: Duration,
    /// After how long without messages a connection is closed.
    pub idle_timeout: Duration,
    /// The longest wait before an address is tried again. The first is a fiftieth of it.
    pub retry_max: Duration,
    /// Bytes that wait in each of a peer's five lanes at most.
    pub lane_bytes_max: usize,
    /// Addresses that messages wait for at most.
    pub links_max: usize,
    /// Connections of others at most.
    pub incoming_max: usize,
    /// Those of them that have not proved who they are.
    pub handshakes_max: usize,
}

impl TcpOptions {
    /// What fits a cluster of up to some hundred nodes.
    pub fn new(listen: impl Into<String>) -> TcpOptions {
        TcpOptions {
            listen: listen.into(),
            advertise: None,
            connect_timeout: Duration::from_secs(3),
            check_interval: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(60),
            retry_max: Duration::from_secs(5),
            lane_bytes_max: 32 << 20,
            links_max: 1024,
            incoming_max: 512,
            handshakes_max: 64,
        }
    }
}

/// Why a transport can't be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TcpError {
    /// The address can't be listened on.
    #[error("{address}: {source}")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// There is no io_uring to be had.
    #[cfg(all(target_os = "linux", feature = "io_uring"))]
    #[error(
        "the transport 'uring' needs io_uring of Linux 5.11 or later, which this system does not let it have (kernel.io_uring_disabled, or a container's \
         filter of system calls); 'tcp' does without it, and talks to nodes with 'uring': {0}"
    )]
    Uring(#[source] io::Error),
    /// The session's keys can't be made.
    #[error("the keys of sessions can't be made: {0}")]
    Keys(String),
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) sent: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) received_bytes: AtomicU64,
    pub(super) sessions: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) broken: AtomicU64,
}

impl Counts {
    pub(super) fn get(&self) -> TransportStats {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        TransportStats {
            sent: get(&self.sent),
            sent_bytes: get(&self.sent_bytes),
            writes: get(&self.writes),
            dropped: get(&self.dropped),
            received: get(&self.received),
            received_bytes: get(&self.received_bytes),
            sessions: get(&self.sessions),
            refused: get(&self.refused),
            broken: get(&self.broken),
        }
    }
}

pub(super) fn add(count: &AtomicU64, by: u64) {
    count.fetch_add(by, Ordering::Relaxed);
}

/// What the threads of a transport share.
struct Shared {
    options: TcpOptions,
    sessions: Arc<Sessions>,
    counts: Counts,
    stopped: AtomicBool,
    links: Mutex<HashMap<Vec<u8>, Arc<Link>>>,
    /// Sockets that may have to be closed from outside, by a number.
    sockets: Mutex<HashMap<u64, TcpStream>>,
    next_socket: AtomicU64,
    /// Connections of others, and those of them that still shake hands.
    incoming: AtomicU64,
    handshakes: AtomicU64,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Shared {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Runs a thread that is waited for in the end.
    fn spawn(&self, run: impl FnOnce() + Send + 'static) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        threads.push(std::thread::spawn(run));
    }

    /// Remembers a socket, so that whoever waits on it can be woken.
    fn watch(self: &Arc<Self>, stream: &TcpStream) -> io::Result<Watched> {
        let number = self.next_socket.fetch_add(1, Ordering::Relaxed);
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.insert(number, stream.try_clone()?);
        Ok(Watched {
            shared: self.clone(),
            number,
        })
    }
}

/// Where a socket that is bound to an address can be reached from here.
pub(super) fn reachable(mut local: SocketAddr) -> SocketAddr {
    if local.ip().is_unspecified() {
        local.set_ip(if local.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    local
}

struct Watched {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut sockets = self.shared.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.remove(&self.number);
    }
}

/// Transport by TCP.
///
/// ```
/// use weald_cluster::{Identity, Keys, Tcp, TcpOptions, Transport};
///
/// let dir = tempfile::tempdir()?;
/// let keys = Keys::new(Identity::open(dir.path())?, "orchard", b"sixteen random bytes");
/// let tcp = Tcp::bind(TcpOptions::new("127.0.0.1:0"), keys)?;
/// assert!(tcp.address().starts_with(b"127.0.0.1:"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Tcp {
    shared: Arc<Shared>,
    listener: Mutex<Option<TcpListener>>,
    local: SocketAddr,
    address: Vec<u8>,
}

impl Tcp {
    /// Listens. Nobody is let in before [`start`](Transport::start).
    pub fn bind(options: TcpOptions, keys: Keys) -> Result<Arc<Tcp>, TcpError> {
        let sessions = Sessions::noise(keys).map_err(|error| TcpError::Keys(error.to_string()))?;
        Tcp::bind_with(options, sessions)
    }

    /// Listens, and speaks TLS 1.3 instead of Noise. Nobody is let in before [`start`](Transport::start).
    #[cfg(feature = "tls")]
    pub fn bind_tls(options: TcpOptions, keys: Keys) -> Result<Arc<Tcp>, TcpError> {
        let sessions = Sessions::tls(keys).map_err(|error| TcpError::Keys(error.to_string()))?;
        Tcp::bind_with(options, sessions)
    }

    fn bind_with(options: TcpOptions, sessions: Arc<Sessions>) -> Result<Arc<Tcp>, TcpError> {
        let failed = |source| TcpError::Listen {
            address: options.listen.clone(),
            source,
        };
        let listener = TcpListener::bind(&options.listen).map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        let address = options.advertise.clone().unwrap_or_else(|| local.to_string());
        Ok(Arc::new(Tcp {
            shared: Arc::new(Shared {
                options,
                sessions,
                counts: Counts::default(),
                stopped: AtomicBool::new(false),
                links: Mutex::default(),
                sockets: Mutex::default(),
                next_socket: AtomicU64::new(0),
                incoming: AtomicU64::new(0),
                handshakes: AtomicU64::new(0),
                threads: Mutex::default(),
            }),
            listener: Mutex::new(Some(listener)),
            local,
            address: address.into_bytes(),
        }))
    }

    /// The address that it listens on.
    pub(super) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Says how many were queued.
    fn queue(&self, to: Option<NodeId>, address: &[u8], messages: Vec<(Lane, Vec<u8>)>) -> usize {
        let shared = &self.shared;
        if shared.is_stopped() || address == self.address {
            return 0;
        }
        let mut links = shared.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = links.get(address) {
            return link.push(shared, to, messages);
        }
        if links.len() >= shared.options.links_max {
            return 0;
        }
        let link = Arc::new(Link::new(address));
        let queued = link.push(shared, to, messages);
        links.insert(address.to_vec(), link.clone());
        let for_thread = shared.clone();
        shared.spawn(move || link::run(&for_thread, &link));
        queued
    }
}

impl Transport for Tcp {
    fn address(&self) -> Vec<u8> {
        self.address.clone()
    }

    fn start(&self, receiver: Arc<dyn Receive>) {
        let listener = self
            .listener
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(listener) = listener {
            let shared = self.shared.clone();
            self.shared
                .spawn(move || listen::run(&shared, &listener, &receiver));
        }
    }

    fn send(&self, to: Option<NodeId>, address: &[u8], lane: Lane, message: Vec<u8>) -> bool {
        self.send_all(to, address, vec![(lane, message)]) == 0
    }

    fn send_all(&self, to: Option<NodeId>, address: &[u8], messages: Vec<(Lane, Vec<u8>)>) -> usize {
        let dropped = messages.len() - self.queue(to, address, messages);
        add(&self.shared.counts.dropped, dropped as u64);
        dropped
    }

    fn stats(&self) -> TransportStats {
        self.shared.counts.get()
    }

    fn stop(&self) {
        let shared = &self.shared;
        let until = Instant::now() + Duration::from_millis(500);
        let waits = || {
            let links = shared.links.lock().unwrap_or_else(PoisonError::into_inner);
            links.values().any(|link| link.is_busy())
        };
        while waits() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        shared.stopped.store(true, Ordering::SeqCst);
        let links = std::mem::take(&mut *shared.links.lock().unwrap_or_else(PoisonError::into_inner));
        links.values().for_each(|link| link.wake());
        // Whoever waits for a connection gets one.
        let _ = TcpStream::connect_timeout(&reachable(self.local), Duration::from_secs(1));
        loop {
            for socket in shared
                .sockets
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .values()
            {
                let _ = socket.shutdown(Shutdown::Both);
            }
            let thread = shared
                .threads
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop();
            let Some(thread) = thread else { break };
            thread.join().expect("it doesn't panic");
        }
    }
}
