//! Runs the fuzz targets of `fuzz/`, one after the other.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Outcome;

/// What CI runs of the targets: with the stable compiler, on inputs that are the same each time.
pub(crate) const SMOKE: [&str; 4] = [
    "test",
    "--manifest-path",
    "fuzz/Cargo.toml",
    "--no-default-features",
];
pub(crate) const SMOKE_ENV: [(&str, &str); 1] = [("RUSTFLAGS", "--cfg fuzzing")];

const MISSING: &str = "fuzzing needs cargo-fuzz: cargo install --locked cargo-fuzz";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Request<'a> {
    target: Option<&'a str>,
    seconds: u32,
}

/// Runs one target or all, and stops at the first that finds something.
pub(crate) fn run(root: &Path, args: &[&str]) -> Outcome {
    let request = parse(args)?;
    let targets = targets(root)?;
    let chosen: Vec<&String> = targets
        .iter()
        .filter(|target| request.target.is_none_or(|asked| asked == **target))
        .collect();
    if chosen.is_empty() {
        return Err(format!(
            "there is no such target; there are {}",
            targets.join(", ")
        ));
    }
    let compiler = Compiler::find().ok_or(MISSING)?;
    for target in chosen {
        println!("==> {target}, {} s", request.seconds);
        let status = compiler
            .fuzz()
            .args(["run", target, "--"])
            .arg(format!("-max_total_time={}", request.seconds))
            .args(["-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1"])
            .current_dir(root)
            .status()
            .map_err(|e| format!("cargo fuzz: {e}"))?;
        if !status.success() {
            return Err(format!(
                "{target} found something: the input is in fuzz/artifacts/{target}"
            ));
        }
    }
    Ok(())
}

fn parse<'a>(args: &[&'a str]) -> Result<Request<'a>, String> {
    let mut request = Request {
        target: None,
        seconds: 60,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match *arg {
            "--seconds" => {
                let number = args.next().and_then(|number| number.parse().ok());
                request.seconds = number.ok_or("--seconds takes a number")?;
            }
            name if !name.starts_with('-') && request.target.is_none() => request.target = Some(name),
            other => return Err(format!("{other:?} is not understood")),
        }
    }
    Ok(request)
}

/// The names of all targets.
fn targets(root: &Path) -> Result<Vec<String>, String> {
    let folder = Path::new("fuzz/fuzz_targets");
    let files = crate::files(root)?;
    let inside = files.iter().filter(|file| file.starts_with(folder));
    Ok(inside
        .filter_map(|file| Some(file.file_stem()?.to_string_lossy().into_owned()))
        .collect())
}

/// What compiles the targets.
#[derive(Clone, Copy, Debug)]
enum Compiler {
    Nightly,
    /// The one at hand, told to accept what only a nightly one does: the sanitizers that it came with.
    Stable,
}

impl Compiler {
    /// The first with which `cargo fuzz` runs.
    fn find() -> Option<Compiler> {
        [Compiler::Nightly, Compiler::Stable]
            .into_iter()
            .find(|compiler| {
                let mut command = compiler.fuzz();
                command
                    .arg("--version")
                    .stdout(Stdio::null())
                    .stderr(Stdio::null());
                command.status().is_ok_and(|status| status.success())
            })
    }

    /// `cargo fuzz` with this compiler, whatever compiler runs this.
    fn fuzz(self) -> Command {
        match self {
            Compiler::Nightly => {
                let mut command = Command::new("rustup");
                command.args(["run", "nightly", "cargo", "fuzz"]);
                command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
                command
            }
            Compiler::Stable => {
                let mut command = Command::new("cargo");
                command.arg("fuzz").env("RUSTC_BOOTSTRAP", "1");
                command
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_come_in_any_order() {
        let check = |args: &[&str], target: Option<&str>, seconds: u32| {
            assert_eq!(parse(args), Ok(Request { target, seconds }));
        };
        check(&[], None, 60);
        check(&["wal"], Some("wal"), 60);
        check(&["wal", "--seconds", "5"], Some("wal"), 5);
        check(&["--seconds", "5", "wal"], Some("wal"), 5);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for args in [&["--seconds"][..], &["--seconds", "x"], &["a", "b"], &["--x"]] {
            assert!(parse(args).is_err(), "{args:?}");
        }
    }
}
