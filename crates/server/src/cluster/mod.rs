//! A server as a node of a cluster: any client of any node may ask for any key.
//!
//! The server's thread waits for nobody: what needs other nodes is an [`operation`](operation::Operation), and its reply has its place among the client's
//! [`replies`] until it comes.
//!
//! ```text
//!  dispatch ─► front ─► plan: here? copies? a plain write? a walk?
//!                │
//!                ├─► replies of the client: in order; what touches the same keys waits
//!                ├─► batch: requests of a tick together ─► weald-cluster's node ─► done ─► front: next step, or the reply
//!                ├─► copies: the usual handler on a copy of its keys, which are then put back by compare-and-set
//!                └─► office: a thread for questions about the node itself, and for changes of the layout
//! ```
//!
//! The server's own engine holds nothing then but copies while a command runs on them; nothing of it is ever committed.

mod batch;
mod copies;
mod front;
mod levels;
mod node;
mod office;
mod operation;
mod plan;
mod replies;
mod texts;
mod value;
mod view;
mod walk;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mio::Waker;
use weald_cluster::proto::{Bytes, Reply as Answer, Request};
use weald_cluster::{ClientError, Node};

use batch::{Batch, deal};
use office::Office;
use operation::Operation;
use walk::Cursors;

pub(crate) use levels::Levels;
pub(crate) use node::{is_wanted, start};
pub(crate) use replies::Replies;
pub(crate) use view::{COUNTERS, GAUGES, REPLICA_COUNTERS, REPLICA_GAUGES, View};

/// For how long a key counts as updated by others.
const SHARED_FOR: Duration = Duration::from_secs(1);
/// Keys that are remembered as such.
const SHARED_MAX: usize = 4096;

/// For how long requests go one by one after one of them had too few replicas.
const TROUBLED_FOR: Duration = Duration::from_secs(2);

/// Which operation of this server.
type OperationId = u64;

/// What has come for an operation.
enum Arrival {
    /// The cluster's answer.
    Answer(Result<Answer, ClientError>),
    /// The reply itself.
    Reply(Vec<u8>),
}

/// Where other threads put what has come.
#[derive(Clone)]
struct Arrivals {
    waiting: Arc<Mutex<Vec<(OperationId, Arrival)>>>,
    waker: Arc<Waker>,
}

impl Arrivals {
    fn add(&self, id: OperationId, arrival: Arrival) {
        self.add_all([(id, arrival)]);
    }

    fn add_all(&self, arrived: impl IntoIterator<Item = (OperationId, Arrival)>) {
        let is_first = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let is_first = waiting.is_empty();
            waiting.extend(arrived);
            is_first
        };
        if is_first && let Err(e) = self.waker.wake() {
            log::error!("the server's thread can't be woken: {e}");
        }
    }

    fn take(&self) -> Vec<(OperationId, Arrival)> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a server has that is a node.
pub(crate) struct Cluster {
    node: Arc<Node>,
    arrivals: Arrivals,
    office: Office,
    operations: HashMap<OperationId, Operation>,
    next_id: OperationId,
    /// Operations that ask again, and when.
    later: BTreeSet<(Instant, OperationId)>,
    /// Keys that an update of this node is changing, and the updates that wait for it.
    busy: HashMap<Bytes, VecDeque<OperationId>>,
    /// Keys that other nodes were seen to update too, and when.
    shared: HashMap<Bytes, Instant>,
    cursors: Cursors,
    batch: Batch,
    /// When a request last had too few replicas.
    troubled: Option<Instant>,
    /// How long an operation may try.
    patience: Duration,
}

impl Cluster {
    pub(crate) fn new(node: Node, waker: Arc<Waker>, patience: Duration) -> std::io::Result<Cluster> {
        let node = Arc::new(node);
        let arrivals = Arrivals {
            waiting: Arc::default(),
            waker,
        };
        Ok(Cluster {
            office: Office::open(node.clone(), arrivals.clone())?,
            node,
            arrivals,
            operations: HashMap::new(),
            next_id: 0,
            later: BTreeSet::new(),
            busy: HashMap::new(),
            shared: HashMap::new(),
            cursors: Cursors::default(),
            batch: Batch::default(),
            troubled: None,
            patience,
        })
    }

    /// What the node was like a moment ago.
    pub(crate) fn view(&self) -> Arc<View> {
        self.office.view()
    }

    /// The node's number.
    pub(crate) fn id(&self) -> weald_cluster::proto::NodeId {
        self.node.id()
    }

    /// When the next operation asks again.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    /// Another node updates this key as well.
    fn is_shared(&mut self, key: &Bytes) {
        if self.shared.len() >= SHARED_MAX {
            self.shared.retain(|_, seen| seen.elapsed() < SHARED_FOR);
            if self.shared.len() >= SHARED_MAX {
                self.shared.clear();
            }
        }
        self.shared.insert(key.clone(), Instant::now());
    }

    /// The pause before the next update of a key: none, unless other nodes are to have their turn.
    fn pause_before(&self, key: &Bytes) -> Option<Duration> {
        let shared = self
            .shared
            .get(key)
            .is_some_and(|seen| seen.elapsed() < SHARED_FOR);
        shared.then(|| Duration::from_micros(fastrand::u64(2_000..10_000)))
    }

    /// Whether requests are put together: not for a while after one of them did not get its quorum.
    fn is_calm(&self) -> bool {
        self.troubled.is_none_or(|at| at.elapsed() > TROUBLED_FOR)
    }

    /// Hands a request over at the end of the tick, with others that are like it, or at once.
    fn submit(&mut self, id: OperationId, request: Request) {
        let request = if self.is_calm() {
            self.batch.add(id, request)
        } else {
            Some(request)
        };
        let Some(request) = request else { return };
        let arrivals = self.arrivals.clone();
        self.node
            .submit(request, move |answer| arrivals.add(id, Arrival::Answer(answer)));
    }

    /// Hands over what has come together in this tick.
    pub(crate) fn flush(&mut self) {
        for (request, ids) in self.batch.take() {
            let arrivals = self.arrivals.clone();
            self.node
                .submit(request, move |answer| deal(&arrivals, &ids, answer));
        }
    }

    /// Ends the office, and stops the node: it tells its peers, and its store is closed.
    pub(crate) fn stop(self) -> Result<(), weald_cluster::StartFailed> {
        let Cluster { node, office, .. } = self;
        drop(office);
        node.stop()
    }
}
