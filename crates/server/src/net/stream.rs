//! A connection's bytes, whatever carries them.

use std::io::{self, Read, Write};
use std::time::Duration;

use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::{SockRef, TcpKeepalive};

use crate::net::tls::Session;

/// What carries a connection's bytes. It never waits.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Tls(TcpStream, Box<Session>),
    Unix(UnixStream),
}

impl Stream {
    /// Both directions at once: events come when something changes, so nothing has to be asked for again.
    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self {
            Stream::Tcp(stream) | Stream::Tls(stream, _) => registry.register(stream, token, interest),
            Stream::Unix(stream) => registry.register(stream, token, interest),
        }
    }

    /// Has the other side asked now and then whether it is still there, after that much silence.
    pub(crate) fn keep_alive(&self, after: Option<Duration>) {
        if let (Stream::Tcp(stream) | Stream::Tls(stream, _), Some(after)) = (self, after) {
            let probes = TcpKeepalive::new()
                .with_time(after)
                .with_interval(after / 3)
                .with_retries(3);
            // Without it a dead connection is found out later.
            let _ = SockRef::from(stream).set_tcp_keepalive(&probes);
        }
    }

    pub(crate) fn deregister(&mut self, registry: &Registry) {
        // It is closed next, which takes it out anyhow.
        let _ = match self {
            Stream::Tcp(stream) => registry.deregister(stream),
            Stream::Tls(stream, session) => {
                session.close(stream);
                registry.deregister(stream)
            }
            Stream::Unix(stream) => registry.deregister(stream),
        };
    }
}

impl Stream {
    /// Whether there was no more where less was read than there was room for. Encrypted bytes come in records, each of which may be the last or not.
    pub(crate) fn ends_short(&self) -> bool {
        !matches!(self, Stream::Tls(..))
    }

    /// Whether bytes that were taken wait for the socket.
    pub(crate) fn has_unsent(&self) -> bool {
        matches!(self, Stream::Tls(_, session) if session.has_unsent())
    }

    /// Whether the two sides have not agreed yet on how to encrypt.
    pub(crate) fn is_handshaking(&self) -> bool {
        matches!(self, Stream::Tls(_, session) if session.is_handshaking())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Tls(stream, session) => session.read(stream, buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Tls(stream, session) => session.write(stream, bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Tls(stream, session) => session.flush(stream),
            Stream::Tcp(_) | Stream::Unix(_) => Ok(()),
        }
    }
}
