//! Transport by QUIC: one connection for each direction between two nodes, with TLS 1.3 in it ([`tls`](super::tls)), and a stream for each lane.
//!
//! A lost datagram holds up only the lane whose bytes it carried, and a peer that doesn't read a lane holds up only that one. A [link](link) connects and sends what waits; [`listen`] takes what others send.
//! After the handshake each side proves on a stream of its own that it knows the cluster's secret; before that nothing else is read.
//!
//! The price: QUIC is encrypted and acknowledged by this process rather than the kernel, at several times TCP's cost for each exchange; it brings tokio, and one thread for all connections beside one for each peer that sends.

mod link;
mod listen;

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use rustls::pki_types::CertificateDer;
use tokio::runtime::{Handle, Runtime};
use weald_cluster_proto::{Lane, NodeId};

use super::session::SessionError;
use super::tcp::{Counts, TcpError, TcpOptions, add};
use super::tls::{EXPORTER, PROOF_LEN, TlsKeys};
use super::{Receive, Transport, TransportStats};
use crate::keys::Keys;
use link::Link;

const LANES: u8 = Lane::ALL.len() as u8;
/// Bytes of a lane that may be on their way unread.
const LANE_WINDOW: u32 = 1 << 20;
/// Nobody has done anything wrong.
const FINE: VarInt = VarInt::from_u32(0);
/// The other side sent what no node sends.
const WRONG: VarInt = VarInt::from_u32(1);

/// What the tasks of a transport share.
struct Shared {
    options: TcpOptions,
    tls: TlsKeys,
    endpoint: Endpoint,
    client: ClientConfig,
    handle: Handle,
    counts: Counts,
    stopped: AtomicBool,
    links: Mutex<HashMap<Vec<u8>, Arc<Link>>>,
    /// Links that still run.
    running: AtomicU64,
    incoming: AtomicU64,
    handshakes: AtomicU64,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Connections that go on, and what was counted of them.
    live: Mutex<HashMap<usize, (Connection, Account)>>,
}

impl Shared {
    fn begin(&self, connection: &Connection) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.insert(connection.stable_id(), (connection.clone(), Account::default()));
    }

    fn end(&self, connection: &Connection) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, mut account)) = live.remove(&connection.stable_id()) {
            account.settle(&self.counts, connection);
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Runs a thread that is waited for in the end.
    fn spawn_thread(&self, run: impl FnOnce() + Send + 'static) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        threads.push(std::thread::spawn(run));
    }

    /// Who is at the other end, by the key that the handshake proved.
    fn peer(&self, connection: &Connection) -> Result<NodeId, SessionError> {
        let identity = connection.peer_identity().ok_or(SessionError::Stranger)?;
        let certificates = identity
            .downcast::<Vec<CertificateDer<'static>>>()
            .map_err(|_| SessionError::Stranger)?;
        certificates
            .first()
            .and_then(|certificate| self.tls.peer(certificate))
            .ok_or(SessionError::Stranger)
    }

    /// What proves the secret on this connection: of the one who connected, and of the one who answered.
    fn proofs(&self, connection: &Connection) -> Result<([u8; PROOF_LEN], [u8; PROOF_LEN]), SessionError> {
        let mut material = [0; 32];
        connection
            .export_keying_material(&mut material, EXPORTER, b"")
            .map_err(|_| SessionError::Stranger)?;
        Ok(self.tls.proofs(&material))
    }
}

/// Compares in the same time wherever they differ.
fn check(proof: [u8; PROOF_LEN], expected: [u8; PROOF_LEN]) -> Result<(), SessionError> {
    if blake3::Hash::from(proof) == blake3::Hash::from(expected) {
        Ok(())
    } else {
        Err(SessionError::Stranger)
    }
}

/// A connection that broke, or whose other side lacks the secret: that is refused, the rest is the network.
fn failed(error: impl Into<io::Error>) -> SessionError {
    SessionError::Io(error.into())
}

fn lost(error: quinn::ConnectionError) -> SessionError {
    match error {
        // The other side, or this one, did not like the key.
        quinn::ConnectionError::TransportError(_) | quinn::ConnectionError::ConnectionClosed(_) => {
            SessionError::Stranger
        }
        other => failed(other),
    }
}

/// What was counted of a connection so far.
#[derive(Default)]
struct Account([u64; 3]);

impl Account {
    /// Adds what the connection has sent and got since the last time.
    fn settle(&mut self, counts: &Counts, connection: &Connection) {
        let stats = connection.stats();
        let now = [stats.udp_tx.bytes, stats.udp_tx.ios, stats.udp_rx.bytes];
        let totals = [&counts.sent_bytes, &counts.writes, &counts.received_bytes];
        for ((total, before), now) in totals.into_iter().zip(&mut self.0).zip(now) {
            add(total, now.saturating_sub(std::mem::replace(before, now)));
        }
    }
}

/// Transport by QUIC.
///
/// ```
/// use weald_cluster::{Identity, Keys, Quic, TcpOptions, Transport};
///
/// let dir = tempfile::tempdir()?;
/// let keys = Keys::new(Identity::open(dir.path())?, "orchard", b"sixteen random bytes");
/// let quic = Quic::bind(TcpOptions::new("127.0.0.1:0"), keys)?;
/// assert!(quic.address().starts_with(b"127.0.0.1:"));
/// quic.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Quic {
    shared: Arc<Shared>,
    runtime: Mutex<Option<Runtime>>,
    address: Vec<u8>,
}

impl Quic {
    /// Listens. Nobody is let in before [`start`](Transport::start).
    pub fn bind(options: TcpOptions, keys: Keys) -> Result<Arc<Quic>, TcpError> {
        let listen = |source| TcpError::Listen {
            address: options.listen.clone(),
            source,
        };
        let unusable = |error: &dyn std::fmt::Display| TcpError::Keys(error.to_string());
        let tls = TlsKeys::new(keys).map_err(|error| unusable(&error))?;
        let (client, server) = tls.configs();
        let client = QuicClientConfig::try_from(client).map_err(|error| unusable(&error))?;
        let server = QuicServerConfig::try_from(server).map_err(|error| unusable(&error))?;
        let transport = Arc::new(transport(&options));
        let mut server = ServerConfig::with_crypto(Arc::new(server));
        server
            .transport_config(transport.clone())
            .max_incoming(options.handshakes_max.max(1));
        let mut client = ClientConfig::new(Arc::new(client));
        client.transport_config(transport);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(listen)?;
        let entered = runtime.enter();
        let socket = UdpSocket::bind(&options.listen).map_err(listen)?;
        let local = socket.local_addr().map_err(listen)?;
        let endpoint = Endpoint::new(
            EndpointConfig::default(),
            Some(server),
            socket,
            Arc::new(TokioRuntime),
        )
        .map_err(listen)?;
        drop(entered);
        let address = options.advertise.clone().unwrap_or_else(|| local.to_string());
        Ok(Arc::new(Quic {
            shared: Arc::new(Shared {
                options,
                tls,
                endpoint,
                client,
                handle: runtime.handle().clone(),
                counts: Counts::default(),
                stopped: AtomicBool::new(false),
                links: Mutex::default(),
                running: AtomicU64::new(0),
                incoming: AtomicU64::new(0),
                handshakes: AtomicU64::new(0),
                threads: Mutex::default(),
                live: Mutex::default(),
            }),
            runtime: Mutex::new(Some(runtime)),
            address: address.into_bytes(),
        }))
    }

    fn queue(&self, to: Option<NodeId>, address: &[u8], lane: Lane, message: Vec<u8>) -> bool {
        let shared = &self.shared;
        if shared.is_stopped() || address == self.address {
            return false;
        }
        let lane_bytes_max = shared.options.lane_bytes_max;
        let mut links = shared.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = links.get(address) {
            return link.push(to, lane, message, lane_bytes_max);
        }
        if links.len() >= shared.options.links_max {
            return false;
        }
        let link = Arc::new(Link::new(address));
        let queued = link.push(to, lane, message, lane_bytes_max);
        links.insert(address.to_vec(), link.clone());
        shared.running.fetch_add(1, Ordering::SeqCst);
        shared.handle.spawn(link::run(shared.clone(), link));
        queued
    }
}

/// Windows for each lane, and for all of them together, so that none has to wait for another.
fn transport(options: &TcpOptions) -> TransportConfig {
    let mut config = TransportConfig::default();
    let silence_max = options.check_interval * 3;
    config
        .max_concurrent_uni_streams(u32::from(LANES).into())
        .max_concurrent_bidi_streams(1u32.into())
        .stream_receive_window(LANE_WINDOW.into())
        .receive_window((LANE_WINDOW * u32::from(LANES + 1)).into())
        .send_window(u64::from(LANE_WINDOW) * u64::from(LANES + 1))
        .max_idle_timeout(silence_max.try_into().ok())
        .keep_alive_interval(Some(options.check_interval))
        .datagram_receive_buffer_size(None);
    config
}

impl Transport for Quic {
    fn address(&self) -> Vec<u8> {
        self.address.clone()
    }

    fn start(&self, receiver: Arc<dyn Receive>) {
        let shared = self.shared.clone();
        self.shared.handle.spawn(listen::run(shared, receiver));
    }

    fn send(&self, to: Option<NodeId>, address: &[u8], lane: Lane, message: Vec<u8>) -> bool {
        let queued = self.queue(to, address, lane, message);
        if !queued {
            add(&self.shared.counts.dropped, 1);
        }
        queued
    }

    fn stats(&self) -> TransportStats {
        let mut live = self.shared.live.lock().unwrap_or_else(PoisonError::into_inner);
        for (connection, account) in live.values_mut() {
            account.settle(&self.shared.counts, connection);
        }
        self.shared.counts.get()
    }

    fn stop(&self) {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(runtime) = runtime else { return };
        let shared = &self.shared;
        let links = || -> Vec<Arc<Link>> {
            let links = shared.links.lock().unwrap_or_else(PoisonError::into_inner);
            links.values().cloned().collect()
        };
        let wait = |limit: Duration, is_over: &dyn Fn() -> bool| {
            let until = Instant::now() + limit;
            while !is_over() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(2));
            }
        };
        wait(Duration::from_millis(500), &|| {
            !links().iter().any(|link| link.is_busy())
        });
        shared.stopped.store(true, Ordering::SeqCst);
        links().iter().for_each(|link| link.wake_all());
        wait(Duration::from_millis(500), &|| {
            shared.running.load(Ordering::SeqCst) == 0
        });
        shared.endpoint.close(FINE, b"");
        let idle =
            async { tokio::time::timeout(Duration::from_millis(200), shared.endpoint.wait_idle()).await };
        let _ = runtime.block_on(idle);
        // With the tasks go the queues that the threads wait for.
        runtime.shutdown_timeout(Duration::from_millis(500));
        let threads = std::mem::take(&mut *shared.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            thread.join().expect("it doesn't panic");
        }
    }
}

/// Which of the looked-up addresses the endpoint can speak to.
fn speaks(endpoint: &Endpoint, address: SocketAddr) -> bool {
    endpoint
        .local_addr()
        .is_ok_and(|local| local.is_ipv4() == address.is_ipv4())
}
