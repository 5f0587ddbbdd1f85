//! Connections that others make: the thread that takes them, and one for each that reads it.

use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::super::lanes::{Arrived, Assembly, Malformed, PONG};
use super::super::session::{Session, SessionError};
use super::super::{Messages, Receive};
use super::{Shared, add};

impl From<Malformed> for SessionError {
    fn from(_: Malformed) -> SessionError {
        SessionError::Malformed
    }
}

pub(super) fn run(shared: &Arc<Shared>, listener: &TcpListener, receiver: &Arc<dyn Receive>) {
    loop {
        let accepted = listener.accept();
        if shared.is_stopped() {
            return;
        }
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, most likely: others must close some first.
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        let full = shared.incoming.load(Ordering::SeqCst) >= shared.options.incoming_max as u64
            || shared.handshakes.load(Ordering::SeqCst) >= shared.options.handshakes_max as u64;
        if full {
            add(&shared.counts.refused, 1);
            continue;
        }
        shared.incoming.fetch_add(1, Ordering::SeqCst);
        shared.handshakes.fetch_add(1, Ordering::SeqCst);
        let (for_thread, receiver) = (shared.clone(), receiver.clone());
        shared.spawn(move || {
            serve(&for_thread, &stream, &*receiver);
            for_thread.incoming.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

fn serve(shared: &Arc<Shared>, stream: &TcpStream, receiver: &dyn Receive) {
    let watched = shared.watch(stream);
    let session = shared.sessions.respond(stream, shared.options.connect_timeout);
    shared.handshakes.fetch_sub(1, Ordering::SeqCst);
    let ended = match (watched, session) {
        (Err(error), _) => Err(error.into()),
        (_, Err(error)) => Err(error),
        (Ok(_watched), Ok(session)) => {
            add(&shared.counts.sessions, 1);
            let ended = read(shared, stream, session, receiver);
            // The other side hears of it at once.
            let _ = stream.shutdown(std::net::Shutdown::Both);
            ended
        }
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

fn read(
    shared: &Shared,
    stream: &TcpStream,
    mut session: Session,
    receiver: &dyn Receive,
) -> Result<(), SessionError> {
    let silence_max = shared.options.check_interval * 3;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(silence_max))?;
    stream.set_write_timeout(Some(silence_max))?;
    let mut input = BufReader::with_capacity(128 << 10, stream);
    let peer = session.peer;
    let mut came = Came::default();
    while !shared.is_stopped() {
        let ended = came.gather(shared, &mut session, &mut input);
        // What came before something went wrong counts.
        if !came.messages.is_empty() {
            add(&shared.counts.received, came.messages.len() as u64);
            receiver
                .receive_all(peer, &came.messages)
                .map_err(|_| SessionError::Malformed)?;
            came.messages.clear();
        }
        ended?;
        if std::mem::take(&mut came.pinged) {
            let mut out = Vec::new();
            session.seal(&[PONG, 0, 0], &mut out)?;
            let mut stream = stream;
            stream.write_all(&out)?;
        }
    }
    Ok(())
}

/// What came together.
#[derive(Default)]
struct Came {
    record: Vec<u8>,
    assembly: Assembly,
    messages: Messages,
    pinged: bool,
}

impl Came {
    /// Waits for a record, and takes all that are there then.
    fn gather(
        &mut self,
        shared: &Shared,
        session: &mut Session,
        input: &mut BufReader<&TcpStream>,
    ) -> Result<(), SessionError> {
        let Came {
            record,
            assembly,
            messages,
            pinged,
        } = self;
        loop {
            session.read(input, record)?;
            add(&shared.counts.received_bytes, record.len() as u64);
            assembly.take(record, &mut |arrived| match arrived {
                Arrived::Message(message) => {
                    messages.push(message);
                    Ok(())
                }
                Arrived::Ping => {
                    *pinged = true;
                    Ok(())
                }
                Arrived::Pong => Err(SessionError::Malformed),
            })?;
            if !session.has_record(input.buffer()) {
                return Ok(());
            }
        }
    }
}
