//! Connections that others make: a task that takes them, one for each that reads its lanes, and a thread for each that hands messages on, which may have to wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quinn::{Connection, Incoming, RecvStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use weald_cluster_proto::{MESSAGE_MAX, NodeId};

use super::super::session::SessionError;
use super::super::tcp::add;
use super::super::{Messages, Receive};
use super::{LANES, PROOF_LEN, Shared, WRONG, check, failed, lost};

/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

pub(super) async fn run(shared: Arc<Shared>, receiver: Arc<dyn Receive>) {
    while let Some(incoming) = shared.endpoint.accept().await {
        if shared.is_stopped() {
            return;
        }
        let (most, shaking) = (
            shared.options.handshakes_max as u64,
            shared.handshakes.load(Ordering::SeqCst),
        );
        let full = shared.incoming.load(Ordering::SeqCst) >= shared.options.incoming_max as u64;
        if full || shaking >= most {
            add(&shared.counts.refused, 1);
            incoming.refuse();
            continue;
        }
        // When many knock, they must show first that they are where they say.
        if shaking * 2 >= most && !incoming.remote_address_validated() {
            let _ = incoming.retry();
            continue;
        }
        shared.incoming.fetch_add(1, Ordering::SeqCst);
        shared.handshakes.fetch_add(1, Ordering::SeqCst);
        let (for_task, receiver) = (shared.clone(), receiver.clone());
        shared.handle.spawn(async move {
            serve(&for_task, incoming, receiver).await;
            for_task.incoming.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn serve(shared: &Arc<Shared>, incoming: Incoming, receiver: Arc<dyn Receive>) {
    let greeted = timeout(shared.options.connect_timeout, greet(shared, incoming)).await;
    shared.handshakes.fetch_sub(1, Ordering::SeqCst);
    let ended = match greeted {
        Ok(Ok((connection, peer))) => {
            add(&shared.counts.sessions, 1);
            shared.begin(&connection);
            let ended = read(shared, &connection, peer, receiver).await;
            shared.end(&connection);
            ended
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Err(failed(std::io::ErrorKind::TimedOut)),
    };
    match ended {
        Ok(()) => {}
        Err(SessionError::Io(error)) => {
            add(&shared.counts.broken, 1);
            log::debug!("a peer's connection broke: {error}");
        }
        Err(error) => {
            add(&shared.counts.refused, 1);
            log::warn!("a connection was refused: {error}");
        }
    }
}

/// Has the other side prove the secret, and then proves it.
async fn greet(shared: &Shared, incoming: Incoming) -> Result<(Connection, NodeId), SessionError> {
    let connection = incoming.await.map_err(lost)?;
    let peer = shared.peer(&connection)?;
    let (theirs, ours) = shared.proofs(&connection)?;
    let (mut send, mut receive) = connection.accept_bi().await.map_err(lost)?;
    let mut proof = [0; PROOF_LEN];
    let read = receive.read_exact(&mut proof).await;
    let checked = read
        .map_err(|_| SessionError::Stranger)
        .and_then(|()| check(proof, theirs));
    if let Err(error) = checked {
        connection.close(WRONG, b"");
        return Err(error);
    }
    send.write_all(&ours).await.map_err(failed)?;
    let _ = send.finish();
    Ok((connection, peer))
}

/// Reads the lanes until the connection ends.
async fn read(
    shared: &Arc<Shared>,
    connection: &Connection,
    peer: NodeId,
    receiver: Arc<dyn Receive>,
) -> Result<(), SessionError> {
    // What is read while the node has no room waits here; then the lanes' windows fill, and the sender waits.
    let (sender, batches) = mpsc::channel(1);
    let (for_thread, to_close) = (shared.clone(), connection.clone());
    shared.spawn_thread(move || hand_on(&for_thread, &to_close, peer, &*receiver, batches));
    let mut lanes = JoinSet::new();
    loop {
        tokio::select! {
            stream = connection.accept_uni() => match stream {
                Ok(stream) => {
                    lanes.spawn(read_lane(stream, sender.clone()));
                }
                Err(quinn::ConnectionError::ApplicationClosed(_)) => return Ok(()),
                Err(quinn::ConnectionError::LocallyClosed) if shared.is_stopped() => return Ok(()),
                // The node did not take a message.
                Err(quinn::ConnectionError::LocallyClosed) => return Err(SessionError::Malformed),
                Err(error) => return Err(lost(error)),
            },
            Some(ended) = lanes.join_next() => {
                if let Ok(Err(error)) = ended {
                    connection.close(WRONG, b"");
                    return Err(error);
                }
            }
        }
    }
}

async fn read_lane(mut stream: RecvStream, sender: mpsc::Sender<Messages>) -> Result<(), SessionError> {
    let mut lane = [0];
    if stream.read_exact(&mut lane).await.is_err() {
        return Ok(());
    }
    if lane[0] >= LANES {
        return Err(SessionError::Malformed);
    }
    let mut frames = Frames::default();
    // The end of the connection is told elsewhere.
    while let Ok(Some(chunk)) = stream.read_chunk(READ_BYTES, true).await {
        let messages = frames.take(&chunk.bytes)?;
        if !messages.is_empty() && sender.send(messages).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Hands messages on, waiting for the node; closes the connection of a peer whose message is none.
fn hand_on(
    shared: &Shared,
    connection: &Connection,
    peer: NodeId,
    receiver: &dyn Receive,
    mut batches: mpsc::Receiver<Messages>,
) {
    while let Some(messages) = batches.blocking_recv() {
        if shared.is_stopped() {
            return;
        }
        add(&shared.counts.received, messages.len() as u64);
        if receiver.receive_all(peer, &messages).is_err() {
            connection.close(WRONG, b"");
            return;
        }
    }
}

/// Messages with their lengths before them, put together from what comes.
#[derive(Default)]
struct Frames(Vec<u8>);

impl Frames {
    fn take(&mut self, bytes: &[u8]) -> Result<Messages, SessionError> {
        self.0.extend(bytes);
        let mut messages = Messages::default();
        let mut rest = &self.0[..];
        while let Some((len, after)) = rest.split_first_chunk() {
            let len = u32::from_le_bytes(*len) as usize;
            if len == 0 || len > MESSAGE_MAX {
                return Err(SessionError::Malformed);
            }
            let Some((message, after)) = after.split_at_checked(len) else {
                break;
            };
            messages.push(message);
            rest = after;
        }
        let left = rest.len();
        self.0.drain(..self.0.len() - left);
        Ok(messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_put_together_wherever_they_are_cut() {
        let sent: Vec<Vec<u8>> = [1, 5, 300, 2].map(|len| vec![len as u8; len]).to_vec();
        let bytes: Vec<u8> = sent
            .iter()
            .flat_map(|message| [&(message.len() as u32).to_le_bytes()[..], message].concat())
            .collect();
        for size in [1, 2, 3, 7, 64, 1000] {
            let mut frames = Frames::default();
            let mut got: Vec<Vec<u8>> = Vec::new();
            for chunk in bytes.chunks(size) {
                let messages = frames.take(chunk).expect("they are messages");
                got.extend(messages.iter().map(<[u8]>::to_vec));
            }
            assert_eq!(got, sent);
        }
    }

    #[test]
    fn what_is_empty_or_too_long_is_refused_at_once() {
        assert!(Frames::default().take(&[0; 4]).is_err());
        let len = (MESSAGE_MAX as u32 + 1).to_le_bytes();
        assert!(Frames::default().take(&len).is_err());
    }
}
