//! The commands, a file each.

pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod bucket;
pub(crate) mod check;
pub(crate) mod compact;
pub(crate) mod del;
pub(crate) mod dump;
pub(crate) mod get;
pub(crate) mod repair;
pub(crate) mod scan;
pub(crate) mod serve;
pub(crate) mod set;
pub(crate) mod shell;
pub(crate) mod stats;

use crate::cli::Outcome;
use crate::cli::args::{Cli, Command};
use crate::cli::failure::Result;

/// Does what was asked.
pub(crate) fn run(cli: &Cli) -> Result<Outcome> {
    let db = cli.db.as_deref();
    let given = cli.given();
    let Some(command) = &cli.command else {
        return serve::Serve::default().run();
    };
    match command {
        Command::Serve(serve) => serve.run(),
        Command::Get(get) => get.run(db),
        Command::Set(set) => set.run(db),
        Command::Del(del) => del.run(db),
        Command::Scan(scan) => scan.run(given),
        Command::Bucket(bucket) => bucket.run(db),
        Command::Tree(tree) => tree.run(db),
        Command::Stats(stats) => stats.run(given),
        Command::Check(check) => check.run(given),
        Command::Repair(repair) => repair.run(given),
        Command::Compact(compact) => compact.run(given),
        Command::Backup(backup) => backup.run(given),
        Command::Restore(restore) => restore.run(given),
        Command::Dump(dump) => dump.run(given),
        Command::Load(load) => load.run(given),
        Command::Bench(bench) => bench.run(db),
        Command::Hot(hot) => hot.run(),
        Command::Cluster(cluster) => cluster.run(),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
    }
}
