//! What is measured, and what Weald is to reach.

use crate::report::amount;

/// How a row's values compare, and what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Operations per second: more is better.
    PerSecond,
    /// Milliseconds: less is better.
    Milliseconds,
    /// Megabytes of 10⁶ bytes: less is better.
    Megabytes,
    /// Megabytes per second: more is better.
    MegabytesPerSecond,
    /// So many times what it was before: less is better.
    Times,
}

impl Unit {
    pub(crate) fn is_more_better(self) -> bool {
        matches!(self, Unit::PerSecond | Unit::MegabytesPerSecond)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Unit::PerSecond => "/s",
            Unit::Milliseconds => "ms",
            Unit::Megabytes => "MB",
            Unit::MegabytesPerSecond => "MB/s",
            Unit::Times => "×",
        }
    }

    /// A value as people read it: 1.2 s rather than 1200 ms.
    pub(crate) fn show(self, value: f64) -> String {
        let large = value >= 999.5;
        match self {
            Unit::PerSecond => amount(value) + "/s",
            Unit::Milliseconds if large => amount(value / 1e3) + " s",
            Unit::Megabytes if large => amount(value / 1e3) + " GB",
            Unit::MegabytesPerSecond if large => amount(value / 1e3) + " GB/s",
            Unit::Times => amount(value) + "×",
            Unit::Milliseconds | Unit::Megabytes | Unit::MegabytesPerSecond => {
                amount(value) + " " + self.name()
            }
        }
    }
}

/// What Weald is to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// So many times what the best peer has in the same run: at least where more is better, at most where less is.
    OfBest(f64),
    /// A value of its own, whatever the peers have.
    AtMost(f64),
    /// Measured for what it tells.
    None,
}

/// A line of the report.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) id: &'static str,
    pub(crate) label: &'static str,
    pub(crate) unit: Unit,
    pub(crate) target: Target,
    /// The scenario that measures it.
    pub(crate) scenario: &'static str,
}

const fn row(
    scenario: &'static str,
    id: &'static str,
    label: &'static str,
    unit: Unit,
    target: Target,
) -> Row {
    Row {
        id,
        label,
        unit,
        target,
        scenario,
    }
}

use Target::{AtMost, OfBest};
use Unit::{Megabytes, MegabytesPerSecond, Milliseconds, PerSecond, Times};

/// All rows, by scenario.
pub(crate) const ROWS: &[Row] = &[
    row(
        "load",
        "load",
        "load, random keys, one durable transaction",
        PerSecond,
        OfBest(2.0),
    ),
    row("load", "len", "len()", PerSecond, OfBest(1.0)),
    row(
        "load",
        "get",
        "random reads in one snapshot",
        PerSecond,
        OfBest(1.2),
    ),
    row(
        "load",
        "get-snapshots",
        "random reads, a snapshot each",
        PerSecond,
        OfBest(1.2),
    ),
    row(
        "load",
        "get-absent",
        "reads of absent keys",
        PerSecond,
        OfBest(2.0),
    ),
    row("load", "seek", "seek and 10 entries", PerSecond, OfBest(1.1)),
    row("load", "scan", "full scan", PerSecond, OfBest(1.0)),
    row(
        "load",
        "get-threads",
        "random reads, 2 threads",
        PerSecond,
        OfBest(1.2),
    ),
    row(
        "load",
        "open",
        "open after a clean close, first read",
        Milliseconds,
        OfBest(1.0),
    ),
    row(
        "load",
        "get-cold",
        "reads after the page cache was dropped",
        PerSecond,
        OfBest(1.0),
    ),
    row(
        "load",
        "remove",
        "remove half, random, one durable transaction",
        PerSecond,
        OfBest(1.0),
    ),
    row(
        "load",
        "disk-removed",
        "bytes on disk after half was removed",
        Megabytes,
        OfBest(1.2),
    ),
    row(
        "load",
        "compact",
        "time of that compaction",
        Milliseconds,
        OfBest(1.0),
    ),
    row(
        "load",
        "disk-compacted",
        "bytes on disk after compaction",
        Megabytes,
        OfBest(1.1),
    ),
    row(
        "memory",
        "memory",
        "memory beside the page cache after reads",
        Megabytes,
        AtMost(64.0),
    ),
    row(
        "sorted",
        "load-sorted",
        "load, sorted keys, one durable transaction",
        PerSecond,
        OfBest(1.2),
    ),
    row(
        "commit",
        "commit-1000",
        "1000 puts per durable commit",
        PerSecond,
        OfBest(1.2),
    ),
    row(
        "commit",
        "commit-1",
        "one put per durable commit",
        PerSecond,
        OfBest(1.1),
    ),
    row(
        "commit",
        "commit-threads",
        "one put per durable commit, 8 threads",
        PerSecond,
        OfBest(1.5),
    ),
    row(
        "unsynced",
        "unsynced",
        "one put per commit, not synced",
        PerSecond,
        OfBest(1.1),
    ),
    row(
        "beside",
        "beside-reads",
        "one reader beside one writer, reads",
        PerSecond,
        OfBest(1.0),
    ),
    row(
        "beside",
        "beside-writes",
        "one writer beside one reader, 100 puts a commit",
        PerSecond,
        OfBest(1.0),
    ),
    row("ycsb", "ycsb-c", "YCSB-C, not synced", PerSecond, OfBest(1.1)),
    row("ycsb", "ycsb-b", "YCSB-B, not synced", PerSecond, OfBest(1.0)),
    row("ycsb", "ycsb-a", "YCSB-A, not synced", PerSecond, OfBest(0.8)),
    row("ycsb", "ycsb-f", "YCSB-F, not synced", PerSecond, OfBest(1.0)),
    row("ycsb", "ycsb-e", "YCSB-E, not synced", PerSecond, OfBest(1.0)),
    row(
        "ycsb-durable",
        "ycsb-a-durable",
        "YCSB-A, durable",
        PerSecond,
        OfBest(1.2),
    ),
    row(
        "ycsb-durable",
        "ycsb-f-durable",
        "YCSB-F, durable",
        PerSecond,
        OfBest(1.2),
    ),
    row(
        "large",
        "large-put",
        "16 KB values: one put per durable commit",
        MegabytesPerSecond,
        OfBest(1.0),
    ),
    row(
        "large",
        "large-get",
        "16 KB values: random reads",
        MegabytesPerSecond,
        OfBest(1.0),
    ),
    row(
        "overwrite",
        "overwrite",
        "overwrite all, 1000 a commit, not synced",
        PerSecond,
        OfBest(1.0),
    ),
    row(
        "overwrite",
        "overwrite-beside",
        "the same beside a long reader",
        PerSecond,
        OfBest(0.8),
    ),
    row(
        "overwrite",
        "overwrite-growth",
        "files beside a long reader, times before",
        Times,
        AtMost(3.0),
    ),
    row(
        "overwrite",
        "overwrite-after",
        "files once it has gone, times before",
        Times,
        Target::None,
    ),
    row(
        "crash",
        "open-crash",
        "open after kill -9, first read",
        Milliseconds,
        AtMost(50.0),
    ),
    row(
        "crash",
        "open-crash-write",
        "open after kill -9, first commit",
        Milliseconds,
        Target::None,
    ),
    row(
        "growth",
        "growth-reads-1",
        "random reads, 100 a snapshot, 1 thread",
        PerSecond,
        Target::None,
    ),
    row(
        "growth",
        "growth-reads-2",
        "random reads, 100 a snapshot, 2 threads",
        PerSecond,
        Target::None,
    ),
    row(
        "growth",
        "growth-reads-4",
        "random reads, 100 a snapshot, 4 threads",
        PerSecond,
        Target::None,
    ),
    row(
        "growth",
        "growth-commits-1",
        "one put per commit, not synced, 1 thread",
        PerSecond,
        Target::None,
    ),
    row(
        "growth",
        "growth-commits-2",
        "one put per commit, not synced, 2 threads",
        PerSecond,
        Target::None,
    ),
    row(
        "growth",
        "growth-commits-4",
        "one put per commit, not synced, 4 threads",
        PerSecond,
        Target::None,
    ),
    row(
        "growth",
        "growth-mixed-1",
        "nine reads and a put per commit, not synced, 1 thread",
        PerSecond,
        Target::None,
    ),
    row(
        "growth",
        "growth-mixed-2",
        "nine reads and a put per commit, not synced, 2 threads",
        PerSecond,
        Target::None,
    ),
    row(
        "growth",
        "growth-mixed-4",
        "nine reads and a put per commit, not synced, 4 threads",
        PerSecond,
        Target::None,
    ),
    row(
        "growth",
        "growth-latency-50",
        "100 puts per commit, through checkpoints: median",
        Milliseconds,
        Target::None,
    ),
    row(
        "growth",
        "growth-latency-99",
        "100 puts per commit, through checkpoints: 99th percentile",
        Milliseconds,
        Target::None,
    ),
    row(
        "growth",
        "growth-latency-max",
        "100 puts per commit, through checkpoints: longest",
        Milliseconds,
        Target::None,
    ),
    row(
        "growth",
        "growth-memory",
        "memory beside the page cache after it",
        Megabytes,
        Target::None,
    ),
];

/// The scenarios in the order of the rows.
pub(crate) fn scenarios() -> Vec<&'static str> {
    let mut scenarios: Vec<&str> = ROWS.iter().map(|row| row.scenario).collect();
    scenarios.dedup();
    scenarios
}

/// The rows that show how figures change with size and threads.
pub(crate) fn of_growth() -> Vec<&'static str> {
    let has = |row: &&Row| matches!(row.scenario, "growth" | "crash");
    ROWS.iter().filter(has).map(|row| row.id).collect()
}

/// The row of that name.
pub(crate) fn find(id: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_values_are_shown_in_the_larger_unit() {
        assert_eq!(Milliseconds.show(1700.0), "1.70 s");
        assert_eq!(Milliseconds.show(0.25), "0.25 ms");
        assert_eq!(MegabytesPerSecond.show(5200.0), "5.20 GB/s");
        assert_eq!(Megabytes.show(281.0), "281 MB");
        assert_eq!(PerSecond.show(739_000.0), "739k/s");
        assert_eq!(Times.show(1.33), "1.33×");
    }

    #[test]
    fn names_are_unique_and_scenarios_lie_together() {
        for (i, row) in ROWS.iter().enumerate() {
            assert!(ROWS[..i].iter().all(|other| other.id != row.id), "{}", row.id);
        }
        let scenarios = scenarios();
        for (i, scenario) in scenarios.iter().enumerate() {
            assert!(!scenarios[..i].contains(scenario), "{scenario}");
        }
    }
}
