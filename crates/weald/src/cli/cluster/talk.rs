//! A connection to a node, as a client.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use weald_server::Frame;

use crate::cli::failure::{Failure, Result};

/// How long a node may take to answer: longer than a request within the cluster.
const PATIENCE: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(5);
/// No reply to these commands is longer.
const REPLY_MAX: usize = 64 << 20;

/// Which node is talked to, and as whom.
#[derive(Args, Debug)]
pub(crate) struct At {
    /// The node's address for clients
    #[arg(
        long,
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:6379",
        env = "WEALD_NODE"
    )]
    node: String,

    /// The user
    #[arg(long, value_name = "NAME", default_value = "default")]
    user: String,

    /// A file that has the user's password; the variable WEALD_PASSWORD is looked at otherwise
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    password_file: Option<PathBuf>,
}

/// A connection to a node.
pub(super) struct Talk {
    stream: TcpStream,
    input: Vec<u8>,
    node: String,
}

impl At {
    pub(super) fn talk(&self) -> Result<Talk> {
        let failed = |e: io::Error| Failure::Io(format!("talk to the node at {}", self.node), e);
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        let mut connected = None;
        for address in self.node.to_socket_addrs().map_err(failed)? {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => {
                    connected = Some(stream);
                    break;
                }
                Err(e) => last = e,
            }
        }
        let stream = match connected {
            Some(stream) => stream,
            None => return Err(failed(last)),
        };
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let mut talk = Talk {
            stream,
            input: Vec::new(),
            node: self.node.clone(),
        };
        match self.password()? {
            Some(password) => talk.run(&["HELLO", "3", "AUTH", &self.user, &password])?,
            None => talk.run(&["HELLO", "3"])?,
        };
        Ok(talk)
    }

    fn password(&self) -> Result<Option<String>> {
        let Some(path) = &self.password_file else {
            return Ok(std::env::var("WEALD_PASSWORD").ok());
        };
        let text = std::fs::read_to_string(path).map_err(Failure::file("read", path))?;
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

impl Talk {
    /// Runs a command; a reply that is an error is a failure.
    pub(super) fn run(&mut self, args: &[&str]) -> Result<Frame> {
        let mut request = format!("*{}\r\n", args.len());
        for arg in args {
            request.push_str(&format!("${}\r\n{arg}\r\n", arg.len()));
        }
        let node = self.node.clone();
        let failed = |e: io::Error| Failure::Io(format!("talk to the node at {node}"), e);
        self.stream.write_all(request.as_bytes()).map_err(failed)?;
        match self.reply().map_err(failed)? {
            Frame::Error(text) => Err(Failure::Refused(format!("the node at {node} says: {text}"))),
            frame => Ok(frame),
        }
    }

    fn reply(&mut self) -> io::Result<Frame> {
        let mut buffer = [0; 16 << 10];
        loop {
            let read = Frame::read(&self.input).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
            if let Some((frame, len)) = read {
                self.input.drain(..len);
                return Ok(frame);
            }
            if self.input.len() > REPLY_MAX {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the reply is too long",
                ));
            }
            match self.stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.input.extend_from_slice(&buffer[..read]),
            }
        }
    }
}

/// The value of a name in a map.
pub(super) fn field<'f>(frame: &'f Frame, name: &str) -> &'f Frame {
    let Frame::Map(pairs) = frame else {
        return &Frame::Null;
    };
    pairs
        .iter()
        .find(|(key, _)| key.as_bytes() == Some(name.as_bytes()))
        .map_or(&Frame::Null, |(_, value)| value)
}

/// A value as a short text.
pub(super) fn text(frame: &Frame) -> String {
    match frame {
        Frame::Integer(number) => number.to_string(),
        Frame::Boolean(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        frame => String::from_utf8_lossy(frame.as_bytes().unwrap_or(b"-")).into_owned(),
    }
}

/// The elements of an array.
pub(super) fn elements(frame: &Frame) -> &[Frame] {
    match frame {
        Frame::Array(elements) => elements,
        _ => &[],
    }
}
