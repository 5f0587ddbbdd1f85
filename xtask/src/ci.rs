//! All that must hold before a change lands, beside the tests themselves.
//!
//! Every step is run even if an earlier one failed, so that one run shows everything.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::manifest::{entries, strings};
use crate::{Outcome, cargo, licences, tidy};

/// Features under which other code runs, so that the tests are run with them too.
const TESTED: [(&str, &str); 4] = [
    ("weald-cluster", "quic,io_uring"),
    ("weald-vfs", "io_uring,sockets"),
    ("weald-engine", "io_uring"),
    ("weald-storage", "lsm,cache,etcd,redis-cluster"),
];

/// Where RocksDB would be linked from. A check links nothing, so that with this it need not be built, which takes half an hour of C++.
const NO_ROCKSDB: (&str, &str) = ("ROCKSDB_LIB_DIR", "/usr/lib");

/// Features that only build other people's databases: minutes of C++ that say nothing about this one.
const RIVALS: &str = "weald-bench";

/// A target without an operating system under it, for what claims to need none. Checked where it is installed.
const BARE: (&str, &str) = ("wasm32-unknown-unknown", "weald-proof");

/// Runs all steps and says which failed.
pub(crate) fn run(root: &Path) -> Outcome {
    let packages = packages(root)?;
    let mut steps = Steps::new(root);
    steps.run("tidy", tidy::run);
    steps.run("licences", licences::run);
    steps.cargo("format", &["fmt", "--all", "--check"]);
    let deny = ["--", "-D", "warnings"];
    steps.cargo(
        "clippy",
        &[&["clippy", "--workspace", "--all-targets", "--locked"], &deny[..]].concat(),
    );
    for package in &packages {
        for features in package.choices() {
            let name = format!("clippy: {} with {}", package.name, described(&features));
            let chosen = [
                "clippy",
                "-p",
                &package.name,
                "--locked",
                "--no-default-features",
                "--features",
                &features,
            ];
            steps.with(&name, &[&chosen, &deny[..]].concat(), &[NO_ROCKSDB]);
        }
    }
    for (name, feature) in TESTED {
        if packages
            .iter()
            .any(|package| package.name == name && feature.split(',').all(|feature| package.has(feature)))
        {
            steps.cargo(
                &format!("test: {name} with {feature}"),
                &["test", "-p", name, "--locked", "--features", feature],
            );
        }
    }
    if packages.iter().any(|package| package.name == BARE.1) && is_installed(BARE.0) {
        let bare = [
            "check",
            "-p",
            BARE.1,
            "--locked",
            "--no-default-features",
            "--target",
            BARE.0,
        ];
        steps.cargo(&format!("check: {} for {}", BARE.1, BARE.0), &bare);
    }
    // Lock-free protocols, in every order that their steps can have.
    for name in ["weald-hot", "weald-engine"] {
        steps.with(
            &format!("models: {name}"),
            &[
                "test",
                "--release",
                "--locked",
                "--target-dir",
                "target/loom",
                "-p",
                name,
                "--lib",
                "models::",
            ],
            &[("RUSTFLAGS", "--cfg loom"), ("CARGO_PROFILE_RELEASE_LTO", "off")],
        );
    }
    steps.with(
        "documentation",
        &["doc", "--workspace", "--no-deps", "--locked"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    );
    steps.with(
        "fuzz targets, a moment each",
        &crate::fuzz::SMOKE,
        &crate::fuzz::SMOKE_ENV,
    );
    steps.finish()
}

fn described(features: &str) -> &str {
    if features.is_empty() {
        "no features"
    } else {
        features
    }
}

struct Steps<'r> {
    root: &'r Path,
    began: Instant,
    done: Vec<(String, Duration, Outcome)>,
}

impl<'r> Steps<'r> {
    fn new(root: &'r Path) -> Steps<'r> {
        Steps {
            root,
            began: Instant::now(),
            done: Vec::new(),
        }
    }

    fn run(&mut self, name: &str, step: impl FnOnce(&Path) -> Outcome) {
        println!("==> {name}");
        let began = Instant::now();
        let outcome = step(self.root);
        let elapsed = began.elapsed();
        match &outcome {
            Ok(()) => println!("    ok, {:.1} s", elapsed.as_secs_f64()),
            Err(why) => println!("{why}\n    FAILED after {:.1} s", elapsed.as_secs_f64()),
        }
        self.done.push((name.to_owned(), elapsed, outcome));
    }

    fn cargo(&mut self, name: &str, args: &[&str]) {
        self.with(name, args, &[]);
    }

    fn with(&mut self, name: &str, args: &[&str], env: &[(&str, &str)]) {
        self.run(name, |root| cargo(root, args, env));
    }

    fn finish(self) -> Outcome {
        println!("\n{:>8}  step", "seconds");
        for (name, elapsed, outcome) in &self.done {
            let mark = if outcome.is_ok() { "" } else { "  FAILED" };
            println!("{:>8.1}  {name}{mark}", elapsed.as_secs_f64());
        }
        println!("{:>8.1}  in all", self.began.elapsed().as_secs_f64());
        let failed = self.done.iter().filter(|(.., outcome)| outcome.is_err()).count();
        match failed {
            0 => Ok(()),
            _ => Err(format!("{failed} of {} steps failed", self.done.len())),
        }
    }
}

/// A member of the workspace and the features that its users may choose.
struct Package {
    name: String,
    features: Vec<String>,
    default: Vec<String>,
}

impl Package {
    /// Sets of features to build alone: none, and each one. The default set is built with the whole workspace.
    fn choices(&self) -> Vec<String> {
        if self.features.is_empty() || self.name == RIVALS {
            return Vec::new();
        }
        let mut choices = vec![String::new()];
        choices.extend(
            self.features
                .iter()
                .filter(|name| self.default != [name.as_str()])
                .cloned(),
        );
        choices
    }

    fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|name| name == feature)
    }
}

fn packages(root: &Path) -> Result<Vec<Package>, String> {
    let mut packages = Vec::new();
    for path in crate::files(root)? {
        if !path.starts_with("crates") || !path.ends_with("Cargo.toml") {
            continue;
        }
        let text =
            std::fs::read_to_string(root.join(&path)).map_err(|e| format!("{}: {e}", path.display()))?;
        packages.extend(package(&text));
    }
    Ok(packages)
}

fn package(manifest: &str) -> Option<Package> {
    let entries = entries(manifest);
    let name = entries
        .iter()
        .find(|e| e.section == "package" && e.key == "name")?;
    let (default, others): (Vec<_>, Vec<_>) = entries
        .iter()
        .filter(|entry| entry.section == "features")
        .partition(|entry| entry.key == "default");
    Some(Package {
        name: name.value.trim_matches('"').to_owned(),
        features: others.iter().map(|entry| entry.key.to_owned()).collect(),
        default: default
            .iter()
            .flat_map(|entry| strings(&entry.value))
            .map(str::to_owned)
            .collect(),
    })
}

/// Whether the standard library of a target is here.
fn is_installed(target: &str) -> bool {
    let Ok(output) = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", target])
        .output()
    else {
        return false;
    };
    output.status.success() && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(features: &str) -> Vec<String> {
        let manifest = format!("[package]\nname = \"a\"\n[features]\n{features}");
        package(&manifest)
            .map(|package| package.choices())
            .unwrap_or_default()
    }

    #[test]
    fn each_feature_is_built_alone() {
        assert_eq!(choices(""), [""; 0]);
        assert_eq!(choices("io_uring = [\"dep:io-uring\"]\n"), ["", "io_uring"]);
        assert_eq!(choices("default = [\"a\"]\na = []\n"), [""]);
        assert_eq!(
            choices("default = [\"a\", \"b\"]\na = []\nb = []\n"),
            ["", "a", "b"]
        );
    }
}
