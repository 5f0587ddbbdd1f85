//! `weald hot worker`: a process that works in a region on behalf of a script.

use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;

use clap::Args;
use weald::hot::{Change, Error, Region, Session};

use super::make::told;
use super::{Making, failed};
use crate::cli::Outcome;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::Output;

const ARGUMENTS_MAX: usize = 1024;
const ARGUMENT_LEN_MAX: usize = 64 << 20;
const LINE_LEN_MAX: u64 = 64 << 10;

/// Join a region, and answer commands on standard input
///
/// The region is made where there is none. Commands come as Redis clients send them, or as plain lines; the answers are Redis replies:
/// PING, GET key, SET key value, DEL key..., INCR key, USED (the bytes of memory in use), and PERSIST (with --image). For scripts that drive many processes and
/// kill them.
#[derive(Args, Debug)]
pub(super) struct Worker {
    /// The region's file
    #[arg(value_hint = clap::ValueHint::FilePath)]
    path: PathBuf,
    #[command(flatten)]
    making: Making,
}

impl Worker {
    pub(super) fn run(&self) -> Result<Outcome> {
        let (region, opened) = self.making.open(&self.path)?;
        if let Some(opened) = opened {
            // Standard output belongs to the answers.
            eprintln!("weald: {}: {}", self.path.display(), told(&opened));
        }
        let session = region.join("weald hot worker").map_err(failed(&self.path))?;
        let mut input = BufReader::new(io::stdin().lock());
        let mut output = Output::new();
        loop {
            let command = match read_command(&mut input) {
                Ok(Some(command)) => command,
                Ok(None) => break,
                Err(e) => {
                    // What follows can't be told apart any more.
                    output.raw(b"-ERR Protocol error\r\n")?;
                    output.finish()?;
                    return Err(Failure::Io("understand the commands".to_owned(), e));
                }
            };
            if command.is_empty() {
                continue;
            }
            let reply = answer(&region, &session, &command).unwrap_or_else(|e| refusal(&e));
            output.raw(&reply)?;
            // Answers go out when nobody is waiting to be read any more.
            if input.buffer().is_empty() {
                output.flush()?;
            }
        }
        output.finish()?;
        Ok(Outcome::Done)
    }
}

fn answer(region: &Region, session: &Session, command: &[Vec<u8>]) -> std::result::Result<Vec<u8>, Error> {
    let name = command
        .first()
        .map(|name| name.to_ascii_uppercase())
        .unwrap_or_default();
    let arguments: Vec<&[u8]> = command.iter().skip(1).map(Vec::as_slice).collect();
    Ok(match (name.as_slice(), arguments.as_slice()) {
        (b"PING", []) => b"+PONG\r\n".to_vec(),
        (b"GET", [key]) => match session.get(key)? {
            Some(value) => bulk(&value),
            None => b"$-1\r\n".to_vec(),
        },
        (b"SET", [key, value]) => {
            session.put(key, value)?;
            b"+OK\r\n".to_vec()
        }
        (b"DEL", keys @ [_, ..]) => {
            let mut removed = 0;
            for key in keys {
                removed += u64::from(session.remove(key)?);
            }
            number(removed)
        }
        (b"INCR", [key]) => increment(session, key)?,
        (b"USED", []) => {
            let info = region.info()?;
            number((info.volumes - info.volumes_free) * info.volume_size)
        }
        (b"PERSIST", []) => number(session.persist()?.keys),
        _ => b"-ERR unknown command or wrong number of arguments\r\n".to_vec(),
    })
}

fn increment(session: &Session, key: &[u8]) -> std::result::Result<Vec<u8>, Error> {
    let mut sum = None;
    session.update(key, |old| {
        let old = match old {
            None => Some(0i64),
            Some(text) => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()),
        };
        sum = old.and_then(|old| old.checked_add(1));
        sum.map_or(Change::Keep, |sum| {
            Change::Put(sum.to_string().into_bytes().into())
        })
    })?;
    Ok(match sum {
        Some(sum) => format!(":{sum}\r\n").into_bytes(),
        None => b"-ERR value is not an integer or out of range\r\n".to_vec(),
    })
}

fn number(number: u64) -> Vec<u8> {
    format!(":{number}\r\n").into_bytes()
}

fn bulk(value: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
}

fn refusal(e: &Error) -> Vec<u8> {
    format!("-ERR {e}\r\n").into_bytes()
}

/// Reads one command, an array of bulk strings or a plain line. `None` at the end of the input.
fn read_command(input: &mut impl BufRead) -> io::Result<Option<Vec<Vec<u8>>>> {
    let Some(line) = read_line(input)? else {
        return Ok(None);
    };
    let Some(count) = line.strip_prefix(b"*") else {
        let words = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
        return Ok(Some(words.map(<[u8]>::to_vec).collect()));
    };
    let count = length(count, ARGUMENTS_MAX)?;
    let mut arguments = Vec::new();
    for _ in 0..count {
        let line = read_line(input)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let len = length(line.strip_prefix(b"$").unwrap_or_default(), ARGUMENT_LEN_MAX)?;
        let mut argument = Vec::new();
        // As much as comes, so that a large number alone takes no memory.
        input.by_ref().take(len as u64 + 2).read_to_end(&mut argument)?;
        if argument.len() != len + 2 || !argument.ends_with(b"\r\n") {
            return Err(io::ErrorKind::InvalidData.into());
        }
        argument.truncate(len);
        arguments.push(argument);
    }
    Ok(Some(arguments))
}

/// A line without its end; the last one may lack it.
fn read_line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    input.by_ref().take(LINE_LEN_MAX).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    match line.pop() {
        Some(b'\n') => {}
        // At the end of the input, or in the middle of a line that doesn't end.
        Some(last) if input.fill_buf()?.is_empty() => line.push(last),
        _ => return Err(io::ErrorKind::InvalidData.into()),
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(line))
}

fn length(digits: &[u8], most: usize) -> io::Result<usize> {
    std::str::from_utf8(digits)
        .ok()
        .and_then(|text| text.parse().ok())
        .filter(|&length| length <= most)
        .ok_or(io::ErrorKind::InvalidData.into())
}
