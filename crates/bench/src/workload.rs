//! Keys, values and distributions, made from numbers.
//!
//! The n-th key and each version of its value can be told from n alone, so that whatever an engine gives back can be
//! verified without keeping a copy. Making or checking a value costs a few nanoseconds, the same for all engines.

use std::sync::OnceLock;

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 24;
/// Bytes of a value where no row says otherwise.
pub(crate) const VALUE_BYTES: usize = 150;
/// Bytes of a large value.
pub(crate) const LARGE_BYTES: usize = 16 << 10;
/// Each value begins with its version.
const HEADER: usize = 4;

pub(crate) type Key = [u8; KEY_BYTES];

/// A well-mixed number from a number: splitmix64.
pub(crate) fn mix(n: u64) -> u64 {
    let z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The n-th key: random bytes.
pub(crate) fn key(n: u64) -> Key {
    let mut key = [0; KEY_BYTES];
    for (i, word) in key.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&mix(n.wrapping_mul(4).wrapping_add(i as u64)).to_be_bytes());
    }
    key
}

/// A key that is in no database.
pub(crate) fn absent_key(n: u64) -> Key {
    key(n | 1 << 60)
}

/// Random words that values are made of; small enough to stay in the nearest cache.
fn words() -> &'static [u64; LARGE_BYTES / 8 + 1] {
    static WORDS: OnceLock<[u64; LARGE_BYTES / 8 + 1]> = OnceLock::new();
    WORDS.get_or_init(|| std::array::from_fn(|i| mix(i as u64 ^ 0x5eed << 40)))
}

fn body(n: u64, version: u32) -> u64 {
    mix(n ^ u64::from(version) << 40 ^ 0xb0d1 << 20)
}

/// Fills `value` with the bytes of that version of the n-th value, which don't compress.
pub(crate) fn fill(n: u64, version: u32, value: &mut [u8]) {
    let (header, rest) = value.split_at_mut(HEADER);
    header.copy_from_slice(&version.to_le_bytes());
    let seed = body(n, version);
    let mut chunks = rest.chunks_exact_mut(8);
    let words = words();
    for (chunk, word) in (&mut chunks).zip(words) {
        chunk.copy_from_slice(&word.wrapping_add(seed).to_le_bytes());
    }
    let tail = chunks.into_remainder();
    let len = tail.len();
    tail.copy_from_slice(&seed.to_le_bytes()[..len]);
}

/// The version of the n-th value that `value` is, every byte verified; `None` where it is none.
pub(crate) fn version_of(n: u64, value: &[u8], len: usize) -> Option<u32> {
    if value.len() != len {
        return None;
    }
    let (header, rest) = value.split_at(HEADER);
    let version = u32::from_le_bytes(header.try_into().ok()?);
    let seed = body(n, version);
    let mut differs = 0;
    let chunks = rest.chunks_exact(8);
    let tail = chunks.remainder();
    for (chunk, word) in chunks.zip(words()) {
        let found = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        differs |= found ^ word.wrapping_add(seed);
    }
    (differs == 0 && tail == &seed.to_le_bytes()[..tail.len()]).then_some(version)
}

/// A source of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(mix(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// A number from 0 to 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// YCSB's scrambled Zipfian distribution: few numbers are drawn most of the time, and they lie anywhere.
pub(crate) struct Zipf {
    n: u64,
    theta: f64,
    zeta: f64,
    alpha: f64,
    eta: f64,
}

impl Zipf {
    pub(crate) fn new(n: u64) -> Zipf {
        let theta = 0.99;
        let zeta_of = |n: u64| (1..=n).map(|i| 1.0 / (i as f64).powf(theta)).sum::<f64>();
        let zeta = zeta_of(n);
        let eta = (1.0 - (2.0 / n as f64).powf(1.0 - theta)) / (1.0 - zeta_of(2) / zeta);
        Zipf {
            n,
            theta,
            zeta,
            alpha: 1.0 / (1.0 - theta),
            eta,
        }
    }

    /// A number below n.
    pub(crate) fn draw(&self, rng: &mut Rng) -> u64 {
        mix(self.rank(rng)) % self.n
    }

    /// The rank that is drawn: 0 most often.
    fn rank(&self, rng: &mut Rng) -> u64 {
        let u = rng.unit();
        let uz = u * self.zeta;
        if uz < 1.0 {
            0
        } else if uz < 1.0 + 0.5f64.powf(self.theta) {
            1
        } else {
            let rank = self.n as f64 * (self.eta * u - self.eta + 1.0).powf(self.alpha);
            (rank as u64).min(self.n - 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_differ_and_absent_ones_are_others() {
        let mut seen = HashSet::new();
        for n in 0..100_000 {
            assert!(seen.insert(key(n)));
        }
        for n in 0..100_000 {
            assert!(seen.insert(absent_key(n)));
        }
    }

    #[test]
    fn a_value_is_known_by_every_byte() {
        for len in [VALUE_BYTES, LARGE_BYTES, HEADER, HEADER + 3] {
            let mut value = vec![0; len];
            fill(7, 3, &mut value);
            assert_eq!(version_of(7, &value, len), Some(3));
            assert_eq!(version_of(7, &value[1..], len), None);
            if len > HEADER {
                assert_eq!(version_of(8, &value, len), None);
            }
            for at in HEADER..len {
                value[at] ^= 1;
                assert_eq!(version_of(7, &value, len), None, "byte {at} of {len}");
                value[at] ^= 1;
            }
        }
    }

    #[test]
    fn values_have_no_repeated_words() {
        let mut seen = HashSet::new();
        for n in 0..200 {
            let mut value = [0; VALUE_BYTES];
            fill(n, 0, &mut value);
            for word in value[HEADER..].chunks_exact(8) {
                assert!(seen.insert(word.to_vec()));
            }
        }
    }

    #[test]
    fn zipf_prefers_few_and_stays_in_range() {
        let zipf = Zipf::new(10_000);
        let mut rng = Rng::new(1);
        let draws = 100_000;
        let mut first = 0;
        for _ in 0..draws {
            let rank = zipf.rank(&mut rng);
            assert!(rank < 10_000);
            first += u32::from(rank == 0);
        }
        // 1 / zeta(10,000) is some 10 %.
        assert!((8_000..13_000).contains(&first), "{first}");
        assert!((0..1000).all(|_| zipf.draw(&mut rng) < 10_000));
    }

    #[test]
    fn random_numbers_are_spread() {
        let mut rng = Rng::new(2);
        let mut counts = [0u32; 10];
        for _ in 0..100_000 {
            counts[rng.below(10) as usize] += 1;
        }
        assert!(
            counts.iter().all(|count| (9_000..11_000).contains(count)),
            "{counts:?}"
        );
    }
}
