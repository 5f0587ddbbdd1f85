//! `weald set`: a value from the command line, a file or standard input.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use weald::{BucketMut, Error};

use crate::cli::Outcome;
use crate::cli::args::In;
use crate::cli::failure::{Failure, Result};
use crate::cli::input::{self, Value};
use crate::cli::output::Output;
use crate::cli::{place, text};

/// What is read into memory whole, at most, where the value can't be streamed.
const WHOLE_MAX: u64 = 256 << 20;

/// Set a key, and make the database where there is none
///
/// The value is the argument, or what --file names, or comes from standard input. Files and standard input are streamed: a value of up to 4 GiB
/// takes no memory. When the command ends with 0, the value is on the disk.
#[derive(Args, Debug)]
pub(crate) struct Set {
    /// The key
    key: OsString,
    /// The value; from standard input where neither this nor --file is given
    #[arg(allow_negative_numbers = true)]
    value: Option<OsString>,
    #[command(flatten)]
    place: In,
    /// Read the value from this file; - is standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "value", value_hint = clap::ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// Let the key expire after this time: 500ms, 30s, 5m, 2h, 7d. The value may have 256 MiB at most
    #[arg(long, value_name = "TIME", value_parser = text::duration)]
    ttl: Option<Duration>,
    /// Leave a key alone that is there already, and exit with 1
    #[arg(long)]
    if_absent: bool,
    /// The key and the value as arguments are given in hexadecimal
    #[arg(short = 'x', long)]
    hex: bool,
    /// Write {"set":true}
    #[arg(long)]
    json: bool,
}

impl Set {
    pub(crate) fn run(&self, db: Option<&Path>) -> Result<Outcome> {
        let key = input::argument(&self.key, self.hex)?;
        let path = place::path(db)?;
        // The value first, so that nobody waits for the database while it is typed.
        let spool = input::directory_of(path);
        let value = match (&self.value, &self.file) {
            (Some(value), _) => Value::bytes(input::argument(value, self.hex)?),
            (None, Some(file)) => Value::file(file, spool)?,
            (None, None) => Value::stdin(spool)?,
        };
        let open = place::write_or_create(db)?;
        let failed = open.failed();
        let mut tx = open.db.write().map_err(&failed)?;
        let mut bucket = self.place.path().write(&mut tx).map_err(&failed)?;
        let is_there = || bucket.as_bucket()?.contains_key(&key);
        let set = !(self.if_absent && is_there().map_err(&failed)?);
        if set {
            self.put(&mut bucket, &key, value, &failed)?;
        }
        tx.commit().map_err(&failed)?;
        drop(failed);
        open.close()?;
        if self.json {
            let mut out = Output::new();
            out.json(false, |object| object.truth("set", set))?;
            out.finish()?;
        } else if !set {
            let key = text::escape(&key);
            return Err(Failure::Refused(format!(
                "the key {key} is there already: leave out --if-absent to set it anyhow"
            )));
        }
        Ok(Outcome::of(set))
    }

    fn put(
        &self,
        bucket: &mut BucketMut<'_, '_>,
        key: &[u8],
        value: Value,
        failed: impl Fn(Error) -> Failure,
    ) -> Result<()> {
        let Some(ttl) = self.ttl else {
            let len = value.len;
            return bucket.put_reader(key, value, len).map_err(failed);
        };
        if value.len > WHOLE_MAX {
            return Err(Failure::Usage(format!(
                "a value that expires may have {} at most, and this one has {}: leave --ttl out",
                text::size(WHOLE_MAX),
                text::size(value.len)
            )));
        }
        bucket
            .put_with_ttl(key, &value.into_bytes()?, ttl)
            .map_err(failed)
    }
}
