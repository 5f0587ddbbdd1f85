//! A running node. [`Node`] is what its owner holds, and the client. The protocol's state ([`driver`]) is fed through the [`inbox`] by clients, by the
//! transport's threads, and by the store's workers, who run it in [`turns`]. What happened is kept in the [`events`].

mod client;
mod driver;
mod events;
mod inbox;
mod turns;

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use thiserror::Error;
use weald_cluster_proto::{
    Config, CopyId, Layout, LayoutError, Member, NodeId, PartitionStats, PeerStatus, Quorums, Start,
    StartError, Stats, Status,
};
use weald_storage::Storage;

use crate::keys::Keys;
use crate::store::ROOM;
use crate::transport::{Transport, TransportStats};
use driver::Driver;
use events::Events;
use inbox::Ask;
use turns::Turns;

pub(crate) use client::Answer;
pub use client::{ClientError, LocalCopy, LocalError};
pub use events::Logged;

/// What a node is started with.
pub struct Options {
    /// Its key, and its cluster's.
    pub keys: Keys,
    /// How it reaches its peers, and they it.
    pub transport: Arc<dyn Transport>,
    /// Where it keeps its data.
    pub storage: Arc<dyn Storage>,
    /// How it begins, if the storage is empty.
    pub start: Start,
    /// Times and bounds. Its node, cluster and address are set from the other options.
    pub config: Config,
    /// Threads that write and read data: one for what is quick, the others for what walks partitions.
    pub store_workers: usize,
    /// Bytes of peers' messages that wait for the node; past that their senders wait.
    pub inbox_bytes_max: usize,
    /// How many events are remembered.
    pub events_max: usize,
}

impl Options {
    /// The usual ones.
    pub fn new(
        keys: Keys,
        transport: Arc<dyn Transport>,
        storage: Arc<dyn Storage>,
        start: Start,
    ) -> Options {
        Options {
            config: Config::new(keys.node(), 0),
            keys,
            transport,
            storage,
            start,
            store_workers: 2,
            inbox_bytes_max: 64 << 20,
            events_max: 1024,
        }
    }
}

/// How founders begin: all of them with the same nodes and addresses, `2^partition_bits` partitions, and the same quorums.
pub fn found(
    partition_bits: u8,
    quorums: Quorums,
    members: impl IntoIterator<Item = (NodeId, Vec<u8>)>,
) -> Result<Start, LayoutError> {
    let member = |(node, address): (NodeId, Vec<u8>)| {
        let copy = blake3::derive_key("weald first copy of a founder", &node.0.to_le_bytes());
        let member = Member {
            copy: CopyId(u64::from_le_bytes(*copy.first_chunk().expect("a hash is longer"))),
            weight: 1,
            zone: 0,
            address: address.into(),
        };
        (node, member)
    };
    let members: BTreeMap<NodeId, Member> = members.into_iter().map(member).collect();
    Layout::initial(partition_bits, quorums, members).map(Start::Found)
}

/// Why a node did not start, or did not stop cleanly.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartFailed {
    /// The protocol refuses what the storage has, or how it is to begin.
    #[error(transparent)]
    Protocol(#[from] StartError),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] weald_storage::Error),
    /// The storage may forget, and so break what the node promised.
    #[error("the backend '{0}' forgets entries when it is full: a replica must not")]
    Forgets(&'static str),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
}

/// What a node counted, at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metrics {
    /// By the protocol.
    pub node: Stats,
    /// The node's state.
    pub status: Status,
    /// By the transport.
    pub transport: TransportStats,
    /// Messages of genuine peers that were no messages.
    pub malformed: u64,
    /// Messages for nodes whose address is not known, or whose queue was full.
    pub unsent: u64,
    /// Bytes of messages that wait to be handled.
    pub inbox_bytes: usize,
    /// Operations of the storage that failed.
    pub store_failures: u64,
}

/// How long requests that were taken before a stop may still run, beside their own time.
const STOP_MARGIN: Duration = Duration::from_millis(500);

/// A running node, and a client of its cluster. Requests may come from any number of threads.
pub struct Node {
    turns: Arc<Turns>,
    events: Arc<Events>,
    transport: Arc<dyn Transport>,
    storage: Arc<dyn Storage>,
    key_len_max: usize,
    value_len_max: usize,
    id: NodeId,
    share: (u32, u32),
    request_timeout: Duration,
    thread: Mutex<Option<JoinHandle<Result<(), weald_storage::Error>>>>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({})", self.id)
    }
}

impl Node {
    /// Starts a node. It serves once enough of its peers know it: see [`wait_until_serving`](Node::wait_until_serving).
    pub fn start(options: Options) -> Result<Node, StartFailed> {
        let limits = options.storage.limits();
        if limits.forgets {
            return Err(StartFailed::Forgets(options.storage.backend()));
        }
        let patience = Duration::from_millis(options.config.request_timeout_ms) + STOP_MARGIN;
        let turns = Turns::new(options.inbox_bytes_max, options.config.requests_max, patience);
        let turns = Arc::new(turns);
        let events = Arc::new(Events::new(options.events_max));
        let transport = options.transport.clone();
        let storage = options.storage.clone();
        let id = options.keys.node();
        let share = (options.config.weight, options.config.zone);
        let request_timeout = Duration::from_millis(options.config.request_timeout_ms);
        let mut seed = [0; 8];
        getrandom::fill(&mut seed)?;
        turns.begin(Driver::new(
            options,
            u64::from_le_bytes(seed),
            &turns,
            events.clone(),
        )?);
        let tends = turns.clone();
        let thread = std::thread::spawn(move || tends.tend());
        transport.start(turns.clone());
        Ok(Node {
            turns,
            events,
            transport,
            storage,
            key_len_max: limits.key_len_max.saturating_sub(2),
            value_len_max: limits.value_len_max.saturating_sub(ROOM),
            id,
            share,
            request_timeout,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The node's number.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The weight and the zone that it asks to be taken in with. The layout has what it was given.
    pub fn share(&self) -> (u32, u32) {
        self.share
    }

    /// Where its peers reach it.
    pub fn address(&self) -> Vec<u8> {
        self.transport.address()
    }

    /// Its state in a few words.
    pub fn status(&self) -> Result<Status, ClientError> {
        self.ask(Ask::Status)
    }

    /// The layout that it has.
    pub fn layout(&self) -> Result<Option<Layout>, ClientError> {
        self.ask(Ask::Layout)
    }

    /// What it knows about each of its partitions.
    pub fn partitions(&self) -> Result<Vec<PartitionStats>, ClientError> {
        self.ask(Ask::Partitions)
    }

    /// Every node that it has heard of, members or not.
    pub fn peers(&self) -> Result<Vec<PeerStatus>, ClientError> {
        self.ask(Ask::Peers)
    }

    /// The longest key and the longest value that its storage takes.
    pub fn limits(&self) -> (usize, usize) {
        (self.key_len_max, self.value_len_max)
    }

    /// What was counted.
    pub fn metrics(&self) -> Result<Metrics, ClientError> {
        self.ask(Ask::Metrics)
    }

    /// What the storage counted.
    pub fn storage_stats(&self) -> weald_storage::Result<weald_storage::Stats> {
        self.storage.stats()
    }

    /// What the storage can do.
    pub fn storage_limits(&self) -> weald_storage::Limits {
        self.storage.limits()
    }

    /// What happened after that event, as far as it is remembered; 0 for all.
    pub fn events(&self, after: u64) -> Vec<Logged> {
        self.events.after(after)
    }

    fn ask<T>(&self, ask: impl FnOnce(Sender<T>) -> Ask) -> Result<T, ClientError> {
        let (sender, answer) = mpsc::channel();
        self.turns.ask(ask(sender))?;
        answer.recv().map_err(|_| ClientError::Stopped)
    }

    /// Waits until the node serves.
    pub fn wait_until_serving(&self, limit: Duration) -> Result<(), ClientError> {
        let until = Instant::now() + limit;
        while !self.status()?.serving {
            if Instant::now() >= until {
                return Err(ClientError::Failed(weald_cluster_proto::Error::NotReady));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Stops: takes no more requests, finishes those that it has, tells its peers, and closes the storage. It goes on owning what it owns.
    pub fn stop(&self) -> Result<(), StartFailed> {
        self.turns.stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        match thread {
            Some(thread) => Ok(thread.join().expect("the node's thread doesn't panic")?),
            None => Ok(()),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            log::error!("the node's storage could not be closed: {error}");
        }
    }
}
