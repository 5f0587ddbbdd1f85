//! `weald repair`: what is readable of a damaged database.

use std::path::PathBuf;

use clap::Args;
use weald::{Database, DatabaseOptions, RepairReport};

use crate::cli::Outcome;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::Output;
use crate::cli::place::Given;
use crate::cli::progress::Progress;
use crate::cli::{place, replace, text};

/// Copy what is readable of a damaged database into a new one
///
/// The damaged one is not changed. Exits with 1 if something is lost, and names each loss with its place. Keys whose place is not
/// certain are in the bucket lost+found of the copy.
#[derive(Args, Debug)]
#[command(allow_missing_positional = true)]
pub(crate) struct Repair {
    /// The damaged database, instead of --db
    #[arg(value_name = "DATABASE", value_hint = clap::ValueHint::FilePath)]
    database: Option<PathBuf>,
    /// The file of the new database, which must not exist
    #[arg(value_name = "NEW", required = true, value_hint = clap::ValueHint::FilePath)]
    to: PathBuf,
    /// Write {"place":…,"what":…} for each loss, then {"complete":…} with what was saved
    #[arg(long)]
    json: bool,
}

impl Repair {
    pub(crate) fn run(&self, given: Given<'_>) -> Result<Outcome> {
        let path = place::existing(Some(given.or(self.database.as_deref(), "repair DATABASE NEW")?))?;
        replace::refuse_taken(&self.to)?;
        let progress = Progress::new("repairing");
        let report = Database::repair_with(path, &self.to, DatabaseOptions::new(), progress.follow(None))
            .map_err(|e| Failure::Database(path.to_owned(), Box::new(e)))?;
        drop(progress);
        let mut out = Output::new();
        for lost in &report.lost {
            if self.json {
                out.json(false, |object| {
                    object
                        .text("place", &lost.place.to_string())?
                        .text("what", &lost.what)
                })?;
            } else {
                out.line(format_args!("lost: {lost}"))?;
            }
        }
        if self.json {
            summary_json(&mut out, &report)?;
        } else {
            summary(&mut out, &report)?;
        }
        out.finish()?;
        Ok(Outcome::of(report.is_complete()))
    }
}

fn losses(report: &RepairReport) -> u64 {
    report.lost.len() as u64 + report.lost_left_out
}

fn summary(out: &mut Output, report: &RepairReport) -> Result<()> {
    if report.lost_left_out > 0 {
        out.line(format_args!(
            "and {} more losses",
            text::count(report.lost_left_out)
        ))?;
    }
    out.line(format_args!(
        "saved: {}, and {} from the log",
        text::counted(report.keys, "key"),
        text::counted(report.log_commits, "commit")
    ))?;
    if report.stray_keys > 0 {
        out.line(format_args!(
            "saved: {} that no tree leads to any more{}",
            text::counted(report.stray_keys, "key"),
            if report.may_hold_old {
                ", some of which may be old or deleted"
            } else {
                ""
            }
        ))?;
    }
    if report.unnamed_buckets > 0 {
        out.line(format_args!(
            "saved: {} without a name, in lost+found",
            text::counted(report.unnamed_buckets, "bucket")
        ))?;
    }
    if losses(report) == 0 {
        out.line("nothing is lost")?;
    }
    Ok(())
}

fn summary_json(out: &mut Output, report: &RepairReport) -> Result<()> {
    out.json(false, |object| {
        object
            .truth("complete", report.is_complete())?
            .number("losses", losses(report))?
            .number("keys", report.keys)?
            .number("stray_keys", report.stray_keys)?
            .number("log_commits", report.log_commits)?
            .number("unnamed_buckets", report.unnamed_buckets)?
            .truth("may_hold_old", report.may_hold_old)
    })
}
