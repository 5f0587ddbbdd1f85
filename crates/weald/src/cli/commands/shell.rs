//! `weald completions` and `weald man`: for the shell and the manual.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Outcome;
use crate::cli::args::Cli;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::Output;

/// Print completions for a shell
///
/// For bash: weald completions bash > ~/.local/share/bash-completion/completions/weald
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self) -> Result<Outcome> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "weald", &mut script);
        print(&script)
    }
}

/// Print the manual page of weald, or of one of its commands
///
/// To read it: weald man | man -l -
#[derive(Args, Debug)]
pub(crate) struct Man {
    /// The command: get, or bucket create
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
}

impl Man {
    pub(crate) fn run(&self) -> Result<Outcome> {
        let mut command = Cli::command();
        command.build();
        for name in &self.command {
            command = command.find_subcommand(name).cloned().ok_or_else(|| {
                Failure::Usage(format!(
                    "there is no command {name}: 'weald --help' lists all commands"
                ))
            })?;
        }
        let name = command.get_display_name().unwrap_or("weald").to_owned();
        let mut page = Vec::new();
        clap_mangen::Man::new(command.name(name))
            .render(&mut page)
            .map_err(Failure::output)?;
        print(&page)
    }
}

fn print(text: &[u8]) -> Result<Outcome> {
    let mut out = Output::new();
    out.raw(text)?;
    out.finish()?;
    Ok(Outcome::Done)
}
