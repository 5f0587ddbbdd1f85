//! What other threads of the process do with a server.

use std::sync::Arc;
use std::sync::mpsc::{Sender, sync_channel};
use std::time::Duration;

use mio::Waker;
use weald_resp::{Frame, Protocol};

use crate::net::Message;
use crate::stats::Stats;

/// A server, for other threads: runs commands, reads what it counts, ends it. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    messages: Sender<Message>,
    waker: Arc<Waker>,
    stats: Arc<Stats>,
}

/// Why a command could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandleError {
    /// The server has ended.
    #[error("the server has ended")]
    Ended,
    /// It did not answer in time.
    #[error("the server did not answer in time")]
    Late,
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

impl Handle {
    pub(crate) fn new(messages: Sender<Message>, waker: Arc<Waker>, stats: Arc<Stats>) -> Handle {
        Handle {
            messages,
            waker,
            stats,
        }
    }

    /// Runs a command as somebody who may do everything, in its turn among those of the clients. A write is as durable as the settings say when this returns.
    /// A command that would wait for a key does not wait; one that listens for messages can't be used.
    pub fn run<A: AsRef<[u8]>>(&self, args: &[A]) -> Result<Frame, HandleError> {
        let (answer, answered) = sync_channel(1);
        let args = args.iter().map(|arg| arg.as_ref().to_vec()).collect();
        self.send(Message::Run {
            args,
            protocol: Protocol::Resp3,
            answer,
        })?;
        answered.recv_timeout(PATIENCE).map_err(|e| match e {
            std::sync::mpsc::RecvTimeoutError::Timeout => HandleError::Late,
            std::sync::mpsc::RecvTimeoutError::Disconnected => HandleError::Ended,
        })
    }

    /// What the server counts.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Asks it to end: it finishes what it is doing, writes a checkpoint, and [`Server::run`](crate::Server::run) returns.
    pub fn end(&self) {
        // One that has ended need not be told.
        let _ = self.send(Message::End);
    }

    fn send(&self, message: Message) -> Result<(), HandleError> {
        self.messages.send(message).map_err(|_| HandleError::Ended)?;
        self.waker.wake().map_err(|_| HandleError::Ended)
    }
}
