//! `weald check`: is everything as it was written?

use std::path::PathBuf;

use clap::Args;
use weald::{CheckReport, Database, DatabaseOptions};

use crate::cli::Outcome;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::Output;
use crate::cli::place::Given;
use crate::cli::progress::Progress;
use crate::cli::{place, text};

/// Verify every page, value and log record, and tell what is wrong
///
/// Nothing is changed. Exits with 1 if there are problems, each of which is named with its place.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// The database, instead of --db
    #[arg(value_name = "DATABASE", value_hint = clap::ValueHint::FilePath)]
    database: Option<PathBuf>,
    /// Write {"place":…,"what":…} for each problem, then {"sound":…} with what was found
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(crate) fn run(&self, given: Given<'_>) -> Result<Outcome> {
        let path = place::existing(Some(given.or(self.database.as_deref(), "check DATABASE")?))?;
        let progress = Progress::new("checking");
        let report = Database::check_file(path, DatabaseOptions::new(), progress.follow(None))
            .map_err(|e| Failure::Database(path.to_owned(), Box::new(e)))?;
        drop(progress);
        let mut out = Output::new();
        for problem in &report.problems {
            if self.json {
                out.json(false, |object| {
                    object
                        .text("place", &problem.place.to_string())?
                        .text("what", &problem.what)
                })?;
            } else {
                out.line(problem)?;
            }
        }
        if self.json {
            summary_json(&mut out, &report)?;
        } else {
            summary(&mut out, &report)?;
        }
        out.finish()?;
        Ok(Outcome::of(report.is_sound()))
    }
}

fn summary(out: &mut Output, report: &CheckReport) -> Result<()> {
    let problems = report.problems.len() as u64 + report.problems_left_out;
    let found = format!(
        "{} in {}, {}",
        text::counted(report.keys, "key"),
        text::counted(report.buckets, "bucket"),
        text::counted(report.pages, "page"),
    );
    if problems == 0 {
        return out.line(format_args!("sound: {found}"));
    }
    if report.problems_left_out > 0 {
        out.line(format_args!("and {} more", text::count(report.problems_left_out)))?;
    }
    out.line(format_args!(
        "{}; what could be checked: {found}. 'weald repair' saves what is readable",
        text::counted(problems, "problem")
    ))
}

fn summary_json(out: &mut Output, report: &CheckReport) -> Result<()> {
    out.json(false, |object| {
        object
            .truth("sound", report.is_sound())?
            .number(
                "problems",
                report.problems.len() as u64 + report.problems_left_out,
            )?
            .number("txid", report.txid.0)?
            .number("keys", report.keys)?
            .number("buckets", report.buckets)?
            .number("bytes", report.bytes)?
            .number("pages", report.pages)?
            .number("free_pages", report.free_pages)?
            .number("large_values", report.large_values)?
            .number("log_commits", report.log_commits)
    })
}
