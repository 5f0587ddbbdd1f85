//! A client by a node's Unix socket, which no network can cut off.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use weald::server::Frame;

pub(crate) struct Client {
    stream: UnixStream,
    input: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(socket: &Path) -> io::Result<Client> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(15)))?;
        Ok(Client {
            stream,
            input: Vec::new(),
        })
    }

    /// What the command is answered with. Words have no blanks in them.
    pub(crate) fn run(&mut self, line: &str) -> io::Result<Frame> {
        let mut command = line.to_owned();
        command.push_str("\r\n");
        self.stream.write_all(command.as_bytes())?;
        let mut buffer = [0; 16 << 10];
        loop {
            if let Some((frame, len)) = Frame::read(&self.input).map_err(io::Error::other)? {
                self.input.drain(..len);
                return Ok(frame);
            }
            match self.stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                len => self.input.extend(&buffer[..len]),
            }
        }
    }

    /// The answer as a text: errors with a minus before them, arrays in brackets.
    pub(crate) fn text(&mut self, line: &str) -> String {
        shown(&self.run(line).unwrap_or_else(|e| panic!("{line}: {e}")))
    }
}

fn shown(frame: &Frame) -> String {
    match frame {
        Frame::Error(text) => format!("-{text}"),
        Frame::Simple(text) => text.clone(),
        Frame::Integer(number) => number.to_string(),
        Frame::Null => "nil".to_owned(),
        Frame::Array(frames) => format!("[{}]", frames.iter().map(shown).collect::<Vec<_>>().join(" ")),
        frame => String::from_utf8_lossy(frame.as_bytes().unwrap_or(b"?")).into_owned(),
    }
}
