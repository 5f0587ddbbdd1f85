//! Where a client's bytes come from and go to.

use std::io::{self, Read, Write};
use std::sync::mpsc::SyncSender;

use weald_resp::{Frame, RequestParser};

use crate::net::stream::Stream;

/// Buffers up to this are kept when they are empty.
const KEPT: usize = 16 << 10;

/// Sent bytes from which on they are taken off the beginning of the buffer.
const SENT_MAX: usize = 1 << 20;

/// Where a client's bytes come from and go to.
#[derive(Default)]
pub(crate) struct Connection {
    /// None where the client is another thread.
    pub(crate) stream: Option<Stream>,
    /// Received and not understood yet: a part of a request, or requests that have to wait.
    pub(crate) input: Vec<u8>,
    pub(crate) parser: RequestParser,
    /// How much of what there was to send is sent.
    sent: usize,
    /// There may be more to read, as it was not read to its end.
    pub(crate) unread: bool,
    /// Requests are in `input` that had to wait.
    pub(crate) waiting: bool,
    /// The other side sends no more.
    pub(crate) ended: bool,
    /// Since when a part of a request is there, in milliseconds since 1970.
    pub(crate) partial_since: Option<u64>,
    /// Where the reply to a thread goes.
    pub(crate) answer: Option<SyncSender<Frame>>,
}

impl Connection {
    pub(crate) fn new(stream: Stream) -> Connection {
        Connection {
            stream: Some(stream),
            ..Connection::default()
        }
    }

    /// That of another thread, which gets one reply.
    pub(crate) fn of_thread(answer: SyncSender<Frame>) -> Connection {
        Connection {
            answer: Some(answer),
            ..Connection::default()
        }
    }

    /// Reads what is there, at most a buffer full; `None` where nothing is.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(stream) = &mut self.stream else {
            return Ok(None);
        };
        loop {
            match stream.read(buffer) {
                Ok(n) => return Ok(Some(n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Sends what the system takes of `out`; how much that was.
    pub(crate) fn send(&mut self, out: &mut Vec<u8>) -> io::Result<usize> {
        let Some(stream) = &mut self.stream else {
            return Ok(0);
        };
        let before = self.sent;
        while self.sent < out.len() {
            match stream.write(&out[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        // What an earlier call left encrypted goes even if there is nothing else.
        stream.flush()?;
        let sent = self.sent - before;
        if self.sent == out.len() {
            self.sent = 0;
            out.clear();
            if out.capacity() > KEPT {
                *out = Vec::new();
            }
        } else if self.sent > SENT_MAX {
            out.drain(..self.sent);
            self.sent = 0;
        }
        Ok(sent)
    }

    /// How much of `out` is not sent; something where the last of it waits in its encrypted form.
    pub(crate) fn unsent(&self, out: &[u8]) -> usize {
        let encrypted = self.stream.as_ref().is_some_and(Stream::has_unsent);
        (out.len() - self.sent).max(usize::from(encrypted))
    }

    /// Whether there was no more where less was read than there was room for.
    pub(crate) fn ends_short(&self) -> bool {
        self.stream.as_ref().is_none_or(Stream::ends_short)
    }

    /// Whether the two sides have not agreed yet on how to encrypt.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.stream.as_ref().is_some_and(Stream::is_handshaking)
    }

    /// Takes `consumed` bytes off the input, and gives memory back.
    pub(crate) fn consumed(&mut self, consumed: usize) {
        if consumed == self.input.len() {
            self.input.clear();
        } else {
            self.input.drain(..consumed);
        }
        if self.input.capacity() > KEPT && self.input.len() < self.input.capacity() / 4 {
            self.input.shrink_to(KEPT.max(self.input.len()));
        }
    }
}
