//! Processes that share memory, killed two at a time: `cargo xtask kills 5000`.
//!
//! The test command does some hundred rounds; this does as many as asked for, in a release build. Each kind of region gets that many.

use std::path::Path;

use crate::{Outcome, cargo};

const ROUNDS: u64 = 1000;

/// How many rounds were asked for.
fn rounds(args: &[&str]) -> Result<u64, String> {
    match args {
        [] => Ok(ROUNDS),
        [rounds] => rounds
            .parse()
            .map_err(|_| format!("kills {rounds}: not a number")),
        [_, other, ..] => Err(format!("kills: unknown argument {other}")),
    }
}

pub(crate) fn run(root: &Path, args: &[&str]) -> Outcome {
    let rounds = rounds(args)?.to_string();
    let kill = [
        "test",
        "--release",
        "-p",
        "weald-hot",
        "--test",
        "hot",
        "--",
        "crash",
        "--nocapture",
    ];
    cargo(root, &kill, &[("WEALD_KILLS", &rounds)]).map_err(|why| {
        format!("{why}\nWEALD_HOT_SEED with the seed that was printed repeats it, as far as the machine does")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_rounds_is_understood_or_refused() {
        assert_eq!(rounds(&[]), Ok(ROUNDS));
        assert_eq!(rounds(&["5000"]), Ok(5000));
        assert!(rounds(&["many"]).is_err());
        assert!(rounds(&["5", "6"]).is_err());
    }
}
