//! `weald get`: a value to standard output.

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;

use clap::Args;

use crate::cli::Outcome;
use crate::cli::args::In;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::Output;
use crate::cli::{input, place, text};

/// Write a key's value to standard output
///
/// To a pipe or a file go the bytes as they are, however many, without a line end. On a terminal they are escaped.
#[derive(Args, Debug)]
pub(crate) struct Get {
    /// The key
    key: OsString,
    #[command(flatten)]
    place: In,
    /// The key is given in hexadecimal, and so is the value shown
    #[arg(short = 'x', long)]
    hex: bool,
    /// Write {"key":…,"value":…,"ttl_ms":…}; bytes that are not UTF-8 as {"hex":"00ff"}
    #[arg(long)]
    json: bool,
}

impl Get {
    pub(crate) fn run(&self, db: Option<&Path>) -> Result<Outcome> {
        let key = input::argument(&self.key, self.hex)?;
        let open = place::read(db)?;
        let failed = open.failed();
        let tx = open.db.read().map_err(&failed)?;
        let bucket = self.place.path().read(&tx).map_err(&failed)?;
        let Some(mut value) = bucket.get_reader(&key).map_err(&failed)? else {
            return Err(Failure::Refused(format!(
                "there is no key {}",
                text::escape(&key)
            )));
        };
        let mut out = Output::new();
        if self.json {
            let value = bucket.get_ref(&key).map_err(&failed)?.unwrap_or_default();
            let ttl = bucket.ttl(&key).map_err(&failed)?.flatten();
            out.json(self.hex, |object| {
                let object = object.bytes("key", &key)?.bytes("value", value)?;
                match ttl {
                    Some(ttl) => object.number("ttl_ms", ttl.as_millis() as u64),
                    None => Ok(object),
                }
            })?;
        } else {
            self.stream(&mut value, &mut out)?;
        }
        out.finish()?;
        Ok(Outcome::Done)
    }

    /// Passes the value on piece by piece.
    fn stream(&self, value: &mut impl Read, out: &mut Output) -> Result<()> {
        let readable = self.hex || out.is_terminal();
        let mut piece = vec![0; 64 << 10];
        // Bytes of a character that the last piece ended within, so that escaping sees it whole.
        let mut held = 0;
        loop {
            let read = match value.read(&mut piece[held..]) {
                Ok(read) => read,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Failure::Value(e)),
            };
            let bytes = &piece[..held + read];
            if !readable {
                out.raw(bytes)?;
            } else {
                let cut = if self.hex || read == 0 {
                    bytes.len()
                } else {
                    whole_characters(bytes)
                };
                out.readable(&bytes[..cut], self.hex)?;
                held = bytes.len() - cut;
                piece.copy_within(cut..cut + held, 0);
            }
            if read == 0 {
                break;
            }
        }
        if readable {
            out.line("")?;
        }
        Ok(())
    }
}

/// How many of the bytes are not the beginning of a character whose end is yet to come.
fn whole_characters(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(3);
    let begun = bytes[tail..].iter().rposition(|b| *b >= 0xc0);
    match begun.map(|at| tail + at) {
        Some(at) if std::str::from_utf8(&bytes[at..]).is_err_and(|e| e.error_len().is_none()) => at,
        _ => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_character_that_may_go_on_is_held_back() {
        let check = |bytes: &[u8], expected| assert_eq!(whole_characters(bytes), expected, "{bytes:?}");
        check(b"", 0);
        check(b"abc", 3);
        check("aü".as_bytes(), 3);
        check(b"a\xc3", 1);
        check(b"a\xe2\x82", 1);
        check(b"a\xf0\x9f\x98", 1);
        check(b"a\xff", 2);
        check(b"\x80\x80\x80", 3);
    }
}
