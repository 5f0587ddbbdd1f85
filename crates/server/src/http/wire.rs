//! The bytes of a connection, encrypted or not.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::net::Session;

/// What carries a connection.
pub(super) struct Wire {
    socket: TcpStream,
    tls: Option<Box<Session>>,
}

impl Wire {
    pub(super) fn new(socket: TcpStream, tls: Option<Box<Session>>) -> Wire {
        Wire { socket, tls }
    }

    /// For its limits of time.
    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Nothing more is sent.
    pub(super) fn end(&mut self) {
        if let Some(session) = &mut self.tls {
            session.close(&mut self.socket);
        }
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(session) => session.read(&mut self.socket, buffer),
            None => self.socket.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(session) => session.write(&mut self.socket, bytes),
            None => self.socket.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(session) = &mut self.tls else {
            return Ok(());
        };
        session.flush(&mut self.socket)?;
        // The socket waits, so what is left was too slow.
        match session.has_unsent() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(()),
        }
    }
}
