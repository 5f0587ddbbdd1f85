//! The command line: what was asked for, who does it, and how it ends.
//!
//! ```text
//!  args ──► commands ──► place     which database, and how it may be opened
//!               │    ──► tree      commands of their own for trees and proofs
//!               │    ──► bucket    which bucket in it
//!               │    ──► input     where a value comes from
//!               │    ──► output    where the answer goes: text, json
//!               │    ──► stream    where dumps and backups come from and go to; replace: files that appear whole or not at all
//!               │    ──► progress  how far long work is, and interrupt: what Ctrl-C means to it
//!               ├──► cluster       nodes that run, as a client of one of them
//!               ├──► hot           regions of shared memory, which are no databases
//!               │    ──► journal   messages of a server; readiness: telling systemd of it
//!               └──► failure       one line, and an exit code
//! ```

mod args;
mod bucket;
mod cluster;
mod commands;
mod failure;
mod hot;
mod input;
mod interrupt;
mod journal;
mod json;
mod output;
mod place;
mod progress;
mod readiness;
mod replace;
mod stream;
mod text;
mod tree;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use args::Cli;
use failure::Failure;

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It did what was asked.
    Done,
    /// The answer is no: not found, there already, problems found.
    No,
}

impl Outcome {
    /// `Done` where something is so.
    pub(crate) fn of(yes: bool) -> Outcome {
        if yes { Outcome::Done } else { Outcome::No }
    }
}

/// Runs the command that the process was started with.
pub(crate) fn main() -> ExitCode {
    run(std::env::args_os())
}

fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::read(args) {
        Ok(cli) => cli,
        Err(e) => {
            // Help goes to standard output, which may be closed by now.
            let _ = e.print();
            if is_a_word_too_many(&e) {
                let _ = writeln!(std::io::stderr(), "A database is named with --db FILE.");
            }
            return ExitCode::from(if e.use_stderr() { 2 } else { 0 });
        }
    };
    match commands::run(&cli) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::No) => ExitCode::from(1),
        Err(Failure::Closed) => {
            // Whoever read our output has seen enough. We end as other programs do then, so that a shell can tell.
            let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGPIPE);
            ExitCode::from(Failure::Closed.exit_code())
        }
        Err(failure) => {
            if failure.is_cancelled() {
                interrupt::die();
            }
            let _ = writeln!(std::io::stderr(), "weald: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Whether there is one more argument than the command takes: often the database.
fn is_a_word_too_many(e: &clap::Error) -> bool {
    let word = e.get(ContextKind::InvalidArg);
    e.kind() == ErrorKind::UnknownArgument
        && matches!(word, Some(ContextValue::String(word)) if !word.starts_with('-'))
}
