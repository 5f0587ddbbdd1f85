//! `cargo xtask`: the repository's chores, one module each.
//!
//! ```text
//!  ci       all that must hold before a change lands, step after step
//!  tidy     what the compiler doesn't check: layout, dependency edges, links
//!  fuzz     the fuzz targets, each for a while
//!  sim      simulated clusters, seed after seed
//!  kills    processes that share memory, killed over and over
//!  licences what dependencies are licensed under
//! ```
//!
//! Only the standard library is used, so that it builds in a moment.

#![forbid(unsafe_code)]

mod ci;
mod fuzz;
mod kills;
mod licences;
mod manifest;
mod sim;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask COMMAND

  ci                             everything that CI runs beside the tests
  tidy                           repository checks
  licences                       licences and sources of all dependencies
  fuzz [TARGET] [--seconds N]    run one fuzz target, or each; 60 seconds unless told
  sim [--seeds N] [--from S] [--seconds T] [--trace]
                                 simulated clusters, one for each seed; 100 unless told
  kills [N]                      processes that share memory, killed two at a time in N rounds; 1000 unless told
";

/// What a command comes to: a line that says what is wrong.
type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args.as_slice() {
        ["help"] | [.., "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        ["ci"] => ci::run(root()),
        ["tidy"] => tidy::run(root()),
        ["licences"] => licences::run(root()),
        ["fuzz", rest @ ..] => fuzz::run(root(), rest),
        ["sim", rest @ ..] => sim::run(root(), rest),
        ["kills", rest @ ..] => kills::run(root(), rest),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{}", why.trim_end());
            ExitCode::FAILURE
        }
    }
}

/// Runs cargo at the root of the repository.
fn cargo(root: &Path, args: &[&str], env: &[(&str, &str)]) -> Outcome {
    let status = std::process::Command::new(env!("CARGO"))
        .args(args)
        .envs(env.iter().copied())
        .current_dir(root)
        .status()
        .map_err(|e| format!("cargo: {e}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("cargo {}: {status}", args.join(" ")))
    }
}

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is a folder of the repository")
}

/// All files that belong to the repository: those that git tracks or would, relative to `root`.
fn files(root: &Path) -> Result<Vec<PathBuf>, String> {
    let output = std::process::Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|e| format!("git ls-files: {e}"))?;
    if !output.status.success() {
        return Err(format!(
            "git ls-files: {}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    let names = String::from_utf8(output.stdout).map_err(|_| "a file name is not UTF-8".to_owned())?;
    let mut files: Vec<PathBuf> = names
        .split_terminator('\0')
        .map(PathBuf::from)
        .filter(|file| root.join(file).is_file())
        .collect();
    files.sort();
    files.dedup();
    Ok(files)
}
