//! Simulated clusters, one seed after the other, in a release build: `cargo xtask sim --seeds 1000 --from 1 --seconds 15`.
//!
//! It only passes on what was asked for; `weald-sim` judges, and ends with an error where a seed fails.

use std::path::Path;

use crate::{Outcome, cargo};

const NUMBERS: [&str; 3] = ["--seeds", "--from", "--seconds"];

/// The arguments for the simulator, if they are all known.
fn passed_on<'a>(args: &[&'a str]) -> Result<Vec<&'a str>, String> {
    let mut passed = Vec::new();
    let mut rest = args.iter();
    while let Some(&name) = rest.next() {
        match name {
            "--verbose" | "--trace" => passed.push(name),
            _ if NUMBERS.contains(&name) => {
                let value = *rest.next().ok_or(format!("{name} needs a number"))?;
                value
                    .parse::<u64>()
                    .map_err(|_| format!("{name} {value}: not a number"))?;
                passed.extend([name, value]);
            }
            other => return Err(format!("sim: unknown argument {other}")),
        }
    }
    Ok(passed)
}

pub(crate) fn run(root: &Path, args: &[&str]) -> Outcome {
    let simulate = ["run", "--release", "--quiet", "-p", "weald-sim", "--"];
    cargo(root, &[&simulate, &passed_on(args)?[..]].concat(), &[])
        .map_err(|why| format!("{why}\na seed that failed shows with --trace what it did"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_simulator_knows_is_passed_on() {
        assert_eq!(
            passed_on(&["--seeds", "5", "--trace"]),
            Ok(vec!["--seeds", "5", "--trace"])
        );
        assert!(passed_on(&["--seeds"]).is_err());
        assert!(passed_on(&["--seeds", "many"]).is_err());
        assert!(passed_on(&["5"]).is_err());
    }
}
