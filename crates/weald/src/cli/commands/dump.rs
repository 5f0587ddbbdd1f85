//! `weald dump` and `weald load`: keys and values in a format that does not depend on how they are stored.

use std::path::{Path, PathBuf};

use clap::Args;
use weald::{DumpInfo, LoadOptions};

use crate::cli::Outcome;
use crate::cli::failure::Result;
use crate::cli::output::Output;
use crate::cli::place::Given;
use crate::cli::progress::Progress;
use crate::cli::stream::{self, Sink};
use crate::cli::{place, text};

/// Write all buckets, keys and values in a portable format
///
/// docs/dump.md describes the format, so that other programs can read it. A file appears only once all of it is there.
#[derive(Args, Debug)]
pub(crate) struct Dump {
    /// The database, where neither --db nor WEALD_DB names it
    #[arg(value_name = "DATABASE", value_hint = clap::ValueHint::FilePath)]
    database: Option<PathBuf>,
    /// The file that is written; standard output where it is left out or -
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    to: Option<PathBuf>,
    /// Overwrite the file if it exists
    #[arg(long)]
    force: bool,
    /// Write {"keys":…,"buckets":…,"bytes":…}
    #[arg(long)]
    json: bool,
}

/// Read a dump into the database, and make the database where there is none
///
/// Keys that are there are overwritten, others stay. All of it is one transaction, unless --batch says otherwise: a dump that is damaged or
/// cut changes nothing.
#[derive(Args, Debug)]
pub(crate) struct Load {
    /// The database, where neither --db nor WEALD_DB names it
    #[arg(value_name = "DATABASE", value_hint = clap::ValueHint::FilePath)]
    database: Option<PathBuf>,
    /// The dump; standard input where it is left out or -
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    from: Option<PathBuf>,
    /// Commit after each so many MiB, which lets others write in between; what a load that fails has committed stays
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    batch: Option<u64>,
    /// Write {"keys":…,"buckets":…,"bytes":…}
    #[arg(long)]
    json: bool,
}

impl Dump {
    pub(crate) fn run(&self, given: Given<'_>) -> Result<Outcome> {
        // Of a single name it is the place of the other that says what it is.
        let (database, to) = match (&self.database, &self.to) {
            (Some(to), None) if given.is_named() => (None, Some(to)),
            (database, to) => (database.as_deref(), to.as_ref()),
        };
        let to = to.map_or(Path::new("-"), PathBuf::as_path);
        let path = given.or(database, "dump DATABASE FILE")?;
        stream::refuse_report(to, self.json)?;
        let open = place::read(Some(path))?;
        let mut sink = Sink::new(to, self.force)?;
        let progress = Progress::new("dumping");
        let info = sink.write(path, |sink| open.db.dump_with(sink, progress.follow(None)))?;
        drop(progress);
        sink.finish()?;
        if to.as_os_str() == "-" {
            return Ok(Outcome::Done);
        }
        tell(&info, self.json)
    }
}

impl Load {
    pub(crate) fn run(&self, given: Given<'_>) -> Result<Outcome> {
        let (database, from) = match (&self.database, &self.from) {
            (Some(from), None) => (None, Some(from)),
            (database, from) => (database.as_deref(), from.as_ref()),
        };
        let path = given.or(database, "load DATABASE FILE")?;
        let (mut source, total) = stream::source(from.map_or(Path::new("-"), PathBuf::as_path))?;
        let mut open = place::write_or_create(Some(path))?;
        let mut options = LoadOptions::new();
        if let Some(mebibytes) = self.batch {
            open.keep();
            options = options.batch_bytes(mebibytes << 20);
        }
        let progress = Progress::new("loading");
        let info = open
            .db
            .load_with(&mut source, options, progress.follow(total))
            .map_err(open.failed())?;
        drop(progress);
        open.close()?;
        tell(&info, self.json)
    }
}

fn tell(info: &DumpInfo, json: bool) -> Result<Outcome> {
    let mut out = Output::new();
    if json {
        out.json(false, |object| {
            object
                .number("keys", info.keys)?
                .number("buckets", info.buckets)?
                .number("bytes", info.bytes)
        })?;
    } else {
        out.line(format_args!(
            "{} and {} of {}",
            text::counted(info.buckets, "bucket"),
            text::counted(info.keys, "key"),
            text::size(info.bytes)
        ))?;
    }
    out.finish()?;
    Ok(Outcome::Done)
}
