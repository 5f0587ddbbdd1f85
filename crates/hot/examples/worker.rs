//! Attaches to the region at a path, creating it where absent, and answers Redis commands on standard input: PING, GET, SET, DEL, INCR
//! and USED (the bytes of memory in use). For scripts that drive many processes and kill them.
//!
//! `printf 'SET k v\r\nGET k\r\n' | cargo run -p weald-hot --example worker /dev/shm/cache`

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use weald_hot::{Change, Error, Region, RegionOptions, Session};

const ARGUMENTS_MAX: usize = 1024;
const ARGUMENT_LEN_MAX: usize = 64 << 20;

/// Reads one command, an array of bulk strings or a plain line. `None` at the end of the input.
fn read_command(input: &mut impl BufRead) -> io::Result<Option<Vec<Vec<u8>>>> {
    let Some(line) = read_line(input)? else {
        return Ok(None);
    };
    let Some(count) = line.strip_prefix(b"*") else {
        return Ok(Some(
            line.split(|&byte| byte == b' ')
                .filter(|part| !part.is_empty())
                .map(<[u8]>::to_vec)
                .collect(),
        ));
    };
    let count = number(count, ARGUMENTS_MAX)?;
    let mut arguments = Vec::new();
    for _ in 0..count {
        let line = read_line(input)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let len = number(line.strip_prefix(b"$").unwrap_or_default(), ARGUMENT_LEN_MAX)?;
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

fn read_line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    input.by_ref().take(64 << 10).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::InvalidData.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(line))
}

fn number(digits: &[u8], most: usize) -> io::Result<usize> {
    let number = std::str::from_utf8(digits)
        .ok()
        .and_then(|text| text.parse().ok());
    number
        .filter(|&number| number <= most)
        .ok_or(io::ErrorKind::InvalidData.into())
}

fn bulk(value: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
}

fn increment(session: &Session, key: &[u8]) -> Result<Vec<u8>, Error> {
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

fn answer(region: &Region, session: &Session, command: &[Vec<u8>]) -> Result<Vec<u8>, Error> {
    let name = command
        .first()
        .map(|name| name.to_ascii_uppercase())
        .unwrap_or_default();
    let arguments: Vec<&[u8]> = command.iter().skip(1).map(Vec::as_slice).collect();
    Ok(match (name.as_slice(), arguments.as_slice()) {
        (b"PING", []) => b"+PONG\r\n".to_vec(),
        (b"GET", [key]) => session
            .get(key)?
            .map_or(b"$-1\r\n".to_vec(), |value| bulk(&value)),
        (b"SET", [key, value]) => {
            session.put(key, value)?;
            b"+OK\r\n".to_vec()
        }
        (b"DEL", keys @ [_, ..]) => {
            let mut removed = 0;
            for key in keys {
                removed += usize::from(session.remove(key)?);
            }
            format!(":{removed}\r\n").into_bytes()
        }
        (b"INCR", [key]) => increment(session, key)?,
        (b"USED", []) => {
            let info = region.info()?;
            format!(":{}\r\n", (info.volumes - info.volumes_free) * info.volume_size).into_bytes()
        }
        _ => b"-ERR unknown command or wrong number of arguments\r\n".to_vec(),
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: worker PATH")?;
    let region = Region::open_or_create(Path::new(&path), &RegionOptions::default())?;
    let session = region.join("worker")?;
    let mut input = BufReader::new(io::stdin().lock());
    let mut output = BufWriter::new(io::stdout().lock());
    while let Some(command) = read_command(&mut input)? {
        if command.is_empty() {
            continue;
        }
        let reply = match answer(&region, &session, &command) {
            Ok(reply) => reply,
            Err(error) => format!("-ERR {error}\r\n").into_bytes(),
        };
        output.write_all(&reply)?;
        // Answers go out when nobody is waiting to be read any more.
        if input.buffer().is_empty() {
            output.flush()?;
        }
    }
    output.flush()?;
    Ok(())
}
