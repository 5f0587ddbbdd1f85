//! A connection that we make, and the messages that wait for it: each lane is written to a stream of its own.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use quinn::Connection;
use tokio::sync::Notify;
use tokio::time::timeout;
use weald_cluster_proto::{Lane, NodeId};

use super::super::lanes::Lanes;
use super::super::session::SessionError;
use super::super::tcp::add;
use super::{FINE, LANES, PROOF_LEN, Shared, check, failed, lost, speaks};

/// Bytes that are written at once, as far as they wait.
const WRITE_BYTES: usize = 64 << 10;

/// The messages for one address.
pub(super) struct Link {
    address: Vec<u8>,
    state: Mutex<State>,
    /// Something waits, or the transport stops: for the link, and for each lane.
    work: Notify,
    lanes: [Notify; LANES as usize],
}

struct State {
    lanes: Lanes,
    /// Until then the address is not tried again, and messages for it are dropped.
    down_until: Option<Instant>,
    /// Lanes of which something is being written.
    writing: usize,
    messages: u64,
    last_used: Instant,
}

impl Link {
    pub(super) fn new(address: &[u8]) -> Link {
        Link {
            address: address.to_vec(),
            state: Mutex::new(State {
                lanes: Lanes::default(),
                down_until: None,
                writing: 0,
                messages: 0,
                last_used: Instant::now(),
            }),
            work: Notify::new(),
            lanes: Default::default(),
        }
    }

    pub(super) fn push(
        &self,
        to: Option<NodeId>,
        lane: Lane,
        message: Vec<u8>,
        lane_bytes_max: usize,
    ) -> bool {
        let mut state = self.lock();
        let now = Instant::now();
        if state.down_until.is_some_and(|until| now < until) {
            return false;
        }
        let queued = state.lanes.push(to, lane, message, lane_bytes_max);
        state.messages += u64::from(queued);
        state.last_used = now;
        drop(state);
        let place = Lane::ALL.iter().position(|&other| other == lane);
        if let Some(place) = place {
            self.lanes[place].notify_one();
        }
        self.work.notify_one();
        queued
    }

    pub(super) fn is_busy(&self) -> bool {
        let state = self.lock();
        !state.lanes.is_empty() || state.writing > 0
    }

    pub(super) fn wake_all(&self) {
        self.work.notify_one();
        self.lanes.iter().for_each(Notify::notify_one);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up what waits, and the address for a while.
    fn fail(&self, shared: &Shared, pause: Duration) {
        let mut state = self.lock();
        state.lanes.clear();
        state.writing = 0;
        add(&shared.counts.dropped, std::mem::take(&mut state.messages));
        state.down_until = Some(Instant::now() + pause);
    }

    /// Takes the lane's next messages for that peer, each with its length before it. Counts them, and those for somebody else.
    fn take(&self, place: usize, peer: NodeId, out: &mut Vec<u8>) -> (u64, u64) {
        out.clear();
        let (mut taken, mut dropped) = (0, 0);
        let mut state = self.lock();
        while out.len() < WRITE_BYTES
            && let Some((to, message)) = state.lanes.pop_from(place)
        {
            if to.is_some_and(|to| to != peer) {
                dropped += 1;
                continue;
            }
            out.extend((message.len() as u32).to_le_bytes());
            out.extend(&message);
            taken += 1;
        }
        state.messages = state.messages.saturating_sub(taken + dropped);
        state.writing += usize::from(taken > 0);
        (taken, dropped)
    }

    fn written(&self) {
        let mut state = self.lock();
        state.writing = state.writing.saturating_sub(1);
    }
}

/// Connects whenever there is something to send, until nothing is for long.
pub(super) async fn run(shared: Arc<Shared>, link: Arc<Link>) {
    let first = shared.options.retry_max / 50;
    let mut pause = first;
    while !shared.is_stopped() {
        if !link.is_busy() {
            let waited = timeout(shared.options.idle_timeout, link.work.notified()).await;
            if waited.is_err() && forget(&shared, &link) {
                break;
            }
            continue;
        }
        let ended = match timeout(shared.options.connect_timeout, connect(&shared, &link)).await {
            Ok(Ok((connection, peer))) => {
                pause = first;
                add(&shared.counts.sessions, 1);
                send(&shared, &link, &connection, peer).await
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(failed(io::ErrorKind::TimedOut)),
        };
        if let Err(error) = ended {
            let count = if matches!(error, SessionError::Io(_)) {
                &shared.counts.broken
            } else {
                &shared.counts.refused
            };
            add(count, 1);
            log::debug!("{}: {error}", String::from_utf8_lossy(&link.address));
            link.fail(&shared, pause);
            pause = (pause * 2).min(shared.options.retry_max);
        }
    }
    shared.running.fetch_sub(1, Ordering::SeqCst);
}

/// Takes an idle link off the list. Says whether it may end: nobody can queue anything while the list is held.
fn forget(shared: &Shared, link: &Arc<Link>) -> bool {
    let mut links = shared.links.lock().unwrap_or_else(PoisonError::into_inner);
    if link.is_busy() {
        return false;
    }
    let listed = links.get(&link.address);
    if listed.is_some_and(|listed| Arc::ptr_eq(listed, link)) {
        links.remove(&link.address);
    }
    true
}

async fn connect(shared: &Shared, link: &Link) -> Result<(Connection, NodeId), SessionError> {
    let invalid = || failed(io::ErrorKind::InvalidInput);
    let address = std::str::from_utf8(&link.address).map_err(|_| invalid())?;
    let mut last = invalid();
    let found = tokio::net::lookup_host(address).await?;
    for socket in found.filter(|&socket| speaks(&shared.endpoint, socket)) {
        let connecting = shared
            .endpoint
            .connect_with(shared.client.clone(), socket, "weald")
            .map_err(|_| invalid())?;
        match connecting.await {
            Ok(connection) => {
                let peer = prove(shared, &connection).await?;
                return Ok((connection, peer));
            }
            Err(error) => last = lost(error),
        }
    }
    Err(last)
}

/// Proves the secret, and has the other side prove it.
async fn prove(shared: &Shared, connection: &Connection) -> Result<NodeId, SessionError> {
    let peer = shared.peer(connection)?;
    let (ours, theirs) = shared.proofs(connection)?;
    let (mut send, mut receive) = connection.open_bi().await.map_err(lost)?;
    send.write_all(&ours).await.map_err(failed)?;
    let _ = send.finish();
    let mut proof = [0; PROOF_LEN];
    if receive.read_exact(&mut proof).await.is_err() {
        // Whoever is not convinced closes the connection.
        return Err(connection
            .close_reason()
            .map_or(SessionError::Stranger, |reason| match reason {
                quinn::ConnectionError::ApplicationClosed(_) => SessionError::Stranger,
                other => lost(other),
            }));
    }
    check(proof, theirs)?;
    Ok(peer)
}

/// Sends until the transport stops, nothing is sent for long, or the connection breaks.
async fn send(
    shared: &Shared,
    link: &Link,
    connection: &Connection,
    peer: NodeId,
) -> Result<(), SessionError> {
    shared.begin(connection);
    let lane = |place| write(shared, link, connection, peer, place);
    let ended = tokio::select! {
        ended = async { tokio::try_join!(lane(0), lane(1), lane(2), lane(3), lane(4)) } => ended.map(drop),
        error = connection.closed() => Err(lost(error)),
        () = idle(shared, link) => Ok(()),
    };
    shared.end(connection);
    connection.close(FINE, b"");
    ended
}

async fn idle(shared: &Shared, link: &Link) {
    loop {
        let (busy, used) = (link.is_busy(), link.lock().last_used);
        let until = used + shared.options.idle_timeout;
        if !busy && Instant::now() >= until {
            return;
        }
        let pause = until.saturating_duration_since(Instant::now());
        tokio::time::sleep(pause.max(Duration::from_millis(10))).await;
    }
}

/// Writes one lane, and at a stop waits until the other side has it.
async fn write(
    shared: &Shared,
    link: &Link,
    connection: &Connection,
    peer: NodeId,
    place: usize,
) -> Result<(), SessionError> {
    let mut stream = None;
    let mut out = Vec::new();
    loop {
        let (taken, dropped) = link.take(place, peer, &mut out);
        add(&shared.counts.dropped, dropped);
        if taken == 0 {
            if shared.is_stopped() {
                break;
            }
            link.lanes[place].notified().await;
            continue;
        }
        if stream.is_none() {
            let mut opened = connection.open_uni().await.map_err(lost)?;
            opened.write_all(&[place as u8]).await.map_err(failed)?;
            stream = Some(opened);
        }
        if let Some(stream) = &mut stream {
            stream.write_all(&out).await.map_err(failed)?;
        }
        link.written();
        add(&shared.counts.sent, taken);
    }
    if let Some(mut stream) = stream {
        let _ = stream.finish();
        let _ = timeout(Duration::from_millis(300), stream.stopped()).await;
    }
    Ok(())
}
