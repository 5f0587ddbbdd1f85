//! `weald backup` and `weald restore`: pages as they are, all or those that changed.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use weald::{BackupPoint, Database, RestoreOptions};

use crate::cli::Outcome;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::Output;
use crate::cli::place::Given;
use crate::cli::progress::Progress;
use crate::cli::stream::{self, Sink};
use crate::cli::{place, replace, text};

/// Back the database up, all of it or what has changed since an earlier backup
///
/// A backup holds pages as they are, so it is fast both ways, and an incremental one holds only the changed ones. 'weald dump' writes
/// a format that other programs can read.
#[derive(Args, Debug)]
#[command(allow_missing_positional = true)]
pub(crate) struct Backup {
    /// The database, instead of --db
    #[arg(value_name = "DATABASE", value_hint = clap::ValueHint::FilePath)]
    database: Option<PathBuf>,
    /// The file that is written; - is standard output
    #[arg(value_name = "FILE", required = true, value_hint = clap::ValueHint::FilePath)]
    to: PathBuf,
    /// Write only what this earlier backup of the same database does not have
    #[arg(long, value_name = "BACKUP", value_hint = clap::ValueHint::FilePath)]
    since: Option<PathBuf>,
    /// Overwrite the file if it exists
    #[arg(long)]
    force: bool,
    /// Write {"txid":…,"pages":…,"bytes":…}
    #[arg(long)]
    json: bool,
}

/// Make a database from a full backup and the incremental ones after it
///
/// The database appears only once all of it is there and was checked.
#[derive(Args, Debug)]
pub(crate) struct Restore {
    /// The database, where neither --db nor WEALD_DB names it; then a full backup, and incremental ones in their order; - is standard input
    #[arg(value_names = ["DATABASE", "BACKUP"], num_args = 1.., required = true, value_hint = clap::ValueHint::FilePath)]
    names: Vec<PathBuf>,
    /// Replace the database if there is one
    #[arg(long)]
    force: bool,
    /// Write {"txid":…,"keys":…,"pages":…}
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub(crate) fn run(&self, given: Given<'_>) -> Result<Outcome> {
        stream::refuse_report(&self.to, self.json)?;
        let path = place::existing(Some(given.or(self.database.as_deref(), "backup DATABASE FILE")?))?;
        let base = self.since.as_deref().map(point).transpose()?;
        let mut sink = Sink::new(&self.to, self.force)?;
        let open = place::write(Some(path))?;
        let progress = Progress::new("backing up");
        let info = sink.write(path, |sink| {
            open.db.backup_with(sink, base.as_ref(), progress.follow(None))
        })?;
        drop(progress);
        open.close()?;
        sink.finish()?;
        if self.to.as_os_str() == "-" {
            return Ok(Outcome::Done);
        }
        let mut out = Output::new();
        if self.json {
            out.json(false, |object| {
                object
                    .number("txid", info.point.txid().0)?
                    .number("pages", info.pages)?
                    .number("bytes", info.bytes)
            })?;
        } else {
            out.line(format_args!(
                "{} in {}, as of commit {}",
                text::counted(info.pages, "page"),
                text::size(info.bytes),
                info.point.txid().0
            ))?;
        }
        out.finish()?;
        Ok(Outcome::Done)
    }
}

/// The state that an earlier backup holds.
fn point(path: &Path) -> Result<BackupPoint> {
    let file = File::open(path).map_err(Failure::file("open", path))?;
    BackupPoint::read(&mut BufReader::new(file)).map_err(|e| Failure::Database(path.to_owned(), Box::new(e)))
}

impl Restore {
    pub(crate) fn run(&self, given: Given<'_>) -> Result<Outcome> {
        let (argument, from) = match self.names.split_first() {
            Some((database, from)) if !given.is_named() && !from.is_empty() => {
                (Some(database.as_path()), from)
            }
            _ => (None, &self.names[..]),
        };
        let path = given.or(argument, "restore DATABASE BACKUP")?;
        replace::refuse_existing(path, self.force)?;
        let mut total = Some(0);
        let mut sources = Vec::new();
        for from in from {
            let (source, len) = stream::source(from)?;
            total = total.zip(len).map(|(total, len)| total + len);
            sources.push(source);
        }
        let mut readers: Vec<&mut dyn Read> =
            sources.iter_mut().map(|source| source as &mut dyn Read).collect();
        let progress = Progress::new("restoring");
        let options = RestoreOptions::new().overwrite(self.force);
        let info = Database::restore_with(&mut readers, path, options, progress.follow(total))
            .map_err(|e| Failure::Database(path.to_owned(), Box::new(e)))?;
        drop(progress);
        let mut out = Output::new();
        if self.json {
            out.json(false, |object| {
                object
                    .number("txid", info.txid.0)?
                    .number("keys", info.keys)?
                    .number("pages", info.pages)
            })?;
        } else {
            out.line(format_args!(
                "{} in {}, as of commit {}",
                text::counted(info.keys, "key"),
                text::counted(info.pages, "page"),
                info.txid.0
            ))?;
        }
        out.finish()?;
        Ok(Outcome::Done)
    }
}
