//! Runs seeds, as many as wanted: `cargo run --release -p weald-sim -- --seeds 1000 --from 1`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use weald_sim::{Counts, Options, run};

fn main() -> ExitCode {
    let (mut seeds, mut from, mut seconds) = (100, 1, 15);
    let (mut verbose, mut trace) = (false, false);
    let mut bugs = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|value| value.parse().ok());
        let target = match argument.as_str() {
            "--seeds" => &mut seeds,
            "--from" => &mut from,
            "--seconds" => &mut seconds,
            "--verbose" => {
                verbose = true;
                continue;
            }
            "--trace" => {
                trace = true;
                continue;
            }
            "--bug" => {
                let name = arguments.next().unwrap_or_default();
                let bug = weald_cluster_proto::Bug::ALL
                    .into_iter()
                    .find(|bug| format!("{bug:?}") == name);
                match bug {
                    Some(bug) => bugs.push(bug),
                    None => return usage(),
                }
                continue;
            }
            _ => return usage(),
        };
        match number() {
            Some(value) => *target = value,
            None => return usage(),
        }
    }
    let mut totals = Counts::new();
    let mut failed = 0;
    for seed in from..from + seeds {
        let report = run(&Options {
            seed,
            bugs: bugs.clone(),
            seconds,
            trace,
        });
        for (what, count) in &report.counts {
            *totals.entry(what).or_default() += count;
        }
        for line in &report.transcript {
            println!("{line}");
        }
        if verbose {
            println!(
                "seed {seed}: {} operations, healed in {} ms, converged in {} ms",
                report.operations, report.healed_after_ms, report.converged_after_ms
            );
        }
        if let Some(violation) = report.violations.first() {
            failed += 1;
            println!("seed {seed}: {violation}");
        }
    }
    println!("{seeds} seeds, {failed} failed");
    for (what, count) in totals {
        println!("{count:>10} {what}");
    }
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: weald-sim [--seeds N] [--from SEED] [--seconds N] [--bug NAME]... [--verbose] [--trace]"
    );
    ExitCode::from(2)
}
