//! What the command line looks like. Each command's own arguments stand beside the command.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::cli::bucket::BucketPath;
use crate::cli::cluster::Cluster;
use crate::cli::commands::{
    backup, bench, bucket, check, compact, del, dump, get, repair, scan, serve, set, shell, stats,
};
use crate::cli::hot;
use crate::cli::place::Given;
use crate::cli::tree::Tree;

/// What the exit code says, in the help of the program.
const EXIT_CODES: &str = "\
Exit codes:
  0  it was done
  1  the answer is no: not found, there already, problems found
  2  the command line is wrong, or asks for more than a database takes
  3  another process has the database or region open
  4  a file is damaged, or is none that this version reads
  5  the disk, a file, or standard input or output failed

Without a command it is 'weald serve': a server for Redis clients, with the data in ./weald-data.

Keys and values are bytes. As arguments they are taken as they are, or as hexadecimal digits with --hex.
'get' gives raw bytes to a pipe or file; whatever else shows bytes escapes those that can't be read (\\n, \\\\, \\xff).";

/// A durable, transactional, ordered key-value database in one file, and a server for Redis clients.
#[derive(Debug, Parser)]
#[command(name = "weald", version, after_help = EXIT_CODES, arg_required_else_help = false)]
#[command(
    infer_subcommands = false,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    /// The database's file
    #[arg(
        short,
        long,
        global = true,
        env = "WEALD_DB",
        value_name = "FILE",
        hide_env_values = true
    )]
    #[arg(value_hint = clap::ValueHint::FilePath)]
    pub(crate) db: Option<PathBuf>,
    /// Whether the database is named on the command line, not in the environment.
    #[arg(skip)]
    pub(crate) db_by_flag: bool,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

impl Cli {
    /// Reads the command line.
    pub(crate) fn read(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
        let matches = Cli::command().try_get_matches_from(args)?;
        let mut cli = Cli::from_arg_matches(&matches)?;
        cli.db_by_flag = matches.value_source("db") == Some(ValueSource::CommandLine);
        Ok(cli)
    }

    /// What is said of the database outside the command's own arguments.
    pub(crate) fn given(&self) -> Given<'_> {
        Given::new(self.db.as_deref(), self.db_by_flag)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(serve::Serve),
    Get(get::Get),
    Set(set::Set),
    Del(del::Del),
    Scan(scan::Scan),
    Bucket(bucket::Bucket),
    Tree(Tree),
    Stats(stats::Stats),
    Check(check::Check),
    Repair(repair::Repair),
    Compact(compact::Compact),
    Backup(backup::Backup),
    Restore(backup::Restore),
    Dump(dump::Dump),
    Load(dump::Load),
    Bench(bench::Bench),
    Hot(hot::Hot),
    Cluster(Cluster),
    Completions(shell::Completions),
    Man(shell::Man),
}

/// The bucket that a command works in.
#[derive(Args, Debug)]
pub(crate) struct In {
    /// The bucket, as a path from the root: a/b/c. A slash in a name is written \/, any byte \xff
    #[arg(short, long, value_name = "PATH")]
    pub(crate) bucket: Option<BucketPath>,
}

impl In {
    /// The path of the bucket, empty for the root.
    pub(crate) fn path(&self) -> BucketPath {
        self.bucket.clone().unwrap_or_default()
    }
}
