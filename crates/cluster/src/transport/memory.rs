//! Transport within a process, for tests: the same queues and lanes, without sockets and keys.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use weald_cluster_proto::{Lane, NodeId};

use super::lanes::Lanes;
use super::{Receive, Transport, TransportStats};

const LANE_BYTES_MAX: usize = 64 << 20;

/// A network of memory: every node that is attached reaches the others that are.
///
/// ```
/// use weald_cluster::{MemoryNet, Transport};
/// use weald_cluster_proto::{Lane, NodeId};
///
/// let net = MemoryNet::default();
/// let here = net.attach(NodeId(1), b"here");
/// assert!(!here.send(None, b"there", Lane::Gossip, vec![1]), "nobody is there");
/// ```
#[derive(Clone, Default)]
pub struct MemoryNet {
    ends: Arc<Mutex<BTreeMap<Vec<u8>, Arc<End>>>>,
}

/// Where messages for one node wait.
struct End {
    node: NodeId,
    inbound: Mutex<BTreeMap<NodeId, Lanes>>,
    wake: Condvar,
    started: AtomicBool,
    stopped: AtomicBool,
}

/// One node's end of a [`MemoryNet`].
pub struct MemoryTransport {
    net: MemoryNet,
    address: Vec<u8>,
    end: Arc<End>,
    thread: Mutex<Option<JoinHandle<()>>>,
    sent: AtomicU64,
    dropped: AtomicU64,
    received: Arc<AtomicU64>,
}

impl MemoryNet {
    /// Attaches a node at an address; who was there before is cut off.
    pub fn attach(&self, node: NodeId, address: &[u8]) -> Arc<MemoryTransport> {
        let end = Arc::new(End {
            node,
            inbound: Mutex::default(),
            wake: Condvar::new(),
            started: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        });
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.insert(address.to_vec(), end.clone());
        Arc::new(MemoryTransport {
            net: self.clone(),
            address: address.to_vec(),
            end,
            thread: Mutex::default(),
            sent: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            received: Arc::default(),
        })
    }
}

impl End {
    fn run(&self, receiver: &dyn Receive, received: &AtomicU64) {
        loop {
            let mut inbound = self.inbound.lock().unwrap_or_else(PoisonError::into_inner);
            while inbound.values().all(Lanes::is_empty) && !self.stopped.load(Ordering::SeqCst) {
                inbound = self.wake.wait(inbound).unwrap_or_else(PoisonError::into_inner);
            }
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            let arrived: Vec<(NodeId, Vec<u8>)> = inbound
                .iter_mut()
                .filter_map(|(&from, lanes)| Some((from, lanes.pop()?.1)))
                .collect();
            drop(inbound);
            for (from, message) in arrived {
                received.fetch_add(1, Ordering::Relaxed);
                if receiver.receive(from, &message).is_err() {
                    log::debug!("a message from {from} was refused");
                }
            }
        }
    }
}

impl Transport for MemoryTransport {
    fn address(&self) -> Vec<u8> {
        self.address.clone()
    }

    fn start(&self, receiver: Arc<dyn Receive>) {
        let (end, received) = (self.end.clone(), self.received.clone());
        end.started.store(true, Ordering::SeqCst);
        let thread = std::thread::spawn(move || end.run(&*receiver, &received));
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    }

    fn send(&self, to: Option<NodeId>, address: &[u8], lane: Lane, message: Vec<u8>) -> bool {
        let ends = self.net.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let end = ends.get(address).cloned();
        drop(ends);
        let open = |end: &Arc<End>| {
            end.started.load(Ordering::SeqCst)
                && !end.stopped.load(Ordering::SeqCst)
                && to.is_none_or(|to| to == end.node)
        };
        let queued = end.filter(open).is_some_and(|end| {
            let mut inbound = end.inbound.lock().unwrap_or_else(PoisonError::into_inner);
            let lanes = inbound.entry(self.end.node).or_default();
            let queued = lanes.push(to, lane, message, LANE_BYTES_MAX);
            end.wake.notify_one();
            queued
        });
        let count = if queued { &self.sent } else { &self.dropped };
        count.fetch_add(1, Ordering::Relaxed);
        queued
    }

    fn stats(&self) -> TransportStats {
        TransportStats {
            sent: self.sent.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            ..TransportStats::default()
        }
    }

    fn stop(&self) {
        let inbound = self.end.inbound.lock().unwrap_or_else(PoisonError::into_inner);
        self.end.stopped.store(true, Ordering::SeqCst);
        drop(inbound);
        self.end.wake.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            thread.join().expect("it doesn't panic");
        }
    }
}
