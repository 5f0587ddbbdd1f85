//! `weald del`: keys, or all keys of a range.

use std::ffi::OsString;
use std::path::Path;

use clap::Args;
use weald::BucketMut;

use crate::cli::Outcome;
use crate::cli::args::In;
use crate::cli::commands::scan::Range;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::Output;
use crate::cli::{input, place};

/// Delete keys, or all keys in a range, in one transaction
///
/// Exits with 1 if none of them was there.
#[derive(Args, Debug)]
pub(crate) struct Del {
    /// The keys
    #[arg(value_name = "KEY", required_unless_present_any = ["prefix", "from", "to"])]
    keys: Vec<OsString>,
    #[command(flatten)]
    place: In,
    #[command(flatten)]
    range: Range,
    /// Keys are given in hexadecimal
    #[arg(short = 'x', long)]
    hex: bool,
    /// Write {"deleted":…}, the number of keys that were there
    #[arg(long)]
    json: bool,
}

impl Del {
    pub(crate) fn run(&self, db: Option<&Path>) -> Result<Outcome> {
        if !self.keys.is_empty() && self.range.is_given() {
            return Err(Failure::Usage(
                "give keys, or a range with --prefix, --from and --to, but not both".to_owned(),
            ));
        }
        let keys: Vec<Vec<u8>> = self
            .keys
            .iter()
            .map(|key| input::argument(key, self.hex))
            .collect::<Result<_>>()?;
        let range = self.range.bounds(self.hex)?;
        let open = place::write(db)?;
        let failed = open.failed();
        let mut tx = open.db.write().map_err(&failed)?;
        let mut bucket = self.place.path().write(&mut tx).map_err(&failed)?;
        let deleted = if keys.is_empty() {
            delete_range(&mut bucket, &range)
        } else {
            delete_keys(&mut bucket, &keys)
        }
        .map_err(&failed)?;
        tx.commit().map_err(&failed)?;
        drop(failed);
        open.close()?;
        if self.json {
            let mut out = Output::new();
            out.json(false, |object| object.number("deleted", deleted))?;
            out.finish()?;
        } else if deleted == 0 {
            return Err(Failure::Refused("there was nothing to delete".to_owned()));
        }
        Ok(Outcome::of(deleted > 0))
    }
}

fn delete_keys(bucket: &mut BucketMut<'_, '_>, keys: &[Vec<u8>]) -> weald::Result<u64> {
    keys.iter()
        .try_fold(0, |deleted, key| Ok(deleted + u64::from(bucket.delete(key)?)))
}

/// The keys are counted by looking at them, since deleting them does not.
fn delete_range(bucket: &mut BucketMut<'_, '_>, range: &super::scan::Bounds) -> weald::Result<u64> {
    let mut count = 0;
    for pair in bucket.as_bucket()?.range(range.clone()) {
        pair?;
        count += 1;
    }
    if count > 0 {
        bucket.delete_range(range.clone())?;
    }
    Ok(count)
}
