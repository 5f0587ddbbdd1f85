//! `weald compact`: a smaller file.

use std::path::{Path, PathBuf};

use clap::Args;
use weald::{DatabaseOptions, PageSize};

use crate::cli::Outcome;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::Output;
use crate::cli::place::Given;
use crate::cli::progress::Progress;
use crate::cli::{place, replace, text};

/// Make the file smaller, or write a smaller copy
///
/// In place, sparse pages are packed and moved to the front, and the file is cut. A copy has full pages in order and no free ones, and may
/// have another page size.
#[derive(Args, Debug)]
pub(crate) struct Compact {
    /// The database, instead of --db
    #[arg(value_name = "DATABASE", value_hint = clap::ValueHint::FilePath)]
    database: Option<PathBuf>,
    /// Leave the database as it is and write a copy to this file, which must not exist
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    to: Option<PathBuf>,
    /// Bytes of a page of the copy: 4096, 8192, 16384, 32768 or 65536; as now where it is left out
    #[arg(long, value_name = "BYTES", requires = "to", value_parser = page_size)]
    page_size: Option<PageSize>,
    /// Write {"bytes_before":…,"bytes_after":…}
    #[arg(long)]
    json: bool,
}

fn page_size(text: &str) -> Result<PageSize, String> {
    text.parse()
        .ok()
        .and_then(PageSize::from_bytes)
        .ok_or_else(|| "a page has 4096, 8192, 16384, 32768 or 65536 bytes".to_owned())
}

impl Compact {
    pub(crate) fn run(&self, given: Given<'_>) -> Result<Outcome> {
        let db = Some(given.or(self.database.as_deref(), "compact DATABASE")?);
        let path = place::existing(db)?;
        let before = len(path)?;
        let after = match &self.to {
            Some(to) => {
                self.copy(db, to)?;
                len(to)?
            }
            None => {
                in_place(db)?;
                len(path)?
            }
        };
        let mut out = Output::new();
        if self.json {
            out.json(false, |object| {
                object
                    .number("bytes_before", before)?
                    .number("bytes_after", after)
            })?;
        } else {
            out.line(format_args!(
                "{} before, {} after",
                text::size(before),
                text::size(after)
            ))?;
        }
        out.finish()?;
        Ok(Outcome::Done)
    }

    fn copy(&self, db: Option<&Path>, to: &Path) -> Result<()> {
        replace::refuse_taken(to)?;
        let open = place::read(db)?;
        let now = PageSize::from_bytes(open.db.stats().page_size).unwrap_or_default();
        let options = DatabaseOptions::new().page_size(self.page_size.unwrap_or(now));
        let progress = Progress::new("copying");
        open.db
            .compact_to_with(to, options, progress.follow(None))
            .map_err(|e| Failure::Database(to.to_owned(), Box::new(e)))?;
        Ok(())
    }
}

fn in_place(db: Option<&Path>) -> Result<()> {
    let open = place::write(db)?;
    let progress = Progress::new("compacting");
    open.db
        .compact_with(progress.follow(None))
        .map_err(open.failed())?;
    drop(progress);
    open.close()
}

fn len(path: &Path) -> Result<u64> {
    std::fs::metadata(path)
        .map(|meta| meta.len())
        .map_err(Failure::file("look at", path))
}
