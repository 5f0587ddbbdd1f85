//! What other threads of the process do with a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, sync_channel};
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
    serving: Arc<AtomicBool>,
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

/// Somebody else for whom a thread runs a command.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// A user's name and password; without, it is the user default, as far as that needs no password.
    pub(crate) login: Option<(Vec<u8>, Vec<u8>)>,
    pub(crate) db: u32,
    pub(crate) peer: String,
    /// Whether it is on this machine.
    pub(crate) is_local: bool,
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

impl Handle {
    pub(crate) fn new(messages: Sender<Message>, waker: Arc<Waker>, stats: Arc<Stats>) -> Handle {
        Handle {
            messages,
            waker,
            stats,
            serving: Arc::default(),
        }
    }

    /// Whether the data are there, so that commands are answered.
    pub(crate) fn is_serving(&self) -> bool {
        // Only a hint: what is asked goes through the channel.
        self.serving.load(Ordering::Relaxed)
    }

    /// From now on commands are answered.
    pub(crate) fn serves(&self) {
        self.serving.store(true, Ordering::Relaxed);
    }

    /// Runs a command as somebody who may do everything, in its turn among those of the clients. A write is as durable as the settings say when this returns.
    /// A command that would wait for a key does not wait; one that listens for messages can't be used.
    pub fn run<A: AsRef<[u8]>>(&self, args: &[A]) -> Result<Frame, HandleError> {
        wait(&self.begin(args, None)?)
    }

    /// Runs commands for somebody else, with the permissions of that user; the answers in the same order. Others may run between them.
    pub(crate) fn run_for<A: AsRef<[u8]>>(
        &self,
        caller: &Caller,
        commands: &[Vec<A>],
    ) -> Result<Vec<Frame>, HandleError> {
        // All are asked before the first is waited for, so that they share a turn of the server.
        let answers = commands
            .iter()
            .map(|args| self.begin(args, Some(caller.clone())))
            .collect::<Result<Vec<_>, _>>()?;
        answers.iter().map(wait).collect()
    }

    fn begin<A: AsRef<[u8]>>(
        &self,
        args: &[A],
        caller: Option<Caller>,
    ) -> Result<Receiver<Frame>, HandleError> {
        let (answer, answered) = sync_channel(1);
        let args = args.iter().map(|arg| arg.as_ref().to_vec()).collect();
        self.send(Message::Run {
            args,
            protocol: Protocol::Resp3,
            caller,
            answer,
        })?;
        Ok(answered)
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

    /// Asks it to read its certificates again. Connections that are there stay as they are; if the files can't be used, those before are used further, and the log says why.
    pub fn renew_certificates(&self) {
        let _ = self.send(Message::RenewCertificates);
    }

    fn send(&self, message: Message) -> Result<(), HandleError> {
        self.messages.send(message).map_err(|_| HandleError::Ended)?;
        self.waker.wake().map_err(|_| HandleError::Ended)
    }
}

fn wait(answered: &Receiver<Frame>) -> Result<Frame, HandleError> {
    answered.recv_timeout(PATIENCE).map_err(|e| match e {
        RecvTimeoutError::Timeout => HandleError::Late,
        RecvTimeoutError::Disconnected => HandleError::Ended,
    })
}
