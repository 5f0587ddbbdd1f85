//! The keyed hash of the map.
//!
//! Each region draws 128 bits at its creation, so that nobody outside can choose keys that collide. Sixteen bytes at a time are folded
//! through a full 64 by 64 bit multiplication, in two lanes that a processor goes through at once, and the lanes through one more, in which they
//! don't play the same part. What is left at the end is read from the end backwards, with bytes that were there already if need
//! be; the length goes in too, so that this makes no two keys alike.

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[inline(always)]
fn word(bytes: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*bytes)
}

#[inline(always)]
fn half(bytes: &[u8; 4]) -> u64 {
    u64::from(u32::from_le_bytes(*bytes))
}

#[inline(always)]
fn fold_block(key: [u64; 2], bytes: &[u8; 16]) -> u64 {
    let both = u128::from_le_bytes(*bytes);
    fold(both as u64 ^ key[0], (both >> 64) as u64 ^ key[1])
}

/// The hash of `bytes` under `key`.
#[inline(always)]
pub(crate) fn hash(key: [u64; 2], bytes: &[u8]) -> u64 {
    let len = bytes.len() as u64;
    let (left, right) = match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) if len <= 32 => (fold_block(key, first), fold_block(key, last)),
        _ => uncommon(key, bytes),
    };
    fold(left ^ key[1], right ^ key[0].wrapping_add(len))
}

/// The lanes of keys shorter than 16 bytes and longer than 32.
#[inline(never)]
fn uncommon(key: [u64; 2], bytes: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>())
        && bytes.len() < 16
    {
        return (fold(word(first) ^ key[0], word(last) ^ key[1]), ODD);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>())
        && bytes.len() < 16
    {
        return (fold(half(first) ^ key[0], half(last) ^ key[1]), ODD);
    }
    if bytes.len() < 4 {
        let word = bytes.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
        return (fold(word ^ key[0], ODD ^ key[1]), ODD);
    }
    let mut lanes = [ODD, !ODD];
    let mut take = |block: &[u8; 32]| {
        let (halves, _) = block.as_chunks();
        for (lane, half) in lanes.iter_mut().zip(halves) {
            let turned = lane.rotate_left(29);
            *lane = fold_block([key[0] ^ *lane, key[1]], half).wrapping_add(turned);
        }
    };
    let (blocks, _) = bytes.as_chunks();
    blocks.iter().for_each(&mut take);
    if let Some(last) = bytes.last_chunk() {
        take(last);
    }
    (lanes[0], lanes[1])
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
        assert_ne!(hash(KEY, &[block; 3].concat()), hash(KEY, &[block; 4].concat()));
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

    #[test]
    fn every_byte_of_every_length_counts() {
        let mut seen = HashSet::new();
        for len in 0..150 {
            let bytes = vec![3; len];
            assert!(seen.insert(hash(KEY, &bytes)), "{len}");
            for at in 0..len {
                let mut other = bytes.clone();
                other[at] ^= 0x80;
                assert!(seen.insert(hash(KEY, &other)), "{at} of {len}");
            }
        }
    }
}
