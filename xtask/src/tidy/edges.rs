//! Which crate may use which: dependencies point down, and a new edge is a decision.

use std::path::Path;

use super::{Files, Finding};
use crate::manifest::{Kind, dependency_section, entries};

/// A crate that may use every crate above it in the list.
const ALL_ABOVE: &[&str] = &["*"];

/// The crates, lowest layer first, and what each may use. Tests and examples may use every crate that comes earlier in the list.
const CRATES: &[(&str, &[&str])] = &[
    ("weald-vfs", &[]),
    ("weald-hot", &["weald-vfs"]),
    ("weald-engine", &["weald-vfs", "weald-hot"]),
    ("weald-proof", &[]),
    ("weald-tree", &["weald-engine", "weald-proof"]),
    ("weald-storage", &["weald-hot", "weald-engine"]),
    ("weald-cluster-proto", &[]),
    ("weald-sim", &["weald-cluster-proto"]),
    (
        "weald-cluster",
        &["weald-vfs", "weald-cluster-proto", "weald-storage"],
    ),
    ("weald-resp", &[]),
    (
        "weald-server",
        &["weald-engine", "weald-tree", "weald-cluster", "weald-resp"],
    ),
    ("weald", ALL_ABOVE),
    ("weald-bench", ALL_ABOVE),
    ("weald-fuzz", ALL_ABOVE),
    ("xtask", &[]),
];

pub(super) fn check(files: &Files) -> Vec<Finding> {
    files
        .iter()
        .filter(|(path, _)| path.file_name().is_some_and(|name| name == "Cargo.toml"))
        .flat_map(|(path, text)| manifest(path, text))
        .collect()
}

fn manifest(path: &Path, text: &str) -> Vec<Finding> {
    let entries = entries(text);
    let of_package = |key: &str| {
        entries
            .iter()
            .find(|entry| entry.section == "package" && entry.key == key)
            .map(|entry| entry.value.trim_matches('"'))
    };
    let Some(name) = of_package("name") else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let mut report = |what: String| findings.push(Finding::new(path, 0, what));
    if of_package("description").is_none_or(str::is_empty) {
        report("the crate has no description".into());
    }
    if !entries
        .iter()
        .any(|entry| entry.section == "lints" && entry.key == "workspace")
        && name != "weald-fuzz"
    {
        report("the crate does not take the lints of the workspace".into());
    }
    let Some(rank) = CRATES.iter().position(|(crate_name, _)| *crate_name == name) else {
        report(format!(
            "{name} is not in the list of crates (xtask, tidy/edges.rs)"
        ));
        return findings;
    };
    for entry in &entries {
        let Some((kind, single)) = dependency_section(entry.section) else {
            continue;
        };
        let used = single.unwrap_or_else(|| entry.key.split('.').next().unwrap_or_default());
        if let Err(why) = edge(rank, used, kind) {
            report(why);
        }
    }
    findings.sort();
    findings.dedup();
    findings
}

/// Whether the crate of this rank may use `used`.
fn edge(rank: usize, used: &str, kind: Kind) -> Result<(), String> {
    let (name, allowed) = CRATES[rank];
    let Some(used_rank) = CRATES.iter().position(|(crate_name, _)| *crate_name == used) else {
        return if used.starts_with("weald") {
            Err(format!(
                "{used} is not in the list of crates (xtask, tidy/edges.rs)"
            ))
        } else {
            Ok(())
        };
    };
    let fine = match kind {
        Kind::Dev => used_rank < rank,
        Kind::Normal | Kind::Build => used_rank < rank && (allowed == ALL_ABOVE || allowed.contains(&used)),
    };
    if fine {
        Ok(())
    } else {
        Err(format!("{name} must not use {used}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::files;
    use super::*;

    fn check_crate(name: &str, sections: &str, expected: &[&str]) {
        let text = format!(
            "[package]\nname = \"{name}\"\ndescription = \"x\"\n{sections}\n[lints]\nworkspace = true\n"
        );
        let found: Vec<String> = check(&files(&[("crates/x/Cargo.toml", &text)]))
            .into_iter()
            .map(|finding| finding.what)
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn edges_that_point_down_pass() {
        check_crate(
            "weald-engine",
            "[dependencies]\nweald-vfs.workspace = true\nlibc = \"0.2\"\n",
            &[],
        );
        check_crate(
            "weald",
            "[dependencies]\nweald-engine = { workspace = true }\n",
            &[],
        );
        check_crate(
            "weald-engine",
            "[dev-dependencies]\nweald-vfs.workspace = true\n",
            &[],
        );
    }

    #[test]
    fn edges_that_point_up_or_aside_are_found() {
        let why = "weald-vfs must not use weald-engine";
        check_crate(
            "weald-vfs",
            "[dependencies]\nweald-engine.workspace = true\n",
            &[why],
        );
        check_crate(
            "weald-vfs",
            "[dev-dependencies]\nweald-engine.workspace = true\n",
            &[why],
        );
        check_crate(
            "weald-vfs",
            "[dependencies.weald-engine]\nworkspace = true\n",
            &[why],
        );
        check_crate(
            "weald-tree",
            "[target.'cfg(unix)'.dependencies]\nweald-vfs.workspace = true\n",
            &["weald-tree must not use weald-vfs"],
        );
    }

    #[test]
    fn a_crate_that_nobody_placed_is_found() {
        check_crate(
            "weald-common",
            "",
            &["weald-common is not in the list of crates (xtask, tidy/edges.rs)"],
        );
    }

    #[test]
    fn a_crate_without_description_is_found() {
        let text = "[package]\nname = \"weald\"\n[lints]\nworkspace = true\n";
        assert_eq!(check(&files(&[("Cargo.toml", text)])).len(), 1);
    }
}
