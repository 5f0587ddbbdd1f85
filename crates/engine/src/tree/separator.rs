//! What parts two neighbouring children of a branch: a string above every key of the left one and not above any key of the right one.

use std::cmp::Ordering;

/// A separator as branch pages and keys lend it: the shared prefix and the rest.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Separator<'t> {
    prefix: &'t [u8],
    suffix: &'t [u8],
}

impl<'t> Separator<'t> {
    /// Not above any key: before the first child of a tree.
    pub(super) const LOWEST: Separator<'static> = Separator {
        prefix: &[],
        suffix: &[],
    };

    pub(super) fn new(prefix: &'t [u8], suffix: &'t [u8]) -> Separator<'t> {
        Separator { prefix, suffix }
    }

    /// The shortest string that is above `left` and not above `right`.
    pub(super) fn between(left: &[u8], right: &'t [u8]) -> Separator<'t> {
        let shared = common(left, right);
        Separator::new(&[], right.get(..=shared).unwrap_or(right))
    }

    pub(super) fn len(self) -> usize {
        self.prefix.len() + self.suffix.len()
    }

    fn bytes(self) -> impl Iterator<Item = u8> {
        self.prefix.iter().chain(self.suffix).copied()
    }

    pub(super) fn to_vec(self) -> Vec<u8> {
        self.bytes().collect()
    }

    /// How many bytes both begin with.
    pub(super) fn common(self, other: Separator<'_>) -> usize {
        if self.prefix.len() == other.prefix.len() {
            let shared = common(self.prefix, other.prefix);
            if shared < self.prefix.len() {
                return shared;
            }
            return shared + common(self.suffix, other.suffix);
        }
        if self.prefix.len() > other.prefix.len() {
            return other.common(self);
        }
        // The longer prefix lies beside this one and the beginning of this one's suffix.
        let (start, end) = other.prefix.split_at(self.prefix.len());
        let (middle, rest) = self.suffix.split_at(end.len().min(self.suffix.len()));
        match common(self.prefix, start) {
            shared if shared < start.len() => shared,
            shared => match common(middle, end) {
                more if more < end.len() => shared + more,
                more => shared + more + common(rest, other.suffix),
            },
        }
    }

    pub(super) fn cmp_key(self, key: &[u8]) -> Ordering {
        let (start, rest) = key.split_at(self.prefix.len().min(key.len()));
        self.prefix.cmp(start).then_with(|| self.suffix.cmp(rest))
    }

    pub(super) fn cmp(self, other: Separator<'_>) -> Ordering {
        if self.prefix.len() > other.prefix.len() {
            return other.cmp(self).reverse();
        }
        let (start, end) = other.prefix.split_at(self.prefix.len());
        let (middle, rest) = self.suffix.split_at(end.len().min(self.suffix.len()));
        let prefixes = self.prefix.cmp(start).then_with(|| middle.cmp(end));
        prefixes.then_with(|| rest.cmp(other.suffix))
    }

    /// Copies the first `len` bytes to the start of `out`.
    pub(super) fn copy_before(self, len: usize, out: &mut [u8]) {
        let (prefix, rest) = out[..len].split_at_mut(self.prefix.len().min(len));
        prefix.copy_from_slice(&self.prefix[..prefix.len()]);
        rest.copy_from_slice(&self.suffix[..rest.len()]);
    }

    /// Copies what comes after the first `skip` bytes to the start of `out`; returns how much that was.
    pub(super) fn copy_after(self, skip: usize, out: &mut [u8]) -> usize {
        let prefix = &self.prefix[skip.min(self.prefix.len())..];
        let suffix = &self.suffix[skip.saturating_sub(self.prefix.len())..];
        out[..prefix.len()].copy_from_slice(prefix);
        out[prefix.len()..][..suffix.len()].copy_from_slice(suffix);
        prefix.len() + suffix.len()
    }
}

/// How many bytes both begin with.
#[inline]
pub(super) fn common(a: &[u8], b: &[u8]) -> usize {
    let len = a.len().min(b.len());
    let (a, b) = (&a[..len], &b[..len]);
    let mut at = 0;
    while at + 8 <= len {
        let word = |s: &[u8]| u64::from_le_bytes(s[at..at + 8].try_into().expect("eight bytes"));
        let differing = word(a) ^ word(b);
        if differing != 0 {
            return at + (differing.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    at + a[at..].iter().zip(&b[at..]).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_compare_as_their_bytes_wherever_they_are_parted() {
        let strings: [&[u8]; 9] = [
            b"", b"a", b"ab", b"abc", b"abd", b"abcabc", b"abcabd", b"b", b"abca",
        ];
        let parted = |string: &'static [u8]| {
            (0..=string.len()).map(move |at| Separator::new(&string[..at], &string[at..]))
        };
        for a in strings {
            for b in strings {
                let shared = a.iter().zip(b).take_while(|(a, b)| a == b).count();
                for (x, y) in parted(a).flat_map(|x| parted(b).map(move |y| (x, y))) {
                    assert_eq!(x.cmp(y), a.cmp(b), "{x:?} {y:?}");
                    assert_eq!(x.common(y), shared, "{x:?} {y:?}");
                }
            }
        }
    }
}
