//! The keyed hash of the map.
//!
//! Each region draws 128 bits at its creation, so that nobody outside can choose keys that collide. The state is folded through a full
//! 64 by 64 bit multiplication for every 16 bytes, so that what a word contributes depends on where it stands.

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
}

/// The hash of `bytes` under `key`.
#[inline]
pub(crate) fn hash(key: [u64; 2], bytes: &[u8]) -> u64 {
    let mut state = key[0] ^ (bytes.len() as u64).wrapping_mul(ODD);
    let (chunks, rest) = bytes.as_chunks::<16>();
    for chunk in chunks {
        state =
            fold(word(chunk) ^ state, word(&chunk[8..]) ^ key[1]).wrapping_add(state.rotate_left(29) ^ ODD);
    }
    if !rest.is_empty() {
        let mut last = [0; 16];
        last[..rest.len()].copy_from_slice(rest);
        state =
            fold(word(&last) ^ state, word(&last[8..]) ^ key[1]).wrapping_add(state.rotate_left(29) ^ ODD);
    }
    fold(state ^ key[1], key[0] | 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const KEY: [u64; 2] = [0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321];

    #[test]
    fn position_length_and_key_all_matter() {
        let block = [7u8; 16];
        let other = [9u8; 16];
        let ab = [block, other].concat();
        let ba = [other, block].concat();
        assert_ne!(hash(KEY, &ab), hash(KEY, &ba));
        assert_ne!(hash(KEY, &[0; 5]), hash(KEY, &[0; 6]));
        assert_ne!(hash(KEY, b"abc"), hash([KEY[0], KEY[1] ^ 1], b"abc"));
        assert_ne!(hash(KEY, b"abc"), hash([KEY[0] ^ 1, KEY[1]], b"abc"));
    }

    #[test]
    fn counters_spread_over_buckets_and_tags() {
        let hashes: Vec<u64> = (0u64..100_000).map(|i| hash(KEY, &i.to_le_bytes())).collect();
        assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), hashes.len());
        let mut buckets = vec![0u32; 1024];
        let mut tags = vec![0u32; 1024];
        for hash in hashes {
            buckets[(hash & 1023) as usize] += 1;
            tags[(hash >> 54) as usize] += 1;
        }
        for counts in [buckets, tags] {
            // 97.7 on average; eight standard deviations around it.
            assert!(
                counts.iter().all(|&count| (20..180).contains(&count)),
                "{counts:?}"
            );
        }
    }
}
