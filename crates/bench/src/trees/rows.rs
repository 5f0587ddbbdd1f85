//! What is measured, and what Weald is to reach.

/// A line of the report. Less is better in all of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) id: &'static str,
    pub(crate) label: &'static str,
    pub(crate) unit: &'static str,
    /// At most so much, whatever the others have.
    pub(crate) target: Option<f64>,
}

const fn row(id: &'static str, label: &'static str, unit: &'static str, target: Option<f64>) -> Row {
    Row {
        id,
        label,
        unit,
        target,
    }
}

/// The rows of nested trees, from the outermost on: of inserts, look-ups and proofs.
pub(crate) const DEPTHS: [[&str; 3]; 8] = [
    ["depth-0", "get-depth-0", "prove-depth-0"],
    ["depth-1", "get-depth-1", "prove-depth-1"],
    ["depth-2", "get-depth-2", "prove-depth-2"],
    ["depth-3", "get-depth-3", "prove-depth-3"],
    ["depth-4", "get-depth-4", "prove-depth-4"],
    ["depth-5", "get-depth-5", "prove-depth-5"],
    ["depth-6", "get-depth-6", "prove-depth-6"],
    ["depth-7", "get-depth-7", "prove-depth-7"],
];

/// The rows of writers: how many inserts a commit has, and of an insert the wall time with one writer and with two, the ratio, that of two with a database each,
/// and the CPU time with two.
pub(crate) const WRITERS: [(u64, [&str; 5]); 4] = [
    (
        1,
        [
            "writer-1",
            "writer-2",
            "writer-ratio",
            "writer-apart",
            "writer-cpu",
        ],
    ),
    (
        10,
        [
            "writer-1-10",
            "writer-2-10",
            "writer-ratio-10",
            "writer-apart-10",
            "writer-cpu-10",
        ],
    ),
    (
        100,
        [
            "writer-1-100",
            "writer-2-100",
            "writer-ratio-100",
            "writer-apart-100",
            "writer-cpu-100",
        ],
    ),
    (
        1000,
        [
            "writer-1-1000",
            "writer-2-1000",
            "writer-ratio-1000",
            "writer-apart-1000",
            "writer-cpu-1000",
        ],
    ),
];

pub(crate) const ROWS: &[Row] = &[
    row("batch", "insert, 1000 a batch", "µs", Some(1e6 / 60_000.0)),
    row("insert", "insert, one a commit", "µs", Some(25.0)),
    row("get", "get, in one snapshot", "µs", Some(2.0)),
    row("prove", "prove one key", "µs", Some(10.0)),
    row("verify", "verify one key", "µs", Some(5.0)),
    row("proof", "proof of one key, value included", "B", Some(1_000.0)),
    row("absent", "proof of an absent key", "B", None),
    row("range-prove", "prove a range of 100", "µs", None),
    row("range-verify", "verify a range of 100", "µs", None),
    row(
        "range-proof",
        "proof of a range of 100, of which 13,200 B are keys and values",
        "B",
        Some(12_000.0),
    ),
    row("sum", "prove a sum over half the tree", "µs", None),
    row("get-new", "get, a snapshot each", "µs", None),
    row(
        "depth-0",
        "insert, one a commit, in the outermost of eight trees",
        "µs",
        None,
    ),
    row("depth-1", "insert, one a commit, 1 deep", "µs", None),
    row("depth-2", "insert, one a commit, 2 deep", "µs", None),
    row("depth-3", "insert, one a commit, 3 deep", "µs", None),
    row("depth-4", "insert, one a commit, 4 deep", "µs", None),
    row("depth-5", "insert, one a commit, 5 deep", "µs", None),
    row("depth-6", "insert, one a commit, 6 deep", "µs", None),
    row("depth-7", "insert, one a commit, 7 deep", "µs", None),
    row("get-depth-0", "get, in the outermost of eight trees", "µs", None),
    row("get-depth-1", "get, 1 deep", "µs", None),
    row("get-depth-2", "get, 2 deep", "µs", None),
    row("get-depth-3", "get, 3 deep", "µs", None),
    row("get-depth-4", "get, 4 deep", "µs", None),
    row("get-depth-5", "get, 5 deep", "µs", None),
    row("get-depth-6", "get, 6 deep", "µs", None),
    row("get-depth-7", "get, 7 deep", "µs", None),
    row(
        "prove-depth-0",
        "prove one key, in the outermost of eight trees",
        "µs",
        None,
    ),
    row("prove-depth-1", "prove one key, 1 deep", "µs", None),
    row("prove-depth-2", "prove one key, 2 deep", "µs", None),
    row("prove-depth-3", "prove one key, 3 deep", "µs", None),
    row("prove-depth-4", "prove one key, 4 deep", "µs", None),
    row("prove-depth-5", "prove one key, 5 deep", "µs", None),
    row("prove-depth-6", "prove one key, 6 deep", "µs", None),
    row("prove-depth-7", "prove one key, 7 deep", "µs", None),
    row("drop-few", "drop a subtree of 10 keys", "µs", None),
    row("drop-all", "drop the subtree of all keys", "µs", None),
    row(
        "writer-1",
        "one insert a commit, one writer: wall time of an insert",
        "µs",
        None,
    ),
    row(
        "writer-2",
        "one insert a commit, two writers in two subtrees: wall time of an insert",
        "µs",
        None,
    ),
    row(
        "writer-ratio",
        "one insert a commit, two against one: 0.5 were twice as fast",
        "",
        None,
    ),
    row(
        "writer-apart",
        "one insert a commit, the same of two with a database each",
        "",
        None,
    ),
    row(
        "writer-cpu",
        "one insert a commit, two writers: CPU time of an insert",
        "µs",
        None,
    ),
    row(
        "writer-1-10",
        "10 inserts a commit, one writer: wall time of an insert",
        "µs",
        None,
    ),
    row(
        "writer-2-10",
        "10 inserts a commit, two writers in two subtrees: wall time of an insert",
        "µs",
        None,
    ),
    row(
        "writer-ratio-10",
        "10 inserts a commit, two against one: 0.5 were twice as fast",
        "",
        None,
    ),
    row(
        "writer-apart-10",
        "10 inserts a commit, the same of two with a database each",
        "",
        None,
    ),
    row(
        "writer-cpu-10",
        "10 inserts a commit, two writers: CPU time of an insert",
        "µs",
        None,
    ),
    row(
        "writer-1-100",
        "100 inserts a commit, one writer: wall time of an insert",
        "µs",
        None,
    ),
    row(
        "writer-2-100",
        "100 inserts a commit, two writers in two subtrees: wall time of an insert",
        "µs",
        None,
    ),
    row(
        "writer-ratio-100",
        "100 inserts a commit, two against one: 0.5 were twice as fast",
        "",
        None,
    ),
    row(
        "writer-apart-100",
        "100 inserts a commit, the same of two with a database each",
        "",
        None,
    ),
    row(
        "writer-cpu-100",
        "100 inserts a commit, two writers: CPU time of an insert",
        "µs",
        None,
    ),
    row(
        "writer-1-1000",
        "1000 inserts a commit, one writer: wall time of an insert",
        "µs",
        None,
    ),
    row(
        "writer-2-1000",
        "1000 inserts a commit, two writers in two subtrees: wall time of an insert",
        "µs",
        None,
    ),
    row(
        "writer-ratio-1000",
        "1000 inserts a commit, two against one: 0.5 were twice as fast",
        "",
        None,
    ),
    row(
        "writer-apart-1000",
        "1000 inserts a commit, the same of two with a database each",
        "",
        None,
    ),
    row(
        "writer-cpu-1000",
        "1000 inserts a commit, two writers: CPU time of an insert",
        "µs",
        None,
    ),
    row("lost", "updates lost by 4 writers of one key", "", Some(0.0)),
    row(
        "roots",
        "root hashes of the same data in another order and batch size",
        "",
        Some(1.0),
    ),
];
