//! One connection: requests in, answers out, each in a bounded time.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::http::Shared;
use crate::http::request::{Request, Step};
use crate::http::response::Response;
use crate::http::routes;
use crate::http::wire::Wire;

/// How long a connection may be silent between requests.
const IDLE: Duration = Duration::from_secs(30);
/// How long a request may take from its first byte to its last, so that slow clients do not keep threads.
const REQUEST: Duration = Duration::from_secs(10);
/// How long an answer may take to be read.
const ANSWER: Duration = Duration::from_secs(30);
/// The most requests of a connection: others get their turn.
const REQUESTS_MAX: usize = 10_000;

/// Serves a connection to its end. What fails on the way ends it: the other side is gone, or too slow.
pub(super) fn serve(mut stream: Wire, peer: SocketAddr, shared: &Shared) {
    let mut input = Vec::new();
    for _ in 0..REQUESTS_MAX {
        let (response, keep, is_head) = match next(&mut stream, &mut input) {
            Ok(Some(request)) => {
                let response = routes::answer(&request, peer, shared);
                let keep = request.keep_alive && !shared.is_ending();
                (response, keep, request.method == "HEAD")
            }
            Ok(None) => return,
            Err(Failed::Refused(response)) => (response, false, false),
            Err(Failed::Io) => return,
        };
        if send(&mut stream, &response, keep, is_head).is_err() {
            return;
        }
        if !keep {
            end(&mut stream);
            return;
        }
    }
}

enum Failed {
    /// The request is none, and this says so.
    Refused(Response),
    Io,
}

impl From<io::Error> for Failed {
    fn from(_: io::Error) -> Failed {
        Failed::Io
    }
}

/// The next request; `None` where there is none any more.
fn next(stream: &mut Wire, input: &mut Vec<u8>) -> Result<Option<Request>, Failed> {
    let mut begun = (!input.is_empty()).then(Instant::now);
    let mut continued = false;
    let mut buffer = [0; 16 << 10];
    loop {
        match Request::parse(input).map_err(Failed::Refused)? {
            Step::Request(request, consumed) => {
                input.drain(..consumed);
                return Ok(Some(*request));
            }
            Step::Incomplete { wants_continue } => {
                if wants_continue && !continued {
                    continued = true;
                    stream.socket().set_write_timeout(Some(REQUEST))?;
                    stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
                }
            }
        }
        let left = match begun {
            None => IDLE,
            Some(begun) => REQUEST.saturating_sub(begun.elapsed()),
        };
        let late = || Failed::Refused(Response::error(408, "LATE", "the request took too long"));
        if left.is_zero() {
            return Err(late());
        }
        stream.socket().set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(None),
            Ok(n) => {
                begun.get_or_insert_with(Instant::now);
                input.extend_from_slice(&buffer[..n]);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return if begun.is_some() { Err(late()) } else { Ok(None) };
            }
            Err(e) => return Err(e.into()),
        }
    }
}

fn send(stream: &mut Wire, response: &Response, keep: bool, is_head: bool) -> io::Result<()> {
    let begun = Instant::now();
    let head = response.head(keep);
    let body = if is_head { &[][..] } else { response.body() };
    for part in [&head[..], body] {
        let mut part = part;
        while !part.is_empty() {
            let left = ANSWER.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            stream.socket().set_write_timeout(Some(left))?;
            match stream.write(part) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => part = &part[n..],
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
    stream.flush()
}

/// Ends a connection so that the last answer arrives: what was sent and not read would make the system take it back.
fn end(stream: &mut Wire) {
    stream.end();
    let until = Instant::now() + Duration::from_secs(1);
    let mut buffer = [0; 4096];
    for _ in 0..256 {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.socket().set_read_timeout(Some(left)).is_err() {
            return;
        }
        if !matches!(stream.read(&mut buffer), Ok(n) if n > 0) {
            return;
        }
    }
}
