//! A small client of one node, by TCP, or by its Unix socket, which no network can cut off.

use std::io::{self, Read, Write};
use std::net::TcpStream;
#[cfg(target_os = "linux")]
use std::os::unix::net::UnixStream;
use std::time::Duration;

use weald::server::Frame;

pub(crate) struct Client<S = TcpStream> {
    stream: S,
    input: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(port: u16) -> io::Result<Client> {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(15)))?;
        stream.set_nodelay(true)?;
        Ok(Client {
            stream,
            input: Vec::new(),
        })
    }
}

#[cfg(target_os = "linux")]
impl Client<UnixStream> {
    pub(crate) fn local(socket: &std::path::Path) -> io::Result<Client<UnixStream>> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(15)))?;
        Ok(Client {
            stream,
            input: Vec::new(),
        })
    }
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn send<A: AsRef<[u8]>>(&mut self, commands: &[Vec<A>]) -> io::Result<()> {
        let mut out = Vec::new();
        for args in commands {
            out.extend(format!("*{}\r\n", args.len()).as_bytes());
            for arg in args {
                let arg = arg.as_ref();
                out.extend(format!("${}\r\n", arg.len()).as_bytes());
                out.extend(arg);
                out.extend(b"\r\n");
            }
        }
        self.stream.write_all(&out)
    }

    pub(crate) fn reply(&mut self) -> io::Result<Frame> {
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

    pub(crate) fn try_run(&mut self, line: &str) -> io::Result<Frame> {
        self.send(&[line.split(' ').collect::<Vec<_>>()])?;
        self.reply()
    }

    pub(crate) fn run(&mut self, line: &str) -> Frame {
        self.try_run(line).unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    /// The reply as a text, for comparing: errors with a minus before them, arrays in brackets.
    pub(crate) fn text(&mut self, line: &str) -> String {
        shown(&self.run(line))
    }
}

pub(crate) fn shown(frame: &Frame) -> String {
    match frame {
        Frame::Error(text) => format!("-{text}"),
        Frame::Simple(text) => text.clone(),
        Frame::Integer(number) => number.to_string(),
        Frame::Null => "nil".to_owned(),
        Frame::Array(frames) => {
            let frames: Vec<String> = frames.iter().map(shown).collect();
            format!("[{}]", frames.join(" "))
        }
        frame => String::from_utf8_lossy(frame.as_bytes().unwrap_or(b"?")).into_owned(),
    }
}
