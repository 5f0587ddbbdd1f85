//! Where chance comes from.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

/// A seeded source of numbers (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len + 8);
        while out.len() < len {
            out.extend_from_slice(&self.next().to_le_bytes());
        }
        out.truncate(len);
        out
    }
}

/// A number from the environment.
pub(crate) fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Whether every place is to be tried.
pub(crate) fn is_exhaustive() -> bool {
    asked("WEALD_EXHAUSTIVE").is_some_and(|n| n > 0)
}

/// Runs `test` with seeds 0 to `usual`, with as many as `WEALD_SEEDS` says, or with the one of `WEALD_SEED`. Of the usual
/// ones those after `limit` are left out, since the machine may be slow; the first always runs.
pub(crate) fn each_seed(name: &str, usual: u64, limit: Duration, test: impl Fn(u64)) {
    let run = |seed: u64| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| test(seed))) {
            eprintln!("{name} failed with seed {seed}: repeat it with WEALD_SEED={seed}");
            resume_unwind(panic);
        }
    };
    if let Some(seed) = asked("WEALD_SEED") {
        return run(seed);
    }
    let began = Instant::now();
    let more = asked("WEALD_SEEDS");
    for seed in 0..more.unwrap_or(usual) {
        if more.is_none() && seed > 0 && began.elapsed() > limit {
            eprintln!("{name}: {seed} of {usual} seeds in {:?}", began.elapsed());
            return;
        }
        run(seed);
    }
}
