//! What survives a crash: decided by a seed, by a rule, or by trying everything.

/// Chooses among the versions that a crash may leave, 0 being the oldest.
pub(super) trait Choose {
    /// Begins with another file, or the names.
    fn group(&mut self) {}

    /// One of `options`, of which there is at least one.
    fn pick(&mut self, options: usize) -> usize;
}

/// Nothing that wasn't flushed survives.
pub(super) struct AllLost;

impl Choose for AllLost {
    fn pick(&mut self, _options: usize) -> usize {
        0
    }
}

/// Everything survives.
pub(super) struct AllKept;

impl Choose for AllKept {
    fn pick(&mut self, options: usize) -> usize {
        options - 1
    }
}

/// A small, fast, seeded source of numbers (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Dice {
    state: u64,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice { state: seed }
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    /// True once in `n` times; never where `n` is 0.
    pub(super) fn one_in(&mut self, n: u32) -> bool {
        n > 0 && self.below(u64::from(n)) == 0
    }
}

/// Survival by chance. How likely the newest version is differs from file to file, so that states near "all"
/// and near "nothing" turn up as often as mixed ones.
pub(super) struct ByChance {
    dice: Dice,
    newest_in_8: u64,
}

impl ByChance {
    pub(super) fn new(seed: u64) -> ByChance {
        ByChance {
            dice: Dice::new(seed),
            newest_in_8: 4,
        }
    }
}

impl Choose for ByChance {
    fn group(&mut self) {
        self.newest_in_8 = [0, 1, 4, 7, 8][self.dice.below(5) as usize];
    }

    fn pick(&mut self, options: usize) -> usize {
        let roll = self.dice.roll();
        if roll % 8 < self.newest_in_8 {
            options - 1
        } else if options <= 2 || roll & 8 == 0 {
            0
        } else {
            (roll >> 4) as usize % options
        }
    }
}

/// Every combination, one after the other, like the wheels of an odometer.
#[derive(Debug, Default)]
pub(super) struct Odometer {
    /// What was picked and from how many, in the order of the questions.
    wheels: Vec<(usize, usize)>,
    asked: usize,
}

impl Odometer {
    /// Goes on to the next combination; `false` after the last one.
    pub(super) fn turn(&mut self) -> bool {
        self.wheels.truncate(self.asked);
        self.asked = 0;
        while let Some((picked, options)) = self.wheels.pop() {
            if picked + 1 < options {
                self.wheels.push((picked + 1, options));
                return true;
            }
        }
        false
    }
}

impl Choose for Odometer {
    fn pick(&mut self, options: usize) -> usize {
        if self.asked == self.wheels.len() {
            self.wheels.push((0, options));
        }
        let (picked, _) = self.wheels[self.asked];
        self.asked += 1;
        picked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odometer_shows_every_combination_once() {
        let mut odometer = Odometer::default();
        let mut seen = Vec::new();
        loop {
            // The second question depends on the answer to the first.
            let first = odometer.pick(3);
            let second = if first == 1 { odometer.pick(2) } else { 9 };
            seen.push((first, second));
            if !odometer.turn() {
                break;
            }
        }
        assert_eq!(seen, [(0, 9), (1, 0), (1, 1), (2, 9)]);
    }

    #[test]
    fn chance_reaches_every_version() {
        let mut seen = [0; 4];
        for seed in 0..1000 {
            let mut chance = ByChance::new(seed);
            chance.group();
            seen[chance.pick(4)] += 1;
        }
        assert!(seen.iter().all(|&count| count > 20), "{seen:?}");
    }
}
