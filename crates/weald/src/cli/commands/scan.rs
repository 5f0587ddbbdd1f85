//! `weald scan`: the keys and values of a range.

use std::ffi::OsString;
use std::ops::Bound;
use std::path::PathBuf;

use clap::Args;
use weald::{Bucket, Pair};

use crate::cli::Outcome;
use crate::cli::args::In;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::Output;
use crate::cli::place::Given;
use crate::cli::{input, place};

/// The start and the end of a range of keys.
pub(crate) type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// List keys and values in the order of the keys
///
/// A line has a key, a tab and the value, both escaped: readable UTF-8 as it is, anything else as \n, \t, \\ or \xff. So every
/// line can be taken apart again, whatever the bytes are. On a terminal only the beginning of a long value is shown.
#[derive(Args, Debug)]
pub(crate) struct Scan {
    /// The database, instead of --db
    #[arg(value_name = "DATABASE", value_hint = clap::ValueHint::FilePath)]
    database: Option<PathBuf>,
    #[command(flatten)]
    place: In,
    #[command(flatten)]
    range: Range,
    /// Begin with the greatest key
    #[arg(short, long)]
    reverse: bool,
    /// End after this many keys
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<u64>,
    /// Leave the values out
    #[arg(short, long)]
    keys_only: bool,
    /// Keys are given in hexadecimal, and keys and values are shown so
    #[arg(short = 'x', long)]
    hex: bool,
    /// Write {"key":…,"value":…} a line; bytes that are not UTF-8 as {"hex":"00ff"}
    #[arg(long)]
    json: bool,
}

/// Which keys.
#[derive(Args, Debug)]
pub(crate) struct Range {
    /// Only keys that begin with this
    #[arg(short, long, value_name = "KEY", conflicts_with_all = ["from", "to"])]
    prefix: Option<OsString>,
    /// Only keys from this one on
    #[arg(long, value_name = "KEY")]
    from: Option<OsString>,
    /// Only keys before this one
    #[arg(long, value_name = "KEY")]
    to: Option<OsString>,
}

impl Range {
    /// Whether the command line says anything about it.
    pub(crate) fn is_given(&self) -> bool {
        self.prefix.is_some() || self.from.is_some() || self.to.is_some()
    }

    /// The range that was asked for; all keys where none was.
    pub(crate) fn bounds(&self, hex: bool) -> Result<Bounds> {
        let key = |key: &Option<OsString>| key.as_ref().map(|key| input::argument(key, hex)).transpose();
        if let Some(prefix) = key(&self.prefix)? {
            let end = after(&prefix).map_or(Bound::Unbounded, Bound::Excluded);
            return Ok((Bound::Included(prefix), end));
        }
        let start = key(&self.from)?.map_or(Bound::Unbounded, Bound::Included);
        let end = key(&self.to)?.map_or(Bound::Unbounded, Bound::Excluded);
        Ok((start, end))
    }
}

/// The least key that is greater than all those which begin with `prefix`.
fn after(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < 0xff)?;
    let mut after = prefix[..=last].to_vec();
    after[last] += 1;
    Some(after)
}

impl Scan {
    pub(crate) fn run(&self, given: Given<'_>) -> Result<Outcome> {
        let bounds = self.range.bounds(self.hex)?;
        let open = place::read(Some(given.or(self.database.as_deref(), "scan DATABASE")?))?;
        let failed = open.failed();
        let tx = open.db.read().map_err(&failed)?;
        let bucket = self.place.path().read(&tx).map_err(&failed)?;
        let mut out = Output::new();
        let limit = usize::try_from(self.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        for pair in self.pairs(bucket, bounds).take(limit) {
            self.show(&mut out, pair.map_err(&failed)?)?;
        }
        out.finish()?;
        Ok(Outcome::Done)
    }

    fn pairs<'t>(
        &self,
        bucket: Bucket<'t>,
        bounds: Bounds,
    ) -> Box<dyn Iterator<Item = weald::Result<Pair<'t>>> + 't> {
        let pairs = bucket.range(bounds);
        if self.reverse {
            Box::new(pairs.rev())
        } else {
            Box::new(pairs)
        }
    }

    fn show(&self, out: &mut Output, (key, value): Pair<'_>) -> Result<(), Failure> {
        if self.json {
            return out.json(self.hex, |object| {
                let object = object.bytes("key", key)?;
                if self.keys_only {
                    Ok(object)
                } else {
                    object.bytes("value", value)
                }
            });
        }
        out.readable(key, self.hex)?;
        if !self.keys_only {
            out.raw(b"\t")?;
            if out.is_terminal() {
                out.glimpse(value, self.hex)?;
            } else {
                out.readable(value, self.hex)?;
            }
        }
        out.raw(b"\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_next_key_that_does_not_begin_with_it() {
        assert_eq!(after(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(after(b"\xff"), None);
        assert_eq!(after(b""), None);
    }
}
