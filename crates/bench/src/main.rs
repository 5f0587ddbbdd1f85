//! Benchmarks of Weald's engine beside other engines, of its hot layer beside in-process maps and allocators, and of its trees.
//!
//! ```text
//!  args        what was asked for
//!  session     starts a process for each engine, scenario and run, interleaved, and collects what they print
//!  scenarios   what such a process does: fill a fresh database, then measure row by row
//!  engines     the engines behind one interface
//!  workload    keys, values and distributions, all made from numbers, so that every read can be verified
//!  measure     wall time, CPU time, memory, bytes on disk
//!  rows        what is measured, and what Weald is to reach
//!  report      medians, ratios and the verdict, as markdown and as JSON
//!  charts      the same as pictures
//!  hot         the hot layer
//!  trees       verifiable trees
//!  cluster     three nodes
//!  server      the server beside Redis
//!  servers     processes that are started for that, and end with it
//! ```
//!
//! `cargo run --release -p weald-bench --features peers -- engine --keys 1000000 --runs 3`
//! `cargo run --release -p weald-bench --features hot-peers -- hot`
//! `cargo run --release -p weald-bench -- tree --items 100000`
//! `cargo run --release -p weald-bench -- cluster --markdown cluster.md`
//! `cargo build --release && cargo run --release -p weald-bench -- server --markdown server.md`
//! `cargo run --release -p weald-bench --features tree-peers -- tree --items 100000`

#![deny(unsafe_code)]

mod args;
mod charts;
mod cluster;
mod engine;
mod engines;
mod hot;
mod measure;
mod report;
mod rows;
mod scenarios;
mod server;
mod servers;
mod session;
mod trees;
mod workload;

use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match args::parse(std::env::args().skip(1)) {
        Ok(args::Command::Help) => {
            print!("{}", args::HELP);
            Ok(())
        }
        Ok(args::Command::Engine(asked)) => session::run(&asked),
        Ok(args::Command::Tree(asked)) => trees::run(&asked),
        Ok(args::Command::Hot(asked)) => hot::run(&asked),
        Ok(args::Command::Charts { json, svg }) => std::fs::read_to_string(&json)
            .map_err(|e| format!("{}: {e}", json.display()).into())
            .and_then(|json| charts::draw(&json, &svg))
            .map(|names| println!("{}", names.join("\n"))),
        Ok(args::Command::Cluster(asked)) => cluster::run(&asked),
        Ok(args::Command::Server(asked)) => server::run(&asked),
        Ok(args::Command::Child(task)) => engines::run(&task),
        Err(why) => Err(why),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("weald-bench: {why}");
            ExitCode::FAILURE
        }
    }
}
