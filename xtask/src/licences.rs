//! What dependencies are licensed under, where they come from, and which of them are there twice.
//!
//! The rules are those of `deny.toml`, which `cargo deny` reads too. This check needs nothing but cargo, so it runs everywhere; it
//! knows nothing of advisories, whose list lives on the network.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use crate::{Outcome, manifest};

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks the dependencies of all members, in all features.
pub(crate) fn run(root: &Path) -> Outcome {
    let rules = std::fs::read_to_string(root.join("deny.toml")).map_err(|e| format!("deny.toml: {e}"))?;
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).map_err(|e| format!("Cargo.lock: {e}"))?;
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--workspace",
            "--all-features",
            "--locked",
            "--edges",
            "normal,build,dev",
        ])
        .args(["--target", "all", "--prefix", "none", "--format", "{p}\t{l}"])
        .current_dir(root)
        .output()
        .map_err(|e| format!("cargo tree: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo tree: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let tree = String::from_utf8_lossy(&output.stdout);
    let mut wrong = foreign(&lock);
    wrong.extend(unlicensed(&tree, &allowed(&rules), &exceptions(&rules)));
    for name in twice(&lock) {
        println!("note: {name} is there in more than one version");
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n"))
    }
}

/// The licences that `deny.toml` allows.
fn allowed(rules: &str) -> BTreeSet<String> {
    manifest::entries(rules)
        .iter()
        .filter(|entry| entry.section == "licenses" && entry.key == "allow")
        .flat_map(|entry| manifest::strings(&entry.value))
        .map(str::to_owned)
        .collect()
}

/// What `deny.toml` allows to single packages beside that.
fn exceptions(rules: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut exceptions = BTreeMap::new();
    let mut package = String::new();
    for entry in manifest::entries(rules) {
        match (entry.section, entry.key) {
            ("licenses.exceptions", "crate") => package = entry.value.trim_matches('"').to_owned(),
            ("licenses.exceptions", "allow") => {
                let licences = manifest::strings(&entry.value).into_iter().map(str::to_owned);
                exceptions.insert(package.clone(), licences.collect());
            }
            _ => {}
        }
    }
    exceptions
}

/// Packages of which no licence that they offer is allowed.
fn unlicensed(
    tree: &str,
    allowed: &BTreeSet<String>,
    exceptions: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<String> {
    let lines: BTreeSet<&str> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    lines
        .into_iter()
        .filter(|line| !line.is_empty())
        .filter_map(|line| {
            let (package, licence) = line.split_once('\t').unwrap_or((line, ""));
            let name = package.split(' ').next().unwrap_or_default();
            let excepted = exceptions.get(name).is_some_and(|more| may_use(licence, more));
            (!excepted && !may_use(licence, allowed))
                .then(|| format!("{package}: its licence is not allowed: {licence:?}"))
        })
        .collect()
}

/// Whether an SPDX expression can be met with the allowed licences.
fn may_use(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let met = any(&words, &mut at, allowed);
    met == Some(true) && at == words.len()
}

fn any(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> Option<bool> {
    let mut met = all(words, at, allowed)?;
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all(words, at, allowed)?;
    }
    Some(met)
}

fn all(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> Option<bool> {
    let mut met = one(words, at, allowed)?;
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(words, at, allowed)?;
    }
    Some(met)
}

fn one(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> Option<bool> {
    let word = *words.get(*at)?;
    *at += 1;
    if word == "(" {
        let met = any(words, at, allowed)?;
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return closed.then_some(met);
    }
    // `X+` is X or what comes after it.
    let mut licence = word.trim_end_matches('+').to_owned();
    if words.get(*at) == Some(&"WITH") {
        licence = format!("{word} WITH {}", words.get(*at + 1)?);
        *at += 2;
    }
    Some(allowed.contains(&licence))
}

/// Packages that do not come from the one registry.
fn foreign(lock: &str) -> Vec<String> {
    manifest::entries(lock)
        .iter()
        .filter(|entry| entry.section == "package" && entry.key == "source")
        .filter(|entry| entry.value.trim_matches('"') != REGISTRY)
        .map(|entry| format!("Cargo.lock: a package comes from {}", entry.value))
        .collect()
}

/// Packages of which the lock file has several versions.
fn twice(lock: &str) -> Vec<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for entry in manifest::entries(lock) {
        if entry.section == "package" && entry.key == "name" {
            *seen.entry(entry.value.trim_matches('"').to_owned()).or_default() += 1;
        }
    }
    seen.retain(|_, count| *count > 1);
    seen.into_keys().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_met_by_one_side_of_or_and_both_of_and() {
        let allowed =
            allowed("[licenses]\nallow = [\n  \"MIT\",\n  \"Apache-2.0 WITH LLVM-exception\",\n]\n");
        let check = |expression: &str, expected: bool| assert_eq!(may_use(expression, &allowed), expected);
        check("MIT", true);
        check("MIT OR GPL-3.0", true);
        check("GPL-3.0 OR MIT", true);
        check("MIT/GPL-3.0", true);
        check("GPL-3.0", false);
        check("MIT AND GPL-3.0", false);
        check("MIT AND (GPL-3.0 OR MIT)", true);
        check("(MIT OR GPL-3.0) AND GPL-3.0", false);
        check("Apache-2.0 WITH LLVM-exception", true);
        check("Apache-2.0", false);
        check("", false);
        check("MIT OR", false);
        check("(MIT", false);
    }

    #[test]
    fn an_exception_is_for_its_package_alone() {
        let rules =
            "[licenses]\nallow = [\"MIT\"]\n[[licenses.exceptions]]\ncrate = \"a\"\nallow = [\"MPL-2.0\"]\n";
        let tree = "a v1.0.0\tMPL-2.0+\nb v1.0.0\tMPL-2.0+\nc v1.0.0\tMIT\n";
        let wrong = unlicensed(tree, &allowed(rules), &exceptions(rules));
        assert_eq!(wrong, ["b v1.0.0: its licence is not allowed: \"MPL-2.0+\""]);
    }

    #[test]
    fn a_package_from_elsewhere_is_named() {
        let lock = "[[package]]\nname = \"a\"\nsource = \"git+https://example.com/a\"\n";
        assert_eq!(foreign(lock).len(), 1);
        let lock = format!("[[package]]\nname = \"a\"\nsource = \"{REGISTRY}\"\n");
        assert!(foreign(&lock).is_empty());
    }

    #[test]
    fn a_package_in_two_versions_is_named() {
        let lock = "[[package]]\nname = \"a\"\n[[package]]\nname = \"b\"\n[[package]]\nname = \"a\"\n";
        assert_eq!(twice(lock), ["a"]);
    }
}
