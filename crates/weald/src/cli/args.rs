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

Without a command it is 'weald serve': a server for Redis clients, with the data in ./weald-data. It may have the settings of 'serve': 'weald --port 7000'.

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
        let matches = Cli::command().try_get_matches_from(as_meant(args.into_iter().collect()))?;
        let mut cli = Cli::from_arg_matches(&matches)?;
        cli.db_by_flag = matches.value_source("db") == Some(ValueSource::CommandLine);
        Ok(cli)
    }

    /// What is said of the database outside the command's own arguments.
    pub(crate) fn given(&self) -> Given<'_> {
        Given::new(self.db.as_deref(), self.db_by_flag)
    }
}

/// Spells out what is left to guess: settings without a command are those of the server, and `help get` is `get --help`.
fn as_meant(mut args: Vec<OsString>) -> Vec<OsString> {
    let first = args.get(1).map_or("", |first| first.to_str().unwrap_or_default());
    let name = first.split('=').next().unwrap_or_default();
    if first == "help" {
        args.remove(1);
        args.push("--help".into());
    } else if name.starts_with("--") && !["--", "--help", "--version", "--db"].contains(&name) {
        args.insert(1, "serve".into());
    }
    if args.get(1).is_some_and(|command| command == "serve") {
        args = args.into_iter().flat_map(apart).collect();
    }
    args
}

/// A setting and its value may be one argument, as redis-server takes them: `"--maxmemory 1gb"`.
fn apart(arg: OsString) -> Vec<OsString> {
    let split = arg
        .to_str()
        .filter(|text| text.starts_with("--"))
        .and_then(|text| text.split_once(' '));
    match split {
        // A blank behind a sign of equality is the value's.
        Some((name, value)) if !name.contains('=') => {
            let value = value.trim();
            let quotes = ['"', '\''];
            let bare = quotes
                .iter()
                .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
            vec![name.into(), bare.unwrap_or(value).into()]
        }
        _ => vec![arg],
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

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(line: &str) -> String {
        let args = line.split(' ').map(OsString::from).collect();
        let meant: Vec<_> = as_meant(args)
            .into_iter()
            .map(|arg| arg.into_string().unwrap())
            .collect();
        meant.join(" ")
    }

    #[test]
    fn settings_without_a_command_are_those_of_the_server() {
        assert_eq!(meant("weald --port 7000"), "weald serve --port 7000");
        assert_eq!(meant("weald --port=7000"), "weald serve --port=7000");
        for as_it_is in [
            "weald",
            "weald serve --port 7000",
            "weald --db f get k",
            "weald --db=f get k",
            "weald -d f get k",
            "weald --help",
            "weald --version",
        ] {
            assert_eq!(meant(as_it_is), as_it_is);
        }
    }

    #[test]
    fn a_setting_may_be_one_argument_with_its_value() {
        let args = [
            "weald",
            "--maxmemory 1gb",
            "--dir='a b'",
            "--bind '::1 127.0.0.1'",
            "--dir",
            "a b",
        ];
        let meant = as_meant(args.map(OsString::from).to_vec());
        let expected = [
            "weald",
            "serve",
            "--maxmemory",
            "1gb",
            "--dir='a b'",
            "--bind",
            "::1 127.0.0.1",
            "--dir",
            "a b",
        ];
        assert_eq!(meant, expected.map(OsString::from));
        assert_eq!(meant_is_kept(), "set --maxmemory 1gb");
    }

    fn meant_is_kept() -> String {
        let args = ["weald", "set", "--maxmemory 1gb"].map(OsString::from);
        let kept: Vec<_> = as_meant(args.to_vec())
            .into_iter()
            .skip(1)
            .map(|arg| arg.into_string().unwrap())
            .collect();
        kept.join(" ")
    }

    #[test]
    fn help_is_a_word_too() {
        assert_eq!(meant("weald help"), "weald --help");
        assert_eq!(meant("weald help cluster join"), "weald cluster join --help");
    }
}
