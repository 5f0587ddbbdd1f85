//! `MIGRATE`: keys go to another server, by `RESTORE` over a connection of their own.
//!
//! All other clients wait meanwhile, as in Redis: the timeout bounds each step of the talk. A key is deleted here once the other server has said that it has it.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use weald_resp::Frame;

use super::dump::payload;
use crate::call::Call;
use crate::commands::args::{Result, integer};
use crate::commands::text;
use crate::dispatch::write_error;
use crate::error::{CommandError, CommandResult};
use crate::notify::Event;

/// How many keys are sent before their replies are read.
const AHEAD: usize = 64;

/// The most that is read before a reply is whole: more is none.
const REPLY_MAX: usize = 1 << 20;

/// What is to go where.
struct Wanted<'a> {
    place: (&'a [u8], &'a [u8]),
    keys: Vec<&'a [u8]>,
    db: i64,
    timeout: Duration,
    copy: bool,
    replace: bool,
    /// What comes after `AUTH`.
    login: Vec<&'a [u8]>,
}

fn wanted<'a>(args: &[&'a [u8]]) -> Result<Wanted<'a>> {
    let mut wanted = Wanted {
        place: (args[1], args[2]),
        keys: vec![args[3]],
        db: 0,
        timeout: Duration::default(),
        copy: false,
        replace: false,
        login: Vec::new(),
    };
    let mut rest = &args[6..];
    while let [word, after @ ..] = rest {
        rest = after;
        match (&word.to_ascii_lowercase()[..], after) {
            (b"copy", _) => wanted.copy = true,
            (b"replace", _) => wanted.replace = true,
            (b"auth", [password, after @ ..]) => {
                wanted.login = vec![password];
                rest = after;
            }
            (b"auth2", [user, password, after @ ..]) => {
                wanted.login = vec![user, password];
                rest = after;
            }
            (b"keys", keys) => {
                if !args[3].is_empty() {
                    return Err(CommandError::new(
                        "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
                    ));
                }
                wanted.keys = Vec::with_capacity(keys.len());
                let mut seen = std::collections::HashSet::new();
                wanted.keys.extend(keys.iter().filter(|key| seen.insert(**key)));
                rest = &[];
            }
            _ => return Err(CommandError::syntax()),
        }
    }
    wanted.db = integer(args[4])?;
    let ms = integer(args[5])?;
    wanted.timeout = Duration::from_millis(u64::try_from(ms).ok().filter(|ms| *ms > 0).unwrap_or(1000));
    Ok(wanted)
}

/// A connection to the other server.
struct Peer {
    stream: TcpStream,
    input: Vec<u8>,
}

fn io_error(what: &str) -> impl Fn(io::Error) -> CommandError {
    move |e| {
        log::warn!("MIGRATE: {what}: {e}");
        CommandError::new(format!("IOERR error or timeout {what}"))
    }
}

impl Peer {
    fn connect(wanted: &Wanted<'_>) -> Result<Peer> {
        let failed = io_error("connecting to the client");
        let host = text(wanted.place.0);
        let port = weald_resp::parse_i64(wanted.place.1)
            .and_then(|port| u16::try_from(port).ok())
            .ok_or_else(|| CommandError::new("ERR Invalid TCP port specified"))?;
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in (&*host, port).to_socket_addrs().map_err(&failed)? {
            match TcpStream::connect_timeout(&address, wanted.timeout) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(wanted.timeout)).map_err(&failed)?;
                    stream.set_write_timeout(Some(wanted.timeout)).map_err(&failed)?;
                    stream.set_nodelay(true).map_err(&failed)?;
                    return Ok(Peer {
                        stream,
                        input: Vec::new(),
                    });
                }
                Err(e) => last = e,
            }
        }
        Err(failed(last))
    }

    fn send(&mut self, args: &[&[u8]]) -> CommandResult {
        let mut request = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            request.extend_from_slice(arg);
            request.extend_from_slice(b"\r\n");
        }
        self.stream
            .write_all(&request)
            .map_err(io_error("writing to target instance"))
    }

    /// Reads a reply that is to be none but a simple one.
    fn expect(&mut self) -> CommandResult {
        let failed = io_error("reading to target instance");
        loop {
            let read = Frame::read(&self.input)
                .map_err(|e| failed(io::Error::new(io::ErrorKind::InvalidData, e.to_string())))?;
            if let Some((frame, taken)) = read {
                self.input.drain(..taken);
                return match frame {
                    Frame::Error(why) => Err(CommandError::new(format!(
                        "ERR Target instance replied with error: {why}"
                    ))),
                    _ => Ok(()),
                };
            }
            let mut more = [0; 4096];
            let len = self.stream.read(&mut more).map_err(&failed)?;
            if len == 0 || self.input.len() + len > REPLY_MAX {
                return Err(failed(io::Error::from(io::ErrorKind::UnexpectedEof)));
            }
            self.input.extend_from_slice(&more[..len]);
        }
    }
}

/// Sends keys; those that the other server has now are put into `moved`, also where it refused others.
fn transfer<'a>(
    call: &Call<'_, '_>,
    wanted: &Wanted<'_>,
    keys: &[&'a [u8]],
    moved: &mut Vec<&'a [u8]>,
) -> CommandResult {
    let mut peer = Peer::connect(wanted)?;
    if !wanted.login.is_empty() {
        let auth: Vec<&[u8]> = std::iter::once(&b"AUTH"[..])
            .chain(wanted.login.iter().copied())
            .collect();
        peer.send(&auth)?;
        peer.expect()?;
    }
    peer.send(&[b"SELECT", wanted.db.to_string().as_bytes()])?;
    peer.expect()?;
    let mut refused = Ok(());
    for keys in keys.chunks(AHEAD) {
        let mut sent = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(record) = call.keyspace.find(call.session.db, key)? else {
                continue;
            };
            let ttl = match record.expires {
                0 => 0,
                at => at.saturating_sub(call.now_ms).max(1),
            };
            let payload = payload(call, &record)?;
            let ttl = ttl.to_string();
            let mut args: Vec<&[u8]> = vec![b"RESTORE", key, ttl.as_bytes(), &payload];
            if wanted.replace {
                args.push(b"REPLACE");
            }
            peer.send(&args)?;
            sent.push(*key);
        }
        for key in sent {
            match peer.expect() {
                Ok(()) => moved.push(key),
                Err(CommandError::Refused(why)) if why.starts_with("IOERR") => {
                    return Err(CommandError::Refused(why));
                }
                Err(why) => refused = refused.and(Err(why)),
            }
        }
    }
    refused
}

pub(super) fn migrate(call: &mut Call<'_, '_>) -> CommandResult {
    let wanted = wanted(call.args)?;
    let mut keys = Vec::with_capacity(wanted.keys.len());
    for key in &wanted.keys {
        if call.keyspace.find(call.session.db, key)?.is_some() {
            keys.push(*key);
        }
    }
    if keys.is_empty() {
        call.reply.simple("NOKEY");
        return Ok(());
    }
    let mut moved = Vec::new();
    let result = transfer(call, &wanted, &keys, &mut moved);
    if !wanted.copy {
        for key in moved {
            if call.keyspace.delete(call.session.db, key)? {
                call.changed(Event::GENERIC, "del", key);
            }
        }
    }
    match result {
        Ok(()) => call.reply.ok(),
        // Some may be gone for all that, so it is a reply like others.
        Err(e) => write_error(call.reply, call.state, &e),
    }
    Ok(())
}
