//! Seeds that must pass, faults that must have happened in them, and planted bugs that they must find.
//!
//! `WEALD_SIM_SEEDS` sets how many, `WEALD_SIM_FROM` where they begin.

use weald_cluster_proto::Bug;
use weald_sim::{Counts, Options, Report, run};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

fn simulate(seed: u64, bugs: &[Bug]) -> Report {
    run(&Options {
        seed,
        bugs: bugs.to_vec(),
        seconds: 10,
        trace: false,
    })
}

/// Every one of these must have been seen, or the seeds show less than they seem to.
const SEEN: [&str; 53] = [
    "all crashed at once",
    "balanced cluster",
    "caught up",
    "change aborted",
    "clock jumped by an hour",
    "clock refused",
    "clock stepped",
    "compare failed",
    "copy refused",
    "crash",
    "crash with operations under way",
    "deletions dropped",
    "differences found",
    "disk operation failed",
    "disk swapped",
    "entries repaired",
    "entries transferred",
    "eventual cluster",
    "forged messages",
    "found alive",
    "found dead",
    "hints delivered",
    "hints dropped",
    "jump noticed",
    "kind not known",
    "layout installed",
    "lossy network",
    "message doubled",
    "message lost",
    "message refused",
    "node flaps",
    "node joins",
    "node leaves",
    "node muted",
    "node replaced",
    "old copy put back",
    "one-way partition",
    "partition",
    "pause",
    "read repairs",
    "restart",
    "ring syncs",
    "scan",
    "slow disk",
    "slow network",
    "spread over zones",
    "strong cluster",
    "suspected",
    "swapped",
    "unsynced data lost",
    "weight changes",
    "writes overtaken",
    "written in a crowd",
];

#[test]
fn nothing_is_lost_whatever_happens() {
    let (seeds, from) = (number("WEALD_SIM_SEEDS", 200), number("WEALD_SIM_FROM", 1));
    let mut totals = Counts::new();
    let mut operations = 0;
    for seed in from..from + seeds {
        let report = simulate(seed, &[]);
        assert_eq!(report.violations, Vec::<String>::new(), "seed {seed}");
        operations += report.operations as u64;
        for (what, count) in report.counts {
            *totals.entry(what).or_default() += count;
        }
    }
    assert!(operations > 300 * seeds, "only {operations} operations");
    if seeds >= 200 {
        for what in SEEN {
            assert!(
                totals.get(what).is_some_and(|&count| count > 0),
                "it never happened: {what}"
            );
        }
    }
}

#[test]
fn a_seed_repeats_itself() {
    let trace = || {
        let options = Options {
            seed: 3,
            bugs: Vec::new(),
            seconds: 3,
            trace: true,
        };
        run(&options).transcript
    };
    let first = trace();
    assert!(first.len() > 1000);
    assert!(first == trace());
}

/// Bugs that need a rare coincidence; `scenarios.rs` makes it happen.
const IN_SCENARIOS: [Bug; 5] = [
    Bug::AnyLayout,
    Bug::OldCopyVotes,
    Bug::NoMarks,
    Bug::EarlyDrop,
    Bug::BlankMarks,
];

#[test]
fn planted_bugs_are_found() {
    for bug in Bug::ALL.into_iter().filter(|bug| !IN_SCENARIOS.contains(bug)) {
        let found = (1..=300).find(|&seed| !simulate(seed, &[bug]).violations.is_empty());
        assert!(found.is_some(), "{bug:?} was not found");
    }
}
