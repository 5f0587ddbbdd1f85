//! `weald stats`: what the database tells of itself.

use std::path::PathBuf;

use clap::Args;
use weald::Stats as Numbers;

use crate::cli::Outcome;
use crate::cli::failure::Result;
use crate::cli::output::Output;
use crate::cli::place;
use crate::cli::place::Given;
use crate::cli::text;

/// Show the size of the database and what its space goes to
///
/// Nothing is written, not even to the log; what the log has is counted in.
#[derive(Args, Debug)]
pub(crate) struct Stats {
    /// The database, instead of --db
    #[arg(value_name = "DATABASE", value_hint = clap::ValueHint::FilePath)]
    database: Option<PathBuf>,
    /// Write one JSON object; sizes are in bytes
    #[arg(long)]
    json: bool,
}

/// One line of the answer.
struct Row {
    name: &'static str,
    field: &'static str,
    number: u64,
    is_size: bool,
}

impl Stats {
    pub(crate) fn run(&self, given: Given<'_>) -> Result<Outcome> {
        let path = given.or(self.database.as_deref(), "stats DATABASE")?;
        let open = place::read(Some(path))?;
        let rows = rows(&open.db.stats());
        let mut out = Output::new();
        if self.json {
            out.json(false, |object| {
                let object = object.text("path", &path.to_string_lossy())?;
                rows.iter()
                    .try_fold(object, |object, row| object.number(row.field, row.number))
            })?;
        } else {
            out.line(format_args!(
                "{:<24}{}",
                "database",
                text::escape(path.as_os_str().as_encoded_bytes())
            ))?;
            for row in rows {
                let number = if row.is_size {
                    text::size(row.number)
                } else {
                    text::count(row.number)
                };
                out.line(format_args!("{:<24}{number}", row.name))?;
            }
        }
        out.finish()?;
        Ok(Outcome::Done)
    }
}

fn rows(stats: &Numbers) -> Vec<Row> {
    let number = |name, field, number| Row {
        name,
        field,
        number,
        is_size: false,
    };
    let size = |name, field, number| Row {
        is_size: true,
        name,
        field,
        number,
    };
    let mut rows = vec![
        number("keys in the root", "keys", stats.keys),
        number("newest commit", "txid", stats.txid.0),
        size("page size", "page_size", stats.page_size),
        size("file", "file_bytes", stats.file_bytes),
        size("free in the file", "free_bytes", stats.free_bytes),
        size("free but still needed", "pending_bytes", stats.pending_bytes),
        size("in memory only", "dirty_bytes", stats.dirty_bytes),
        number("commits in the log", "replayed_commits", stats.replayed_commits),
    ];
    if let Some(log) = &stats.log {
        rows.push(size("log to be replayed", "log_replay_bytes", log.replay_bytes));
        rows.push(number("log segments", "log_segments", log.segments));
        rows.push(number("log position", "log_end", log.end.0));
    }
    rows
}
