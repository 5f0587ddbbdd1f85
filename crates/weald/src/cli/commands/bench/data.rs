//! Keys and values that no compression makes smaller, made from their numbers.

/// Bytes of a key.
pub(super) const KEY: usize = 24;

/// The keys and values of a benchmark.
pub(super) struct Data {
    pub(super) keys: u64,
    /// Random bytes, of which each value is a window.
    noise: Vec<u8>,
    value_bytes: usize,
}

impl Data {
    pub(super) fn new(keys: u64, value_bytes: usize) -> Data {
        let words = (value_bytes * 2 + 4096).div_ceil(8) as u64;
        Data {
            keys,
            noise: (0..words).flat_map(|n| mix(n).to_le_bytes()).collect(),
            value_bytes,
        }
    }

    /// The key of that number; those from `keys` on are absent.
    pub(super) fn key(&self, number: u64) -> [u8; KEY] {
        let mut key = [0; KEY];
        for (i, word) in key.chunks_exact_mut(8).enumerate() {
            word.copy_from_slice(&mix(number * 3 + i as u64 + (1 << 40)).to_be_bytes());
        }
        key
    }

    /// A value for the key of that number.
    pub(super) fn value(&self, number: u64) -> &[u8] {
        let places = (self.noise.len() - self.value_bytes) as u64;
        let at = (mix(number) % places) as usize;
        &self.noise[at..at + self.value_bytes]
    }

    pub(super) fn pair_bytes(&self) -> u64 {
        (KEY + self.value_bytes) as u64
    }
}

/// A number that looks random, a different one for each `n` (splitmix64).
pub(super) fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_and_values_have_their_length() {
        let data = Data::new(1000, 150);
        let keys: std::collections::BTreeSet<_> = (0..2000).map(|n| data.key(n)).collect();
        assert_eq!(keys.len(), 2000);
        assert!((0..2000).all(|n| data.value(n).len() == 150));
        assert_ne!(data.value(1), data.value(2));
    }
}
