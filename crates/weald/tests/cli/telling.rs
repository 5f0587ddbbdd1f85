//! Commands that tell something: stats, bench, help, completions and the manual.

use serde_json::json;

use crate::program::{Place, lines};

/// Every command, as it is called.
const COMMANDS: [&[&str]; 21] = [
    &["serve"],
    &["get"],
    &["set"],
    &["del"],
    &["scan"],
    &["bucket"],
    &["bucket", "create"],
    &["bucket", "delete"],
    &["bucket", "rename"],
    &["bucket", "list"],
    &["stats"],
    &["check"],
    &["repair"],
    &["compact"],
    &["backup"],
    &["restore"],
    &["dump"],
    &["load"],
    &["bench"],
    &["completions"],
    &["man"],
];

#[test]
fn stats_tell_of_keys_and_sizes() {
    let place = Place::new();
    place.ok(&["set", "k", "v"]);
    let stats = &place.json(&["stats", "--json"])[0];
    assert_eq!(stats["keys"], 1);
    assert_eq!(stats["page_size"], 4096);
    assert_eq!(stats["path"], "my.weald");
    // The last page may be written in part.
    let len = std::fs::metadata(place.db()).unwrap().len();
    assert!(
        stats["file_bytes"].as_u64().unwrap().abs_diff(len) <= 4096,
        "{stats}"
    );
    let text = place.text(&["stats"]);
    assert!(text.contains("page size               4.0 KiB"), "{text}");
}

#[test]
fn stats_count_what_only_the_log_has_and_leave_it_there() {
    let place = Place::new();
    let db = weald::Database::open_with_options(place.db(), weald::DatabaseOptions::new().background(false))
        .unwrap();
    db.put(b"k", b"v").unwrap();
    // A copy of the files as they are now is what a killed process leaves.
    let copy = Place::new();
    std::fs::copy(place.db(), copy.db()).unwrap();
    std::fs::create_dir(copy.path("my.weald-wal")).unwrap();
    for entry in std::fs::read_dir(place.path("my.weald-wal")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path("my.weald-wal").join(entry.file_name())).unwrap();
    }
    for _ in 0..2 {
        let stats = &copy.json(&["stats", "--json"])[0];
        assert_eq!(
            (&stats["keys"], &stats["replayed_commits"]),
            (&json!(1), &json!(1))
        );
        assert_eq!(copy.text(&["get", "k"]), "v");
    }
    copy.ok(&["set", "k2", "v"]);
    assert_eq!(copy.json(&["stats", "--json"])[0]["replayed_commits"], 0);
    assert_eq!(copy.text(&["scan"]), "k\tv\nk2\tv\n");
}

#[test]
fn a_benchmark_measures_and_cleans_up() {
    let place = Place::new();
    let bench = |args: &[&str]| {
        place.ok(&[
            &["bench", "--time", "20ms", "--keys", "1000", "--threads", "2"],
            args,
        ]
        .concat())
    };
    let measured = lines(&bench(&["--json"]));
    assert_eq!(measured.len(), 8);
    for row in &measured {
        assert!(row["operations"].as_u64().unwrap() > 0, "{row}");
        assert!(row["per_second"].as_f64().unwrap() > 0.0, "{row}");
    }
    assert!(measured[2]["p99_us"].as_f64().unwrap() >= measured[2]["p50_us"].as_f64().unwrap());
    let text = String::from_utf8(bench(&[])).unwrap();
    assert!(text.contains("durable commits of 1, 2 threads"), "{text}");
    assert!(place.files().is_empty());
}

#[test]
fn every_command_has_help_and_a_manual_page() {
    let place = Place::new();
    for command in COMMANDS {
        let help = place.text(&[command, &["--help"]].concat());
        assert!(help.contains("Usage: weald"), "{help}");
        let page = place.text(&[&["man"], command].concat());
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
    }
    let page = place.text(&["man"]);
    assert!(page.contains("weald") && page.contains("Exit codes"), "{page}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(place.text(&["completions", shell]).contains("bucket"), "{shell}");
    }
}
