//! The ranges of keys that a transaction has read.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::family::Family;

/// Where each range begins and, its end not included, ends; `None` for the end of the family. Neighbours are joined, so a walk over a
/// million keys is one range.
#[derive(Default)]
pub(super) struct Ranges(BTreeMap<(Family, Vec<u8>), Option<Vec<u8>>>);

impl Ranges {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes that all keys within the bounds were looked at.
    pub(super) fn add(&mut self, family: Family, (start, end): (Bound<Vec<u8>>, Bound<Vec<u8>>)) {
        let mut start = match start {
            Bound::Unbounded => Vec::new(),
            Bound::Included(key) => key,
            Bound::Excluded(key) => after(key),
        };
        let mut end = match end {
            Bound::Unbounded => None,
            Bound::Included(key) => Some(after(key)),
            Bound::Excluded(key) => Some(key),
        };
        if end.as_ref().is_some_and(|end| *end <= start) {
            return;
        }
        // The one that begins before, if it reaches so far; then those that begin within.
        let before = self.0.range(..=(family, start.clone())).next_back();
        if let Some(((of, from), to)) = before
            && *of == family
            && to.as_ref().is_none_or(|to| *to >= start)
        {
            start = from.clone();
        }
        while let Some(((of, from), to)) = self.0.range((family, start.clone())..).next()
            && *of == family
            && end.as_ref().is_none_or(|end| from <= end)
        {
            end = match (end, to) {
                (Some(end), Some(to)) => Some(end.max(to.clone())),
                _ => None,
            };
            let gone = (family, from.clone());
            self.0.remove(&gone);
        }
        self.0.insert((family, start), end);
    }

    pub(super) fn contains(&self, family: Family, key: &[u8]) -> bool {
        let before = self.0.range(..=(family, key.to_vec())).next_back();
        before.is_some_and(|((of, _), end)| *of == family && end.as_ref().is_none_or(|end| key < &end[..]))
    }
}

/// The next key after one.
fn after(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_joined_and_contain_what_was_added() {
        let mut ranges = Ranges::default();
        let mut added = Vec::new();
        let mut state = 7u64;
        let mut below = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % n
        };
        for _ in 0..300 {
            let family = Family::ALL[below(2) as usize];
            let (a, b) = (below(200) as u8, below(200) as u8);
            let (start, end) = (vec![a.min(b)], vec![a.max(b).min(a.min(b) + 5)]);
            let bounds = match below(4) {
                0 => (Bound::Included(start), Bound::Included(end)),
                1 => (Bound::Excluded(start), Bound::Excluded(end)),
                2 => (Bound::Included(start), Bound::Excluded(end)),
                _ => (Bound::Excluded(start), Bound::Included(end)),
            };
            ranges.add(family, bounds.clone());
            added.push((family, bounds));
            let is_in = |family, key: &[u8]| {
                added
                    .iter()
                    .any(|(of, (start, end))| *of == family && super::super::contains(start, end, key))
            };
            for key in 0..=210u8 {
                for (family, key) in [(Family::ALL[0], vec![key]), (Family::ALL[1], vec![key, 0])] {
                    assert_eq!(
                        ranges.contains(family, &key),
                        is_in(family, &key),
                        "{family:?} {key:?}"
                    );
                }
            }
        }
        ranges.add(Family::Main, (Bound::Unbounded, Bound::Unbounded));
        assert_eq!(
            ranges
                .0
                .keys()
                .filter(|(family, _)| *family == Family::Main)
                .count(),
            1
        );
        assert!(!ranges.contains(Family::GlobalMeta, b""));
    }
}
