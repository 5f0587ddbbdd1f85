//! Transport by TCP through io_uring: the same bytes as [`Tcp`](super::Tcp) with Noise, so that either talks to the other, and two threads for all peers
//! instead of two for each.
//!
//! One thread sends ([`outgoing`]): it connects, shakes hands, and writes what waits in each [`link`]'s lanes. The other receives ([`incoming`]). Each
//! has a ring of its own, and one call of the kernel begins what it has to do for all peers and waits for whatever ends first. They are two because handing a
//! message to the node waits while the node has no room, and sending must not. A [`wire`] is a connection as both see it.
//!
//! The price: one core encrypts for all peers, and one decrypts; Linux only, and only where io_uring is allowed.

mod incoming;
mod link;
mod outgoing;
mod wire;

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use weald_cluster_proto::{Lane, NodeId};
use weald_vfs::{Ended, SocketRing, Waker};

use super::session::{Noise, STREAMS};
use super::tcp::{Counts, TcpError, TcpOptions, add};
use super::{Receive, Transport, TransportStats};
use crate::keys::Keys;
use link::Link;

/// How long a thread rests after the kernel refused to wait.
const REST: Duration = Duration::from_millis(20);
/// A time that doesn't come.
const NEVER: Duration = Duration::from_secs(3600);

/// What the two threads and the callers share.
struct Shared {
    options: TcpOptions,
    noise: Noise,
    counts: Counts,
    stopped: AtomicBool,
    links: Mutex<HashMap<Vec<u8>, Arc<Link>>>,
    next_link: AtomicU64,
    /// What the sending thread has been told.
    told: Mutex<Vec<Told>>,
}

/// News for the thread that sends.
enum Told {
    /// A link has messages.
    Waiting(Arc<Link>),
    /// What a name stands for, asked for by that link's attempt.
    Resolved(u64, u32, io::Result<Vec<SocketAddr>>),
}

impl Shared {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn links(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, Vec<Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits, whatever the kernel says.
fn wait(ring: &mut SocketRing, until: Instant, ended: &mut Vec<Ended>) {
    if let Err(error) = ring.wait(until, ended) {
        log::error!("io_uring: {error}");
        std::thread::sleep(REST);
    }
}

/// Transport by TCP through io_uring.
///
/// ```
/// use weald_cluster::{Identity, Keys, TcpError, TcpOptions, Transport, Uring};
///
/// let dir = tempfile::tempdir()?;
/// let keys = Keys::new(Identity::open(dir.path())?, "orchard", b"sixteen random bytes");
/// match Uring::bind(TcpOptions::new("127.0.0.1:0"), keys) {
///     Ok(uring) => assert!(uring.address().starts_with(b"127.0.0.1:")),
///     // Forbidden here: the error says by what it may be.
///     Err(error) => assert!(matches!(error, TcpError::Uring(_))),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Uring {
    shared: Arc<Shared>,
    address: Vec<u8>,
    /// Says to the receiving thread whom it receives for.
    receiver: Mutex<Option<Sender<Arc<dyn Receive>>>>,
    /// Wakers of the thread that receives and the one that sends.
    wakers: [Waker; 2],
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Uring {
    /// Listens. Nobody is let in before [`start`](Transport::start). Fails with [`TcpError::Uring`] where io_uring is missing or forbidden.
    pub fn bind(options: TcpOptions, keys: Keys) -> Result<Arc<Uring>, TcpError> {
        let noise = Noise::new(keys, STREAMS).map_err(|error| TcpError::Keys(error.to_string()))?;
        let failed = |source| TcpError::Listen {
            address: options.listen.clone(),
            source,
        };
        let listener = TcpListener::bind(&options.listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        let address = options.advertise.clone().unwrap_or_else(|| local.to_string());
        let shared = Arc::new(Shared {
            options,
            noise,
            counts: Counts::default(),
            stopped: AtomicBool::new(false),
            links: Mutex::default(),
            next_link: AtomicU64::new(0),
            told: Mutex::default(),
        });
        let (receiver, received) = channel();
        let (for_incoming, for_outgoing) = (shared.clone(), shared.clone());
        let (receives, incoming) = with_ring(move |ring| {
            // Nobody says it if the transport is dropped before its start.
            if let Ok(receiver) = Receiver::recv(&received) {
                incoming::run(&for_incoming, ring, listener, receiver);
            }
        })?;
        // If this fails, the first thread ends as `receiver` is dropped.
        let (sends, outgoing) = with_ring(move |ring| outgoing::run(&for_outgoing, ring))?;
        Ok(Arc::new(Uring {
            shared,
            address: address.into_bytes(),
            receiver: Mutex::new(Some(receiver)),
            wakers: [receives, sends],
            threads: Mutex::new(vec![incoming, outgoing]),
        }))
    }

    fn queue(&self, to: Option<NodeId>, address: &[u8], lane: Lane, message: Vec<u8>) -> bool {
        let shared = &self.shared;
        if shared.is_stopped() || address == self.address {
            return false;
        }
        let mut links = shared.links();
        let link = match links.get(address) {
            Some(link) => link.clone(),
            None if links.len() >= shared.options.links_max => return false,
            None => {
                let number = shared.next_link.fetch_add(1, Ordering::Relaxed);
                let link = Arc::new(Link::new(number, address));
                links.insert(address.to_vec(), link.clone());
                link
            }
        };
        // Under the list's lock, so that the link isn't struck off it meanwhile.
        let pushed = link.push(to, lane, message, shared.options.lane_bytes_max);
        drop(links);
        if pushed.tell {
            shared.told().push(Told::Waiting(link));
            self.wakers[1].wake();
        }
        pushed.queued
    }
}

/// Starts a thread with a ring of its own, and says how to wake it.
fn with_ring(run: impl FnOnce(SocketRing) + Send + 'static) -> Result<(Waker, JoinHandle<()>), TcpError> {
    let (tell, told) = channel();
    let thread = std::thread::spawn(move || match SocketRing::new() {
        Ok(ring) => {
            if tell.send(Ok(ring.waker())).is_ok() {
                run(ring);
            }
        }
        Err(error) => drop(tell.send(Err(error))),
    });
    let waker = told.recv().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
    Ok((waker.map_err(TcpError::Uring)?, thread))
}

impl Transport for Uring {
    fn address(&self) -> Vec<u8> {
        self.address.clone()
    }

    fn start(&self, receiver: Arc<dyn Receive>) {
        let tell = self
            .receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(tell) = tell {
            // The thread waits for it, unless the transport has been stopped.
            let _ = tell.send(receiver);
        }
    }

    fn send(&self, to: Option<NodeId>, address: &[u8], lane: Lane, message: Vec<u8>) -> bool {
        let queued = self.queue(to, address, lane, message);
        if !queued {
            add(&self.shared.counts.dropped, 1);
        }
        queued
    }

    fn stats(&self) -> TransportStats {
        self.shared.counts.get()
    }

    fn stop(&self) {
        let shared = &self.shared;
        let until = Instant::now() + Duration::from_millis(500);
        while shared.links().values().any(|link| link.is_busy()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        shared.stopped.store(true, Ordering::SeqCst);
        self.receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.wakers.iter().for_each(Waker::wake);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            thread.join().expect("it doesn't panic");
        }
        shared.links().clear();
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        self.stop();
    }
}
