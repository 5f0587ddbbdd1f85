//! The ends of a range that is being read.

use std::ops::{Bound, Deref, RangeBounds};

use crate::transaction::iter::KeyRange;

/// The ends of a range. Ranges are made often and most keys are short, so making one does not allocate for those.
pub(super) struct Bounds {
    pub(super) start: Bound<ShortKey>,
    pub(super) end: Bound<ShortKey>,
}

impl Bounds {
    pub(super) fn all() -> Bounds {
        Bounds {
            start: Bound::Unbounded,
            end: Bound::Unbounded,
        }
    }

    #[inline]
    pub(super) fn of<K: AsRef<[u8]>>(range: &impl RangeBounds<K>) -> Bounds {
        let own = |bound: Bound<&K>| bound.map(|key| ShortKey::new(key.as_ref()));
        Bounds {
            start: own(range.start_bound()),
            end: own(range.end_bound()),
        }
    }

    pub(super) fn prefix(prefix: &[u8]) -> Bounds {
        Bounds {
            start: Bound::Included(ShortKey::new(prefix)),
            end: ShortKey::after_prefix(prefix).map_or(Bound::Unbounded, Bound::Excluded),
        }
    }

    /// The same range, to be kept.
    pub(super) fn to_range(&self) -> KeyRange {
        let own = |bound: &Bound<ShortKey>| bound.as_ref().map(|key| key.to_vec());
        KeyRange {
            start: own(&self.start),
            end: own(&self.end),
        }
    }

    #[inline]
    pub(super) fn has_start(&self) -> bool {
        !matches!(self.start, Bound::Unbounded)
    }

    #[inline]
    pub(super) fn has_end(&self) -> bool {
        !matches!(self.end, Bound::Unbounded)
    }

    pub(super) fn is_before_end(&self, key: &[u8]) -> bool {
        match &self.end {
            Bound::Unbounded => true,
            Bound::Included(end) => key <= &**end,
            Bound::Excluded(end) => key < &**end,
        }
    }

    pub(super) fn is_after_start(&self, key: &[u8]) -> bool {
        match &self.start {
            Bound::Unbounded => true,
            Bound::Included(start) => key >= &**start,
            Bound::Excluded(start) => key > &**start,
        }
    }
}

/// A key of its own, on the heap only where it is long.
pub(super) enum ShortKey {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

const SHORT: usize = 30;

impl ShortKey {
    #[inline]
    fn new(key: &[u8]) -> ShortKey {
        if key.len() > SHORT {
            return ShortKey::Long(key.into());
        }
        let mut bytes = [0; SHORT];
        bytes[..key.len()].copy_from_slice(key);
        let len = key.len() as u8;
        ShortKey::Short { len, bytes }
    }

    /// The first key that is greater than all that begin with `prefix`; `None` where there is none.
    fn after_prefix(prefix: &[u8]) -> Option<ShortKey> {
        let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
        let mut next = ShortKey::new(&prefix[..=last]);
        match &mut next {
            ShortKey::Short { bytes, .. } => bytes[last] += 1,
            ShortKey::Long(bytes) => bytes[last] += 1,
        }
        Some(next)
    }
}

impl Deref for ShortKey {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            ShortKey::Short { len, bytes } => &bytes[..usize::from(*len)],
            ShortKey::Long(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_what_they_are_whatever_their_length() {
        for len in 0..3 * SHORT {
            let key: Vec<u8> = (0..len as u8).collect();
            assert_eq!(&*ShortKey::new(&key), key);
        }
    }

    #[test]
    fn the_end_of_a_prefix_is_the_next_key_that_does_not_have_it() {
        let after = |prefix: &[u8]| ShortKey::after_prefix(prefix).map(|key| key.to_vec());
        assert_eq!(after(b""), None);
        assert_eq!(after(b"a"), Some(b"b".to_vec()));
        assert_eq!(after(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(after(&[0xff; 40]), None);
        let long = [7; 40];
        assert_eq!(after(&long), Some([&long[..39], &[8]].concat()));
    }
}
