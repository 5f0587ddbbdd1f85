//! Transport by UDP for what fits a datagram, and by TCP, on the port of the same number, for what doesn't.
//!
//! A datagram carries whole messages, as many as fit, encrypted under a session of its own: the same handshake as by TCP, in three [datagrams](packet), then numbered ones. One that was forged or changed is dropped,
//! one that comes twice counts once. Datagrams may be lost or come in another order, and nothing is sent again: the protocol asks again for what matters. A [link](link) sends what waits for one address, [`listen`] takes what comes.
//!
//! The price: what is lost waits until the protocol asks again, half a second; it suits a network that loses little. Two threads serve all peers, so that a name which takes long to look up, or
//! a node that has no room, holds up the others as well. Two sockets and two sessions for each peer.

mod link;
mod listen;
mod packet;

use std::collections::HashMap;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use weald_cluster_proto::{Lane, NodeId};

use super::lanes::HEADER as CHUNK;
use super::session::{Noise, SessionError};
use super::tcp::{Counts, Tcp, TcpError, TcpOptions, add};
use super::{Receive, Transport, TransportStats};
use crate::keys::Keys;
use link::{Link, Step, Times};
use packet::{HEADER, TAG};

/// How a UDP transport behaves.
#[derive(Clone, Debug)]
pub struct UdpOptions {
    /// Addresses, times and bounds, for datagrams and for the connections beside them.
    pub tcp: TcpOptions,
    /// The longest datagram, from 256 to 65,000 bytes. One that is longer than the path takes is cut on the way, or lost.
    pub datagram_bytes: usize,
}

impl UdpOptions {
    /// Datagrams that pass everywhere.
    pub fn new(listen: impl Into<String>) -> UdpOptions {
        UdpOptions {
            tcp: TcpOptions::new(listen),
            datagram_bytes: 1200,
        }
    }
}

/// What one datagram may bring in before the system drops the next ones.
const BUFFER_BYTES: usize = 4 << 20;
/// How often a port is tried that must be free for both.
const BINDS: usize = 32;

struct Shared {
    options: UdpOptions,
    times: Times,
    noise: Noise,
    socket: UdpSocket,
    counts: Counts,
    stopped: AtomicBool,
    links: Mutex<Links>,
    wake: Condvar,
}

#[derive(Default)]
struct Links {
    by_address: HashMap<Vec<u8>, Link>,
    /// Which address a handshake or session of ours is with.
    names: HashMap<u64, Vec<u8>>,
}

/// A random name for a session.
fn draw() -> Result<u64, SessionError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(u64::from_le_bytes(bytes))
}

impl Shared {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send_to(&self, datagram: &[u8], to: SocketAddr) -> bool {
        let sent = self.socket.send_to(datagram, to).is_ok();
        if sent {
            add(&self.counts.writes, 1);
            add(&self.counts.sent_bytes, datagram.len() as u64);
        }
        sent
    }

    fn answered(&self, name: u64, responder: u64, message: &[u8], now: Instant) -> Result<(), SessionError> {
        let mut links = self.lock();
        let Links { by_address, names } = &mut *links;
        let link = names.get(&name).and_then(|address| by_address.get_mut(address));
        let Some(link) = link.filter(|link| link.greeting_name() == Some(name)) else {
            return Ok(());
        };
        link.answered(&self.noise, responder, message, now)?;
        drop(links);
        self.wake.notify_all();
        Ok(())
    }

    fn receipt(&self, name: u64, number: u64, sealed: &[u8], now: Instant) -> Result<(), SessionError> {
        let mut links = self.lock();
        let Links { by_address, names } = &mut *links;
        let Some(link) = names.get(&name).and_then(|address| by_address.get_mut(address)) else {
            return Ok(());
        };
        let opened = link.receipt(name, number, sealed, now)?;
        add(&self.counts.sessions, u64::from(opened));
        drop(links);
        self.wake.notify_all();
        Ok(())
    }

    /// Sends what waits and does what is due, until the transport stops.
    fn run(&self) {
        while !self.is_stopped() {
            let mut links = self.lock();
            let now = Instant::now();
            let (steps, unknown) = links.steps(self, now);
            if steps.is_empty() && unknown.is_empty() {
                let due = links.due().unwrap_or(now + Duration::from_secs(1));
                let wait = due.saturating_duration_since(now).max(Duration::from_millis(1));
                drop(
                    self.wake
                        .wait_timeout(links, wait)
                        .unwrap_or_else(PoisonError::into_inner),
                );
                continue;
            }
            drop(links);
            for (socket, datagrams) in steps {
                for datagram in datagrams {
                    self.send_to(&datagram, socket);
                }
            }
            for address in unknown {
                let socket = look_up(&address, &self.socket);
                let mut links = self.lock();
                if let Some(link) = links.by_address.get_mut(&address) {
                    link.socket = socket;
                    if socket.is_none() {
                        let step = link.unreachable(Instant::now(), &self.times);
                        self.count(&step);
                    }
                }
            }
        }
    }

    fn count(&self, step: &Step) {
        add(&self.counts.sent, step.sent);
        add(&self.counts.dropped, step.dropped);
        add(&self.counts.broken, u64::from(step.broken));
    }
}

/// The first address of the kind that the socket speaks.
fn look_up(address: &[u8], socket: &UdpSocket) -> Option<SocketAddr> {
    let v4 = socket.local_addr().ok()?.is_ipv4();
    let mut found = std::str::from_utf8(address).ok()?.to_socket_addrs().ok()?;
    found.find(|found| found.is_ipv4() == v4)
}

type Datagrams = Vec<(SocketAddr, Vec<Vec<u8>>)>;

impl Links {
    /// What all links want to send now, and the addresses that must be looked up first.
    fn steps(&mut self, shared: &Shared, now: Instant) -> (Datagrams, Vec<Vec<u8>>) {
        let (mut sending, mut unknown) = (Vec::new(), Vec::new());
        let idle = shared.options.tcp.idle_timeout;
        self.by_address.retain(|_, link| {
            let down = link.down_until.is_some_and(|until| now < until);
            down || !link.lanes.is_empty() || link.greeting_name().is_some() || now < link.last_used + idle
        });
        for (address, link) in &mut self.by_address {
            let Some(socket) = link.socket else {
                if !link.lanes.is_empty() {
                    unknown.push(address.clone());
                }
                continue;
            };
            let mut drawn = Ok(0);
            let step = link.step(&shared.noise, &shared.times, now, || {
                drawn = draw();
                *drawn.as_ref().unwrap_or(&0)
            });
            let step = match drawn.and(step) {
                Ok(step) => step,
                Err(error) => {
                    log::error!("no datagrams can be made: {error}");
                    link.unreachable(now, &shared.times)
                }
            };
            shared.count(&step);
            if let Some(name) = step.named {
                self.names.insert(name, address.clone());
            }
            if !step.datagrams.is_empty() {
                sending.push((socket, step.datagrams));
            }
        }
        let Links { by_address, names } = self;
        if names.len() > 4 * by_address.len() + 16 {
            names.retain(|&name, address| {
                by_address
                    .get(address)
                    .is_some_and(|link| link.name() == name || link.greeting_name() == Some(name))
            });
        }
        (sending, unknown)
    }

    fn due(&self) -> Option<Instant> {
        self.by_address.values().filter_map(Link::due).min()
    }
}

/// Transport by UDP, and TCP for long messages.
///
/// ```
/// use weald_cluster::{Identity, Keys, Transport, Udp, UdpOptions};
///
/// let dir = tempfile::tempdir()?;
/// let keys = Keys::new(Identity::open(dir.path())?, "orchard", b"sixteen random bytes");
/// let udp = Udp::bind(UdpOptions::new("127.0.0.1:0"), keys)?;
/// assert!(udp.address().starts_with(b"127.0.0.1:"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Udp {
    shared: Arc<Shared>,
    tcp: Arc<Tcp>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Udp {
    /// Listens for both. Nobody is let in before [`start`](Transport::start).
    pub fn bind(options: UdpOptions, keys: Keys) -> Result<Arc<Udp>, TcpError> {
        let noise = Noise::new(keys.clone(), b"weald datagrams 1\0")
            .map_err(|error| TcpError::Keys(error.to_string()))?;
        let beside = options.tcp.clone();
        let bind_tcp = move || Tcp::bind(beside.clone(), keys.clone());
        let mut tries = 0;
        let (tcp, socket) = loop {
            tries += 1;
            let tcp = bind_tcp()?;
            match UdpSocket::bind(tcp.local()) {
                Ok(socket) => break (tcp, socket),
                // Any port will do: one that is free for both.
                Err(_) if options.tcp.listen.ends_with(":0") && tries < BINDS => {}
                Err(source) => {
                    let address = tcp.local().to_string();
                    return Err(TcpError::Listen { address, source });
                }
            }
        };
        let failed = |source| TcpError::Listen {
            address: options.tcp.listen.clone(),
            source,
        };
        let raw = socket2::SockRef::from(&socket);
        // As much as the system allows: what doesn't fit is lost.
        let _ = raw.set_recv_buffer_size(BUFFER_BYTES);
        let _ = raw.set_send_buffer_size(BUFFER_BYTES);
        socket
            .set_read_timeout(Some(Duration::from_millis(500)))
            .map_err(failed)?;
        let room = options.datagram_bytes.clamp(256, 65_000) - HEADER - TAG - 1;
        Ok(Arc::new(Udp {
            shared: Arc::new(Shared {
                times: Times {
                    connect: options.tcp.connect_timeout,
                    silence_max: options.tcp.check_interval * 3,
                    retry_max: options.tcp.retry_max,
                    room,
                },
                options,
                noise,
                socket,
                counts: Counts::default(),
                stopped: AtomicBool::new(false),
                links: Mutex::default(),
                wake: Condvar::new(),
            }),
            tcp,
            threads: Mutex::default(),
        }))
    }

    fn queue(&self, to: Option<NodeId>, address: &[u8], lane: Lane, message: Vec<u8>) -> bool {
        let shared = &self.shared;
        if shared.is_stopped() || address == self.address() {
            return false;
        }
        let now = Instant::now();
        let mut links = shared.lock();
        if !links.by_address.contains_key(address) {
            if links.by_address.len() >= shared.options.tcp.links_max {
                return false;
            }
            links.by_address.insert(address.to_vec(), Link::new(now));
        }
        let link = links.by_address.get_mut(address).expect("it was put there");
        if link.down_until.is_some_and(|until| now < until) {
            return false;
        }
        let queued = link
            .lanes
            .push(to, lane, message, shared.options.tcp.lane_bytes_max);
        link.messages += u64::from(queued);
        link.last_used = now;
        drop(links);
        shared.wake.notify_all();
        queued
    }
}

impl Transport for Udp {
    fn address(&self) -> Vec<u8> {
        self.tcp.address()
    }

    fn start(&self, receiver: Arc<dyn Receive>) {
        self.tcp.start(receiver.clone());
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if threads.is_empty() {
            let (sends, takes) = (self.shared.clone(), self.shared.clone());
            threads.push(std::thread::spawn(move || sends.run()));
            threads.push(std::thread::spawn(move || listen::run(&takes, &receiver)));
        }
    }

    fn send(&self, to: Option<NodeId>, address: &[u8], lane: Lane, message: Vec<u8>) -> bool {
        if message.len() + CHUNK > self.shared.times.room {
            return self.tcp.send(to, address, lane, message);
        }
        let queued = self.queue(to, address, lane, message);
        if !queued {
            add(&self.shared.counts.dropped, 1);
        }
        queued
    }

    fn stats(&self) -> TransportStats {
        let (short, long) = (self.shared.counts.get(), self.tcp.stats());
        TransportStats {
            sent: short.sent + long.sent,
            sent_bytes: short.sent_bytes + long.sent_bytes,
            writes: short.writes + long.writes,
            dropped: short.dropped + long.dropped,
            received: short.received + long.received,
            received_bytes: short.received_bytes + long.received_bytes,
            sessions: short.sessions + long.sessions,
            refused: short.refused + long.refused,
            broken: short.broken + long.broken,
        }
    }

    fn stop(&self) {
        let shared = &self.shared;
        let until = Instant::now() + Duration::from_millis(500);
        let waits = || {
            shared
                .lock()
                .by_address
                .values()
                .any(|link| !link.lanes.is_empty())
        };
        while waits() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        shared.stopped.store(true, Ordering::SeqCst);
        shared.wake.notify_all();
        // Whoever waits for a datagram gets one.
        if let Ok(local) = shared.socket.local_addr() {
            let _ = shared.socket.send_to(&[0], super::tcp::reachable(local));
        }
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            thread.join().expect("it doesn't panic");
        }
        self.tcp.stop();
    }
}
