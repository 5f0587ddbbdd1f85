//! The list of free pages as a checkpoint writes it: extents in ascending order, each as the distance from the last one and its
//! length, in LEB128.

use xxhash_rust::xxh3::xxh3_64;

use crate::store::Extent;

/// The most bytes that a list of so many extents takes.
pub(crate) fn bytes_max(extents: u64) -> u64 {
    (extents + 1) * 12
}

pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// The list of `extents`, which may be out of order and must not overlap.
pub(crate) fn encode(extents: &[Extent]) -> Vec<u8> {
    let mut sorted: Vec<Extent> = extents.iter().copied().filter(|e| e.len > 0).collect();
    sorted.sort_unstable();
    let mut out = Vec::with_capacity(sorted.len() * 4);
    let mut last = 0;
    for extent in sorted {
        number(&mut out, extent.start - last);
        number(&mut out, extent.len);
        last = extent.start + extent.len;
    }
    out
}

/// The extents of a list, if that is what the bytes are, and all lie in pages 2 to `end`.
pub(crate) fn decode(mut bytes: &[u8], end: u64) -> Option<Vec<Extent>> {
    let mut extents = Vec::new();
    let mut last: u64 = 0;
    while !bytes.is_empty() {
        let start = last.checked_add(take(&mut bytes)?)?;
        let len = take(&mut bytes)?;
        last = start.checked_add(len)?;
        if start < 2 || len == 0 || last > end {
            return None;
        }
        extents.push(Extent { start, len });
    }
    Some(extents)
}

fn number(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut n = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        n |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_and_back() {
        let extents = [(2, 1), (5, 300), (70_000, 1 << 33)].map(|(start, len)| Extent { start, len });
        let bytes = encode(&[extents[2], extents[0], Extent { start: 0, len: 0 }, extents[1]]);
        assert!(bytes.len() as u64 <= bytes_max(3));
        assert_eq!(decode(&bytes, 1 << 40).as_deref(), Some(&extents[..]));
        assert_eq!(decode(&bytes, 1 << 33), None);
        assert_eq!(decode(&bytes[..bytes.len() - 1], 1 << 40), None);
    }

    #[test]
    fn pages_of_the_metas_are_never_free() {
        assert_eq!(decode(&encode(&[Extent { start: 1, len: 1 }]), 10), None);
    }
}
